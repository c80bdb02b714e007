"""`POST …/invoke`: from a request to the runner and back, with no query where the function was looked up before.

A function's own failure is an answer (200), not an error of ours. The idempotency key of a synchronous invocation is
kept on its execution row: no transaction may stay open while somebody's code runs.
"""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, NotRequired, TypedDict, cast
from uuid import UUID

import orjson
from django.http import HttpResponse
from django.utils import timezone
from django.utils.http import http_date

from api import idempotency, preconditions, waiting
from api.errors import InvalidJson, PayloadTooLarge
from api.parsers import RawBody
from api.renderers import Accepted, Answer, dumps, like, public_id
from core import ids
from core.errors import Conflict, Invalid, LambdaError, NotFound
from functions import calls
from functions.actions import executions
from functions.calls import Target
from functions.drivers.base import MAX_PAYLOAD, Duplicate, Outcome, RunnerError
from functions.models import Execution, Function
from functions.models.execution import FINAL

MAX_QUEUED_EVENT = 256 * 1024  # bytes: it is kept in the database until it has been run
TWIN_PATIENCE = 15  # seconds


class FunctionErrorOut(TypedDict):
    type: Annotated[str, like("Function.Timeout"), "One of ours, or what the code itself raised."]
    message: Annotated[str, like("The function took longer than 3 s")]
    stack: Annotated[list[str], like(['  File "/var/task/app.py", line 2, in handler'])]


class InvocationOut(TypedDict):
    execution_id: Annotated[str, public_id("exec")]
    status: Annotated[str, like("succeeded"), {"enum": ["succeeded", "failed"]}]
    result: Annotated[Any, "What the handler answered."]
    error: FunctionErrorOut | None
    duration_ms: float
    billed_ms: int
    memory_used_mb: int
    log_tail: Annotated[str, like("hello\n"), "The end of what it printed."]
    cold_start: NotRequired[Annotated[str, like("first"), "Why it began in a fresh sandbox, if it did."]]


class QueuedOut(TypedDict):
    execution_id: Annotated[str, public_id("exec")]
    status: Annotated[str, like("queued"), {"enum": ["queued"]}]


class Invoking:
    """The action of `Functions` that runs one."""

    parameters: ClassVar[dict[str, dict[str, Any]]] = {
        "mode": {
            "type": "string",
            "enum": ["sync", "async"],
            "default": "sync",
            "description": "Wait for the answer, or have it run later and retried where it fails.",
        }
    }
    body = RawBody(
        MAX_PAYLOAD,
        "application/json",
        {"description": "The event, as the handler gets it: any JSON."},
        b'{"name":"Ada"}',
    )

    def _run(self, request: Any, handler: Any) -> Any:
        """An invocation keeps its own key and opens no transaction; everything else goes the usual way."""
        if getattr(self, "action", None) == "invoke":
            return handler(request, **self.kwargs)  # type: ignore[attr-defined]
        return super()._run(request, handler)  # type: ignore[misc]

    def invoke(self, request: Any, id: str) -> Answer[InvocationOut] | Accepted[QueuedOut]:
        """Invoke a function

        The body is the event. What the function itself does wrong, taking too long included, is 200 with status
        `failed` and a typed error. With `mode=async` it is run at least once: a failed attempt is repeated after a
        minute and after two, and then is a dead letter.
        """
        target = _target(request, id)
        if (wanted := preconditions.insisted(request)) is not None:
            preconditions.check(wanted, target.etag)
        mode = request.query_params.get("mode", "sync")
        if mode not in ("sync", "async"):
            raise Invalid.field("mode", "mode must be sync or async", value=mode, allowed=["sync", "async"])
        key = idempotency.key_of(request)
        event = _event(request)
        calls.refuse_what_cannot_run(target, timezone.now())
        marks = idempotency.marks(key, request) if key else None
        if mode == "async":
            return _queue(target, event, marks)
        if marks:
            return cast("Answer[InvocationOut]", _call_once(target, event, *marks))
        return cast("Answer[InvocationOut]", _call(target, event))


def _target(request: Any, id: str) -> Target:
    try:
        return calls.target(request.account.pk, Function.key(id))
    except ValueError:
        raise NotFound(f"Resource not available: there is no function '{id[:64]}' in this account") from None


def _event(request: Any) -> bytes:
    """The body, as it was sent; nothing is an empty object. Raises InvalidJson."""
    event: bytes = request.data or b"{}"
    try:
        orjson.loads(event)
    except orjson.JSONDecodeError as broken:
        raise InvalidJson(f"{broken.msg} at line {broken.lineno}, column {broken.colno}") from None
    return event


