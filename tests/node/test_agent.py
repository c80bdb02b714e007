"""The agent's own life: adoption after kill -9, a clean end, recovery from whatever it finds, and what it refuses.

Long, because every way to die and to come back belongs on one page.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from compute.drivers.base import Capacity, Conflict, Fatal, Retryable
from compute.drivers.local import LocalDriver
from node import client, sandbox
from tests.node.agents import Agent, processes_mentioning

ROUNDS = 5


def wait_for(condition, seconds: float = 10):
    """The first true value of `condition()`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return value


def ready(agent: Agent, instance_id: str):
    seen = agent.driver.get(instance_id)
    return seen if seen.ready else None


@pytest.mark.slow
def test_instances_outlive_the_kill_of_their_agent_and_are_taken_over(own_agent):
    agent = own_agent().start()
    first = agent.create()
    agent.run(first, "echo kept > file; nohup sleep 300 > /dev/null 2>&1 & echo $! > job")
    agent.kill()
    assert agent.alive() == [first.id]
    with pytest.raises(Retryable, match="not running"):
        agent.driver.get(first.id)
    agent.start()
    again = wait_for(lambda: ready(agent, first.id))
    assert (again.boot_id, again.endpoint) == (first.boot_id, first.endpoint)
    assert agent.run(again, "cat file; ps -o comm= -p $(cat job)").split() == ["kept", "sleep"]
    assert agent.driver.stop(first.id, generation=2).state == "stopped"
    assert agent.alive() == []


@pytest.mark.slow
def test_an_instance_that_died_with_the_agent_is_started_again(own_agent):
    agent = own_agent().start()
    first = agent.create()
    agent.run(first, "echo kept > file; sync")
    agent.kill()
    kill_instances(agent)
    agent.start()
    again = wait_for(lambda: ready(agent, first.id))
    assert again.boot_id != first.boot_id
    assert again.endpoint == first.endpoint
    assert agent.run(again, "cat file") == "kept"


def kill_instances(agent: Agent) -> None:
    """What a power cut does, as far as a test may go."""
    for status in agent.home.glob("instances/*/status"):
        for line in status.read_text().splitlines():
            if "child-pid" in line:
                os.kill(json.loads(line)["child-pid"], signal.SIGKILL)
    wait_for(lambda: agent.alive() == [])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_an_agent_told_so_ends_its_instances_and_leaves_nothing(own_agent, number):
    agent = own_agent().start()
    first, stopped = agent.create(), agent.create(start=False)
    agent.ssh(first, "nohup sh -c 'trap \"\" TERM HUP; sleep 300' > /dev/null 2>&1 &")
    agent.process.send_signal(number)
    assert agent.process.wait(10) == 0
    assert agent.alive() == []
    assert processes_mentioning(str(agent.home)) == []
    assert not (agent.home / "agent.sock").exists()
    agent.start()
    assert wait_for(lambda: ready(agent, first.id)).boot_id != first.boot_id
    assert agent.driver.get(stopped.id).state == "stopped"


@pytest.mark.slow
def test_an_agent_not_told_so_leaves_its_instances_running(own_agent):
    agent = own_agent(options=()).start()
    first = agent.create()
    agent.end()
    assert agent.alive() == [first.id]
    agent.start()
    assert wait_for(lambda: ready(agent, first.id)).boot_id == first.boot_id


@pytest.mark.slow
def test_an_instance_shut_down_from_inside_stays_down(own_agent):
    agent = own_agent().start()
    first = agent.create()
    agent.ssh(first, "sudo kill -TERM 1")
    wait_for(lambda: agent.driver.get(first.id).state == "stopped")
    wait_for(lambda: not record(agent, first.id)["running"])
    agent.end()
    agent.start()
    assert agent.driver.get(first.id).state == "stopped"
    assert agent.driver.start(first.id, generation=2).ready


def record(agent: Agent, instance_id: str) -> dict:
    return json.loads((agent.home / "instances" / instance_id / "spec.json").read_text())


