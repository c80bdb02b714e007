"""OpenAPI 3.1 from the code: what a view's class attributes and annotations say, as one document.

A view says everything once, where it is used: `scopes`, `query` and `takes` (what an action needs, understands and
reads), its docstrings, and return annotations such as `Answer[Page[InstanceOut]]`. Here is only how that is written as
OpenAPI, and what all operations share: errors, headers, credentials. The page at /docs is `config/docs.py`.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from django.conf import settings
from drf_spectacular.drainage import warn
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers
from rest_framework.request import Request

from api.errors import REFUSALS, STATUS
from api.renderers import Answer, EnvelopeRenderer, Feed, FeedOut, Lines, MetadataOut, Page, PaginationOut
from api.schemas import ErrorOut, Json, RehearsalMetadataOut, doc, named, schema_of
from api.serializers import Input
from api.views import ViewSet

# No `const`: clients that openapi-generator makes in Python then refuse their own true.
SUCCESS = {"type": "boolean", "examples": [True]}
ANSWERS = {200: "Done", 201: "Made", 202: "Accepted: it will be so"}
# Headers of answers: type and meaning.
HEADERS = {
    "X-Request-Id": ("string", "This request in our log."),
    "X-RateLimit-Limit": ("integer", "Requests a clock hour."),
    "X-RateLimit-Remaining": ("integer", "How many of them are left."),
    "X-RateLimit-Reset": ("integer", "When the hour ends, in epoch seconds."),
    "ETag": ("string", "The version of what is shown."),
    "Retry-After": ("integer", "Seconds to wait before trying again."),
    "WWW-Authenticate": ("string", "How to authenticate."),
    "Idempotent-Replayed": ("string", "`true` on the stored answer to an earlier request with this Idempotency-Key."),
}
EVERYWHERE = ["X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
# Query parameters that mean the same wherever a view names them.
PARAMETERS: dict[str, Json] = {
    "page": {"type": "integer", "minimum": 1, "default": 1, "description": "Which page, from 1."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20, "description": "How many on a page."},
}
CREDENTIALS: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer λ_sk_…`, or an OAuth token"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`X-API-Key: λ_sk_…`"},
}
REQUEST_HEADERS = {
    "If-Match": "The ETag that you read: change it only if nobody else has since.",
    "If-None-Match": "The ETag that you have: 304 without a body if it is still the same.",
    "Idempotency-Key": "Up to 255 characters of your own: for 24 hours the same request with it is done once.",
}
SUMMARIES = {"list": "List {many}", "create": "Create {one}", "get": "Get {one}", "update": "Change {one}"}
ACRONYMS = {"Api": "API", "Ip": "IP", "Ips": "IPs", "Ssh": "SSH"}


def tag_of(view: type[ViewSet]) -> str:
    """`SshKeys` → `SSH keys`."""
    first, *rest = re.findall("[A-Z][a-z]*", view.__name__)
    return " ".join([ACRONYMS.get(first, first), *(ACRONYMS.get(word, word.lower()) for word in rest)])


def _in_text(tag: str) -> str:
    """A tag in the middle of a sentence: `SSH keys` stays, `Instances` becomes `instances`."""
    return tag if tag[:2].isupper() else tag[0].lower() + tag[1:]


class OperationSchema(AutoSchema):
    """One operation of a `ViewSet`."""

    @property
    def _viewset(self) -> ViewSet:
        assert isinstance(self.view, ViewSet)
        return self.view

    @property
    def _action(self) -> Callable[..., Answer[Any]]:
        action: Callable[..., Answer[Any]] = getattr(type(self._viewset), self._viewset.action)
        return action

    @property
    def _verb(self) -> str:
        return {"retrieve": "get", "destroy": "delete"}.get(self._viewset.action, self._viewset.action)

    def get_operation_id(self) -> str:
        noun = re.sub("(?<=[a-z])(?=[A-Z])", "_", type(self._viewset).__name__).lower()
        return f"{noun}_{self._verb}"

    def get_tags(self) -> list[str]:
        return [tag_of(type(self._viewset))]

    def get_summary(self) -> str:
        """The docstring's first line, or words made from the names."""
        if text := doc(self._action):
            return text.partition("\n")[0].rstrip(".")
        many = _in_text(tag_of(type(self._viewset)))
        article = "an" if many[0] in "aeio" or many[0] in "AS" else "a"  # an API key, an SSH key
        words = SUMMARIES.get(self._verb, f"{self._verb.replace('_', ' ').capitalize()} {{one}}")
        return words.format(many=many, one=f"{article} {many.removesuffix('s')}")

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular's own, which differs from DRF's
        return doc(self._action).partition("\n")[2].strip()

    def get_auth(self) -> list[Json]:
        scope = self._viewset.required_scope()
        roles = [scope] if scope and scope != "public" else []
        return [*([{}] if scope == "public" else []), *({name: roles} for name in CREDENTIALS)]

    def get_extensions(self) -> Json:
        scope = self._viewset.required_scope()
        return {"x-required-scope": scope} if scope and scope != "public" else {}

    def _get_parameters(self) -> list[Json]:
        one = _in_text(tag_of(type(self._viewset))).removesuffix("s")
        found = [
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": f"The {one}'s {name}.",
                "schema": self._key(name),
            }
            for name in re.findall(r"{(\w+)}", self.path)
        ]
        for name, shape in self._viewset.understood().items():
            schema = dict(shape or PARAMETERS.get(name, {}))
            if "description" not in schema:
                warn(
                    f"{type(self._viewset).__name__}.query does not describe '{name}', nor does api.openapi.PARAMETERS"
                )
            found.append({"name": name, "in": "query", "description": schema.pop("description", ""), "schema": schema})
        if self._shows_version:
            found.append(_request_header("If-None-Match"))
        if self.method != "GET" and "{" in self.path:
            found.append(_request_header("If-Match"))
        if self.method != "GET":
            found.append(_request_header("Idempotency-Key", minLength=1, maxLength=255, pattern="^[ -~]+$"))
        return found

    @property
    def _shows_version(self) -> bool:
        """What can be changed has a version, which reading it alone shows."""
        view = type(self._viewset)
        return self._viewset.action == "retrieve" and (hasattr(view, "update") or hasattr(view, "destroy"))

    def _key(self, name: str) -> Json:
        """What a path names is a member of what `retrieve` answers, and looks like it."""
        answer = get_type_hints(getattr(self._viewset, "retrieve", self._action), include_extras=True).get("return")
        (shape,) = get_args(answer) or (None,)
        members = get_type_hints(shape, include_extras=True) if is_typeddict(shape) else {}
        return schema_of(members.get(name, str), self.registry)

    def map_parsers(self) -> list[str]:
        return ["application/json"]

    def get_request_serializer(self) -> type[Input] | None:
        return self._viewset.takes.get(self._viewset.action)

    def _get_request_body(self, direction: str = "request") -> Json | None:
        if raw := self._viewset.raw.get(self._viewset.action):
            return {"required": True, "content": {raw.media_type: {"schema": raw.schema}}}
        found: Json | None = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return found

    def get_serializer_name(self, serializer: serializers.Serializer[Any], direction: str) -> str:
        """`CreateInput` of `compute.api.instances` → `InstanceCreateInput`: the modules' own names are shorter."""
        noun = type(serializer).__module__.rpartition(".")[2].removesuffix("s")
        return "".join(part.capitalize() for part in noun.split("_")) + type(serializer).__name__

    def _map_serializer(self, serializer: Any, direction: str, bypass_extensions: bool = False) -> Json:
        schema: Json = super()._map_serializer(serializer, direction, bypass_extensions)  # type: ignore[no-untyped-call]
        if isinstance(serializer, Input):
            schema["additionalProperties"] = False  # an unknown name is refused
            if serializer.example:
                schema["examples"] = [serializer.example]
        return schema

    def _get_response_bodies(self, direction: str = "response") -> Json:
        extra = ["ETag"] if self._shows_version else ["Idempotent-Replayed"] if self.method != "GET" else []
        found: Json = {}
        for answer in self._answers():
            kind, (data,) = get_origin(answer), get_args(answer)
            if issubclass(kind, Lines):
                found[str(kind.code)]["content"][kind.media_type] = {"schema": schema_of(data, self.registry)}
            else:
                found[str(kind.code)] = _response(ANSWERS[kind.code], self._enveloped(data), extra)
        if self._viewset.action == "create":
            found["200"] = _response("A dry run: what would be made, and what it would cost", self._rehearsal(), [])
        if self._shows_version:
            found["304"] = {"description": "Still the same", "headers": _headers([*EVERYWHERE, "ETag"])}
        for status in self._refusals():
            found[str(status)] = {"$ref": f"#/components/responses/Error{status}"}
        return found  # in this order: generators of clients take the first for what an operation returns

    def _rehearsal(self) -> Json:
        properties = {
            "success": SUCCESS,
            "data": {"type": "object", "description": "What would be made: without an id, and without secrets."},
            "metadata": schema_of(RehearsalMetadataOut, self.registry),
        }
        return named("Rehearsal", properties, self.registry, what=RehearsalMetadataOut)

    def _answers(self) -> Iterator[Any]:
        """The kinds of answer in the action's return annotation."""
        hint = get_type_hints(self._action, include_extras=True).get("return")
        for answer in get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]:
            if issubclass(get_origin(answer) or NoneType, Answer | Lines):
                yield answer
            else:
                warn(f"{self._action.__qualname__} must be annotated with what it answers, e.g. -> Answer[ThingOut]")

    def _enveloped(self, data: Any) -> Json:
        options = get_args(data) if get_origin(data) in (Union, UnionType) else [data]
        parts = {get_origin(option): get_args(option)[0] for option in options if get_origin(option) in (Page, Feed)}
        item = next(iter(parts.values()), None)
        schema = {"type": "array", "items": schema_of(item, self.registry)} if parts else schema_of(data, self.registry)
        if self._viewset.bare:
            return schema
        shown = item or data
        name = (
            shown.__name__.removesuffix("Out")
            if is_typeddict(shown)
            else self.get_operation_id().title().replace("_", "")
        )
        properties = {"success": SUCCESS, "data": schema}
        if parts:
            ways = [schema_of({Page: PaginationOut, Feed: FeedOut}[part], self.registry) for part in parts]
            properties["pagination"] = ways[0] if len(ways) == 1 else {"anyOf": ways}
        properties["metadata"] = schema_of(MetadataOut, self.registry)
        kind = "Or".join(part.__name__ for part in parts) or "Answer"
        return named(f"{name}{kind}", properties, self.registry, what=data)

    def _refusals(self) -> list[int]:
        found = {400, 401, 403, 406, 429, 500, 503}
        if "{" in self.path:
            found.add(404)
        if self.method != "GET":
            found |= {402, 409, 413, 415, 422, *({412} if "{" in self.path else ())}
        if self._viewset.action == "wait":
            found |= {408, 409}
        return sorted(found)


