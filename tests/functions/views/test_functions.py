"""Functions in the dashboard."""

import html

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from functions import archive
from functions.actions import executions
from functions.calls import runner_name
from functions.models import Code, Execution, Function
from functions.tasks import ingest, reconcile, sweep
from functions.views.fields import VariablesField, variable_lines
from tests import make

pytestmark = pytest.mark.django_db
FORM = {
    "name": "hello", "region": "us-east-1", "runtime": "python3.11", "handler": "app.handler", "python": "def handler(e, c):\r\n    return e\r\n",
    "memory": "256", "timeout": "5", "max_concurrency": "10", "env": "LEVEL=debug", "secrets": "TOKEN=s3cr3t", "tags": "login, eu",
}  # fmt: skip
HTMX = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture(autouse=True)
def _runtimes(db) -> None:
    sweep()


def shown(page):
    return html.unescape(page.content.decode())


def text_of(function):
    return archive.look(
        bytes(Code.objects.get(versions__number=function.newest, versions__function=function).archive)
    ).text


def build():
    """What a worker does of all that waits."""
    for function in Function.objects.all():
        reconcile(function_id=str(function.pk))


def fail(function):
    """A dead letter: an execution that was given up."""
    target = type("Target", (), {"account_pk": function.account_id, "function_pk": function.pk, "version": 1})
    row, _ = executions.accept(target=target, event=b'{"name": "Ada"}')
    executions.give_up(execution=row, type="Boom", message="It broke")
    return row


def test_a_function_is_written_in_a_form_and_made(account, alice):
    assert "def handler" in shown(alice.get("/functions/new"))
    answer = alice.post("/functions/new", FORM)
    row = Function.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, f"/functions/{row.public_id}")
    assert (row.memory_mb, row.timeout_s, row.env, row.secrets, row.tags) == (
        256, 5, {"LEVEL": "debug"}, {"TOKEN": "s3cr3t"}, ["login", "eu"],
    )  # fmt: skip
    assert text_of(row) == "def handler(e, c):\n    return e\n"
    assert "being built" in shown(alice.get(answer["Location"]))


def test_a_zip_takes_the_place_of_the_lines(account, alice):
    code = archive.pack({"app.py": b"def handler(e, c): pass", "more.py": b""})
    alice.post("/functions/new", FORM | {"zip": SimpleUploadedFile("code.zip", code)})
    row = Function.objects.get()
    assert bytes(Code.objects.get().archive) == code
    build()
    assert "more.py" in shown(alice.get(f"/functions/{row.public_id}"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"name": "not a name"}, "name must have"),
        ({"memory": "1"}, "from 128 to 10240"),
        ({"env": "nonsense"}, "Line 1 is no variable"),
        ({"env": "AWS_LAMBDA_X=1"}, "the platform's own"),
        ({"zip": SimpleUploadedFile("code.zip", b"no zip")}, "must be a zip"),
        ({"runtime": "cobol"}, "Select a valid choice"),
    ],
)
def test_a_mistake_is_said_what_was_typed_stays_and_secrets_are_not_sent_back(alice, wrong, said):
    page = alice.post("/functions/new", FORM | {"tags": "precious"} | wrong)
    assert page.status_code == 422
    assert said in shown(page)
    assert "precious" in shown(page)
    assert "s3cr3t" not in shown(page)
    assert "Enter the secrets again" in shown(page)
    assert not Function.objects.exists()


def test_before_creating_the_form_shows_its_api_call_without_the_secrets(alice):
    page = alice.post("/functions/new", FORM | {"review": "1"})
    assert "max_concurrency" not in shown(page).split("Authorization")[1]
    assert '"memory": 256' in shown(page)
    assert "s3cr3t" not in shown(page)
    assert not Function.objects.exists()


@pytest.mark.parametrize("state", ["created", "active", "failed", "deprecated", "deleting"])
def test_the_pages_of_a_function_show_every_state_in_few_queries(account, alice, state, django_assert_max_num_queries):
    row = make.make_function(account, state=state)
    path = f"/functions/{row.public_id}"
    pages = ["", "/metrics", "/executions", "/dead-letters", "/versions", "/settings", "/deprecate", "/delete"]
    alice.get("/functions")
    for page in ["/functions", "/functions/new", *(path + page for page in pages)]:
        with django_assert_max_num_queries(8):
            assert alice.get(page).status_code == 200
    assert {"created": "No code yet", "failed": "Version 1 failed"}.get(state, state) in shown(alice.get(path)).replace(
        "Active", "active"
    ).replace("Deprecated", "deprecated").replace("being deleted", "deleting")


