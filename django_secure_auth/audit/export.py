"""The trail and its seals as lines, for another machine: streamed, so that a trail of any size fits into memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.db import models

from django_secure_auth.audit.models import AuditSeal, SecurityEvent, in_utc
from django_secure_auth.audit.seals import exported
from django_secure_auth.kit.csv_cells import csv_line

FORMATS = ("jsonl", "csv")
COLUMNS = tuple(field.attname for field in SecurityEvent._meta.concrete_fields)
_ROWS_AT_ONCE = 2000


def event_lines(rows: models.QuerySet[SecurityEvent], format: str) -> Iterator[str]:
    """Yield security events in the order of their ids as JSON Lines, or as CSV with a line of names first.

    Raises ValueError for another format.
    """
    if format not in FORMATS:
        raise ValueError(f"the formats are {', '.join(FORMATS)}")
    values = map(_plain, rows.order_by("id").values(*COLUMNS).iterator(chunk_size=_ROWS_AT_ONCE))
    if format == "jsonl":
        return (json.dumps(row) + "\n" for row in values)
    return _csv(values)


def _csv(values: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield csv_line(COLUMNS)
    for row in values:
        yield csv_line({**row, "details": json.dumps(row["details"])}.values())


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "occurred_at": in_utc(row["occurred_at"])}


def seal_lines(seals: models.QuerySet[AuditSeal]) -> Iterator[str]:
    """Yield seals as JSON Lines, the oldest first: what `verify --seals` compares the trail with."""
    for one in seals.order_by("number").iterator(chunk_size=20):
        yield json.dumps(exported(one)) + "\n"
