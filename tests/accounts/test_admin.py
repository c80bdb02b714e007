"""Operators and accounts: what the admin does to them goes through verbs, asks first, and is in the log."""

import pytest
from django.contrib import admin
from django.test import TestCase
from django.urls import reverse

from accounts.actions import accounts, viewings
from accounts.models import Account, ApiKey, Membership, User, Viewing
from core.context import SYSTEM
from core.errors import Conflict, NotAllowed
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db
INLINE = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}


@pytest.fixture
def account():
    return make.make_account(name="Northwind Labs")


@pytest.fixture
def operator():
    return make.make_operator()


@pytest.fixture
def browser(operator):
    return make.sign_in(operator)


def act(browser, row, action, **answers):
    """Choose an action for one row, as the button on its page does."""
    address = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")
    with TestCase.captureOnCommitCallbacks(execute=True):
        return browser.post(address, {"action": action, "_selected_action": row.pk, "of_row": "1", **answers})


def told(browser, response):
    return " ".join(str(message) for message in browser.get(response.url).context["messages"])


def test_a_suspension_asks_for_a_reason_and_binds_the_customers_next_request(browser, account, operator):
    api = make.make_api(account)
    asked = act(browser, account, "suspend")
    assert "Northwind Labs" in asked.text
    assert "from the next request on" in asked.text
    assert act(browser, account, "suspend", sure="1", reason=" ").status_code == 422
    assert not Event.objects.filter(type="account.suspended").exists()

    answer = act(browser, account, "suspend", sure="1", reason="Unpaid since June.")
    assert answer.url == reverse("admin:accounts_account_change", args=[account.pk])
    assert "Suspended." in told(browser, answer)
    event = Event.objects.get(type="account.suspended")
    assert (event.actor_id, event.via, event.data["reason"]) == (operator.public_id, "admin", "Unpaid since June.")
    refused = api.post("/ssh-keys", {"name": "x", "generate": True})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "account_suspended")

    act(browser, account, "resume")
    assert api.post("/ssh-keys", {"name": "x", "generate": True}).status_code == 201
    assert Event.objects.filter(type="account.resumed").count() == 1


def test_another_plan_binds_the_next_request(browser, account):
    api = make.make_api(account)
    assert api.get("/ssh-keys")["X-RateLimit-Limit"] == "100000"
    assert act(browser, account, "change_plan", sure="1", plan="gold").status_code == 422
    act(browser, account, "change_plan", sure="1", plan="free")
    assert api.get("/ssh-keys")["X-RateLimit-Limit"] == "1000"


def test_several_accounts_are_suspended_at_once_and_those_that_refuse_are_named(browser, account):
    others = [make.make_account(name="Contoso"), make.make_account(name="Fabrikam")]
    keys = [row.pk for row in [account, *others]]
    chosen = {"action": "suspend", "_selected_action": keys, "sure": "1", "reason": "Abuse."}
    browser.post(reverse("admin:accounts_account_changelist"), chosen)
    assert Account.objects.filter(suspended_reason="Abuse.").count() == 3


def test_an_account_added_by_an_operator_has_its_owner_and_its_events(browser):
    user = make.make_user("dora")
    add = reverse("admin:accounts_account_add")
    plan = make.make_account(plan="professional").plan_id
    assert (
        "There is no active user" in browser.post(add, {"name": "New", "plan": plan, "owner": "no@body.example"}).text
    )
    browser.post(add, {"name": "New", "plan": plan, "owner": user.email})
    made = Account.objects.get(name="New")
    assert make.owner_of(made).user == user
    assert Event.objects.filter(account_id=made.pk, type="member.joined").exists()


def test_a_user_added_by_an_operator_can_ask_for_a_password(browser, mailoutbox):
    browser.post(reverse("admin:accounts_user_add"), {"email": "Erin@Example.com", "name": "Erin"})
    user = User.objects.get(email="erin@example.com")
    assert not user.is_staff
    browser.post("/accounts/logout/")
    browser.post("/accounts/password/reset/", {"email": user.email})
    assert [mail.to for mail in mailoutbox] == [[user.email]]


def test_nobody_switches_off_the_last_operator(operator):
    facts = {"name": "", "is_active": True, "is_staff": True}
    with pytest.raises(Conflict, match="last operator"):
        accounts.update_user(user=operator, by=SYSTEM, is_superuser=False, **facts)
    make.make_operator()
    assert not accounts.update_user(user=operator, by=SYSTEM, is_superuser=False, **facts).is_superuser


