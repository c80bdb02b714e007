"""Instance verbs: who may move an instance from where to where, and what each move leaves behind.

Over 300 lines long, because the verbs of one noun belong on one page, and so do their tests.
"""

from decimal import Decimal

import pytest

from catalog.models import InstanceType
from compute.actions import instances
from compute.actions.instances import InstanceProtected, InstanceQuotaExceeded, InvalidState
from compute.drivers.base import Capabilities
from compute.models import Instance
from compute.models.instance import LIFECYCLE, STATES
from core import epoch
from core.context import SYSTEM
from core.errors import Invalid, Unavailable
from core.models import Counter, Event
from core.states import StateChanged
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]

VERBS = {
    "start": (instances.start, {}, {"stopped", "error"}),
    "stop": (instances.stop, {}, {"running", "starting", "restarting", "error"}),
    "restart": (instances.restart, {}, {"running"}),
    "resize": (instances.resize, {"instance_type": "compute-4x", "restart": True}, {"running", "stopped"}),
    "rebuild": (instances.rebuild, {"image": "debian-12"}, {"running", "stopped", "error"}),
    "delete": (instances.delete, {}, set(LIFECYCLE.sources("deleting"))),
}
# Where the instance is on its way there, or there, already: nothing is done and nothing is refused.
ALREADY = {
    "start": {"pending", "provisioning", "starting", "running"},
    "stop": {"stopping", "stopped"},
    "delete": {"deleting"},
}
ALIVE = [state for state in STATES if state != "deleted"]


def types():
    return list(Event.objects.order_by("seq").filter(subject_kind="instance").values_list("type", flat=True))


def fresh(row):
    return Instance.objects.select_related("account__plan").get(pk=row.pk)


@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize("name", VERBS)
def test_each_verb_is_taken_in_its_states_and_refused_in_all_others(name, state):
    verb, arguments, allowed = VERBS[name]
    row = fresh(make.make_instance(state=state))
    before = (row.state, row.generation)
    if state in allowed:
        after = verb(instance=row, by=SYSTEM, **arguments)
        assert after.generation == before[1] + 1
        assert fresh(row).next_attempt_at is not None
        assert types()[-1] == "instance.updated"
    elif state in ALREADY.get(name, set()):
        count = Event.objects.count()
        assert verb(instance=row, by=SYSTEM, **arguments).generation == before[1]
        assert Event.objects.count() == count
    else:
        with pytest.raises(InvalidState) as refused:
            verb(instance=row, by=SYSTEM, **arguments)
        assert refused.value.details["current"] == state
        assert set(refused.value.details["allowed_from"]) == allowed
        assert (fresh(row).state, fresh(row).generation) == before


def test_every_state_can_be_made_by_the_builders():
    assert {make.make_instance(state=state).state for state in ALIVE} == set(ALIVE)


def test_a_new_instance_copies_what_was_bought():
    row = make.make_instance(state="pending", instance_type="t2.medium", region="us-east")
    assert (row.instance_type, row.region) == ("compute-4x", "us-east-1")
    assert (row.vcpus, row.memory_mb, row.disk_gb) == (4, 4096, 40)
    assert row.hourly_price == Decimal("0.032")
    assert types() == ["instance.requested"]
    InstanceType.objects.filter(slug="compute-4x").update(vcpus=99)
    assert fresh(row).vcpus == 4


def test_what_is_no_longer_sold_cannot_be_bought():
    InstanceType.objects.filter(slug="compute-1x").update(on_sale=False)
    epoch.advance()
    with pytest.raises(Invalid) as refused:
        make.make_instance()
    assert "compute-1x" not in refused.value.errors[0].allowed_values


def test_a_first_start_is_creation_and_a_later_one_a_start():
    row = make.make_instance(state="running")
    row = instances.stop(instance=row, by=SYSTEM)
    row = instances.mark_stopped(instance=row)
    row = instances.start(instance=row, by=SYSTEM)
    instances.mark_running(instance=row, observed=make.observed(row))
    assert types() == [
        "instance.requested",
        "instance.created",
        "instance.ready",
        "instance.updated",
        "instance.stopped",
        "instance.updated",
        "instance.started",
        "instance.ready",
    ]


@pytest.mark.parametrize(
    ("state", "event"), [("restarting", "restarted"), ("resizing", "resized"), ("rebuilding", "rebuilt")]
)
def test_what_was_done_is_said_when_it_is_up_again(state, event):
    row = make.make_instance(state=state)
    instances.mark_running(instance=row, observed=make.observed(row))
    assert f"instance.{event}" in types()[-2:]


def test_it_is_ready_only_once_ssh_answers_and_says_so_once():
    row = make.make_instance(state="provisioning")
    row = instances.mark_running(instance=row, observed=make.observed(row, ready=False))
    assert (row.ready, types()[-1]) == (False, "instance.created")
    assert fresh(row).next_attempt_at is not None
    for _ in range(2):
        instances.mark_ready(instance=row)
    assert fresh(row).ready
    assert fresh(row).next_attempt_at is None
    assert types().count("instance.ready") == 1


