"""The list of instances: what narrows and sorts it, its pages, and what is done with many at once."""

import html
import re

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from compute.models import Instance
from compute.views import instances as views
from tests import make

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
MOST_QUERIES = 8
BULK = "/instances/bulk"


def shown(page):
    return html.unescape(page.content.decode())


def names(page):
    return [row.name for row in page.context["instances"]]


@pytest.fixture
def fleet(account):
    return {
        "web-1": make.make_instance(account, name="web-1", tags={"env": "production", "team": "web"}),
        "web-2": make.make_instance(
            account, name="web-2", region="eu-west-1", state="stopped", tags={"env": "staging"}
        ),
        "db": make.make_instance(account, name="db", region="eu-west-1", tags={"env": "production"}, protected=True),
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["db", "web-2", "web-1"]),
        ("q=WEB", ["web-2", "web-1"]),
        ("status=stopped", ["web-2"]),
        ("region=eu-west-1", ["db", "web-2"]),
        ("region=eu-west-1&status=running", ["db"]),
        ("region=us-west-2", []),
        ("tag=env:production", ["db", "web-1"]),
        ("tag=env:pro", []),
        ("sort=name&order=asc", ["db", "web-1", "web-2"]),
        ("sort=name", ["web-2", "web-1", "db"]),
        ("order=asc", ["web-1", "web-2", "db"]),
        ("sort=nonsense&order=up&page=nonsense", ["db", "web-2", "web-1"]),
        ("page=2", []),
    ],
)
def test_the_address_says_which_instances_and_in_which_order(fleet, alice, query, found):
    page = alice.get(f"/instances?{query}")
    assert page.status_code == 200
    assert names(page) == found
    if query and "nonsense" not in query and "page" not in query:
        api = make.make_api(fleet["db"].account).get(f"/instances?{query}").json()["data"]
        assert [row["name"] for row in api] == found, "the API's filters have the same names"


@pytest.mark.parametrize(("query", "words"), [("tag=production", "key:value"), ("status=flying", "flying")])
def test_a_filter_that_means_nothing_is_said_beside_it_and_kept(fleet, alice, query, words):
    page = alice.get(f"/instances?{query}")
    assert page.status_code == 422
    assert words in re.search(r'<ul class="errorlist".*?</ul>', shown(page), re.DOTALL)[0]
    assert names(page) == []


def test_nothing_that_fits_is_not_the_same_as_nothing_at_all(fleet, alice, account):
    assert "No instance fits" in shown(alice.get("/instances?q=nowhere"))
    Instance.objects.all().delete()
    stranger = make.sign_in(make.owner_of(make.make_account()).user)
    empty = shown(stranger.get("/instances"))
    assert "No instances yet" in empty
    assert "/v1/instances -H" in empty


def test_a_long_list_has_pages_that_keep_the_filters(account, alice, monkeypatch):
    monkeypatch.setattr(views, "PAGE", 2)
    for number in range(5):
        make.make_instance(account, name=f"web-{number}")
    first = alice.get("/instances?q=web&sort=name&order=asc")
    assert names(first) == ["web-0", "web-1"]
    assert "1–2 of 5" in shown(first)
    second = alice.get(f"/instances{first.context['part'].next}")
    assert names(second) == ["web-2", "web-3"]
    last = alice.get(f"/instances{second.context['part'].next}")
    assert (names(last), last.context["part"].next) == (["web-4"], "")
    assert names(alice.get(f"/instances{last.context['part'].previous}")) == ["web-2", "web-3"]


def test_the_list_follows_what_moves_without_forgetting_what_is_ticked(account, alice):
    row = make.make_instance(account, state="provisioning")
    page = alice.get(f"/instances?status=provisioning&id={row.public_id}", **HTMX)
    assert page.status_code == 200
    assert f'value="{row.public_id}" form="bulk" id="choose-{row.public_id}" data-choose checked' in shown(page)
    asks = re.search(r'hx-get="([^"]*)"', shown(page))[1]
    assert "status=provisioning" in asks
    assert "id=" not in asks
    Instance.objects.update(state="running", ready=True)
    settled = alice.get("/instances", **HTMX)
    assert settled.status_code == 286
    assert "hx-get" not in shown(settled)


