"""`/v1/functions`: code that runs when it is called, and what can be done with it. Its versions, and what ran: beside.

Long, because all that can be done with a function belongs on one page.
"""

import base64
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypedDict, TypeVar

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django_filters import CharFilter
from rest_framework import serializers

from api.bare import FIELDS, WINDOW, BareFilters, listed, picked, window
from api.filters import AnyOf, Words
from api.parsers import RawBody
from api.renderers import Accepted, Answer, Created, Page, like
from api.serializers import Input
from api.views import ViewSet, one
from core import ids
from core.errors import Invalid
from core.models import Counter
from functions import archive, rules
from functions.actions import functions
from functions.api.invocations import Invoking
from functions.models import Function, Runner
from functions.models.function import STATES

A = TypeVar("A", bound=Answer[Any])
FUNCTION_ID = like("FUNC_1234567890") | {"pattern": r"^FUNC_\d{10}$"}


def _variables(help_text: str, *, merged: bool = False, secret: bool = False) -> serializers.DictField:
    """Texts by name; where they are merged into those that there are, null removes one, or in their place all."""
    text = serializers.CharField(allow_blank=True, allow_null=merged, trim_whitespace=False)
    more = " Merged; null removes one, or in their place all." if merged else ""
    return serializers.DictField(
        child=text, required=False, allow_null=merged, write_only=secret, help_text=help_text + more
    )


class CodeInput(serializers.Serializer[Any]):
    inline = serializers.CharField(
        required=False, trim_whitespace=False, max_length=900_000, help_text="The text of the handler's file."
    )
    zip_base64 = serializers.CharField(
        required=False, help_text="A zip; one that is larger than this body may be is PUT to `…/code`."
    )


class CreateInput(Input):
    name = serializers.CharField(max_length=64, help_text="Unique in the account.")
    runtime = serializers.CharField(max_length=32, help_text="One of `/v1/functions/runtimes`, e.g. `Node.js 20`.")
    handler = serializers.CharField(max_length=128, help_text="File and function, e.g. `app.handler`.")
    code = CodeInput(required=False, help_text="Without it the function waits for `PUT …/code`.")
    memory = serializers.IntegerField(required=False, help_text="MB, from 128 to 10240. Default: 128.")
    timeout = serializers.IntegerField(required=False, help_text="Seconds, from 1 to 900. Default: 3.")
    env = _variables("Variables that it sees, and that you can read.")
    secrets = _variables("Variables that only it sees: never shown again.", secret=True)
    tags = serializers.ListField(child=serializers.CharField(max_length=64), required=False)
    region = serializers.CharField(max_length=48, required=False, help_text="Default: us-east-1.")
    max_concurrency = serializers.IntegerField(required=False, help_text="Executions at once. Default: 10.")

    example = {
        "name": "user-authentication",
        "runtime": "Python 3.11",
        "handler": "app.handler",
        "code": {"inline": "def handler(event, context):\n    return {'hello': event.get('name', 'world')}\n"},
        "tags": ["login"],
    }


class UpdateInput(Input):
    name = serializers.CharField(max_length=64, required=False)
    runtime = serializers.CharField(max_length=32, required=False)
    handler = serializers.CharField(max_length=128, required=False)
    memory = serializers.IntegerField(required=False, help_text="MB.")
    timeout = serializers.IntegerField(required=False, help_text="Seconds.")
    env = _variables("Variables.", merged=True)
    secrets = _variables("Variables that are never shown again.", merged=True, secret=True)
    tags = serializers.ListField(child=serializers.CharField(max_length=64), required=False)
    max_concurrency = serializers.IntegerField(required=False)

    example = {"memory": 256, "env": {"LEVEL": "debug"}}


class DeprecateInput(Input):
    message = serializers.CharField(max_length=500, required=False, allow_blank=True, help_text="Why, and what now.")
    sunset_at = serializers.DateTimeField(required=False, help_text="From then on invocations are refused with 410.")
    replacement = serializers.CharField(max_length=64, required=False, help_text="What to invoke instead.")

    example = {"message": "Use sign-in", "replacement": "sign-in"}


