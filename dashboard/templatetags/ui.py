"""The dashboard's vocabulary: small parts that templates are made of (`{% load ui %}`).

Atoms are simple tags (icon, badge, copy, ago, money, field); things with a body are block tags (card, dialog, choices,
empty). Each writes classes of `static/lambda.css` and escapes everything it is given. Nothing here knows a model or a
business rule.
"""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache

import lucide
from django import template
from django.forms import BoundField, Form
from django.template import Context
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import get_random_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

register = template.Library()

TONES = {
    "ok": {"active", "available", "created", "paid", "primary", "ready", "running", "started", "succeeded", "verified"},
    "warn": {"deprecated", "expiring", "paused", "retiring", "unused", "unverified"},
    "bad": {"error", "exceeded", "expired", "failed", "firing", "suspended"},
    "busy": {
        "attaching", "building", "creating", "deleting", "detaching", "pending", "provisioning", "queued", "rebuilding",
        "resizing", "restarting", "restoring", "starting", "stopping",
    },
}  # fmt: skip
TONE_OF = {state: tone for tone, states in TONES.items() for state in states}
UNITS = ((31_536_000, "year"), (2_592_000, "month"), (86_400, "day"), (3_600, "hour"), (60, "minute"))


@lru_cache(maxsize=256)
def _icon(name: str, css: str) -> SafeString:
    # Read from a zip and parsed: worth keeping. ElementTree escapes what it is given.
    return SafeString(lucide._render_icon(name, 16, **{"class": f"icon {css}".strip(), "aria-hidden": "true"}))


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """The outline icon of that lucide name, 1rem square, hidden from screen readers: put words beside it."""
    return _icon(str(name), str(css))


@register.simple_tag
def badge(state: str, label: str = "") -> SafeString:
    """A state as a coloured dot and a word. States that will pass by themselves pulse; unknown ones are grey."""
    word = label or str(state).replace("_", " ").capitalize()
    return format_html(
        '<span class="badge {}"><span class="dot"></span>{}</span>', TONE_OF.get(str(state).lower(), ""), word
    )


@register.simple_tag
def copy(value: object, inline: bool = False, label: str = "Copy") -> SafeString:
    """A line of code with a button that copies it. It is in the page once; without a script a click selects it."""
    return format_html(
        '<span class="copy{}"><code>{}</code>'
        '<button class="button quiet square small needs-js" type="button" data-copy aria-label="{}">{}{}</button>'
        "</span>",
        " inline" if inline else "",
        value,
        label,
        _icon("copy", "idle"),
        _icon("check", "done"),
    )


@register.simple_block_tag
def code(content: str, label: str = "Copy") -> SafeString:
    """The same for a line with template variables in it."""
    return copy(content, label=label)


@register.simple_tag
def ago(moment: datetime | None, never: str = "Never") -> SafeString:
    """How long ago or how far ahead `moment` is, with the exact UTC time on hover; `never` for None."""
    if moment is None:
        return format_html('<span class="faint">{}</span>', never)
    utc = moment.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>',
        f"{utc:%Y-%m-%dT%H:%M:%SZ}",
        f"{utc:%Y-%m-%d %H:%M:%S}",
        _distance((utc - datetime.now(UTC)).total_seconds()),
    )


def _distance(seconds: float) -> str:
    for size, unit in UNITS:
        if (count := round(abs(seconds) / size)) >= 1 and abs(seconds) >= size:
            words = f"{count} {unit}{'' if count == 1 else 's'}"
            return f"in {words}" if seconds > 0 else f"{words} ago"
    return "in a moment" if seconds > 0 else "just now"


@register.simple_tag
def money(amount: Decimal | str | float | None, places: int = 6, currency: str = "USD") -> str:
    """`$1,234.50`: two decimals, more (up to `places`) only where the amount has them; an em dash for None."""
    try:
        value = Decimal(str(amount))
    except InvalidOperation:
        return "—"
    if not value.is_finite():
        return "—"
    whole, _, fraction = f"{abs(value):,.{places}f}".partition(".")
    number = f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"
    sign = "−" if value < 0 else ""
    return f"{sign}${number}" if currency == "USD" else f"{sign}{number} {currency}"


