"""Settings → OAuth Apps: list, register (secret shown once), rotate the secret, delete."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from accounts.actions import oauth_apps
from accounts.models import OAuthApp
from accounts.models.oauth_app import KINDS
from accounts.scopes import summary
from accounts.views.permissions import PermissionsForm
from accounts.views.security import GuardedView
from core.errors import LambdaError
from dashboard.forms import explain, once
from dashboard.pages import Question, find_or_404, show_form, unkept


class AppForm(PermissionsForm):
    sort = forms.ChoiceField(
        label="What is it?", choices=[(name, kind[0]) for name, kind in KINDS.items()], initial="web"
    )
    redirect_uris = forms.CharField(
        label="Redirect URIs",
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="One a line: where people are sent back to, letter by letter. Only for apps that ask people.",
    )

    @property
    def kinds(self) -> list[tuple[str, str, str]]:
        return [(name, kind[0], kind[1]) for name, kind in KINDS.items()]


class List(LoginRequiredMixin, View):
    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        working = Q(tokens__revoked_at=None, tokens__expires_at__gt=timezone.now())
        apps = list(OAuthApp.objects.for_account(request.account).annotate(working=Count("tokens", filter=working)))
        for app in apps:
            app.scope_summary, app.sort_label = summary(app.scopes), KINDS[app.sort][0]
        return render(request, "accounts/oauth_apps/list.html", {"apps": apps})


class Create(GuardedView):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._form(request, AppForm(grantable=request.membership.scopes))

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = AppForm(request.POST, grantable=request.membership.scopes)
        if not form.is_valid() or "review" in request.POST:
            return self._form(request, form)
        try:
            app, secret = oauth_apps.create(
                account=request.account,
                by=request.by,
                maker=request.membership.user,
                name=form.cleaned_data["name"],
                sort=form.cleaned_data["sort"],
                scopes=form.granted(),
                grantable=request.membership.scopes,
                redirect_uris=form.cleaned_data["redirect_uris"].split(),
            )
        except LambdaError as refused:
            explain(form, refused)
            return self._form(request, form)
        return reveal(request, app, secret)

    def _form(self, request: HttpRequest, form: AppForm) -> HttpResponse:
        return show_form(request, "accounts/oauth_apps/create.html", form, in_words=form.in_words())


class Rotate(GuardedView):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        return render(request, "accounts/oauth_apps/rotate.html", {"app": find(request, id)})

    @once
    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        try:
            app, secret = oauth_apps.rotate_secret(app=managed(request, id), by=request.by)
        except LambdaError as refused:
            messages.error(request, refused.message)
            return redirect("accounts:oauth_apps")
        return reveal(request, app, secret)


class Delete(Question):
    scopes = {"GET": "api_keys:write"}
    template, called, after = "accounts/oauth_apps/delete.html", "app", "accounts:oauth_apps"

    def find(self, request: HttpRequest, id: str) -> OAuthApp:
        return find(request, id)

    def act(self, request: HttpRequest, row: OAuthApp) -> str:
        row.insist_on_manager(request.membership.user, request.membership.scopes)
        oauth_apps.delete(app=row, by=request.by)
        return f"“{row.name}” is deleted, and its tokens no longer work."


def find(request: HttpRequest, id: str) -> OAuthApp:
    return find_or_404(OAuthApp.objects.for_account(request.account), id)


def managed(request: HttpRequest, id: str) -> OAuthApp:
    """The app, where the signed-in user may change it. Raises NotAllowed."""
    app = find(request, id)
    app.insist_on_manager(request.membership.user, request.membership.scopes)
    return app


def reveal(request: HttpRequest, app: OAuthApp, secret: str) -> HttpResponse:
    """The only page that ever holds the secret: never cached, never in a URL, a message or the session."""
    context = {"app": app, "secret": secret, "sort": app.sort, "base_url": settings.LAMBDA_BASE_URL}
    return unkept(render(request, "accounts/oauth_apps/created.html", context))
