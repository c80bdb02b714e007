"""Functions: what their verbs do, record, refuse and leave to the worker."""

import pytest

from catalog.models import Plan
from core.context import SYSTEM
from core.errors import Invalid
from core.models import Counter, Event, Resource
from functions.actions import functions
from functions.actions.functions import FunctionExists, FunctionQuotaExceeded, InvalidState
from functions.archive import inline
from functions.calls import runner_name
from functions.models import Code, Function, FunctionVersion
from functions.tasks import reconcile
from tests.make import SOURCE, make_account, make_function, runner

pytestmark = pytest.mark.django_db

WANTED = {"name": "hello", "runtime": "Python 3.11", "handler": "app.handler"}


def again(function: Function) -> Function:
    return Function.objects.select_related("account__plan").get(pk=function.pk)


def built(function: Function) -> Function:
    reconcile(function_id=str(function.pk))
    return again(function)


def code(source: str) -> bytes:
    return inline(source, "python3.11", "app.handler")


def events_of(function: Function) -> list[str]:
    return list(Event.objects.filter(subject_id=function.pk).order_by("seq").values_list("type", flat=True))


def test_a_function_without_code_is_created_and_waits():
    function = functions.create(account=make_account(), by=SYSTEM, **WANTED)
    assert (function.state, function.live, function.newest) == ("created", None, 0)
    assert events_of(function) == ["function.created"]
    function = built(function)
    assert function.state == "created"


def test_a_function_is_a_resource_with_the_same_digits_as_its_id():
    function = make_function(memory=1024, tags=["login"])
    row = Resource.objects.get(native_id=function.pk)
    assert function.public_id.removeprefix("FUNC_") == row.number.removeprefix("RES_")
    assert (row.kind, row.status, row.detail["memory_mb"], row.tags) == ("function", "active", 1024, {"login": ""})


def test_its_first_code_is_built_checked_and_then_live():
    function = functions.create(account=make_account(), by=SYSTEM, **WANTED, code={"inline": SOURCE})
    assert function.state == "created"
    function = built(function)
    assert (function.state, function.live, function.next_attempt_at) == ("active", 1, None)
    assert FunctionVersion.objects.get().state == "ready"
    assert events_of(function) == ["function.created", "function.deployed"]
    assert runner().calls("set_live") == 1


def test_a_first_build_that_fails_fails_the_function_with_the_codes_own_words():
    function = make_function(state="failed")
    assert (function.state, function.live) == ("failed", None)
    assert "No module named 'missing'" in function.status_reason
    assert FunctionVersion.objects.get().error["type"] == "Runtime.ImportModuleError"
    assert events_of(function)[-1] == "function.deploy_failed"


def test_the_old_version_stays_live_until_the_new_one_is_and_where_it_fails():
    function = make_function()
    runner().break_builds(runner_name(function.pk), "Runtime.UserCodeSyntaxError", "invalid syntax")
    function = functions.deploy(function=function, by=SYSTEM, code=code("x = 1 +\n"))
    assert (function.state, function.live, function.newest) == ("active", 1, 2)
    function = built(function)
    assert (function.state, function.live) == ("active", 1)
    assert function.status_reason.startswith("Version 2 failed: Runtime.UserCodeSyntaxError")


def test_another_configuration_is_another_version_of_the_same_code():
    function = make_function()
    function = built(functions.update(function=function, by=SYSTEM, memory=512, env={"LEVEL": "debug"}))
    new, old = FunctionVersion.objects.order_by("-number")
    assert (function.live, new.memory_mb, new.env, old.memory_mb, old.env) == (2, 512, {"LEVEL": "debug"}, 128, {})
    assert new.code_id == old.code_id
    assert Code.objects.count() == 1


def test_another_name_or_other_tags_deploy_nothing():
    function = functions.update(function=make_function(), by=SYSTEM, name="other", tags=["a", "b", "a"])
    assert (function.name, function.tags, function.newest) == ("other", ["a", "b"], 1)


def test_the_way_back_makes_the_old_code_and_configuration_live_at_once():
    function = built(functions.update(function=make_function(), by=SYSTEM, memory=512))
    function = functions.activate(function=function, by=SYSTEM, number=1)
    assert (function.live, function.memory_mb, function.newest) == (1, 128, 2)
    assert events_of(function)[-1] == "function.activated"
    assert functions.activate(function=function, by=SYSTEM, number=1).live == 1
    assert events_of(function).count("function.activated") == 1


def test_another_configuration_after_the_way_back_keeps_the_old_code():
    function = built(functions.deploy(function=make_function(), by=SYSTEM, code=code("x = 2")))
    runner().break_builds(runner_name(function.pk), "Runtime.UserCodeSyntaxError", "invalid syntax")
    function = built(functions.deploy(function=function, by=SYSTEM, code=code("x = 1 +")))
    assert (function.live, function.newest) == (2, 3)
    function = functions.activate(function=function, by=SYSTEM, number=1)
    function = functions.update(function=function, by=SYSTEM, memory=512)
    functions.update(function=function, by=SYSTEM, memory=256)
    codes = dict(FunctionVersion.objects.values_list("number", "code_id"))
    assert codes[4] == codes[5] == codes[1] != codes[2]


def test_another_configuration_gives_newer_code_that_failed_another_try():
    function = make_function()
    runner().break_builds(runner_name(function.pk), "KeyError", "'NEEDED'")
    function = built(functions.deploy(function=function, by=SYSTEM, code=code("import os; os.environ['NEEDED']")))
    functions.update(function=function, by=SYSTEM, env={"NEEDED": "1"})
    codes = dict(FunctionVersion.objects.values_list("number", "code_id"))
    assert codes[3] == codes[2] != codes[1]


