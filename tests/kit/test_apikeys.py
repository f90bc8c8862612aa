"""API keys as text: what is made can be read, what was mistyped cannot, and scanners find it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import string
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.apikeys import (
    KeyText,
    api_key_pattern,
    digest_api_key,
    is_key_word,
    is_scope,
    new_api_key,
    parse_api_key,
)
from django_secure_auth.kit.keys import Secret
from django_secure_auth.kit.opaque import OpaqueInvalid
from django_secure_auth.kit.redact import REDACTED, redact_mapping, redact_text

BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
OLD, NEW = Secret("old", bytes(range(32))), Secret("new", bytes(range(100, 132)))

words = st.from_regex(r"\A[a-z][a-z0-9]{1,15}\Z")


def a_key(prefix: str = "dsa", environment: str = "live") -> KeyText:
    return new_api_key(prefix=prefix, environment=environment)


def number(text: str) -> int:
    value = 0
    for character in text:
        value = value * 62 + BASE62.index(character)
    return value


# --- the form ----------------------------------------------------------------------------------------


@pytest.mark.control("APIKEY-format")
@given(words, words)
def test_a_key_says_prefix_environment_and_public_id_and_is_read_back(prefix: str, environment: str) -> None:
    key = a_key(prefix, environment)
    first, second, public_id, secret = key.value.split("_")
    assert (first, second, public_id) == (prefix, environment, key.public_id)
    assert len(public_id) == 16
    assert set(public_id) <= set(string.ascii_lowercase + string.digits)
    assert len(secret) == 43 + 6
    assert parse_api_key(key.value) == key


@pytest.mark.control("ASVS-11.5.1")
def test_a_secret_is_256_bits_never_the_same_twice() -> None:
    keys = [a_key() for _ in range(1000)]
    assert len({key.public_id for key in keys}) == 1000
    secrets = [number(key.value[-49:-6]) for key in keys]
    assert len(set(secrets)) == 1000
    assert all(secret < 2**256 for secret in secrets)
    assert max(secrets) > 2**255  # the highest bit is drawn too: once in 2¹⁰⁰⁰ not


def test_the_checksum_is_the_crc_of_all_that_stands_before_it() -> None:
    key = a_key()
    assert number(key.value[-6:]) == zlib.crc32(key.value[:-6].encode())


@pytest.mark.parametrize("word", ["", "d", "Dsa", "1sa", "d_a", "d-a", "dsa ", "dsa\n", "é", "x" * 17, None, 5, b"dsa"])
def test_a_word_that_would_break_the_form_is_refused(word: Any) -> None:
    assert not is_key_word(word)
    for values in ({"prefix": word, "environment": "live"}, {"prefix": "dsa", "environment": word}):
        with pytest.raises(ValueError, match="lower-case letters and digits"):
            new_api_key(**values)


@pytest.mark.parametrize("word", ["ds", "dsa", "a1", "x" * 16])
def test_a_word_of_the_form_is_taken(word: str) -> None:
    assert is_key_word(word)
    assert a_key(word, word).value.startswith(f"{word}_{word}_")


# --- typing errors and noise -------------------------------------------------------------------------


@given(st.integers(0, 74), st.sampled_from(BASE62 + "_-. "))
def test_one_mistyped_character_is_noise_and_no_guess(position: int, character: str) -> None:
    text = a_key().value
    position %= len(text)
    typed = text[:position] + character + text[position + 1 :]
    if typed != text:
        with pytest.raises(OpaqueInvalid):
            parse_api_key(typed)


@given(st.integers(0, 73))
def test_two_characters_that_changed_places_are_noise(position: int) -> None:
    text = a_key().value
    position %= len(text) - 1
    typed = text[:position] + text[position + 1] + text[position] + text[position + 2 :]
    if typed != text:
        with pytest.raises(OpaqueInvalid):
            parse_api_key(typed)


@given(st.text(max_size=200) | st.from_regex(r"\A[a-z]{2,4}_[a-z]{2,4}_[a-z0-9]{16}_[0-9A-Za-z]{49}\Z"))
def test_reading_a_key_answers_or_refuses_and_nothing_else(text: str) -> None:
    with pytest.raises(OpaqueInvalid):
        parse_api_key(text)


@pytest.mark.parametrize("change", ["{} ", " {}", "{}\n", "{},{}", '"{}"', "{}=", "Bearer {}", "{}\0", "{}A"])
def test_a_key_has_one_spelling(change: str) -> None:
    with pytest.raises(OpaqueInvalid):
        parse_api_key(change.format(*[a_key().value] * 2))


# --- the digest --------------------------------------------------------------------------------------


def test_a_key_is_stored_as_a_keyed_digest_of_its_whole_text() -> None:
    key = a_key()
    digest = digest_api_key(key, OLD)
    assert digest == hmac.new(OLD.value, b"api-key\0" + key.value.encode(), hashlib.sha256).hexdigest()
    assert digest != digest_api_key(key, NEW)
    for other in (key.value.replace("live", "test"), key.value.replace(key.public_id, a_key().public_id)):
        assert digest_api_key(KeyText(key.public_id, other), OLD) != digest


def test_no_repr_shows_a_key() -> None:
    key = a_key()
    assert repr(key) == f"<KeyText {key.public_id}>"
    assert key.value[-49:] not in f"{key} {key!r} {[key]}"


# --- scanners ----------------------------------------------------------------------------------------

PLACES = [
    "{}", "API_KEY={}\n", 'headers = {{"X-API-Key": "{}"}}', "curl -H 'X-API-Key: {}' https://example.com",
    "https://example.com/?key={}&x=1", "<code>{}</code>", "key: {}.", "({})", "the key {} leaked", "a\t{}\tb",
]  # fmt: skip


@pytest.mark.control("APIKEY-format")
@pytest.mark.parametrize("place", PLACES)
def test_the_published_expression_finds_every_key_where_people_leave_it(place: str) -> None:
    pattern = api_key_pattern("dsa")
    for environment in ("live", "test", "eu1"):
        key = a_key(environment=environment).value
        assert re.findall(f"({pattern})", place.format(key)) == [key]


@pytest.mark.parametrize("change", ["x{}", "{}x", "9{}", "{}_"])
def test_the_expression_does_not_find_a_part_of_something_longer(change: str) -> None:
    assert not re.search(api_key_pattern("dsa"), change.format(a_key().value))


def test_the_expression_finds_no_keys_of_others() -> None:
    others = [a_key("acme").value, "ghp_" + "a" * 36, "sk_live_" + "a" * 24, "dsa_live", "dsa_LIVE_" + "a" * 66]
    assert not re.search(api_key_pattern("dsa"), " ".join(others))


@pytest.mark.parametrize("place", PLACES)
def test_no_log_line_holds_a_key(place: str) -> None:
    key = a_key().value
    for text in (redact_text(place.format(key)), json.dumps(redact_mapping({"detail": place.format(key)}))):
        assert key[-49:] not in text
        assert REDACTED in text


# --- scopes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["reports:read", "a", "A9", "reports.export/pdf", "notes:*", "x" * 64])
def test_a_scope_is_a_short_word(scope: str) -> None:
    assert is_scope(scope)


@pytest.mark.parametrize("scope", ["", " ", "a b", "a,b", ":read", "*", "é", "a\n", "x" * 65, None, 5, ["a"], b"a"])
def test_what_is_no_scope(scope: Any) -> None:
    assert not is_scope(scope)
