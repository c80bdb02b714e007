"""The hot reads: how many statements they take, and that no table is read through for one page of it."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bench.growth import fill
from compute.models import Instance
from core.models import Counter
from tests import make

pytestmark = [pytest.mark.slow, pytest.mark.django_db]


@pytest.fixture
def account():
    """With many instances, among the many more and newer ones of a neighbour."""
    account, neighbour = make.make_account(), make.make_account(name="Charlie's")
    for owner, first, count in ((account, 0, 1000), (neighbour, 1000, 20_000)):
        make.make_instance(owner)
        fill(owner, count, first)
    return account


def explained(read):
    """The plan of the one statement that `read` takes."""
    with CaptureQueriesContext(connection) as captured:
        read()
    assert len(captured) == 1
    explain = "EXPLAIN QUERY PLAN "
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            explain = "EXPLAIN "
            cursor.execute("SET LOCAL enable_seqscan = off")  # it reads small tables through, and rightly
        cursor.execute(explain + captured[0]["sql"])
        return "\n".join(str(row[-1]) for row in cursor.fetchall())


@pytest.mark.parametrize("page", [1, 51])
def test_a_page_with_its_total_comes_from_the_index_whatever_the_number_of_rows(account, page):
    assert Counter.of(account, "instance") == 1001
    found = explained(lambda: Instance.objects.page(account, page, 20))
    assert "instance_account" in found, found
    read_through = [line for line in found.splitlines() if "Seq Scan" in line or line.startswith("SCAN ")]
    assert [line for line in read_through if line != "SCAN wanted"] == []  # which is the page itself


def test_one_instance_comes_from_its_key(account):
    key = Instance.objects.filter(account=account).values_list("pk", flat=True)[0]
    found = explained(lambda: Instance.objects.one(account, key))
    assert "Seq Scan" not in found
    assert "SCAN " not in found, found


def test_a_list_takes_two_statements_at_most_and_a_get_one(account):
    api = make.make_api(account)
    api.get("/account")  # the key is known from here on
    with CaptureQueriesContext(connection) as captured:
        page = api.get("/instances?limit=100").json()
    assert len(captured) <= 2
    assert (len(page["data"]), page["pagination"]["total_items"]) == (100, 1001)
    with CaptureQueriesContext(connection) as captured:
        one = api.get(f"/instances/{page['data'][50]['id']}")
    assert len(captured) <= 1
    assert one.json()["data"] == page["data"][50]
