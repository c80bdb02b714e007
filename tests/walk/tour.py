"""Every page of the browser's side, as somebody would open it in the showcase: one table for the walk, the screenshots
and the benchmark. An address that is in the URLconf and in none of these lists fails `test_walk.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django_htmx.http import HTMX_STOP_POLLING

from tests.walk.showcase import Showcase

CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"  # of RFC 7636
Arguments = Callable[[Showcase], dict[str, Any]]


class Page(NamedTuple):
    """`name` of the address, its arguments, the query, and who opens it: alice, bob, charlie, dana, viewing or nobody.

    `kind`: whose template it has: dashboard, docs, api (the browsable API) or admin. `status`: of the answer.
    """

    name: str
    arguments: Arguments = lambda shown: {}
    query: Callable[[Showcase], dict[str, Any]] = lambda shown: {}
    who: str = "alice"
    kind: str = "dashboard"
    status: int = 200
    label: str = ""  # of the screenshot, where the name alone is not enough

    def path(self, shown: Showcase) -> str:
        path = self.name if self.name.startswith("/") else reverse(self.name, kwargs=self.arguments(shown))
        query = urlencode(self.query(shown), doseq=True)
        return f"{path}?{query}" if query else path

    @property
    def title(self) -> str:
        """What a screenshot's file is called."""
        name = self.name.strip("/").replace(":", "-").replace("/", "-").replace("_", "-") or "home"
        return "-".join(filter(None, [name, self.label, "" if self.who == "alice" else self.who]))


def of(row: str) -> Arguments:
    """The address of one of the showcase's rows."""
    return lambda shown: {"id": shown.rows[row].public_id}


def machine(state: str) -> Arguments:
    return lambda shown: {"id": shown.instances[state].public_id}


def chosen(shown: Showcase) -> dict[str, Any]:
    return {"action": "delete", "id": [shown.instances[state].public_id for state in ("running", "stopped")]}


def consent(shown: Showcase) -> dict[str, Any]:
    return {
        "response_type": "code",
        "client_id": shown.rows["app"].client_id,
        "redirect_uri": "https://grafana.example/back",
        "scope": "instances:read instances:create catalog:read",
        "state": "s",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }


def key(verb: str = "", row: str = "key") -> Page:
    return Page(f"accounts:api_key{verb}", of(row), label=row if row != "key" else "")


SIGNED_OUT = [
    *(Page(f"account_{name}", who="nobody") for name in ("login", "signup", "reset_password", "inactive")),
    Page("account_email_verification_sent", who="nobody"),
    Page("account_reset_password_done", who="nobody"),
    Page("account_reset_password_from_key_done", who="nobody"),
    Page("account_confirm_email", lambda shown: {"key": "gone"}, who="nobody"),
    Page("account_reset_password_from_key", lambda shown: {"uidb36": "x", "key": "gone"}, who="nobody"),
    Page("accounts:invitation", lambda shown: {"token": shown.invitation}, who="nobody"),
    Page("/nowhere", who="nobody", status=404),
]
PERSON = [
    *(Page(f"account_{name}") for name in ("email", "change_password", "logout")),
    Page("account_reauthenticate", who="bob"),
    *(Page(f"mfa_{name}") for name in ("index", "deactivate_totp", "view_recovery_codes", "generate_recovery_codes")),
    *(Page(f"mfa_{name}") for name in ("list_webauthn", "add_webauthn", "reauthenticate", "reauthenticate_webauthn")),
    *(Page(f"mfa_{verb}_webauthn", lambda shown: {"pk": shown.rows["passkey"].pk}) for verb in ("edit", "remove")),
    Page("mfa_index", who="bob"),
    Page("mfa_activate_totp", who="bob"),
    Page("mfa_list_webauthn", who="bob"),
    Page("usersessions_list"),
]
SETTINGS = [
    *(Page(f"accounts:{name}") for name in ("account", "account_leave", "account_create", "limits", "audit_log")),
    Page("accounts:members"),
    Page("accounts:member_invite"),
    Page("accounts:member_role", of("member")),
    Page("accounts:member_remove", of("member")),
    Page("accounts:member_remove", of("invited"), label="invited"),
    Page("accounts:invitation", lambda shown: {"token": shown.invitation}, who="charlie"),
    Page("accounts:api_keys"),
    Page("accounts:api_key_create"),
    *(key(verb) for verb in ("", "_change", "_rotate", "_revoke")),
    key(row="replaced"),
    Page("accounts:tokens"),
    Page("accounts:token_create"),
    Page("accounts:token_detail", of("token")),
    Page("accounts:token_revoke", of("token")),
    Page("accounts:oauth_apps"),
    Page("accounts:oauth_app_create"),
    Page("accounts:oauth_app_rotate", of("app")),
    Page("accounts:oauth_app_delete", of("app")),
    Page("accounts:authorize", query=consent),
    Page("accounts:authorize", query=lambda shown: {"client_id": "nobody"}, status=400, label="refused"),
    Page("accounts:device"),
    Page("accounts:device", query=lambda shown: {"user_code": shown.rows["device"].user_code}, label="confirm"),
    Page("accounts:second_factor", who="dana"),
]
COMPUTE = [
    Page("compute:instances"),
    Page("compute:instances", query=lambda shown: {"q": "no such name"}, label="none"),
    Page("compute:instance_create"),
    Page("compute:instance_bulk", query=chosen),
    *(
        Page("compute:instance", machine(state), label=state)
        for state in ("running", "stopped", "error", "provisioning")
    ),
    Page("compute:instance_change", machine("running")),
    Page("compute:instance_resize", machine("stopped")),
    Page("compute:instance_rebuild", machine("stopped")),
    Page("compute:instance_delete", machine("running")),
    Page("compute:ssh_keys"),
    Page("compute:ssh_key_create"),
    Page("compute:ssh_key_remove", of("ssh_key")),
]
DEVELOP = [
    Page("functions:functions"),
    Page("functions:function_create"),
    *(Page(f"functions:function{part}", of("function")) for part in ("", "_metrics", "_executions", "_dead_letters")),
    *(Page(f"functions:function_{part}", of("function")) for part in ("versions", "settings", "deprecate", "delete")),
    Page(
        "functions:function_execution",
        lambda shown: of("function")(shown) | {"execution": shown.rows["execution"].public_id},
    ),
    Page("webhooks:webhooks"),
    Page("webhooks:webhook_create"),
    Page("webhooks:signature"),
    *(
        Page(f"webhooks:webhook{part}", of("webhook"))
        for part in ("", "_change", "_rotate", "_switch", "_replay", "_delete")
    ),
    Page("webhooks:delivery", of("delivery")),
]
OTHERS = [
    Page("home"),
    Page("home", who="charlie"),
    Page("home", who="viewing"),
    Page("search"),
    Page("search", query=lambda shown: {"q": "web"}, label="found"),
    Page("styleguide"),
    Page("docs", who="nobody", kind="docs"),
    Page("/nowhere", status=404),
    Page("/v1/instances", kind="api"),
]
PAGES = [*OTHERS, *COMPUTE, *DEVELOP, *SETTINGS, *PERSON, *SIGNED_OUT]