def test_one_without_an_address_is_ready_when_it_runs():
    row = make.make_instance(state="provisioning", public_ip=False)
    row = instances.mark_running(instance=row, observed=make.observed(row, ready=False, endpoint=None))
    assert (row.ready, row.public_ip, row.ssh_command) == (True, None, None)


def test_a_late_worker_moves_nothing():
    """It read the row before the user asked for something else."""
    row = make.make_instance(state="provisioning")
    late = fresh(row)
    instances.delete(instance=row, by=SYSTEM)
    count = Event.objects.count()
    for verb in (
        lambda: instances.mark_running(instance=late, observed=make.observed(late)),
        lambda: instances.mark_stopped(instance=late),
        lambda: instances.mark_failed(instance=late, reason="too late"),
    ):
        late.state = "provisioning"
        with pytest.raises(StateChanged):
            verb()
    assert fresh(row).state == "deleting"
    assert Event.objects.count() == count


def test_changing_its_name_while_it_is_made_does_not_undo_that_it_runs():
    row = make.make_instance(state="provisioning")
    stale = fresh(row)
    instances.mark_running(instance=fresh(row), observed=make.observed(row))
    instances.update(instance=stale, by=SYSTEM, name="renamed", tags={"env": "prod"}, protected=True)
    stored = fresh(row)
    assert (stored.state, stored.ready, stored.name, stored.protected) == ("running", True, "renamed", True)
    assert stored.public_ip == "127.0.0.1"
    assert stored.metered_from is not None


def test_a_worker_that_read_before_the_name_changed_keeps_the_new_name():
    row = make.make_instance(state="provisioning")
    worker = fresh(row)
    instances.update(instance=fresh(row), by=SYSTEM, name="renamed", tags={"env": "prod"})
    instances.mark_running(instance=worker, observed=make.observed(worker))
    assert (fresh(row).name, fresh(row).tags, fresh(row).state) == ("renamed", {"env": "prod"}, "running")


def test_tags_are_merged_and_none_removes_one():
    row = make.make_instance(tags={"env": "prod", "team": "web"})
    row = instances.update(instance=row, by=SYSTEM, tags={"env": None, "new": "x"})
    assert fresh(row).tags == {"team": "web", "new": "x"}


def test_every_change_raises_the_version_and_moves_updated_at():
    row = make.make_instance(state="pending")
    seen = [fresh(row)]
    for step in (
        lambda: instances.postpone(instance=fresh(row), reason="The node is busy"),
        lambda: instances.mark_provisioning(instance=fresh(row)),
        lambda: instances.mark_running(instance=fresh(row), observed=make.observed(row, ready=False)),
        lambda: instances.mark_ready(instance=fresh(row)),
        lambda: instances.update(instance=fresh(row), by=SYSTEM, name="x"),
        lambda: instances.stop(instance=fresh(row), by=SYSTEM),
    ):
        step()
        seen.append(fresh(row))
    for what in ("version", "updated_at"):
        values = [getattr(one, what) for one in seen]
        assert values == sorted(set(values)), what


@pytest.mark.parametrize("verb", [instances.delete, lambda **given: instances.rebuild(image="debian-12", **given)])
def test_a_protected_instance_keeps_its_disk_until_protection_is_off(verb):
    row = make.make_instance(protected=True)
    with pytest.raises(InstanceProtected):
        verb(instance=row, by=SYSTEM)
    row = instances.update(instance=row, by=SYSTEM, protected=False)
    verb(instance=row, by=SYSTEM)


def test_a_deleted_instance_leaves_its_events_and_gives_its_quota_back():
    account = make.make_account()
    row = make.make_instance(account, state="deleting")
    assert Counter.of(account, "instance") == Counter.of(account, "vcpu") == 1
    instances.mark_deleted(instance=row)
    assert not Instance.objects.filter(pk=row.pk).exists()
    assert Counter.of(account, "instance") == Counter.of(account, "vcpu") == 0
    assert types()[-1] == "instance.deleted"
    with pytest.raises(InvalidState):
        instances.start(instance=row, by=SYSTEM)


def test_an_error_says_why_and_can_be_started_rebuilt_stopped_or_deleted():
    row = make.make_instance(state="error")
    assert row.status_reason == "The disk is full"
    assert LIFECYCLE.transitions["error"] == {"starting", "stopping", "rebuilding", "deleting"}
    row = instances.start(instance=row, by=SYSTEM)
    assert fresh(row).status_reason == ""


def test_a_reason_of_any_length_fits():
    row = make.make_instance(state="provisioning")
    instances.mark_failed(instance=row, reason="x" * 5000)
    assert len(fresh(row).status_reason) == 500


