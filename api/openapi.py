"""OpenAPI 3.1 from the code: what a view's class attributes and annotations say, as one document.

A view says everything once, where it is used: `scopes`, `query` and `takes` (what an action needs, understands and
reads), its docstrings, and return annotations such as `Answer[Page[InstanceOut]]`. Here is only how that is written as
OpenAPI, and what all operations share: errors, headers, credentials. The page at /docs is `config/docs.py`.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from django.conf import settings
from drf_spectacular.drainage import warn
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent, resolve_type_hint
from rest_framework import serializers
from rest_framework.request import Request

from api.errors import STATUS
from api.renderers import Answer, MetadataOut, Page, PaginationOut
from api.serializers import Input
from api.views import ViewSet

Json = dict[str, Any]

ANSWERS = {200: "Done", 201: "Made", 202: "Accepted: it will be so"}
# What each status of a refusal means; the codes that may come with it are in `errors.STATUS`.
REFUSALS = {
    400: "The request says something that cannot be",
    401: "No valid credential",
    402: "The budget is used up",
    403: "The credential may not do this",
    404: "There is no such thing in this account",
    406: "The answer cannot be given in the format asked for",
    408: "It did not happen in time",
    409: "Not in this state",
    412: "It was changed in the meantime",
    413: "The body is too large",
    415: "The body is not JSON",
    422: "The Idempotency-Key was used with another request",
    429: "Too many requests",
    500: "A fault on our side",
    503: "Not available for the moment",
}
HEADERS: dict[str, Json] = {
    "X-Request-Id": {"description": "This request in our log.", "schema": {"type": "string"}},
    "X-RateLimit-Limit": {"description": "Requests a clock hour.", "schema": {"type": "integer"}},
    "X-RateLimit-Remaining": {"description": "How many of them are left.", "schema": {"type": "integer"}},
    "X-RateLimit-Reset": {"description": "When the hour ends, in epoch seconds.", "schema": {"type": "integer"}},
    "Retry-After": {"description": "Seconds to wait before trying again.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "Present when this is the stored answer to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "const": "true"},
    },
}
EVERYWHERE = ["X-Request-Id", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]
# Query parameters that mean the same wherever a view names them.
PARAMETERS: dict[str, Json] = {
    "page": {"type": "integer", "minimum": 1, "default": 1, "description": "Which page, from 1."},
    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20, "description": "How many on a page."},
}
CREDENTIALS: dict[str, Json] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer λ_sk_…`"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "`X-API-Key: λ_sk_…`"},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Any text of your own. The same request with the same key within 24 hours is carried out once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
SUMMARIES = {
    "list": "List {many}",
    "get": "Get {one}",
    "create": "Create {one}",
    "update": "Change {one}",
    "delete": "Delete {one}",
}
ACRONYMS = {"Api": "API", "Ip": "IP", "Ips": "IPs", "Ssh": "SSH"}


class FieldErrorOut(TypedDict):
    field: Annotated[str, "Which field, with dots for what is inside of another."]
    message: str
    value: Annotated[Any, "What was sent."]
    allowed_values: NotRequired[list[Any]]


class ErrorDetailsOut(TypedDict, total=False):
    """Facts a program may act on; which ones, depends on the code."""

    field: str
    value: Any
    allowed_values: list[Any]
    errors: Annotated[list[FieldErrorOut], "Everything that is wrong with the request."]


class ErrorBodyOut(TypedDict):
    code: Annotated[str, {"enum": list(STATUS)}]
    message: Annotated[str, "For people: what is wrong, and what is allowed."]
    details: NotRequired[ErrorDetailsOut]
    retry_after: NotRequired[Annotated[int, "Seconds."]]
    required_scopes: NotRequired[list[str]]
    suggestion: NotRequired[Annotated[str, "What to do next."]]


class ErrorOut(TypedDict):
    success: Annotated[bool, {"const": False}]
    error: ErrorBodyOut
    metadata: MetadataOut


def schema_of(hint: Any, registry: ComponentRegistry) -> Json:
    """JSON Schema of a type; a TypedDict `InstanceOut` becomes the component `Instance`.

    `Annotated[…]` adds to it: a text is the description, a dict is further keywords.
    """
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        notes = [{"description": note} if isinstance(note, str) else note for note in arguments[1:]]
        return schema_of(arguments[0], registry) | {key: note[key] for note in notes for key in note}
    if origin is NotRequired:
        return schema_of(arguments[0], registry)
    if origin in (Union, UnionType):
        options = [schema_of(option, registry) for option in arguments if option is not NoneType]
        if NoneType not in arguments:
            return {"oneOf": options}
        if len(options) == 1 and "type" in options[0]:
            return options[0] | {"type": [options[0]["type"], "null"]}
        return {"oneOf": [*options, {"type": "null"}]}
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0], registry)}
    if origin is dict:
        return {"type": "object", "additionalProperties": schema_of(arguments[1], registry)}
    if hint is Any:
        return {}
    return _component(hint, registry) if is_typeddict(hint) else resolve_type_hint(hint)


def _component(shape: Any, registry: ComponentRegistry) -> Json:
    component = ResolvedComponent(shape.__name__.removesuffix("Out"), ResolvedComponent.SCHEMA, object=shape)
    if component not in registry:
        registry.register(component)
        fields = get_type_hints(shape, include_extras=True)
        component.schema = {
            "type": "object",
            "properties": {name: schema_of(fields[name], registry) for name in fields},
        }
        if required := [name for name in fields if name in shape.__required_keys__]:
            component.schema["required"] = required
        if text := _doc(shape):
            component.schema["description"] = text
    return component.ref


def _named(name: str, properties: Json, registry: ComponentRegistry, *, what: Any) -> Json:
    component = ResolvedComponent(name, ResolvedComponent.SCHEMA, object=what)
    if component not in registry:
        component.schema = {"type": "object", "properties": properties, "required": list(properties)}
        registry.register(component)
    return component.ref


def _doc(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")


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
        if text := _doc(self._action):
            return text.partition("\n")[0].rstrip(".")
        many = _in_text(tag_of(type(self._viewset)))
        article = "an" if many[0] in "aeio" or many[0] in "AS" else "a"  # an API key, an SSH key
        words = SUMMARIES.get(self._verb, f"{self._verb.replace('_', ' ').capitalize()} {{one}}")
        return words.format(many=many, one=f"{article} {many.removesuffix('s')}")

    def get_description(self) -> str:  # type: ignore[override]  # as drf-spectacular's own, which differs from DRF's
        return _doc(self._action).partition("\n")[2].strip()

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
        return found if self.method == "GET" else [*found, IDEMPOTENCY_KEY]

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
        found = {}
        for answer in self._answers():
            (data,) = get_args(answer)
            found[str(get_origin(answer).code)] = {
                "description": ANSWERS[get_origin(answer).code],
                "headers": _headers([*EVERYWHERE, *(["Idempotent-Replayed"] if self.method != "GET" else [])]),
                "content": {"application/json": {"schema": self._enveloped(data)}},
            }
        for status in self._refusals():
            found[str(status)] = {"$ref": f"#/components/responses/Error{status}"}
        return found

    def _answers(self) -> Iterator[Any]:
        """The kinds of answer in the action's return annotation."""
        hint = get_type_hints(self._action, include_extras=True).get("return")
        for answer in get_args(hint) if get_origin(hint) in (Union, UnionType) else [hint]:
            if issubclass(get_origin(answer) or NoneType, Answer):
                yield answer
            else:
                warn(f"{self._action.__qualname__} must be annotated with what it answers, e.g. -> Answer[ThingOut]")

    def _enveloped(self, data: Any) -> Json:
        page = get_args(data)[0] if get_origin(data) is Page else None
        schema = schema_of(list[page] if page else data, self.registry)  # type: ignore[valid-type]
        if self._viewset.bare:
            return schema
        name = (page or data).__name__.removesuffix("Out") if is_typeddict(page or data) else self._camel()
        properties = {"success": {"type": "boolean", "const": True}, "data": schema}
        if page:
            properties["pagination"] = schema_of(PaginationOut, self.registry)
        properties["metadata"] = schema_of(MetadataOut, self.registry)
        return _named(f"{name}{'Page' if page else 'Answer'}", properties, self.registry, what=data)

    def _camel(self) -> str:
        return "".join(part.capitalize() for part in self.get_operation_id().split("_"))

    def _refusals(self) -> list[int]:
        found = {400, 401, 403, 406, 429, 500, 503}
        if "{" in self.path:
            found.add(404)
        if self.method != "GET":
            found |= {402, 409, 413, 415, 422}
        if self._viewset.action == "wait":
            found |= {408, 409}
        return sorted(found)


def _headers(names: list[str]) -> Json:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def add_what_all_share(result: Json, generator: SchemaGenerator, **_: Any) -> Json:
    """drf-spectacular's hook: the components that no single operation owns, the tags, and where the API is."""
    error = schema_of(ErrorOut, generator.registry)
    components = generator.registry.build({})
    components["headers"] = HEADERS
    components["securitySchemes"] = CREDENTIALS
    components["responses"] = {}
    for status, meaning in REFUSALS.items():
        codes = [code for code, its in STATUS.items() if its == status]
        extra = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])
        components["responses"][f"Error{status}"] = {
            "description": f"{meaning}: {', '.join(f'`{code}`' for code in codes)}.",
            "headers": _headers([*EVERYWHERE, *extra]),
            "content": {"application/json": {"schema": error}},
        }
    views = dict.fromkeys(callback.cls for *_, callback in generator.endpoints or ())
    return result | {
        "components": components,
        "tags": [{"name": tag_of(view), "description": _doc(view)} for view in views],
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

    def retrieve(self, request: Request) -> Answer[dict[str, Any]]:
        """Get the OpenAPI document."""
        return Answer(document())
