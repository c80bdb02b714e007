"""SSH keys in the dashboard: list, add, generate, remove."""

from django import forms
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views import View

from compute.actions import ssh_keys
from compute.models import SshKey
from core.errors import LambdaError
from dashboard.forms import explain, once
from dashboard.pages import Question, find_or_404, show_form, unkept


class SshKeyForm(forms.Form):
    name = forms.CharField(max_length=100, help_text="Whose key it is, e.g. “my laptop”.")
    public_key = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "placeholder": "ssh-ed25519 AAAA… you@laptop"}),
        help_text="The contents of ~/.ssh/id_ed25519.pub.",
    )


class List(LoginRequiredMixin, View):
    scopes = {"GET": "ssh_keys:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return render(
            request, "compute/ssh_keys/list.html", {"keys": SshKey.objects.for_account(request.account)[:500]}
        )


class Create(LoginRequiredMixin, View):
    scopes = {"GET": "ssh_keys:write"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return show_form(request, "compute/ssh_keys/create.html", SshKeyForm())

    @once
    def post(self, request: HttpRequest) -> HttpResponse:
        form = SshKeyForm(request.POST)
        if form.is_valid():
            named = {"account": request.account, "by": request.by, "name": form.cleaned_data["name"]}
            try:
                if "generate" in request.POST:
                    return self._generated(request, *ssh_keys.generate(**named))
                ssh_keys.add(**named, public_key=form.cleaned_data["public_key"])
            except LambdaError as refused:
                explain(form, refused)
                if "PRIVATE KEY" in form.data.get("public_key", ""):
                    form.data = form.data.dict() | {"public_key": ""}  # pasted by mistake: not sent back as well
            else:
                messages.success(request, f"“{named['name']}” is added.")
                return redirect("compute:ssh_keys")
        return show_form(request, "compute/ssh_keys/create.html", form)

    def _generated(self, request: HttpRequest, key: SshKey, private_key: str) -> HttpResponse:
        """The only page that holds the private half."""
        return unkept(render(request, "compute/ssh_keys/created.html", {"key": key, "private_key": private_key}))


class Remove(Question):
    scopes = {"GET": "ssh_keys:write"}
    template, called, after = "compute/ssh_keys/remove.html", "key", "compute:ssh_keys"

    def find(self, request: HttpRequest, id: str) -> SshKey:
        return find_or_404(SshKey.objects.for_account(request.account).select_related("account"), id)

    def act(self, request: HttpRequest, row: SshKey) -> str:
        ssh_keys.remove(key=row, by=request.by)
        return f"“{row.name}” is removed."