class TestQuotas:
    @pytest.fixture
    def account(self):
        return make.make_account(plan="free")  # 5 instances, 8 vCPUs

    def test_the_plan_limits_instances(self, account):
        for _ in range(5):
            make.make_instance(account, state="pending")
        with pytest.raises(InstanceQuotaExceeded) as refused:
            make.make_instance(account)
        assert (refused.value.details["limit"], refused.value.details["used"]) == (5, 5)
        assert Counter.of(account, "instance") == 5
        assert Instance.objects.filter(account=account).count() == 5

    def test_the_plan_limits_vcpus(self, account):
        make.make_instance(account, instance_type="compute-4x", state="pending")
        with pytest.raises(InstanceQuotaExceeded) as refused:
            make.make_instance(account, instance_type="compute-8x")
        details = refused.value.details
        assert (details["limit"], details["used"], details["requested"]) == (8, 4, 8)
        assert (Counter.of(account, "instance"), Counter.of(account, "vcpu")) == (1, 4)

    def test_a_resize_takes_and_gives_back_the_difference(self, account):
        row = make.make_instance(account, state="stopped", instance_type="compute-2x")
        with pytest.raises(InstanceQuotaExceeded):
            instances.resize(instance=row, by=SYSTEM, instance_type="compute-16x")
        row = instances.resize(instance=row, by=SYSTEM, instance_type="compute-8x")
        assert Counter.of(account, "vcpu") == 8
        instances.mark_stopped(instance=row)
        instances.mark_deleted(instance=instances.delete(instance=row, by=SYSTEM))
        assert (Counter.of(account, "instance"), Counter.of(account, "vcpu")) == (0, 0)

    def test_a_refused_resize_gives_back_what_it_took(self, account):
        row = make.make_instance(account, state="pending", instance_type="compute-2x")
        with pytest.raises(InvalidState):
            instances.resize(instance=row, by=SYSTEM, instance_type="compute-4x")
        assert Counter.of(account, "vcpu") == 2

    def test_one_accounts_instances_count_for_no_other(self, account):
        for _ in range(5):
            make.make_instance(account, state="pending")
        make.make_instance(make.make_account(plan="free"), state="pending")


def test_a_disk_cannot_shrink():
    row = make.make_instance(state="stopped", instance_type="compute-4x")
    with pytest.raises(Invalid, match="cannot shrink"):
        instances.resize(instance=row, by=SYSTEM, instance_type="compute-1x")


def test_a_running_instance_is_resized_only_with_consent_to_a_restart():
    row = make.make_instance(state="running")
    with pytest.raises(InvalidState, match="restart: true"):
        instances.resize(instance=row, by=SYSTEM, instance_type="compute-2x")


def test_a_resize_to_the_same_type_changes_nothing():
    row = make.make_instance(state="stopped")
    assert instances.resize(instance=row, by=SYSTEM, instance_type="compute-1x").state == "stopped"


class TestANodeThatCannotRunInstances:
    @pytest.fixture(autouse=True)
    def _broken(self, django_capture_on_commit_callbacks):
        broken = Capabilities(ok=False, reason="User namespaces are off.", remedy="sysctl kernel.x=1")
        with django_capture_on_commit_callbacks(execute=True):
            instances.note_node(name="local", capabilities=broken)

    def test_creating_says_why_and_how_to_mend_it(self):
        with pytest.raises(Unavailable, match="User namespaces are off") as refused:
            make.make_instance()
        assert refused.value.suggestion == "sysctl kernel.x=1"
        assert not Instance.objects.exists()

    def test_it_can_be_used_again_as_soon_as_it_is_mended(self, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            instances.note_node(name="local", capabilities=Capabilities(ok=True, os="Debian 12"))
        assert make.make_instance(state="pending").os == "Debian 12"


class TestSshKeysOfAnInstance:
    @pytest.fixture
    def account(self):
        return make.make_account()

    def test_are_named_by_id_or_name_and_copied(self, account):
        key = make.make_ssh_key(account, name="laptop")
        by_name = make.make_instance(account, state="pending", ssh_keys=["laptop"])
        by_id = make.make_instance(account, state="pending", ssh_keys=[key.public_id, "laptop", key.public_id])
        assert by_name.ssh_keys == by_id.ssh_keys
        assert by_name.ssh_keys == [{"id": key.public_id, "name": "laptop", "public_key": key.public_key}]

    def test_of_another_account_do_not_exist(self, account):
        charlies = make.make_ssh_key(make.make_account(), name="laptop")
        for text in (charlies.public_id, "laptop"):
            with pytest.raises(Invalid, match="There is no SSH key"):
                make.make_instance(account, ssh_keys=[text])

    def test_with_the_same_name_must_be_told_apart_by_id(self, account):
        keys = [make.make_ssh_key(account, name="laptop", generate=True) for _ in range(2)]
        with pytest.raises(Invalid, match="Several SSH keys are named 'laptop'") as refused:
            make.make_instance(account, ssh_keys=["laptop"])
        assert set(refused.value.errors[0].allowed_values) == {key.public_id for key in keys}
