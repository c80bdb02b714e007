"""Everything a client can meet on `/v1` has the one error shape, the request id and the rate limit headers.

Over 300 lines long, because clients meet so much.
"""

import logging

import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from api.errors import STATUS
from tests import make

pytestmark = pytest.mark.django_db

INSTANCE = make.WANTED


def refused(answer, status, code):
    """The error of an answer, after checking all that every refusal has."""
    assert answer.status_code == status, answer.content[:500]
    assert answer["Content-Type"] == "application/json"
    shape = answer.json()
    assert set(shape) == {"success", "error", "metadata"}
    assert shape["success"] is False
    assert shape["error"]["code"] == code
    assert STATUS[code] == status
    assert shape["error"]["message"]
    assert shape["metadata"]["request_id"] == answer["X-Request-Id"]
    assert answer["X-Request-Id"].startswith("req_")
    assert {"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} <= set(answer.headers)
    assert answer["Cache-Control"] == "no-store"
    return shape["error"]


@pytest.fixture
def api():
    return make.make_api()


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{", "line 1, column 2"),
        (b'{"name": "x",}', "column 14"),
        (b"\xff\xfe", "byte 0 is not UTF-8"),
        ("{}".encode("utf-16"), "byte 0 is not UTF-8"),
        ("\ufeff{}".encode(), "begins with a byte order mark (BOM): save the file without it"),
        (b'{"name": "a\\u0000b"}', "NUL"),
        (b'{"a\\u0000b": 1}', "NUL"),
        (b'{"name": "\\ud800"}', "surrogate"),
        (b'{"name": "\\udfff\\ud800"}', "surrogate"),
        (b'{"\\ud800": 1}', "surrogate"),
        (b'{"\\ud800": 1, "\\ud800": 2}', "twice"),
        (b'{"name": "a", "name": "b"}', '"name" appears twice'),
        (b'{"tags": {"a": "1", "a": "2"}}', '"a" appears twice'),
        (b"[" * 100_000, "nested deeper"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested deeper"),
        (b"[" * 70 + b"]" * 70, "nested deeper"),
        (b'{"name": NaN}', "NaN is not JSON"),
        (b'{"name": -Infinity}', "-Infinity is not JSON"),
        (b'{"name": 1e999}', "too large"),
        (b'{"name": 9223372036854775808}', "64 bits"),
        (b'{"name": -9223372036854775809}', "64 bits"),
        (b'{"name": ' + b"9" * 5000 + b"}", "a number has thousands of digits"),
        (b"{'name': 'x'}", "column 2"),
        (b'{"name": "a\nb"}', "control character"),
    ],
)
def test_a_body_that_is_not_json_says_what_is_wrong_with_it(api, body, why):
    error = refused(api.post("/instances", body), 400, "invalid_json")
    assert error["message"].startswith("Invalid JSON in request body")
    assert why in error["message"]


def test_a_pair_of_surrogates_is_a_character(api):
    answer = api.post("/ssh-keys", b'{"name": "\\ud83d\\ude80", "public_key": "%s"}' % make.PUBLIC_KEY.encode())
    assert answer.json()["data"]["name"] == "🚀"


@pytest.mark.parametrize("body", [[], [INSTANCE], "text", 1, 1.5, True, b"null"])
def test_a_body_that_is_no_object_is_refused(api, body):
    error = refused(api.post("/instances", body), 400, "invalid_request")
    assert "object" in error["message"]


def test_an_empty_body_is_an_empty_object(api):
    error = refused(api.post("/instances", b""), 400, "invalid_request")
    assert [one["field"] for one in error["details"]["errors"]] == ["name", "instance_type", "region", "image"]
    assert error["details"]["errors"][0]["message"] == "name is required"


def test_every_wrong_field_is_named_with_its_value_and_what_is_allowed(api):
    body = INSTANCE | {"instance_type": "invalid-type", "region": "mars-1", "network": "mine", "ssh_keys": ["none"]}
    error = refused(api.post("/instances", body), 400, "invalid_request")
    assert error["message"] == "Invalid instance type specified"
    details = error["details"]
    assert (details["field"], details["value"]) == ("instance_type", "invalid-type")
    assert details["allowed_values"][:2] == ["compute-1x", "compute-2x"]
    fields = {one["field"]: one for one in details["errors"]}
    assert list(fields) == ["instance_type", "region", "ssh_keys", "network"]
    assert fields["region"]["value"] == "mars-1"
    assert "us-east-1" in fields["region"]["allowed_values"]
    assert all(one["message"] for one in fields.values())


@pytest.mark.parametrize(
    ("path", "body", "wrong"),
    [
        (
            "/instances",
            {"name": "", "instance_type": "huge", "tags": {"": "x"}},
            "name instance_type tags region image",
        ),
        ("/webhooks", {"events": ["no.such"], "secret": "short"}, "url events secret"),
        ("/functions", {"name": 1.5, "runtime": "cobol", "memory": "much"}, "name runtime memory handler"),
    ],
)
def test_what_is_missing_and_what_cannot_be_is_named_at_once(api, path, body, wrong):
    error = refused(api.post(path, body), 400, "invalid_request")
    assert sorted({one["field"].partition(".")[0] for one in error["details"]["errors"]}) == sorted(wrong.split())


def test_an_answer_is_no_copy_of_its_request(api):
    error = refused(api.post("/instances", INSTANCE | {"image": "x" * 100_000}), 400, "invalid_request")
    assert error["details"]["value"] == "x" * 500 + "…"
    answer = api.post("/webhooks", {"url": "https://x.example/", "events": [f"no.{n}" for n in range(50)]})
    assert len(refused(answer, 400, "invalid_request")["details"]["errors"]) == 50
    assert (
        answer.content.count(b'"instance.*"') == 2
    )  # what is allowed: with the first error, which `details` shows as well


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "   "),
        ("name", "x" * 101),
        ("name", {"a": 1}),
        ("name", None),
        ("name", "tab\there"),
        ("instance_type", 5),
        ("ssh_keys", "not a list"),
        ("ssh_keys", [{}]),
        ("ssh_keys", ["x"] * 51),
        ("tags", ["a"]),
        ("tags", {"a": {"b": "c"}}),
        ("tags", {"": "empty"}),
        ("tags", {"k" * 65: "long"}),
        ("tags", {"k": "v" * 257}),
        ("tags", {str(number): "" for number in range(51)}),
        ("public_ip", "perhaps"),
        ("user_data", "x" * (64 * 1024 + 1)),
        ("user_data", "λ" * (32 * 1024 + 1)),
        ("start", []),
    ],
)
def test_a_wrong_value_names_its_field(api, field, value):
    error = refused(api.post("/instances", INSTANCE | {field: value}), 400, "invalid_request")
    assert error["details"]["field"].split(".")[0] == field


