"""A trail to tamper with, past everything that the package has against it: what somebody with SQL can do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import models
from django.utils import timezone

from django_secure_auth.audit import events, seals
from django_secure_auth.audit.models import AuditSeal, SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.audit.verify import Finding, Tally, verify

RAW: Any = models.QuerySet(SecurityEvent)  # its update() and delete() refuse nothing


def write(count: int = 1, **details: Any) -> list[SecurityEvent]:
    """Record events and return their rows."""
    for number in range(count):
        told = {"number": number, "share": 0.5, "resource": "note:7", **details}
        # Not a free event: of those an address has but a few rows a minute.
        record(events.OTP_FAIL, user=7, actor=8, session_id="s", ip_address=f"192.0.2.{number % 250}", **told)
    return list(SecurityEvent.objects.all()[:count])[::-1]


def write_aged(count: int, age: timedelta) -> list[int]:
    """Store events of some days ago and return their ids."""
    return [SecurityEvent.objects.create(event="e", occurred_at=timezone.now() - age).pk for _ in range(count)]


def remove(*ids: int) -> None:
    SecurityEvent.objects.filter(pk__in=ids)._raw_delete("default")


def columns(pk: int) -> dict[str, Any]:
    values: dict[str, Any] = RAW.filter(pk=pk).values().get()
    return values


def insert(**values: Any) -> int:
    """Insert a row without our key."""
    row = SecurityEvent(event="authn_login_success", event_type="auth_success")
    for name, value in values.items():
        setattr(row, name, value)
    row.save_base(raw=True, force_insert=True)  # as loaddata does: nothing is signed
    return int(row.pk)


def swap(one: int, other: int) -> None:
    """Let two rows change places, each with all that belongs to it."""
    first, second = columns(one), columns(other)
    remove(one, other)
    for pk, values in ((one, second), (other, first)):
        insert(**{**values, "id": pk})


def found(known: Iterable[Mapping[str, Any]] = (), tally: Tally | None = None) -> list[Finding]:
    return list(verify(tally or Tally(), known=known))


def told(known: Iterable[Mapping[str, Any]] = ()) -> list[tuple[str, int | None, int | None]]:
    """Return what is found as (kind, row, seal)."""
    return [(finding.kind.value, finding.row, finding.seal) for finding in found(known)]


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seal rows at once also where only their age says that they are settled."""
    monkeypatch.setattr(seals, "LONGEST_TRANSACTION", timedelta(seconds=-60))


def a_seal(number: int = 1) -> Any:
    return AuditSeal.objects.filter(number=number)


def days_ago(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)
