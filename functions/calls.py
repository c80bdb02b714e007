"""From an invocation to the runner: what is live, remembered by each process, and the one way to have it run.

No transaction is open here, and in the hot path there is no query: a web process looks a function up once and knows it
while the epoch stands.
"""

import logging
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings

from core import epoch, ids
from core.errors import Conflict, LambdaError, LimitExceeded, NotFound, Unavailable
from functions.drivers import open_driver
from functions.drivers.base import (
    Busy,
    Driver,
    Outcome,
    Revision,
    RunnerError,
    RunnerUnavailable,
    Trigger,
    UnknownRevision,
)
from functions.models import Execution, Function, FunctionVersion
from functions.models.execution import FINAL
from functions.models.function import INVOCABLE

log = logging.getLogger(__name__)


class FunctionNotActive(Conflict):
    code = "invalid_state"


class FunctionGone(LambdaError):
    code = "gone"


class ConcurrencyExceeded(LimitExceeded):
    code = "concurrency_exceeded"

    def __init__(self, busy: Busy):
        self.retry_after = busy.retry_after
        super().__init__(
            f"As much runs as may run at once: {busy.limit_name} is {busy.limit}",
            suggestion="Try again, raise the function's max_concurrency, or invoke it with mode=async.",
            limit_name=busy.limit_name,
            limit=busy.limit,
        )


@dataclass(frozen=True)
class Target:
    """What an invocation needs to know of a function. `version` is the live one's number, `etag` the row's version."""

    account_pk: UUID
    function_pk: UUID
    name: str
    state: str
    etag: int
    version: int | None
    version_pk: UUID | None
    deprecated_at: datetime | None
    deprecation: str
    replacement: str
    sunset_at: datetime | None

    @property
    def revision_id(self) -> str:
        assert self.version_pk
        return ids.encode("fv", self.version_pk)


@epoch.remembered
def target(account_pk: UUID, number: int) -> Target:
    """The account's function with this number, live or not. Raises NotFound, which is not remembered."""
    function = Function.objects.filter(account_id=account_pk, number=number).first()
    if function is None:
        raise NotFound(
            f"Resource not available: there is no function '{ids.encode_number('FUNC', number)}' in this account"
        )
    live = (
        function.versions.filter(number=function.live).values_list("pk", flat=True).first() if function.live else None
    )
    return Target(
        account_pk=account_pk,
        function_pk=function.pk,
        name=function.name,
        state=function.state,
        etag=function.version,
        version=function.live,
        version_pk=live,
        deprecated_at=function.deprecated_at,
        deprecation=function.deprecation,
        replacement=function.replacement,
        sunset_at=function.sunset_at,
    )


def refuse_what_cannot_run(wanted: Target, now: datetime) -> None:
    """Raises FunctionNotActive, and FunctionGone after a sunset."""
    if wanted.state not in INVOCABLE or wanted.version_pk is None:
        hint = "It has no code yet: PUT it to /v1/functions/{id}/code." if wanted.state == "created" else ""
        raise FunctionNotActive(
            f"The function is {wanted.state}: only an active one can be invoked",
            suggestion=hint or "GET the function: its status_reason says why.",
            current=wanted.state,
            allowed_from=sorted(INVOCABLE),
        )
    if wanted.sunset_at and wanted.sunset_at <= now:
        instead = f" Use {wanted.replacement}." if wanted.replacement else ""
        raise FunctionGone(f"The function ended at its sunset. {wanted.deprecation}{instead}".strip())


def driver() -> Driver:
    return open_driver(settings.LAMBDA_RUNNER, settings.LAMBDA_RUNNER_HOME)


def run(wanted: Target, execution_id: str, event: bytes, *, attempt: int = 1, trigger: Trigger = "sync") -> Outcome:
    """Run it and wait for its end; a runner that does not know the version is told. Raises only `RunnerError`s."""
    runner = driver()
    try:
        return runner.invoke(wanted.revision_id, execution_id, event, attempt=attempt, trigger=trigger)
    except UnknownRevision:
        make_known(
            FunctionVersion.objects.select_related("function__account__plan", "code").get(
                pk=wanted.version_pk or UUID(int=0)
            )
        )
        return runner.invoke(wanted.revision_id, execution_id, event, attempt=attempt, trigger=trigger)


def run_for_a_person(wanted: Target, event: bytes) -> Outcome:
    """Run it once and wait for its end. Raises LambdaError: what whoever asked is told."""
    try:
        return run(wanted, ids.encode("exec", ids.new()), event)
    except RunnerError as trouble:
        raise refusal(trouble) from trouble


def log_of(execution: Execution) -> str:
    """What it printed, also while it runs."""
    if execution.status not in FINAL:
        with suppress(RunnerError):
            return driver().logs(execution.public_id) or execution.log
    return execution.log


def make_known(version: FunctionVersion) -> None:
    """Tell the runner of a version; it gets the code where it does not have it. Raises RunnerError."""
    revision = revision_of(version)
    if not driver().put(revision, None) and not driver().put(revision, bytes(version.code.archive)):
        raise RunnerError(f"the runner does not take the code of {version.revision_id}")


def revision_of(version: FunctionVersion) -> Revision:
    function = version.function
    return Revision(
        id=version.revision_id,
        account=function.account.public_id,
        function=runner_name(function.pk),
        name=function.name,
        version=version.number,
        runtime=version.runtime,
        handler=version.handler,
        memory_mb=version.memory_mb,
        timeout_ms=version.timeout_s * 1000,
        code_sha256=version.code_sha256,
        env={**version.env, **version.secrets},
        max_concurrency=version.max_concurrency,
        account_concurrency=function.account.plan.max_concurrency,
    )


def runner_name(function_pk: UUID) -> str:
    """What the runner's journal calls a function: unlike its number, the key is found without its row."""
    return ids.encode("fn", function_pk)


def refusal(trouble: RunnerError) -> LambdaError:
    """What a caller is told of a runner's refusal."""
    match trouble:
        case Busy():
            return ConcurrencyExceeded(trouble)
        case RunnerUnavailable():
            return Unavailable(f"Functions cannot run at the moment: {trouble.reason}")
    log.error("the runner refused: %s", trouble)
    return Unavailable("Functions cannot run at the moment")


def details(outcome: Outcome) -> dict[str, Any]:
    """The facts of an outcome that are answered beside its result."""
    return {
        "duration_ms": round(outcome.duration_us / 1000, 3),
        "billed_ms": outcome.billed_ms,
        "memory_used_mb": outcome.max_memory_mb,
        "log_tail": outcome.log_tail,
    }
