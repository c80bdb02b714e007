"""The OpenAPI document: that it is one, that it says what the code says, and that what is missing is noticed."""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest
from django.core.management import CommandError, call_command
from django.urls import path
from drf_spectacular.plumbing import ComponentRegistry
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from api.errors import REFUSALS, STATUS
from api.openapi import document
from api.renderers import Answer, like
from api.schemas import schema_of
from api.views import ViewSet
from tests.make import Api

# Names that only these tests' own addresses have.
urlpatterns: list[Any] = []


def operations() -> list[dict[str, Any]]:
    return [operation for item in document()["paths"].values() for operation in item.values()]


def test_the_document_is_valid_and_nothing_in_it_had_to_be_guessed(tmp_path):
    call_command("spectacular", validate=True, fail_on_warn=True, file=str(tmp_path / "openapi.yaml"))
    assert document()["openapi"].startswith("3.1")


@pytest.mark.django_db
@pytest.mark.parametrize("accept", ["*/*", "text/html,application/xhtml+xml,*/*;q=0.8"])
def test_anyone_may_read_it_as_plain_json(accept):
    response = Api().get("/openapi.json", HTTP_ACCEPT=accept)
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.json() == document()
    validate_schema(response.json())


def test_each_operation_says_who_may_use_it_and_what_goes_wrong():
    for operation in operations():
        scope = operation.get("x-required-scope")
        held = [next(iter(way.values()), []) for way in operation["security"]]
        assert ([] in held and {} in operation["security"]) or held == [[scope] if scope else []] * 2
        assert {"400", "401", "403", "429", "500", "503"} <= set(operation["responses"])
        assert operation["summary"][0].isupper()


def test_every_error_code_belongs_to_a_documented_status():
    rare = {405, 410}  # of addresses and methods that no operation has
    assert set(STATUS.values()) - rare == set(REFUSALS)
    texts = " ".join(answer["description"] for answer in document()["components"]["responses"].values())
    assert [code for code, status in STATUS.items() if status not in rare and f"`{code}`" not in texts] == []


def test_every_body_has_an_example_that_its_own_schema_allows():
    found = 0
    for operation in operations():
        if body := operation.get("requestBody"):
            schema = body["content"].get("application/json", {}).get("schema", {})
            if "$ref" not in schema:
                continue  # a body that is taken as it is, whatever is in it
            shape = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            if not shape.get("properties"):
                continue
            found += 1
            (example,) = shape.get("examples", [{}])  # nothing need be said where nothing is required
            Draft202012Validator({"components": document()["components"], **schema}).validate(example)
    assert found >= 8


def test_every_example_of_an_answer_is_what_its_schema_allows():
    for name, shape in document()["components"]["schemas"].items():
        for field, schema in shape.get("properties", {}).items():
            for example in schema.get("examples", []):
                errors = list(
                    Draft202012Validator({"components": document()["components"], **schema}).iter_errors(example)
                )
                assert errors == [], f"{name}.{field}"


class InnerOut(TypedDict):
    port: int


class ThingOut(TypedDict):
    """A thing."""

    name: Annotated[str, like("web-1"), "For people."]
    kind: Literal["a", "b"]
    at: datetime | None
    inner: InnerOut | None
    many: list[InnerOut]
    tags: dict[str, str]
    secret: NotRequired[str]


def test_a_typed_dict_becomes_a_component_with_what_is_said_of_its_members():
    registry = ComponentRegistry()
    assert schema_of(ThingOut, registry) == {"$ref": "#/components/schemas/Thing"}
    schemas = registry.build({})["schemas"]
    thing = schemas["Thing"]
    assert thing["description"] == "A thing."
    assert thing["required"] == ["name", "kind", "at", "inner", "many", "tags"]
    inner = {"$ref": "#/components/schemas/Inner"}
    assert thing["properties"] == {
        "name": {"type": "string", "examples": ["web-1"], "description": "For people."},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "at": {"type": ["string", "null"], "format": "date-time"},
        "inner": {"oneOf": [inner, {"type": "null"}]},
        "many": {"type": "array", "items": inner},
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "secret": {"type": "string"},
    }
    assert schemas["Inner"]["properties"] == {"port": {"type": "integer"}}


def test_an_export_is_documented_beside_the_pages_that_it_replaces():
    content = document()["paths"]["/v1/account/audit-log"]["get"]["responses"]["200"]["content"]
    assert set(content) == {"application/json", "application/x-ndjson"}
    assert content["application/x-ndjson"]["schema"] == {"$ref": "#/components/schemas/AuditEntry"}


class Silent(ViewSet):
    """A view that says too little."""

    scopes = {"list": "public", "search": "public"}
    query = {"search": {"colour"}}

    def list(self, request):
        return Answer([])

    def search(self, request) -> Answer[ThingOut]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("action", "complaint"),
    [("list", "Silent.list must be annotated"), ("search", "Silent.query does not describe 'colour'")],
)
def test_what_a_view_does_not_say_is_asked_for(action, complaint, settings, capsys, tmp_path):
    urlpatterns[:] = [path("v1/things", Silent.as_view({"get": action}))]
    with pytest.raises(CommandError, match="warnings"):
        call_command("spectacular", fail_on_warn=True, urlconf=__name__, file=str(tmp_path / "openapi.yaml"))
    assert complaint in capsys.readouterr().err
