"""The promises of `compute.drivers.base.Driver`, for every driver: the fake one, and the local one as root and as a user."""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator

import pytest

from compute.drivers.base import Conflict, Driver, InstanceSpec, NotFound
from compute.drivers.fake import FakeDriver
from tests.node import agents
from tests.node.agents import Agent

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMWVRFkFyLbBPlw2RVbZG9pW4Q6kVxDxZkB0FRrCwNHE alice"
numbers = itertools.count(1)


@pytest.fixture(scope="module", params=["fake", *agents.TIERS])
def driver(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Driver]:
    if request.param == "fake":
        yield FakeDriver(tmp_path_factory.mktemp("fake"))
        return
    who = agents.login(request.param)
    with agents.home_for(who) as home:
        agent = Agent(who, home).start()
        yield agent.driver
        agent.close()


@pytest.fixture
def make_spec(driver: Driver) -> Iterator[Callable[..., InstanceSpec]]:
    """Makes specifications; whatever was created from them is deleted at the end."""
    made: list[InstanceSpec] = []

    def make(**changes) -> InstanceSpec:
        facts = {
            "hostname": "web-1",
            "image": "debian-12",
            "vcpus": 1,
            "memory_mb": 256,
            "disk_gb": 5,
            "ssh_keys": (KEY,),
        }
        made.append(InstanceSpec(**{"id": f"inst_{os.getpid()}x{next(numbers)}", **facts, **changes}))
        return made[-1]

    yield make
    for spec in made:
        driver.delete(spec.id, generation=10**6)


def test_a_probe_says_that_instances_run_here_and_what_they_run(driver):
    able = driver.probe()
    assert able.ok, (able.reason, able.remedy)
    assert able.tier
    assert able.os
    assert set(able.limits) == {"cpu", "memory", "pids", "disk"}
    assert set(able.limits.values()) <= {"enforced", "best_effort", "none"}


def test_a_created_instance_runs_and_is_ready_at_an_address_of_its_own(driver, make_spec):
    one, two = driver.create(make_spec()), driver.create(make_spec())
    assert (one.state, one.ready, one.generation, one.error) == ("running", True, 1, "")
    assert one.boot_id
    assert one.endpoint.user == "lambda"
    assert one.endpoint.host_key.startswith("ssh-ed25519 ")
    assert one.endpoint.host.startswith("127.")
    assert one.endpoint.host != two.endpoint.host


def test_the_same_create_again_answers_the_same_instance(driver, make_spec):
    spec = make_spec()
    assert driver.create(spec) == driver.create(spec)
    assert [seen.id for seen in driver.list()].count(spec.id) == 1


def test_a_create_with_another_specification_under_the_same_id_is_a_conflict(driver, make_spec):
    spec = make_spec()
    driver.create(spec)
    with pytest.raises(Conflict, match="another specification"):
        driver.create(dataclasses.replace(spec, memory_mb=1024))


def test_an_instance_created_not_to_start_stands_stopped_until_it_is_started(driver, make_spec):
    spec = make_spec(start=False)
    seen = driver.create(spec)
    assert (seen.state, seen.ready, seen.boot_id) == ("stopped", False, "")
    assert driver.start(spec.id, generation=2).ready


def test_an_instance_without_a_public_address_runs_without_an_endpoint(driver, make_spec):
    seen = driver.create(make_spec(public_ip=False))
    assert (seen.state, seen.ready, seen.endpoint) == ("running", True, None)


def test_stop_and_start_keep_the_address_and_the_host_key_but_not_the_boot_id(driver, make_spec):
    first = driver.create(make_spec())
    stopped = driver.stop(first.id, generation=2)
    assert (stopped.state, stopped.ready, stopped.generation) == ("stopped", False, 2)
    again = driver.start(first.id, generation=3)
    assert again.ready
    assert again.endpoint == first.endpoint
    assert again.boot_id != first.boot_id


def test_stopping_twice_and_starting_twice_changes_nothing(driver, make_spec):
    spec = make_spec()
    driver.create(spec)
    assert driver.stop(spec.id, generation=2) == driver.stop(spec.id, generation=2)
    assert driver.start(spec.id, generation=3) == driver.start(spec.id, generation=3)


