"""Refreshing: one new pair for everybody who was first, nothing for who comes late, and an end to it all."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.actions import oauth_tokens
from accounts.models import OAuthPair, OAuthToken
from accounts.models.oauth_app import CLI, DASHBOARD
from accounts.models.oauth_token import FAMILY_LIFE, unseal
from core import epoch
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def made(account):
    return make.make_token(account)


def refresh(text, **form):
    form = {"grant_type": "refresh_token", "client_id": DASHBOARD, "refresh_token": text} | form
    return Client(raise_request_exception=False).post("/oauth/token", form)


def later(**how):
    return time_machine.travel(timezone.now() + timedelta(**how), tick=False)


def works(access):
    epoch.advance()  # as the commit does, which a test's transaction holds back
    return (
        make.Api(access).get("/event-types").status_code == 200
        and make.Api(access).get("/instances").status_code == 200
    )


def test_a_refresh_gives_a_new_pair_and_uses_the_old_one_up(made):
    response = refresh(made[1].refresh)
    assert response.status_code == 200, response.content
    pair = response.json()
    assert set(pair) == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 2592000)
    assert response["Cache-Control"] == "no-store"
    assert pair["refresh_token"] != made[1].refresh
    assert works(pair["access_token"])
    assert works(made[1].access)  # for requests on their way
    with later(seconds=61):
        assert not works(made[1].access)
        assert works(pair["access_token"])


def test_who_lost_the_answer_gets_the_same_one_within_30_seconds(made):
    first = refresh(made[1].refresh).json()
    with later(seconds=29):
        again = refresh(made[1].refresh)
        assert (again.status_code, again.json()) == (200, first)
    assert OAuthPair.objects.count() == 2


def test_a_refresh_token_that_is_used_again_later_ends_the_family(made, account):
    pair = refresh(made[1].refresh).json()
    with later(seconds=31):
        response = refresh(made[1].refresh)
        assert (response.status_code, response.json()["error"]) == (400, "invalid_grant")
        assert not works(pair["access_token"])
        assert refresh(pair["refresh_token"]).status_code == 400
    event = Event.objects.get(type="api_token.revoked")
    assert event.data["reason"] == "its refresh token was used twice"


def test_a_refresh_token_of_an_older_generation_ends_the_family_at_once(made):
    second = refresh(made[1].refresh).json()
    with later(seconds=5):
        third = refresh(second["refresh_token"]).json()
    with later(seconds=10):
        assert refresh(made[1].refresh).status_code == 400
        assert not works(third["access_token"])


def test_a_stolen_database_does_not_give_the_pair_away(made):
    refresh(made[1].refresh)
    sealed = bytes(OAuthPair.objects.exclude(successor=None).get().successor)
    assert unseal(made[1].refresh, sealed) is not None
    assert unseal("lambda_rt_guess", sealed) is None
    with later(minutes=1):
        oauth_tokens.purge()
    assert not OAuthPair.objects.exclude(successor=None).exists()


def test_no_activity_keeps_a_family_alive_beyond_180_days(made):
    text, start = made[1].refresh, timezone.now()
    for days in range(25, 180, 25):
        with time_machine.travel(start + timedelta(days=days), tick=False):
            pair = refresh(text).json()
            text = pair["refresh_token"]
            assert pair["expires_in"] <= 30 * 24 * 3600
    assert pair["expires_in"] < 6 * 24 * 3600  # the last one ends with the family
    with time_machine.travel(start + FAMILY_LIFE + timedelta(seconds=1), tick=False):
        assert refresh(text).status_code == 400
        assert not works(pair["access_token"])


def test_a_refresh_may_ask_for_less_and_not_for_more(account):
    _, issued = make.make_token(account, scopes=["instances:*"])
    more = refresh(issued.refresh, scope="instances:read volumes:read")
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")
    less = refresh(issued.refresh, scope="instances:read").json()
    assert less["scope"] == "instances:read"
    assert make.Api(less["access_token"]).post("/instances", make.WANTED).status_code == 403


def test_a_refresh_token_is_its_apps_alone(made):
    assert refresh(made[1].refresh, client_id=CLI).json()["error"] == "invalid_grant"
    assert refresh(made[1].refresh, client_id="nobody").json()["error"] == "invalid_client"
    assert refresh(made[1].refresh).status_code == 200


@pytest.mark.parametrize("text", ["", "lambda_rt_x", "\x00", "λ", "x" * 10_000])
def test_what_is_no_refresh_token_gets_the_rfcs_error(text):
    assert refresh(text).status_code == 400
    assert refresh(text).json()["error"] in ("invalid_grant", "invalid_request")


def test_an_access_token_does_not_refresh(made):
    assert refresh(made[1].access).json()["error"] == "invalid_grant"


def test_who_no_longer_belongs_to_the_account_cannot_refresh(account):
    bob = make.make_member(account, "developer")
    _, issued = make.make_token(account, member=bob)
    bob.delete()
    assert refresh(issued.refresh).json()["error"] == "invalid_grant"


def test_a_revoked_token_does_not_refresh_not_even_within_the_grace(made):
    refresh(made[1].refresh)
    oauth_tokens.revoke(token=made[0], by=SYSTEM)
    assert refresh(made[1].refresh).json()["error"] == "invalid_grant"


def test_what_ended_long_ago_is_forgotten(made):
    with later(days=200):
        oauth_tokens.purge()
    assert OAuthToken.objects.count() == 1
    with later(days=211):
        oauth_tokens.purge()
    assert OAuthToken.objects.count() == OAuthPair.objects.count() == 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True, serialized_rollback=True)
def test_a_hundred_at_once_get_one_new_pair_and_no_failure(account):
    _, issued = make.make_token(account)

    def once(_):
        try:
            response = refresh(issued.refresh)
            return response.status_code, response.content
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as pool:
        answers = Counter(pool.map(once, range(100)))
    assert len(answers) == 1, [status for status, _ in answers]
    assert next(iter(answers))[0] == 200
    assert OAuthPair.objects.count() == 2
