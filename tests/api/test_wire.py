"""What a client meets on a real socket: bytes, lengths, proxies, hosts. Over gunicorn, as `up` starts it."""

import json
import re
import subprocess
import threading
import time

import pytest

from tests import make

pytestmark = pytest.mark.slow

CURL = ["curl", "-sS", "--max-time", "30", "-i"]


def shape(answer, status, code):
    assert answer.status == status, answer.body
    found = answer.json()
    assert found["error"]["code"] == code
    assert found["metadata"]["request_id"] == answer.headers["X-Request-Id"]
    assert answer.headers["X-RateLimit-Limit"]
    assert answer.headers["Content-Type"] == "application/json"
    return found["error"]


def curl(served, *arguments):
    run = subprocess.run(
        [*CURL, *arguments, f"http://127.0.0.1:{served.port}/v1/instances"],
        capture_output=True,
        check=False,
        timeout=60,
    )
    head, _, body = run.stdout.rpartition(b"\r\n\r\n")
    return int(re.findall(rb"HTTP/1.1 (\d+)", head)[-1]), json.loads(body)


def test_curl_with_the_documents_header_and_no_content_type_creates_an_instance(served):
    status, answer = curl(
        served, "-H", f"Authorization: Bearer {served.key.replace('lambda', 'λ')}", "-d", json.dumps(make.WANTED)
    )
    assert (status, answer["success"]) == (201, True)


def test_a_chunked_body_is_read_whatever_its_size(served):
    def pieces(size):
        text = json.dumps(make.WANTED | {"user_data": "x" * size}).encode()
        return iter([text[at : at + 700] for at in range(0, len(text), 700)])

    headers = {"Content-Type": "application/json"}  # an iterator goes out in chunks
    assert served.send("POST", "/v1/instances", pieces(10), headers=headers).status == 201
    assert served.send("POST", "/v1/instances", pieces(60_000), headers=headers).status == 201
    shape(served.send("POST", "/v1/instances", pieces(70_000), headers=headers), 400, "invalid_request")


def test_a_body_beyond_a_megabyte_is_refused_with_and_without_a_length(served):
    big = b'{"name": "' + b"x" * (1 << 20) + b'"}'
    headers = {"Content-Type": "application/json"}
    shape(served.send("POST", "/v1/instances", big, headers=headers), 413, "payload_too_large")
    chunks = iter([big[at : at + 65536] for at in range(0, len(big), 65536)])
    shape(served.send("POST", "/v1/instances", chunks, headers=headers), 413, "payload_too_large")


@pytest.mark.parametrize(
    "body",
    [b"{", b"[" * 100_000, b'{"name": "\\ud800"}', b'{"name": "\\u0000"}', b'{"name": "a", "name": "b"}', b"\xff"],
)
def test_a_broken_body_is_a_400_in_the_one_shape(served, body):
    answer = served.send("POST", "/v1/instances", body, headers={"Content-Type": "application/json"})
    assert shape(answer, 400, "invalid_json")["message"].startswith("Invalid JSON in request body")


