"""`GET /v1/versions`: the document's table, for whoever asks."""

from tests.make import Api, make_api


def test_the_versions_are_those_of_the_document(db):
    assert Api().get("/versions").json()["data"] == [
        {"version": "v1", "introduced": "2024-01-01", "end_of_life": None, "status": "stable"},
        {"version": "v2", "introduced": "2026-01-01", "end_of_life": None, "status": "beta"},
    ]


def test_short_lists_have_pages_too(db):
    api = make_api()
    second = api.get("/versions?page=2&limit=1").json()
    assert [row["version"] for row in second["data"]] == ["v2"]
    assert (second["pagination"]["has_prev"], second["pagination"]["has_next"]) == (True, False)
    whole, limits = (api.get(f"/account/limits{query}").json() for query in ("", "?page=2&limit=2"))
    assert [row["name"] for row in limits["data"]] == [row["name"] for row in whole["data"][2:4]]
    assert (whole["pagination"]["limit"], limits["pagination"]["total_items"]) == (20, len(whole["data"]))
