"""Usage spans from meters: exact, each once, the same again from the log, and in agreement with the rows' own costs."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
import time_machine
from django.core.management import call_command
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.models import UsageSpan
from catalog.models import Price
from catalog.models.price import month_of
from compute.actions import instances
from core import epoch
from core.context import SYSTEM
from core.errors import LambdaError
from core.models import Event
from tests.make import make_account, make_instance, observed

pytestmark = pytest.mark.django_db

JANUARY = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def rows() -> list[dict]:
    return list(UsageSpan.objects.order_by("id").values())


def test_a_running_instance_has_one_open_span_at_its_price_with_its_memory():
    row = make_instance(instance_type="compute-4x")
    (span,) = UsageSpan.objects.all()
    assert (span.resource, span.sku, span.used_from, span.used_to) == (
        row.pk,
        "instance.compute-4x",
        row.metered_from,
        None,
    )
    assert (span.quantity, span.rate, span.memory_gb) == (1, Price.objects.at("instance.compute-4x"), 4)
    assert span.account_id == row.account_id


def test_a_pending_instance_costs_nothing():
    make_instance(state="pending")
    make_instance(state="stopped")
    assert not UsageSpan.objects.exists()


def test_stopping_closes_the_span_and_starting_opens_another():
    row = make_instance()
    row = instances.mark_stopped(instance=instances.stop(instance=row, by=SYSTEM))
    assert UsageSpan.objects.get().used_to == row.stopped_at
    row = instances.start(instance=row, by=SYSTEM)
    instances.mark_running(instance=row, observed=observed(row))
    assert UsageSpan.objects.filter(used_to=None).count() == 1
    assert UsageSpan.objects.count() == 2


def test_a_span_is_rolled_back_with_its_event():
    row = make_instance(state="provisioning")
    with pytest.raises(RuntimeError), transaction.atomic():
        instances.mark_running(instance=row, observed=observed(row))
        assert UsageSpan.objects.exists()
        raise RuntimeError
    assert not UsageSpan.objects.exists()


def test_a_new_price_holds_from_the_next_start_and_not_for_what_runs():
    with time_machine.travel(JANUARY, tick=False) as clock:
        row = make_instance()
        old = row.hourly_price
        Price.objects.create(sku=row.sku, unit_price=old * 2, effective_from=JANUARY + timedelta(minutes=1))
        epoch.advance()
        clock.shift(3600)
        assert row.month_to_date_cost() == old
        row = instances.mark_stopped(instance=instances.stop(instance=row, by=SYSTEM))
        row = instances.start(instance=row, by=SYSTEM)
        row = instances.mark_running(instance=row, observed=observed(row))
        assert row.hourly_price == old * 2
        row.refresh_from_db()
        assert row.hourly_price == old * 2
    assert sorted(UsageSpan.objects.values_list("rate", flat=True)) == [old, old * 2]


VERBS = {
    "stop": lambda row: instances.mark_stopped(instance=instances.stop(instance=row, by=SYSTEM)),
    "start": lambda row: _up(instances.start(instance=row, by=SYSTEM)),
    "restart": lambda row: _up(instances.restart(instance=row, by=SYSTEM)),
    "resize": lambda row: _settled(instances.resize(instance=row, by=SYSTEM, instance_type="compute-2x", restart=True)),
    "resize back": lambda row: _settled(
        instances.resize(instance=row, by=SYSTEM, instance_type="memory-2x", restart=True)
    ),
    "fail": lambda row: instances.mark_failed(instance=row, reason="The disk is full"),
    "lost": lambda row: instances.mark_lost(instance=row),
}


def _up(row):
    return instances.mark_running(instance=row, observed=observed(row)) if row.state != "running" else row


def _settled(row):
    if row.state != "resizing":
        return row
    return _up(row) if row.desired_state == "running" else instances.mark_stopped(instance=row)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(VERBS)), st.integers(min_value=1, max_value=5 * 24 * 3600 * 1000)), max_size=12
    )
)
def test_whatever_happens_to_an_instance_its_cost_is_that_of_its_spans_and_a_replay_makes_the_same_ones(db, steps):
    with transaction.atomic(), time_machine.travel(JANUARY, tick=False) as clock:
        row = make_instance()
        for verb, milliseconds in steps:
            clock.shift(timedelta(milliseconds=milliseconds))
            try:
                with transaction.atomic():
                    row = VERBS[verb](row) or row
            except (LambdaError, ValueError):
                pass  # not from this state
            row.refresh_from_db()
        now = datetime.now(UTC)
        mine = UsageSpan.objects.of(row.account_id, month_of(now), now)
        assert sum((span.cost(month_of(now), now) for span in mine), Decimal(0)) == row.month_to_date_cost(now)
        assert UsageSpan.objects.filter(used_to=None).count() == (row.metered_from is not None)

        before = rows()
        call_command("rebuild_spans", stdout=StringIO())
        assert rows() == before
        transaction.set_rollback(True)


def test_rebuilding_repairs_what_was_lost_and_what_was_made_up():
    make_instance()
    before = rows()
    UsageSpan.objects.update(rate=99, used_to=datetime.now(UTC))
    UsageSpan.objects.create(
        id=make_account().pk, account_id=make_account().pk, resource=make_account().pk, sku="made.up",
        quantity=1, rate=1, memory_gb=1, used_from=datetime.now(UTC),
    )  # fmt: skip
    out = StringIO()
    call_command("rebuild_spans", stdout=out)
    assert rows() == before
    assert out.getvalue() == "1 spans\n"


def test_an_event_read_twice_is_metered_once():
    from billing.actions import spans

    make_instance()
    before = rows()
    for event in Event.objects.exclude(meters=[]):
        spans.meter(event=event)
    assert rows() == before
