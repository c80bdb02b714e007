"""Making and changing a webhook in the dashboard."""

import html
import re

import pytest
from django.utils import timezone

from core.models import Event
from tests import make
from webhooks.models import Endpoint

pytestmark = pytest.mark.django_db
FORM = {"url": "https://your-app.example/hook", "events": ["instance.*"], "secret": ""}
SECRET = "a secret of sixteen bytes"


def shown(page):
    return html.unescape(page.content.decode())


def test_a_webhook_is_added_and_its_secret_is_on_one_page_that_nobody_may_keep(account, alice):
    assert alice.get("/webhooks/new").status_code == 200
    page = alice.post("/webhooks/new", FORM)
    row = Endpoint.objects.get()
    assert (page.status_code, page["Cache-Control"]) == (200, "no-store")
    secret = re.search(r"whsec_[\w+/]{43}=", shown(page))[0]
    assert row.secrets(timezone.now()) == [secret]
    assert (row.url, row.events) == (FORM["url"], ["instance.*"])
    for path in ("/webhooks", f"/webhooks/{row.public_id}", f"/webhooks/{row.public_id}/rotate", "/webhooks/new", "/"):
        assert secret not in shown(alice.get(path)), path
    event = Event.objects.get(type="webhook.created")
    assert (event.via, event.actor_kind) == ("dashboard", "user")


def test_a_secret_of_ones_own_is_shown_in_both_spellings(alice):
    page = alice.post("/webhooks/new", FORM | {"secret": SECRET})
    assert Endpoint.objects.get().secrets(timezone.now()) == [SECRET]
    assert f"<code>{SECRET}</code>" in shown(page)
    assert re.search(r"whsec_[\w+/=]+", shown(page))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "http://your-app.example/hook"}, "must begin with https"),
        ({"url": "https://10.0.0.1/hook"}, "not an address on the Internet"),
        ({"url": ""}, "required"),
        ({"events": []}, "Choose at least one event"),
        ({"events": ["instance.exploded"]}, "no event type"),
        ({"secret": "short"}, "at least 16 bytes"),
    ],
)
def test_a_mistake_is_said_beside_its_field_and_nothing_typed_is_lost(alice, wrong, said):
    page = alice.post("/webhooks/new", FORM | {"secret": SECRET} | wrong)
    typed = FORM | {"secret": SECRET} | wrong
    assert page.status_code == 422
    assert page["Cache-Control"] == "no-store"
    assert said in str(page.context["form"].errors[next(iter(wrong))])
    assert f'value="{typed["url"]}"' in shown(page) or not typed["url"]
    assert f'value="{typed["secret"]}"' in shown(page)
    for event in typed["events"]:
        assert event == "instance.exploded" or f'value="{event}" checked' in shown(page)
    assert not Endpoint.objects.exists()


def test_every_documented_type_can_be_chosen_and_what_others_contain_is_left_out(alice):
    text = shown(alice.get("/webhooks/new"))
    for pattern in ("*", "instance.*", "instance.created", "execution.failed", "member.role_changed"):
        assert f'name="events" value="{pattern}"' in text
    alice.post("/webhooks/new", FORM | {"events": ["instance.*", "instance.created", "member.joined"]})
    assert Endpoint.objects.latest("pk").events == ["member.joined", "instance.*"] or Endpoint.objects.latest(
        "pk"
    ).events == ["instance.*", "member.joined"]
    alice.post("/webhooks/new", FORM | {"events": ["*", "instance.created", "execution.failed"]})
    assert set(Endpoint.objects.latest("pk").events) == {"*", "execution.failed"}


def test_a_webhook_is_changed_and_the_later_of_two_editors_is_told(account, alice):
    row = make.make_webhook(account)
    path = f"/webhooks/{row.public_id}/change"
    version = re.search(r'name="version" value="(\d+)"', shown(alice.get(path)))[1]
    answer = alice.post(path, {"url": "https://new.example/a", "events": ["api_key.*"], "version": version})
    assert answer["Location"] == f"/webhooks/{row.public_id}"
    row.refresh_from_db()
    assert (row.url, row.events) == ("https://new.example/a", ["api_key.*"])
    late = alice.post(path, {"url": "https://late.example/a", "events": ["*"], "version": version})
    assert late.status_code == 422
    assert "changed this" in shown(late)
    assert "https://late.example/a" in shown(late)