def test_an_unknown_field_is_refused_and_the_known_ones_are_named(api):
    error = refused(api.post("/instances", INSTANCE | {"colour": "red", "size": 1}), 400, "unknown_parameter")
    assert error["details"]["field"] == "colour"
    assert [one["field"] for one in error["details"]["errors"]] == ["colour", "size"]
    assert "instance_type" in error["details"]["allowed_values"]


def test_a_delete_that_says_more_than_its_address_is_refused(api):
    path = f"/ssh-keys/{api.post('/ssh-keys', {'name': 'laptop', 'generate': True}).json()['data']['id']}"
    error = refused(api.request("DELETE", path, {"dry_run": True}), 400, "unknown_parameter")
    assert error["details"]["field"] == "dry_run"
    refused(api.request("DELETE", path, b"{"), 400, "invalid_json")
    assert api.request("DELETE", path).status_code == 200


def test_an_unknown_query_parameter_is_refused_and_the_known_ones_are_named(api):
    error = refused(api.get("/instances?colour=red"), 400, "unknown_parameter")
    assert error["details"]["field"] == "colour"
    assert {"page", "limit"} <= set(error["details"]["allowed_values"])


@pytest.mark.parametrize("query", ["page=%00", "%00=1", "page=1&page=%00"])
def test_a_nul_in_the_query_is_refused(api, query):
    assert api.get(f"/instances?{query}").status_code == 400


def test_one_megabyte_is_the_largest_body(api):
    fitting = b'{"name": "' + b"x" * (1024 * 1024 - 12) + b'"}'
    assert len(fitting) == 1024 * 1024
    refused(api.post("/instances", fitting), 400, "invalid_request")
    refused(api.post("/instances", fitting + b" "), 413, "payload_too_large")


@pytest.mark.parametrize(
    "kind", ["text/xml", "multipart/form-data; boundary=x", "application/octet-stream", "nonsense"]
)
def test_another_content_type_is_refused(api, kind):
    error = refused(api.post("/instances", INSTANCE, content_type=kind), 415, "unsupported_media_type")
    assert "application/json" in error["message"]


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "application/x-www-form-urlencoded", "text/plain", ""]
)
def test_json_is_read_under_every_name_that_clients_give_it(api, kind):
    assert api.post("/instances", INSTANCE, content_type=kind).status_code == 201


def test_a_form_is_told_to_send_json(api):
    answer = api.post("/instances", b"name=web-1", content_type="application/x-www-form-urlencoded")
    assert "send JSON" in refused(answer, 415, "unsupported_media_type")["message"]


