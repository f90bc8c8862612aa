"""Whatever somebody without our key does to the trail is found, and the row and its range are named."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from django_secure_auth.audit import seals
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.seals import exported, seal
from django_secure_auth.audit.verify import Tally
from tests.audit.trail import (
    RAW,
    a_seal,
    columns,
    days_ago,
    found,
    insert,
    remove,
    settle,
    swap,
    told,
    write,
    write_aged,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[SecurityEvent]:
    """Two seals of four rows, and two rows that wait for one."""
    monkeypatch.setattr(seals, "ROWS_A_SEAL", 4)
    made = write(8)
    seal()
    return made + write(2)


CHANGES: dict[str, dict[str, Any]] = {
    "occurred_at": {"occurred_at": days_ago(3)},
    "event_type": {"event_type": "auth_success"},
    "event": {"event": "authn_login_success"},
    "severity": {"severity": "INFO"},
    "message": {"message": "Access granted"},
    "user_id": {"user_id": "9"},
    "actor_id": {"actor_id": "9"},
    "session_id": {"session_id": "t"},
    "ip_address": {"ip_address": "192.0.2.77"},
    "user_agent": {"user_agent": "x"},
    "request_id": {"request_id": "x"},
    "details": {"details": {"number": 3, "resource": "note:7", "share": 0.25}},
    "salt": {"salt": "0" * 32},
    "commitment": {"commitment": "x" * 43},
    "mac": {"mac": "x" * 43},
    "key_id": {"key_id": ""},
}


@pytest.mark.control("ASVS-16.4.2")
@pytest.mark.parametrize("what", CHANGES)
@pytest.mark.parametrize("position", [2, 5, 8])
def test_a_change_of_any_column_is_found(what: str, position: int, rows: list[SecurityEvent]) -> None:
    """R36: change is detected, in a sealed row and in one that waits."""
    assert told() == []
    pk = rows[position].pk
    assert RAW.filter(pk=pk).update(**CHANGES[what]) == 1
    ((kind, row, number),) = told()
    assert (row, number) == (pk, {2: 1, 5: 2, 8: None}[position])
    assert kind in ("changed", "changed or added")
    (finding,) = found()
    assert str(finding).startswith(f"{kind}: row {pk}, ")
    assert ("not sealed yet" if number is None else f"seal {number} (rows ") in str(finding)


@pytest.mark.parametrize("position", [0, 3, 4, 7])
def test_a_deleted_row_is_named(position: int, rows: list[SecurityEvent]) -> None:
    remove(rows[position].pk)
    assert told() == [("missing", rows[position].pk, 1 if position < 4 else 2)]


def test_rows_that_change_places_are_named(rows: list[SecurityEvent]) -> None:
    swap(rows[1].pk, rows[6].pk)
    assert told() == [("reordered", rows[1].pk, 1), ("reordered", rows[6].pk, 2)]


def test_rows_that_change_their_contents_are_named(rows: list[SecurityEvent]) -> None:
    one, other = rows[1], rows[2]
    RAW.filter(pk=one.pk).update(message=other.message, details=other.details)
    assert told() == [("changed", one.pk, 1)]


def test_an_added_row_is_named_wherever_it_is_put(rows: list[SecurityEvent]) -> None:
    end = insert()
    below = insert(id=-5)
    assert told() == [("added", below, 1), ("changed or added", end, None)]


def test_a_row_in_a_gap_is_named(rows: list[SecurityEvent]) -> None:
    gone, *_ = write(2)
    remove(gone.pk)
    seal()
    insert(id=gone.pk)
    assert told() == [("added", gone.pk, 3)]


def test_an_old_row_that_was_deleted_before_it_was_sealed_and_comes_back_is_named() -> None:
    pk, _ = write_aged(2, timedelta(days=3))
    values = columns(pk)
    remove(pk)
    seal()
    insert(**values)
    assert told() == [("added", pk, 1)]


def test_a_row_in_place_of_another_is_named(rows: list[SecurityEvent]) -> None:
    pk = rows[2].pk
    remove(pk)
    insert(id=pk)
    assert told() == [("changed", pk, 1)]


def test_a_copy_is_named_before_and_after_it_is_sealed(rows: list[SecurityEvent]) -> None:
    copy = insert(**{**columns(rows[1].pk), "id": rows[-1].pk + 1})
    assert told() == [("copied", copy, None)]
    seal()
    assert told() == [("copied", copy, None)]


@pytest.mark.parametrize("name", ["root", "previous", "tags_digest", "mac"])
def test_a_changed_seal_is_named(name: str, rows: list[SecurityEvent]) -> None:
    a_seal(1).update(**{name: "0" * 43})
    assert ("seal", None, 1) in told()
    assert {seal for _, _, seal in told()} <= {1, 2}


@pytest.mark.parametrize("runs", [[["a", 2]], [1], [[1, 10**15]], []])
def test_a_seal_whose_ids_are_nonsense_is_named(runs: Any, rows: list[SecurityEvent]) -> None:
    a_seal(2).update(runs=runs)
    assert told() == [("seal", None, 2)]


def test_what_a_seal_keeps_of_its_rows_may_not_be_changed(rows: list[SecurityEvent]) -> None:
    tags = a_seal(1).get().tags
    a_seal(1).update(tags=tags[:-1] + "x")
    assert told() == [("seal", None, 1)]
    swap(rows[1].pk, rows[2].pk)
    assert told() == [("seal", None, 1), ("changed", None, 1)]  # the root tells, and no longer which


def test_a_seal_taken_out_of_the_middle_or_the_beginning_is_named(rows: list[SecurityEvent]) -> None:
    seal()
    a_seal(2).delete()
    assert told() == [("seal", None, 2)]
    assert "seal 2: missing" in str(found()[0])
    RAW.filter(pk=rows[5].pk).update(message="x")
    assert told() == [("seal", None, 2), ("changed or added", rows[5].pk, 3)]
    a_seal(1).delete()
    assert "seals 1 to 2: missing" in str(found()[0])


def test_the_end_cut_off_is_found_with_exported_seals_only(rows: list[SecurityEvent]) -> None:
    known = [exported(one) for one in AuditSeal.objects.all()]
    assert told(known) == []
    a_seal(2).delete()
    remove(*(row.pk for row in rows[4:]))
    assert told() == []
    assert told(known) == [("seal", None, 2)]


def test_a_trail_written_anew_with_our_key_is_found_with_exported_seals_only(rows: list[SecurityEvent]) -> None:
    known = [exported(one) for one in AuditSeal.objects.all()]
    AuditSeal.objects.all().delete()
    remove(rows[0].pk)
    seal()
    assert told() == []
    assert ("seal", None, 1) in told(known)


# --- keys --------------------------------------------------------------------------------------------

KEYS = {
    "old": {"kid": "old", "key": "sGYo3LgcQZ0YbO0PV2r3M1fT5r0rmHDYq1c3p8y5o2E"},
    "new": {"kid": "new", "key": "4vC1nUQ2o0mJz0kG8b0rW3xT7hL5sPq9Yd6eFaBiKjM"},
}


def keys(settings: Any, *kids: str) -> None:
    settings.DJANGO_SECURE_AUTH = {"ENCRYPTION_KEYS": [KEYS[kid] for kid in kids]}


def test_a_new_key_in_front_changes_nothing_for_old_rows(settings: Any) -> None:
    keys(settings, "old")
    write(2)
    seal()
    keys(settings, "new", "old")
    write(2)
    seal()
    assert told() == []


def test_a_key_that_is_gone_is_told_as_such(settings: Any) -> None:
    keys(settings, "old")
    write(2)
    (one,) = seal()
    (row,) = write(1)
    keys(settings, "new")
    assert told() == [("key unknown", None, 1), ("key unknown", row.pk, None)]
    remove(row.pk)
    assert told([exported(one)]) == []  # an exported copy proves it as well
    write(1)
    seal()
    assert told() == []  # and so does a later seal, which holds its digest


def test_without_its_key_a_sealed_row_is_proven_by_the_seal(settings: Any) -> None:
    keys(settings, "old")
    one, two = write(2)
    keys(settings, "new")
    seal()
    assert told() == []
    RAW.filter(pk=one.pk).update(message="x")
    RAW.filter(pk=two.pk).update(ip_address="192.0.2.9")
    assert told() == [("changed", one.pk, 1), ("changed", two.pk, 1)]


# --- what else it says ---------------------------------------------------------------------------------


def test_it_says_when_nobody_seals(settings: Any) -> None:
    tally = Tally()
    write_aged(1, timedelta(hours=3))
    assert found(tally=tally) == []
    overdue = [tally.is_overdue]
    settings.DJANGO_SECURE_AUTH = {"AUDIT_SEAL_INTERVAL": timedelta(hours=2)}
    overdue += [tally.is_overdue, Tally().is_overdue]
    assert overdue == [True, False, False]


def test_an_empty_trail_is_whole() -> None:
    assert told() == []


@pytest.mark.database("sqlite")
@pytest.mark.parametrize("sealed", [True, False])
def test_a_value_that_cannot_be_read_is_a_change_and_no_crash(sealed: bool) -> None:
    rows = write(4)
    if sealed:
        seal()
    with connection.cursor() as cursor:
        for row, value in ((rows[1], "2026-99-01 00:00:00"), (rows[2], "x")):
            sql = "UPDATE django_secure_auth_securityevent SET occurred_at = %s WHERE id = %s"
            cursor.execute(sql, [value, row.pk])
    assert [row for _, row, _ in told()] == [rows[1].pk, rows[2].pk]


def test_nobody_who_reads_and_checks_writes(rows: list[SecurityEvent], django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(12) as queries:
        assert told() == []
    assert not any(verb in query["sql"] for query in queries for verb in ("INSERT", "UPDATE", "DELETE", "LOCK"))


def test_ids_that_are_nonsense_count_for_nothing_under_an_unknown_key_too(rows: list[SecurityEvent]) -> None:
    for runs in ([["a", 2]], [[1, 10**15]]):
        a_seal(2).update(key_id="gone", runs=runs)
        assert told() == [("key unknown", None, 2)]
