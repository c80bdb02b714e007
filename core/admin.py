from collections.abc import Callable, Iterable
from typing import Any

from django import forms
from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html

from core import events, ids
from core.db import atomic_write
from core.errors import LambdaError
from core.models import Counter, Event, Resource

MOST_COUNTED = 10_000  # rows: who looks for one of more searches
VIAS = ("api", "dashboard", "admin", "cli", "system")
Verb = Callable[..., Any]


class UpToMany(Paginator):  # type: ignore[type-arg]  # Django's own takes none when it runs
    """Counting millions of rows for the foot of a page would cost more than the page."""

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[:MOST_COUNTED].count())


def one_of(field: str, values: Callable[[], Iterable[str]]) -> type[admin.SimpleListFilter]:
    """A filter whose choices are known; Django's own would read the whole table to find them."""

    class OneOf(admin.SimpleListFilter):
        title = parameter_name = field

        def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
            return [(value, value) for value in values()]

        def queryset(self, request: HttpRequest, queryset: Any) -> Any:
            return queryset.filter(**{field: self.value()}) if self.value() else queryset

    return OneOf


@admin.display(description="account")
def account_of(row: Any) -> str:
    """A column: the account's name where the list reads it along, else its id; a link to its page."""
    if row.account_id is None:
        return "—"
    words = row.account if hasattr(row, "account") else ids.encode("acct", row.account_id)
    return format_html('<a href="{}">{}</a>', reverse("admin:accounts_account_change", args=[row.account_id]), words)


def badge(state: str, label: str = "") -> str:
    """A column: a state as the dashboard shows it."""
    return render_to_string("admin/badge.html", {"state": state, "label": label})


class Operated(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's own takes none when it runs
    """A noun that operators look at. Its actions call verbs, for rows of the list or, as buttons, for one on its page.

    An action names `permissions=["operate"]` and calls `carry_out`, or `ask` where it must know something or be sure.
    """

    list_per_page = 50
    show_full_result_count = False
    paginator = UpToMany
    actions: list[str]

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}"))

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        """Also by the public id, which is what customers send."""
        try:
            key = self.model.key(search_term.strip())
            return queryset.filter(**{getattr(self.model, "key_name", "pk"): key}), False
        except (AttributeError, ValueError):
            found: tuple[Any, bool] = super().get_search_results(request, queryset, search_term)
            return found

    def offers(self, action: str, row: Any) -> bool:
        """Whether the button makes sense on the page of this row."""
        return True

    def render_change_form(self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any) -> Any:
        row = kwargs.get("obj")
        if row is not None:
            context["verbs"] = [
                (name, action[2])
                for name, action in self.get_actions(request).items()
                if action and name != "delete_selected" and self.offers(name, row)
            ]
        return super().render_change_form(request, context, *args, **kwargs)

    def response_action(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Any:
        """Back to the row from whose page the button came."""
        answer = super().response_action(request, queryset, *args, **kwargs)
        here = isinstance(answer, HttpResponseRedirect) and answer.url == request.get_full_path()
        key = request.POST.get("_selected_action") if here and "of_row" in request.POST else None
        if key and self.get_object(request, key):
            return HttpResponseRedirect(self._url("change", key))
        return answer

    def carry_out(self, request: HttpRequest, rows: Iterable[Any], verb: Verb, done: str) -> None:
        """Call `verb(row)` for each. What it refuses is said with the row's name; the others are done all the same."""
        count = 0
        for row in rows:
            try:
                verb(row)
            except LambdaError as refused:
                messages.error(request, f"{row}: {refused.message}")
            else:
                count += 1
        if count:
            messages.success(request, done if count == 1 else f"{count} × {done[:1].lower()}{done[1:]}")

    def ask(
        self,
        request: HttpRequest,
        rows: Any,
        verb: Verb,
        *,
        title: str,
        note: str,
        done: str,
        form: type[forms.Form] = forms.Form,
    ) -> HttpResponse | None:
        """A page that says what an action does, to what, and asks for what it needs; then `verb(row, **answers)`."""
        asked = form(request.POST if "sure" in request.POST else None)
        if asked.is_bound and asked.is_valid():
            self.carry_out(request, rows, lambda row: verb(row, **asked.cleaned_data), done)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": title,
            "note": note,
            "opts": self.opts,
            "form": asked,
            "rows": list(rows[:20]),
            "kept": [(name, value) for name in KEPT for value in request.POST.getlist(name)],
            "back": self._url("change", request.POST["_selected_action"])
            if "of_row" in request.POST
            else self._url("changelist"),
        }
        return TemplateResponse(request, "admin/ask.html", context, status=422 if asked.is_bound else 200)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Django opens a transaction round a form; ours comes first, as verbs within take the writers' lock."""
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        try:
            with atomic_write():
                return super().changeform_view(request, *args, **kwargs)
        except LambdaError as refused:
            messages.error(request, refused.message)
            return HttpResponseRedirect(request.get_full_path())

    def delete_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if request.method != "POST":
            return super().delete_view(request, *args, **kwargs)
        with atomic_write():
            return super().delete_view(request, *args, **kwargs)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if "_save" not in request.POST:  # each verb of an action is a transaction of its own
            return super().changelist_view(request, *args, **kwargs)
        with atomic_write():
            return super().changelist_view(request, *args, **kwargs)

    def _url(self, page: str, *arguments: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}", args=arguments)


