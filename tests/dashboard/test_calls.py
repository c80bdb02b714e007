"""API calls as people would write them."""

import pytest

from dashboard.calls import Call, cli, curl

ID = "inst_01jk2n5x7q8r9s0t1v2w3x4y5z"


def test_a_curl_line_survives_the_shell():
    assert curl("GET", "http://x/v1/a?q='$(id)'").startswith("""curl 'http://x/v1/a?q='"'"'$(id)'"'"''""")
    assert """-d '{"name": "it'"'"'s"}'""" in curl("POST", "http://x", """{"name": "it's"}""")


@pytest.mark.parametrize(
    ("method", "path", "body", "line"),
    [
        ("GET", "/v1/instances", None, "lambda instances list"),
        ("GET", "/v1/instances?status=running", None, "lambda instances list --status running"),
        ("POST", "/v1/instances", {"name": "web 1"}, "lambda instances create --name 'web 1'"),
        ("GET", f"/v1/instances/{ID}", None, f"lambda instances get {ID}"),
        ("PATCH", f"/v1/instances/{ID}", {"protected": False}, f"lambda instances update {ID} --no-protected"),
        ("DELETE", f"/v1/instances/{ID}", None, f"lambda instances delete {ID}"),
        ("POST", f"/v1/instances/{ID}/stop", {"force": True}, f"lambda instances stop {ID} --force"),
        ("GET", f"/v1/instances/{ID}/console-log", None, f"lambda instances console-log {ID}"),
        ("POST", f"/v1/instances/{ID}/snapshots", None, f"lambda instances snapshots create {ID}"),
        ("POST", "/v1/functions/FUNC_0000000007/invoke", {"a": 1}, """lambda functions invoke FUNC_0000000007 --data '{"a": 1}'"""),
        ("POST", "/v1/functions/FUNC_0000000007/versions/3/activate", None, "lambda functions versions activate FUNC_0000000007 3"),
        ("GET", "/v1/account", None, "lambda account get"),
        ("POST", "/v1/account/api-keys", {"name": "my-api-key"}, "lambda api-key create --name my-api-key"),
        ("PUT", "/v1/billing/subscription", {"plan": "free"}, "lambda billing subscription --plan free"),
        ("POST", "/v1/ssh-keys", {"tags": {"a": "b"}}, """lambda ssh-keys create --tags '{"a": "b"}'"""),
    ],
)  # fmt: skip
def test_the_command_line_says_what_the_call_says(method, path, body, line):
    assert cli(method, path, body) == line


def test_a_long_command_is_broken_where_the_shell_allows_it():
    line = cli(
        "POST",
        "/v1/instances",
        {"name": "web-1", "ssh_keys": ["laptop", "ci"], "image": "ubuntu-22.04", "region": "us-east-1"},
    )
    assert line.split(" \\\n  ") == [
        "lambda instances create", "--name web-1", "--ssh-keys laptop", "--ssh-keys ci", "--image ubuntu-22.04",
        "--region us-east-1",
    ]  # fmt: skip


def test_a_call_is_told_in_every_language_and_escaped():
    told = Call("Stop", "POST", f"/v1/instances/{ID}/stop", {"note": "<b>"}).samples("https://lambda.example")
    assert [one.language for one in told] == ["curl", "python", "javascript", "cli"]
    for one in told:
        assert "<b>" not in one.code
        assert ("https://lambda.example/v1" in one.code) == (one.language != "cli")
