"""Settings → API Keys: list, one key and its use, create (shown once), change, rotate, revoke."""

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from accounts.actions import api_keys
from accounts.models import ApiKey, RecentUse
from accounts.models.api_key import ENDED, Secret
from accounts.scopes import compact, summary
from accounts.views.permissions import PermissionsForm, words
from accounts.views.security import GuardedView
from accounts.views.uses import add_sparks, traffic, usage
from core.errors import LambdaError
from core.models import Event
from dashboard import lists
from dashboard.calls import Call
from dashboard.forms import EditForm, explain, once
from dashboard.pages import Question, find_or_404, show_form, show_live, unkept

PATH = "/v1/account/api-keys"
PAGE = 50
EXPIRY = [("90", "90 days"), ("7", "7 days"), ("30", "30 days"), ("365", "1 year"), ("never", "Never")]
OVERLAPS = [("24", "After 24 hours"), ("0", "At once"), ("1", "After 1 hour"), ("168", "After 7 days")]


class Filters(lists.Filters):
    """Those that work, or at `?show=ended` those that no longer do."""

    show = forms.CharField(required=False)

    def select(self, rows: Any) -> Any:
        ended = Q(status_now__in=ENDED)
        return rows.filter(ended if self.ended else ~ended)

    @property
    def ended(self) -> bool:
        return self.data.get("show") == "ended"


class AddressesForm(forms.Form):
    name = forms.CharField(max_length=100, label="Name", help_text="Where it is used, e.g. “CI deploys”.")
    allowed_cidrs = forms.CharField(
        label="Allowed addresses",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "placeholder": "203.0.113.7\n203.0.113.0/24", "spellcheck": "false"}),
        help_text="One address or network a line. Empty: from everywhere.",
    )


class ChangeForm(AddressesForm, EditForm):
    pass


class KeyForm(PermissionsForm, AddressesForm):
    expiry = forms.ChoiceField(label="Expires after", choices=EXPIRY, initial="90")

    @property
    def ends(self) -> list[tuple[str, str, Any]]:
        """(value, label, when that is) of each choice."""
        now = timezone.now()
        return [
            (value, label, None if value == "never" else now + timedelta(days=int(value))) for value, label in EXPIRY
        ]


class List(LoginRequiredMixin, View):
    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        form = Filters(request.GET)
        part = lists.Numbered(request, ApiKey.objects.for_account(request.account).with_status(), form, PAGE)
        add_sparks(part.rows)
        for key in part.rows:
            key.scope_summary = summary(key.scopes)
        context = {"keys": part.rows, "part": part, "ended": form.ended, "calls": calls()}
        return render(request, "accounts/api_keys/list.html", context)


class Detail(LoginRequiredMixin, View):
    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        key = find_or_404(ApiKey.objects.for_account(request.account).select_related("replaced_by"), id)
        recent = list(RecentUse.objects.of(key))
        context = {"key": key, "overlaps": OVERLAPS, "calls": calls(key), **words(key.scopes)}
        context |= usage(request, key, recent) | traffic(key, recent)
        if "events:read" in request.membership.scopes:
            context["events"] = Event.objects.for_account(request.account).filter(subject_id=key.pk)[:10]
        return render(request, "accounts/api_keys/detail.html", context)


class Seen(LoginRequiredMixin, View):
    """Asked again and again by the page of a new key, until the key's first request is seen."""

    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        key = find(request, id)
        waiting = key.works and not key.first_used_at
        return show_live(request, "accounts/_seen.html", {"used": key, "url": request.path}, waiting)


class Traffic(LoginRequiredMixin, View):
    """Who still uses a key that has a successor, asked again and again until its end."""

    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        key = find(request, id)
        context = traffic(key, RecentUse.objects.of(key))
        return show_live(request, "accounts/api_keys/_traffic.html", context, key.works)


class Create(GuardedView):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._form(request, KeyForm(grantable=request.membership.scopes))

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = KeyForm(request.POST, grantable=request.membership.scopes)
        if not form.is_valid() or "review" in request.POST:
            return self._form(request, form)
        expiry = form.cleaned_data["expiry"]
        try:
            key, secret = api_keys.create(
                account=request.account,
                by=request.by,
                maker=request.membership.user,
                grantable=request.membership.scopes,
                name=form.cleaned_data["name"],
                scopes=form.granted(),
                expires_at=None if expiry == "never" else timezone.now() + timedelta(days=int(expiry)),
                never_expires=expiry == "never",
                allowed_cidrs=form.cleaned_data["allowed_cidrs"].split(),
            )
        except LambdaError as refused:
            explain(form, refused)
            return self._form(request, form)
        return reveal(request, key, secret)

    def _form(self, request: HttpRequest, form: KeyForm) -> HttpResponse:
        context = {"in_words": form.in_words(), "address": request.client_ip}
        return show_form(request, "accounts/api_keys/create.html", form, **context)


