"""Scopes: wildcards are written out, presets are sound, and a summary says what a person would say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.scopes import ACTIONS, PRESETS, ROLE_SCOPES, SCOPES, SENTENCES, compact, expand, summary
from core.errors import Invalid

PATTERNS = st.lists(st.sampled_from([*SCOPES, "*", "*:read", *(f"{noun}:*" for noun in ACTIONS)]))


def test_everything_is_everything():
    assert expand(["*"]) == SCOPES
    assert len(set(SCOPES)) == len(SCOPES)


def test_reading_everything_changes_nothing():
    assert expand(["*:read"]) == [scope for scope in SCOPES if scope.endswith(":read")]


def test_a_noun_has_its_own_actions_only():
    assert expand(["functions:*"]) == ["functions:read", "functions:write", "functions:deploy", "functions:invoke"]
    assert expand(["ips:*", "instances:power"]) == ["instances:power", "ips:read", "ips:write"]


@given(PATTERNS)
def test_expanding_is_idempotent_ordered_and_without_doubles(patterns):
    once = expand(patterns)
    assert expand(once) == once == sorted(set(once), key=SCOPES.index)


@given(st.text())
def test_any_other_text_is_refused_by_name(text):
    if text in SCOPES or text in ("*", "*:read") or text.removesuffix(":*") in ACTIONS:
        return
    with pytest.raises(Invalid) as refused:
        expand(["catalog:read", text])
    assert [error.value for error in refused.value.errors] == [text]


@pytest.mark.parametrize(("slug", "label", "patterns"), PRESETS)
def test_a_preset_can_be_granted(slug, label, patterns):
    assert expand(patterns)
    assert label


@given(st.sets(st.sampled_from(SCOPES)))
def test_fewer_words_say_the_same(scopes):
    assert expand(compact(scopes)) == [scope for scope in SCOPES if scope in scopes]


def test_all_is_one_word():
    assert compact(SCOPES) == ["*"]
    assert compact(["catalog:read", "networks:write", "networks:read"]) == ["networks:*", "catalog:read"]


def test_every_scope_has_its_sentence():
    assert list(SENTENCES) == SCOPES
    assert len(set(SENTENCES.values())) == len(SCOPES)


def test_only_who_may_everything_is_an_owner_or_admin():
    assert [role for role, scopes in ROLE_SCOPES.items() if scopes == set(SCOPES)] == ["owner", "admin"]


@pytest.mark.parametrize(
    ("patterns", "text"),
    [
        (["*"], "Everything"),
        (["*:read"], "Read everything, change nothing"),
        ([], "Nothing"),
        (["functions:invoke"], "Invoke functions"),
        (["instances:*", "catalog:read"], "All of instances; read catalog"),
        (["ssh_keys:write", "instances:read", "instances:power"], "Read, power instances; write SSH keys"),
    ],
)
def test_a_summary_reads_like_a_sentence(patterns, text):
    assert summary(expand(patterns)) == text
