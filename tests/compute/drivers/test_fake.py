"""What the fake driver can do for tests beyond the contract: fail, dawdle, share its machines between processes."""

import time

import pytest

from compute.drivers.base import Capacity, Driver, InstanceSpec, Retryable
from compute.drivers.fake import FakeDriver

SPEC = InstanceSpec("inst_1", "web-1", "debian-12", 1, 1024, 10, ("ssh-ed25519 AAAA",))


@pytest.fixture
def driver(tmp_path) -> FakeDriver:
    return FakeDriver(tmp_path)


def test_it_fails_as_often_as_it_was_told_and_does_nothing_meanwhile(driver):
    driver.fail_next("create", Capacity("The node is full."), times=2)
    for _ in range(2):
        with pytest.raises(Capacity, match=r"The node is full\."):
            driver.create(SPEC)
        assert driver.get("inst_1").state == "absent"
    assert driver.create(SPEC).ready
    assert driver.calls("create") == 3


def test_faults_of_one_method_leave_the_others_alone(driver):
    driver.fail_next("stop", Retryable("later"))
    driver.create(SPEC)
    with pytest.raises(Retryable):
        driver.stop("inst_1", generation=2)
    assert driver.get("inst_1").state == "running"


def test_a_failing_probe_is_an_answer_and_not_an_error(driver):
    driver.fail_next("probe", Retryable("the node agent is not running"))
    assert (driver.probe().ok, driver.probe().ok) == (False, True)


def test_it_dawdles_once(driver):
    driver.slow_next("create", 0.2)
    begun = time.monotonic()
    driver.create(SPEC)
    assert time.monotonic() - begun > 0.2
    begun = time.monotonic()
    driver.create(SPEC)
    assert time.monotonic() - begun < 0.2


def test_two_drivers_on_one_home_see_the_same_machines(driver, tmp_path):
    driver.create(SPEC)
    other: Driver = FakeDriver(tmp_path)
    assert other.get("inst_1") == driver.get("inst_1")
    other.delete("inst_1", generation=2)
    assert driver.get("inst_1").state == "absent"


def test_an_instance_can_go_down_by_itself(driver):
    driver.create(SPEC)
    driver.go_down("inst_1")
    assert driver.get("inst_1").state == "stopped"
    driver.go_down("inst_1", error="The disk is on fire.")
    assert (driver.get("inst_1").state, driver.get("inst_1").error) == ("error", "The disk is on fire.")
    assert driver.start("inst_1", generation=2).ready


def test_reset_forgets_everything(driver):
    driver.create(SPEC)
    driver.reset()
    assert (driver.list(), driver.calls("create")) == ([], 0)
