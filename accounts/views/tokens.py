"""Account Settings → API Tokens: list, one and its use, generate (shown once), revoke. Apps that were let in, too."""

from django.conf import settings
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from accounts.actions import oauth_tokens
from accounts.actions.oauth_tokens import Issued
from accounts.models import OAuthToken, RecentUse
from accounts.models.oauth_app import DASHBOARD
from accounts.models.oauth_token import ACCESS_LIFE, FAMILY_LIFE
from accounts.scopes import summary
from accounts.views.permissions import PermissionsForm, words
from accounts.views.security import GuardedView
from accounts.views.uses import add_sparks, usage
from core.errors import LambdaError
from core.models import Event
from dashboard.forms import explain, once
from dashboard.pages import Question, find_or_404, show_form, show_live, unkept


class List(LoginRequiredMixin, View):
    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        tokens = list(OAuthToken.objects.for_account(request.account).of_people()[:200])
        add_sparks(tokens)
        for token in tokens:
            token.scope_summary = summary(token.scopes)
        made = [token for token in tokens if token.made_here]
        context = {"made": made, "let_in": [token for token in tokens if not token.made_here]}
        return render(request, "accounts/tokens/list.html", context)


class Detail(LoginRequiredMixin, View):
    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        token = find(request, id)
        context = usage(request, token, list(RecentUse.objects.of(token))) | {
            "token": token,
            "life": ACCESS_LIFE.days,
            **words(token.scopes),
        }
        if "events:read" in request.membership.scopes:
            context["events"] = Event.objects.for_account(request.account).filter(subject_id=token.pk)[:10]
        return render(request, "accounts/tokens/detail.html", context)


class Seen(LoginRequiredMixin, View):
    """Asked again and again by the page of a new token, until its first request is seen."""

    scopes = {"GET": "api_keys:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        token = find(request, id)
        waiting = token.works and not token.first_used_at
        return show_live(request, "accounts/_seen.html", {"used": token, "url": request.path}, waiting)


class Create(GuardedView):
    scopes = {"GET": "api_keys:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._form(request, PermissionsForm(grantable=request.membership.scopes))

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = PermissionsForm(request.POST, grantable=request.membership.scopes)
        if not form.is_valid() or "review" in request.POST:
            return self._form(request, form)
        try:
            token, issued = oauth_tokens.generate(
                account=request.account,
                by=request.by,
                maker=request.membership.user,
                name=form.cleaned_data["name"],
                scopes=form.granted(),
                grantable=request.membership.scopes,
            )
        except LambdaError as refused:
            explain(form, refused)
            return self._form(request, form)
        return reveal(request, token, issued)

    def _form(self, request: HttpRequest, form: PermissionsForm) -> HttpResponse:
        lives = {"life": ACCESS_LIFE.days, "family_life": FAMILY_LIFE.days}
        return show_form(request, "accounts/tokens/create.html", form, in_words=form.in_words(), **lives)


class Revoke(Question):
    scopes = {"GET": "api_keys:write"}
    template, called, after = "accounts/tokens/revoke.html", "token", "accounts:tokens"

    def find(self, request: HttpRequest, id: str) -> OAuthToken:
        return find(request, id)

    def act(self, request: HttpRequest, row: OAuthToken) -> str:
        row.insist_on_manager(request.membership.user, request.membership.scopes)
        oauth_tokens.revoke(token=row, by=request.by)
        return f"“{row.name}” is revoked and no longer works."


def find(request: HttpRequest, id: str) -> OAuthToken:
    return find_or_404(OAuthToken.objects.for_account(request.account), id)


def reveal(request: HttpRequest, token: OAuthToken, issued: Issued) -> HttpResponse:
    """The only page that ever holds the pair: never cached, never in a URL, a message or the session."""
    context = {"token": token, "issued": issued, "client_id": DASHBOARD, "base_url": settings.LAMBDA_BASE_URL}
    return unkept(render(request, "accounts/tokens/created.html", context))
