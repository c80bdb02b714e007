"""Webhooks as people meet them, in a real Chromium, with a real dispatcher and a real receiver."""

import json

import pytest
from playwright.sync_api import expect

from tests import make
from tests.test_dashboard import account, browser, inspect, visit  # noqa: F401  (fixtures)
from tests.webhooks.receiver import Receiver, Reply, dispatching, until
from webhooks import signing, vectors
from webhooks.models import Delivery, Endpoint
from webhooks.targets import Allowed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]


@pytest.fixture(autouse=True)
def this_machine_is_allowed(settings):
    settings.LAMBDA_WEBHOOK_ALLOW = Allowed(loopback=True)


def test_a_webhook_is_added_tested_inspected_and_sent_again(visit):  # noqa: F811
    with Receiver(Reply(503, body=b"not yet")) as receiver, dispatching():
        page = visit("/webhooks")
        page.get_by_role("link", name="Add webhook").click()
        page.get_by_label("URL", exact=True).fill(receiver.url)
        page.locator("summary", has_text="Instance").click()
        page.get_by_label("All of them instance.*").check()
        page.get_by_role("button", name="Add webhook").click()
        secret = page.locator(".copy code").first.inner_text()
        page.get_by_role("button", name="send a test event").click()

        page.wait_for_url("**/webhooks/deliveries/whd_*")
        status = page.get_by_role("status").filter(has_text="The next attempt is in")
        expect(status).to_contain_text("The receiver answered 503.", timeout=30_000)
        attempt = page.locator("#attempt")
        expect(attempt.get_by_role("heading", name="Attempt 1")).to_be_visible()
        expect(attempt.get_by_label("Body of the answer")).to_have_text("not yet")
        body = attempt.get_by_label("Body, exactly as it was sent").inner_text()
        assert body.encode() == receiver.got[0].body
        sent = receiver.got[0].headers["X-Lambda-Signature"]
        assert sent == signing.digest(secret.encode(), body.encode())
        expect(attempt.get_by_label("Headers that were sent")).to_contain_text(sent)
        inspect(page)

        receiver.reply = Reply(200)
        page.get_by_role("button", name="Resend").click()
        expect(page.get_by_text("It arrived")).to_be_visible(timeout=30_000)
        expect(page.get_by_role("list", name="Attempts").get_by_role("listitem").first).to_contain_text("200")
        assert receiver.got[-1].body == receiver.got[0].body
        assert json.loads(body)["type"] == "webhook.test"
        page.get_by_role("button", name="Check its signature").click()
        page.locator("#id_secret").fill(secret)
        page.get_by_role("button", name="Check", exact=True).click()
        expect(page.locator(".findings")).to_contain_text("X-Lambda-Signature is right")
        expect(page.locator(".findings > li.ok")).to_have_count(3)
        expect(page.locator("#id_secret")).to_have_value("")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_every_page_can_be_used_by_everybody_on_any_screen(visit, account, width, theme):  # noqa: F811
    page = visit("/webhooks", width=width, color_scheme=theme)
    inspect(page)
    with Receiver(Reply(500)) as receiver, dispatching():
        row = make.make_webhook(account, url=receiver.url, events=["instance.*", "member.joined"])
        delivery = make.make_delivery(row)
        until(lambda: Delivery.objects.get(pk=delivery.pk).attempts)
    disabled = make.make_webhook(account)
    Endpoint.objects.filter(pk=disabled.pk).update(
        state="disabled", disabled_at=row.created_at, disabled_reason="Gone."
    )
    paths = ["", "/new", "/signature", f"/{disabled.public_id}", f"/{disabled.public_id}/switch"]
    paths += [f"/{row.public_id}{verb}" for verb in ("", "/change", "/rotate", "/switch", "/replay", "/delete")]
    for path in [*paths, f"/{row.public_id}?answer=2xx", f"/deliveries/{delivery.public_id}"]:
        assert page.goto(f"/webhooks{path}").status == 200, path
        inspect(page)
    page.goto("/webhooks/signature")
    vector = vectors.published()[0]
    page.locator("#id_body").fill(vector["body"])
    page.locator("#id_headers").fill("X-Lambda-Signature: sha256=" + "0" * 64)
    page.locator("#id_secret").fill(vector["secrets"][0])
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.locator(".findings mark")).to_be_visible()
    inspect(page)


def test_without_a_script_a_webhook_is_added_and_its_code_is_told_in_the_language_that_was_chosen(visit):  # noqa: F811
    page = visit("/webhooks/new", java_script_enabled=False)
    page.get_by_label("URL", exact=True).fill("https://your-app.example/hook")
    page.get_by_role("checkbox", name="Everything").check()
    expect(page.locator("summary", has_text="Instance")).to_be_hidden()
    expect(page.locator("summary", has_text="Execution")).to_be_visible()
    page.get_by_role("button", name="Add webhook").click()
    sample = page.locator(".sample").first
    expect(sample.get_by_text("timingSafeEqual")).to_be_visible()
    sample.get_by_text("Ruby", exact=True).click()
    expect(sample.get_by_text("secure_compare")).to_be_visible()
    expect(sample.get_by_text("timingSafeEqual")).to_be_hidden()
    page.get_by_role("button", name="send a test event").click()
    expect(page.get_by_role("heading", name="webhook.test")).to_be_visible()
