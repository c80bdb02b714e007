"""/oauth/device: a person types the code that a terminal shows, reads what it wants to do, and says yes or no."""

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views import View

from accounts.actions import oauth_codes
from accounts.models import OAuthDevice
from accounts.models.oauth_code import canonical_user_code
from accounts.models.oauth_token import FAMILY_LIFE
from accounts.views.consent import chosen
from accounts.views.permissions import in_words
from api import limits
from core.errors import LambdaError

TRIES = limits.Limit(hour=60, burst=20)  # of codes, by one person: nobody guesses another's


class Device(LoginRequiredMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        typed = request.GET.get("user_code", "")
        if not typed:
            return self._ask(request)
        device, wrong = self._find(request, typed)
        if device is None:
            return self._ask(request, typed, wrong)
        return self._confirm(request, device)

    def post(self, request: HttpRequest) -> HttpResponse:
        typed = request.POST.get("user_code", "")
        device, wrong = self._find(request, typed)
        if device is None:
            return self._ask(request, typed, wrong)
        member, approve = chosen(request), "allow" in request.POST
        if member is None:
            return self._ask(request, typed, "The account asks for a second factor first: set one up at Security.")
        if member.account.suspended_at:
            return self._ask(request, typed, "The account is suspended: nothing can be let in until it is resumed.")
        granted = [scope for scope in device.scopes if scope in member.scopes]
        try:
            device = oauth_codes.decide_device(
                device=device, user=member.user, account=member.account, scopes=granted, approve=approve
            )
        except LambdaError as refused:
            return self._ask(request, typed, refused.message)
        return render(request, "accounts/oauth/device_done.html", {"device": device, "approved": approve})

    def _find(self, request: HttpRequest, typed: str) -> tuple[OAuthDevice | None, str]:
        """The device that waits under this code, or why there is none."""
        decision = limits.limiter().hit(f"device:{request.user.pk}", TRIES)
        if not decision.allowed:
            return None, f"Too many codes were tried. Wait {decision.retry_after} seconds."
        waiting = OAuthDevice.objects.filter(state=OAuthDevice.State.PENDING, expires_at__gt=timezone.now())
        device = waiting.select_related("app__account").filter(user_code=canonical_user_code(typed)).first()
        return device, "No device waits with this code. Compare it letter by letter, or start again on the device."

    def _ask(self, request: HttpRequest, typed: str = "", wrong: str = "") -> HttpResponse:
        context = {"typed": typed[:20], "wrong": wrong}
        return render(request, "accounts/oauth/device.html", context, status=422 if wrong else 200)

    def _confirm(self, request: HttpRequest, device: OAuthDevice) -> HttpResponse:
        held = request.membership.scopes if request.membership else frozenset()
        context = {
            "device": device,
            "app": device.app,
            "wanted": in_words([scope for scope in device.scopes if scope in held]),
            "beyond": in_words([scope for scope in device.scopes if scope not in held]),
            "memberships": request.memberships,
            "days": FAMILY_LIFE.days,
        }
        return render(request, "accounts/oauth/device_confirm.html", context)
