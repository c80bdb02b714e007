"""What the overview says, read from every app in five statements: counts, machines, spending, requests.

Who may see which part, the view decides (`views.py`); how it looks, the template.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from django.db.models import Count, Exists, F, IntegerField, Min, OuterRef, Q, QuerySet, Subquery, Sum, Value
from django.db.models.functions import Coalesce, ExtractDay
from django.urls import reverse
from django.utils import timezone

from accounts.models import Account, ApiKey, HourOfUse, OAuthToken
from accounts.models.api_key import EXPIRING
from accounts.models.limit import COUNTED, Limit
from accounts.models.use import OUTCOMES, first_hour
from accounts.views.limits import WORDS
from accounts.views.uses import IN_WORDS, TONES
from api.limits import limiter
from billing.models import UsageSpan
from catalog.models.price import cost, month_of
from compute.models import Instance
from core.models import Counter
from functions.models import Rollup
from functions.models.rollup import MB_MS_OF_A_GB_HOUR
from webhooks.models import Endpoint

REQUEST_DAYS = 30
NEWEST, FAILED = 5, 3


class Alert(NamedTuple):
    """What somebody should look at; `name` is the thing's, which is theirs and not ours."""

    tone: str
    name: str
    words: str
    url: str
    action: str


class Series(NamedTuple):
    """A chart: as `{% bars %}` takes it."""

    labels: list[str]
    series: list[tuple[Any, ...]]


@dataclass(frozen=True)
class Spending:
    """USD: of this month so far, of an hour as things run now, and of the month if they go on so."""

    total: Decimal
    hourly: Decimal
    forecast: Decimal
    chart: Series
    month: str

    @property
    def daily(self) -> Decimal:
        return self.hourly * 24


def facts(account: Account) -> dict[str, Any]:
    """How many there are of everything that is counted, in one statement."""
    now = timezone.now()
    machines = Instance.objects.filter(account=OuterRef("pk"))
    keys = ApiKey.objects.filter(account=OuterRef("pk"))
    ending = keys.working().filter(expires_at__lt=now + EXPIRING, replaced_by=None)
    counters = {
        kind: Coalesce(Subquery(Counter.objects.filter(account_id=OuterRef("pk"), kind=kind).values("count")), 0)
        for _, _, kind in COUNTED
    }
    used = Q(first_used_at__isnull=False)
    found = Account.objects.values(
        **counters,
        running=_number(machines.filter(state="running")),
        stopped=_number(machines.filter(state="stopped")),
        failed=_number(machines.filter(state="error")),
        hourly=Subquery(_grouped(machines.filter(metered_from__isnull=False), Sum("hourly_price"))),
        api_key=_number(keys.working()),
        ending=_number(ending),
        first_ending=Subquery(_grouped(ending, Min("expires_at"))),
        called=Exists(keys.filter(used)) | Exists(OAuthToken.objects.filter(used, account=OuterRef("pk"))),
        disabled_webhooks=_number(Endpoint.objects.filter(account=OuterRef("pk"), state="disabled")),
    )
    row: dict[str, Any] = dict(found.get(pk=account.pk))
    row["hourly"] = row["hourly"] or Decimal(0)
    row["moving"] = max(row["instance"] - row["running"] - row["stopped"] - row["failed"], 0)
    return row


def _number(rows: "QuerySet[Any]") -> Any:
    return Coalesce(Subquery(_grouped(rows, Count("pk"))), Value(0), output_field=IntegerField())


def _grouped(rows: "QuerySet[Any]", aggregate: Any) -> Any:
    return rows.order_by().values("account").annotate(found=aggregate).values("found")


def machines(account: Account) -> tuple[list[Instance], list[Instance]]:
    """The newest instances, and the newest of those in error."""
    rows = Instance.objects.newest_and_failed(account, newest=NEWEST, failed=FAILED)
    return rows[:NEWEST], [row for row in rows if row.state == "error"][:FAILED]


def spending(account: Account, hourly: Decimal) -> Spending:
    """This month (UTC) day by day. `hourly`: what runs now costs that."""
    now = timezone.now()
    start = month_of(now)
    count = monthrange(start.year, start.month)[1]
    held, called = _held(account, start, now), _called(account, start)
    ahead = [Decimal(0)] * (now.day - 1)
    ahead += [cost(hourly, max(now, day), day + timedelta(days=1)) for day in _days(start, count) if day.day >= now.day]
    series: list[tuple[Any, ...]] = [("Instances", held + [Decimal(0)] * (count - now.day))]
    if any(called):
        series.append(("Functions", called + [Decimal(0)] * (count - now.day)))
    if any(ahead):
        series.append(("Forecast", ahead, "quiet"))
    total = sum(held, Decimal(0)) + sum(called, Decimal(0))
    labels = [f"{day.day} {day:%b}" for day in _days(start, count)]
    return Spending(total, hourly, total + sum(ahead, Decimal(0)), Series(labels, series), f"{start:%B}")


