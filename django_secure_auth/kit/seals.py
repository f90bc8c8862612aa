"""What makes records tamper-evident: one spelling of a value, keyed MACs, salted commitments, Merkle roots."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any

from django_secure_auth.kit.keys import Secret, b64encode

_encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode


def canonical(value: Any) -> bytes:
    """Return the one spelling of a JSON value, also of one that has been through a database's JSON column.

    RFC 8785 (JCS), with two differences, since a database keeps more than JavaScript does: whole numbers have all
    their digits, with no limit at 2^53, and names are ordered by code point. Other numbers are the shortest decimal
    of their double; `1e16`, `1.0` and what PostgreSQL makes of them (`10000000000000000`, `1.0`) are one.

    Raises TypeError for what is no JSON, ValueError for NaN, infinity and lone surrogates.
    """
    return _encode(_plain(value)).encode()


def canonical_texts(*texts: str) -> bytes:
    """Return `canonical()` of a list of texts, several times as fast: this is on the path of every event."""
    return f"[{','.join(map(encode_basestring, texts))}]".encode()


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(Decimal(repr(value)))
    if isinstance(value, dict):
        # A JSON encoder writes other names than texts as texts; the database gives them back as such.
        return {name if isinstance(name, str) else json.dumps(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    return value


def mac(key: bytes, data: bytes) -> str:
    """Return HMAC-SHA256 as 43 characters of URL-safe base64; whole, since collisions matter (ASVS 11.4.3)."""
    # A copy of a keyed object, not `hmac.digest`: that one lets other threads in, and waits for its turn afterwards.
    keyed = _keyed(key).copy()
    keyed.update(data)
    return b64encode(keyed.digest())


@lru_cache(maxsize=16)
def _keyed(key: bytes) -> hmac.HMAC:
    return hmac.new(key, digestmod="sha256")


_SALT_BYTES, _SALTS = 16, 256


class _Salts:
    """Random salts, drawn many at a time: each visit to the operating system lets other threads in, as above.

    A process that was forked off draws its own.
    """

    def __init__(self) -> None:
        self._pool: tuple[int, list[str]] = (0, [])

    def draw(self) -> str:
        owner, pool = self._pool
        if owner != os.getpid() or not pool:
            drawn = secrets.token_hex(_SALT_BYTES * _SALTS)
            pool = [drawn[place : place + 2 * _SALT_BYTES] for place in range(0, len(drawn), 2 * _SALT_BYTES)]
            self._pool = os.getpid(), pool
        try:
            return pool.pop()
        except IndexError:  # other threads have taken the rest
            return secrets.token_hex(_SALT_BYTES)


new_salt = _Salts().draw
"""Return 128 random bits in hexadecimal."""


def mac_fits(secret: Secret, data: bytes, tag: str) -> bool:
    """Whether `tag` is the MAC of `data`, compared in constant time."""
    return hmac.compare_digest(mac(secret.value, data).encode(), tag.encode())


def commitment(salt: str, data: bytes) -> str:
    """Return what binds `data` without telling it: once the salt is gone, nobody can try guesses against it.

    SHA-256 over salt and data, in 43 characters. A salt has 32 hexadecimal digits, so that none runs into the data.
    """
    return b64encode(hashlib.sha256(salt.encode() + data).digest())


def commitment_fits(salt: str, data: bytes, tag: str) -> bool:
    """Whether `tag` is the commitment to `data`, compared in constant time."""
    return hmac.compare_digest(commitment(salt, data).encode(), tag.encode())


def digest(data: bytes) -> str:
    """Return SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def leaf(data: bytes) -> bytes:
    """Return the hash of one record. The prefix keeps a leaf from passing as a node (RFC 6962 §2.1)."""
    return hashlib.sha256(b"\0" + data).digest()


def merkle_root(leaves: Iterable[bytes]) -> bytes:
    """Return the root over leaf hashes, in their order, in one pass and little memory (RFC 6962 §2.1)."""
    stack: list[tuple[int, bytes]] = []  # complete trees, the widest first
    for hashed in leaves:
        node = (1, hashed)
        while stack and stack[-1][0] == node[0]:
            node = _join(stack.pop(), node)
        stack.append(node)
    if not stack:
        return hashlib.sha256(b"").digest()
    node = stack.pop()
    while stack:
        node = _join(stack.pop(), node)
    return node[1]


def _join(left: tuple[int, bytes], right: tuple[int, bytes]) -> tuple[int, bytes]:
    return left[0] + right[0], hashlib.sha256(b"\1" + left[1] + right[1]).digest()
