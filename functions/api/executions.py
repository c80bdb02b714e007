"""`/v1/functions/{id}/executions`, `…/logs` and `…/dead-letters`: what ran, what it printed, and what was given up."""

from datetime import datetime
from typing import Annotated, Any, TypedDict

import orjson
from django.utils import timezone
from rest_framework import serializers

from api import waiting
from api.bare import FIELDS, WINDOW, BareFilters, listed, picked, window
from api.filters import AnyOf, MomentFilter
from api.pagination import number
from api.renderers import Accepted, Answer, Page, like, public_id
from api.serializers import Input
from api.views import ViewSet, one
from core import ids
from core.errors import Invalid
from functions import calls
from functions.actions import executions
from functions.api.functions import FUNCTION_ID
from functions.api.invocations import FunctionErrorOut
from functions.models import Execution, Function
from functions.models.execution import STATES

INGEST_PATIENCE = 3  # seconds until what a client was answered is in the database too
MAX_LOG_LINES = 10_000
LOGGED = 20  # executions
LOG_TAIL = 4096  # characters: `…/logs` has the rest


class RedriveInput(Input):
    execution_ids = serializers.ListField(
        child=serializers.CharField(max_length=64), required=False, max_length=1000, help_text="Default: all of them."
    )

    example = {}


class ExecutionOut(TypedDict):
    id: Annotated[str, public_id("exec")]
    function_id: Annotated[str, FUNCTION_ID]
    version: Annotated[int, like(3)]
    trigger: Annotated[str, {"enum": ["sync", "async"]}]
    attempt: Annotated[int, like(1)]
    status: Annotated[str, {"enum": STATES}]
    error: FunctionErrorOut | None
    result: Annotated[Any, "Of an asynchronous one that is read by itself, up to 256 KiB."]
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    next_attempt_at: Annotated[datetime | None, "When a queued one is tried."]
    duration_ms: float | None
    billed_ms: int | None
    init_ms: Annotated[int | None, "How long loading the code took, where it began in a fresh sandbox."]
    cold_start: Annotated[str | None, like("first"), "Why it began in a fresh sandbox, if it did."]
    memory_mb: Annotated[int, like(128)]
    memory_used_mb: int | None
    log_tail: Annotated[str, like("hello\n"), "The end of what it printed."]


class LogsOut(TypedDict):
    function_id: Annotated[str, FUNCTION_ID]
    lines: Annotated[list[str], like(["hello"]), "The last ones, oldest first."]
    log: Annotated[str, like("hello"), "The same as one text."]


class RedrivenOut(TypedDict):
    redriven: Annotated[int, like(2), "How many were queued again; at most 1,000 at once."]
    execution_ids: Annotated[list[str], like(["exec_01m803p6fsep5t56hn7y1dmqyp"]), "Of the new executions."]


def representation(row: Execution, function: Function) -> ExecutionOut:
    kept = row.__dict__.get("answer") if row.trigger == "async" else None  # a list leaves it in the database
    result = orjson.loads(bytes(kept)) if kept is not None else None
    return {
        "id": row.public_id,
        "function_id": function.public_id,
        "version": row.function_version,
        "trigger": row.trigger,
        "attempt": row.attempt,
        "status": row.status,
        "error": row.error,
        "result": result,
        "queued_at": row.queued_at,
        "started_at": row.started_at,
        "ended_at": row.ended_at,
        "next_attempt_at": row.due_at if row.status == "queued" else None,
        "duration_ms": None if row.duration_us is None else round(row.duration_us / 1000, 3),
        "billed_ms": row.billed_ms,
        "init_ms": row.init_ms,
        "cold_start": row.cold_start or None,
        "memory_mb": row.memory_mb,
        "memory_used_mb": row.max_memory_mb,
        "log_tail": row.log[-LOG_TAIL:],
    }


class ExecutionFilters(BareFilters):
    shape = ExecutionOut
    default = tuple(ExecutionOut.__annotations__)
    sorts = {}  # newest first

    status = AnyOf("status", lambda: dict(zip(STATES, STATES, strict=True)), label="One or more, separated by commas.")
    trigger = AnyOf("trigger", lambda: {"sync": "sync", "async": "async"}, label="How it was invoked.")
    created_after = MomentFilter(lookup_expr="gt", field_name="started_at", label="Started after this time.")
    created_before = MomentFilter(lookup_expr="lt", field_name="started_at", label="Started before this time.")


