"""Lists with numbered pages, lists that go on from a row, and what their links keep."""

import pytest
from django import forms
from django.test import RequestFactory

from compute.models import Instance
from core.models import Counter
from dashboard import lists
from tests import make

pytestmark = pytest.mark.django_db


class Filters(lists.Filters):
    also = ("sort",)
    region = forms.ChoiceField(required=False, choices=[("us-east-1", ""), ("eu-west-1", "")])

    def select(self, rows):
        return rows.filter(**{name: value for name, value in self.cleaned_data.items() if value})


@pytest.fixture
def fleet(account):
    for number in range(5):
        make.make_instance(account, name=f"web-{number}")
    return Instance.objects.order_by("-pk")


def asked(kind, account, rows, address, *more):
    request = RequestFactory().get(address)
    request.account = account
    return kind(request, rows, Filters(request.GET), 2, *more)


def names(part):
    return [row.name for row in part.rows]


def test_a_page_knows_its_neighbours_and_keeps_filters_and_order(account, fleet):
    part = asked(lists.Numbered, account, fleet, "/?page=2&region=us-east-1&sort=name&else=1", "instance")
    assert names(part) == ["web-2", "web-1"]
    assert part.previous == "?region=us-east-1&sort=name"
    assert part.here == "?region=us-east-1&sort=name&page=2"
    assert part.next == "?region=us-east-1&sort=name&page=3"
    last = asked(lists.Numbered, account, fleet, "/?page=3")
    assert (names(last), last.next) == (["web-0"], "")


@pytest.mark.parametrize("number", ["", "0", "-1", "01", "1.5", "²", "two", "9" * 7, "9" * 5000])
def test_what_is_no_number_of_a_page_is_the_first(account, fleet, number):
    assert names(asked(lists.Numbered, account, fleet, f"/?page={number}")) == ["web-4", "web-3"]


def test_a_wrong_filter_lists_nothing(account, fleet):
    for kind in (lists.Numbered, lists.Cursor):
        assert asked(kind, account, fleet, "/?region=mars-1").rows == []


@pytest.mark.parametrize(
    ("address", "count", "most", "said"),
    [
        ("/", 5, 4, "1–2 of 5"),
        ("/?page=3", 5, 9, "5–5 of 5"),
        ("/", 12_345, 4, "1–2 of 12,345"),  # counted with each that is made: exact, however many
        ("/?region=us-east-1", 0, 9, "1–2 of 5"),
        ("/?region=us-east-1", 0, 4, "1–2 of more than 4"),
        ("/?region=eu-west-1", 9, 9, "0 instances"),
    ],
)
def test_how_many_there_are_is_said_as_far_as_it_is_known(account, fleet, monkeypatch, address, count, most, said):
    monkeypatch.setattr(lists, "COUNTED", most)
    Counter.objects.filter(account_id=account.pk, kind="instance").delete()
    Counter.add(account, instance=count)
    assert asked(lists.Numbered, account, fleet, address, "instance").extent == said


@pytest.mark.parametrize(("count", "said"), [(1, "1 instance"), (2, "2 instances")])
def test_one_page_says_the_number_alone(account, count, said):
    for _ in range(count):
        make.make_instance(account)
    assert asked(lists.Numbered, account, Instance.objects.order_by("pk"), "/", "instance").extent == said


def test_a_cursor_goes_on_from_a_row_and_back_to_the_newest(account, fleet):
    first = asked(lists.Cursor, account, fleet, "/?sort=name")
    assert (names(first), first.previous) == (["web-4", "web-3"], "")
    second = asked(lists.Cursor, account, fleet, f"/{first.next}")
    assert (names(second), second.previous) == (["web-2", "web-1"], "?sort=name")
    last = asked(lists.Cursor, account, fleet, f"/{second.next}")
    assert (names(last), last.next) == (["web-0"], "")
    assert names(asked(lists.Cursor, account, fleet, "/?before=nonsense")) == ["web-4", "web-3"]