class RuntimeOut(TypedDict):
    name: Annotated[str, like("python3.11")]
    label: Annotated[str, like("Python 3.11")]
    family: Annotated[str, {"enum": ["python", "node"]}]
    version: Annotated[str, like("3.11.2")]


class FunctionCreatedOut(TypedDict):
    id: Annotated[str, FUNCTION_ID]
    status: Annotated[str, like("created"), {"enum": ["created"]}]
    deployment_started: datetime


class FunctionOut(TypedDict):
    id: Annotated[str, FUNCTION_ID]
    name: Annotated[str, like("user-authentication")]
    status: Annotated[str, like("active"), {"enum": STATES}]
    status_reason: Annotated[str | None, "In plain words, where there is something to explain."]
    runtime: Annotated[str, like("python3.11")]
    handler: Annotated[str, like("app.handler")]
    memory: Annotated[str, like("128MB")]
    timeout: Annotated[int, like(3), "Seconds."]
    max_concurrency: Annotated[int, like(10)]
    env: Annotated[dict[str, str], like({"LEVEL": "debug"})]
    secrets: Annotated[list[str], like(["TOKEN"]), "Names only."]
    tags: Annotated[list[str], like(["login"])]
    region: Annotated[str, like("us-east-1")]
    version: Annotated[int | None, like(3), "Which one is invoked."]
    newest_version: Annotated[int | None, like(3), "Which one was deployed last."]
    deprecation: Annotated[str | None, "Why it is deprecated."]
    deprecated_at: datetime | None
    sunset_at: datetime | None
    replacement: str | None
    resource_id: Annotated[str, like("RES_1234567890"), "Its number in the inventory."]
    created_at: datetime
    updated_at: datetime
    last_executed: datetime | None


class FunctionListedOut(TypedDict, total=False):
    """What the list shows by itself; `fields` asks for more of what a single function shows."""

    id: Annotated[str, FUNCTION_ID]
    name: Annotated[str, like("user-authentication")]
    created_at: datetime
    last_executed: datetime | None


def representation(row: Function) -> FunctionOut:
    return {
        "id": row.public_id,
        "name": row.name,
        "status": row.state,
        "status_reason": row.status_reason or None,
        "runtime": row.runtime,
        "handler": row.handler,
        "memory": f"{row.memory_mb}MB",
        "timeout": row.timeout_s,
        "max_concurrency": row.max_concurrency,
        "env": row.env,
        "secrets": row.secret_names,
        "tags": row.tags,
        "region": row.region,
        "version": row.live,
        "newest_version": row.newest or None,
        "deprecation": row.deprecation or None,
        "deprecated_at": row.deprecated_at,
        "sunset_at": row.sunset_at,
        "replacement": row.replacement or None,
        "resource_id": ids.encode_number("RES", row.number),
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "last_executed": row.last_executed_at,
    }


class RuntimesField(forms.CharField):
    """Runtimes in any spelling, separated by commas, as the names of their column."""

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        found = []
        for text in (value or "").split(",") if value else []:
            if rules.runtime_errors(text, []):  # one that was there once still names its functions
                known = [one["label"] for one in Runner.known_runtimes()]
                message = f"cannot be '{text}'. There are: {', '.join(known) or 'Python and Node.js'}"
                raise ValidationError(message, params={"allowed": known})
            found.append(rules.runtime(text))
        return found


class Runtimes(django_filters.Filter):
    field_class = RuntimesField


class FunctionFilters(BareFilters):
    shape = FunctionOut
    default = ("id", "name", "created_at", "last_executed")

    status = AnyOf("state", lambda: dict(zip(STATES, STATES, strict=True)), label="One or more, separated by commas.")
    runtime = Runtimes("runtime", "in", label="One or more, e.g. `Node.js 20` or `nodejs20`.")
    tag = Words("tags", label="A tag; repeat it for functions that have all of them.")
    name = CharFilter(label="Exactly this name.")
    q = CharFilter("name", "icontains", label="What the name contains.")


