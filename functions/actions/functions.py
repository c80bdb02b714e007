"""Functions: every write. User verbs say what shall be; system verbs (`mark_…`) say what a runner made of it.

Code or configuration that changes becomes a version; `functions/tasks.py` has it built and checked, and only then it
is live. What callers are answered from (live version, state) is remembered by every web process, so a verb that
changes it raises the epoch.

Long, because the verbs of one noun belong on one page.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, OuterRef
from django.utils import timezone

from accounts.models import Account
from catalog.models import Region
from core import db, epoch, events
from core.context import SYSTEM, Actor
from core.db import atomic_write
from core.errors import Conflict, FieldError, Invalid, LimitExceeded, NotFound, joined
from core.models import Counter
from functions import archive, rules
from functions.models import Code, Function, FunctionVersion, Runner
from functions.models.execution import storable
from functions.models.function import INVOCABLE, LIFECYCLE

NUDGE_PATIENCE = timedelta(seconds=15)  # a nudge arrives in milliseconds; later than this it was lost
RETRY_CEILING = 300  # seconds between two attempts at most
KEPT_VERSIONS = 20
SUPERSEDED = "Deployment.Superseded"
_REGIONS: Any = Region.objects
MEMORY, TIMEOUT, CONCURRENCY, REGION = 128, 3, 10, "us-east-1"  # MB, seconds; where nothing else is asked for


class FunctionQuotaExceeded(LimitExceeded):
    pass


class FunctionExists(Conflict):
    pass


class InvalidState(Conflict):
    code = "invalid_state"


# --- User verbs


@atomic_write()
def create(
    *,
    account: Account,
    by: Actor,
    name: str,
    runtime: str,
    handler: str,
    code: Mapping[str, Any] | None = None,
    memory: int = MEMORY,
    timeout: int = TIMEOUT,
    env: Mapping[str, str] | None = None,
    secrets: Mapping[str, str] | None = None,
    tags: Sequence[str] = (),
    region: str = REGION,
    max_concurrency: int = CONCURRENCY,
    wrong: Sequence[FieldError] = (),
) -> Function:
    """A new function; with `code` ({"inline": text} or {"zip": bytes}) its first version is built. `memory` is in MB,
    `timeout` in seconds, `wrong` was found before.

    Records: function.created. Raises: Invalid with every wrong field, FunctionExists, FunctionQuotaExceeded.
    """
    sold = _REGIONS.named(region)
    errors = [] if sold else [FieldError("region", "Invalid region specified", region, _regions())]
    errors += [*rules.name_errors(name), *rules.tag_errors(tags)]
    function = Function(account=account, name=name, tags=list(dict.fromkeys(tags)), region=sold.slug if sold else "")
    wanted = {"runtime": runtime, "handler": handler, "memory": memory, "timeout": timeout}
    _configure(function, wanted | {"max_concurrency": max_concurrency}, env or {}, secrets or {}, errors, wrong)
    _charge_quota(account)
    _claim_name(function)
    function.number = events.take_stock(function)
    db.insert(function)
    events.record("function.created", account=account, by=by, subject=function)
    if code is not None:
        _deploy(function, by, _archive(function, code))
    return function


@atomic_write()
def update(
    *,
    function: Function,
    by: Actor,
    name: str | None = None,
    tags: Sequence[str] | None = None,
    env: Mapping[str, str | None] | None = MappingProxyType({}),
    secrets: Mapping[str, str | None] | None = MappingProxyType({}),
    **wanted: Any,
) -> Function:
    """Another name, other tags, or another configuration, which makes a version of the code that is there.

    `wanted` may have runtime, handler, memory, timeout and max_concurrency. env and secrets are merged: None removes
    one, or all. Records: function.updated. Raises: Invalid, FunctionExists, InvalidState.
    """
    function = _locked(function)
    errors = [*(rules.name_errors(name) if name is not None else []), *rules.tag_errors(tags or [])]
    if name is not None and name != function.name:
        function.name = name
        Counter.add(function.account, function=0)
        _claim_name(function)
    function.tags = function.tags if tags is None else list(dict.fromkeys(tags))
    before = function.configuration()
    old_secrets = function.secrets
    _configure(function, wanted, _merged(function.env, env), _merged(old_secrets, secrets), errors)
    if function.secrets == old_secrets:
        function.sealed_secrets = before["sealed_secrets"]  # sealing the same anew would look like a change
    changed = function.configuration() != before
    function.save()
    transaction.on_commit(epoch.advance)
    events.record("function.updated", account=function.account, by=by, subject=function)
    if changed and function.newest:
        code = _wanted_code(function)
        archive.check(bytes(code.archive), function.runtime, function.handler)
        _make_version(function, by, code)
    return function


@atomic_write()
def deploy(*, function: Function, by: Actor, code: bytes) -> Function:
    """Put other code into a function: `code` is a zip. Records: function.updated. Raises: BadArchive, InvalidState."""
    function = _locked(function)
    events.record("function.updated", account=function.account, by=by, subject=function)
    return _deploy(function, by, code)


@atomic_write()
def activate(*, function: Function, by: Actor, number: int) -> Function:
    """Make a version live that was built before, and its configuration the function's: the way back, and forth again.

    Records: function.activated. Raises: NotFound, InvalidState.
    """
    function = _locked(function)
    version = function.versions.filter(number=number).first()
    if version is None:
        raise NotFound(f"Resource not available: the function has no version {number}")
    if version.state != "ready":
        message = f"Version {number} is {version.state}: only one that was built can be live"
        raise InvalidState(message, current=version.state, allowed_from=["ready"])
    if function.live == number and not function.versions.filter(state="building").exists():
        return function
    for name, value in version.configuration().items():
        setattr(function, name, value)
    _supersede(function, f"Version {number} was activated instead")
    function.live, function.status_reason, function.next_attempt_at = number, "", timezone.now() + NUDGE_PATIENCE
    function.generation += 1
    function.save()
    events.record("function.activated", account=function.account, by=by, subject=function)
    transaction.on_commit(epoch.advance)
    _nudge(function)
    return function


@atomic_write()
def deprecate(
    *, function: Function, by: Actor, message: str = "", sunset_at: datetime | None = None, replacement: str = ""
) -> Function:
    """Tell callers to leave: from now on with each answer, from `sunset_at` on by refusing. Again: other words.

    Records: function.deprecated. Raises: Invalid, InvalidState.
    """
    function = _locked(function)
    if sunset_at is not None and sunset_at <= timezone.now():
        raise Invalid.field("sunset_at", "sunset_at must be in the future", value=sunset_at)
    now = timezone.now()
    facts = {"deprecation": message, "sunset_at": sunset_at, "replacement": replacement}
    if function.state == "deprecated":
        for name, value in facts.items():
            setattr(function, name, value)
        function.save()
    elif function.state == "active":
        LIFECYCLE.advance(function, "deprecated", **facts, deprecated_at=now, generation=function.generation + 1)
    else:
        message = f"The function is {function.state}: only an active one can be deprecated"
        raise InvalidState(message, current=function.state, allowed_from=["active"])
    events.record("function.deprecated", account=function.account, by=by, subject=function)
    transaction.on_commit(epoch.advance)
    return function


@atomic_write()
def delete(*, function: Function, by: Actor) -> Function:
    """Delete from whatever state it is in; what it ran stays on the bill. Records: function.updated."""
    function = _locked(function, deleting=True)
    if function.state == "deleting":
        return function
    LIFECYCLE.advance(
        function,
        "deleting",
        generation=function.generation + 1,
        attempts=0,
        status_reason="",
        next_attempt_at=timezone.now() + NUDGE_PATIENCE,
    )
    events.record("function.updated", account=function.account, by=by, subject=function)
    transaction.on_commit(epoch.advance)
    _nudge(function)
    return function


# --- System verbs: what the runner found


@atomic_write()
def mark_building(*, function: Function) -> Function:
    """A worker has begun with the first version. Raises: StateChanged."""
    LIFECYCLE.advance(function, "building", next_attempt_at=timezone.now() + NUDGE_PATIENCE)
    return function


@atomic_write()
def mark_built(*, version: FunctionVersion, build: Any) -> Function | None:
    """The version was built and is live, or it failed and what was live stays.

    Records: function.deployed or function.deploy_failed. Answers None where another took its place meanwhile.
    """
    function = Function.objects.select_for_update(of=("self",)).filter(pk=version.function_id).first()
    if function is None or function.state == "deleting":
        return None
    facts = {"init_ms": build.init_ms, "max_memory_mb": build.max_memory_mb, "log": storable(build.log[-16_384:])}
    error: Any = storable(build.error.as_json()) if build.error else None
    same = FunctionVersion.objects.filter(pk=version.pk, state="building")
    state = "ready" if build.ok else "failed"
    if not same.update(state=state, error=error, version=F("version") + 1, updated_at=timezone.now(), **facts):
        return None
    function.attempts, function.next_attempt_at = 0, None
    if build.ok:
        function.live, function.status_reason = version.number, ""
    else:
        reason = f"Version {version.number} failed: {error['type']}: {error['message']}"
        function.status_reason = reason[:500]
    if function.state not in INVOCABLE:
        function.state = "active" if build.ok else "failed"
    function.save()
    kind = "function.deployed" if build.ok else "function.deploy_failed"
    data = {"version": version.number} | ({} if build.ok else {"reason": function.status_reason})
    events.record(kind, account=function.account, by=SYSTEM, subject=function, data=data)
    transaction.on_commit(epoch.advance)
    return function


@atomic_write()
def mark_settled(*, function: Function) -> None:
    """The runner knows what is live: nothing is left to do. Nothing where the row has moved on."""
    same = Function.objects.filter(pk=function.pk, generation=function.generation)
    same.update(attempts=0, next_attempt_at=None)


@atomic_write()
def mark_deleted(*, function: Function) -> None:
    """Nothing of it is left on any machine: rows and code go; the log and the bill stay.

    Records: function.deleted. Raises: StateChanged.
    """
    LIFECYCLE.advance(function, "deleted")
    Counter.add(function.account, function=-1)
    events.record("function.deleted", account=function.account, by=SYSTEM, subject=function)
    Function.objects.filter(pk=function.pk).delete()
    _drop_unused_code(function.account)


@atomic_write()
def postpone(*, function: Function, reason: str) -> None:
    """The attempt failed for now: say why and try again later, ever more slowly. Nothing where the row has moved on."""
    delay, now = min(2**function.attempts, RETRY_CEILING), timezone.now()
    same = Function.objects.filter(pk=function.pk, state=function.state, generation=function.generation)
    same.update(
        attempts=function.attempts + 1,
        status_reason=reason[:500],
        next_attempt_at=now + timedelta(seconds=delay),
        version=F("version") + 1,
        updated_at=now,
    )


@atomic_write()
def take_due(*, now: datetime, limit: int = 200) -> list[Function]:
    """Rows that nobody works on though they need it, each taken by one sweep only."""
    due = list(Function.objects.select_for_update(skip_locked=True).due(now).order_by("next_attempt_at")[:limit])
    Function.objects.filter(pk__in=[row.pk for row in due]).update(next_attempt_at=now + NUDGE_PATIENCE)
    return due


@atomic_write()
def note_runner(
    *, name: str, ok: bool, reason: str = "", runtimes: list[Any] | None = None, status: Any = None
) -> None:
    """What the runner says it can do, for requests to read. What it could do before it fell silent stays known."""
    facts: dict[str, Any] = {"ok": ok, "reason": reason, "seen_at": timezone.now()}
    if runtimes is not None:
        facts |= {"runtimes": runtimes, "status": status or {}}
    known = Runner.objects.filter(name=name).first()
    Runner.objects.update_or_create(name=name, defaults=facts)
    if known is None or known.ok != ok or (runtimes is not None and known.runtimes != runtimes):
        transaction.on_commit(epoch.advance)


# --- Inside


def _locked(function: Function, *, deleting: bool = False) -> Function:
    """The row as it is now, which nobody else changes until this verb has ended. Raises InvalidState where it goes."""
    rows = Function.objects.select_for_update(of=("self",)).select_related("account__plan")
    fresh = rows.filter(pk=function.pk).first()
    if fresh is None or (fresh.state == "deleting" and not deleting):
        raise InvalidState("The function is being deleted", current="deleting", allowed_from=[])
    return fresh


def _configure(
    function: Function,
    wanted: Mapping[str, Any],
    env: Mapping[str, str],
    secrets: Mapping[str, str],
    errors: list[FieldError],
    wrong: Sequence[FieldError] = (),
) -> None:
    """Take over what is wanted of the configuration. Raises Invalid with `wrong`, `errors` and what is found here."""
    names = {"memory": "memory_mb", "timeout": "timeout_s"}
    for name, value in wanted.items():
        setattr(function, names.get(name, name), value)
    errors += [
        *rules.runtime_errors(function.runtime, Runner.known_runtimes()),
        *rules.handler_errors(function.handler),
        *rules.range_errors("memory", function.memory_mb, rules.MEMORY, " MB"),
        *rules.range_errors("timeout", function.timeout_s, rules.TIMEOUT, " seconds"),
        *rules.range_errors("max_concurrency", function.max_concurrency, rules.CONCURRENCY, ""),
        *rules.environment_errors(env, secrets),
    ]
    if errors or wrong:
        raise Invalid(errors=joined(wrong, errors))
    function.runtime = rules.runtime(function.runtime)
    function.env = dict(env)
    function.keep_secrets(dict(secrets))


def _merged(old: Mapping[str, str], new: Mapping[str, str | None] | None) -> dict[str, str]:
    merged = {**old, **new} if new is not None else {}
    return {name: value for name, value in merged.items() if value is not None}


def _claim_name(function: Function) -> None:
    """Whoever names a function holds the account's counter by now, so of two with one name the second sees the first.

    Raises FunctionExists.
    """
    mine = Function.objects.filter(account=function.account, name=function.name)
    if other := mine.exclude(pk=function.pk).first():
        message = f"There is a function '{function.name}' already: {other.public_id}"
        raise FunctionExists(message, existing_id=other.public_id)


def _charge_quota(account: Account) -> None:
    limit = account.plan.max_functions
    used = Counter.add(account, function=1)["function"] - 1
    if used >= limit:
        message = f"The plan {account.plan.name} allows {limit} functions, and {used} are in use"
        suggestion = "Delete what is no longer needed, or change the plan."
        raise FunctionQuotaExceeded(message, suggestion=suggestion, limit=limit, used=used, requested=1)


def _archive(function: Function, code: Mapping[str, Any]) -> bytes:
    inline = code.get("inline")
    return archive.inline(inline, function.runtime, function.handler) if inline is not None else code["zip"]


def _deploy(function: Function, by: Actor, code: bytes) -> Function:
    archive.check(code, function.runtime, function.handler)
    digest = sha256(code).hexdigest()
    row = Code(account=function.account, sha256=digest, size=len(code), archive=code)
    Code.objects.bulk_create([row], ignore_conflicts=True)
    mine = Code.objects.filter(account=function.account, sha256=digest)
    return _make_version(function, by, mine.select_for_update().defer("archive").get())


def _make_version(function: Function, by: Actor, code: Code) -> Function:
    """One more version, which a worker builds; one that is still being built gives way to it."""
    _supersede(function, f"Version {function.newest + 1} took its place")
    function.newest += 1
    version = FunctionVersion(
        function=function, number=function.newest, code=code, code_sha256=code.sha256, code_size=code.size
    )
    version.take_configuration(function.configuration())
    version.by_name = by.name
    db.insert(version)
    if function.state == "failed":
        function.state = "building"
    function.generation += 1
    function.attempts, function.status_reason = 0, ""
    function.next_attempt_at = timezone.now() + NUDGE_PATIENCE
    function.save()
    old = function.versions.filter(number__lte=function.newest - KEPT_VERSIONS).exclude(number=function.live or 0)
    if old.delete()[0]:
        _drop_unused_code(function.account)
    _nudge(function)
    return function


def _supersede(function: Function, why: str) -> None:
    error = {"type": SUPERSEDED, "message": why, "stack": []}
    building = function.versions.filter(state="building")
    building.update(state="failed", error=error, version=F("version") + 1, updated_at=timezone.now())


def _wanted_code(function: Function) -> Code:
    """The newest code; where an earlier version was activated, the live one: another setting must not undo that."""
    versions, live = function.versions, function.live or 0
    newest = versions.get(number=function.newest)
    given_up = (newest.error or {}).get("type") == SUPERSEDED
    overtaken = newest.state != "building" and versions.filter(state="ready", number__gt=live).exists()
    return versions.select_related("code").get(number=live if given_up or overtaken else newest.number).code


def _drop_unused_code(account: Account) -> None:
    """By one statement: deleting as the ORM does would first read every zip."""
    used = FunctionVersion.objects.filter(code_id=OuterRef("pk"))
    Code.objects.filter(~Exists(used), account=account)._raw_delete("default")


def _regions() -> list[str]:
    return list(_REGIONS.on_sale().values_list("slug", flat=True))


def _nudge(function: Function) -> None:
    events.enqueue("functions.reconcile", function_id=str(function.pk))
