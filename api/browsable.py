"""The API in a browser: every answer as a page that shows how a program would ask, and sends what a form cannot.

The page is `templates/rest_framework/api.html`; who is signed in to the dashboard acts as themselves, with CSRF.
"""

import json
from typing import Any

from rest_framework.renderers import BrowsableAPIRenderer

from api.renderers import EnvelopeRenderer, Page, indented


class BrowsableRenderer(BrowsableAPIRenderer):
    def get_default_renderer(self, view: Any) -> Any:
        return EnvelopeRenderer()

    def get_rendered_html_form(self, data: Any, view: Any, method: str, request: Any) -> None:
        return None  # a body as JSON shows exactly what a client would send

    def get_raw_data_form(self, data: Any, view: Any, method: str, request: Any) -> None:
        return None

    def get_filter_form(self, data: Any, view: Any, request: Any) -> None:
        return None

    def get_content(self, renderer: Any, data: Any, accepted_media_type: str | None, renderer_context: Any) -> str:
        return indented(data, bare=getattr(renderer_context["view"], "bare", False))

    def get_context(self, data: Any, accepted_media_type: str | None, renderer_context: Any) -> dict[str, Any]:
        view, request = renderer_context["view"], renderer_context["request"]
        context: dict[str, Any] = super().get_context(data, accepted_media_type, renderer_context)
        context["calls"] = list(_calls(view))
        if view.schema and getattr(view, "action", None) in view.scopes:
            context["operation"] = view.schema.get_operation_id()
        if isinstance(data, Page):
            shape = data.as_json()
            context["newer"] = _page(request, data.page - 1) if shape["has_prev"] else None
            context["older"] = _page(request, data.page + 1) if shape["has_next"] else None
        return context


def _calls(view: Any) -> Any:
    """(method, example of its body) of all that this address takes."""
    for method, action in getattr(view, "action_map", {}).items():
        if method not in ("head", "options"):
            takes = view.takes.get(action)
            body = json.dumps(takes.example, indent=2, ensure_ascii=False) if takes and takes.example else ""
            yield method.upper(), body


def _page(request: Any, number: int) -> str:
    query = request.query_params.copy()
    query["page"] = number
    return f"{request.path}?{query.urlencode()}"
