"""Sign-in and membership in a real Chromium: a passkey from its making to signing in with nothing else, the account
switcher, an invitation, and the second factor that an account requires.

The passkey is a virtual authenticator of the browser's own, reached by its developer tools.
"""

import re

import pytest
from django.contrib.sessions.models import Session
from django.core import mail
from playwright.sync_api import Page, expect

from accounts.actions import accounts
from accounts.models import Membership
from core.context import SYSTEM
from tests import make
from tests.test_dashboard import account, browser, inspect, visit  # noqa: F401

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),
]


@pytest.fixture
def open_page(visit, live_server, settings):  # noqa: F811
    """Opens a page of the server that mails name, too; by the name localhost, since passkeys belong to a name."""
    settings.LAMBDA_BASE_URL = live_server.url
    assert "//localhost:" in live_server.url
    return visit


def give_authenticator(page: Page) -> None:
    """A device that holds passkeys and recognises its owner."""
    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    traits = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": traits})


def add_passkey(page: Page) -> None:
    page.goto("/accounts/2fa/")
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_label("Name").fill("Work laptop")
    page.get_by_role("button", name="Add passkey").click()
    expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("Save these codes now.")


def sign_out(page: Page) -> None:
    page.locator("[popovertarget=user-menu]").click()
    page.get_by_role("button", name="Sign out").click()


def test_a_passkey_signs_in_alone(open_page, account):  # noqa: F811
    page = open_page("/")
    give_authenticator(page)
    add_passkey(page)
    inspect(page)
    page.goto("/accounts/2fa/webauthn/")
    expect(page.get_by_role("row", name="Work laptop")).to_contain_text("Alone")
    inspect(page)
    sign_out(page)

    page.goto("/accounts/login/?next=/settings/api-keys")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", name="API Keys", exact=True)).to_be_visible()

    page.goto("/accounts/2fa/webauthn/")
    page.get_by_role("link", name="Remove Work laptop").click()
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No passkeys yet")).to_be_visible()


def test_a_passkey_proves_again_that_it_is_them(open_page, account):  # noqa: F811
    page = open_page("/")
    give_authenticator(page)
    add_passkey(page)
    row = Session.objects.get()
    session = row.get_session_store_class()(row.session_key)
    session["account_authentication_methods"] = [{"method": "mfa", "at": 0}]  # long ago
    session.save()
    page.goto("/settings/api-keys/new")
    expect(page.get_by_role("heading", name="Confirm that it is you")).to_be_visible()
    inspect(page)
    page.get_by_role("link", name="Use a passkey").click()
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("heading", name="Create New API Key")).to_be_visible()


def test_without_a_passkey_at_hand_the_page_says_so(open_page, account):  # noqa: F811
    page = open_page("/accounts/login/", signed_in=False)
    page.evaluate("""() => {
        navigator.credentials.get = async () => { throw new DOMException("no", "NotAllowedError") };
    }""")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing has changed: try again.")


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_one_goes_from_one_account_to_another(open_page, account, scripts):  # noqa: F811
    owner = make.owner_of(account).user
    accounts.create(name="Side project", owner=owner, by=SYSTEM)
    make.make_instance(account, name="web-of-northwind")
    page = open_page("/instances", java_script_enabled=scripts)
    expect(page.get_by_role("main")).to_contain_text("web-of-northwind")
    page.locator("[popovertarget=account-menu]").first.click()
    page.get_by_role("button", name="Side project", exact=True).click()
    page.goto("/instances")
    expect(page.get_by_role("main")).not_to_contain_text("web-of-northwind")
    page.locator("[popovertarget=account-menu]").first.click()
    page.get_by_role("link", name="New account").click()
    page.get_by_label("Name").fill("A third one")
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("[popovertarget=account-menu]").first).to_contain_text("A third one")


@pytest.mark.parametrize("scripts", [True, False], ids=["with JavaScript", "without JavaScript"])
def test_somebody_is_invited_signs_up_and_is_a_member(open_page, account, scripts):  # noqa: F811
    page = open_page("/settings/members", java_script_enabled=scripts)
    page.get_by_role("link", name="Invite a member").click()
    page.get_by_label("Email address").fill("carol@example.com")
    page.get_by_label("Viewer").check()
    page.get_by_role("button", name="Send the invitation").click()
    expect(page.get_by_role("row", name="carol@example.com")).to_contain_text("Invited")
    make.work()
    link = re.search(r"https?://\S+/invitations/\S+", mail.outbox[-1].body)[0]

    hers = open_page(link, signed_in=False, java_script_enabled=scripts)
    if scripts:
        inspect(hers)
    hers.get_by_role("link", name="Create your sign-in").click()
    expect(hers.get_by_label("Email")).to_have_value("carol@example.com")
    hers.get_by_label("Password").fill(make.PASSWORD)
    hers.get_by_role("button", name="Create account").click()
    expect(hers.locator("[popovertarget=account-menu]").first).to_contain_text("Northwind Labs")
    assert Membership.objects.get(user__email="carol@example.com").role == "viewer"

    page.reload()
    page.get_by_role("button", name="Change the role of carol@example.com").click()
    page.locator("dialog:visible").get_by_label("Developer").check()
    page.locator("dialog:visible").get_by_role("button", name="Change role").click()
    expect(page.get_by_role("row", name="carol@example.com")).to_contain_text("Developer")
    page.get_by_role("button", name="Remove carol@example.com").click()
    page.locator("dialog:visible").get_by_role("button", name="Remove").click()
    expect(page.get_by_role("row", name="carol@example.com")).to_have_count(0)


def test_a_member_without_a_second_factor_sets_one_up_and_goes_on(open_page, account):  # noqa: F811
    page = open_page("/settings/account")
    page.get_by_label("Require a second factor").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="asks for a second factor")).to_be_visible()
    inspect(page)
    give_authenticator(page)
    page.get_by_role("link", name="Add a passkey").click()
    page.get_by_role("button", name="Add passkey").click()
    page.get_by_role("link", name="I have saved them").click()
    page.goto("/instances")
    expect(page.get_by_role("heading", name="Instances", exact=True)).to_be_visible()
