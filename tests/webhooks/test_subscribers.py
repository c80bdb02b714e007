"""Events that happen too often for everybody: recorded and delivered where a webhook names them."""

import pytest

from core import events, ids
from core.models import Event
from functions import calls, tasks
from tests.make import make_account, make_function, make_webhook
from webhooks import subscribers
from webhooks.actions import deliveries
from webhooks.models import Delivery

pytestmark = [pytest.mark.django_db, pytest.mark.db]
BOTH = {"execution.succeeded", "execution.failed"}


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (["*"], set()),
        (["function.*"], set()),
        (["execution.*"], BOTH),
        (["*", "execution.failed"], {"execution.failed"}),
    ],
)
def test_an_account_takes_what_its_webhooks_name_and_a_star_names_nothing_of_it(patterns, wanted):
    account = make_account()
    make_webhook(account, events=patterns)
    assert events.taken({account.pk}) == {account.pk: wanted}


def test_webhooks_of_others_and_webhooks_that_are_off_take_nothing():
    account, other = make_account(), make_account()
    make_webhook(other, events=["execution.*"])
    endpoint = make_webhook(account, events=["execution.*"])
    endpoint.state = "disabled"
    endpoint.save()
    assert events.taken({account.pk, other.pk}) == {account.pk: set(), other.pk: BOTH}


def test_one_statement_asks_for_all_accounts(django_assert_num_queries):
    accounts = [make_account() for _ in range(3)]
    for account in accounts:
        make_webhook(account, events=["execution.*"])
    with django_assert_num_queries(1):
        assert len(subscribers.named({account.pk for account in accounts})) == 3


def test_the_end_of_an_execution_is_delivered_to_who_named_it(monkeypatch):
    monkeypatch.setattr(type(Event.objects.all()), "committed", lambda rows: rows.order_by("txid", "seq"))
    function = make_function()
    everything = make_webhook(function.account)
    ends = make_webhook(function.account, events=["execution.*"])
    id = ids.encode("exec", ids.new())
    calls.run(calls.target(function.account_id, function.number), id, b"{}")
    tasks.ingest()
    while deliveries.fan_out():
        pass
    (delivery,) = Delivery.objects.filter(endpoint=ends)
    assert delivery.event_type == "execution.succeeded"
    assert Event.objects.get(seq=delivery.event_seq).data["execution_id"] == id
    assert not Delivery.objects.filter(endpoint=everything, event_type__startswith="execution.").exists()