def test_what_will_happen_to_each_is_said_before_anything_does(fleet, alice):
    ids = "&".join(f"id={row.public_id}" for row in fleet.values())
    page = alice.get(f"{BULK}?action=delete&{ids}")
    told = {line.instance.name: line.tone for line in page.context["lines"]}
    assert told == {"web-1": "ok", "web-2": "ok", "db": "bad"}
    assert "Is protected: it stays" in shown(page)
    assert "delete 3" in shown(page)
    told = {line.instance.name: line.tone for line in alice.get(f"{BULK}?action=stop&{ids}").context["lines"]}
    assert told == {"web-1": "ok", "web-2": "quiet", "db": "ok"}
    assert set(Instance.objects.values_list("state", flat=True)) == {"running", "stopped"}


def test_many_are_stopped_by_one_form(fleet, alice):
    ids = [fleet[name].public_id for name in ("web-1", "db")]
    answer = alice.post(BULK, {"action": "stop", "id": ids})
    assert (answer.status_code, answer["Location"]) == (302, "/instances")
    assert "2 instances are stopping." in shown(alice.get("/instances"))
    assert list(Instance.objects.order_by("name").values_list("state", flat=True)) == [
        "stopping",
        "stopping",
        "stopped",
    ]


def test_what_was_refused_is_told_for_each_and_the_others_are_done(fleet, alice):
    ids = [row.public_id for row in fleet.values()]
    page = alice.post(BULK, {"action": "delete", "id": ids, "confirm": "delete 3"})
    assert page.status_code == 200
    assert "2 done, 1 refused" in shown(page)
    told = {line.instance.name: line.words for line in page.context["lines"]}
    assert "protected from deletion" in told["db"]
    assert told["web-1"] == "Is being deleted"
    assert dict(Instance.objects.values_list("name", "state")) == {
        "web-1": "deleting",
        "web-2": "deleting",
        "db": "running",
    }


def test_deleting_many_takes_typing_how_many(fleet, alice):
    ids = [fleet["web-1"].public_id, fleet["web-2"].public_id]
    page = alice.post(BULK, {"action": "delete", "id": ids, "confirm": "delete 3"})
    assert page.status_code == 422
    assert "Type exactly: delete 2" in shown(page)
    assert not Instance.objects.filter(state="deleting").exists()
    assert alice.post(BULK, {"action": "delete", "id": ids, "confirm": "delete 2"}).status_code == 302
    assert Instance.objects.filter(state="deleting").count() == 2


def test_nothing_chosen_is_explained(alice):
    for page in (alice.get(BULK), alice.get(f"{BULK}?action=stop&id=nonsense"), alice.post(BULK, {"action": "stop"})):
        assert page.status_code == 200
        assert "No instance is chosen" in shown(page)


def test_charlies_form_touches_nothing_of_alices(fleet):
    charlie = make.sign_in(make.owner_of(make.make_account()).user)
    ids = [row.public_id for row in fleet.values()]
    for answer in (charlie.get(BULK, {"action": "stop", "id": ids}), charlie.post(BULK, {"action": "stop", "id": ids})):
        assert "No instance is chosen" in shown(answer)
    assert not Instance.objects.filter(state="stopping").exists()


def test_a_viewer_has_no_boxes_and_no_form(fleet, account):
    bob = make.sign_in(make.make_member(account, "viewer").user)
    assert 'type="checkbox"' not in shown(bob.get("/instances"))
    ids = [fleet["web-1"].public_id]
    assert bob.post(BULK, {"action": "stop", "id": ids}).status_code == 403


def test_the_pages_of_instances_take_few_queries_whatever_there_is(account, alice):
    rows = [make.make_instance(account, state=state) for state in ("running", "stopped", "error", "provisioning") * 6]
    for _ in range(5):
        make.make_ssh_key(account, generate=True)
    ids = "&".join(f"id={row.public_id}" for row in rows)
    path = f"/instances/{rows[0].public_id}"
    pages = ["/instances", "/instances?q=web&status=running&tag=a:b&sort=name", f"{BULK}?action=stop&{ids}"]
    pages += ["/instances/new", "/instances/new/estimate?instance_type=compute-2x", path, f"{path}/console"]
    pages += [f"{path}/change", f"{path}/resize", f"{path}/rebuild", f"{path}/delete"]
    alice.get("/instances/new")  # what a process remembers of the catalogue, it asks for once
    for page in pages:
        with CaptureQueriesContext(connection) as queries:
            assert alice.get(page).status_code == 200
        assert len(queries) <= MOST_QUERIES, f"{page}: {len(queries)}"
