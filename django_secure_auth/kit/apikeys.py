"""API keys as text, `<prefix>_<environment>_<public id>_<secret><checksum>`: made, read and digested.

Pure: no clock, no tables. The public id is a name, shown in lists and in the trail; the secret is 256 bits.
"""

from __future__ import annotations

import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

from django_secure_auth.kit.keys import Secret
from django_secure_auth.kit.opaque import SECRET_BYTES, OpaqueInvalid

# Lower case only: some databases compare texts without regard to case.
_ID_ALPHABET = string.ascii_lowercase + string.digits
_ID_LENGTH = 16  # 82 bits: among a million keys no two share one
# Letters and digits only, so that a double click takes the whole, and nothing has to be escaped in a URL or a shell.
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 43  # 62⁴³ is just above 2²⁵⁶
_CHECKSUM_LENGTH = 6  # 62⁶ is above 2³²

_WORD = "[a-z][a-z0-9]{1,15}"
_REST = rf"_{_WORD}_[a-z0-9]{{{_ID_LENGTH}}}_[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}"
_FORM = re.compile(_WORD + _REST)
_SCOPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/*-]{0,63}")


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as its holder sends it. The repr shows its public id only."""

    public_id: str
    value: str

    def __repr__(self) -> str:
        return f"<KeyText {self.public_id}>"


def is_key_word(text: object) -> bool:
    """Whether a text may be a key's prefix or environment: 2 to 16 of `a-z` and `0-9`, a letter first."""
    return isinstance(text, str) and re.fullmatch(_WORD, text) is not None


def is_scope(text: object) -> bool:
    """Whether a text may be a scope: 1 to 64 letters, digits and `_ . : / * -`, a letter or digit first."""
    return isinstance(text, str) and _SCOPE.fullmatch(text) is not None


def api_key_pattern(prefix: str) -> str:
    """Return the regular expression by which a scanner finds keys of this prefix in code, logs and mail.

    Without look-arounds or possessive runs: RE2, PCRE and Python read it alike.
    """
    return rf"\b{prefix}{_REST}\b"


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_BASE62))
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode("ascii")), _CHECKSUM_LENGTH)


def new_api_key(*, prefix: str, environment: str) -> KeyText:
    """Draw a key: 256 random bits of secret (ASVS 11.5.1 asks for 128) and a public id, with a checksum over all.

    Raises ValueError for a prefix or environment that is no key word.
    """
    for word in (prefix, environment):
        if not is_key_word(word):
            raise ValueError(f"{word!r} is not 2 to 16 lower-case letters and digits, a letter first")
    public_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
    secret = _base62(int.from_bytes(secrets.token_bytes(SECRET_BYTES)), _SECRET_LENGTH)
    body = f"{prefix}_{environment}_{public_id}_{secret}"
    return KeyText(public_id, body + _checksum(body))


def parse_api_key(text: str) -> KeyText:
    """Read a key without judging its secret. Raises OpaqueInvalid on noise and on a mistyped one.

    The checksum is no protection, the digest is: it tells typing errors from guesses, before they cost a query.
    """
    if not _FORM.fullmatch(text):
        raise OpaqueInvalid
    body, checksum = text[:-_CHECKSUM_LENGTH], text[-_CHECKSUM_LENGTH:]
    if _checksum(body) != checksum:
        raise OpaqueInvalid
    return KeyText(body.split("_")[2], text)


def digest_api_key(key: KeyText, secret: Secret) -> str:
    """Return the digest (HMAC-SHA256, hex) under which a key is stored: of the whole text, so that no part can be
    exchanged. A slow hash would add nothing to 256 random bits.
    """
    return hmac.digest(secret.value, b"api-key\0" + key.value.encode("ascii"), "sha256").hex()