@pytest.mark.parametrize(
    "rest",
    [
        'Content-Length: 500\r\n\r\n{"name": "half',
        'Transfer-Encoding: chunked\r\n\r\n20\r\n{"name": "half',
        'Transfer-Encoding: chunked\r\n\r\n{"name": "not in chunks"}',
        "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_a_body_that_breaks_off_or_breaks_the_rules_is_the_clients_mistake(served, rest):
    head = f"POST /v1/instances HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {served.key}\r\n"
    answer = served.raw(f"{head}Content-Type: application/json\r\n{rest}".encode())
    assert answer.startswith(b"HTTP/1.1 400"), answer


@pytest.mark.parametrize("name", ["Authorization", "X-API-Key"])
def test_the_key_is_understood_as_utf8_bytes_percent_form_and_ascii_twin(served, name):
    body = served.key.removeprefix("lambda_")
    for text in (f"λ_{body}", f"%CE%BB_{body}", f"lambda_{body}", body):
        value = (f"Bearer {text}" if name == "Authorization" else text).encode()
        assert served.send("GET", "/v1/instances", key="", headers={name: value}).status == 200


@pytest.mark.parametrize(
    "value", [b"\xff\xfe", b"Bearer \xce", b"Bearer \xce\xbb_sk_", b"Bearer %ff%fe", b"\x80" * 100]
)
def test_bytes_that_are_no_text_are_a_401(served, value):
    for name in ("Authorization", "X-API-Key"):
        shape(served.send("GET", "/v1/instances", key="", headers={name: value}), 401, "authentication_failed")


def test_an_unknown_path_a_wrong_method_and_a_foreign_host_have_the_shape(served):
    shape(served.send("GET", "/v1/nothing"), 404, "not_found")
    answer = served.send("PUT", "/v1/instances")
    shape(answer, 405, "method_not_allowed")
    assert "GET" in answer.headers["Allow"]
    shape(served.send("GET", "/v1/instances", headers={"Host": "evil.example"}), 400, "invalid_request")


def test_a_query_that_is_no_text_is_no_crash(served):
    head = f"Host: localhost\r\nX-API-Key: {served.key}\r\nConnection: close\r\n\r\n"
    answer = served.raw(f"GET /v1/instances?page=%ff%00 HTTP/1.1\r\n{head}".encode())
    assert answer.startswith(b"HTTP/1.1 400")


def test_a_trusted_proxy_speaks_for_its_client_and_nobody_else_does(served):
    """127.0.0.2 is the trusted proxy of this installation."""
    forwarded = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    assert served.send("GET", "/v1/instances", headers=forwarded, source="127.0.0.2").status == 200
    plain = forwarded | {"X-Forwarded-Proto": "http"}
    shape(served.send("GET", "/v1/instances", headers=plain, source="127.0.0.2"), 403, "https_required")
    shape(served.send("GET", "/v1/instances", source="127.0.0.2"), 403, "https_required")
    # Said by a stranger, both headers are noise: the socket's own address is what counts.
    assert served.send("GET", "/v1/instances", headers=plain).status == 200


def test_a_revoked_key_is_refused_by_every_process_from_the_next_request_on(served):
    for _ in range(3):
        made = served.send("POST", "/v1/account/api-keys", {"name": "short-lived"}).json()["data"]
        for _ in range(12):  # until both processes know it
            assert served.send("GET", "/v1/instances", key=made["key"]).status == 200
        assert served.send("DELETE", f"/v1/account/api-keys/{made['id']}").status == 200
        answers = [served.send("GET", "/v1/instances", key=made["key"]) for _ in range(12)]
        assert {answer.status for answer in answers} == {401}
        assert {answer.json()["error"]["code"] for answer in answers} == {"key_revoked"}


def test_the_account_is_counted_over_all_processes(served):
    remaining = [int(served.send("GET", "/v1/instances").headers["X-RateLimit-Remaining"]) for _ in range(20)]
    assert remaining == list(range(remaining[0], remaining[0] - 20, -1))


def test_waits_leave_room_for_everyone_else(served):
    """More waits at once than there are threads, and a plain read is still answered at once."""
    id = served.send("POST", "/v1/instances", make.WANTED).json()["data"]["id"]
    statuses = []

    def wait():
        statuses.append(served.send("GET", f"/v1/instances/{id}/wait?timeout=3").status)

    threads = [threading.Thread(target=wait) for _ in range(24)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    assert served.send("GET", f"/v1/instances/{id}").status == 200
    assert time.monotonic() - began < 1.5
    for thread in threads:
        thread.join()
    assert set(statuses) == {408}


def test_no_key_is_in_the_log_or_anywhere_in_the_database(served):
    secret = served.key.removeprefix("lambda_").encode()
    for path in [*served.home.rglob("*")]:
        if path.is_file():
            assert secret not in path.read_bytes(), path
