"""Public ids: every key has one spelling, and nothing else is an id."""

import time
from datetime import UTC, datetime
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typeid import TypeID

from core import ids

PREFIXES = st.sampled_from(["inst", "key", "ak", "acct", "user", "evt", "req"])
UUIDS = st.integers(0, 2**128 - 1).map(lambda number: UUID(int=number))


@given(PREFIXES, UUIDS)
def test_every_key_comes_back_from_its_id(prefix, key):
    text = ids.encode(prefix, key)
    assert ids.decode(prefix, text) == key
    assert len(text) == len(prefix) + 27
    assert text == str(TypeID.from_uuid(key, prefix))


@given(
    st.text()
    | st.from_regex(r"inst_[0-7][0-9a-hjkmnp-tv-z]{20,30}")
    | st.from_regex(r"inst_[a-z]{1,4}_[0-7][0-9a-hjkmnp-tv-z]{25}")
)
def test_whatever_is_accepted_as_an_id_is_its_only_spelling(text):
    try:
        key = ids.decode("inst", text)
    except ValueError:
        return
    assert ids.encode("inst", key) == text


GOOD = ids.encode("inst", UUID(int=2**127))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inst",
        "inst_",
        GOOD[:-1],
        GOOD + "0",
        GOOD.upper(),
        GOOD.replace("inst", "key"),
        GOOD.replace("inst_", "inst_inst_"),
        GOOD.replace("inst_", "inst_x_"),
        GOOD.replace("inst_", ""),
        GOOD[:-1] + "u",
        GOOD[:-1] + "λ",
        GOOD[:-1] + "\x00",
        GOOD[:-1] + "\n",
        GOOD + "\n",
        "inst_8" + "0" * 25,
        str(UUID(int=2**127)),
    ],
)
def test_a_malformed_id_is_a_value_error(text):
    with pytest.raises(ValueError, match="not a inst_"):
        ids.decode("inst", text)


def test_ids_made_later_sort_later_also_as_text():
    made = [ids.new() for _ in range(2000)]
    assert made == sorted(made)
    texts = [ids.encode("inst", key) for key in made]
    assert texts == sorted(texts)
    assert {key.version for key in made} == {7}


@given(st.integers(1, 10**10 - 1))
def test_every_inventory_number_comes_back(key):
    text = ids.encode_number("RES", key)
    assert len(text) == 14
    assert ids.decode_number("RES", text) == key


def test_a_key_tells_its_age_whatever_was_made_up():
    assert abs(ids.age(ids.new())) < 1
    assert ids.age(ids.earliest(datetime(2026, 1, 1, tzinfo=UTC))) == pytest.approx(time.time() - 1_767_225_600, abs=1)
    assert ids.age(UUID(int=2**128 - 1)) < 0


def test_the_first_inventory_number_is_the_documents():
    assert ids.encode_number("RES", 1) == "RES_1234567890"


def test_neighbouring_inventory_numbers_give_no_count_away():
    numbers = [int(ids.encode_number("RES", key)[4:]) for key in range(1, 100)]
    assert len(set(numbers)) == 99
    assert min(abs(a - b) for a, b in pairwise(numbers)) > 10**9


@pytest.mark.parametrize(
    "text",
    [
        "",
        "RES_",
        "RES_123456789",
        "RES_12345678901",
        "RES_123456789x",
        "FUNC_1234567890",
        "RES_١٢٣٤٥٦٧٨٩٠",
        "RES_-123456789",
    ],
)
def test_a_malformed_inventory_number_is_a_value_error(text):
    with pytest.raises(ValueError, match="not a RES_ id"):
        ids.decode_number("RES", text)
