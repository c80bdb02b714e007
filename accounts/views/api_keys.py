"""Settings → API Keys: list, create (shown once), rotate, revoke."""

from datetime import timedelta

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from accounts.actions import api_keys
from accounts.models import ApiKey
from accounts.models.api_key import Secret
from accounts.scopes import summary
from accounts.views.permissions import PermissionsForm
from accounts.views.security import GuardedView
from core.errors import LambdaError
from dashboard.forms import explain
from dashboard.pages import find_or_404

EXPIRY = [("7", "7 days"), ("30", "30 days"), ("90", "90 days (recommended)"), ("365", "1 year"), ("never", "Never")]
OVERLAPS = [("0", "at once"), ("1", "after 1 hour"), ("24", "after 24 hours"), ("168", "after 7 days")]


class KeyForm(PermissionsForm):
    expiry = forms.ChoiceField(label="Expires after", choices=EXPIRY, initial="90")
    allowed_cidrs = forms.CharField(
        label="Allowed addresses",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One address or network a line, e.g. 203.0.113.0/24. Empty: from everywhere.",
    )


class List(LoginRequiredMixin, View):
    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        keys = list(ApiKey.objects.for_account(request.account)[:200])
        for key in keys:
            key.scope_summary = summary(key.scopes)
        return render(request, "accounts/api_keys/list.html", {"keys": keys, "overlaps": OVERLAPS})


class Create(GuardedView):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._form(request, KeyForm(grantable=request.membership.scopes))

    def post(self, request: HttpRequest) -> HttpResponse:
        form = KeyForm(request.POST, grantable=request.membership.scopes)
        if not form.is_valid():
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
        return render(request, "accounts/api_keys/create.html", {"form": form}, status=422 if form.errors else 200)


class Rotate(GuardedView):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        context = {"key": find(request, id), "overlaps": OVERLAPS}
        return render(request, "accounts/api_keys/rotate.html", context)

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
        return reveal(request, key, secret)


class Revoke(LoginRequiredMixin, View):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        return render(request, "accounts/api_keys/revoke.html", {"key": find(request, id)})

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        try:
            key = api_keys.revoke(key=managed(request, id), by=request.by)
        except LambdaError as refused:
            messages.error(request, refused.message)
        else:
            messages.success(request, f"“{key.name}” is revoked and no longer works.")
        return redirect("accounts:api_keys")


def find(request: HttpRequest, id: str) -> ApiKey:
    return find_or_404(ApiKey.objects.for_account(request.account), id)


def managed(request: HttpRequest, id: str) -> ApiKey:
    """The key, where the signed-in user may change it. Raises NotAllowed."""
    key = find(request, id)
    key.insist_on_manager(request.membership.user, request.membership.scopes)
    return key


def reveal(request: HttpRequest, key: ApiKey, secret: Secret) -> HttpResponse:
    """The only page that ever holds the secret: never cached, never in a URL, a message or the session."""
    context = {"key": key, "secret": secret.key, "secret_ascii": secret.key_ascii, "base_url": settings.LAMBDA_BASE_URL}
    response = render(request, "accounts/api_keys/created.html", context)
    response["Cache-Control"] = "no-store"
    return response
