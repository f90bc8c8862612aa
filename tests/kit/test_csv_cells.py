"""No cell is a formula, and a row is a row whatever it holds."""

from __future__ import annotations

import csv
import io

import pytest

from django_secure_auth.kit.csv_cells import csv_line, safe_cell


@pytest.mark.control("ASVS-1.2.10")
@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", " =", "＝", "＋", "－", "＠"])
def test_a_cell_that_begins_like_a_formula_is_text(first: str) -> None:
    assert safe_cell(f"{first}cmd|' /C calc'!A0") == f"'{first}cmd|' /C calc'!A0"


@pytest.mark.parametrize(("value", "text"), [("a=b", "a=b"), (-3, "-3"), (-0.5, "-0.5"), (None, ""), ("", "")])
def test_other_cells_stay_as_they_are(value: object, text: str) -> None:
    assert safe_cell(value) == text


def test_what_breaks_lines_and_cells_is_quoted() -> None:
    line = csv_line(['a"b', "c,d", "e\r\nf", 7])
    assert line.endswith("\r\n")
    assert list(csv.reader(io.StringIO(line, newline=""))) == [['a"b', "c,d", "e\r\nf", "7"]]
