"""One canonical form for what people type, and plain names for machines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.identifiers import MAX_NAME, canonical_identifier, is_safe_identifier


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


# --- plain names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "Z", "a1", "created_at", "reports-v2", "a_b-c", "a" * MAX_NAME])
def test_a_plain_name_is_one(name: str) -> None:
    assert is_safe_identifier(name)


@pytest.mark.control("ASVS-2.2.1")
@pytest.mark.parametrize(
    "name",
    [
        "", " ", "1a", "-a", "_a", "a-", "a_", "a__b", "a--b", "a-_b", "a b", "a.b", "a/b", "../a", "a\n", "\na", "a\0",
        "ä", "а", "ａ", "a\u0301", "a\u200d", "a" * (MAX_NAME + 1), "a'--", "<a>", "a:b", "K\u212a", "a٣",
    ],
    ids=ascii,
)  # fmt: skip
def test_what_means_something_elsewhere_or_looks_like_another_is_none(name: str) -> None:
    assert not is_safe_identifier(name)


@given(st.text())
def test_a_plain_name_is_ascii_and_short_and_no_look_up(name: str) -> None:
    if is_safe_identifier(name):
        assert name.isascii()
        assert 0 < len(name) <= MAX_NAME
        assert "__" not in name
        assert name.replace("-", "_").isidentifier()
