"""Settings → Plan & Limits, and where one is signed in."""

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from api import limits
from catalog.models import Plan
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def account():
    return make.make_account(plan="free")


@pytest.fixture
def alice(account):
    return make.sign_in(make.owner_of(account).user)


def test_a_bar_for_each_limit_says_how_much_is_in_use(account, alice):
    _, secret = make.make_key(account)
    api = make.Api(secret.key)
    for _ in range(3):
        api.get("/instances")
    page = alice.get("/settings/limits")
    used = {name: (used, limit) for name, limit, used, *_ in page.context["limits"]}
    plan = Plan.objects.get(slug="free")
    assert used["requests"] == (3, plan.requests_per_hour)
    assert used["api_keys"] == (1, plan.max_api_keys)
    assert used["instances"] == (0, plan.max_instances)
    assert [(row["name"], row["limit"]) for row in api.get("/account/limits").json()["data"]] == [
        (name, limit) for name, limit, *_ in page.context["limits"]
    ]


def test_looking_at_the_limits_uses_none_up(account, alice):
    for _ in range(5):
        alice.get("/settings/limits")
    assert limits.limiter().used(f"account:{account.pk}") == 0


def test_a_limit_that_is_reached_says_what_to_do(account, alice):
    Plan.objects.filter(slug="free").update(max_api_keys=1)
    make.make_key(account)
    page = alice.get("/settings/limits").content.decode()
    assert "The limit is reached. Revoke one" in page


def browser(account, agent):
    client = Client(HTTP_USER_AGENT=agent)
    client.post("/accounts/login/", {"login": make.owner_of(account).user.email, "password": make.PASSWORD})
    return client


class TestSessions:
    @pytest.fixture
    def account(self):
        return make.make_account(make.make_user(password=make.PASSWORD))

    def test_one_other_session_is_ended_and_then_all_others(self, account):
        here, phone, laptop = (browser(account, agent) for agent in ("Firefox", "iPhone", "Chrome"))
        page = here.get("/accounts/sessions/")
        rows = page.context["sessions"]
        assert [row.here for row in rows] == [True, False, False]
        other = next(row for row in rows if row.user_agent == "iPhone")
        here.post("/accounts/sessions/", {"session": other.pk})
        assert phone.get("/settings/account").status_code == 302
        assert laptop.get("/settings/account").status_code == 200
        here.post("/accounts/sessions/")
        assert laptop.get("/settings/account").status_code == 302
        assert len(here.get("/accounts/sessions/").context["sessions"]) == 1

    def test_a_session_that_has_expired_is_not_shown(self, account):
        here, _ = browser(account, "Firefox"), browser(account, "Chrome")
        Session.objects.exclude(session_key=here.session.session_key).update(expire_date=make.days(-1))
        assert len(here.get("/accounts/sessions/").context["sessions"]) == 1

    def test_nobody_ends_the_session_of_another(self, account):
        here, charlie = browser(account, "Firefox"), make.sign_in(make.owner_of(make.make_account()).user)
        row = here.get("/accounts/sessions/").context["sessions"][0]
        charlie.post("/accounts/sessions/", {"session": row.pk})
        charlie.post("/accounts/sessions/")
        assert here.get("/settings/account").status_code == 200
