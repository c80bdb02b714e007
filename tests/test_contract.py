"""What holds for every operation of `/v1`, generated from the URL table and the OpenAPI document.

A new endpoint is covered by being there. Where its path has an id, or its noun is a list, MAKE says how Alice gets such
an object; a test asks for it when it is missing. Bodies are the `example` of the action's Input.

It is long because the promises stand together, each with its test, and share what calls an operation.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver
from jsonschema import Draft202012Validator

from accounts.models import Account
from accounts.scopes import SCOPES
from api.openapi import document
from api.views import Unknown
from core.models import Event
from functions import tasks
from functions.actions import executions
from functions.models import Execution
from tests.make import (
    Api,
    make_account,
    make_api,
    make_delivery,
    make_function,
    make_instance,
    make_key,
    make_member,
    make_webhook,
)
from webhooks.models import Endpoint

pytestmark = pytest.mark.django_db

Json = dict[str, Any]
QUERY_COUNTS = Path(__file__).with_name("query_counts.json")
RATE_LIMITS = ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]


def add_ssh_key(account: Account) -> str:
    """Another key each time: the same public key again is a conflict."""
    return make_api(account).post("/ssh-keys", {"name": "laptop", "generate": True}).json()["data"]["id"]


def invite(account: Account) -> str:
    """Somebody new each time: nobody is invited twice."""
    body = {"email": f"bob{Event.objects.count()}@example.com", "role": "developer"}
    return make_api(account).post("/account/members", body).json()["data"]["id"]


def make_delivery_ids(account: Account) -> str:
    """All of one webhook, so that a list of them is long."""
    endpoint = Endpoint.objects.for_account(account).first() or make_webhook(account)
    return f"{endpoint.public_id} {make_delivery(endpoint).public_id}"


def run_function(account: Account) -> str:
    """A function, and one of its executions."""
    function = make_function(account)
    answer = make_api(account).post(f"/functions/{function.public_id}/invoke", {"name": "Ada"})
    tasks.ingest()
    return f"{function.public_id} {answer.json()['execution_id']}"


def go_on(account: Account) -> str:
    """A function with a second version that is live, and the first."""
    function = make_function(account)
    make_api(account).patch(f"/functions/{function.public_id}", {"memory": 256})
    tasks.reconcile(function_id=str(function.pk))
    return f"{function.public_id} 1"


def kill_letter(account: Account) -> str:
    """A function with a dead letter."""
    function = make_function(account)
    make_api(account).post(f"/functions/{function.public_id}/invoke?mode=async", {"name": "Ada"})
    row = Execution.objects.get(function_id=function.pk)
    executions.give_up(execution=row, type="Platform.Throttled", message="There was no room for six hours")
    return function.public_id


# Running something changes nothing of the account's: the execution's own row says what came of it.
LEAVE_NO_EVENT = {"functions_invoke"}
# How Alice gets an object of a view's noun: what stands in the path, for all actions or for one. Several ids are
# separated by spaces.
MAKE: dict[str, Callable[[Account], str]] = {
    "instances": lambda account: make_instance(account).public_id,
    "instances_start": lambda account: make_instance(account, state="stopped").public_id,
    "ssh_keys": add_ssh_key,
    "functions": lambda account: make_function(account).public_id,
    "function_versions": go_on,
    "executions": run_function,
    "dead_letters": kill_letter,
    "api_keys": lambda account: make_key(account)[0].public_id,
    "regions": lambda account: "us-east-1",
    "instance_types": lambda account: "compute-1x",
    "images": lambda account: "ubuntu-22.04",
    "plans": lambda account: "free",
    "prices": lambda account: "instance.compute-1x",
    "members": lambda account: make_member(account, "developer").public_id,
    "members_resend": invite,
    "webhooks": lambda account: make_webhook(account).public_id,
    "deliveries": make_delivery_ids,
    "events": lambda account: make_key(account) and Event.objects.for_account(account).first().public_id,
}


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    view: Any
    action: str

    @property
    def spec(self) -> Json:
        return document()["paths"][self.path][self.method.lower()]

    @property
    def id(self) -> str:
        return self.spec["operationId"]

    @property
    def scope(self) -> str | None:
        return self.view.scopes[self.action]

    @property
    def body(self) -> Any:
        if raw := self.view.raw.get(self.action):
            return raw.example
        takes = self.view.takes.get(self.action)
        return (takes.example if takes else {}) if self.method != "GET" else None

    def make(self, account: Account) -> str:
        """The operation's path, with an object of the account in it. Fails, asking for one, where none can be made."""
        if "{" not in self.path:
            return self.path
        makers = [MAKE[name] for name in (self.id, *_prefixes(self.id)) if name in MAKE]
        assert makers, f"Say in MAKE of tests/test_contract.py how Alice gets what {self.path} names ('{self.id}')"
        ids = iter(makers[0](account).split())
        return re.sub(r"{\w+}", lambda _: next(ids), self.path)

    def call(self, api: Api, path: str, **extra: Any) -> HttpResponse:
        return api.request(self.method, path.removeprefix("/v1"), self.body, **extra)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _prefixes(name: str) -> Iterator[str]:
    parts = name.split("_")
    return ("_".join(parts[:length]) for length in range(len(parts) - 1, 0, -1))


