"""The operator's admin: every page opens, facts cannot be edited, and what is switched off stops at once."""

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client, TestCase
from django.urls import reverse

from accounts.actions import accounts
from accounts.models import User
from compute.models import Instance
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = pytest.mark.django_db
APPS = ("accounts", "api", "catalog", "compute", "core")
MODELS = [model for model in admin.site._registry if model._meta.app_label in APPS]


@pytest.fixture
def operator():
    return make.sign_in(make.make_operator())


@pytest.fixture
def account():
    return make.make_account()


def address(model, page, *arguments):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=arguments)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.model_name)
def test_every_model_can_be_listed_searched_and_looked_at(operator, account, model):
    make.make_instance(account)
    make.make_ssh_key(account)
    make.make_api(account).post("/ssh-keys", {"name": "x", "generate": True}, HTTP_IDEMPOTENCY_KEY="k")
    listing = address(model, "changelist")
    assert operator.get(listing).status_code == 200
    assert operator.get(listing, {"q": "nothing"}).status_code == 200
    if row := model._default_manager.first():
        assert operator.get(address(model, "change", row.pk)).status_code == 200
    assert operator.get(address(model, "add")).status_code in (200, 403)


def test_a_stranger_and_a_customer_see_nothing(account):
    customer = Client()
    customer.force_login(make.owner_of(account).user, backend="allauth.account.auth_backends.AuthenticationBackend")
    for client in (Client(), customer):
        assert client.get("/admin/").status_code == 302
        assert client.get(address(Event, "changelist")).status_code == 302


def test_events_cannot_be_edited_or_deleted(operator, account):
    event = Event.objects.first()
    assert operator.post(address(Event, "change", event.pk), {"type": "x"}).status_code == 403
    assert operator.post(address(Event, "delete", event.pk), {"post": "yes"}).status_code == 403


@pytest.mark.slow
def test_no_secret_is_on_any_page(operator, account):
    key, secret = make.make_key(account)
    make.make_instance(account, user_data="echo swordfish")
    for model in MODELS:
        pages = [operator.get(address(model, "changelist"))]
        pages += [operator.get(address(model, "change", row.pk)) for row in model._default_manager.all()[:3]]
        for page in pages:
            text = page.content.decode()
            assert key.digest not in text, model
            assert secret.text not in text, model
            assert "swordfish" not in text, model


def test_whoever_is_switched_off_here_is_refused_from_the_next_request_on(operator, account):
    _, secret = make.make_key(account)
    api, user = make.Api(secret.key), make.owner_of(account).user
    assert api.get("/instances").status_code == 200
    inline = {"memberships-TOTAL_FORMS": "0", "memberships-INITIAL_FORMS": "0"}
    with TestCase.captureOnCommitCallbacks(execute=True):
        answer = operator.post(address(User, "change", user.pk), {"email": user.email, "name": "x"} | inline)
    assert answer.status_code == 302, answer.content
    assert not User.objects.get(pk=user.pk).is_active
    assert api.get("/instances").status_code == 401


def test_an_operators_stop_is_recorded_as_theirs(operator, account):
    row = make.make_instance(account)
    chosen = {"action": "stop", "_selected_action": [str(row.pk)]}
    assert operator.post(address(Instance, "changelist"), chosen).status_code == 200
    assert Instance.objects.get().state == "running", "it asks first"
    operator.post(address(Instance, "changelist"), chosen | {"sure": "1"})
    assert Instance.objects.get().state == "stopping"
    event = Event.objects.first()
    assert (event.type, event.actor_kind) == ("instance.updated", "user")
    assert event.actor_name.startswith("operator")


def test_a_suspension_shows_in_the_list(operator, account):
    accounts.suspend(account=account, reason="Unpaid.", by=SYSTEM)
    assert "suspended" in operator.get(address(type(account), "changelist")).content.decode()
    assert not LogEntry.objects.exists()