def _request_header(name: str, **limits: Any) -> Json:
    schema = {"type": "string", **limits}
    return {"name": name, "in": "header", "description": REQUEST_HEADERS[name], "schema": schema}


def _response(description: str, schema: Json, extra: list[str]) -> Json:
    content = {"application/json": {"schema": schema}}
    return {"description": description, "headers": _headers([*EVERYWHERE, *extra]), "content": content}


def _headers(names: list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def add_what_all_share(result: Json, generator: SchemaGenerator, **_: Any) -> Json:
    """drf-spectacular's hook: the components that no single operation owns, the tags, and where the API is."""
    error = schema_of(ErrorOut, generator.registry)
    components = generator.registry.build({})
    components["headers"] = {
        name: {"description": meaning, "schema": {"type": kind}} for name, (kind, meaning) in HEADERS.items()
    }
    components["securitySchemes"] = CREDENTIALS
    components["responses"] = {}
    for status, meaning in REFUSALS.items():
        codes = [code for code, its in STATUS.items() if its == status]
        extra = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])
        description = f"{meaning}: {', '.join(f'`{code}`' for code in codes)}."
        components["responses"][f"Error{status}"] = _response(description, error, extra)
    views = dict.fromkeys(callback.cls for *_, callback in generator.endpoints or ())
    return result | {
        "components": components,
        "tags": [{"name": tag_of(view), "description": doc(view)} for view in views],
        "servers": [{"url": settings.LAMBDA_BASE_URL}],
    }


@cache
def document() -> Json:
    """The whole OpenAPI document, made once per process."""
    found: Json = SchemaGenerator().get_schema(public=True)
    return found


class OpenApi(ViewSet):
    """This description, for programs."""

    scopes = {"retrieve": "public"}
    bare = True
    renderer_classes = [EnvelopeRenderer]  # a browser saves or shows the file, not a page about it

    def retrieve(self, request: Request) -> Answer[dict[str, Any]]:
        """Get the OpenAPI document."""
        return Answer(document())
