"""`GET /v1/usage`: exactly the document's three keys, from the spans of the month."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode

import pytest
import time_machine

from billing.models import UsageSpan
from core import ids, usage
from core.usage import Counted
from tests.make import make_account, make_api, make_instance

pytestmark = pytest.mark.django_db


def use(account, start: datetime, hours: float, *, rate: str = "1", memory_gb: str = "2", **fields) -> UsageSpan:
    end = start + timedelta(hours=hours) if hours else None
    fields = {"sku": "instance.compute-2x", "quantity": 1} | fields
    return UsageSpan.objects.create(
        id=ids.new(), account_id=account.pk, resource=ids.new(), rate=Decimal(rate), memory_gb=Decimal(memory_gb),
        used_from=start, used_to=end, **fields,
    )  # fmt: skip


def test_an_account_that_used_nothing_reads_zeros_in_the_documents_words():
    answer = make_api().get("/usage")
    assert answer.json() == {"total_executions": 0, "gigabytes_hour": "0.0 GBh", "current_month_cost": "$0.00"}
    assert list(answer.json()) == ["total_executions", "gigabytes_hour", "current_month_cost"]


def test_fields_choose_what_is_shown_as_everywhere_in_the_bare_family():
    api = make_api()
    assert api.get("/usage?fields=*").json() == api.get("/usage").json()
    assert api.get("/usage?fields=current_month_cost").json() == {"current_month_cost": "$0.00"}
    assert api.get("/usage?fields=cost").status_code == 400


def test_money_and_hours_have_commas_and_are_rounded_once_at_the_end():
    alice = make_account()
    with time_machine.travel(datetime(2026, 1, 24, tzinfo=UTC), tick=False):
        use(alice, datetime(2026, 1, 2, tzinfo=UTC), 100, rate="23.45", memory_gb="21.15")
        for _ in range(3):
            use(alice, datetime(2026, 1, 2, tzinfo=UTC), 1, rate="0.003", memory_gb="0")
        answer = make_api(alice).get("/usage").json()
    assert answer == {"total_executions": 0, "gigabytes_hour": "2,115.0 GBh", "current_month_cost": "$2,345.01"}


def test_a_span_across_months_counts_in_each_for_its_part():
    alice = make_account()
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False):
        use(alice, datetime(2026, 1, 31, 22, tzinfo=UTC), 5)
        api = make_api(alice)
        assert api.get("/usage?month=2026-01").json()["current_month_cost"] == "$2.00"
        assert api.get("/usage?month=2026-02").json()["gigabytes_hour"] == "6.0 GBh"
        assert api.get("/usage").json()["current_month_cost"] == "$0.00"
        assert api.get("/usage?month=2025-12").json()["current_month_cost"] == "$0.00"
        assert api.get("/usage?month=2027-12").json()["current_month_cost"] == "$0.00"


def test_what_still_runs_counts_up_to_now():
    alice = make_account()
    with time_machine.travel(datetime(2026, 12, 31, 12, tzinfo=UTC), tick=False):
        use(alice, datetime(2026, 12, 31, 10, tzinfo=UTC), 0, rate="1.5")
        assert make_api(alice).get("/usage").json()["current_month_cost"] == "$3.00"
        assert make_api(alice).get("/usage?month=2026-12").json()["current_month_cost"] == "$3.00"


def test_what_is_counted_by_the_hour_counts_with_its_hours_and_its_cost(monkeypatch):
    alice = make_account()
    asked = []

    def reader(account_id, start, end):
        asked.append((account_id, start))
        yield Counted(ids.new(), "function.executions", Decimal(524_378), Decimal("0.0002"))
        yield Counted(ids.new(), "function.memory", Decimal("42.26"), Decimal("10"), Decimal("42.26"))

    monkeypatch.setattr(usage, "_readers", [reader])
    answer = make_api(alice).get("/usage?month=2026-01").json()
    assert answer == {"total_executions": 524_378, "gigabytes_hour": "42.3 GBh", "current_month_cost": "$527.48"}
    assert asked == [(alice.pk, datetime(2026, 1, 1, tzinfo=UTC))]


def test_usage_agrees_with_the_instances_own_cost():
    alice = make_account()
    with time_machine.travel(datetime(2026, 1, 10, tzinfo=UTC), tick=False) as clock:
        rows = [make_instance(alice, instance_type=size) for size in ("compute-1x", "compute-16x")]
        clock.shift(timedelta(days=10))
        total = sum(row.month_to_date_cost() for row in rows)
        assert make_api(alice).get("/usage").json()["current_month_cost"] == f"${total:,.2f}"


def test_charlie_pays_nothing_for_alice():
    use(make_account(), datetime.now(UTC) - timedelta(minutes=1), 0)
    charlie = make_api(make_account(name="Charlie's"))
    assert charlie.get("/usage").json()["current_month_cost"] == "$0.00"


@pytest.mark.parametrize("month", ["2026-13", "2026-1", "last", "", "٢٠٢٦-01", "9999-12", "0000-01"])
def test_a_month_that_is_none_is_refused(month):
    answer = make_api().get("/usage", QUERY_STRING=urlencode({"month": month}))
    assert answer.status_code == 400
    assert json.loads(answer.content)["error"]["details"]["field"] == "month"