def test_a_list_of_many_takes_as_many_queries_as_one_of_few(account, alice, django_assert_max_num_queries):
    for _ in range(12):
        make.make_function(account)
    alice.get("/functions")
    with django_assert_max_num_queries(8):
        assert "12 functions" in shown(alice.get("/functions"))


def test_the_list_is_narrowed_by_what_its_address_says(account, alice):
    make.make_function(account, name="alpha", tags=["eu"])
    make.make_function(account, name="beta", runtime="nodejs20", state="created")
    for query, found in [
        ("q=alp", ["alpha"]), ("status=created", ["beta"]), ("runtime=nodejs20", ["beta"]), ("tag=eu", ["alpha"]), ("", ["alpha", "beta"]),
    ]:  # fmt: skip
        page = shown(alice.get(f"/functions?{query}"))
        assert [name for name in ("alpha", "beta") if f">{name}</a>" in page] == found, query
    assert "No function fits" in shown(alice.get("/functions?q=gamma"))


def test_the_list_asks_for_itself_only_while_something_is_built(account, alice):
    alice.post("/functions/new", FORM)
    build()
    assert alice.get("/functions", **HTMX).status_code == 286
    row = Function.objects.get()
    alice.post(f"/functions/{row.public_id}", {"source": "def handler(e, c): return 2\n"})
    assert alice.get(f"/functions/{row.public_id}", **HTMX).status_code == 200
    build()
    assert alice.get(f"/functions/{row.public_id}", **HTMX).status_code == 286


def test_nothing_of_alices_is_there_for_charlie(account):
    row = make.make_function(account)
    charlie = make.sign_in(make.owner_of(make.make_account(name="Charlie's")).user)
    for page in ("", "/metrics", "/executions", "/dead-letters", "/versions", "/settings", "/deprecate", "/delete"):
        assert charlie.get(f"/functions/{row.public_id}{page}").status_code == 404
    for page in ("", "/test", "/dead-letters", "/versions/1/activate", "/settings", "/deprecate", "/delete"):
        assert charlie.post(f"/functions/{row.public_id}{page}", {"confirm": row.name}).status_code == 404
    assert row.name not in shown(charlie.get("/functions"))


def test_the_editor_deploys_what_it_shows_and_the_later_of_two_is_told(account, alice):
    row = make.make_function(account)
    path = f"/functions/{row.public_id}"
    page = alice.get(path)
    assert make.SOURCE in shown(page)
    version = page.context["form"]["version"].value()
    assert alice.post(path, {"source": "first\r\n", "version": version}).status_code == 302
    late = alice.post(path, {"source": "second\n", "version": version})
    assert late.status_code == 422
    assert "changed this" in shown(late)
    assert "second" in shown(late)
    row.refresh_from_db()
    assert (row.newest, text_of(row)) == (2, "first\n")


def test_a_test_shows_result_cost_and_log_or_why_it_did_not_run(account, alice):
    row = make.make_function(account)
    path = f"/functions/{row.public_id}/test"
    make.runner().script(runner_name(row.pk), result={"hello": "Ada"}, log="printed\n")
    for extra in ({}, HTMX):
        page = shown(alice.post(path, {"event": '{"name": "Ada"}'}, **extra))
        assert '"hello": "Ada"' in page
        assert "printed" in page
    make.runner().script(runner_name(row.pk), error="KeyError")
    assert "KeyError" in shown(alice.post(path, {"event": "{}"}))
    broken = alice.post(path, {"event": "{"})
    assert (broken.status_code, "No JSON" in shown(broken)) == (422, True)
    empty = make.make_function(account, state="created")
    assert "only an active one" in shown(alice.post(f"/functions/{empty.public_id}/test", {"event": "{}"}))


def test_an_earlier_version_is_made_live_again(account, alice):
    row = make.make_function(account)
    path = f"/functions/{row.public_id}"
    alice.post(path, {"source": "def handler(e, c): return 2\n"})
    build()
    assert "Version 1" in shown(alice.get(f"{path}/versions"))
    assert alice.post(f"{path}/versions/1/activate").status_code == 302
    row.refresh_from_db()
    assert (row.live, row.newest) == (1, 2)
    assert "version 2 is the newest" in shown(alice.get(path))


