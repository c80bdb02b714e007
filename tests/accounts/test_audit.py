"""The sealed audit log: every event once, in commit order, and every tampering named."""

from io import StringIO
from itertools import pairwise

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection

from accounts.actions import audit
from accounts.models import AuditSeal
from accounts.tasks import seal_audit_log
from core.models import Event
from tests.make import make_account, make_instance

# On PostgreSQL only what is committed is sealed, not the writes of a test's own transaction.
pytestmark = [pytest.mark.django_db(transaction=True, serialized_rollback=True), pytest.mark.db]


def verify(**options) -> str:
    out = StringIO()
    call_command("verify_audit_log", stdout=out, **options)
    return out.getvalue().strip()


def broken(**options) -> str:
    with pytest.raises(CommandError) as failure:
        verify(**options)
    return str(failure.value)


@pytest.fixture
def sealed():
    """Four or more sealed events, in commit order. Other tests' open transactions may hold the sealing up."""
    make_instance(make_account())
    while AuditSeal.objects.count() < Event.objects.count():
        seal_audit_log()
    return list(Event.objects.order_by("txid", "seq"))


def tamper(sql: str, *values) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)


def test_every_event_is_sealed_once_in_commit_order_and_a_second_run_seals_nothing(sealed):
    seals = list(AuditSeal.objects.order_by("number"))
    assert [seal.event_seq for seal in seals] == [event.seq for event in sealed]
    assert [seal.number for seal in seals] == list(range(1, len(sealed) + 1))
    assert all(seal.prev_hash == before.hash for before, seal in pairwise(seals))
    assert audit.seal() == 0
    assert verify() == f"{len(sealed)}:{seals[-1].hash}"


def test_sealing_goes_on_where_it_ended_and_in_small_steps_comes_to_the_same(sealed):
    head = verify()
    AuditSeal.objects.all().delete()
    while audit.seal(limit=1):
        pass
    assert verify() == head
    make_account(name="Charlie's")
    while AuditSeal.objects.count() < Event.objects.count():
        seal_audit_log()
    assert verify() != head
    assert verify(anchor=head)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE core_event SET type = 'instance.stopped' WHERE seq = %s",
        "UPDATE core_event SET actor_name = 'Mallory' WHERE seq = %s",
        "UPDATE core_event SET ip = '203.0.113.9' WHERE seq = %s",
        "UPDATE core_event SET data = '{}' WHERE seq = %s",
        "UPDATE core_event SET at = '2020-01-01' WHERE seq = %s",
        "UPDATE accounts_auditseal SET hash = 'f00' WHERE event_seq = %s",
    ],
)
def test_a_changed_event_or_seal_is_the_first_broken_row(sealed, change):
    tamper(change, sealed[2].seq)
    assert broken() == f"broken at 3, event {sealed[2].public_id}: the event or its seal was changed"


def test_a_removed_event_is_named(sealed):
    tamper("DELETE FROM core_event WHERE seq = %s", sealed[1].seq)
    assert broken() == f"broken at 2, event seq {sealed[1].seq}: the event is missing"


def test_an_event_removed_together_with_its_seal_is_named(sealed):
    tamper("DELETE FROM core_event WHERE seq = %s", sealed[1].seq)
    tamper("DELETE FROM accounts_auditseal WHERE event_seq = %s", sealed[1].seq)
    assert broken() == f"broken at 2, event {sealed[2].public_id}: its seal is missing"


def test_two_events_exchanged_are_found(sealed):
    tamper("UPDATE accounts_auditseal SET event_seq = -1 WHERE event_seq = %s", sealed[1].seq)
    tamper("UPDATE accounts_auditseal SET event_seq = %s WHERE event_seq = %s", sealed[1].seq, sealed[2].seq)
    tamper("UPDATE accounts_auditseal SET event_seq = %s WHERE event_seq = -1", sealed[2].seq)
    assert broken().startswith("broken at 2")


def test_an_event_slipped_in_among_the_sealed_ones_is_named(sealed):
    tamper("DELETE FROM core_event WHERE seq = %s", sealed[-1].seq)
    slipped = Event(seq=sealed[1].seq + 10**6, type="instance.created", actor_kind="system", at=sealed[0].at)
    slipped.save(force_insert=True)
    tamper("UPDATE core_event SET txid = %s, seq = %s WHERE seq = %s", sealed[0].txid, -7, slipped.seq)
    tamper("DELETE FROM accounts_auditseal WHERE event_seq = %s", sealed[-1].seq)
    assert (
        broken() == f"broken at {len(sealed) - 1}, event {slipped.public_id}: the event was slipped in: it has no seal"
    )


def test_an_end_that_was_cut_off_is_found_by_a_head_noted_before(sealed):
    head = verify()
    tamper("DELETE FROM accounts_auditseal WHERE event_seq = %s", sealed[-1].seq)
    tamper("DELETE FROM core_event WHERE seq = %s", sealed[-1].seq)
    verify()  # what is left is a whole chain
    assert head in broken(anchor=head)


def test_nobody_can_seal_anew_without_the_key_that_is_not_in_the_database(sealed, settings):
    head = verify()
    settings.LAMBDA_KEY_PEPPER = b"another"
    AuditSeal.objects.all().delete()
    while audit.seal():
        pass
    assert AuditSeal.objects.head().hash not in head
    settings.LAMBDA_KEY_PEPPER = b"a third"
    assert broken().startswith("broken at 1")


def test_an_empty_log_verifies():
    Event.objects.all()._raw_delete("default")
    assert verify() == "0:"


def test_of_two_sealers_at_once_one_gives_way(monkeypatch, sealed):
    monkeypatch.setattr(audit, "seal", lambda: (_ for _ in ()).throw(IntegrityError("taken")))
    seal_audit_log()
    assert verify()


def test_sealing_stops_and_says_so_when_the_last_sealed_event_is_gone(sealed, caplog):
    tamper("DELETE FROM core_event WHERE seq = %s", sealed[-1].seq)
    make_account()
    assert audit.seal() == 0
    assert "verify_audit_log" in caplog.text
    assert broken()


def test_an_event_can_neither_be_changed_nor_deleted_by_the_code(sealed):
    with pytest.raises(TypeError):
        sealed[0].save()
    with pytest.raises(TypeError):
        sealed[0].delete()
