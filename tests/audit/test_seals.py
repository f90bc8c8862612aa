"""Seals: who writes rows waits for nobody, one sealer chains ranges of them, retention leaves the chain whole."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from django_secure_auth.audit import seals
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.seals import erase_person, expire, exported, seal
from django_secure_auth.audit.verify import Tally
from django_secure_auth.kit.seals import leaf, merkle_root
from django_secure_auth.tasks import seal as seal_task
from tests.audit.trail import (
    RAW,
    a_seal,
    days_ago,
    found,
    insert,
    remove,
    settle,
    told,
    write,
    write_aged,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


def test_every_row_has_a_mac_in_whatever_way_it_is_inserted() -> None:
    write()
    SecurityEvent(event="x").save()
    SecurityEvent.objects.create(event="x")
    SecurityEvent.objects.bulk_create([SecurityEvent(event="x"), SecurityEvent(event="x", details={"a": 1e16})])
    SecurityEvent.objects.get_or_create(event="y", user_id="7", details={"f": [0.1, -0.0, 1e300, 2**60]})
    assert SecurityEvent.objects.count() == 6
    assert len(set(SecurityEvent.objects.values_list("mac", flat=True))) == 6
    assert len(set(SecurityEvent.objects.values_list("salt", flat=True))) == 6
    assert told() == []


def test_a_seal_holds_a_range_without_gaps_a_root_and_the_digest_of_the_one_before() -> None:
    """R37, R53: parallel writers, keyed, sealed later, by one sealer that alone makes the chain."""
    first = write(3)
    (one,) = seal()
    gone, *rest = write(3)
    remove(gone.pk)  # as a transaction that was rolled back
    (two,) = seal()
    assert seal() == []
    assert (one.number, one.first_row, one.last_row) == (1, 1, 3)
    assert (two.number, two.first_row, two.last_row) == (2, 4, 5)
    assert two.runs == [[rest[0].pk, rest[-1].pk]]
    assert (one.previous, two.previous) == ("", one.digest())
    assert one.root == merkle_root([leaf(row.leaf()) for row in first]).hex()
    assert str(two) == f"seal 2 (rows 4 to 5, ids to {rest[-1].pk})"
    assert told() == []


def test_a_seal_has_so_many_rows_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "ROWS_A_SEAL", 4)
    write(10)
    assert [(one.first_row, one.last_row) for one in seal()] == [(1, 4), (5, 8), (9, 10)]
    assert told() == []


def test_a_seal_is_told_in_a_line_for_another_machine_and_in_no_row(caplog: pytest.LogCaptureFixture) -> None:
    """Only a seal that is kept elsewhere shows that the end was cut off, or that all was written anew."""
    write(2)
    with caplog.at_level(logging.INFO, "django_secure_auth.security"):
        assert seal_task() == 1
    line: Any = caplog.records[-1]
    assert (line.event, line.severity) == ("audit_sealed", "INFO")
    assert line.details == exported(AuditSeal.objects.get())
    assert json.loads(json.dumps(line.details)) == line.details
    assert SecurityEvent.objects.count() == 2


def test_of_two_sealers_one_makes_the_seal(monkeypatch: pytest.MonkeyPatch) -> None:
    """R53: the chain has no fork."""
    write(2)
    seal()
    write(1)
    real = seals._late_ids

    def another_one_is_first(using: str) -> list[int]:
        monkeypatch.setattr(seals, "_late_ids", real)
        assert len(seal()) == 1
        return []

    monkeypatch.setattr(seals, "_late_ids", another_one_is_first)
    assert seal() == []
    assert AuditSeal.objects.count() == 2
    assert told() == []


def test_a_row_of_a_slower_transaction_is_in_the_next_seal_with_a_mark() -> None:
    slow, *_ = write(3)
    values = RAW.filter(pk=slow.pk).values().get()
    remove(slow.pk)
    seal()
    insert(**values)
    tally = Tally()
    assert found(tally=tally) == []
    assert (tally.late, tally.unsealed) == (1, 0)
    write(1)
    (two,) = seal()
    assert (two.late, two.first_row, two.last_row) == ([slow.pk], 3, 4)
    tally = Tally()
    assert found(tally=tally) == []
    assert (tally.late, tally.rows) == (1, 4)


def test_the_late_row_alone_makes_a_seal() -> None:
    slow, *_ = write(2)
    values = RAW.filter(pk=slow.pk).values().get()
    remove(slow.pk)
    seal()
    insert(**values)
    (two,) = seal()
    assert (two.late, two.runs, two.after_id) == ([slow.pk], [[slow.pk, slow.pk]], two.upto_id)
    assert told() == []
    assert seal() == []


def test_old_seals_are_not_searched_for_late_rows() -> None:
    write(2)
    seal()
    a_seal().update(sealed_at=days_ago(2))
    assert seals._late_ids("default") == []


def test_elsewhere_rows_are_sealed_when_no_transaction_can_be_as_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "_TELLS_WHO_WRITES", "no database")
    monkeypatch.setattr(seals, "_WRITES_IN_TURN", "no database")
    assert seals._settled_id("default") == 0
    monkeypatch.setattr(seals, "LONGEST_TRANSACTION", timedelta(minutes=10))
    old, *_ = write_aged(2, timedelta(minutes=11))
    young = write(1)
    assert seals._settled_id("default") == young[0].pk - 1 == old + 1
    remove(young[0].pk)
    assert seals._settled_id("default") == old + 1


@pytest.mark.database("postgresql")
@pytest.mark.django_db(transaction=True)
def test_rows_that_a_transaction_in_progress_can_join_are_not_sealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number is taken before it can be seen: sealed too early, the slower row would be missing from its range."""
    monkeypatch.setattr(seals, "_PATIENCE", 0.2)
    other = connection.copy("slow")
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("LOCK TABLE django_secure_auth_securityevent IN ROW EXCLUSIVE MODE")
        write(2)  # nobody waits for the slow one
        assert seal() == []
        other.rollback()
        assert [one.last_row for one in seal()] == [2]
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_where_the_database_tells_who_writes_the_sealer_waits_for_those(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [{"1/2", "3/4"}, {"3/4"}, {"3/4", "5/6"}, {"5/6"}]
    monkeypatch.setattr(seals, "_writers", lambda connection: answers.pop(0))
    assert seals._writers_have_ended(connection)
    assert answers == []
    monkeypatch.setattr(seals, "_PATIENCE", -1.0)
    monkeypatch.setattr(seals, "_writers", lambda connection: {"1/2"})
    assert not seals._writers_have_ended(connection)


# --- retention -----------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-14.2.7")
def test_retention_deletes_whole_ranges_and_the_chain_stays_checkable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seals, "ROWS_A_SEAL", 4)
    write_aged(6, timedelta(days=40))
    write_aged(2, timedelta(days=20))
    write(3)
    assert expire(before=days_ago(30)) == 6
    assert SecurityEvent.objects.count() == 5
    assert list(AuditSeal.objects.order_by("number").values_list("purged_rows", "tags")) == [(4, ""), (2, "")]
    assert expire(before=days_ago(30)) == 0
    assert len(seal()) == 2
    tally = Tally()
    assert found(tally=tally) == []
    assert (tally.seals, tally.purged, tally.rows) == (4, 2, 5)


