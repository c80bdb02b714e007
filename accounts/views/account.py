"""Settings → Account: name, plan, what it asks of members; a further account, the one to act for, and leaving."""

from typing import cast

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import url_has_allowed_host_and_scheme
from django.views import View

from accounts.actions import accounts, members
from accounts.middleware import SESSION_KEY, act_for
from accounts.models import User
from core.errors import LambdaError
from dashboard.forms import EditForm, once
from dashboard.pages import show_form


class AccountForm(EditForm):
    name = forms.CharField(max_length=100, label="Name")
    require_mfa = forms.BooleanField(
        required=False,
        label="Require a second factor of all members",
        help_text="Who has neither passkey nor authenticator app sets one up before they see another page. "
        "API keys go on working.",
    )


class NewForm(forms.Form):
    name = forms.CharField(max_length=100, label="Name", help_text="Of your team, company or project.")


class Settings(LoginRequiredMixin, View):
    scopes = {"GET": "account:read", "POST": "account:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        account = request.account
        return self._page(
            request, AccountForm(row=account, initial={"name": account.name, "require_mfa": account.require_mfa})
        )

    def post(self, request: HttpRequest) -> HttpResponse:
        form = AccountForm(request.POST, row=request.account)
        if not form.is_valid():
            return self._page(request, form)
        accounts.update(account=request.account, by=request.by, **form.cleaned_data)
        messages.success(request, "Saved.")
        return redirect("accounts:account")

    def _page(self, request: HttpRequest, form: AccountForm) -> HttpResponse:
        if "account:write" not in request.membership.scopes:
            for field in form.fields.values():
                field.disabled = True
        return show_form(request, "accounts/account/settings.html", form)


class Create(LoginRequiredMixin, View):
    """A further account, owned by the signed-in user."""

    without_factor = True  # the new account is another one

    def get(self, request: HttpRequest) -> HttpResponse:
        return show_form(request, "accounts/account/create.html", NewForm())

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = NewForm(request.POST)
        if not form.is_valid():
            return show_form(request, "accounts/account/create.html", form)
        owner = cast(User, request.user)
        account = accounts.create(name=form.cleaned_data["name"], owner=owner, by=request.by)
        act_for(request, account)
        messages.success(request, f"{account.name} is yours. You can invite others to it.")
        return redirect("home")


class Switch(LoginRequiredMixin, View):
    """Act for another account of one's own."""

    without_factor = True
    http_method_names = ["post"]

    def post(self, request: HttpRequest) -> HttpResponse:
        chosen = request.POST.get("account")
        member = next((one for one in request.memberships if one.account.public_id == chosen), None)
        if member is None:
            messages.error(request, "You do not belong to that account any more.")
        else:
            act_for(request, member.account)
        back = request.POST.get("next", "")
        safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
        return redirect(back if safe else "home")


class Leave(LoginRequiredMixin, View):
    without_factor = True

    def get(self, request: HttpRequest) -> HttpResponse:
        if request.membership is None:
            return redirect("home")
        return render(request, "accounts/account/leave.html")

    def post(self, request: HttpRequest) -> HttpResponse:
        if request.membership is None:
            return redirect("home")
        try:
            members.remove(member=request.membership, by=request.by, giver=request.membership)
        except LambdaError as refused:
            messages.error(request, f"{refused.message}. {refused.suggestion}".strip())
            return redirect("accounts:account_leave")
        request.session.pop(SESSION_KEY, None)
        messages.success(request, f"You have left {request.account.name}.")
        return redirect("home")
