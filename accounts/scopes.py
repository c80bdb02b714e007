"""Scopes and roles: what credentials may carry and what members may do."""

from collections.abc import Iterable

from core.errors import FieldError, Invalid

_CRUD = ["read", "create", "update", "delete"]
ACTIONS: dict[str, list[str]] = {
    "instances": [*_CRUD, "power"],
    "volumes": [*_CRUD, "attach"],
    "snapshots": [*_CRUD, "restore"],
    **{
        noun: ["read", "write"]
        for noun in (
            "networks firewalls ips ssh_keys webhooks monitoring billing account members api_keys resources".split()
        )
    },
    "functions": ["read", "write", "deploy", "invoke"],
    "catalog": ["read"],
    "events": ["read"],
    "audit": ["read"],
}
SCOPES: list[str] = [f"{noun}:{action}" for noun, actions in ACTIONS.items() for action in actions]
_WILD = ["*", "*:read", *(f"{noun}:*" for noun in ACTIONS)]

_OPERATED = "instances volumes snapshots networks firewalls ips ssh_keys functions resources webhooks monitoring".split()
ROLES: dict[str, list[str]] = {
    "owner": ["*"],
    "admin": ["*"],
    "developer": [*(f"{noun}:*" for noun in _OPERATED), "api_keys:*", "events:read", "catalog:read", "billing:read"],
    "billing": ["billing:*", "account:read", "catalog:read"],
    "viewer": [scope for scope in SCOPES if scope.endswith(":read") and scope not in ("audit:read", "members:read")],
}
# name, what it is for, scopes
PRESETS: list[tuple[str, str, list[str]]] = [
    ("full", "Full access", ["*"]),
    ("read-only", "Read only", ["*:read"]),
    ("deploy-functions", "Deploy functions", ["functions:*", "resources:read", "catalog:read"]),
    ("ci", "CI", ["instances:*", "functions:*", "ssh_keys:*", "resources:*", "catalog:read", "events:read"]),
    ("billing-viewer", "Billing viewer", ["billing:read", "account:read", "catalog:read"]),
    ("invoke-only", "Invoke only", ["functions:invoke"]),
]


def expand(patterns: Iterable[str]) -> list[str]:
    """Wildcards written out, in the catalogue's order. Raises Invalid, naming every unknown scope."""
    patterns = list(patterns)
    if unknown := [text for text in patterns if text not in SCOPES and text not in _WILD]:
        allowed = [*SCOPES, *_WILD]
        raise Invalid(errors=[FieldError("scopes", f"Unknown scope '{text}'", text, allowed) for text in unknown])
    return [scope for scope in SCOPES if any(_covers(pattern, scope) for pattern in patterns)]


def _covers(pattern: str, scope: str) -> bool:
    if pattern.startswith("*"):
        return scope.endswith(pattern.removeprefix("*"))
    return scope == pattern or (pattern.endswith(":*") and scope.startswith(pattern.removesuffix("*")))


ROLE_SCOPES: dict[str, frozenset[str]] = {role: frozenset(expand(patterns)) for role, patterns in ROLES.items()}


def summary(scopes: Iterable[str]) -> str:
    """A list of scopes as a person would say it, e.g. "All of instances; read catalog"."""
    held = set(scopes)
    if held >= set(SCOPES):
        return "Everything"
    if held == set(expand(["*:read"])):
        return "Read everything, change nothing"
    parts = []
    for noun, actions in ACTIONS.items():
        has = [action for action in actions if f"{noun}:{action}" in held]
        if has:
            name = noun.replace("_", " ")
            parts.append(f"all of {name}" if len(has) == len(actions) and len(has) > 1 else f"{', '.join(has)} {name}")
    text = "; ".join(parts) or "Nothing"
    return text[0].upper() + text[1:]