def test_a_range_with_one_younger_row_stays() -> None:
    write_aged(2, timedelta(days=40))
    write(1)
    seal()
    assert expire(before=days_ago(30)) == 0
    assert SecurityEvent.objects.count() == 3
    assert expire(before=timezone.now() + timedelta(minutes=1)) == 3
    assert told() == []


def test_late_rows_go_with_their_seal() -> None:
    slow, *_ = write(3)
    values = RAW.filter(pk=slow.pk).values().get()
    remove(slow.pk)
    seal()
    insert(**values)
    seal()
    assert expire(before=timezone.now() + timedelta(minutes=1)) == 3
    assert told() == []


def test_two_purges_at_a_time_delete_once() -> None:
    write_aged(2, timedelta(days=40))
    assert expire(before=days_ago(30)) == 2
    assert seals._purge(1, "default") == 0


def test_rows_that_were_gone_before_retention_are_told_for_ever() -> None:
    one, _ = write_aged(2, timedelta(days=40))
    seal()
    remove(one)
    assert expire(before=days_ago(30)) == 1
    assert told() == [("missing", None, 1)]


def test_a_deletion_that_only_says_it_was_retention_is_found() -> None:
    rows = write(2)
    seal()
    remove(*(row.pk for row in rows))
    a_seal().update(purged_at=timezone.now(), purged_rows=2, purge_mark=seals.mark(b""), tags="")
    assert told() == [
        ("seal", None, 1),
        ("seal", None, 1),
        ("missing", rows[0].pk, 1),
        ("missing", rows[1].pk, 1),
    ]