def _days(start: datetime, count: int) -> Iterator[datetime]:
    return (start + timedelta(days=at) for at in range(count))


def _held(account: Account, start: datetime, now: datetime) -> list[Decimal]:
    """USD of each day so far for what was held: the sum of all rates, followed from change to change."""
    changes = [(day, Decimal(0)) for day in _days(start, now.day)]
    spans = UsageSpan.objects.of(account.pk, start, now).order_by()
    for rate, quantity, begun, ended in spans.values_list("rate", "quantity", "used_from", "used_to"):
        changes += [(max(begun, start), rate * quantity), (min(ended or now, now), -rate * quantity)]
    found, rate, at = [Decimal(0)] * now.day, Decimal(0), start
    for moment, change in sorted(changes, key=lambda one: one[0]):
        found[at.day - 1] += cost(rate, at, moment)
        rate, at = rate + change, moment
    found[at.day - 1] += cost(rate, at, now)
    return found


def _called(account: Account, start: datetime) -> list[Decimal]:
    """USD of each day so far for what functions' executions came to."""
    rows = Rollup.objects.filter(account_id=account.pk, hour__gte=start).order_by()
    sums = rows.values_list(ExtractDay("hour", tzinfo=UTC), "execution_price", "memory_price")
    found = [Decimal(0)] * timezone.now().day
    for day, each, hourly, executions, mb_ms in sums.annotate(Sum("executions"), Sum("mb_ms")):
        if day <= len(found):  # a neighbour's clock may be ahead
            found[day - 1] += executions * each + Decimal(mb_ms) / MB_MS_OF_A_GB_HOUR * hourly
    return found


def requests(account: Account) -> tuple[Series, int]:
    """How the API's requests of the last days (UTC) ended, and how many there were."""
    first = first_hour(24, REQUEST_DAYS)
    mine = [model.objects.filter(account=account).order_by().values("pk") for model in (ApiKey, OAuthToken)]
    rows = HourOfUse.objects.filter(Q(credential_id__in=mine[0]) | Q(credential_id__in=mine[1]), hour__gte=first)
    counts = {name: [0] * REQUEST_DAYS for name in OUTCOMES}
    by_day = rows.values_list((F("hour") - first) / 24).annotate(*map(Sum, OUTCOMES)).order_by()
    for day, *sums in by_day:
        if day < REQUEST_DAYS:  # a neighbour's clock may be ahead
            for name, number in zip(OUTCOMES, sums, strict=True):
                counts[name][day] += number
    begin = datetime.fromtimestamp(first * 3600, UTC)
    labels = [f"{day.day} {day:%b}" for day in _days(begin, REQUEST_DAYS)]
    series = [(IN_WORDS[name], values, TONES[name]) for name, values in counts.items() if name == "ok" or any(values)]
    return Series(labels, series), sum(map(sum, counts.values()))


def quotas(account: Account, known: dict[str, Any]) -> list[tuple[Limit, str]]:
    """What the plan limits, how much of it is in use, and its name in words; what people run into first comes first."""
    plan = account.plan
    found = [Limit(name, getattr(plan, field), known[kind]) for name, field, kind in COUNTED]
    found.append(Limit("api_keys", plan.max_api_keys, known["api_key"]))
    found.append(Limit("requests", plan.requests_per_hour, limiter().used(f"account:{account.pk}")))
    found = [limit for limit in found if limit.limit]
    order = sorted(found, key=lambda limit: -limit.used / limit.limit)
    return [(limit, WORDS[limit.name][0]) for limit in order]


def alerts(account: Account, known: dict[str, Any], failed: list[Instance], scopes: frozenset[str]) -> list[Alert]:
    """What is wrong now or soon, the worst first, as far as the reader may see it."""
    found = []
    if account.suspended_at:
        words = f"The account is suspended: {account.suspended_reason} Nothing can be changed until it is resumed."
        found.append(Alert("bad", "", words, "", ""))
    if "instances:read" in scopes:
        for row in failed:
            url = reverse("compute:instance", args=[row.public_id])
            found.append(Alert("bad", row.name, f"failed: {row.status_reason or 'no reason is known'}", url, "Look"))
        if known["failed"] > len(failed):
            words = f"{known['failed']} instances have failed in all."
            found.append(Alert("bad", "", words, f"{reverse('compute:instances')}?status=error", "Show all"))
    if "webhooks:read" in scopes and (count := known["disabled_webhooks"]):
        words = f"{_count(count, 'webhook')} {'is' if count == 1 else 'are'} disabled: nothing is delivered there."
        found.append(Alert("warn", "", words, reverse("webhooks:webhooks"), "Look"))
    if "api_keys:read" in scopes and (count := known["ending"]):
        days = (known["first_ending"] - timezone.now()).days
        when = "within a day" if days < 1 else f"in {_count(days, 'day')}"
        words = f"{_count(count, 'API key')} expire{'s' if count == 1 else ''} soon, the first {when}."
        found.append(Alert("warn", "", words, reverse("accounts:api_keys"), "Rotate"))
    return found


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