def test_going_back_while_a_version_is_built_keeps_that_one_from_going_live():
    function = functions.update(function=make_function(), by=SYSTEM, memory=512)
    version = FunctionVersion.objects.get(number=2)
    functions.update(function=function, by=SYSTEM, memory=256)
    version.refresh_from_db()
    assert (version.state, version.error["type"]) == ("failed", "Deployment.Superseded")
    function = built(function)
    assert (function.live, function.memory_mb) == (3, 256)


def test_what_is_live_can_be_activated_to_keep_a_version_that_is_built_from_going_live():
    function = functions.deploy(function=make_function(), by=SYSTEM, code=code("x = 2"))
    function = functions.activate(function=function, by=SYSTEM, number=1)
    assert FunctionVersion.objects.get(number=2).error["type"] == "Deployment.Superseded"
    function = built(function)
    assert (function.live, events_of(function)[-1]) == (1, "function.activated")
    functions.update(function=function, by=SYSTEM, memory=512)
    codes = dict(FunctionVersion.objects.values_list("number", "code_id"))
    assert codes[3] == codes[1] != codes[2]


def test_only_a_version_that_was_built_can_be_live():
    function = functions.update(function=make_function(), by=SYSTEM, memory=512)
    with pytest.raises(InvalidState, match="building"):
        functions.activate(function=function, by=SYSTEM, number=2)


def test_the_oldest_versions_go_with_their_code_and_the_live_one_stays():
    function = make_function()
    for number in range(2, functions.KEPT_VERSIONS + 4):
        code = inline(f"def handler(event, context):\n    return {number}\n", "python3.11", "app.handler")
        functions.deploy(function=function, by=SYSTEM, code=code)
    kept = sorted(FunctionVersion.objects.values_list("number", flat=True))
    assert kept == [1, *range(4, functions.KEPT_VERSIONS + 4)]
    assert Code.objects.count() == len(kept)


def test_secrets_reach_the_runner_and_no_row_in_the_clear():
    function = make_function(env={"LEVEL": "debug"}, secrets={"TOKEN": "s3cr3t"})
    assert function.secret_names == ["TOKEN"]
    assert "s3cr3t" not in function.sealed_secrets
    revision = next(iter(runner_revisions().values()))
    assert revision["env"] == {"LEVEL": "debug", "TOKEN": "s3cr3t"}
    assert "s3cr3t" not in str(list(Event.objects.values()))
    function = functions.update(function=function, by=SYSTEM, secrets={"TOKEN": None, "OTHER": "x"})
    assert (function.secret_names, function.secrets) == (["OTHER"], {"OTHER": "x"})


def runner_revisions() -> dict:
    with runner()._state() as state:
        return state["revisions"]


def test_a_change_that_changes_nothing_makes_no_version():
    function = make_function(secrets={"TOKEN": "x"})
    function = functions.update(function=function, by=SYSTEM, memory=128, secrets={"TOKEN": "x"})
    assert function.newest == 1


def test_a_name_is_unique_in_its_account_alone():
    alice = make_account()
    first = make_function(alice, name="hello")
    with pytest.raises(FunctionExists) as refused:
        functions.create(account=alice, by=SYSTEM, **WANTED)
    assert refused.value.details["existing_id"] == first.public_id
    make_function(make_account(), name="hello")


def test_a_function_can_take_no_name_that_another_has():
    alice = make_account()
    make_function(alice, name="hello")
    with pytest.raises(FunctionExists):
        functions.update(function=make_function(alice), by=SYSTEM, name="hello")


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(Invalid) as refused:
        functions.create(
            account=make_account(), by=SYSTEM, name="-", runtime="cobol", handler="nothing", memory=1, timeout=1000,
            region="mars", tags=[""], env={"1A": "x", "AWS_LAMBDA_X": "y"}, secrets={"B": "\0"}, max_concurrency=0,
        )  # fmt: skip
    fields = {error.field for error in refused.value.errors}
    assert fields == {
        "name", "runtime", "handler", "memory", "timeout", "region", "tags", "env.1A", "env.AWS_LAMBDA_X",
        "secrets.B", "max_concurrency",
    }  # fmt: skip


def test_the_plan_limits_how_many_there_are():
    Plan.objects.filter(slug="free").update(max_functions=1)
    alice = make_account(plan="free")
    make_function(alice)
    with pytest.raises(FunctionQuotaExceeded) as refused:
        functions.create(account=alice, by=SYSTEM, **WANTED)
    assert refused.value.details == {"limit": 1, "used": 1, "requested": 1}


def test_a_deleted_function_leaves_no_row_and_no_code_but_its_events():
    function = make_function()
    functions.delete(function=function, by=SYSTEM)
    reconcile(function_id=str(function.pk))
    assert not Function.objects.exists()
    assert not Code.objects.exists()
    assert events_of(function)[-1] == "function.deleted"
    assert Counter.of(function.account, "function") == 0
    assert Resource.objects.get(native_id=function.pk).deleted_at


def test_what_is_being_deleted_can_no_longer_be_changed():
    function = make_function(state="deleting")
    assert functions.delete(function=function, by=SYSTEM).state == "deleting"
    with pytest.raises(InvalidState):
        functions.update(function=function, by=SYSTEM, memory=256)


def test_only_an_active_function_can_be_deprecated_and_it_goes_on_being_deployed():
    with pytest.raises(InvalidState):
        functions.deprecate(function=make_function(state="created"), by=SYSTEM)
    function = functions.deprecate(function=make_function(), by=SYSTEM, message="Use b", replacement="b")
    assert (function.state, function.deprecation, function.replacement) == ("deprecated", "Use b", "b")
    function = built(functions.update(function=function, by=SYSTEM, memory=256))
    assert (function.state, function.live) == ("deprecated", 2)
