"""A form that is sent twice, and a form that two people have open."""

import threading
import time

import pytest
import time_machine
from django.contrib.auth.models import AnonymousUser
from django.db import connections
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.html import strip_tags

from accounts.actions import accounts
from accounts.models import Account
from compute.models import Instance, SshKey
from core.context import Actor
from dashboard import forms
from dashboard.forms import once
from dashboard.models import SentForm
from tests import make

pytestmark = pytest.mark.django_db
TOKEN = "abcdefghijklmnopqrstuv"
INSTANCE = {"name": "web-1", "instance_type": "compute-1x", "region": "us-east-1", "image": "debian-12", "once": TOKEN}


def said(page):
    return " ".join(strip_tags(page.content.decode()).split())


def test_the_forms_that_make_something_carry_a_token_of_their_own(alice):
    for path in ("/instances/new", "/ssh-keys/new", "/settings/members/invite", "/settings/accounts/new"):
        tokens = {alice.get(path).content.decode().partition('name="once" value="')[2][:22] for _ in range(2)}
        assert len(tokens) == 2, path
        assert all(forms.TOKEN.fullmatch(token) for token in tokens), path


def test_a_form_sent_twice_makes_one_thing_and_leads_to_it_twice(alice):
    first, second = (alice.post("/instances/new", INSTANCE) for _ in range(2))
    assert Instance.objects.count() == 1
    assert first["Location"] == second["Location"] == f"/instances/{Instance.objects.get().public_id}"


def test_a_form_opened_anew_makes_another(alice):
    alice.post("/instances/new", INSTANCE)
    alice.post("/instances/new", INSTANCE | {"once": TOKEN[::-1]})
    alice.post("/instances/new", {**INSTANCE, "once": "no token of ours"})
    assert Instance.objects.count() == 3


def test_who_goes_back_and_types_another_name_gets_another(alice):
    alice.post("/instances/new", INSTANCE)
    alice.post("/instances/new", INSTANCE | {"name": "web-2"})
    assert {row.name for row in Instance.objects.all()} == {"web-1", "web-2"}


def test_what_was_refused_can_be_mended_and_sent_again(alice):
    assert alice.post("/instances/new", INSTANCE | {"name": ""}).status_code == 422
    assert alice.post("/instances/new", INSTANCE).status_code == 302
    assert Instance.objects.count() == 1


def test_the_token_of_one_user_is_nothing_to_another(alice, account):
    alice.post("/instances/new", INSTANCE)
    bob = make.sign_in(make.make_member(account, "developer").user)
    bob.post("/instances/new", INSTANCE)
    assert Instance.objects.count() == 2


def test_a_secret_is_not_shown_a_second_time(alice):
    sent = {"name": "laptop", "generate": "1", "once": TOKEN}
    assert "PRIVATE KEY" in said(alice.post("/ssh-keys/new", sent))
    again = alice.post("/ssh-keys/new", sent)
    assert again.status_code == 409
    assert "PRIVATE KEY" not in said(again)
    assert "make another" in said(again)
    assert SshKey.objects.count() == 1


def test_after_a_crash_nobody_is_told_that_it_was_done(alice, monkeypatch):
    monkeypatch.setattr(forms, "PATIENCE", 0)
    monkeypatch.setattr(SentForm, "finish", lambda *_: None)
    alice.post("/instances/new", INSTANCE)
    again = alice.post("/instances/new", INSTANCE)
    assert again.status_code == 409
    assert "Look whether what you wanted is there" in said(again)


class Broken:
    @once
    def post(self, request):
        raise ZeroDivisionError


def test_what_broke_can_be_sent_again():
    request = RequestFactory().post("/", {"once": TOKEN})
    request.user = AnonymousUser()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            Broken().post(request)
    assert not SentForm.objects.exists()


def test_what_is_older_than_a_day_is_forgotten():
    with time_machine.travel(make.days(-2)):
        assert SentForm.claim("a")
    assert SentForm.claim("b")
    assert [row.digest for row in SentForm.objects.all()] == ["b"]


@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_second_click_waits_for_the_first():
    under_way, go_on, led = threading.Event(), threading.Event(), []

    class Slow:
        made = 0

        @once
        def post(self, request):
            Slow.made += 1
            under_way.set()
            assert go_on.wait(30)
            return HttpResponse(status=302, headers={"Location": "/made/1"})

    def click():
        request = RequestFactory().post("/", {"once": TOKEN})
        request.user = AnonymousUser()
        led.append(Slow().post(request)["Location"])
        connections.close_all()

    clicks = [threading.Thread(target=click) for _ in range(2)]
    clicks[0].start()
    assert under_way.wait(30)
    clicks[1].start()
    time.sleep(0.1)  # the second has looked at least once by then; if not, it only proves less
    go_on.set()
    for one in clicks:
        one.join(30)
    assert led == ["/made/1", "/made/1"]
    assert Slow.made == 1


def edited(browser, **fields):
    page = browser.get("/settings/account").content.decode()
    version = page.partition('name="version" value="')[2].partition('"')[0]
    return {"name": "Mine", "version": version, **fields}


def test_the_later_of_two_editors_is_told_and_keeps_what_they_typed(alice, account):
    typed = edited(alice)
    accounts.update(account=account, by=Actor("user", "user_1", "Bob"), name="Bob's")
    page = alice.post("/settings/account", typed)
    assert page.status_code == 422
    assert "Bob changed this" in said(page)
    assert 'value="Mine"' in page.content.decode()
    assert Account.objects.get().name == "Bob's"

    version = page.content.decode().partition('name="version" value="')[2].partition('"')[0]
    assert alice.post("/settings/account", typed | {"version": version}).status_code == 302
    assert Account.objects.get().name == "Mine"


def test_who_edits_alone_is_not_told_anything(alice):
    assert alice.post("/settings/account", edited(alice)).status_code == 302
    assert alice.post("/settings/account", edited(alice, name="Other")).status_code == 302
    assert Account.objects.get().name == "Other"
