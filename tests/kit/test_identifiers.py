"""One canonical form for what people type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.identifiers import canonical_identifier


@pytest.mark.parametrize(
    "typed",
    [
        "ana@example.com",
        " ana@example.com",
        "ana@example.com\n",
        "\u00a0ANA@Example.COM\u3000",
        "ａｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ",  # full-width
    ],
)
def test_spellings_of_one_name_are_one_account_and_one_counter(typed: str) -> None:
    """R12: a trailing blank, capitals or full-width letters bring no second budget."""
    assert canonical_identifier(typed) == "ana@example.com"


def test_the_kelvin_sign_is_a_k_and_a_sharp_s_is_ss() -> None:
    assert canonical_identifier("\u212a") == "k"
    assert canonical_identifier("Straße") == canonical_identifier("STRASSE")


@pytest.mark.parametrize("other", ["ádmin", "admın", "аdmin", "admin\u200d", "ad min"])
def test_look_alikes_are_other_names(other: str) -> None:
    assert canonical_identifier(other) != "admin"


def test_composed_and_decomposed_are_one() -> None:
    assert canonical_identifier("a\u0301na") == canonical_identifier("ána")


@given(st.text())
def test_the_canonical_form_of_a_canonical_form_is_itself(text: str) -> None:
    once = canonical_identifier(text)
    assert canonical_identifier(once) == once


@given(st.text())
def test_blanks_around_never_count(text: str) -> None:
    assert canonical_identifier(f" \t{text}\n ") == canonical_identifier(text)
