"""Settings → Audit Log: the filters of the API, in the address of a page."""

import html
import re
from datetime import UTC, datetime

import pytest
import time_machine

from core.context import acting
from tests import make

pytestmark = pytest.mark.django_db
LOG = "/settings/audit-log"


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def alice(account):
    return make.sign_in(make.owner_of(account).user)


def types(page):
    assert page.status_code == 200
    return [event.type for event in page.context["events"]]


def test_an_entry_says_who_what_whence_and_in_which_request(account, alice):
    with acting(through="api", request="req_01m803p6fsep5t56hn7y1dmqyp", address="203.0.113.9"):
        key, _ = make.make_key(account, name="deploy")
    page = html.unescape(alice.get(LOG).content.decode())
    for word in ("API key created", "deploy", key.public_id, "203.0.113.9", "req_01m803p6fsep5t56hn7y1dmqyp"):
        assert word in page


def test_the_log_is_narrowed_by_who_what_to_what_and_request(account, alice):
    owner = make.owner_of(account).user
    with acting(through="api", request="req_1"):
        key, _ = make.make_key(account)
    make.make_ssh_key(account)
    make.api_keys.revoke(key=key, by=owner.actor)
    assert types(alice.get(f"{LOG}?type=api_key.*")) == ["api_key.revoked", "api_key.created"]
    assert types(alice.get(f"{LOG}?type=ssh_key.added, api_key.created")) == ["ssh_key.added", "api_key.created"]
    assert types(alice.get(f"{LOG}?actor={owner.public_id}")) == ["api_key.revoked"]
    assert types(alice.get(f"{LOG}?actor=user")) == ["api_key.revoked"]
    assert types(alice.get(f"{LOG}?subject={key.public_id}")) == ["api_key.revoked", "api_key.created"]
    assert types(alice.get(f"{LOG}?request_id=req_1")) == ["api_key.created"]


def test_days_are_days_of_utc_and_the_last_one_counts_in_full(account, alice):
    for day in (1, 2, 3):
        with time_machine.travel(datetime(2026, 3, day, 23, 59, tzinfo=UTC), tick=False):
            make.make_ssh_key(account, name=f"day {day}", generate=True)
    page = alice.get(f"{LOG}?type=ssh_key.added&since=2026-03-02&until=2026-03-03")
    assert [event.data["name"] for event in page.context["events"]] == ["day 3", "day 2"]


@pytest.mark.parametrize(
    ("query", "words"),
    [("type=nonsense", "No event type"), ("subject=nonsense", "This is no id"), ("since=yesterday", "valid date")],
)
def test_a_filter_that_means_nothing_is_said_beside_it_and_kept(alice, query, words):
    page = alice.get(f"{LOG}?{query}")
    assert page.status_code == 422
    assert words in page.content.decode()
    assert f'value="{query.partition("=")[2]}"' in page.content.decode()


def test_older_entries_are_a_page_away(account, alice):
    for number in range(60):
        make.make_ssh_key(account, name=f"key {number}", generate=True)
    first = alice.get(f"{LOG}?type=ssh_key.added")
    assert len(types(first)) == 50
    older = re.search(r'href="(\?[^"]*before=[^"]*)"', first.content.decode())[1]
    second = alice.get(LOG + html.unescape(older))
    assert [event.data["name"] for event in second.context["events"]] == [f"key {n}" for n in range(9, -1, -1)]
    assert "before=" not in second.content.decode()
    assert len(types(alice.get(f"{LOG}?before=evt_nonsense"))) == 50


@pytest.mark.only("sqlite")  # in one transaction nothing is committed yet, as PostgreSQL sees it
def test_the_download_is_the_api_with_the_same_filters(account, alice):
    key, _ = make.make_key(account)
    page = alice.get(f"{LOG}?type=api_key.*&until=2100-01-01").content.decode()
    link = html.unescape(re.search(r'href="([^"]+)" download', page)[1])
    assert "until=2100-01-02T00%3A00%3A00Z" in link
    lines = b"".join(alice.get(link).streaming_content).splitlines()
    assert len(lines) == 1
    assert key.public_id.encode() in lines[0]


def test_another_account_is_another_log(account, alice):
    key, _ = make.make_key(account)
    charlie = make.sign_in(make.owner_of(make.make_account()).user)
    assert types(charlie.get(f"{LOG}?subject={key.public_id}")) == []
    event = alice.get(LOG).context["events"][0]
    assert types(charlie.get(f"{LOG}?before={event.public_id}")) == types(charlie.get(LOG))


def test_the_empty_log_says_why_it_is_empty(alice):
    page = alice.get(f"{LOG}?type=instance.*")
    assert "No entry matches" in page.content.decode()
    assert "Clear the filters" in page.content.decode()