KEPT = ("action", "_selected_action", "select_across", "of_row")  # fields that lead back to the same action


class ReadOnly(Operated):
    """Facts: to be read, never edited."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class NounFilter(admin.SimpleListFilter):
    title = parameter_name = "noun"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        nouns = sorted({type.partition(".")[0] for type in events.declared(internal=True)})
        return [(noun, noun.replace("_", " ")) for noun in nouns]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset.filter(type__startswith=f"{self.value()}.") if self.value() else queryset


@admin.register(Event)
class EventAdmin(ReadOnly):
    list_display = ["at", "type", "about", account_of, "actor_name", "via", "ip", "request_id"]
    list_filter = [NounFilter, one_of("via", lambda: VIAS)]
    search_fields = ["request_id__exact", "actor_name"]
    search_help_text = "The id of an account, of anything in one, of a user, a key or a request; or an actor's name."

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        text = search_term.strip()
        prefix = text.partition("_")[0]
        try:
            key = ids.decode(prefix, text)
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        if prefix == "req":
            return queryset.filter(request_id=text), False
        found = Q(id=key) | Q(account_id=key) | Q(subject_id=key)
        if prefix in ("user", "ak", "tok"):  # not of others: what an actor did is found by reading the whole log
            found |= Q(actor_id=text)
        return queryset.filter(found), False

    @admin.display(description="about")
    def about(self, event: Event) -> str:
        return str(event.data.get("name") or event.data.get(f"{event.subject_kind}_id") or "—")


def stocked() -> list[str]:
    """The kinds that have a row in the inventory."""
    return sorted({str(vars(model)["kind"]) for model in apps.get_models() if hasattr(model, "inventory")})


@admin.register(Resource)
class ResourceAdmin(ReadOnly):
    list_display = ["number", "kind", "name", account_of, "region", "status", "created_at", "deleted_at"]
    list_filter = [one_of("kind", stocked), ("deleted_at", admin.EmptyFieldListFilter)]
    search_fields = ["name"]
    search_help_text = "A name, a RES_ number, or the id of what it stands for or of its account."

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> tuple[Any, bool]:
        text = search_term.strip()
        try:
            if text.startswith("RES_"):
                return queryset.filter(pk=ids.decode_number("RES", text)), False
            key = ids.decode(text.partition("_")[0], text)
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(Q(native_id=key) | Q(account_id=key)), False


@admin.register(Counter)
class CounterAdmin(ReadOnly):
    list_display = ["kind", account_of, "count"]


@admin.register(LogEntry)
class LogEntryAdmin(ReadOnly):
    """What operators changed by a form of this admin; what a verb did is in the events."""

    list_display = ["action_time", "user", "content_type", "object_repr", "action_flag"]
    list_filter = ["action_flag"]
    list_select_related = ["user", "content_type"]
    search_fields = ["user__email", "object_repr"]
