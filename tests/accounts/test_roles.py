"""Every role at every door: what the role table promises, asked of each address of the API and of the dashboard."""

from fnmatch import fnmatchcase

import pytest
from django.urls import get_resolver

from accounts.actions import oauth_apps, oauth_tokens
from accounts.models import Membership
from accounts.scopes import ROLE_SCOPES, SCOPES
from core import ids
from core.context import SYSTEM
from tests import make
from tests.make import make_account, make_api, make_function, make_instance, make_key, make_member
from tests.test_contract import operations

pytestmark = pytest.mark.django_db

ROLES = Membership.Role.values
# The role table, in its own words: what each role may and what it may not. The first pattern that fits decides.
OPERATED = "instances volumes snapshots networks firewalls ips ssh_keys functions resources webhooks monitoring".split()
TABLE = {
    "owner": {"*": True},
    "admin": {"*": True},
    "developer": {
        **{f"{noun}:*": True for noun in OPERATED},
        "api_keys:*": True,
        "events:read": True,
        "catalog:read": True,
        "billing:read": True,
        "*": False,
    },
    "billing": {"billing:*": True, "account:read": True, "catalog:read": True, "*": False},
    "viewer": {"audit:*": False, "members:*": False, "*:read": True, "*": False},
}


def may(role: str, scope: str | None) -> bool:
    if scope in (None, "public"):
        return True
    return next(allowed for pattern, allowed in TABLE[role].items() if fnmatchcase(scope, pattern))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_the_scopes_that_the_table_gives_it(role):
    assert ROLE_SCOPES[role] == {scope for scope in SCOPES if may(role, scope)}


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("operation", operations(), ids=str)
def test_the_api_opens_to_a_role_what_the_table_gives_it(operation, role):
    alice = make_account()
    path = operation.make(alice)
    response = operation.call(make_api(alice, member=make_member(alice, role)), path)
    if may(role, operation.scope):
        # A role that may do it in general can still be refused in particular: another's key, a role above its own.
        assert response.status_code < 300 or b'"forbidden"' in response.content, response.content
    else:
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "insufficient_scope"
        assert response.json()["error"]["required_scopes"] == [operation.scope]


# Pages without a scope: they show what the role may read, or belong to the user and not to the account.
OF_EVERYBODY = {
    "home", "search", "account_create", "account_switch", "account_leave", "second_factor", "invitation", "viewing_end",
    "authorize", "device", "device_authorization", "token", "oauth_revoke", "introspect", "usersessions_list",
}  # fmt: skip
# How Alice gets what stands in a page's address, by the beginning of its name.
MAKE = {
    "api_key": lambda account: make_key(account)[0].public_id,
    "token": lambda account: make_token(account).public_id,
    "oauth_app": lambda account: make_app(account).public_id,
    "member": lambda account: make_member(account, "developer").public_id,
    "instance": lambda account: make_instance(account).public_id,
    "webhook": lambda account: make.make_webhook(account).public_id,
    "delivery": lambda account: make.make_delivery(make.make_webhook(account)).public_id,
    "function": lambda account: make_function(account).public_id,
    "ssh_key": lambda account: (
        make_api(account).post("/ssh-keys", {"name": "a", "generate": True}).json()["data"]["id"]
    ),
}


def make_token(account):
    owner = make.owner_of(account)
    token, _ = oauth_tokens.generate(
        account=account, by=SYSTEM, maker=owner.user, name="a", scopes=["*"], grantable=owner.scopes
    )
    return token


def make_app(account):
    owner = make.owner_of(account)
    app, _ = oauth_apps.create(
        account=account,
        by=SYSTEM,
        maker=owner.user,
        name="a",
        sort="machine",
        scopes=["*"],
        grantable=owner.scopes,
    )
    return app


def pages():
    """Every address of the dashboard that is ours: name, route and the view's class."""
    found = []
    for pattern in get_resolver().url_patterns:
        for page in getattr(pattern, "url_patterns", [pattern]):
            kind = getattr(page.callback, "view_class", None) if hasattr(page, "callback") else None
            if kind and kind.__module__.split(".")[0] in (
                "config",
                "dashboard",
                "accounts",
                "compute",
                "functions",
                "billing",
                "webhooks",
            ):
                found.append(pytest.param(page.name, str(page.pattern), kind, id=page.name))
    return found


def address(name: str, route: str, account) -> str:
    start, _, rest = route.partition("<")
    if not rest:
        return f"/{route}"
    makers = [MAKE[kind] for kind in MAKE if name.startswith(kind)]
    assert makers, f"Say in MAKE of tests/accounts/test_roles.py how Alice gets what /{route} names"
    path = f"/{start}{makers[0](account)}{rest.partition('>')[2]}"
    return path.replace("<execution>", ids.encode("exec", ids.new())).replace("<int:number>", "1")


def test_every_page_of_ours_is_found():
    names = {page.values[0] for page in pages()}
    assert {"home", "api_keys", "members", "instances", "ssh_keys", "account_switch"} <= names
    assert len(names) > 20


@pytest.mark.parametrize(("name", "route", "kind"), pages())
def test_a_page_says_which_scope_it_needs(name, route, kind):
    scopes = getattr(kind, "scopes", None)
    assert (scopes is None) == (name in OF_EVERYBODY)
    assert set((scopes or {}).values()) <= set(SCOPES)


@pytest.mark.slow
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(("name", "route", "kind"), [page for page in pages() if page.values[0] not in OF_EVERYBODY])
def test_the_dashboard_opens_to_a_role_what_the_table_gives_it(name, route, kind, role):
    alice = make_account()
    browser = make.sign_in(make_member(alice, role).user)
    path = address(name, route, alice)
    read = browser.get(path).status_code
    write = browser.post(path, {"confirm": "nothing of that name"}).status_code
    if may(role, kind.scopes["GET"]):
        assert read in (200, 405), "405: it only takes a form"
    else:
        assert read == 403
    if not may(role, kind.scopes.get("POST", kind.scopes["GET"])):
        assert write == 403
    else:
        assert write < 500
        assert write != 403
