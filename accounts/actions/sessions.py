"""Ending sessions of the dashboard. They belong to the person and to no account, whose log therefore has no event."""

from collections.abc import Iterable

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session

from core.db import atomic_write


@atomic_write()
def end(*, sessions: Iterable[UserSession]) -> int:
    """Whoever uses them is signed out with the next request; answers how many those were."""
    rows = list(sessions)
    Session.objects.filter(session_key__in=[row.session_key for row in rows]).delete()
    UserSession.objects.filter(pk__in=[row.pk for row in rows]).delete()
    return len(rows)
