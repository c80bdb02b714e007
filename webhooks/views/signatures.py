"""The signature checker: a body, its headers and a secret in, which of the three signatures is right out.

Nothing of it is stored, logged or in an address, and the secret is never sent back.
"""

from typing import Any

from django import forms
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from dashboard.calls import Call
from dashboard.pages import show_form, unkept
from webhooks import checker
from webhooks.views import verifying

LONGEST = 300_000  # characters of a body
AS_TYPED = {"spellcheck": "false", "autocapitalize": "off", "autocomplete": "off", "class": "mono"}


class CheckForm(forms.Form):
    body = forms.CharField(
        label="Body",
        strip=False,
        max_length=LONGEST,
        help_text="As it was received, before anything read it as JSON.",
        widget=forms.Textarea(
            attrs=AS_TYPED | {"rows": 6, "placeholder": '{"id":"evt_…","type":"instance.created",…}'}
        ),
    )
    headers = forms.CharField(
        label="Headers",
        required=False,
        max_length=20_000,
        help_text="All of them, as lines or as JSON, or one signature alone. Without any, what is expected is shown.",
        widget=forms.Textarea(attrs=AS_TYPED | {"rows": 5, "placeholder": "X-Lambda-Signature: sha256=…"}),
    )
    secret = forms.CharField(
        label="Secret",
        strip=False,
        max_length=1000,
        help_text="It is used for this one answer, and kept nowhere: paste it again for another try.",
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}, render_value=False),
    )

    def clean_body(self) -> str:
        """Browsers write every line end as two characters when they send a form; Lambda's bodies have none at all."""
        text: str = self.cleaned_data["body"].replace("\r\n", "\n")
        return text


@method_decorator(sensitive_post_parameters(), name="dispatch")
class Check(LoginRequiredMixin, View):
    scopes = {"GET": "webhooks:read"}

    def get(self, request: HttpRequest) -> HttpResponse:
        return self._page(request, CheckForm())

    @sensitive_variables()
    def post(self, request: HttpRequest) -> HttpResponse:
        if "fill" in request.POST:  # from the page of a delivery, which does not have the secret
            given = {name: request.POST.get(name, "") for name in ("body", "headers")}
            return self._page(request, CheckForm(initial=given))
        form = CheckForm(request.POST)
        if not form.is_valid():
            return self._page(request, form)
        findings = checker.check(**form.cleaned_data)
        verdicts = {finding.verdict for finding in findings}
        told = "wrong" if "wrong" in verdicts else "right" if "right" in verdicts else "missing"
        return self._page(request, form, findings=findings, told=told)

    def _page(self, request: HttpRequest, form: CheckForm, **context: Any) -> HttpResponse:
        vectors = Call("Deliveries to test your code with", "GET", "/v1/webhooks/test-vectors")
        context |= {"samples": verifying.samples(request), "calls": [vectors]}
        return unkept(show_form(request, "webhooks/signature.html", form, **context))
