"""The laws of kit.keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from importlib.resources import files

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from django_secure_auth.kit.keys import (
    Secret,
    SecretRing,
    b64decode,
    b64encode,
    derive,
    is_weak_secret,
    new_secret_bytes,
)

ROOT = bytes.fromhex("8f0b3c6a5d21e7944cb0f3a9d86e127755aa0c4be19d3f62807b5e34c1f8962d")

quiet = settings(database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF-SHA256 without salt, written down from RFC 5869 §2."""
    extracted = hmac.digest(bytes(32), secret, "sha256")
    block, out = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes([counter]), "sha256")
        out += block
    return out[:length]


def test_a_derived_key_is_hkdf_sha256_of_the_purpose() -> None:
    assert derive(ROOT, purpose="otp") == hkdf(ROOT, b"django-secure-auth/v1/otp", 32)
    assert derive(ROOT, purpose="otp", length=80) == hkdf(ROOT, b"django-secure-auth/v1/otp", 80)


def test_two_purposes_or_two_roots_never_share_a_key() -> None:
    derived = {derive(root, purpose=purpose) for root in (ROOT, ROOT[::-1]) for purpose in ("a", "b", "ab")}
    assert len(derived) == 6


@pytest.mark.parametrize(
    ("secret", "purpose", "length"),
    [(b"", "otp", 32), (ROOT, "", 32), (ROOT, "otp", 0), (ROOT, "otp", -1), (ROOT, "otp", 255 * 32 + 1)],
)
def test_a_key_without_a_root_a_purpose_or_a_sensible_length_is_not_derived(
    secret: bytes, purpose: str, length: int
) -> None:
    with pytest.raises(ValueError, match=r".") as refusal:
        derive(secret, purpose=purpose, length=length)
    assert repr(ROOT) not in str(refusal.value)


def test_a_secret_never_shows_its_value() -> None:
    secret = Secret("2025-01", b"do not show me")
    for shown in (repr(secret), str(secret), f"{secret!r}", repr([secret]), repr(SecretRing([secret]))):
        assert "2025-01" in shown
        assert "do not show me" not in shown


def test_a_secret_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Secret("a", ROOT).value = b""  # type: ignore[misc]  # the law under test


def test_a_ring_keeps_the_order_and_finds_by_name() -> None:
    first, second = Secret("new", ROOT), Secret("old", ROOT[::-1])
    ring = SecretRing(iter([first, second]))
    assert ring.first is first
    assert list(ring) == [first, second]
    assert len(ring) == 2
    assert ring.get("old") is second
    assert ring.get("older") is None


def test_a_ring_is_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SecretRing([])


def test_two_secrets_of_a_ring_never_share_a_name() -> None:
    with pytest.raises(ValueError, match="'a'"):
        SecretRing([Secret("a", ROOT), Secret("a", ROOT[::-1])])


def test_a_derived_ring_has_the_same_names_and_other_values() -> None:
    ring = SecretRing([Secret("new", ROOT), Secret("old", ROOT[::-1])])
    derived = ring.derive("refresh")
    assert [secret.key_id for secret in derived] == ["new", "old"]
    assert [secret.value for secret in derived] == [derive(secret.value, purpose="refresh") for secret in ring]


def test_a_ring_derives_a_purpose_once() -> None:
    ring = SecretRing([Secret("new", ROOT)])
    assert ring.derive("refresh") is ring.derive("refresh")
    assert ring.derive("refresh") is not ring.derive("otp")


def test_new_secrets_have_the_length_asked_for_and_differ() -> None:
    assert len(new_secret_bytes()) == 32
    assert len(new_secret_bytes(48)) == 48
    assert len({new_secret_bytes() for _ in range(100)}) == 100


@given(st.binary(max_size=200))
@quiet
def test_base64_goes_there_and_back(data: bytes) -> None:
    text = b64encode(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert b64decode(text) == data


@given(st.text(alphabet=st.one_of(st.sampled_from("AQgw_-+/= \n"), st.characters()), max_size=30))
@example("QQ==")
@example("\ud800")
@quiet
def test_every_text_is_the_one_spelling_of_its_bytes_or_refused(text: str) -> None:
    try:
        data = b64decode(text)
    except ValueError:
        return
    assert b64encode(data) == text


@pytest.mark.parametrize(
    "text",
    ["QQ==", "QQ=", "QUI=", "QUJD=", "Q", "QUJDR", "QR", "QUJ", " QUJD", "QUJD\n", "QU JD", "+w", "_/8", "Qé", "QQ\0"],
)
def test_padding_white_space_other_alphabets_and_trailing_bits_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        b64decode(text)


@pytest.mark.parametrize("value", [None, 1, b"QUJD", ["QUJD"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="base64url"):
        b64decode(value)  # type: ignore[arg-type]  # the law under test


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"secret",
        b"k7#Qz!v2Lm9$Rt",
        bytes(32),
        b"\xff" * 64,
        b"ab" * 20,
        b"0123456789" * 4,
        b"xK9#mQ2$vL7!pR4&" * 2,
        b"xK9#mQ2$vL7!pR4&xK9#mQ2$vL7!pR4&xK9#",
        bytes(range(32)),
        bytes(range(200, 100, -1)),
        bytes(range(0, 128, 4)),
        b"abcdefghijklmnopqrstuvwxyz012345",
        b"your-256-bit-secret-your-256-bit-secret!",
        b"My_Super_Secret_JWT_Key_for_Production_2024!",
        b"change-me-please-in-production-1",
        b"password123password456password789",
        b"django-insecure-" + bytes(ROOT).hex().encode(),
    ],
)
def test_a_short_repeated_sequential_or_wordy_secret_is_weak(value: bytes) -> None:
    assert is_weak_secret(value)


@pytest.mark.parametrize(
    "value",
    [
        # jwt.io
        b"a-string-secret-at-least-256-bits-long",
        # RFC 7515 A.1, as text and as bytes
        b"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
        b64decode("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"),
        # the FastAPI tutorial, as text and as bytes
        b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        bytes.fromhex("09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7"),
        # wallarm/jwt-secrets
        b"8XmZtfSN8kgCCz98mAfhOvUgNLSrqKP9",
        b"E8hL94fTQd3!X9QnhVcuHh8G3h1m@y!L",
    ],
)
def test_a_published_secret_is_weak(value: bytes) -> None:
    assert is_weak_secret(value)


def test_the_list_holds_hashes_only_each_once() -> None:
    text = files("django_secure_auth.kit").joinpath("weak_secrets.txt").read_text(encoding="ascii")
    entries = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(len(bytes.fromhex(entry)) == 8 for entry in entries)
    assert len(entries) == len(set(entries)) > 2000
    assert hashlib.sha256(b"8XmZtfSN8kgCCz98mAfhOvUgNLSrqKP9").hexdigest()[:16] in entries


def test_a_random_secret_is_not_weak_however_it_is_written() -> None:
    for _ in range(300):
        value = secrets.token_bytes(32)
        for written in (value, value.hex().encode(), base64.b64encode(value), b64encode(value).encode()[:32]):
            assert not is_weak_secret(written)
