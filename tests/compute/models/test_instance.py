"""What an instance costs: exact to the second and to the last decimal place, from its row alone."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine

from catalog.models import Price
from compute.actions import instances
from compute.models import Instance
from core import epoch
from core.context import SYSTEM
from core.models import Event
from tests import make

pytestmark = [pytest.mark.django_db, pytest.mark.db]
START = datetime(2026, 3, 10, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def clock():
    with time_machine.travel(START, tick=False) as travelling:
        yield travelling


def fresh(row):
    return Instance.objects.select_related("account__plan").get(pk=row.pk)


def meters(row):
    log = Event.objects.filter(subject_id=row.pk).order_by("seq")
    return [meter for event in log for meter in event.meters]


def run_for(clock, row, **time):
    row = instances.start(instance=fresh(row), by=SYSTEM)
    instances.mark_running(instance=row, observed=make.observed(row))
    clock.shift(timedelta(**time))
    instances.mark_stopped(instance=instances.stop(instance=fresh(row), by=SYSTEM))


def test_an_hour_of_the_documents_price_is_that_price(clock):
    row = make.make_instance(state="running")
    clock.shift(timedelta(hours=1))
    assert fresh(row).month_to_date_cost() == Decimal("0.008000000000")


def test_each_second_counts_and_none_twice(clock):
    row = make.make_instance(state="running")
    clock.shift(timedelta(seconds=1))
    assert fresh(row).month_to_date_cost() == (Decimal("0.008") / 3600).quantize(Decimal("1e-12"))
    clock.shift(timedelta(seconds=3599))
    assert fresh(row).month_to_date_cost() == Decimal("0.008")


def test_a_stopped_instance_costs_nothing_more_and_keeps_what_it_has_cost(clock):
    row = make.make_instance(state="stopped")
    assert (fresh(row).month_to_date_cost(), fresh(row).metered_from) == (0, None)
    run_for(clock, row, minutes=30)
    clock.shift(timedelta(days=3))
    run_for(clock, row, minutes=90)
    clock.shift(timedelta(days=3))
    assert fresh(row).month_to_date_cost() == Decimal("0.016")


def test_a_new_month_begins_at_nought_in_utc(clock):
    row = make.make_instance(state="running")
    clock.move_to(datetime(2026, 4, 1, 0, 0, 0, tzinfo=UTC))
    assert fresh(row).month_to_date_cost() == 0
    clock.shift(timedelta(hours=2))
    assert fresh(row).month_to_date_cost() == Decimal("0.016")
    instances.mark_stopped(instance=instances.stop(instance=fresh(row), by=SYSTEM))
    assert fresh(row).month_to_date_cost() == Decimal("0.016")
    clock.move_to(datetime(2026, 5, 1, 0, 0, 0, tzinfo=UTC))
    assert fresh(row).month_to_date_cost() == 0


def test_a_resize_ends_one_price_and_begins_another(clock):
    row = make.make_instance(state="running")
    clock.shift(timedelta(hours=1))
    row = instances.resize(instance=fresh(row), by=SYSTEM, instance_type="compute-2x", restart=True)
    clock.shift(timedelta(seconds=10))  # between the two nothing runs and nothing is counted
    instances.mark_running(instance=row, observed=make.observed(row))
    clock.shift(timedelta(hours=1))
    assert fresh(row).month_to_date_cost() == Decimal("0.008") + Decimal("0.016")
    assert [meter["sku"] for meter in meters(row)] == [
        "instance.compute-1x",
        "instance.compute-1x",
        "instance.compute-2x",
    ]


@pytest.mark.parametrize("end", ["stopped", "error", "deleted"])
def test_whatever_ends_it_closes_its_meter_once(clock, end):
    row = make.make_instance(state="running")
    clock.shift(timedelta(seconds=90))
    if end == "stopped":
        instances.mark_stopped(instance=instances.stop(instance=row, by=SYSTEM))
    elif end == "error":
        instances.mark_failed(instance=fresh(row), reason="broken")
    else:
        instances.mark_deleted(instance=instances.delete(instance=row, by=SYSTEM))
    opened, closed = meters(row)
    assert opened["to"] is None
    assert closed["from"] == opened["from"] == START.isoformat()
    assert closed["to"] == (START + timedelta(seconds=90)).isoformat()
    assert (closed["sku"], closed["quantity"]) == ("instance.compute-1x", "1")


def test_a_restart_goes_on_with_the_same_meter(clock):
    row = make.make_instance(state="restarting")
    instances.mark_running(instance=row, observed=make.observed(row))
    assert len(meters(row)) == 1


def test_what_never_came_up_costs_nothing(clock):
    row = make.make_instance(state="error")
    clock.shift(timedelta(days=1))
    assert fresh(row).month_to_date_cost() == 0
    assert meters(row) == []


def test_a_new_price_holds_from_the_next_start_on(clock):
    row = make.make_instance(state="running")
    Price.objects.create(sku="instance.compute-1x", unit_price=Decimal("1"), effective_from=START + timedelta(hours=1))
    clock.shift(timedelta(hours=2))
    epoch.advance()
    assert fresh(row).month_to_date_cost() == Decimal("0.016")
    instances.mark_stopped(instance=instances.stop(instance=fresh(row), by=SYSTEM))
    run_for(clock, row, hours=1)
    assert fresh(row).month_to_date_cost() == Decimal("1.016")


@pytest.mark.parametrize(("port", "command"), [(22, "ssh lambda@127.0.0.1"), (2222, "ssh -p 2222 lambda@127.0.0.1")])
def test_the_ssh_line_names_the_port_only_where_it_must(port, command):
    row = make.make_instance()
    row.ssh_port = port
    assert row.ssh_command == command
