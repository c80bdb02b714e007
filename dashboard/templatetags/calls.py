"""With each button the API call that does the same (`{% load calls %}`): `call` beside a form, `calls` for a page.

What a call looks like in each language is in `dashboard/calls.py`.
"""

from collections.abc import Iterable
from typing import Any

from django import template
from django.conf import settings
from django.template import Context
from django.utils.crypto import get_random_string
from django.utils.safestring import SafeString

from dashboard.calls import LANGUAGES, Call
from dashboard.calls import curl as curl_line

register = template.Library()


@register.inclusion_tag("dashboard/_call.html", takes_context=True)
def call(
    context: Context, method: str, *parts: object, title: str = "", body: Any = None, open: bool = False, **fields: Any
) -> Any:
    """A disclosure with one call: `{% call "POST" "/v1/instances" instance.public_id "resize" restart=True %}`.

    The `parts` are joined to its path; further names are the fields of its body, or `body` is the whole of it. `open`
    shows it at once.
    """
    path = "/".join(str(part).rstrip("/") for part in parts)
    return shown(context, Call(title, method, path, body if body is not None else fields or None)) | {"open": open}


@register.inclusion_tag("dashboard/_calls.html", takes_context=True)
def calls(context: Context, calls: Iterable[Call], title: str = "The same by API", id: str = "") -> Any:
    """A button and the dialog it opens, with every call in `calls` (dashboard.calls.Call): for the head of a page.

    With an `id` the dialog alone, where the button has to stand elsewhere: `<button popovertarget="{id}">`.
    """
    name = id or f"calls-{get_random_string(6)}"
    return {"id": name, "button": not id, "title": title, "calls": [shown(context, one) for one in calls]}


def shown(context: Context, call: Call) -> dict[str, Any]:
    """What `_call.html` shows of a call. Each has radios of its own, whose group needs a name of its own."""
    request = context.get("request")
    base_url = f"{request.scheme}://{request.get_host()}" if request else settings.LAMBDA_BASE_URL
    chosen = request.COOKIES.get("language") if request else None
    return {
        "group": f"call-{get_random_string(6)}",
        "call": call,
        "path": call.path.partition("?")[0],
        "samples": call.samples(base_url),
        "chosen": chosen if chosen in LANGUAGES else "curl",
    }


@register.simple_tag
def curl(method: str, path: str, body: str = "") -> SafeString | str:
    """One request of this installation's as a line of curl; `body` is JSON."""
    return curl_line(method, settings.LAMBDA_BASE_URL + path, body)