def _call(target: Target, event: bytes, execution: UUID | None = None) -> HttpResponse:
    execution_id = ids.encode("exec", execution or ids.new())
    try:
        outcome = calls.run(target, execution_id, event)
    except Duplicate:
        raise
    except RunnerError as trouble:
        raise calls.refusal(trouble) from trouble
    answer = HttpResponse(_answer(outcome), content_type="application/json")
    _mark(answer, target, outcome)
    return answer


def _answer(outcome: Outcome) -> bytes:
    """The result is put in as the runner hands it over: megabytes are not read to be written again."""
    facts = {"execution_id": outcome.execution_id, "status": outcome.status}
    rest: dict[str, Any] = {"error": outcome.error.as_json() if outcome.error else None, **calls.details(outcome)}
    if outcome.cold_start:
        rest["cold_start"] = outcome.cold_start
    return dumps(facts)[:-1] + b',"result":' + (outcome.result or b"null") + b"," + dumps(rest)[1:]


def _mark(answer: HttpResponse, target: Target, outcome: Outcome) -> None:
    answer["X-Execution-Id"] = outcome.execution_id
    answer["X-Function-Status"] = outcome.status
    answer["X-Duration-Ms"] = f"{outcome.duration_us / 1000:.3f}"
    answer["X-Billed-Ms"] = str(outcome.billed_ms)
    if outcome.cold_start:
        answer["X-Cold-Start"] = outcome.cold_start
    _warn(answer, target)


def _warn(answer: HttpResponse, target: Target) -> None:
    """A deprecated function says so with each answer."""
    if target.deprecated_at:
        answer["Deprecation"] = f"@{int(target.deprecated_at.timestamp())}"
        if target.sunset_at:
            answer["Sunset"] = http_date(target.sunset_at.timestamp())


def _call_once(target: Target, event: bytes, digest: str, fingerprint: str) -> HttpResponse:
    """The first request with the key runs; its twins, and whoever repeats it, get what it was answered."""
    row, mine = executions.claim(target=target, digest=digest, fingerprint=fingerprint)
    if not mine:
        return _replay(row, fingerprint)
    try:
        answer = _call(target, event, row.pk)
    except Duplicate:
        return _replay(row, fingerprint)  # an earlier request with the key had it begun, and did not hear how it ended
    except LambdaError as refused:
        executions.release(execution=row, began=not isinstance(refused, calls.ConcurrencyExceeded))
        raise
    executions.keep_answer(execution=row.pk, answer=answer.content)
    return answer


def _replay(row: Execution, fingerprint: str) -> HttpResponse:
    idempotency.insist_on_same(row.key_fingerprint, fingerprint)
    found = waiting.wait(lambda: _ended(row), account=row.account_id, seconds=TWIN_PATIENCE)
    if found is None:
        raise idempotency.IdempotencyInProgress(
            f"The first request with this Idempotency-Key still runs as {row.public_id}. Try again"
        )
    if found.answer is None:
        raise Conflict(
            f"The first request with this Idempotency-Key ended as {row.public_id}, and its answer was lost on the way",
            suggestion="GET the execution: it says how it ended. Use a new key to run it again.",
            execution_id=row.public_id,
        )
    answer = HttpResponse(bytes(found.answer), content_type="application/json", status=HTTPStatus.OK)
    answer["Idempotent-Replayed"] = "true"
    return answer


def _ended(row: Execution) -> Execution | None:
    """The first request's execution once it has an answer, or once its end is known and none came within seconds."""
    fresh = Execution.objects.filter(pk=row.pk).first()
    if fresh is None:
        raise Conflict("The first request with this Idempotency-Key was refused: try again")
    lost = fresh.status in FINAL and fresh.ended_at and _since(fresh.ended_at) > executions.LEASE.total_seconds()
    return fresh if fresh.answer is not None or lost else None


def _since(moment: datetime) -> float:
    return (timezone.now() - moment).total_seconds()


def _queue(target: Target, event: bytes, marks: tuple[str, str] | None) -> Any:
    if len(event) > MAX_QUEUED_EVENT:
        message = f"An asynchronous event may have {MAX_QUEUED_EVENT} bytes, this one has {len(event)}"
        raise PayloadTooLarge(message, suggestion="Store it elsewhere and send where it is.")
    digest, fingerprint = marks or (None, "")
    row, mine = executions.accept(target=target, event=event, digest=digest, fingerprint=fingerprint)
    idempotency.insist_on_same(row.key_fingerprint, fingerprint)
    body = dumps({"execution_id": row.public_id, "status": "queued"})
    answer = HttpResponse(body, content_type="application/json", status=HTTPStatus.ACCEPTED)
    answer["X-Execution-Id"] = row.public_id
    if not mine:
        answer["Idempotent-Replayed"] = "true"
    _warn(answer, target)
    return answer