class Executions(ViewSet):
    """What ran, how it ended, and what it printed. Kept for 30 days."""

    bare = True
    scopes = {"list": "functions:read", "retrieve": "functions:read", "logs": "functions:read"}
    query = {
        "list": ExecutionFilters.query(),
        "retrieve": FIELDS,
        "logs": {
            "tail": {
                "type": "integer",
                "minimum": 1,
                "maximum": MAX_LOG_LINES,
                "default": 100,
                "description": "How many lines.",
            },
            "execution": {"type": "string", "description": "Only of this one, also while it runs."},
        },
    }

    def rows(self, request) -> Any:
        return Function.objects.for_account(request.account)

    def list(self, request, id: str) -> Answer[Page[ExecutionOut]]:
        """List what a function ran."""
        function = self.row(request, id)
        rows = Execution.objects.of(function)
        return ExecutionFilters.listing(request, rows, lambda row: representation(row, function))

    def retrieve(self, request, id: str, execution: str) -> Answer[ExecutionOut]:
        """Get an execution."""
        function = self.row(request, id)
        whole: Any = representation(_awaited(function, execution), function)
        shown: Any = {name: whole[name] for name in picked(request, ExecutionOut, whole)}
        return Answer(shown)

    def logs(self, request, id: str) -> Answer[LogsOut]:
        """Get what a function printed

        Of the last 20 executions, or of one, also while it runs.
        """
        function = self.row(request, id)
        tail = number(request, "tail", default=100, low=1, high=MAX_LOG_LINES)
        wanted = request.query_params.get("execution")
        text = _log_of(function, wanted) if wanted else _recent_log(function)
        lines = text.splitlines()[-tail:]
        return Answer({"function_id": function.public_id, "lines": lines, "log": "\n".join(lines)})


def _awaited(function: Function, execution: str) -> Execution:
    """The execution. One whose id is seconds old may be in the journal only: it is waited for. Raises NotFound."""

    def look() -> Execution | None:
        return Execution.objects.of(function).defer(None).defer("event").filter(pk=key).first()

    try:
        key = Execution.key(execution)
        fresh = abs(ids.age(key)) < INGEST_PATIENCE
    except ValueError:
        return one(lambda _: None, Execution, execution)
    found = waiting.wait(look, account=function.account_id, seconds=INGEST_PATIENCE) if fresh else look()
    return one(lambda _: found, Execution, execution)


def _log_of(function: Function, execution: str) -> str:
    return calls.log_of(_awaited(function, execution))


def _recent_log(function: Function) -> str:
    rows = list(Execution.objects.of(function).values_list("log", flat=True)[:LOGGED])
    return "".join(text if text.endswith("\n") or not text else f"{text}\n" for text in reversed(rows))


class DeadLetters(ViewSet):
    """Asynchronous executions that failed for good, with what was sent: look why, mend it, and try them again."""

    bare = True
    scopes = {"list": "functions:read", "redrive": "functions:invoke"}
    query = {"list": WINDOW}
    takes = {"redrive": RedriveInput}

    def rows(self, request) -> Any:
        return Function.objects.for_account(request.account)

    def list(self, request, id: str) -> Answer[Page[ExecutionOut]]:
        """List dead letters."""
        function = self.row(request, id)
        limit, offset = window(request)
        rows = Execution.objects.dead(function)
        items = [representation(row, function) for row in rows[offset : offset + limit]]
        return listed(request, items, rows.count())

    def redrive(self, request, id: str) -> Accepted[RedrivenOut]:
        """Try dead letters again

        Each becomes a new execution of the version that is live now.
        """
        function = self.row(request, id)
        fields = RedriveInput.read(request)
        target = calls.target(request.account.pk, function.number)
        calls.refuse_what_cannot_run(target, timezone.now())
        only = [_key(text) for text in fields["execution_ids"]] if "execution_ids" in fields else None
        again = executions.redrive(function=function, by=request.by, target=target, only=only)
        return Accepted({"redriven": len(again), "execution_ids": [row.public_id for row in again]})


def _key(text: str) -> Any:
    try:
        return Execution.key(text)
    except ValueError:
        raise Invalid.field("execution_ids", "execution_ids are those of dead letters: exec_…", value=text) from None
