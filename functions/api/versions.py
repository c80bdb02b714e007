"""`/v1/functions/{id}/versions`: what was deployed, and the way back."""

from datetime import datetime
from typing import Annotated, Any, TypedDict

from api.bare import WINDOW, listed, window
from api.renderers import Answer, Page, like
from api.views import ViewSet
from core.errors import NotFound
from functions.actions import functions
from functions.api.functions import FunctionOut
from functions.api.functions import representation as function_representation
from functions.api.invocations import FunctionErrorOut
from functions.models import Function, FunctionVersion


class FunctionVersionOut(TypedDict):
    version: Annotated[int, like(3)]
    status: Annotated[str, {"enum": ["building", "ready", "failed"]}]
    live: Annotated[bool, "Whether it is the one that is invoked."]
    runtime: Annotated[str, like("python3.11")]
    handler: Annotated[str, like("app.handler")]
    memory: Annotated[str, like("128MB")]
    timeout: Annotated[int, like(3), "Seconds."]
    max_concurrency: Annotated[int, like(10)]
    env: dict[str, str]
    secrets: Annotated[list[str], like(["TOKEN"]), "Names only."]
    code_sha256: Annotated[str, like("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"), "Of the zip."]
    code_bytes: Annotated[int, like(214), "Of the zip."]
    init_ms: Annotated[int | None, "How long loading it took when it was built."]
    log: Annotated[str | None, "What the build printed."]
    error: FunctionErrorOut | None
    deployed_by: Annotated[str | None, like("Alice")]
    created_at: datetime


def representation(row: FunctionVersion, live: int | None) -> FunctionVersionOut:
    return {
        "version": row.number,
        "status": row.state,
        "live": row.number == live,
        "runtime": row.runtime,
        "handler": row.handler,
        "memory": f"{row.memory_mb}MB",
        "timeout": row.timeout_s,
        "max_concurrency": row.max_concurrency,
        "env": row.env,
        "secrets": row.secret_names,
        "code_sha256": row.code_sha256,
        "code_bytes": row.code_size,
        "init_ms": row.init_ms,
        "log": row.log or None,
        "error": row.error,
        "deployed_by": row.by_name or None,
        "created_at": row.created_at,
    }


class FunctionVersions(ViewSet):
    """What was deployed. A version never changes; each that was built can be made live again."""

    bare = True
    scopes = {"list": "functions:read", "activate": "functions:deploy"}
    query = {"list": WINDOW}

    def rows(self, request) -> Any:
        return Function.objects.for_account(request.account)

    def list(self, request, id: str) -> Answer[Page[FunctionVersionOut]]:
        """List the versions of a function."""
        function = self.row(request, id)
        rows = FunctionVersion.objects.of(function)
        limit, offset = window(request)
        items = [representation(row, function.live) for row in rows[offset : offset + limit]]
        return listed(request, items, rows.count())

    def activate(self, request, id: str, number: str) -> Answer[FunctionOut]:
        """Make a version live

        It and its configuration are what runs from the next invocation on: the way back after a bad deployment.
        """
        function = self.row(request, id)
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise NotFound(f"Resource not available: the function has no version '{number[:20]}'")
        row = functions.activate(function=function, by=request.by, number=int(number))
        return Answer(function_representation(row), version=row.version)
