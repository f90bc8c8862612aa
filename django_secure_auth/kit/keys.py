"""Secrets of the symmetric kind: derive one per purpose, hold several at once, recognise bad ones.

Nothing here logs, prints or compares a secret.
"""

from __future__ import annotations

import binascii
import hashlib
import secrets as _random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import pairwise

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_INFO_PREFIX = b"django-secure-auth/v1/"

# 255 blocks of SHA-256 (RFC 5869 §2.3).
_LONGEST_DERIVED = 255 * 32

_TO_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_TO_URL_ALPHABET = bytes.maketrans(b"+/", b"-_")

# 128 bits; nothing shorter can hold that much chance.
_SHORTEST_SECRET = 16
# 32 random hexadecimal digits hold fewer than 8 different ones about once in 10⁷ tries, random bytes never.
_FEWEST_DISTINCT = 8

# What people write where a secret belongs. Longer words stand before the words they contain.
_COMMON_WORDS = tuple(
    sorted(
        """
        a access admin algorithm and api app application at auth authentication base64 bit bits bytes change changeit
        changeme character characters cookie default demo dev development django do dummy encryption env example fake
        file flask for generate here hmac hs256 hs512 html in insecure insert is it json jwt keep key least long login
        me minimum must my node not of only passphrase passw0rd password please private prod production project public
        put qwerty random refresh replace replaced safe sample secret secretkey secure security server session sha256
        sign signature signing some staging string strong super supersecret temp temporary test testing text that the
        this to token too top use user value very web with your yours 123 256 512
        """.split(),
        key=len,
        reverse=True,
    )
)
_SEPARATORS = str.maketrans("", "", " -_.,:;!?@#$*=/+'\"<>(){}[]")


def derive(secret: bytes, *, purpose: str, length: int = 32) -> bytes:
    """Derive the key of one purpose from a root secret: knowing one purpose's key tells nothing of another's.

    HKDF-SHA256 without salt, ``info = b"django-secure-auth/v1/" + purpose``; ``length`` is in bytes, 1 to 8160.

    Raises ValueError for an empty purpose, an empty secret or a length out of range.
    Source: RFC 5869 §2 and §3.2.
    """
    if not secret:
        raise ValueError("the root secret is empty")
    if not purpose:
        raise ValueError("a purpose is needed, or two uses would share one key")
    if not 1 <= length <= _LONGEST_DERIVED:
        # A key of no bytes would be everybody's; the library below hands it out.
        raise ValueError(f"a derived key has 1 to {_LONGEST_DERIVED} bytes")
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=_INFO_PREFIX + purpose.encode()).derive(secret)


@dataclass(frozen=True, slots=True)
class Secret:
    """A symmetric secret and its public name. The repr shows the name only, so that a traceback may show it."""

    key_id: str
    value: bytes

    def __repr__(self) -> str:
        return f"Secret(key_id={self.key_id!r}, value=<hidden>)"


class SecretRing:
    """Several secrets by name: the first one makes new values, any of them reads old ones.

    Raises ValueError when it would be empty or two secrets share a key_id.
    """

    __slots__ = ("_by_id", "_derived", "first")

    first: Secret

    def __init__(self, secrets: Iterable[Secret]) -> None:
        self._by_id: dict[str, Secret] = {}
        self._derived: dict[str, SecretRing] = {}
        for secret in secrets:
            if secret.key_id in self._by_id:
                raise ValueError(f"two secrets are called {secret.key_id!r}")
            self._by_id[secret.key_id] = secret
        if not self._by_id:
            raise ValueError("a ring needs at least one secret")
        self.first = next(iter(self._by_id.values()))

    def get(self, key_id: str) -> Secret | None:
        """The secret of that name, or None."""
        return self._by_id.get(key_id)

    def derive(self, purpose: str) -> SecretRing:
        """The same names with the keys of one purpose, see `derive()`. Worked out once per purpose and ring."""
        ring = self._derived.get(purpose)
        if ring is None:
            ring = SecretRing(Secret(secret.key_id, derive(secret.value, purpose=purpose)) for secret in self)
            self._derived[purpose] = ring
        return ring

    def __iter__(self) -> Iterator[Secret]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def __repr__(self) -> str:
        return f"SecretRing({', '.join(self._by_id)})"


def new_secret_bytes(length: int = 32) -> bytes:
    """A new secret of ``length`` random bytes from the operating system."""
    return _random.token_bytes(length)


def b64encode(data: bytes) -> str:
    """URL-safe base64 without padding (RFC 7515 §2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL_ALPHABET).rstrip(b"=").decode("ascii")


def b64decode(text: str) -> bytes:
    """The bytes that `b64encode()` turns into exactly this text; every other spelling of them is refused.

    Raises ValueError for padding, white space, other characters, non-zero trailing bits or anything but a str.
    Source: RFC 7515 §2, RFC 4648 §3.5.
    """
    try:
        data = binascii.a2b_base64(text.encode("ascii").translate(_TO_STANDARD_ALPHABET) + b"=" * (-len(text) % 4))
    except (ValueError, AttributeError, TypeError):
        raise ValueError("not base64url") from None
    # The decoder skips what it does not know. A second spelling of one token would slip past any list of token texts,
    # so the round trip decides: it holds for one spelling only.
    if b64encode(data) != text:
        raise ValueError("not canonical base64url")
    return data


def is_weak_secret(value: bytes) -> bool:
    """Whether this secret is published or plainly guessable: too short, repeated, a sequence, common words.

    Published means: its SHA-256, cut to 8 bytes, is in ``weak_secrets.txt``, which lists JWT secrets found in public
    code and tutorials (built on what wallarm/jwt-secrets collected), published SECRET_KEYs of Django projects and the
    example keys of standards and documentation, each also as what it decodes to from base64 or hexadecimal; entries
    below 32 bytes are left out, since no key that short is accepted. Everything that starts with Django's
    ``django-insecure-`` is weak.

    False is no praise: chance cannot be measured from one value. Use `new_secret_bytes()`.
    Source: RFC 8725 §2.2 and §3.5.
    """
    return (
        _is_thin(value)
        or value.startswith(b"django-insecure-")
        or _is_repetition(value)
        or _is_sequence(value)
        or _is_common_words(value)
        or hashlib.sha256(value).hexdigest()[:16] in _published()
    )


def _is_thin(value: bytes | str) -> bool:
    return len(value) < _SHORTEST_SECRET or len(set(value)) < _FEWEST_DISTINCT


def _is_repetition(value: bytes) -> bool:
    """A block repeated at least twice, the last time perhaps cut off."""
    return any(value[period:] == value[:-period] for period in range(1, len(value) // 2 + 1))


def _is_sequence(value: bytes) -> bool:
    """At least half of the steps from byte to byte are the same: 00 01 02 …, zyx…, 0123456789abcdef."""
    steps = Counter((after - before) % 256 for before, after in pairwise(value))
    return 2 * steps.most_common(1)[0][1] >= len(value) - 1


def _is_common_words(value: bytes) -> bool:
    """Text in which little is left without its common words and punctuation: your-256-bit-secret-change-me."""
    if not value.isascii():
        return False
    text = rest = value.decode("ascii").lower()
    for word in _COMMON_WORDS:
        rest = rest.replace(word, " ")
    return rest != text and _is_thin(rest.translate(_SEPARATORS))


@cache
def _published() -> frozenset[str]:
    text = files(__package__).joinpath("weak_secrets.txt").read_text(encoding="ascii")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))
