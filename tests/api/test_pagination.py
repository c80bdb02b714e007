"""Pages of lists: whole, without overlap, and a mistake in the numbers is a mistake."""

import pytest

from tests import make
from tests.api.test_errors import refused

pytestmark = [pytest.mark.django_db, pytest.mark.db]


@pytest.fixture
def account():
    return make.make_account()


@pytest.fixture
def api(account):
    return make.make_api(account)


def test_pages_hold_everything_once_newest_first(account, api):
    made = [make.make_instance(account, state="pending", name=f"n{number}").public_id for number in range(7)]
    seen = []
    for number in (1, 2, 3):
        answer = api.get(f"/instances?limit=3&page={number}").json()
        assert answer["pagination"] == {
            "page": number,
            "limit": 3,
            "total_items": 7,
            "total_pages": 3,
            "has_next": number < 3,
            "has_prev": number > 1,
        }
        seen += [row["id"] for row in answer["data"]]
    assert seen == made[::-1]


def test_a_page_beyond_the_end_is_empty_and_an_empty_list_has_no_pages(account, api):
    empty = api.get("/instances").json()
    assert empty["data"] == []
    assert (empty["pagination"]["total_pages"], empty["pagination"]["has_next"]) == (0, False)
    make.make_instance(account, state="pending")
    beyond = api.get("/instances?page=5").json()
    assert beyond["data"] == []
    assert beyond["pagination"] == {
        "page": 5,
        "limit": 20,
        "total_items": 1,
        "total_pages": 1,
        "has_next": False,
        "has_prev": True,
    }


@pytest.mark.parametrize(("query", "limit"), [("", 20), ("limit=1", 1), ("limit=100", 100)])
def test_a_page_has_twenty_rows_unless_asked_for_one_to_a_hundred(api, query, limit):
    assert api.get(f"/instances?{query}").json()["pagination"]["limit"] == limit


@pytest.mark.parametrize("name", ["page", "limit"])
@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1.5", "1e2", "٣", "+1", "0x1", "9" * 30, "%20", "1,2"])
@pytest.mark.parametrize("path", ["/instances", "/ssh-keys", "/account/api-keys"])
def test_a_number_out_of_range_is_refused_with_the_range(api, path, name, value):
    details = refused(api.get(f"{path}?{name}={value}"), 400, "invalid_request")["details"]
    assert details["field"] == name
    assert details["minimum"] == 1


def test_a_hundred_and_one_rows_are_too_many(api):
    error = refused(api.get("/instances?limit=101"), 400, "invalid_request")
    assert error["details"]["maximum"] == 100
    assert "from 1 to 100" in error["message"]