def test_a_restart_boots_anew_once_per_generation(driver, make_spec):
    first = driver.create(make_spec())
    second = driver.restart(first.id, generation=2)
    assert second.ready
    assert second.boot_id != first.boot_id
    assert driver.restart(first.id, generation=2).boot_id == second.boot_id
    assert driver.restart(first.id, generation=3).boot_id != second.boot_id


def test_a_restart_of_a_stopped_instance_starts_it(driver, make_spec):
    spec = make_spec(start=False)
    driver.create(spec)
    assert driver.restart(spec.id, generation=2).ready


def test_a_resize_keeps_a_running_instance_running(driver, make_spec):
    first = driver.create(make_spec())
    seen = driver.resize(first.id, vcpus=2, memory_mb=1024, disk_gb=10, generation=2)
    assert (seen.state, seen.boot_id, seen.generation) == ("running", first.boot_id, 2)


def test_a_rebuild_starts_anew_with_the_same_address_once_per_generation(driver, make_spec):
    first = driver.create(make_spec())
    second = driver.rebuild(first.id, image="ubuntu-22.04", generation=2)
    assert second.ready
    assert second.endpoint == first.endpoint
    assert second.boot_id != first.boot_id
    assert driver.rebuild(first.id, image="ubuntu-22.04", generation=2).boot_id == second.boot_id


def test_an_operation_older_than_one_carried_out_is_a_conflict(driver, make_spec):
    spec = make_spec()
    driver.create(spec)
    driver.stop(spec.id, generation=5)
    for act in (
        lambda: driver.create(spec),
        lambda: driver.start(spec.id, generation=4),
        lambda: driver.stop(spec.id, generation=4),
        lambda: driver.restart(spec.id, generation=4),
        lambda: driver.resize(spec.id, vcpus=1, memory_mb=256, disk_gb=5, generation=4),
        lambda: driver.rebuild(spec.id, image="debian-12", generation=4),
        lambda: driver.delete(spec.id, generation=4),
    ):
        with pytest.raises(Conflict, match="already carried out"):
            act()
    assert driver.get(spec.id).state == "stopped"


def test_a_deleted_instance_is_absent_and_deleting_it_again_succeeds(driver, make_spec):
    spec = make_spec()
    driver.create(spec)
    driver.delete(spec.id, generation=2)
    driver.delete(spec.id, generation=2)
    assert driver.get(spec.id).state == "absent"
    assert spec.id not in [seen.id for seen in driver.list()]


def test_a_create_that_comes_after_the_delete_does_not_bring_the_instance_back(driver, make_spec):
    never_seen, seen = make_spec(), make_spec()
    driver.create(seen)
    for spec in (never_seen, seen):
        driver.delete(spec.id, generation=2)
        with pytest.raises(Conflict, match="deleted"):
            driver.create(spec)
        assert driver.get(spec.id).state == "absent"


def test_an_unknown_instance_is_absent_to_get_and_not_found_to_everything_else(driver):
    assert driver.get("inst_nobody").state == "absent"
    for act in (
        lambda: driver.start("inst_nobody", generation=1),
        lambda: driver.stop("inst_nobody", generation=1),
        lambda: driver.restart("inst_nobody", generation=1),
        lambda: driver.resize("inst_nobody", vcpus=1, memory_mb=256, disk_gb=5, generation=1),
        lambda: driver.rebuild("inst_nobody", image="debian-12", generation=1),
        lambda: driver.console("inst_nobody"),
    ):
        with pytest.raises(NotFound, match="inst_nobody"):
            act()


def test_the_console_holds_its_newest_bytes(driver, make_spec):
    spec = make_spec()
    driver.create(spec)
    assert b"web-1 started" in driver.console(spec.id)
    assert driver.console(spec.id, max_bytes=4) == driver.console(spec.id)[-4:]
    assert driver.console(spec.id, max_bytes=0) == b""


def test_list_shows_every_instance_with_its_state(driver, make_spec):
    running, stopped = make_spec(), make_spec(start=False)
    driver.create(running)
    driver.create(stopped)
    states = {seen.id: seen.state for seen in driver.list()}
    assert (states[running.id], states[stopped.id]) == ("running", "stopped")