@register.simple_tag(takes_context=True)
def theme(context: Context) -> str:
    """`light` or `dark` where the reader chose one (lambda.js writes the cookie), else nothing: the system decides."""
    request = context.get("request")
    chosen = request.COOKIES.get("theme") if request else None
    return chosen if chosen in ("light", "dark") else ""


@register.simple_tag(takes_context=True)
def nav(context: Context, name: str, label: str, symbol: str) -> SafeString:
    """A link of the side bar, marked current on its page and below it; nothing while no page has that URL name."""
    try:
        url = reverse(name)
    except NoReverseMatch:
        return SafeString("")
    request = context.get("request")
    path = request.path if request else ""
    here = path == url or (url != "/" and path.startswith(url.rstrip("/") + "/"))
    current = SafeString(f' aria-current="{"page" if path == url else "true"}"' if here else "")
    return format_html('<a href="{}"{}>{}{}</a>', url, current, _icon(str(symbol), ""), label)


@register.simple_tag
def field(bound: BoundField, label: str = "", hint: str = "") -> SafeString:
    """One form field: label, control, hint and errors, tied together for screen readers."""
    if bound.is_hidden:
        return bound.as_hidden()
    words, hint_html = label or bound.label, _hint(bound, hint)
    if str(bound.field.widget.attrs.get("placeholder", "")).lower().startswith(str(words).lower()):
        bound.field.widget.attrs["placeholder"] = ""  # it would say the label once more
    if getattr(bound.field.widget, "input_type", "") == "checkbox" and not bound.use_fieldset:
        text = format_html("<span>{}{}</span>", words, hint_html)
        return format_html('<div class="field"><label class="check">{}{}</label>{}</div>', bound, text, bound.errors)
    optional = "" if bound.field.required else SafeString(' <span class="hint">optional</span>')
    if bound.use_fieldset:
        return format_html(
            '<fieldset class="field"{}><legend>{}{}</legend>{}{}{}</fieldset>',
            _described(bound), words, optional, bound, hint_html, bound.errors,
        )  # fmt: skip
    return format_html(
        '<div class="field"><label for="{}">{}{}</label>{}{}{}</div>',
        bound.id_for_label, words, optional, bound, hint_html, bound.errors,
    )  # fmt: skip


def _hint(bound: BoundField, hint: str = "") -> SafeString | str:
    # On the field itself, from which Django writes the aria-describedby that names this id.
    bound.help_text = hint or bound.help_text
    if not bound.help_text:
        return ""
    return format_html('<span class="hint" id="{}_helptext">{}</span>', bound.auto_id, bound.help_text)


def _described(bound: BoundField) -> SafeString | str:
    return format_html(' aria-describedby="{}"', bound.aria_describedby) if bound.aria_describedby else ""


@register.simple_tag
def once() -> SafeString:
    """Goes into a form whose view's `post` is decorated with `dashboard.forms.once`."""
    return format_html('<input type="hidden" name="once" value="{}">', get_random_string(22))


@register.simple_tag
def fields(form: Form) -> SafeString:
    """Every field of a form, after what is wrong with the form as a whole."""
    return format_html("{}{}", form_errors(form), format_html_join("", "{}", ((field(bound),) for bound in form)))


@register.simple_tag
def form_errors(form: Form) -> SafeString:
    """What is wrong with the form as a whole; nothing when nothing is."""
    errors = form.non_field_errors()
    if not errors:
        return SafeString("")
    return format_html('<div class="notice bad" role="alert">{}{}</div>', _icon("circle-alert", ""), errors)


@register.simple_block_tag
def choices(content: str, bound: BoundField, label: str = "", hint: str = "") -> SafeString:
    """A group of hand-laid radios or tick boxes under the legend, hint and errors of `bound`."""
    hint_html = _hint(bound, hint)
    return format_html(
        '<fieldset class="field"{}><legend>{}</legend>{}{}{}</fieldset>',
        _described(bound), label or bound.label, content, hint_html, bound.errors,
    )  # fmt: skip


