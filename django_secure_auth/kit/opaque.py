"""Opaque secrets: what a browser holds, what a table keeps, and how codes are derived.

Pure: bytes in, bytes out. No clock, no tables, so that all arithmetic can be tested without I/O.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct
import zlib
from dataclasses import dataclass
from uuid import UUID

from django_secure_auth.kit.keys import SecretRing, b64decode, b64encode

SECRET_BYTES = 32
"""256 bit from the operating system (ASVS 7.2.3 asks for 128)."""

_REFRESH_VERSION = 1
_REFRESH = struct.Struct(">B4s16sI32s")
_CHECKSUM = struct.Struct(">I")
MAX_GENERATION = 2**31 - 1


class OpaqueInvalid(Exception):
    """Not something that we issued. Carries no reason, since no caller may act on one."""


def is_equal(left: bytes | str, right: bytes | str) -> bool:
    """Compare two secrets in constant time. The only place where the package does."""
    left = left.encode() if isinstance(left, str) else left
    right = right.encode() if isinstance(right, str) else right
    return hmac.compare_digest(left, right)


def _with_checksum(body: bytes) -> str:
    return b64encode(body + _CHECKSUM.pack(zlib.crc32(body)))


def _without_checksum(token: str, *, length: int) -> bytes:
    # Noise is refused here, before it costs a query. The checksum is no protection: the MAC is.
    try:
        raw = b64decode(token)
    except ValueError:
        raise OpaqueInvalid from None
    if len(raw) != length + _CHECKSUM.size:
        raise OpaqueInvalid
    body, checksum = raw[:length], raw[length:]
    if _CHECKSUM.pack(zlib.crc32(body)) != checksum:
        raise OpaqueInvalid
    return body


def new_secret() -> str:
    """Return 256 random bits with a checksum, as URL-safe text, for a cookie."""
    return _with_checksum(secrets.token_bytes(SECRET_BYTES))


def derive_secret(key: bytes, message: bytes) -> str:
    """Return 256 bits as URL-safe text that follow from a key and a message: for a link that no table holds."""
    return _with_checksum(hmac.digest(key, message, "sha256"))


def digest_secret(token: str, ring: SecretRing) -> tuple[str, ...]:
    """Return the digests (hex) under which `token` may be stored, the current key's first.

    A leaked table gives no usable secret: the digest is keyed (HMAC-SHA256), and the value is random, so a
    slow hash would add nothing. Raises OpaqueInvalid on noise.
    """
    body = _without_checksum(token, length=SECRET_BYTES)
    return tuple(hmac.digest(secret.value, body, "sha256").hex() for secret in ring)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """What a refresh token says, before its MAC is judged."""

    session_id: UUID
    generation: int
    key_tag: bytes
    mac: bytes


def _key_tag(key_id: str) -> bytes:
    return hashlib.sha256(key_id.encode()).digest()[:4]


def _refresh_mac(key: bytes, session_id: UUID, generation: int, salt: bytes) -> bytes:
    message = b"refresh\0" + session_id.bytes + struct.pack(">I", generation) + salt
    return hmac.digest(key, message, "sha256")


def derive_refresh_token(session_id: UUID, generation: int, salt: bytes, ring: SecretRing) -> str:
    """Return the refresh token of one generation of one session.

    Derived, not drawn: asked twice it is the same token, so that two tabs which refresh at once hold the
    same successor, and the table holds no secret at all. The key never is in the table, the salt never in
    the token: neither alone makes one.
    """
    key = ring.first
    mac = _refresh_mac(key.value, session_id, generation, salt)
    return _with_checksum(_REFRESH.pack(_REFRESH_VERSION, _key_tag(key.key_id), session_id.bytes, generation, mac))


def parse_refresh_token(token: str) -> RefreshToken:
    """Read a refresh token without judging its MAC. Raises OpaqueInvalid on noise."""
    version, tag, raw_id, generation, mac = _REFRESH.unpack(_without_checksum(token, length=_REFRESH.size))
    if version != _REFRESH_VERSION or generation > MAX_GENERATION:
        raise OpaqueInvalid
    return RefreshToken(UUID(bytes=raw_id), generation, tag, mac)


def is_genuine(token: RefreshToken, salt: bytes, ring: SecretRing) -> bool:
    """Tell whether one of our keys made this token for this session and generation."""
    return any(
        is_equal(_refresh_mac(secret.value, token.session_id, token.generation, salt), token.mac)
        for secret in ring
        if _key_tag(secret.key_id) == token.key_tag
    )


def numeric_code(key: bytes, message: bytes, *, digits: int) -> str:
    """Derive a decimal code of `digits` digits from a key and a message, uniform over all codes.

    Draws 32-bit numbers from HMAC-SHA256 in counter mode and rejects those in the last, incomplete range:
    reducing them modulo 10**digits would make low codes likelier than high ones.
    """
    codes = 10**digits
    limit = (2**32 // codes) * codes
    counter = 0
    while True:
        block = hmac.digest(key, struct.pack(">I", counter) + message, "sha256")
        for (number,) in struct.iter_unpack(">I", block):
            if number < limit:
                return f"{number % codes:0{digits}d}"
        counter += 1  # 8 rejections in a row: less than once in 10**24 for six digits
