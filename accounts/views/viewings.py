"""The button with which an operator stops looking at the dashboard as somebody else. It begins in accounts/admin.py."""

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views import View

from accounts.actions import viewings
from accounts.middleware import VIEWING_KEY


class End(LoginRequiredMixin, View):
    while_viewing = True
    without_factor = True

    def post(self, request: HttpRequest) -> HttpResponse:
        viewing = request.viewing
        if viewing is None:  # its time was up already
            return redirect("home")
        viewings.end(viewing=viewing, by=request.by)
        del request.session[VIEWING_KEY]
        messages.success(request, f"You no longer look at the dashboard as {viewing.user.email}.")
        return redirect("admin:accounts_account_change", viewing.account_id)
