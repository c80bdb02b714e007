"""Settings → Members: list, invite, role, removal; and the page that an invitation's link opens."""

from typing import Any

from allauth.account.models import EmailAddress
from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from accounts.actions import members
from accounts.adapter import INVITATION
from accounts.middleware import act_for
from accounts.models import Membership
from core.errors import Invalid, LambdaError
from dashboard.calls import Call
from dashboard.forms import once
from dashboard.pages import find_or_404, show_form, unkept

# What each role is for, in the words of the role table.
ROLES = [
    ("owner", "Owner", "Everything, plan and deletion of the account included."),
    ("admin", "Admin", "Everything but owners and deletion of the account."),
    ("developer", "Developer", "Instances, functions and all around them, and keys of their own. Reads billing."),
    ("billing", "Billing", "Invoices, budgets and the plan. Nothing that runs."),
    ("viewer", "Viewer", "Reads what runs and what it costs. Changes nothing."),
]
PATH = "/v1/account/members"
CALLS = [
    Call("List the members", "GET", PATH),
    Call("Invite somebody", "POST", PATH, {"email": "bob@example.com", "role": "developer"}),
    Call("Change a role", "PATCH", f"{PATH}/{{id}}", {"role": "viewer"}),
    Call("Remove a member", "DELETE", f"{PATH}/{{id}}"),
]


class InviteForm(forms.Form):
    email = forms.EmailField(
        max_length=254, label="Email address", help_text="The invitation works for this address alone."
    )
    role = forms.ChoiceField(label="Role", choices=[(role, label) for role, label, _ in ROLES], initial="developer")


class List(LoginRequiredMixin, View):
    scopes = {"GET": "members:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = list(Membership.with_invited.for_account(request.account).order_by("status_now", "pk")[:500])  # type: ignore[misc]
        for row in rows:
            row.manageable = may_manage(request.membership, row)
        context = {
            "members": rows,
            "roles": roles(request.membership),
            "explained": ROLES,
            "required": request.account.require_mfa,
            "calls": CALLS,
        }
        return render(request, "accounts/members/list.html", context)


class Invite(LoginRequiredMixin, View):
    scopes = {"GET": "members:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, InviteForm())

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = InviteForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        giver = request.membership
        try:
            member = members.invite(
                account=request.account, by=request.by, giver=giver, grantable=giver.scopes, **form.cleaned_data
            )
        except LambdaError as refused:
            wrong = refused.errors[0].field if isinstance(refused, Invalid) and refused.errors else None
            form.add_error(wrong, refused.message)
            return self._page(request, form)
        messages.success(request, f"An invitation is on its way to {member.email}.")
        return redirect("accounts:members")

    def _page(self, request: HttpRequest, form: InviteForm) -> HttpResponse:
        return show_form(request, "accounts/members/invite.html", form, roles=roles(request.membership))


class Verb(LoginRequiredMixin, View):
    """A question about one member, and what is done on yes."""

    scopes = {"GET": "members:write"}
    template = ""

    def act(self, request: HttpRequest, member: Membership) -> str:
        """Do it, and say so. Raises LambdaError."""
        raise NotImplementedError

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        return render(request, self.template, {"member": find(request, id), "roles": roles(request.membership)})

    def post(self, request: HttpRequest, id: str) -> HttpResponse:
        member = find(request, id)
        try:
            messages.success(request, self.act(request, member))
        except LambdaError as refused:
            messages.error(request, f"{refused.message}. {refused.suggestion}".strip())
        # Who has just taken the right to look at the list from themselves goes home instead.
        return redirect("home" if member.pk == request.membership.pk else "accounts:members")


class Role(Verb):
    template = "accounts/members/role.html"

    def act(self, request: HttpRequest, member: Membership) -> str:
        giver, role = request.membership, request.POST.get("role", "")
        members.change_role(member=member, by=request.by, giver=giver, grantable=giver.scopes, role=role)
        return f"{member.name} is now {role}."


class Remove(Verb):
    template = "accounts/members/remove.html"

    def act(self, request: HttpRequest, member: Membership) -> str:
        members.remove(member=member, by=request.by, giver=request.membership)
        return f"{member.name} is removed." if member.active else f"The invitation of {member.name} is cancelled."


class Resend(Verb):
    http_method_names = ["post"]

    def act(self, request: HttpRequest, member: Membership) -> str:
        members.resend(member=member, by=request.by)
        return f"A new invitation is on its way to {member.name}. The old link no longer works."


class Accept(View):
    """What the link in an invitation opens, signed in or not. Looking changes nothing: mail scanners look, too."""

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        member = Membership.with_invited.invited_by_link(token)
        if member is None:
            return self._page(request, "gone", status=404)
        if request.user.is_authenticated:
            return self._page(request, "accept" if proved(request.user, member.email) else "other", member)
        request.session[INVITATION] = str(member.pk)  # who signs up in this browser joins at once
        known = EmailAddress.objects.filter(email__iexact=member.email, verified=True).exists()
        return self._page(request, "sign_in" if known else "sign_up", member)

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        member = Membership.with_invited.invited_by_link(token)
        if member is None or not request.user.is_authenticated or not proved(request.user, member.email):
            return redirect(request.path)
        try:
            joined = members.accept(member=member, user=request.user, by=request.by)
        except LambdaError as refused:
            messages.error(request, refused.message)
            return redirect("home")
        act_for(request, joined.account)
        messages.success(request, f"Welcome to {joined.account.name}.")
        return redirect("home")

    def _page(
        self, request: HttpRequest, state: str, member: Membership | None = None, status: int = 200
    ) -> HttpResponse:
        may = next((text for role, _, text in ROLES if member and role == member.role), "")
        context = {"state": state, "member": member, "may": may}
        return unkept(render(request, "accounts/members/accept.html", context, status=status))


def proved(user: Any, email: str) -> bool:
    return EmailAddress.objects.filter(user=user, email__iexact=email, verified=True).exists()


def find(request: HttpRequest, id: str) -> Membership:
    return find_or_404(Membership.with_invited.for_account(request.account), id)


def roles(giver: Membership) -> list[tuple[str, str, str]]:
    """The roles that this member may hand out, each with what it is for."""
    return [row for row in ROLES if row[0] != "owner" or giver.role == "owner"]


def may_manage(giver: Membership, member: Membership) -> bool:
    return "members:write" in giver.scopes and (member.role != "owner" or giver.role == "owner")
