"""The trail is append-only, in every way that the ORM has to change a row."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from django_secure_auth.audit.models import SecurityEvent, TrailIsAppendOnly, in_utc


def an_event(**values: Any) -> SecurityEvent:
    defaults = {
        "event_type": "auth_success",
        "event": "authn_login_success",
        "severity": "INFO",
        "message": "Signed in",
    }
    return SecurityEvent(**{**defaults, **values})


@pytest.fixture
def row(db: None) -> SecurityEvent:
    event = an_event(user_id="7")
    event.save()
    return event


def changed(row: SecurityEvent) -> SecurityEvent:
    row.message = "Nothing happened"
    return row


def get_or_create_then_save(row: SecurityEvent) -> None:
    found, _ = SecurityEvent.objects.get_or_create(pk=row.pk)
    found.save()


WAYS: dict[str, Callable[[SecurityEvent], object]] = {
    "save": lambda row: changed(row).save(),
    "save one field": lambda row: changed(row).save(update_fields=["message"]),
    "save by force": lambda row: changed(row).save(force_update=True),
    "save a fresh copy": lambda row: SecurityEvent.objects.get(pk=row.pk).save(),
    "save under its key": lambda row: an_event(pk=row.pk, message="Nothing happened").save(),
    "save under its key by force": lambda row: an_event(pk=row.pk, message="x").save(force_insert=False),
    "save later": lambda row: asyncio.run(changed(row).asave()),
    "get and save": get_or_create_then_save,
    "update": lambda row: SecurityEvent.objects.update(message="x"),
    "update some": lambda row: SecurityEvent.objects.filter(pk=row.pk).update(message="x"),
    "update later": lambda row: asyncio.run(SecurityEvent.objects.filter(pk=row.pk).aupdate(message="x")),
    "update or create": lambda row: SecurityEvent.objects.update_or_create(pk=row.pk, defaults={"message": "x"}),
    "update in bulk": lambda row: SecurityEvent.objects.bulk_update([changed(row)], ["message"]),
    "insert over it": lambda row: SecurityEvent.objects.bulk_create(
        [an_event(pk=row.pk, message="x")], update_conflicts=True, update_fields=["message"], unique_fields=["id"]
    ),
    "insert over it, by position": lambda row: SecurityEvent.objects.bulk_create(
        [an_event(pk=row.pk)], 10, False, True
    ),
    "delete": lambda row: row.delete(),
    "delete some": lambda row: SecurityEvent.objects.filter(pk=row.pk).delete(),
    "delete all": lambda row: SecurityEvent.objects.all().delete(),
    "delete later": lambda row: asyncio.run(row.adelete()),
}


@pytest.mark.control("ASVS-16.4.2")
@pytest.mark.parametrize("way", WAYS)
def test_no_way_of_the_orm_changes_a_row(way: str, row: SecurityEvent) -> None:
    """R36: rows are append-only."""
    before = SecurityEvent.objects.filter(pk=row.pk).values().get()
    with pytest.raises((TrailIsAppendOnly, IntegrityError)), transaction.atomic():
        WAYS[way](row)
    assert SecurityEvent.objects.filter(pk=row.pk).values().get() == before
    assert SecurityEvent.objects.count() == 1


@pytest.mark.django_db
def test_rows_are_added_one_by_one_and_in_bulk() -> None:
    an_event().save()
    SecurityEvent.objects.create(event="authz_fail")
    SecurityEvent.objects.bulk_create([an_event(), an_event()])
    SecurityEvent.objects.bulk_create([an_event()], ignore_conflicts=True)
    assert SecurityEvent.objects.count() == 5


def test_a_row_is_named_by_its_time_and_event() -> None:
    assert str(an_event(occurred_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))) == (
        "2026-01-02 03:04:05 authn_login_success"
    )


@pytest.mark.django_db
def test_the_newest_row_is_the_first() -> None:
    first, second = an_event(), an_event()
    first.save()
    second.save()
    assert list(SecurityEvent.objects.all()) == [second, first]


@pytest.mark.django_db
def test_only_an_insert_signs_a_row(row: SecurityEvent) -> None:
    """A change that has found its way past everything does not get a MAC of ours."""
    field: Any = SecurityEvent._meta.get_field("salt")
    before = row.mac
    assert field.pre_save(row, False) == row.salt
    assert row.mac == before
    assert field.pre_save(row, True) == row.salt
    assert row.mac != before
    assert field.deconstruct()[1] == "django.db.models.CharField"


def test_a_moment_has_one_spelling_whatever_its_zone() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    other = moment.astimezone(timezone(timedelta(hours=5)))
    assert in_utc(moment) == in_utc(other) == in_utc(moment.replace(tzinfo=None)) == "2026-01-02T03:04:05.000000+00:00"
