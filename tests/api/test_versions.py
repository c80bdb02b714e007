"""`GET /v1/versions`: the document's table, for whoever asks."""

from tests.make import Api


def test_the_versions_are_those_of_the_document(db):
    assert Api().get("/versions").json()["data"] == [
        {"version": "v1", "introduced": "2024-01-01", "end_of_life": None, "status": "stable"},
        {"version": "v2", "introduced": "2026-01-01", "end_of_life": None, "status": "beta"},
    ]
