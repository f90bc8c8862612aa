"""Look for a secret in a heap of bytes, in whatever dress: plain, escaped, base64, hex, inside encoded text."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
import zlib
from urllib.parse import quote, quote_plus

_ENCODED = re.compile(rb"[A-Za-z0-9+/_-]{8,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){4,}")
_DEPTH = 3


def forms(secret: str | bytes) -> set[bytes]:
    """Return the ways in which a secret may be written down."""
    plain = secret.encode() if isinstance(secret, str) else secret
    found = {plain, plain.hex().encode(), plain.hex().upper().encode()}
    for shift in range(3):  # base64 of a longer text that holds the secret at any offset
        for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
            encoded = alphabet(b"\0" * shift + plain)
            first, last = -(-shift * 4 // 3), (shift + len(plain)) * 4 // 3
            found.add(encoded[first:last])
    if isinstance(secret, str):
        found |= {quote(secret, safe="").encode(), quote_plus(secret).encode(), json.dumps(secret)[1:-1].encode()}
    return found


def layers(heap: bytes, depth: int = _DEPTH) -> list[bytes]:
    """Return the heap, and what its encoded and compressed parts say, some layers deep."""
    found = [heap]
    if depth == 0:
        return found
    for candidate in _ENCODED.findall(heap):
        for inner in _decoded(candidate):
            found += layers(inner, depth - 1)
    for candidate in _HEX.findall(heap):
        found.append(bytes.fromhex(candidate.decode()))
    return found


def _decoded(text: bytes) -> list[bytes]:
    body = text.rstrip(b"=")
    padded = body[: len(body) - (len(body) % 4 == 1)]
    padded += b"=" * (-len(padded) % 4)
    with contextlib.suppress(binascii.Error, ValueError):
        raw = base64.b64decode(padded.replace(b"-", b"+").replace(b"_", b"/"))
        found = [raw]
        with contextlib.suppress(zlib.error):
            found.append(zlib.decompressobj(wbits=47).decompress(raw))
        return found
    return []


def holds(heap: bytes, secret: str | bytes) -> bool:
    """Tell whether the heap holds the secret in one of its forms, on any layer."""
    wanted = forms(secret)
    return any(form in layer for layer in layers(heap) for form in wanted)


def holds_code(heap: bytes, code: str) -> bool:
    """The same for a code of few digits, which stands alone: not inside a number, an id or a fraction of a second."""
    alone = re.compile(rb"(?<![0-9A-Za-z.-])" + code.encode() + rb"(?![0-9A-Za-z-])")
    return any(alone.search(layer) for layer in layers(heap, 2) if _is_text(layer))


def _is_text(layer: bytes) -> bool:
    # Six digits in a row of random bytes mean nothing.
    return all(byte >= 9 for byte in layer)