class Change(LoginRequiredMixin, View):
    """Another name or other addresses. What a key may do never changes: make another one."""

    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        key = find(request, id)
        initial = {"name": key.name, "allowed_cidrs": "\n".join(key.allowed_cidrs)}
        return self._form(request, ChangeForm(row=key, initial=initial), key)

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        key = find(request, id)
        form = ChangeForm(request.POST, row=key)
        if not form.is_valid():
            return self._form(request, form, key)
        try:
            key = api_keys.update(
                key=managed(request, id),
                by=request.by,
                name=form.cleaned_data["name"],
                allowed_cidrs=form.cleaned_data["allowed_cidrs"].split(),
            )
        except LambdaError as refused:
            explain(form, refused)
            return self._form(request, form, key)
        messages.success(request, f"“{key.name}” is changed, from the next request on.")
        return redirect("accounts:api_key", id=id)

    def _form(self, request: HttpRequest, form: ChangeForm, key: ApiKey) -> HttpResponse:
        return show_form(request, "accounts/api_keys/change.html", form, key=key, address=request.client_ip)


class Rotate(GuardedView):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        context = {"key": find(request, id), "overlaps": OVERLAPS}
        return render(request, "accounts/api_keys/rotate.html", context)

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        hours = request.POST.get("overlap_hours", "24")
        try:
            key, secret = api_keys.rotate(
                key=managed(request, id),
                by=request.by,
                grantable=request.membership.scopes,
                overlap_hours=int(hours) if hours.isdecimal() else -1,
            )
        except LambdaError as refused:
            messages.error(request, refused.message)
            return redirect("accounts:api_keys")
        return reveal(request, key, secret, replaced=find(request, id))


class Revoke(Question):
    scopes = {"GET": "api_keys:write"}
    template, called, after = "accounts/api_keys/revoke.html", "key", "accounts:api_keys"

    def find(self, request: HttpRequest, id: str) -> ApiKey:
        return find(request, id)

    def act(self, request: HttpRequest, row: ApiKey) -> str:
        row.insist_on_manager(request.membership.user, request.membership.scopes)
        api_keys.revoke(key=row, by=request.by)
        return f"“{row.name}” is revoked and no longer works."


def find(request: HttpRequest, id: str) -> ApiKey:
    return find_or_404(ApiKey.objects.for_account(request.account), id)


def managed(request: HttpRequest, id: str) -> ApiKey:
    """The key, where the signed-in user may change it. Raises NotAllowed."""
    key = find(request, id)
    key.insist_on_manager(request.membership.user, request.membership.scopes)
    return key


def calls(key: ApiKey | None = None) -> list[Call]:
    """What the buttons of the page do, as calls."""
    if key is None:
        example = {"name": "ci", "scopes": ["instances:*", "catalog:read"], "allowed_cidrs": ["203.0.113.0/24"]}
        return [Call("List the keys", "GET", PATH), Call("Create a key", "POST", PATH, example)]
    path = f"{PATH}/{key.public_id}"
    return [
        Call("Get this key", "GET", path),
        Call("Make another like it", "POST", PATH, {"name": key.name, "scopes": compact(key.scopes)}),
        Call("Rename it", "PATCH", path, {"name": "a new name"}),
        Call("Rotate it", "POST", f"{path}/rotate", {"overlap_hours": 24}),
        Call("Revoke it", "DELETE", path),
    ]


def reveal(request: HttpRequest, key: ApiKey, secret: Secret, replaced: ApiKey | None = None) -> HttpResponse:
    """The only page that ever holds the secret: never cached, never in a URL, a message or the session."""
    context = {
        "key": key,
        "secret": secret.key,
        "secret_ascii": secret.key_ascii,
        "base_url": settings.LAMBDA_BASE_URL,
        "replaced": replaced,
    }
    return unkept(render(request, "accounts/api_keys/created.html", context))
