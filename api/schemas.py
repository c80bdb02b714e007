"""JSON Schema from types: what the TypedDicts of answers and refusals look like in the OpenAPI document.

Operations are in `api/openapi.py`; the shapes themselves stand beside the functions that make them.
"""

import inspect
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from drf_spectacular.plumbing import ComponentRegistry, ResolvedComponent, resolve_type_hint

from api.errors import STATUS
from api.renderers import EstimateOut, MetadataOut, like

Json = dict[str, Any]


class FieldErrorOut(TypedDict):
    field: Annotated[str, like("region"), "Which field, with dots for what is inside of another."]
    message: Annotated[str, like("Invalid region specified")]
    value: Annotated[Any, like("mars-1"), "What was sent."]
    allowed_values: NotRequired[list[Any]]


class ErrorDetailsOut(TypedDict, total=False):
    """Facts a program may act on; which ones, depends on the code."""

    field: Annotated[str, like("region")]
    value: Annotated[Any, like("mars-1")]
    allowed_values: list[Any]
    errors: Annotated[list[FieldErrorOut], "Everything that is wrong with the request."]


class ErrorBodyOut(TypedDict):
    code: Annotated[str, {"enum": list(STATUS)}]
    message: Annotated[str, like("Invalid region specified"), "For people: what is wrong, and what is allowed."]
    details: NotRequired[ErrorDetailsOut]
    retry_after: NotRequired[Annotated[int, "Seconds."]]
    required_scopes: NotRequired[Annotated[list[str], like(["instances:create"])]]
    suggestion: NotRequired[Annotated[str, like("Use a key that has instances:create."), "What to do next."]]


class ErrorOut(TypedDict):
    success: Annotated[bool, like(False)]
    error: ErrorBodyOut
    metadata: MetadataOut


class RehearsalMetadataOut(MetadataOut):
    estimate: EstimateOut


def schema_of(hint: Any, registry: ComponentRegistry) -> Json:
    """JSON Schema of a type; a TypedDict `InstanceOut` becomes the component `Instance`.

    `Annotated[…]` adds to it: a text is the description, a dict is further keywords. With `total=False` it is open.
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
        if not shape.__total__:
            component.schema["additionalProperties"] = True
        if text := doc(shape):
            component.schema["description"] = text
    return component.ref


def named(name: str, properties: Json, registry: ComponentRegistry, *, what: Any) -> Json:
    component = ResolvedComponent(name, ResolvedComponent.SCHEMA, object=what)
    if component not in registry:
        component.schema = {"type": "object", "properties": properties, "required": list(properties)}
        registry.register(component)
    return component.ref


def doc(thing: Any) -> str:
    return inspect.cleandoc(thing.__doc__ or "")