class Functions(Invoking, ViewSet):
    """Code that runs when it is called. Deploying is answered at once; a worker builds, checks and then activates."""

    bare = True
    scopes = {
        "list": "functions:read",
        "retrieve": "functions:read",
        "runtimes": "functions:read",
        "create": "functions:write",
        "update": "functions:write",
        "destroy": "functions:write",
        "deprecate": "functions:write",
        "code": "functions:deploy",
        "invoke": "functions:invoke",
    }
    query = {
        "list": FunctionFilters.query(),
        "runtimes": WINDOW,
        "retrieve": FIELDS,
        "invoke": Invoking.parameters,
    }
    takes = {"create": CreateInput, "update": UpdateInput, "deprecate": DeprecateInput}
    raw = {
        "invoke": Invoking.body,
        "code": RawBody(
            archive.MAX_ARCHIVE,
            "application/octet-stream",
            {"type": "string", "format": "binary", "description": "A zip of at most 50 MiB."},
            archive.pack({"app.py": b"def handler(event, context):\n    return event\n"}),
        ),
    }

    def rows(self, request) -> Any:
        return Function.objects.for_account(request.account)

    def list(self, request) -> Answer[Page[FunctionListedOut]]:
        if FunctionFilters.asked(request):
            count = partial(Counter.of, request.account, "function")
            return FunctionFilters.listing(request, self.rows(request), representation, total=count)
        limit, offset = window(request)
        show = FunctionFilters.show(request, representation)
        rows, total = Function.objects.page(request.account, limit, offset)
        return listed(request, [show(row) for row in rows], total)

    def runtimes(self, request) -> Answer[Page[RuntimeOut]]:
        """List the runtimes that there are here."""
        found = Runner.known_runtimes()
        limit, offset = window(request)
        return listed(request, found[offset : offset + limit], len(found))

    def retrieve(self, request, id: str) -> Answer[FunctionOut]:
        row = one(lambda number: Function.objects.one(request.account, number), Function, id)
        whole: Any = representation(row)
        shown: Any = {name: whole[name] for name in picked(request, FunctionOut, whole)}
        return Answer(shown, version=row.version)

    def create(self, request) -> Created[FunctionCreatedOut]:
        fields = CreateInput.sift(request)
        if "code" in fields:
            fields["code"] = _code(fields["code"])
        row = functions.create(account=request.account, by=request.by, **fields)
        return Created({"id": row.public_id, "status": "created", "deployment_started": row.created_at})

    def update(self, request, id: str) -> Answer[FunctionOut]:
        """Change a function

        Another configuration is deployed as a version of the code that is there.
        """
        row = functions.update(function=self.row(request, id), by=request.by, **UpdateInput.read(request))
        return Answer(representation(row), version=row.version)

    def destroy(self, request, id: str) -> Accepted[FunctionOut]:
        row = functions.delete(function=self.row(request, id), by=request.by)
        return Accepted(representation(row), version=row.version)

    def code(self, request, id: str) -> Accepted[FunctionOut]:
        """Deploy code

        The body is a zip. It becomes a version, which is live as soon as it is built and checked.
        """
        row = functions.deploy(function=self.row(request, id), by=request.by, code=request.data or b"")
        return Accepted(representation(row), version=row.version)

    def deprecate(self, request, id: str) -> Answer[FunctionOut]:
        """Deprecate a function

        Its answers say so from now on; from `sunset_at` on it refuses.
        """
        row = functions.deprecate(function=self.row(request, id), by=request.by, **DeprecateInput.read(request))
        return Answer(representation(row), version=row.version)


def _code(given: dict[str, Any]) -> dict[str, Any]:
    """What the verb takes. Raises Invalid unless there is one of the two."""
    if len(given) != 1:
        raise Invalid.field("code", "code needs one of inline and zip_base64", allowed=["inline", "zip_base64"])
    if "inline" in given:
        return {"inline": given["inline"]}
    try:
        return {"zip": base64.b64decode(given["zip_base64"], validate=True)}
    except ValueError:  # also for letters beyond ASCII
        raise Invalid.field("code.zip_base64", "code.zip_base64 is not Base64") from None