@pytest.mark.parametrize(
    "path", ["", "/", "/nothing", "/instances/", "//instances", "/instances/x/y/z", "/%00", "/%ff", "/λ"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_an_unknown_path_is_not_found_by_any_method(api, path, method):
    error = refused(api.request(method, path), 404, "not_found")
    assert error["message"].startswith("Resource not available")
    assert "http://testserver/docs" in error["suggestion"]


@pytest.mark.parametrize(
    "id",
    ["%00", "%ff", "inst_", "x" * 5000, "λ", "..", "inst_01m803p6fsep5t56hn7y1dmqyp", "key_01m803p6fsep5t56hn7y1dmqyp"],
)
def test_an_id_of_nothing_is_not_found(api, id):
    error = refused(api.get(f"/instances/{id}"), 404, "not_found")
    assert error["message"].startswith("Resource not available")
    assert len(error["message"]) < 200


def test_an_unknown_path_needs_no_key_to_be_not_found():
    error = refused(make.Api().get("/nothing"), 404, "not_found")
    assert "/docs" in error["suggestion"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "BREW"])
def test_a_method_that_an_address_does_not_take_names_those_it_does(api, method):
    answer = api.request(method, "/instances")
    refused(answer, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(answer["Allow"].split(", "))


def test_what_the_client_will_not_accept_is_said_in_json(api):
    refused(api.get("/instances", HTTP_ACCEPT="text/xml"), 406, "not_acceptable")


def test_options_and_head_are_answered(api):
    options = api.request("OPTIONS", "/instances")
    assert options.status_code == 200
    assert options["Allow"] == "GET, POST, HEAD, OPTIONS"
    head = api.request("HEAD", "/instances")
    assert head.status_code == 200
    assert head["X-Request-Id"]


def test_without_a_key_the_answer_says_how_to_send_one():
    answer = make.Api().get("/instances")
    error = refused(answer, 401, "authentication_failed")
    assert error["message"].startswith("Invalid or missing API token")
    assert "Bearer" in error["suggestion"]
    assert answer["WWW-Authenticate"] == 'Bearer realm="lambda"'


@pytest.fixture
def crash(monkeypatch):
    """Let the listing of instances fail in a given way."""

    def crash_with(failure):
        def fail(self, request):
            raise failure

        monkeypatch.setattr("compute.api.instances.Instances.list", fail)

    return crash_with


def test_a_crash_tells_the_client_nothing_and_the_log_everything(api, crash, caplog):
    crash(ZeroDivisionError("the secret inside"))
    answer = api.get("/instances")
    error = refused(answer, 500, "server_error")
    assert b"secret" not in answer.content
    assert b"Zero" not in answer.content
    assert "request id" in error["message"]
    assert any(record.exc_info and record.exc_info[0] is ZeroDivisionError for record in caplog.records)


def test_a_crash_while_answering_has_the_same_shape(api, monkeypatch, caplog):
    """After the view: what it answered cannot be written as JSON."""
    monkeypatch.setattr("compute.api.instances.representation", lambda row: {"name": object()})
    refused(api.post("/instances", INSTANCE), 500, "server_error")


def test_a_database_that_does_not_answer_is_a_temporary_failure(api, crash):
    crash(OperationalError("could not connect"))
    answer = api.get("/instances")
    error = refused(answer, 503, "service_unavailable")
    assert answer["Retry-After"] == str(error["retry_after"])
    assert "connect" not in error["message"]


def test_a_host_name_that_is_not_ours_is_refused(api):
    refused(api.get("/instances", HTTP_HOST="evil.example"), 400, "invalid_request")
    refused(make.Api().get("/nothing", HTTP_HOST="evil.example"), 400, "invalid_request")


def test_no_key_ever_reaches_the_log(crash, caplog, capfd):
    """Neither in a message, nor in a traceback: local variables of a frame that checked a key are not printed."""
    from config import logs

    secret = make.make_key(make.make_account())[1]
    handlers, level = list(logging.root.handlers), logging.root.level
    crash(ZeroDivisionError("boom"))
    try:
        for json in (True, False):
            logs.configure(json=json, level="DEBUG")
            make.Api(secret.key).get("/instances")
            make.Api().get("/instances", HTTP_X_API_KEY=secret.key_ascii)
            make.Api(secret.key[:-1] + "x").get("/instances")
            make.Api(secret.key).get(f"/instances?key={secret.key_ascii}")
    finally:
        logging.root.handlers = handlers
        logging.root.setLevel(level)
    written = capfd.readouterr().err
    assert "ZeroDivisionError" in written
    assert secret.text not in written
    assert secret.text[:12] not in written


@pytest.mark.slow
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(body=st.binary(max_size=200) | st.from_regex(rb'\{"(name|tags|ssh_keys|start)": [^}]{0,40}\}', fullmatch=True))
def test_no_body_at_all_makes_the_server_fail(api, body):
    answer = api.post("/instances", body)
    assert answer.status_code in (400, 415), answer.content
    assert answer.json()["error"]["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


@pytest.mark.slow
@hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=150, deadline=None
)
@given(fields=st.dictionaries(st.sampled_from([*INSTANCE, "tags", "ssh_keys", "user_data", "start", "network"]), JSON))
def test_no_value_of_any_field_makes_the_server_fail(api, fields):
    answer = api.post("/instances", INSTANCE | fields)
    assert answer.status_code in (201, 400, 403), answer.content
