"""Security → Sessions: where one is signed in. In the place of allauth's page, which asks once for each session."""

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.contrib.sessions.models import Session
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views import View

from accounts.actions import sessions

SHOWN = 100


class List(LoginRequiredMixin, View):
    without_factor = True

    def get(self, request: HttpRequest) -> HttpResponse:
        rows = list(live(request)[:SHOWN])
        for row in rows:
            row.here = row.session_key == request.session.session_key
        rows.sort(key=lambda row: not row.here)
        return render(request, "usersessions/usersession_list.html", {"sessions": rows})

    def post(self, request: HttpRequest) -> HttpResponse:
        """End the one that `session` names, or all but this one."""
        others = live(request).exclude(session_key=request.session.session_key)
        one = request.POST.get("session", "")
        ended = sessions.end(sessions=others.filter(pk=int(one)) if one.isdecimal() else others)
        words = {0: "It had ended already.", 1: "The session is ended."}
        messages.success(request, words.get(ended, f"{ended} sessions are ended."))
        return redirect(request.path)


def live(request: HttpRequest) -> "QuerySet[UserSession]":
    """The reader's own that have not ended, newest first."""
    standing = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    return UserSession.objects.filter(user=request.user, session_key__in=standing).order_by("-created_at", "-pk")
