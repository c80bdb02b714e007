"""The overview: what runs, what it costs, what is wrong, what is left, and the first steps."""

import html
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from accounts import uses
from accounts.actions import accounts
from billing.models import UsageSpan
from catalog.models.price import month_of
from compute.models import Instance
from config import overview
from core import ids
from core.context import SYSTEM
from functions.models import Rollup
from tests import make
from webhooks.models import Endpoint

pytestmark = pytest.mark.django_db
HTMX = {"HTTP_HX_REQUEST": "true"}
MOST_QUERIES = 8


def shown(page):
    return html.unescape(page.content.decode())


@pytest.fixture
def noon(monkeypatch):
    """The tenth of a month, twelve o'clock, for whoever asks the clock."""
    moment = datetime(2026, 6, 10, 12, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: moment)
    return moment


def span(account, rate, begun, ended=None, quantity=1):
    return UsageSpan.objects.create(
        id=ids.new(),
        account_id=account.pk,
        resource=ids.new(),
        sku="instance.compute-1x",
        quantity=quantity,
        rate=Decimal(rate),
        memory_gb=1,
        used_from=begun,
        used_to=ended,
    )


def test_spending_is_told_day_by_day_and_as_the_month_will_come_out(account, noon):
    midnight = noon.replace(hour=0)
    span(
        account, "1", midnight - timedelta(days=30), midnight - timedelta(days=8)
    )  # from last month to the end of the 1st
    span(account, "0.5", midnight - timedelta(hours=6), quantity=2)  # since 18:00 yesterday
    span(make.make_account(), "1000", midnight)
    found = overview.spending(account, Decimal(1))
    days = dict(zip(found.chart.labels, found.chart.series[0][1], strict=True))
    assert (days["1 Jun"], days["2 Jun"], days["9 Jun"], days["10 Jun"], days["11 Jun"]) == (24, 0, 6, 12, 0)
    assert found.total == 42
    assert found.forecast == 42 + 12 + 20 * 24
    assert [name for name, *_ in found.chart.series] == ["Instances", "Forecast"]
    assert found.chart.series[1][1][8:11] == [0, 12, 24]


def test_functions_are_a_part_of_what_a_day_costs(account, noon):
    for hour, executions in ((0, 10), (36, 5)):
        Rollup.objects.create(
            function_id=ids.new(),
            account_id=account.pk,
            hour=month_of(noon) + timedelta(hours=hour),
            executions=executions,
            mb_ms=1024 * 3_600_000,
            execution_price=Decimal("0.1"),
            memory_price=Decimal(2),
        )
    found = overview.spending(account, Decimal(0))
    name, days = found.chart.series[1]
    assert (name, days[:3]) == ("Functions", [3, Decimal("2.5"), 0])
    assert found.total == found.forecast == Decimal("5.5")


def test_the_month_on_the_overview_is_what_the_api_bills(account, alice):
    row = make.make_instance(account)
    begun = max(month_of(timezone.now()), timezone.now() - timedelta(hours=30))
    UsageSpan.objects.filter(resource=row.pk).update(used_from=begun, rate=1)
    told = make.make_api(account).get("/usage").json()["current_month_cost"]
    assert told in shown(alice.get("/"))


def test_machines_are_counted_by_what_they_do(account, alice):
    for state in ("running", "running", "stopped", "error", "provisioning"):
        make.make_instance(account, state=state)
    make.make_instance(make.make_account())
    known = overview.facts(account)
    names = ("instance", "running", "stopped", "failed", "moving")
    assert [known[name] for name in names] == [5, 2, 1, 1, 1]
    assert known["hourly"] == 2 * Instance.objects.filter(account=account)[0].hourly_price
    page = shown(alice.get("/"))
    assert "1 failed" in page
    assert "1 on the way" in page


def test_what_is_wrong_is_said_with_the_way_to_it(account, alice):
    row = make.make_instance(account, state="error", name="db-1")
    make.make_key(account, expires_at=make.days(3.5))
    make.make_webhook(account)
    Endpoint.objects.update(state="disabled")
    page = shown(alice.get("/"))
    assert "<strong>db-1</strong> failed: The disk is full" in page
    assert f'href="/instances/{row.public_id}"' in page
    assert "1 API key expires soon, the first in 3 days." in page
    assert "1 webhook is disabled" in page


def test_many_failed_instances_are_a_number_and_not_a_wall(account, alice):
    for _ in range(5):
        make.make_instance(account, state="error")
    page = alice.get("/")
    assert len(page.context["alerts"]) == overview.FAILED + 1
    assert "5 instances have failed in all." in shown(page)


def test_a_suspended_account_is_told_why(account, alice):
    accounts.suspend(account=account, by=SYSTEM, reason="The invoice of May is open.")
    assert "The account is suspended: The invoice of May is open." in shown(alice.get("/"))