def test_a_deletion_under_a_key_that_is_gone_is_told_as_such() -> None:
    write_aged(2, timedelta(days=40))
    expire(before=days_ago(30))
    a_seal().update(purge_mark="gone.x")
    assert told() == [("key unknown", None, 1)]
    assert "made with key 'gone'" in str(found()[0])


def test_the_mark_of_one_purge_fits_no_other_seal() -> None:
    write_aged(2, timedelta(days=40))
    expire(before=days_ago(30))
    (row,) = write(1)
    seal()
    remove(row.pk)
    (values,) = a_seal(1).values("purged_at", "purged_rows", "purge_mark")
    a_seal(2).update(**values)
    assert told() == [("seal", None, 2), ("missing", row.pk, 2)]


def test_a_row_that_comes_back_after_retention_is_found() -> None:
    pk, _ = write_aged(2, timedelta(days=40))
    values = RAW.filter(pk=pk).values().get()
    expire(before=days_ago(30))
    insert(**values)
    assert told() == [("added", pk, 1)]


# --- personal data -----------------------------------------------------------------------------------


def test_somebody_can_be_erased_and_the_chain_stays_whole() -> None:
    rows = write(3)
    SecurityEvent.objects.create(event="x", user_id="9", details={"kept": True})
    seal()
    assert erase_person(7, actor=1) == 3
    row = SecurityEvent.objects.get(pk=rows[1].pk)
    assert (row.user_id, row.actor_id, row.session_id, row.ip_address, row.details) == ("", "", "", "", {})
    assert (row.event, row.occurred_at, row.mac) == (rows[1].event, rows[1].occurred_at, rows[1].mac)
    assert rows[1].salt not in row.salt
    event = SecurityEvent.objects.get(event="audit_person_erased")
    assert (event.actor_id, event.user_id, event.details) == ("1", "", {"rows": 3})
    tally = Tally()
    assert found(tally=tally) == []
    assert tally.erased == 3
    assert erase_person(7) == 0
    assert SecurityEvent.objects.filter(details={"kept": True}, user_id="9").exists()


def test_nobody_in_particular_is_not_erased() -> None:
    SecurityEvent.objects.create(event="x")
    with pytest.raises(ValueError, match="a user id"):
        erase_person("")


def test_an_erasure_that_was_not_ours_is_found() -> None:
    one, two, three, four = write(4)
    seal()
    erase_person(7)
    RAW.filter(pk=one.pk).update(ip_address="192.0.2.1")  # written into an erased row
    RAW.filter(pk=two.pk).update(salt=SecurityEvent.objects.get(pk=one.pk).salt)
    RAW.filter(pk=three.pk).update(salt="")
    RAW.filter(pk=four.pk).update(salt="erased:lost.x")
    assert told() == [
        ("changed", one.pk, 1),
        ("changed", two.pk, 1),
        ("changed", three.pk, 1),
        ("key unknown", four.pk, 1),
    ]


def test_a_seal_of_the_same_number_is_refused_by_the_database() -> None:
    write(1)
    (one,) = seal()
    with pytest.raises(IntegrityError), transaction.atomic():
        one.save(force_insert=True)
