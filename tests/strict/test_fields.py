"""Fields take their own JSON type only; a password is taken as it was typed."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from django.core.exceptions import ValidationError as DjangoValidationError
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.serializers import ValidationError

from django_secure_auth.strict.fields import (
    MAX_PASSWORD_POINTS,
    IdentifierField,
    PasswordField,
    StrictBooleanField,
    StrictCharField,
    validate_identifier,
)


def message_of(field: Any, value: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        field.run_validation(value)
    details: Any = caught.value.detail
    return str(details[0])


@pytest.mark.control("ASVS-15.3.5")
@pytest.mark.parametrize("value", [1, 1.5, True, False, [], ["a"], {}, {"a": 1}, b"bytes"])
def test_a_string_is_a_string(value: Any) -> None:
    assert message_of(StrictCharField(), value) == "Must be a string."


def test_a_string_is_taken_verbatim() -> None:
    assert StrictCharField().run_validation(" a\t") == " a\t"
    assert StrictCharField(trim_whitespace=True).run_validation(" a ") == "a"


@pytest.mark.parametrize(
    ("value", "kwargs"), [("", {}), (None, {}), ("abc", {"max_length": 2}), ("a\0", {}), ("\ud800", {})]
)
def test_what_a_string_may_not_be(value: Any, kwargs: dict[str, int]) -> None:
    assert message_of(StrictCharField(**kwargs), value)


@pytest.mark.control("ASVS-15.3.5")
@pytest.mark.parametrize("value", ["yes", "true", "True", "", "0", 0, 1, 1.0, [], {}, [True]])
def test_a_boolean_is_true_or_false(value: Any) -> None:
    assert message_of(StrictBooleanField(), value) == "Must be true or false."


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_taken(value: bool) -> None:
    assert StrictBooleanField().run_validation(value) is value


def test_null_is_no_boolean() -> None:
    assert message_of(StrictBooleanField(), None) == "This field may not be null."


# --- passwords ---------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-6.2.8")
@pytest.mark.parametrize(
    "typed", [" leading and trailing ", "Ünï-çødé 😀 ", "\ttab", "a" * MAX_PASSWORD_POINTS, "😀" * 256]
)
def test_a_password_is_taken_verbatim(typed: str) -> None:
    """R29: not trimmed, every character counts."""
    assert PasswordField().run_validation(typed) == unicodedata.normalize("NFC", typed)


def test_two_spellings_of_one_letter_are_one_password() -> None:
    assert PasswordField().run_validation("cafe\u0301") == PasswordField().run_validation("café") == "caf\u00e9"


def test_compatibility_characters_stay_what_they_are() -> None:
    assert PasswordField().run_validation("ﬁｘ") == "ﬁｘ"  # NFC, not NFKC


@pytest.mark.parametrize("typed", ["a" * (MAX_PASSWORD_POINTS + 1), "😀" * (MAX_PASSWORD_POINTS + 1), "a" * 1_000_000])
def test_a_password_is_bounded_before_anything_hashes_it(typed: str) -> None:
    assert message_of(PasswordField(), typed) == "At most 256 characters."


def test_the_longest_password_has_1024_bytes() -> None:
    assert len(PasswordField().run_validation("😀" * MAX_PASSWORD_POINTS).encode()) == 1024


def test_length_is_counted_in_nfc() -> None:
    assert len(PasswordField().run_validation("e\u0301" * MAX_PASSWORD_POINTS)) == MAX_PASSWORD_POINTS


@given(st.text(st.characters(), max_size=300) | st.integers() | st.lists(st.text()))
def test_any_value_is_a_password_or_refused(value: Any) -> None:
    try:
        password = PasswordField().run_validation(value)
    except ValidationError:
        return
    assert unicodedata.is_normalized("NFC", password)
    assert len(password) <= MAX_PASSWORD_POINTS
    password.encode()


@pytest.mark.parametrize("typed", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_refused_not_a_crash(typed: str) -> None:
    assert "Surrogate" in message_of(PasswordField(), typed)


# --- identifiers -------------------------------------------------------------------------------------


def test_an_identifier_is_a_plain_name() -> None:
    assert IdentifierField().run_validation("reports-v2") == "reports-v2"
    validate_identifier("reports-v2")


@pytest.mark.parametrize("value", ["a b", " a", "a\n", "a__b", "ä", "1", "../a", "a" * 65])
def test_what_is_none_is_told_what_one_is(value: str) -> None:
    assert "64" in message_of(IdentifierField(), value)
    with pytest.raises(DjangoValidationError) as caught:
        validate_identifier(value)
    assert caught.value.code == "invalid_identifier"


def test_an_identifier_may_be_shorter_yet() -> None:
    assert message_of(IdentifierField(max_length=3), "abcd") == "Ensure this field has no more than 3 characters."
    assert message_of(IdentifierField(), 5) == "Must be a string."