def test_a_refusal_of_a_form_is_told_and_changes_nothing(browser, operator):
    page = reverse("admin:accounts_user_change", args=[operator.pk])
    answer = browser.post(page, INLINE | {"name": "x", "is_active": "on", "is_staff": "on"})
    assert "last operator" in told(browser, answer)
    assert User.objects.get(pk=operator.pk).is_superuser


def test_an_operator_without_every_right_cannot_give_it_to_themselves(account):
    clerk = make.make_operator(rights=["accounts.view_user", "accounts.change_user", "accounts.view_account"])
    browser = make.sign_in(clerk)
    page = reverse("admin:accounts_user_change", args=[clerk.pk])
    browser.post(page, INLINE | {"name": "x", "is_active": "on", "is_staff": "on", "is_superuser": "on"})
    clerk.refresh_from_db()
    assert (clerk.name, clerk.is_superuser) == ("x", False)
    act(browser, account, "suspend", sure="1", reason="Because.")
    account.refresh_from_db()
    assert account.suspended_at is None, "who may only look may not act"


def test_a_member_gets_another_role_or_goes_but_the_last_owner_stays(browser, account):
    bob = make.make_member(account, "viewer")
    key, _ = make.make_key(account, member=bob)
    act(browser, bob, "change_role", sure="1", role="admin")
    assert Membership.objects.get(pk=bob.pk).role == "admin"
    act(browser, bob, "remove", sure="1")
    assert not Membership.objects.filter(pk=bob.pk).exists()
    assert ApiKey.objects.get(pk=key.pk).revoked_at
    assert "last owner" in told(browser, act(browser, make.owner_of(account), "remove", sure="1"))


def test_a_key_is_revoked_at_once(browser, account):
    key, secret = make.make_key(account)
    api = make.Api(secret.key)
    assert api.get("/instances").status_code == 200
    assert act(browser, key, "revoke").status_code == 200
    act(browser, key, "revoke", sure="1")
    assert api.get("/instances").status_code == 401


def test_whatever_id_a_customer_sends_finds_the_row(browser, account):
    make.make_account(name="Contoso")
    row = make.make_instance(account)
    event = Event.objects.filter(subject_id=row.pk).first()
    key, _ = make.make_key(account)
    for model, text, found in [
        (Account, account.public_id, 1),
        (Account, make.owner_of(account).user.email, 1),
        (User, make.owner_of(account).user.public_id, 1),
        (ApiKey, key.public_id, 1),
        (type(row), row.public_id, 1),
        (Event, row.public_id, Event.objects.filter(subject_id=row.pk).count()),
        (Event, account.public_id, Event.objects.filter(account_id=account.pk).count()),
        (Event, event.public_id, 1),
    ]:
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        assert browser.get(address, {"q": text}).context["cl"].result_count == found, text


# --- Viewing


@pytest.fixture
def viewing(browser, account):
    return act(browser, make.owner_of(account), "view_as", sure="1", reason="Ticket 42")


def test_an_operator_sees_the_dashboard_as_the_member_does_with_a_banner(browser, account, operator, viewing):
    make.make_instance(account, name="web-of-alice")
    owner = make.owner_of(account).user
    assert viewing.url == "/"
    for path in ("/", "/instances", "/settings/api-keys", "/settings/members", "/nowhere"):
        page = browser.get(path)
        assert f"Viewing as <b>{owner.email}</b>" in page.text, path
        assert operator.email not in page.text
    assert "web-of-alice" in browser.get("/instances").text
    assert browser.get("/v1/instances").json()["data"][0]["name"] == "web-of-alice"
    assert "Viewing as" not in browser.get("/admin/").text
    assert browser.get("/admin/").context["user"] == operator
    event = Event.objects.get(type="account.view_started")
    assert (event.account_id, event.actor_id) == (account.pk, operator.public_id)
    assert (event.data["viewed_as"], event.data["reason"]) == (owner.email, "Ticket 42")


