"""Rates are read strictly."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.rate import Rate


@pytest.mark.parametrize(
    ("text", "limit", "seconds"),
    [
        ("10/15m", 10, 900),
        ("5/min", 5, 60),
        ("100/hour", 100, 3600),
        ("1/s", 1, 1),
        ("1/sec", 1, 1),
        ("7/second", 7, 1),
        ("3/2minute", 3, 120),
        ("2/d", 2, 86400),
        ("2/366day", 2, 366 * 86400),
        ("999999999/h", 999_999_999, 3600),
    ],
)
def test_a_rate_is_a_limit_and_a_window(text: str, limit: int, seconds: int) -> None:
    assert Rate.parse(text) == Rate(limit, seconds)


def test_several_windows_are_read_in_the_order_in_which_they_grow() -> None:
    assert Rate.parse_several("5/min") == (Rate(5, 60),)
    assert Rate.parse_several("5/min, 100/hour,500/d") == (Rate(5, 60), Rate(100, 3600), Rate(500, 86400))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a rate"),
        (",", "not a rate"),
        ("5/min,", "not a rate"),
        ("5/min;10/h", "not a rate"),
        ("5/min, 10/5x", "not a rate"),
        ("5/min,\n10/h", "not a rate"),
        ("5/min, 10/min", "does not grow"),
        ("5/min, 10/60s", "does not grow"),
        ("100/hour, 5/min", "does not grow"),
        ("5/min, 5/hour", "does not grow"),
        (5, "not a rate"),
        (["5/min"], "not a rate"),
        (None, "not a rate"),
    ],
)
def test_several_windows_that_make_no_sense_are_refused(text: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rate.parse_several(text)


@pytest.mark.parametrize(
    "text",
    [
        "10/5x", "10/", "/m", "10", "", "0/m", "-1/m", "10/0m", "1.5/m", "10/m ", " 10/m", "10/m\n", "10 / m", "10/M",
        "١٠/m", "10/15mins", "10/m/m", "10/m,20/h", "1000000000/m", "1/1000000s", "1/367d", "10/5", "1e3/m",
        None, 10, 10.0, b"10/m", (10, 60), ["10/m"], {},
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a rate; write for example '10/15m'"):
        Rate.parse(text)


@given(st.text(alphabet="0123456789/smhdinoureyct ", max_size=12))
def test_a_text_is_a_rate_within_bounds_or_a_value_error(text: str) -> None:
    try:
        rate = Rate.parse(text)
    except ValueError:
        return
    assert 1 <= rate.limit <= 999_999_999
    assert 1 <= rate.seconds <= 366 * 86400