@register.simple_block_tag
def card(content: str, title: str = "", note: str = "", flush: bool = False) -> SafeString:
    """A framed part of a page; `flush` lets a table or console reach the frame."""
    head = format_html("<h2>{}</h2>", title) if title else ""
    head = format_html("{}<p>{}</p>", head, note) if note else head
    head = format_html("<header>{}</header>", head) if head else ""
    body = content if flush else format_html('<div class="body">{}</div>', content)
    return format_html('<section class="card">{}{}</section>', head, body)


@register.simple_block_tag
def dialog(content: str, id: str, title: str, wide: bool = False) -> SafeString:
    """A dialog that `<button type="button" popovertarget="{id}">` opens: a modal, or without a script a popover."""
    return format_html(
        '<dialog id="{0}"{3} popover aria-labelledby="{0}-title">'
        '<header><h2 id="{0}-title">{1}</h2></header><div class="body">{2}</div></dialog>',
        id,
        title,
        content,
        SafeString(' class="wide"') if wide else "",
    )


@register.simple_block_tag
def empty(content: str, title: str, symbol: str) -> SafeString:
    """What a list shows before its first row: one sentence that teaches, one thing to do."""
    return format_html('<div class="empty">{}<h2>{}</h2>{}</div>', _icon(str(symbol), ""), title, content)


@register.simple_block_tag
def notice(content: str, tone: str = "", symbol: str = "info") -> SafeString:
    """A sentence the reader must not miss; tone is ok, warn, bad, busy or nothing."""
    return format_html('<div class="notice {}">{}<div>{}</div></div>', tone, _icon(str(symbol), ""), content)


@register.filter
def pattern(value: str) -> str:
    """`value` as an HTML `pattern` that matches it alone. Not re.escape: browsers refuse to escape ordinary letters."""
    return "".join(f"\\{c}" if c in r"\^$.*+?()[]{}|/" else c for c in str(value))


@register.filter
def tone(event_type: str) -> str:
    """The tone of what happened: `instance.failed` is bad, `instance.ready` ok, most things nothing."""
    return TONE_OF.get(event_type.rpartition(".")[2], "")


@register.filter
def happened(event_type: str, whole: bool = False) -> str:
    """`instance.started` in words: `Started`, or `Instance started` where the noun is not plain from the page."""
    words = event_type if whole else event_type.rpartition(".")[2]
    for plain, spoken in ((".", " "), ("_", " "), ("oauth", "OAuth"), ("api ", "API "), ("ssh key", "SSH key")):
        words = words.replace(plain, spoken)
    return words[:1].upper() + words[1:]


@register.filter
def browser(user_agent: str) -> str:
    """`Firefox on Linux`, as far as a browser's own words can be believed."""
    names = {"Edg": "Edge", "OPR": "Opera", "Firefox": "Firefox", "Chrome": "Chrome", "Safari": "Safari"}
    systems = {
        "iPhone": "iPhone",
        "iPad": "iPad",
        "Android": "Android",
        "Windows": "Windows",
        "Mac OS": "macOS",
        "Linux": "Linux",
    }
    found = [next((word for mark, word in marks.items() if mark in user_agent), "") for marks in (names, systems)]
    return " on ".join(word for word in found if word) or user_agent[:60] or "Unknown"


@register.filter
def memory(megabytes: int) -> str:
    """`512 MB`, `1 GB`, `1.5 GB`: of 1,024 MB each, as the catalogue counts."""
    return f"{megabytes / 1024:g} GB" if megabytes >= 1024 else f"{megabytes} MB"


@register.filter
def lasted(microseconds: int | None) -> str:
    """`0.42 ms`, `12 ms`, `3.2 s`, `2 min 5 s`; an em dash for None."""
    if microseconds is None:
        return "—"
    seconds = microseconds / 1_000_000
    if seconds < 1:
        return f"{seconds * 1000:.3g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.3g} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
