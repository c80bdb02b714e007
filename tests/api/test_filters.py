"""Narrowing and ordering lists: what is asked for is what is answered, and nothing asked for is silently ignored."""

from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.actions import api_keys
from accounts.models import ApiKey
from accounts.models.api_key import STATUSES
from accounts.scopes import SCOPES
from api import filters, pagination
from compute.models import Instance
from compute.models.instance import STATES
from core.context import SYSTEM
from tests.make import days, make_account, make_api, make_instance, make_key

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def alice():
    return make_account()


@pytest.fixture
def api(alice):
    return make_api(alice)


def names(api, **query) -> list[str]:
    answer = api.get(f"/instances?{urlencode(query, doseq=True)}")
    assert answer.status_code == 200, answer.content
    assert answer.json()["pagination"]["total_items"] == len(answer.json()["data"])
    return [row["name"] for row in answer.json()["data"]]


def refusal(api, path: str) -> dict:
    answer = api.get(path)
    assert answer.status_code == 400, answer.content
    return answer.json()["error"]


def test_several_filters_must_all_hold_and_several_statuses_may_each(alice, api):
    make_instance(alice, name="a", region="us-west-1")
    make_instance(alice, name="b", region="us-west-1", state="stopped")
    make_instance(alice, name="c", region="eu-west-1")
    assert names(api, status="running") == ["c", "a"]
    assert names(api, status="running", region="us-west-1") == ["a"]
    assert names(api, status="running,stopped", region="us-west-1") == ["b", "a"]
    assert names(api, region="us-west,eu-west-1", order="asc") == ["a", "b", "c"]  # an alias names its region
    assert names(api, status="error") == []


def test_name_is_the_whole_name_and_q_a_part_of_it(alice, api):
    for name in ("web", "web-1", "100%", "a_b", "axb"):
        make_instance(alice, name=name)
    assert names(api, name="web") == ["web"]
    assert names(api, q="WEB") == ["web-1", "web"]
    assert names(api, q="%") == ["100%"]
    assert names(api, q="_") == ["a_b"]


def test_a_row_must_have_every_tag_asked_for(alice, api):
    make_instance(alice, name="a", tags={"env": "prod", "team": "shop"})
    make_instance(alice, name="b", tags={"env": "prod"})
    make_instance(alice, name="c", tags={"env": "production", "url": "http://x"})
    assert names(api, tag="env:prod") == ["b", "a"]
    assert names(api, tag=["env:prod", "team:shop"]) == ["a"]
    assert names(api, tag="url:http://x") == ["c"]
    make_instance(alice, name="d", tags={"aws:stack": "a:b"})
    assert names(api, tag="aws:stack:a:b") == ["d"]
    assert names(api, tag="team:") == []
    assert "key:value" in refusal(api, "/instances?tag=env")["message"]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    value=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12),
)
def test_a_tag_of_any_characters_is_found_by_exactly_itself(db, key, value):
    alice = make_account()
    row = make_instance(alice, tags={key: value, key + "y": "y"})
    make_instance(alice, tags={key + "x": value, key: value + "x"})
    found = Instance.objects.filter(account=alice).filter(filters.HasTag("tags", f"{key}:{value}"))
    assert [one.pk for one in found] == [row.pk]