def test_nothing_can_be_written_while_viewing(browser, account, viewing):
    row = make.make_instance(account)
    before = Event.objects.count()
    writes = [
        "/instances/new",
        "/ssh-keys/new",
        "/settings/account",
        "/settings/accounts/new",
        "/settings/accounts/switch",
    ]
    writes += [f"/instances/{row.public_id}/delete", "/settings/api-keys/new", "/accounts/password/change/", "/nowhere"]
    for path in writes:
        answer = browser.post(path, {"name": "x", "confirm": row.name})
        assert answer.status_code in (403, 404), path
    for method in ("post", "put", "patch", "delete"):
        answer = getattr(browser, method)("/v1/ssh-keys", {"name": "x"}, content_type="application/json")
        assert answer.status_code in (403, 405), method
        assert answer.json()["success"] is False
    assert Event.objects.count() == before


@pytest.mark.parametrize(
    "path",
    ["/accounts/email/", "/accounts/password/change/", "/accounts/2fa/", "/accounts/2fa/recovery-codes/",
     "/accounts/sessions/", "/oauth/authorize", "/settings/api-keys/new", "/ssh-keys/new", "/settings/api-tokens/new"],
)  # fmt: skip
def test_pages_of_the_person_and_pages_that_make_secrets_are_closed_while_viewing(browser, viewing, path):
    page = browser.get(path)
    assert page.status_code == 403
    assert "Viewing as" in page.text, "the way out is on this page as well"


def test_viewing_ends_by_the_button(browser, account, operator, viewing):
    with TestCase.captureOnCommitCallbacks(execute=True):
        answer = browser.post("/viewing/end")
    assert answer.url == reverse("admin:accounts_account_change", args=[account.pk])
    assert "Viewing as" not in browser.get("/").text
    assert Event.objects.get(type="account.view_ended").actor_id == operator.public_id
    assert browser.post("/viewing/end").url == "/"


def test_viewing_ends_after_half_an_hour_and_a_form_left_open_writes_nothing(browser, viewing):
    Viewing.objects.update(until=make.days(-0.001))
    mine = make.make_account()
    left_open = browser.post("/settings/accounts/new", {"name": "By mistake"})
    assert left_open.status_code == 403
    assert "no longer" in left_open.text
    assert not Account.objects.filter(name="By mistake").exists()
    assert "Viewing as" not in browser.get("/").text
    viewings.end_overdue()
    viewings.end_overdue()
    assert Event.objects.get(type="account.view_ended").actor_kind == "system"
    assert mine.status == "active"


def test_viewing_ends_with_the_right_to_or_with_the_membership(browser, account, operator, viewing):
    bob = make.make_member(account, "viewer")
    act(browser, bob, "view_as", sure="1", reason="Ticket 43")
    assert Event.objects.filter(type="account.view_ended").count() == 1, "one at a time"
    assert bob.user.email in browser.get("/").text
    bob.delete()
    assert "Viewing as" not in browser.get("/").text
    act(browser, make.owner_of(account), "view_as", sure="1", reason="Ticket 44")
    User.objects.filter(pk=operator.pk).update(is_staff=False)
    assert "Viewing as" not in browser.get("/").text


def test_a_required_second_factor_is_not_asked_of_who_only_looks(browser, account, viewing):
    accounts.update(account=account, by=SYSTEM, require_mfa=True)
    assert browser.get("/instances").status_code == 200


def test_only_operators_who_may_look_as_somebody(account):
    with pytest.raises(NotAllowed):
        viewings.begin(operator=make.make_user("eve"), member=make.owner_of(account), reason="curious")
    clerk = make.sign_in(make.make_operator(rights=["accounts.view_membership"]))
    act(clerk, make.owner_of(account), "view_as", sure="1", reason="curious")
    assert not Viewing.objects.exists()


def test_a_session_cannot_be_made_to_view_by_another_operators_viewing(browser, account, viewing):
    other = make.sign_in(make.make_operator())
    session = other.session
    session["viewing"] = str(Viewing.objects.get().pk)
    session.save()
    assert "Viewing as" not in other.get("/").text


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label_lower)
def test_a_list_takes_as_many_queries_for_one_row_as_for_many(browser, model, django_assert_max_num_queries):
    def fill():
        account = make.make_account()
        make.make_instance(account)
        make.make_ssh_key(account)
        make.make_member(account, "viewer")
        make.make_key(account)
        make.make_token(account)

    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    fill()
    with django_assert_max_num_queries(12) as few:
        assert browser.get(address).status_code == 200
    for _ in range(3):
        fill()
    with django_assert_max_num_queries(len(few)):
        browser.get(address)
