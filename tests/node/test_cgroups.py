"""Where limits are made: version 1 and 2 on trees of files like the kernel's, since one machine has only one of them."""

import os

from node.cgroups import Cgroups, apply, remove, settings

WANTED = settings(vcpus=2, memory_mb=512, processes=100)


def version_2(root, path="user.slice/agent.scope", controllers="cpuset cpu io memory pids"):
    place = root / path
    place.mkdir(parents=True)
    (place / "cgroup.controllers").write_text(controllers)
    (place / "cgroup.procs").write_text("")
    (place / "cgroup.subtree_control").write_text("")
    return place


def test_a_delegated_version_2_group_is_divided_with_the_agent_in_a_leaf(tmp_path):
    place = version_2(tmp_path)
    groups = Cgroups(tmp_path / "home", tmp_path, "0::/user.slice/agent.scope\n")
    assert groups.controllers == {"cpu", "memory", "pids"}
    assert (place / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (place / f"{groups.name}-agent" / "cgroup.procs").read_text() == str(os.getpid())
    assert (place / groups.name / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"


def test_a_version_2_instance_is_limited_in_memory_processor_and_processes(tmp_path):
    place = version_2(tmp_path)
    groups = Cgroups(tmp_path / "home", tmp_path, "0::/user.slice/agent.scope\n")
    directory = place / groups.name / "inst_1"
    directory.mkdir()
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max"):
        (directory / name).touch()
    assert groups.create("inst_1", WANTED) == [directory]
    written = {
        name: (directory / name).read_text() for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max")
    }
    assert written == {
        "memory.max": str(512 << 20),
        "memory.swap.max": "0",
        "cpu.max": "200000 100000",
        "pids.max": "100",
    }


def test_without_controllers_there_are_no_limits_to_promise(tmp_path):
    version_2(tmp_path, controllers="")
    groups = Cgroups(tmp_path / "home", tmp_path, "0::/user.slice/agent.scope\n")
    assert groups.controllers == set()
    assert groups.create("inst_1", WANTED) == []


def test_version_1_makes_one_group_in_each_hierarchy_below_the_agents_own(tmp_path):
    for controller in ("memory", "cpu", "pids"):
        (tmp_path / controller / "own").mkdir(parents=True)
        (tmp_path / controller / "own" / "cgroup.procs").touch()
    groups = Cgroups(tmp_path / "home", tmp_path, "3:memory:/own\n2:cpu:/own\n1:pids:/own\n4:freezer:/own\n0::/\n")
    assert groups.controllers == {"memory", "cpu", "pids"}
    made = groups.create("inst_1", WANTED)
    assert sorted(str(path.relative_to(tmp_path)) for path in made) == [
        f"{controller}/own/{groups.name}/inst_1" for controller in ("cpu", "memory", "pids")
    ]
    assert remove(made)
    assert remove(made), "removing what is gone succeeds"
    groups.close()
    assert list((tmp_path / "memory" / "own").iterdir()) == [tmp_path / "memory" / "own" / "cgroup.procs"]


def test_limits_are_written_only_to_the_files_of_their_version(tmp_path):
    (tmp_path / "memory.limit_in_bytes").touch()
    apply([tmp_path], WANTED)
    assert [path.name for path in tmp_path.iterdir()] == ["memory.limit_in_bytes"]
    assert (tmp_path / "memory.limit_in_bytes").read_text() == str(512 << 20)
