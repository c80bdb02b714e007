"""Where one can go: the side bar, the palette, and the search page that stands in for it."""

import html
import re

import pytest

from core import ids
from core.models import Resource
from dashboard.palette import Place, matches
from tests import make

pytestmark = pytest.mark.django_db


def found(browser, query, **extra):
    """The lines that the palette shows: label and address."""
    text = browser.get("/search", {"q": query}, headers={"HX-Request": "true"}, **extra).content.decode()
    assert "<html" not in text
    links = re.findall(r'<a href="([^"]+)">.*?<span class="truncate">(.*?)</span>', text, re.DOTALL)
    return {html.unescape(label): url for url, label in links}


def side_bar(browser):
    text = browser.get("/search").content.decode()
    return re.findall(r'<nav class="nav" aria-label="(\w+)">', text), text


def test_pages_and_actions_are_found_by_the_beginnings_of_their_words(alice):
    assert found(alice, "create inst") == {"Create instance": "/instances/new"}
    assert found(alice, "servers")["Instances"] == "/instances"
    assert found(alice, "reate") == {}
    assert not matches(Place("x", "Instances", "server"), "instances keys")


def test_before_anything_is_typed_every_page_and_action_is_there(alice):
    lines = found(alice, "")
    assert {"Overview", "Instances", "API Keys", "Create instance", "Sessions", "API reference"} <= set(lines)
    for url in lines.values():
        assert alice.get(url).status_code < 400, url


def test_a_thing_is_found_by_its_name_and_by_either_of_its_ids(alice, account):
    row = make.make_instance(account, name="Web-Front")
    make.make_instance(account, name="db")
    number = Resource.objects.get(native_id=row.pk).number
    for query in ("web-f", "front", row.public_id, number, number.lower()):
        assert found(alice, query) == {"Web-Front": f"/instances/{row.public_id}"}, query
    for nonsense in ("inst_nonsense", "RES_1", "RES_0000000000", ids.encode("vol", row.pk), "%", "'"):
        assert found(alice, nonsense) == {}, nonsense


def test_charlie_finds_nothing_of_alices(account):
    row = make.make_instance(account, name="hidden-project")
    charlie = make.sign_in(make.owner_of(make.make_account()).user)
    assert found(charlie, "hidden") == {}
    assert found(charlie, row.public_id) == {}


def test_a_role_is_offered_only_what_it_may_open(account):
    make.make_instance(account, name="web-1")
    billing = make.sign_in(make.make_member(account, "billing").user)
    assert found(billing, "web") == {}
    assert {"Instances", "Create instance", "API Keys"}.isdisjoint(found(billing, ""))
    assert "Compute" not in side_bar(billing)[0]
    assert "Account" in found(billing, "")


def test_a_deleted_thing_is_not_found(alice, account):
    row = make.make_instance(account, name="box-1")
    Resource.objects.filter(native_id=row.pk).update(deleted_at=make.days(-1))
    assert found(alice, "box") == {}


def test_what_is_typed_is_escaped_and_cut(alice):
    text = alice.get("/search", {"q": "<script>" * 50}).content.decode()
    assert "<script>" * 2 not in text
    assert "&lt;script&gt;" in text


def test_the_palette_asks_the_database_once_for_things(alice, account, django_assert_max_num_queries):
    for at in range(12):
        make.make_instance(account, name=f"box-{at}")
    with django_assert_max_num_queries(5):
        assert len(found(alice, "box")) == 8


def test_without_a_script_the_search_is_a_page_with_a_form(alice):
    page = alice.get("/search", {"q": "inst"})
    assert 'action="/search"' in page.content.decode()
    assert "Create instance" in page.content.decode()


def test_who_has_no_account_still_finds_their_own_pages():
    browser = make.sign_in(make.make_user())
    assert set(found(browser, "")) >= {"Overview", "Security", "New account"}


def test_who_is_signed_out_is_sent_to_sign_in(client):
    assert client.get("/search").status_code == 302


def test_the_side_bar_is_grouped_and_marks_where_one_is(alice, account):
    groups, _ = side_bar(alice)
    assert groups[:3] == ["Main", "Compute", "Develop"]
    assert groups[-1] == "Settings"
    row = make.make_instance(account)
    text = alice.get(f"/instances/{row.public_id}").content.decode()
    assert re.search(r'<a href="/instances" aria-current="true"', text)
    assert re.search(r'<li><a href="/">Alice&#x27;s</a></li><li><a href="/instances">Instances</a></li>', text)
    assert re.search(r'<a href="/instances" aria-current="page"', alice.get("/instances").content.decode())


@pytest.mark.parametrize("path", ["/", "/instances", "/ssh-keys", "/settings/api-keys", "/settings/members"])
def test_every_page_says_where_it_is(alice, path):
    crumbs = re.search(r'<nav class="crumbs".*?</nav>', alice.get(path).content.decode(), re.DOTALL)[0]
    assert 'href="/"' in crumbs
    assert 'aria-current="page"' in crumbs


def test_a_question_mark_lists_the_shortcuts_that_the_reader_has(alice, account):
    def keys(browser):
        text = browser.get("/search", {"q": "?"}).content.decode()
        return re.findall(r"<dt>(.*?)</dt><dd><kbd>g</kbd>", text)

    assert "Instances" in keys(alice)
    assert "Instances" not in keys(make.sign_in(make.make_member(account, "billing").user))