def test_all_is_well_where_nothing_is_wrong(account, alice):
    make.make_instance(account)
    make.make_key(account)
    assert alice.get("/").context["alerts"] == []


def test_quotas_say_first_what_people_will_run_into_first():
    account = make.make_account(plan="free")
    for _ in range(4):
        make.make_instance(account)
    page = make.sign_in(make.owner_of(account).user).get("/")
    limits = [limit for limit, _ in page.context["quotas"]]
    assert (limits[0].name, limits[0].used, limits[0].limit) == ("instances", 4, 5)
    assert {limit.name for limit in limits} >= {"vcpus", "ssh_keys", "api_keys", "requests"}


def test_the_steps_of_a_new_account_are_done_one_by_one_and_then_gone(account, alice):
    assert shown(alice.get("/")).count('class="done"') == 0
    make.make_ssh_key(account)
    _, secret = make.make_key(account)
    page = shown(alice.get("/"))
    assert page.count('class="done"') == 2
    assert "Listening for it" in page
    make.make_instance(account)
    make.Api(secret.key).get("/instances")
    uses.flush()
    assert "First steps" not in shown(alice.get("/"))


def test_the_first_call_turns_its_step_green_and_ends_the_asking(account, alice):
    _, secret = make.make_key(account)
    waiting = alice.get("/?part=first-call", **HTMX)
    assert waiting.status_code == 200
    assert "every 2s" in shown(waiting)
    make.Api(secret.key).get("/instances")
    uses.flush()
    done = alice.get("/?part=first-call", **HTMX)
    assert done.status_code == 286
    assert 'class="done"' in shown(done)
    assert "hx-get" not in shown(done)


def test_requests_are_counted_by_day_and_by_how_they_ended(account, alice):
    _, secret = make.make_key(account)
    _, strangers = make.make_key(make.make_account())
    for path in ("/instances", "/instances", "/nowhere"):
        make.Api(secret.key).get(path)
    make.Api(strangers.key).get("/instances")
    uses.flush()
    chart, count = overview.requests(account)
    assert count == 3
    assert [(name, values[-1], tone) for name, values, tone in chart.series] == [
        ("OK", 2, "ok"),
        ("Refused", 1, "warn"),
    ]
    assert len(chart.labels) == overview.REQUEST_DAYS
    assert "API requests per day" in shown(alice.get("/"))


def test_what_happened_lately_comes_by_itself(account, alice):
    make.make_instance(account, name="web-7")
    assert 'data-later="/?part=activity"' in shown(alice.get("/"))
    part = shown(alice.get("/?part=activity", **HTMX))
    assert "Instance requested <strong>web-7</strong>" in part
    assert "hx-get" not in part


def test_the_newest_machines_are_followed_while_one_moves(account, alice):
    row = make.make_instance(account, state="provisioning")
    assert alice.get("/?part=newest", **HTMX).status_code == 200
    Instance.objects.filter(pk=row.pk).update(state="stopped")
    page = alice.get("/?part=newest", **HTMX)
    assert page.status_code == 286
    assert "hx-get" not in shown(page)


def test_who_may_not_see_a_part_is_not_shown_it(account):
    make.make_instance(account, name="secret-name", state="error")
    billing = shown(make.sign_in(make.make_member(account, "billing").user).get("/"))
    assert "Spending per day" in billing
    assert "secret-name" not in billing
    assert "API requests per day" not in billing
    bob = make.sign_in(make.make_member(account, "billing").user)
    assert "secret-name" not in shown(bob.get("/?part=activity", **HTMX))
    assert "secret-name" not in shown(bob.get("/?part=newest", **HTMX))
    viewer = shown(make.sign_in(make.make_member(account, "viewer").user).get("/"))
    assert "secret-name" in viewer
    assert "First steps" not in viewer


def test_charlie_sees_nothing_of_alices(account):
    make.make_instance(account, name="alices own", state="error")
    charlie = make.sign_in(make.owner_of(make.make_account()).user)
    for path in ("/", "/?part=activity", "/?part=newest"):
        assert "alices own" not in shown(charlie.get(path, **(HTMX if "part" in path else {})))


def test_the_overview_takes_few_queries_whatever_there_is(account, alice, django_assert_max_num_queries):
    for number in range(12):
        make.make_instance(account, state=("running", "error", "stopped", "provisioning")[number % 4])
        make.make_ssh_key(account, generate=True)
    for _ in range(3):
        _, secret = make.make_key(account, expires_at=make.days(2))
        make.Api(secret.key).get("/instances")
        make.make_webhook(account)
    make.make_function(account)
    uses.flush()
    alice.get("/")  # what a process remembers of plans and prices, it asks for once
    for path in ("/", "/?part=activity", "/?part=newest", "/?part=first-call"):
        with django_assert_max_num_queries(MOST_QUERIES):
            alice.get(path, **(HTMX if "part" in path else {}))
