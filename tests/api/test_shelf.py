"""A shelf never shows what a row no longer looks like."""

import pytest

from api import shelf
from api.shelf import Shelf


class Table:
    """Rows by key, each with its version and look, and which of them were asked for."""

    def __init__(self, **rows):
        self.rows, self.asked = rows, []

    def __call__(self, keys):
        self.asked.append(keys)
        return {key: self.rows[key] for key in keys if key in self.rows}

    @property
    def wanted(self):
        return [(key, version) for key, (version, _) in self.rows.items()]


@pytest.fixture
def table():
    return Table(a=(1, "A"), b=(1, "B"))


def test_a_row_that_has_not_changed_is_not_made_again(table):
    kept = Shelf()
    assert kept.take(table.wanted, table) == kept.take(table.wanted, table) == {"a": "A", "b": "B"}
    assert table.asked == [["a", "b"]]


def test_a_changed_row_is_made_anew_and_alone(table):
    kept = Shelf()
    kept.take(table.wanted, table)
    table.rows["b"] = (2, "B!")
    assert kept.take(table.wanted, table) == {"a": "A", "b": "B!"}
    assert table.asked[1:] == [["b"]]


def test_a_row_that_changed_after_it_was_counted_shows_how_it_is_now(table):
    kept, wanted = Shelf(), table.wanted
    table.rows["a"] = (2, "A!")
    assert kept.take(wanted, table)["a"] == "A!"
    assert kept.take(table.wanted, table)["a"] == "A!"
    assert table.asked == [["a", "b"]]


def test_a_row_that_is_gone_is_left_out(table):
    wanted = table.wanted
    del table.rows["a"]
    assert Shelf().take(wanted, table) == {"b": "B"}


def test_a_full_shelf_begins_anew_and_still_answers(table, monkeypatch):
    monkeypatch.setattr(shelf, "ROOM", 1)
    kept = Shelf()
    for _ in range(2):
        assert kept.take([("a", 1)], table) | kept.take([("b", 1)], table) == {"a": "A", "b": "B"}
    assert table.asked == [["a"], ["b"], ["a"], ["b"]]
