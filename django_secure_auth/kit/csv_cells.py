"""Cells that a spreadsheet reads as text, and lines that it reads as one row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

# What makes a spreadsheet calculate, also the full-width forms that some take for the same; NUL, tab and line breaks
# are skipped in front of them (OWASP, "CSV Injection"; ASVS 1.2.10).
_TRIGGERS = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def safe_cell(value: object) -> str:
    """Return a value as text that no spreadsheet takes for a formula: a quote stands before one that begins like it.

    Numbers stay numbers, also negative ones.
    """
    text = "" if value is None else str(value)
    is_number = isinstance(value, int | float)
    return f"'{text}" if not is_number and text.lstrip(" ").startswith(_TRIGGERS) else text


def csv_line(values: Iterable[object]) -> str:
    """Return one line of CSV with safe cells, ended by CRLF (RFC 4180)."""
    line = io.StringIO()
    csv.writer(line).writerow([safe_cell(value) for value in values])
    return line.getvalue()