def test_executions_are_listed_narrowed_paged_and_opened(account, alice):
    row = make.make_function(account)
    api = make.make_api(account)
    ids = [api.post(f"/functions/{row.public_id}/invoke", {}).json()["execution_id"] for _ in range(52)]
    ingest()
    path = f"/functions/{row.public_id}/executions"
    page = shown(alice.get(path))
    assert (ids[-1] in page, ids[0] in page) == (True, False)
    assert ids[0] in shown(alice.get(f"{path}?before={ids[2]}"))
    assert "No execution fits" in shown(alice.get(f"{path}?status=failed"))
    assert "How it went" in shown(alice.get(f"{path}/{ids[0]}"))
    assert alice.get(f"{path}/{ids[0]}", **HTMX).status_code == 286
    assert alice.get(f"{path}/exec_nonsense").status_code == 404
    metrics = shown(alice.get(f"/functions/{row.public_id}/metrics?range=7d"))
    assert "Last 7 days" in metrics
    assert "<dd>52</dd>" in metrics


def test_dead_letters_are_tried_again_all_or_chosen(account, alice):
    row = make.make_function(account)
    letters = [fail(row) for _ in range(3)]
    path = f"/functions/{row.public_id}/dead-letters"
    assert letters[0].public_id in shown(alice.get(path))
    assert "failed for good" in shown(alice.get(f"/functions/{row.public_id}/executions"))
    assert "Ada" in shown(alice.get(f"/functions/{row.public_id}/executions/{letters[0].public_id}"))
    alice.post(path, {"id": [letters[0].public_id]})
    assert Execution.objects.dead(row).count() == 2
    alice.post(path)
    assert Execution.objects.dead(row).count() == 2, "nothing was chosen"
    alice.post(path, {"all": "1"})
    assert Execution.objects.dead(row).count() == 0


def test_settings_change_what_was_changed_and_keep_the_secrets_that_were_not(account, alice):
    row = make.make_function(account, env={"OLD": "1", "KEPT": "a"}, secrets={"TOKEN": "old", "GONE": "x"})
    path = f"/functions/{row.public_id}/settings"
    page = alice.get(path)
    assert "TOKEN" in shown(page)
    version = page.context["form"].initial["version"]
    form = {
        "name": "renamed", "runtime": "python3.11", "handler": "app.handler", "memory": "512", "timeout": "9", "max_concurrency": "2",
        "tags": "", "env": "KEPT=b", "secrets": "NEW=y", "removed": ["GONE"], "version": version,
    }  # fmt: skip
    assert alice.post(path, form).status_code == 302
    row.refresh_from_db()
    assert (row.name, row.memory_mb, row.env, row.secrets) == (
        "renamed",
        512,
        {"KEPT": "b"},
        {"TOKEN": "old", "NEW": "y"},
    )
    late = alice.post(path, form | {"name": "again"})
    assert (late.status_code, "changed this" in shown(late)) == (422, True)


def test_a_function_is_deprecated_with_words_and_a_day(account, alice):
    row = make.make_function(account)
    path = f"/functions/{row.public_id}/deprecate"
    assert alice.post(path, {"message": "Old", "sunset_at": "2020-01-01T00:00"}).status_code == 422
    assert (
        alice.post(path, {"message": "Old", "replacement": "new", "sunset_at": "2099-01-01T00:00"}).status_code == 302
    )
    row.refresh_from_db()
    assert (row.state, row.deprecation, row.sunset_at.year) == ("deprecated", "Old", 2099)
    assert "Call <strong>new</strong> instead" in shown(alice.get(f"/functions/{row.public_id}"))


def test_deleting_takes_typing_the_name(account, alice):
    row = make.make_function(account)
    path = f"/functions/{row.public_id}/delete"
    assert alice.post(path, {"confirm": "another"}).status_code == 422
    assert alice.post(path, {"confirm": row.name}).status_code == 302
    build()
    assert not Function.objects.exists()


@pytest.mark.parametrize("value", ["plain", " spaced ", '"quoted"', "two\nlines", "=", "", "end\n", "λ"])
def test_a_variable_is_read_as_it_was_shown(value):
    assert VariablesField().clean(variable_lines({"NAME": value, "NEXT": "1"})) == {"NAME": value, "NEXT": "1"}


def test_a_function_is_found_in_the_palette_by_its_name_and_id(account, alice):
    row = make.make_function(account, name="greeter")
    for query in ("greet", row.public_id):
        assert f"/functions/{row.public_id}" in shown(alice.get("/search", {"q": query}))
