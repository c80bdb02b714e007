"""What a function's executions came to, as charts: read from the hours' sums, never from the executions themselves."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import View

from accounts.models.use import first_hour
from accounts.views.uses import RANGES, share
from dashboard.calls import Call
from dashboard.pages import find_or_404
from functions.models import Function, Rollup
from functions.models.rollup import MB_MS_OF_A_GB_HOUR, percentile


@dataclass
class Sums:
    """Of one column of a chart, or of all."""

    executions: int = 0
    failed: int = 0
    cold_starts: int = 0
    mb_ms: int = 0
    durations: Counter[str] = field(default_factory=Counter)

    def add(self, hour: Rollup) -> None:
        self.executions += hour.executions
        self.failed += hour.failed
        self.cold_starts += hour.cold_starts
        self.mb_ms += hour.mb_ms
        self.durations.update(hour.durations)

    def latency(self, part: float) -> float | None:
        """Milliseconds that this part of them stayed below."""
        return percentile(self.durations, part)

    @property
    def error_rate(self) -> float | None:
        """Percent."""
        return self.failed / self.executions * 100 if self.executions else None


class Metrics(LoginRequiredMixin, View):
    scopes = {"GET": "functions:read"}

    def get(self, request: HttpRequest, id: str) -> HttpResponse:
        function = find_or_404(Function.objects.for_account(request.account).defer("sealed_secrets"), id)
        chosen = request.GET.get("range")
        chosen = chosen if chosen in RANGES else "24h"
        words, hours, steps, form = RANGES[chosen]
        first = first_hour(hours, steps)
        columns = [Sums() for _ in range(steps)]
        whole = Sums()
        since = datetime.fromtimestamp(first * 3600, UTC)
        for row in Rollup.objects.filter(function_id=function.pk, hour__gte=since):
            at = (int(row.hour.timestamp()) // 3600 - first) // hours
            if at < steps:
                columns[at].add(row)
                whole.add(row)
        context = {
            "function": function,
            "range": chosen,
            "ranges": [(slug, label) for slug, (label, *_) in RANGES.items()],
            "span": words,
            "labels": [f"{datetime.fromtimestamp((first + at * hours) * 3600, UTC):{form}}" for at in range(steps)],
            "invocations": [
                ("Succeeded", [one.executions - one.failed for one in columns], "ok"),
                ("Failed", [one.failed for one in columns], "bad"),
            ],
            "errors": [("Failed", [one.error_rate for one in columns], "bad")],
            "latency": [
                ("p50", [one.latency(0.5) for one in columns]),
                ("p95", [one.latency(0.95) for one in columns]),
            ],
            "whole": whole,
            "failed_share": share(whole.failed, whole.executions) if whole.executions else "—",
            "p50": whole.latency(0.5),
            "p95": whole.latency(0.95),
            "gb_seconds": whole.mb_ms / MB_MS_OF_A_GB_HOUR * 3600,
            "calls": [
                Call("What ran", "GET", f"/v1/functions/{function.public_id}/executions"),
                Call("What the account's functions came to", "GET", "/v1/usage"),
            ],
        }
        return render(request, "functions/functions/metrics.html", context)


def add_sparks(functions: Sequence[Function]) -> None:
    """Give each function `spark`, its executions of the last 24 hours by the hour, `executions` and `failed`."""
    first = first_hour(1, 24)
    sums: dict[Any, list[Sums]] = {row.pk: [Sums() for _ in range(24)] for row in functions}
    since = datetime.fromtimestamp(first * 3600, UTC)
    rows = Rollup.objects.filter(function_id__in=sums, hour__gte=since).defer("durations")
    for row in rows.order_by():
        at = int(row.hour.timestamp()) // 3600 - first
        if at < 24:
            sums[row.function_id][at].executions += row.executions
            sums[row.function_id][at].failed += row.failed
    for function in functions:
        hours = sums[function.pk]
        function.spark = [one.executions for one in hours]
        function.executions = sum(function.spark)
        function.failed = sum(one.failed for one in hours)
