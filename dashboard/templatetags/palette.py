"""Where one can go, in templates (`{% load palette %}`): the side bar's pages, the way to this one, the shortcuts."""

from typing import Any

from django import template
from django.template import Context
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard.palette import GROUPS, Place, places

register = template.Library()


@register.simple_tag(takes_context=True)
def reachable(context: Context) -> list[Place]:
    """The pages and actions that are open to the reader."""
    membership = getattr(context.get("request"), "membership", None)
    return places(membership.scopes if membership else ())


@register.inclusion_tag("dashboard/_navigation.html", takes_context=True)
def navigation(context: Context) -> dict[str, Any]:
    path = context["request"].path
    pages = [place for place in reachable(context) if not place.action]
    groups = [(group, [(place, _here(place, path)) for place in pages if place.group == group]) for group in GROUPS]
    return {"groups": [(group, links) for group, links in groups if links]}


@register.simple_tag(takes_context=True)
def crumb(context: Context) -> SafeString:
    """The page's own crumb, where it is one of the side bar's; other pages say theirs in the block `crumbs`."""
    path = context["request"].path
    found = next((place for place in reachable(context) if place.url == path), None)
    return format_html('<li aria-current="page">{}</li>', found.label) if found else SafeString("")


def _here(place: Place, path: str) -> str:
    """Whether the address is the page (`page`), or below it (`true`)."""
    if path == place.url:
        return "page"
    return "true" if place.url != "/" and path.startswith(place.url.rstrip("/") + "/") else ""
