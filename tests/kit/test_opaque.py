"""Opaque secrets, derived refresh tokens and codes: all arithmetic, no tables."""

from __future__ import annotations

import hashlib
import hmac
import struct
import zlib
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.keys import Secret, SecretRing, b64decode, b64encode
from django_secure_auth.kit.opaque import (
    MAX_GENERATION,
    OpaqueInvalid,
    derive_refresh_token,
    digest_secret,
    is_equal,
    is_genuine,
    new_secret,
    numeric_code,
    parse_refresh_token,
)

OLD = Secret("old", bytes(range(32)))
NEW = Secret("new", bytes(range(100, 132)))
RING = SecretRing([OLD])
SESSION = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")
SALT = bytes(16)

generations = st.integers(1, MAX_GENERATION)


def with_checksum(body: bytes) -> str:
    return b64encode(body + struct.pack(">I", zlib.crc32(body)))


# --- secrets -----------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-7.2.3", "NIST-63B-5.1-a")
@pytest.mark.control("ASVS-11.5.1")
def test_a_secret_is_256_bits_never_the_same_twice() -> None:
    secrets = {new_secret() for _ in range(1000)}
    assert len(secrets) == 1000
    assert {len(b64decode(secret)) for secret in secrets} == {32 + 4}


def test_a_secret_is_stored_as_a_keyed_digest() -> None:
    secret = new_secret()
    body = b64decode(secret)[:32]
    (digest,) = digest_secret(secret, RING)
    assert digest == hmac.new(OLD.value, body, hashlib.sha256).hexdigest()
    assert digest != hashlib.sha256(body).hexdigest()


def test_a_rotated_ring_finds_what_an_older_key_had_stored() -> None:
    secret = new_secret()
    current, older = digest_secret(secret, SecretRing([NEW, OLD]))
    assert older == digest_secret(secret, RING)[0]
    assert current == digest_secret(secret, SecretRing([NEW]))[0]


@given(st.text() | st.binary().map(b64encode))
def test_noise_has_no_digest(text: str) -> None:
    with pytest.raises(OpaqueInvalid):
        digest_secret(text, RING)


@given(st.integers(0, 35), st.integers(1, 255))
def test_one_changed_byte_is_noise(position: int, change: int) -> None:
    raw = bytearray(b64decode(new_secret()))
    raw[position] ^= change
    with pytest.raises(OpaqueInvalid):
        digest_secret(b64encode(bytes(raw)), RING)


@pytest.mark.parametrize("length", [0, 16, 31, 33, 61])
def test_a_body_of_another_length_is_noise_even_with_its_checksum(length: int) -> None:
    with pytest.raises(OpaqueInvalid):
        digest_secret(with_checksum(bytes(length)), RING)


# --- refresh tokens ----------------------------------------------------------------------------------


@given(st.uuids(), generations, st.binary(min_size=16, max_size=16))
def test_a_refresh_token_says_session_and_generation_and_is_genuine(session: UUID, number: int, salt: bytes) -> None:
    parsed = parse_refresh_token(derive_refresh_token(session, number, salt, RING))
    assert (parsed.session_id, parsed.generation) == (session, number)
    assert is_genuine(parsed, salt, RING)


def test_a_refresh_token_asked_for_twice_is_one() -> None:
    assert derive_refresh_token(SESSION, 3, SALT, RING) == derive_refresh_token(SESSION, 3, SALT, RING)


@pytest.mark.parametrize(
    ("session", "generation", "salt", "ring"),
    [
        (UUID(int=1), 3, SALT, RING),
        (SESSION, 4, SALT, RING),
        (SESSION, 3, b"\1" * 16, RING),
        (SESSION, 3, SALT, SecretRing([NEW])),
        (SESSION, 3, SALT, SecretRing([Secret("old", NEW.value)])),
    ],
    ids=["session", "generation", "salt", "key", "key of the same name"],
)
def test_a_refresh_token_depends_on_all_that_it_is_made_of(
    session: UUID, generation: int, salt: bytes, ring: SecretRing
) -> None:
    other = derive_refresh_token(session, generation, salt, ring)
    assert other != derive_refresh_token(SESSION, 3, SALT, RING)


def test_an_older_key_still_proves_its_tokens_and_a_removed_one_does_not() -> None:
    token = parse_refresh_token(derive_refresh_token(SESSION, 1, SALT, RING))
    assert is_genuine(token, SALT, SecretRing([NEW, OLD]))
    assert not is_genuine(token, SALT, SecretRing([NEW]))