# Pieces that a page asks for by itself: no pages, but as frugal.
FRAGMENTS = [
    Page("compute:instance_console", machine("running")),
    Page("compute:instance_estimate"),
    key("_seen")._replace(status=HTMX_STOP_POLLING),
    key("_traffic", "replaced"),
    Page("accounts:token_seen", of("token"), status=HTMX_STOP_POLLING),
    Page("accounts:permissions"),
]
# Addresses that answer GET with something else than a page, or not where one comes without having begun something.
ELSEWHERE = {
    "healthz": "for machines",
    "readyz": "for machines",
    "accounts:oauth_metadata": "for machines",
    "accounts:member_resend": "redirects to the members",
    "account_confirm_login_code": "signing in by a mailed code is turned off",
    "account_set_password": "everybody of the showcase has one",
    "mfa_authenticate": "in the middle of signing in; tests/accounts/views/test_security.py is there",
    "mfa_download_recovery_codes": "a text file",
    "mfa_login_webauthn": "JSON for a passkey's dialog",
    "operators_health": "among the admin's, below",
}


def admin_pages(shown: Showcase) -> list[Page]:
    """Index, health, and of every model its list and, where it may be made or seen, a form."""
    pages = [Page("admin:index"), Page("operators_health"), Page("admin:password_change")]
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        pages.append(Page(f"{name}_changelist"))
        row = next(
            (
                row
                for row in (shown.account, shown.alice, shown.rows["bob"], shown.instances["error"])
                if isinstance(row, model)
            ),
            None,
        )
        if row:
            pages.append(Page(f"{name}_change", lambda shown, row=row: {"object_id": row.pk}))
    pages += [Page(f"admin:{name}_add") for name in ("accounts_account", "accounts_user", "catalog_price")]
    return [page._replace(who="charlie", kind="admin") for page in pages]


def addresses() -> Iterator[str]:
    """The name (or the route) of each address outside of /v1 and the admin that answers GET."""

    def walk(patterns: list[URLPattern | URLResolver], space: str = "", route: str = "") -> Iterator[str]:
        for pattern in patterns:
            here = route + str(pattern.pattern)
            if here.lstrip("^").startswith(("v1", "admin/")) and here != "admin/health/":
                continue
            if isinstance(pattern, URLResolver):
                yield from walk(
                    pattern.url_patterns, space + (f"{pattern.namespace}:" if pattern.namespace else ""), here
                )
            elif hasattr(getattr(pattern.callback, "view_class", pattern), "get") or not hasattr(
                pattern.callback, "view_class"
            ):
                yield space + pattern.name if pattern.name else here

    yield from walk(get_resolver().url_patterns)
