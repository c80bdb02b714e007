"""Webhooks: every write to an endpoint. What is sent there, and what came of it, is in `deliveries.py`."""

import base64
import secrets
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db.models import F
from django.utils import timezone

from accounts.models import Account
from accounts.models.limit import MAX_WEBHOOKS
from core import events as log
from core import ids
from core.context import SYSTEM, Actor
from core.db import atomic_write
from core.errors import Conflict, FieldError, Invalid, LimitExceeded, joined
from core.models import Counter
from webhooks import signing
from webhooks.models import Endpoint
from webhooks.models.delivery import KEPT
from webhooks.targets import ForbiddenTarget

MAX_OVERLAP_HOURS = 168


class WebhookQuotaExceeded(LimitExceeded):
    pass


class RotationUnderWay(Conflict):
    pass


class ReplayUnderWay(Conflict):
    pass


@atomic_write()
def create(
    *,
    account: Account,
    by: Actor,
    url: str,
    events: Iterable[str],
    secret: str | None = None,
    wrong: Sequence[FieldError] = (),
) -> tuple[Endpoint, str]:
    """A webhook and its secret, which is shown nowhere else; without one it is made. `wrong` was found before.

    Records: webhook.created. Raises: Invalid, WebhookQuotaExceeded.
    """
    patterns = list(events)
    errors = joined(wrong, [*_url_errors(url), *_event_errors(patterns), *_secret_errors(secret)])
    if errors:
        raise Invalid(errors=errors)
    used = Counter.add(account, webhook=1)["webhook"] - 1
    if used >= MAX_WEBHOOKS:
        message = f"An account may have {MAX_WEBHOOKS} webhooks, and {used} are in use"
        raise WebhookQuotaExceeded(message, suggestion="Delete one first.", limit=MAX_WEBHOOKS, used=used, requested=1)
    endpoint = Endpoint(account=account, url=url, events=patterns)
    secret = secret or _generated()
    endpoint.put_secret(secret)
    endpoint.save()
    _record("webhook.created", endpoint, by)
    return endpoint, secret


@atomic_write()
def update(
    *,
    endpoint: Endpoint,
    by: Actor,
    url: str | None = None,
    events: Iterable[str] | None = None,
    status: str | None = None,
) -> Endpoint:
    """Another address, other event types, or on and off (`status` active|disabled). What waits is kept while it is off.

    Records: webhook.updated. Raises: Invalid.
    """
    endpoint = _locked(endpoint)
    patterns = None if events is None else list(events)
    errors = _url_errors(url) if url is not None else []
    errors += _event_errors(patterns) if patterns is not None else []
    if errors:
        raise Invalid(errors=errors)
    endpoint.url = endpoint.url if url is None else url
    endpoint.events = endpoint.events if patterns is None else patterns
    if status == "active" and endpoint.state == "disabled":
        endpoint.state, endpoint.disabled_at, endpoint.disabled_reason, endpoint.mail_due = "active", None, "", False
        endpoint.failing_since, endpoint.failures = None, 0
    elif status == "disabled" and endpoint.state == "active":
        endpoint.state, endpoint.disabled_at, endpoint.disabled_reason = "disabled", timezone.now(), "Disabled by hand."
    endpoint.save()
    _record("webhook.updated", endpoint, by)
    return endpoint


@atomic_write()
def enable(*, endpoint: Endpoint, by: Actor, recover_since: datetime | None = None) -> Endpoint:
    """On again and, with `recover_since`, what has not arrived since then is sent. A replay that it was disabled amidst
    goes on, over that time too.

    Records: webhook.updated, and webhook.replayed where a replay begins. Raises: Invalid; then it stays disabled.
    """
    endpoint = update(endpoint=endpoint, by=by, status="active")
    if recover_since is None:
        return endpoint
    if endpoint.replay_after is None:
        return replay(endpoint=endpoint, by=by, from_=recover_since, to=timezone.now(), only_undelivered=True)
    endpoint.replay_after = min(endpoint.replay_after, ids.earliest(recover_since))
    endpoint.replay_to = timezone.now()
    endpoint.save()
    return endpoint


@atomic_write()
def rotate_secret(
    *, endpoint: Endpoint, by: Actor, overlap_hours: int = 24, secret: str | None = None
) -> tuple[Endpoint, str]:
    """Another secret, given or made. For `overlap_hours` the old one signs on and both sign `webhook-signature`.

    With 0 the old one ends at once, which is what to do when it leaked.

    Records: webhook.rotated. Raises: Invalid, RotationUnderWay.
    """
    endpoint, now = _locked(endpoint), timezone.now()
    if errors := list(_secret_errors(secret)):
        raise Invalid(errors=errors)
    if not 0 <= overlap_hours <= MAX_OVERLAP_HOURS:
        message = f"overlap_hours must be from 0 to {MAX_OVERLAP_HOURS}"
        raise Invalid.field("overlap_hours", message, value=overlap_hours)
    if overlap_hours and endpoint.in_overlap(now):
        raise RotationUnderWay(
            f"The secret before this one still signs, until {endpoint.old_secret_until:%Y-%m-%dT%H:%M:%SZ}",
            suggestion="Wait until then, or send overlap_hours 0, which ends both at once.",
        )
    endpoint.sealed_old_secret = endpoint.sealed_secret if overlap_hours else ""
    endpoint.old_secret_until = now + timedelta(hours=overlap_hours) if overlap_hours else None
    secret = secret or _generated()
    endpoint.put_secret(secret)
    endpoint.save()
    _record("webhook.rotated", endpoint, by)
    return endpoint, secret