def test_the_first_key_makes_new_tokens() -> None:
    token = parse_refresh_token(derive_refresh_token(SESSION, 1, SALT, SecretRing([NEW, OLD])))
    assert is_genuine(token, SALT, SecretRing([NEW]))


def test_a_token_holds_neither_salt_nor_key() -> None:
    salt = b"the salt of this"
    raw = b64decode(derive_refresh_token(SESSION, 1, salt, RING))
    assert salt not in raw
    assert OLD.value not in raw


@given(st.integers(0, 60), st.integers(1, 255))
def test_a_forged_token_with_a_good_checksum_is_not_genuine(position: int, change: int) -> None:
    raw = bytearray(b64decode(derive_refresh_token(SESSION, 7, SALT, RING))[:-4])
    position %= len(raw)
    raw[position] ^= change
    try:
        parsed = parse_refresh_token(with_checksum(bytes(raw)))
    except OpaqueInvalid:
        return
    # Another session's token is judged with that session's salt; here the salt is the same, the worst case.
    assert not is_genuine(parsed, SALT, RING)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_noise(version: int) -> None:
    raw = b64decode(derive_refresh_token(SESSION, 1, SALT, RING))[:-4]
    with pytest.raises(OpaqueInvalid):
        parse_refresh_token(with_checksum(bytes([version]) + raw[1:]))


def test_a_generation_that_no_table_holds_is_noise() -> None:
    body = struct.pack(">B4s16sI32s", 1, b"tag.", SESSION.bytes, MAX_GENERATION + 1, bytes(32))
    with pytest.raises(OpaqueInvalid):
        parse_refresh_token(with_checksum(body))


@given(st.text(max_size=200) | st.binary(max_size=100).map(b64encode) | st.binary(max_size=80).map(with_checksum))
def test_reading_a_token_answers_or_refuses_and_nothing_else(text: str) -> None:
    with pytest.raises(OpaqueInvalid):
        parse_refresh_token(text)


@pytest.mark.parametrize("addition", ["=", "==", " ", "\n", "\0", "A", "AAAA"])
def test_a_token_has_one_spelling(addition: str) -> None:
    with pytest.raises(OpaqueInvalid):
        parse_refresh_token(derive_refresh_token(SESSION, 1, SALT, RING) + addition)


# --- codes -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [6, 7, 8, 9])
@given(message=st.binary(max_size=64))
def test_a_code_has_its_digits_all_of_them_ascii(digits: int, message: bytes) -> None:
    code = numeric_code(OLD.value, message, digits=digits)
    assert len(code) == digits
    assert code.isascii()
    assert code.isdigit()


def test_a_code_is_what_rejection_sampling_of_the_hmac_says() -> None:
    block = hmac.new(OLD.value, bytes(4) + b"message", hashlib.sha256).digest()
    first = next(number for (number,) in struct.iter_unpack(">I", block) if number < 4294 * 10**6)
    assert numeric_code(OLD.value, b"message", digits=6) == f"{first % 10**6:06d}"


@pytest.mark.control("ASVS-6.5.4")
def test_codes_are_uniform() -> None:
    """R49: no first digit is likelier than another. Chi-square, 9 degrees of freedom: 40 is once in 10⁵."""
    count = 20_000
    firsts = Counter(numeric_code(OLD.value, number.to_bytes(4), digits=9)[0] for number in range(count))
    statistic = sum((firsts[digit] - count / 10) ** 2 / (count / 10) for digit in "0123456789")
    assert statistic < 40


def test_numbers_of_the_last_incomplete_range_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = [b"\xff" * 32, struct.pack(">I", 2**32 - 1) + struct.pack(">I", 42) + bytes(24)]
    asked: list[bytes] = []

    def digest(key: bytes, message: bytes, name: str) -> bytes:
        asked.append(message)
        return blocks[len(asked) - 1]

    monkeypatch.setattr(hmac, "digest", digest)
    assert numeric_code(b"key", b"m", digits=6) == "000042"
    assert asked == [b"\0\0\0\0m", b"\0\0\0\1m"]


# --- comparing ---------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-11.2.4")
@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [("a", "a", True), (b"a", "a", True), ("a", b"a", True), ("a", "b", False), ("a", "", False), ("é", "é", True)],
)
def test_texts_and_bytes_are_compared_alike(left: Any, right: Any, equal: bool) -> None:
    assert is_equal(left, right) is equal
