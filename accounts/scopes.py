"""Scopes and roles: what credentials may carry, what members may do, and all of it in plain words."""

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

_OPERATED = (
    "instances volumes snapshots networks firewalls ips ssh_keys functions resources webhooks monitoring".split()
)
ROLES: dict[str, list[str]] = {
    "owner": ["*"],
    "admin": ["*"],
    "developer": [*(f"{noun}:*" for noun in _OPERATED), "api_keys:*", "events:read", "catalog:read", "billing:read"],
    "billing": ["billing:*", "account:read", "catalog:read"],
    "viewer": [scope for scope in SCOPES if scope.endswith(":read") and scope not in ("audit:read", "members:read")],
}
# What a person says yes to, noun by noun and in the order of ACTIONS: the sentence goes on after "It may".
_SENTENCES: dict[str, list[str]] = {
    "instances": [
        "see your instances and their consoles",
        "create instances, which cost money",
        "change instances: name, size, firewalls",
        "delete instances and what is on their disks",
        "start, stop and restart instances",
    ],
    "volumes": [
        "see your volumes",
        "create volumes, which cost money",
        "rename and enlarge volumes",
        "delete volumes and what is on them",
        "attach volumes to instances and detach them",
    ],
    "snapshots": [
        "see your snapshots",
        "take snapshots, which cost money",
        "rename snapshots and change how long they are kept",
        "delete snapshots for good",
        "restore snapshots, over what is there now",
    ],
    "networks": ["see your private networks", "create, change and delete private networks"],
    "firewalls": ["see your firewalls", "change firewalls: who can reach your instances"],
    "ips": ["see your public addresses", "reserve, assign and release public addresses"],
    "ssh_keys": ["see your public SSH keys", "add and remove SSH keys, which open new instances"],
    "webhooks": ["see your webhooks and their deliveries", "create, change and delete webhooks"],
    "monitoring": ["see metrics and alerts", "create, change and delete alerts"],
    "billing": ["see usage, costs and invoices", "change the plan and the budgets"],
    "account": ["see the account's name, plan and limits", "change the account's name and settings"],
    "members": ["see who belongs to the account", "invite and remove people and change their roles"],
    "api_keys": ["see API keys and tokens, never their secrets", "make and revoke API keys and tokens"],
    "resources": ["see the list of everything you have", "create and delete resources, which cost money"],
    "functions": [
        "see your functions, their logs and results",
        "create, change and delete functions",
        "put new code into your functions",
        "run your functions, which costs money",
    ],
    "catalog": ["see what can be bought and what it costs"],
    "events": ["follow what happens in the account"],
    "audit": ["read the audit log: who did what, and from where"],
}
SENTENCES: dict[str, str] = {
    f"{noun}:{action}": sentence
    for noun, actions in ACTIONS.items()
    for action, sentence in zip(actions, _SENTENCES[noun], strict=True)
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


def grant(patterns: Iterable[str], grantable: frozenset[str]) -> list[str]:
    """Wildcards written out, all within `grantable`. Raises Invalid for an unknown scope, one beyond, or none."""
    granted, allowed = expand(patterns), sorted(grantable)
    if beyond := [scope for scope in granted if scope not in grantable]:
        raise Invalid(
            errors=[
                FieldError("scopes", f"You cannot grant {scope}: you do not have it", scope, allowed)
                for scope in beyond
            ]
        )
    if not granted:
        raise Invalid.field("scopes", "At least one scope is needed", value=[], allowed=allowed)
    return granted


def compact(scopes: Iterable[str]) -> list[str]:
    """The opposite of `expand`: as few words as say the same."""
    held = set(scopes)
    if held >= set(SCOPES):
        return ["*"]
    every = {noun: {f"{noun}:{action}" for action in actions} for noun, actions in ACTIONS.items()}
    whole = {noun for noun, own in every.items() if len(own) > 1 and own <= held}
    rest = [scope for scope in SCOPES if scope in held and scope.partition(":")[0] not in whole]
    return [f"{noun}:*" for noun in ACTIONS if noun in whole] + rest


def _covers(pattern: str, scope: str) -> bool:
    if pattern.startswith("*"):
        return scope.endswith(pattern.removeprefix("*"))
    return scope == pattern or (pattern.endswith(":*") and scope.startswith(pattern.removesuffix("*")))


ROLE_SCOPES: dict[str, frozenset[str]] = {role: frozenset(expand(patterns)) for role, patterns in ROLES.items()}


def spoken(noun: str) -> str:
    """`ssh_keys` as people write it: SSH keys."""
    words = noun.replace("_", " ")
    return words.replace("ssh", "SSH").replace("api", "API").replace("ips", "IPs")


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
            name = spoken(noun)
            parts.append(f"all of {name}" if len(has) == len(actions) and len(has) > 1 else f"{', '.join(has)} {name}")
    text = "; ".join(parts) or "Nothing"
    return text[0].upper() + text[1:]
