"""The API reference at /docs: everything that the document has, and samples that work as printed."""

import html
import os
import re
import subprocess
import sys
from typing import Any

import pytest
from django.test import Client

from api.errors import STATUS
from api.openapi import document
from compute.models import SshKey
from config.docs import example, fields, prose, type_of
from dashboard.calls import colour, samples
from tests.make import make_account, make_key


@pytest.fixture
def page():
    return Client().get("/docs")


def test_anyone_may_read_it_and_it_obeys_the_strict_policy(page):
    text = page.content.decode()
    assert page.status_code == 200
    assert "script-src 'self'" in page["Content-Security-Policy"]
    assert not re.search(r"\sstyle=|<style|\son\w+=|<script(?! type=\"module\" src=)", text)


def test_it_has_every_operation_parameter_and_error_code_and_no_link_leads_nowhere(page):
    text = page.content.decode()
    anchors = set(re.findall(r'\sid="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors
    assert len(anchors) == len(re.findall(r'\sid="([^"]+)"', text))
    for item in document()["paths"].values():
        for operation in item.values():
            assert operation["operationId"] in anchors
            names = [one["name"] for one in operation.get("parameters", []) if one["in"] != "header"]
            assert [name for name in names if f"<code>{name}</code>" not in text] == []
    assert [code for code in STATUS if f"<code>{code}</code>" not in text] == []


def test_it_is_dark_for_whoever_chose_the_dark_theme():
    client = Client()
    assert b"data-theme" not in client.get("/docs").content
    client.cookies["theme"] = "dark"
    assert b'data-theme="dark"' in client.get("/docs").content


def test_code_and_prose_are_escaped():
    assert prose("a <b>\nof `x<y`\n\nend") == "a &lt;b&gt; of <code>x&lt;y</code>\n\nend"
    assert colour('{"a": "<i>", "n": 1}') == (
        '{<span class="key">&quot;a&quot;</span>: <span class="string">&quot;&lt;i&gt;&quot;</span>, '
        '<span class="key">&quot;n&quot;</span>: <span class="number">1</span>}'
    )


def test_shapes_are_told_in_words():
    schema = {
        "type": "object",
        "required": ["ids"],
        "properties": {
            "ids": {"type": "array", "items": {"type": "string"}, "maxItems": 5},
            "at": {"type": ["string", "null"], "format": "date-time"},
            "inner": {"oneOf": [{"type": "object", "properties": {"port": {"type": "integer"}}}, {"type": "null"}]},
        },
    }
    rows = {row["name"]: row for row in fields(schema, sent=True)}
    assert list(rows) == ["ids", "at", "inner", "inner.port"]
    assert [row["type"] for row in rows.values()] == ["array of strings", "time or null", "object or null", "integer"]
    assert rows["ids"]["limits"] == "up to 5"
    assert [name for name, row in rows.items() if row["required"]] == ["ids"]
    assert type_of({"anyOf": []}) == "any value"


def test_every_example_of_an_answer_is_whole_and_shows_something():
    """A text without an example of its own would read "…": give it one with `like`."""
    for name, shape in document()["components"]["schemas"].items():
        if not name.endswith(("Input", "Rehearsal")):
            shown = example(shape)
            assert set(shown) == set(shape.get("required", ())), name
            assert [member for member, value in shown.items() if value in ("…", ["…"])] == [], name


def code_of(sample: Any) -> str:
    """What a reader would copy."""
    return html.unescape(re.sub("<[^>]+>", "", sample))


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
@pytest.mark.parametrize("language", ["curl", "python"])
def test_a_sample_works_as_printed(language, live_server, settings):
    settings.LAMBDA_BASE_URL = live_server.url
    secret = make_key(make_account())[1]
    body = {"name": 'it\'s "mine"', "generate": True}
    printed = {name: code_of(code) for name, _, code in samples("POST", "/v1/ssh-keys", body)}
    runs = {"curl": ["sh", "-c"], "python": [sys.executable, "-c"]}
    keys = {"curl": secret.key, "python": secret.key_ascii}  # most libraries refuse to send λ
    done = subprocess.run(
        [*runs[language], printed[language]],
        env={**os.environ, "LAMBDA_API_KEY": keys[language]}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert SshKey.objects.get().name == body["name"]
    assert "BEGIN OPENSSH PRIVATE KEY" in done.stdout