def _addresses(patterns: list[Any], start: str = "") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = start + str(pattern.pattern).replace("<", "{").replace(">", "}")
        if isinstance(pattern, URLResolver):
            yield from _addresses(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and route.startswith("v1/"):
            yield f"/{route}", pattern.callback


@cache
def operations() -> list[Operation]:
    """From the URL table, not from the document: what is not documented is found too."""
    return [
        Operation(method.upper(), path, callback.cls, action)
        for path, callback in _addresses(get_resolver().url_patterns)
        if callback.cls is not Unknown
        for method, action in callback.actions.items()
    ]


def each(*, only: Callable[[Operation], Any] = lambda _: True) -> Any:
    return pytest.mark.parametrize("operation", [o for o in operations() if only(o)], ids=str)


READS = [str(operation) for operation in operations() if operation.method == "GET"]


def conforms(response: HttpResponse, schema: Json) -> list[str]:
    """What is wrong with a body by the published schema, in which no undocumented member is allowed."""
    root = _closed({"components": document()["components"], **schema})
    found = Draft202012Validator(root).iter_errors(json.loads(response.content))
    return [f"{error.json_path}: {error.message}" for error in found]


def _closed(schema: Any) -> Any:
    """The same schema with no room for more, except where it says that there is."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(part) for key, part in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def assert_refused(response: HttpResponse, status: int, code: str) -> Json:
    body = json.loads(response.content)
    assert response.status_code == status, body
    assert body["error"]["code"] == code, body
    assert conforms(response, {"$ref": "#/components/schemas/Error"}) == []
    assert body["metadata"]["request_id"] == response["X-Request-Id"]
    assert all(response[name].isdigit() for name in RATE_LIMITS)
    return body["error"]


def test_every_address_is_documented_and_nothing_else_is():
    documented = {(path, method) for path, item in document()["paths"].items() for method in item}
    assert documented == {(operation.path, operation.method.lower()) for operation in operations()}


def test_every_scope_asked_for_is_one_that_a_key_can_have():
    asked = {scope for operation in operations() if (scope := operation.scope) not in (None, "public")}
    assert asked <= set(SCOPES)


def test_no_two_operations_have_the_same_name():
    names = [operation.id for operation in operations()]
    assert sorted(set(names)) == sorted(names)


@each(only=lambda operation: operation.scope != "public")
def test_without_a_key_nothing_is_answered(operation):
    response = operation.call(Api(), operation.make(make_account()))
    assert_refused(response, 401, "authentication_failed")
    assert response["WWW-Authenticate"].startswith("Bearer")


@each()
def test_a_key_that_is_none_is_refused_even_where_none_is_needed(operation):
    response = operation.call(Api("λ_sk_" + "0" * 38), operation.make(make_account()))
    assert_refused(response, 401, "authentication_failed")


@each(only=lambda operation: operation.scope not in (None, "public"))
def test_without_its_scope_an_operation_is_refused_and_the_scope_named(operation):
    alice = make_account()
    others = [scope for scope in SCOPES if scope != operation.scope]
    error = assert_refused(
        operation.call(make_api(alice, scopes=others), operation.make(alice)), 403, "insufficient_scope"
    )
    assert error["required_scopes"] == [operation.scope]
    assert operation.scope not in error["details"]["granted_scopes"]


@each(only=lambda operation: "{" in operation.path and operation.scope != "public")
def test_what_is_alices_does_not_exist_for_charlie(operation):
    path, charlie = operation.make(make_account()), make_api(make_account(name="Charlie's"))
    before = Event.objects.count()
    assert_refused(operation.call(charlie, path), 404, "not_found")
    assert Event.objects.count() == before


@each()
def test_an_answer_is_what_the_document_says(operation):
    alice = make_account()
    path = operation.make(alice)
    response = operation.call(make_api(alice), path)
    assert 200 <= response.status_code < 300, response.content
    documented = operation.spec["responses"][str(response.status_code)]
    assert response["Content-Type"] == "application/json"
    assert conforms(response, documented["content"]["application/json"]["schema"]) == []
    assert response["X-Request-Id"].startswith("req_")
    assert all(response[name].isdigit() for name in RATE_LIMITS)
    if not operation.view.bare:
        assert json.loads(response.content)["metadata"]["request_id"] == response["X-Request-Id"]
    if operation.method != "GET" and operation.id not in LEAVE_NO_EVENT:
        assert Event.objects.filter(request_id=response["X-Request-Id"]).exists(), "it left no event"


@each(only=lambda operation: operation.method == "GET")
def test_what_has_a_version_is_not_sent_again_to_who_has_it(operation):
    alice = make_account()
    path, api = operation.make(alice), make_api(alice)
    documented = "ETag" in operation.spec["responses"]["200"]["headers"]
    response = operation.call(api, path)
    assert response.has_header("ETag") == documented
    if documented:
        again = operation.call(api, path, HTTP_IF_NONE_MATCH=response["ETag"])
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", response["ETag"])


@each(only=lambda operation: operation.method != "GET" and "{" in operation.path)
def test_what_was_changed_in_the_meantime_is_left_alone(operation):
    alice = make_account()
    path, api = operation.make(alice), make_api(alice)
    before = Event.objects.count()
    assert_refused(operation.call(api, path, HTTP_IF_MATCH='"0"'), 412, "precondition_failed")
    assert Event.objects.count() == before


@each()
def test_an_unknown_query_parameter_is_refused_and_the_known_ones_are_the_documented_ones(operation):
    alice = make_account()
    error = assert_refused(
        operation.call(make_api(alice), operation.make(alice) + "?surprise=1"), 400, "unknown_parameter"
    )
    documented = [one["name"] for one in operation.spec.get("parameters", []) if one["in"] == "query"]
    assert sorted(error["details"]["allowed_values"]) == sorted(documented)


@each(only=lambda operation: operation.method not in ("GET", "DELETE") and operation.action not in operation.view.raw)
def test_an_unknown_field_is_refused_and_the_known_ones_are_the_documented_ones(operation):
    alice = make_account()
    response = make_api(alice).request(operation.method, operation.make(alice).removeprefix("/v1"), {"surprise": 1})
    error = assert_refused(response, 400, "unknown_parameter")
    body = operation.spec.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    documented = (
        document()["components"]["schemas"][body["$ref"].rpartition("/")[2]].get("properties", {}) if body else {}
    )
    assert sorted(error["details"]["allowed_values"]) == sorted(documented)


@each()
def test_no_idempotency_key_makes_a_second_effect(operation):
    """The second answer is the stored one, byte by byte; a GET has no effect and takes no key."""
    alice = make_account()
    path, api = operation.make(alice), make_api(alice)
    first = operation.call(api, path, HTTP_IDEMPOTENCY_KEY="once")
    events = Event.objects.count()
    again = operation.call(api, path, HTTP_IDEMPOTENCY_KEY="once")
    assert again.status_code == first.status_code
    assert Event.objects.count() == events
    if operation.method != "GET":
        assert again.content == first.content
        assert again["Idempotent-Replayed"] == "true"
        assert again["X-Request-Id"] != first["X-Request-Id"]


@each(only=lambda operation: operation.action == "create")
def test_a_rehearsed_create_is_priced_and_leaves_nothing(operation):
    alice = make_account()
    path = operation.make(alice)
    api = make_api(alice)
    events = Event.objects.count()
    response = operation.call(api, f"{path}?dry_run=true")
    assert response.status_code == 200, response.content
    assert conforms(response, operation.spec["responses"]["200"]["content"]["application/json"]["schema"]) == []
    assert Event.objects.count() == events


def _statements(operation: Operation, rows: int) -> int:
    alice = make_account()
    paths = [operation.make(alice) for _ in range(rows)]
    if operation.action == "list" and (make := next((MAKE[n] for n in _prefixes(operation.id) if n in MAKE), None)):
        for _ in range(rows):
            make(alice)
    api = make_api(alice)
    operation.call(api, paths[0])  # the key is known from here on
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert operation.call(api, paths[0]).status_code == 200
    return len(queries)


@each(only=lambda operation: operation.method == "GET")
def test_reading_takes_as_many_statements_as_it_took_before_whatever_the_number_of_rows(operation):
    """The baseline is a file, so that one more statement is a decision. LAMBDA_NEW_BASELINE=1 and -n 0 write it anew."""
    few, many = _statements(operation, 2), _statements(operation, 6)
    assert few == many, f"{few} statements with 2 rows, {many} with 6"
    known = json.loads(QUERY_COUNTS.read_text())
    if os.environ.get("LAMBDA_NEW_BASELINE"):
        known = {name: count for name, count in known.items() if name in READS} | {str(operation): few}
        QUERY_COUNTS.write_text(json.dumps({name: known[name] for name in READS if name in known}, indent=2) + "\n")
    assert known[str(operation)] == few


def test_the_baseline_knows_what_there_is_and_nothing_else():
    assert list(json.loads(QUERY_COUNTS.read_text())) == READS