def test_times_bound_a_list_and_must_be_times(alice, api):
    make_instance(alice, name="old")
    Instance.objects.update(created_at=days(-2))
    make_instance(alice, name="new")
    yesterday = days(-1).isoformat()
    assert names(api, created_after=yesterday) == ["new"]
    assert names(api, created_before=yesterday) == ["old"]
    assert names(api, created_after=days(-3).date().isoformat(), created_before=yesterday) == ["old"]
    for wrong in ("yesterday", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+14:00", "2026"):
        error = refusal(api, f"/instances?{urlencode({'created_after': wrong})}")
        assert error["details"]["field"] == "created_after"
        assert error["details"]["value"] == wrong


def test_sorting_is_by_a_listed_field_with_ties_by_age(alice, api):
    for name in ("b", "a", "b"):
        make_instance(alice, name=name)
    rows = api.get("/instances?sort=name&order=asc").json()["data"]
    assert [row["name"] for row in rows] == ["a", "b", "b"]
    assert rows[1]["id"] < rows[2]["id"]
    assert names(api, sort="name", order="desc") == ["b", "b", "a"]
    assert names(api, sort="created_at", order="asc") == ["b", "a", "b"]
    assert refusal(api, "/instances?sort=price")["details"]["allowed_values"] == ["created_at", "name"]
    assert refusal(api, "/instances?order=up")["details"]["allowed_values"] == ["asc", "desc"]


def test_an_unknown_value_is_refused_and_the_known_ones_named(api):
    assert refusal(api, "/instances?status=runing")["details"]["allowed_values"] == STATES
    assert "us-east-1" in refusal(api, "/instances?region=mars-1")["details"]["allowed_values"]
    assert refusal(api, "/account/api-keys?status=live")["details"]["allowed_values"] == STATUSES


@pytest.mark.parametrize("query", ["state=running", "Status=running", "fields=id", "status[]=running"])
def test_an_unknown_name_is_refused_and_the_known_ones_named(api, query):
    error = refusal(api, f"/instances?{query}")
    assert error["code"] == "unknown_parameter"
    assert {"status", "region", "tag", "sort", "page"} <= set(error["details"]["allowed_values"])


def test_every_wrong_filter_is_named_at_once(api):
    details = refusal(api, "/instances?status=runing&region=&tag=&created_after=now&sort=price&order=up")["details"]
    named = [error["field"] for error in details["errors"]]
    assert sorted(named) == ["created_after", "order", "region", "sort", "status", "tag"]


def test_nothing_said_is_silently_ignored(api):
    assert "needs a value" in refusal(api, "/instances?status=")["message"]
    assert "once" in refusal(api, "/instances?status=running&status=stopped")["message"]
    assert "once" in refusal(api, "/instances?order=asc&order=desc")["message"]
    for list_without_filters in ("/instances", "/instance-types", "/versions", "/account/limits"):
        assert "once" in refusal(api, f"{list_without_filters}?page=1&page=2")["message"]


def test_a_narrowed_list_is_counted_but_no_further_than_it_pays(alice, api, monkeypatch):
    for _ in range(5):
        make_instance(alice)
    monkeypatch.setattr(filters, "COUNTED", 3)
    first = api.get("/instances?status=running&limit=2").json()["pagination"]
    pages = {"page": 1, "limit": 2, "total_pages": 2, "has_next": True, "has_prev": False}
    assert first == {**pages, "total_items": 3, "total_capped": True}
    beyond = api.get("/instances?status=running&limit=2&page=2").json()
    assert beyond["pagination"]["has_next"]
    last = api.get("/instances?status=running&limit=2&page=3").json()
    assert (len(last["data"]), last["pagination"]["has_next"]) == (1, False)
    whole = api.get("/instances?sort=name&limit=2").json()["pagination"]
    assert whole["total_items"] == 5  # nothing narrows it: the counter knows
    assert "total_capped" not in whole


def test_a_deep_page_holds_the_rows_that_counting_from_the_start_would_give(alice, api, monkeypatch):
    made = [make_instance(alice, name=f"{number:02}").name for number in range(9)]
    monkeypatch.setattr(pagination, "DEEP", 4)
    for page in (1, 2, 3, 4, 5):
        rows = api.get(f"/instances?sort=name&order=asc&limit=2&page={page}").json()["data"]
        assert [row["name"] for row in rows] == made[(page - 1) * 2 : page * 2]


def test_the_hot_list_and_the_filtered_one_show_the_same(alice, api):
    for state in ("running", "stopped", "pending", "error"):
        make_instance(alice, state=state)
    hot, filtered = api.get("/instances").json(), api.get("/instances?sort=created_at").json()
    for rows in (hot["data"], filtered["data"]):
        for row in rows:
            row.pop("month_to_date_cost")
    assert hot["data"] == filtered["data"]
    assert hot["pagination"] == filtered["pagination"]


def test_filtered_lists_take_two_statements_and_an_index(alice, api):
    make_instance(alice)
    api.get("/instances?status=running")
    for query in ("status=running", "name=web-1", "tag=a:b", "sort=name&order=asc", "created_after=2026-01-01"):
        with CaptureQueriesContext(connection) as queries:
            assert api.get(f"/instances?{query}").status_code == 200
        assert len(queries) == 2, query
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN QUERY PLAN {queries[0]['sql']}")
                plan = " ".join(str(row) for row in cursor.fetchall())
            assert "SEARCH compute_instance USING INDEX" in plan, plan
            assert "TEMP B-TREE" not in plan, plan


def test_bob_and_charlie_see_only_their_own_accounts(alice, api):
    make_instance(alice, name="hers")
    charlie = make_account(name="Charlie's")
    make_instance(charlie, name="his")
    assert names(make_api(charlie), q="h") == ["his"]
    assert names(api, q="h") == ["hers"]


def test_api_keys_are_filtered_by_the_status_that_they_show(alice, api):
    make_key(alice, name="expiring", expires_at=days(13))
    make_key(alice, name="active", expires_at=days(15))
    api_keys.revoke(key=make_key(alice, name="revoked")[0], by=SYSTEM)
    rotated = make_key(alice, name="retiring")[0]
    api_keys.rotate(key=rotated, by=SYSTEM, overlap_hours=5, grantable=frozenset(SCOPES))
    expired, _ = make_key(alice, name="expired")
    ApiKey.objects.filter(pk=expired.pk).update(expires_at=days(-1))
    everything = api.get("/account/api-keys?limit=100").json()["data"]
    assert {row["status"] for row in everything} == set(STATUSES)
    for status in STATUSES:
        rows = api.get(f"/account/api-keys?status={status}").json()["data"]
        assert [row["id"] for row in rows] == [row["id"] for row in everything if row["status"] == status]
    assert [row["name"] for row in api.get("/account/api-keys?status=revoked,expired").json()["data"]] == [
        "expired",
        "revoked",
    ]


def test_ssh_keys_are_counted_by_their_counter(alice, api):
    first = api.post("/ssh-keys", {"name": "laptop", "generate": True}).json()["data"]
    api.post("/ssh-keys", {"name": "phone", "generate": True})
    assert api.get("/ssh-keys").json()["pagination"]["total_items"] == 2
    assert [key["name"] for key in api.get("/ssh-keys?q=lap").json()["data"]] == ["laptop"]
    query = urlencode({"fingerprint": first["fingerprint"]})
    assert [key["id"] for key in api.get(f"/ssh-keys?{query}").json()["data"]] == [first["id"]]
    api.delete(f"/ssh-keys/{first['id']}")
    assert api.get("/ssh-keys").json()["pagination"]["total_items"] == 1