@atomic_write()
def delete(*, endpoint: Endpoint, by: Actor) -> Endpoint:
    """Nothing more is sent there, and its secrets are forgotten. Its deliveries go later (`purge`).

    Records: webhook.deleted, once.
    """
    endpoint = _locked(endpoint)
    if endpoint.state != "deleted":
        endpoint.state, endpoint.sealed_secret, endpoint.sealed_old_secret = "deleted", "", ""
        endpoint.replay_after = endpoint.replay_to = None
        endpoint.save()
        Counter.add(endpoint.account, webhook=-1)
        _record("webhook.deleted", endpoint, by)
    return endpoint


@atomic_write()
def replay(*, endpoint: Endpoint, by: Actor, from_: datetime, to: datetime, only_undelivered: bool = False) -> Endpoint:
    """Send the events of a period again that the webhook listens to now; the dispatcher goes through them in order.

    `only_undelivered` leaves out what has arrived. Records: webhook.replayed. Raises: Invalid, WebhookDisabled,
    ReplayUnderWay.
    """
    endpoint, now = _locked(endpoint), timezone.now()
    endpoint.insist_on_active()
    if from_ < now - KEPT - timedelta(minutes=1):
        raise Invalid.field("from", f"from may be {KEPT.days} days ago at most", value=from_.isoformat())
    if from_ > now:
        raise Invalid.field("from", "from must be in the past", value=from_.isoformat())
    if not from_ < to:
        raise Invalid.field("to", "to must be later than from", value=to.isoformat())
    if endpoint.replay_to:
        raise ReplayUnderWay(
            f"A replay is under way, until the events of {endpoint.replay_to:%Y-%m-%dT%H:%M:%SZ}",
            suggestion="It ends by itself within seconds or minutes: try again.",
        )
    endpoint.replay_after, endpoint.replay_to = ids.earliest(from_), min(to, now)
    endpoint.replay_all = not only_undelivered
    endpoint.save()
    _record(
        "webhook.replayed",
        endpoint,
        by,
        {"from": f"{from_:%Y-%m-%dT%H:%M:%SZ}", "to": f"{endpoint.replay_to:%Y-%m-%dT%H:%M:%SZ}"},
    )
    return endpoint


@atomic_write()
def give_up(*, endpoint_id: UUID, reason: str) -> bool:
    """Disable an endpoint on the platform's own decision; its owner is mailed. Records: webhook.disabled, once."""
    endpoint = _locked_by_key(endpoint_id)
    if endpoint is None or endpoint.state != "active":
        return False
    endpoint.state, endpoint.disabled_at, endpoint.disabled_reason = "disabled", timezone.now(), reason
    endpoint.mail_due = True
    endpoint.save()
    _record("webhook.disabled", endpoint, SYSTEM, {"reason": reason})
    log.enqueue("webhooks.mail_disabled", endpoint_id=str(endpoint.pk))
    return True


@atomic_write()
def mark_mailed(*, endpoint: Endpoint) -> None:
    Endpoint.objects.filter(pk=endpoint.pk).update(mail_due=False)


@atomic_write()
def forget_old_secrets() -> None:
    """Secrets whose overlap has ended sign nothing: they need not be kept."""
    now = timezone.now()
    ended = Endpoint.objects.filter(old_secret_until__lte=now)
    ended.update(sealed_old_secret="", old_secret_until=None, version=F("version") + 1, updated_at=now)


def _record(type: str, endpoint: Endpoint, by: Actor, data: dict[str, str] | None = None) -> None:
    log.record(type, account=endpoint.account, by=by, subject=endpoint, data=data)


def _locked(endpoint: Endpoint) -> Endpoint:
    return Endpoint.objects.select_for_update(of=("self",)).select_related("account").get(pk=endpoint.pk)


def _locked_by_key(key: UUID) -> Endpoint | None:
    return Endpoint.objects.select_for_update(of=("self",)).select_related("account").filter(pk=key).first()


def _generated() -> str:
    return signing.STANDARD + base64.b64encode(secrets.token_bytes(32)).decode()


def _url_errors(url: str) -> list[FieldError]:
    try:
        settings.LAMBDA_WEBHOOK_ALLOW.check_url(url)
    except ForbiddenTarget as forbidden:
        return [FieldError("url", str(forbidden), url[:200])]
    return []


def _event_errors(patterns: list[str]) -> list[FieldError]:
    known = log.declared()
    nouns = dict.fromkeys(type.partition(".")[0] for type in known)
    allowed = [*known, *(f"{noun}.*" for noun in nouns), "*"]
    if not patterns:
        return [FieldError("events", "events must name at least one event type; * is all of them", patterns, allowed)]
    unknown = [pattern for pattern in patterns if pattern not in allowed]
    twice = [pattern for number, pattern in enumerate(patterns) if pattern in patterns[:number]]
    errors = [FieldError("events", f"'{one}' is no event type: see /v1/event-types", one, allowed) for one in unknown]
    return errors + [FieldError("events", f"'{one}' is there twice", one) for one in twice if one not in unknown]


def _secret_errors(secret: str | None) -> list[FieldError]:
    problem = signing.problem(secret) if secret is not None else ""
    return [FieldError("secret", problem)] if problem else []