@pytest.mark.slow
def test_creates_cut_off_by_a_kill_of_the_agent_end_up_running_exactly_once(own_agent):
    agent = own_agent().start()
    chance = random.Random(20)
    for turn in range(ROUNDS):
        specs = [agent.spec() for _ in range(4)]
        threads = [threading.Thread(target=attempt, args=(agent, spec)) for spec in specs]
        for thread in threads:
            thread.start()
        time.sleep(chance.uniform(0, 0.12))
        agent.kill()
        for thread in threads:
            thread.join()
        agent.start()
        for spec in specs:
            seen = agent.driver.create(spec)
            assert seen.ready, (turn, seen)
            assert agent.run(seen, "hostname") == "web-1"
        assert len(first_processes(agent)) == len(agent.alive()) == len(agent.driver.list())
    for seen in agent.driver.list():
        agent.driver.delete(seen.id, generation=2)
    assert agent.alive() == []
    assert list(agent.home.glob("instances/*")) == []


def attempt(agent: Agent, spec) -> None:
    with contextlib.suppress(Retryable):  # the agent was killed meanwhile, which is the point
        agent.driver.create(spec)


def first_processes(agent: Agent) -> list[str]:
    """The first processes of all instances of this agent, found by the console they write to."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            console = os.readlink(process / "fd/1")
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if console.startswith(str(agent.home)) and line.startswith(b"/bin/sh\0/run/init"):
            found.append(process.name)
    return found


@pytest.mark.slow
def test_deletes_and_stops_cut_off_by_a_kill_are_finished_by_the_next_agent(own_agent):
    agent = own_agent().start()
    gone, down = agent.create(), agent.create()
    (agent.home / "deleted" / gone.id).write_text("2")
    spec = record(agent, down.id)
    agent.kill()
    (agent.home / "instances" / down.id / "spec.json").write_text(
        json.dumps({**spec, "running": False, "generation": 2})
    )
    agent.start()
    wait_for(lambda: agent.driver.get(gone.id).state == "absent")
    wait_for(lambda: agent.driver.get(down.id).state == "stopped")
    wait_for(lambda: agent.alive() == [])
    assert not (agent.home / "instances" / gone.id).exists()


@pytest.mark.slow
def test_one_damaged_record_does_not_hide_the_others_and_can_be_deleted(own_agent):
    agent = own_agent().start()
    broken, whole = agent.create(start=False), agent.create(start=False)
    agent.end()
    (agent.home / "instances" / broken.id / "spec.json").write_text("{")
    agent.start()
    states = {seen.id: seen for seen in agent.driver.list()}
    assert states[whole.id].state == "stopped"
    assert states[broken.id].state == "error"
    assert "damaged" in states[broken.id].error
    with pytest.raises(Fatal, match="damaged"):
        agent.driver.start(broken.id, generation=2)
    agent.driver.delete(broken.id, generation=2)
    assert agent.driver.get(broken.id).state == "absent"
    assert not (agent.home / "instances" / broken.id).exists()


@pytest.mark.slow
def test_an_instance_that_cannot_start_is_in_error_with_the_reason_and_a_rebuild_mends_it(own_agent):
    agent = own_agent().start()
    first = agent.create()
    agent.run(first, "sudo rm /usr/bin/dash")
    agent.driver.stop(first.id, generation=2)
    with pytest.raises(Fatal, match="/bin/sh"):
        agent.driver.start(first.id, generation=3)
    seen = agent.driver.get(first.id)
    assert seen.state == "error"
    assert "/bin/sh" in seen.error
    assert agent.alive() == []
    again = agent.driver.rebuild(first.id, image="debian-12", generation=4)
    assert (again.ready, again.error, again.endpoint) == (True, "", first.endpoint)


def test_a_signal_to_what_has_just_ended_by_itself_is_no_failure():
    child = subprocess.Popen(["true"])
    ended = sandbox.Running(os.pidfd_open(child.pid), child.pid, boot_id="", groups=[])
    child.wait()
    ended.signal(signal.SIGKILL)
    os.close(ended.pidfd)


def test_a_rebuild_throws_the_disk_away(agent):
    first = agent.create()
    agent.run(first, "echo old > file; sudo sh -c 'mkdir -m 0 /closed; chmod 0 /closed'")
    again = agent.driver.rebuild(first.id, image="debian-12", generation=2)
    assert agent.run(again, "ls; ls -d /closed 2> /dev/null || echo fresh") == "fresh"
    assert [path.name for path in (agent.home / "instances" / first.id).glob("disk-*")] == ["disk-2"]


@pytest.mark.slow
def test_only_one_agent_may_own_a_home(own_agent):
    agent = own_agent().start()
    argv = [*agent.who.command, "-m", "node.agent", "--home", str(agent.home)]
    second = subprocess.run(argv, capture_output=True, check=False, timeout=20, cwd="/" if agent.who.user else None)
    assert second.returncode == 1
    assert b"already runs" in second.stderr
    assert agent.driver.list() == []


@pytest.mark.slow
def test_a_home_too_deep_for_a_socket_gets_a_short_one_that_the_driver_finds(own_agent, agent):
    shallow = own_agent()
    home = shallow.home / ("d" * 60) / ("e" * 60)
    home.parent.mkdir()
    agent.who.own(home.parent)
    deep = Agent(agent.who, home)
    deep.start()
    try:
        path = client.socket_path(home)
        assert len(str(path)) <= client.LONGEST_PATH
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert deep.run(deep.create(), "echo deep") == "deep"
    finally:
        deep.close()


@pytest.mark.slow
def test_a_full_machine_refuses_creates_and_says_how_much_is_free(own_agent):
    agent = own_agent(options=("--stop-instances-on-exit", "--memory-mb", "1")).start()
    with pytest.raises(Capacity, match=r"The node has \d+ MB of memory free and keeps \d+ MB. Stop or delete"):
        agent.create()
    assert agent.driver.list() == []


def test_an_agent_that_is_not_there_is_told_in_plain_words(tmp_path):
    driver = LocalDriver(tmp_path)
    able = driver.probe()
    assert not able.ok
    assert able.reason == "the node agent is not running"
    assert "manage.py up" in able.remedy
    with pytest.raises(Retryable, match="the node agent is not running"):
        driver.list()


def test_a_port_taken_by_somebody_else_gives_way_to_another(agent):
    spec = agent.spec(start=False)
    first = agent.driver.create(spec)
    argv = [
        "python3",
        "-c",
        f"import socket; s = socket.create_server(('{first.endpoint.host}', {first.endpoint.port})); print(flush=True); input()",
    ]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as squatter:
        squatter.stdout.readline()
        moved = agent.driver.start(spec.id, generation=2)
        assert moved.endpoint.host == first.endpoint.host
        assert moved.endpoint.port >= 2222
        assert moved.endpoint.port != first.endpoint.port
        assert agent.run(moved, "echo in") == "in"
        squatter.communicate(b"\n")


def test_user_data_runs_once_as_the_user_with_its_output_on_the_console(agent):
    script = "#!/usr/bin/env python3\nimport getpass, os\nprint('hello from', getpass.getuser(), os.getcwd(), os.environ['http_proxy'])\nopen('ran', 'a').write('x')\n"
    first = agent.create(user_data=script)
    wait_for(lambda: b"hello from lambda /home/lambda http://127.0.0.1:3128" in agent.driver.console(first.id))
    wait_for(lambda: agent.run(first, "cat ran") == "x")
    again = agent.driver.restart(first.id, generation=2)
    time.sleep(0.3)
    assert agent.run(again, "cat ran") == "x"
    rebuilt = agent.driver.rebuild(first.id, image="debian-12", generation=3)
    wait_for(lambda: agent.run(rebuilt, "cat ran || true") == "x")


def test_user_data_without_an_interpreter_is_run_by_the_shell(agent):
    first = agent.create(user_data="echo plain-$((40 + 2)); sudo id -u\n")
    wait_for(lambda: b"plain-42\n0\n" in agent.driver.console(first.id))


@pytest.mark.slow
def test_user_data_and_keys_do_not_appear_in_the_agents_log(own_agent):
    agent = own_agent().start()
    agent.run(agent.create(user_data="echo secret-in-user-data"), "true")
    log = agent.log.read_text()
    assert "secret-in-user-data" not in log
    assert "ssh-ed25519" not in log


@pytest.mark.slow
def test_a_console_that_grows_is_cut_to_its_newest_part(agent):
    first = agent.create(user_data="seq -f 'line %.0f of many' 200000; sleep 7; echo still-here")
    console = agent.home / "instances" / first.id / "console.log"
    wait_for(lambda: console.stat().st_size > 1 << 20)
    wait_for(lambda: console.stat().st_size < 1 << 19)
    assert agent.driver.console(first.id).endswith(b"line 200000 of many\n")
    wait_for(lambda: agent.driver.console(first.id).endswith(b"many\nstill-here\n"))


def test_a_forced_stop_cuts_a_polite_one_short(agent):
    first = agent.create()
    agent.ssh(first, "nohup sh -c 'trap \"\" TERM HUP; while :; do sleep 1; done' > /dev/null 2>&1 &")
    polite = threading.Thread(target=lambda: agent.driver.stop(first.id, generation=2, grace_seconds=30))
    polite.start()
    wait_for(lambda: agent.driver.get(first.id).state == "stopping")
    begun = time.monotonic()
    assert agent.driver.stop(first.id, generation=2, grace_seconds=0).state == "stopped"
    assert time.monotonic() - begun < 5
    polite.join()


def test_a_polite_stop_lets_processes_end_by_themselves(agent):
    first = agent.create()
    agent.ssh(
        first,
        "nohup sh -c 'trap \"echo goodbye > said; exit\" TERM; touch listens; while :; do sleep 0.1; done' "
        "> /dev/null 2>&1 & until [ -e listens ]; do sleep 0.05; done",
    )
    agent.driver.stop(first.id, generation=2, grace_seconds=10)
    assert agent.run(agent.driver.start(first.id, generation=3), "cat said") == "goodbye"


@pytest.mark.slow
def test_a_fork_server_that_died_is_replaced(own_agent):
    agent = own_agent().start()
    first = agent.create()
    servers = [
        int(pid)
        for pid in subprocess.run(
            ["pgrep", "-P", str(agent.process.pid)], capture_output=True, check=True
        ).stdout.split()
    ]
    for pid in servers:
        os.kill(pid, signal.SIGKILL)
    assert wait_for(lambda: agent.ssh(first, "echo back").stdout) == b"back\n"


def test_two_creates_of_one_instance_at_the_same_time_make_one(agent):
    spec = agent.spec()
    seen: list = []
    threads = [threading.Thread(target=lambda: seen.append(agent.driver.create(spec))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 4
    assert len({one.boot_id for one in seen}) == 1


@pytest.mark.parametrize("id", ["../../etc", "a/b", "", "x" * 200, "-rf", "A"])
def test_an_id_that_is_no_plain_name_never_becomes_a_path(agent, id):
    with pytest.raises(Fatal, match="lower-case letters"):
        agent.create(id=id)
    with pytest.raises(Fatal, match="lower-case letters"):
        agent.driver.delete(id, generation=1)


def test_a_host_name_that_would_write_more_than_a_name_is_refused(agent):
    for hostname in ("a\nb", "", "a b", "-a", "x" * 64):
        with pytest.raises(Fatal, match="host name"):
            agent.create(hostname=hostname)


@pytest.mark.slow
def test_memory_limits_change_while_running_where_they_are_enforced(agent):
    if agent.driver.probe().limits["memory"] != "enforced":
        assert agent.who.tier == "user"
        return
    first = agent.create(memory_mb=256)
    taker = "python3 -c 'print(len(bytearray(400 << 20)))'"
    assert agent.ssh(first, taker).returncode != 0
    agent.driver.resize(first.id, vcpus=1, memory_mb=1024, disk_gb=5, generation=2)
    assert agent.run(first, taker) == str(400 << 20)
    with pytest.raises(Conflict):
        agent.driver.resize(first.id, vcpus=1, memory_mb=256, disk_gb=5, generation=1)
