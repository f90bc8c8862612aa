"""Passwords of known breaches: a filter that lies beside the project, and a service that is asked for a range.

The filter is a Bloom filter over SHA-1, the form in which breaches are published. It calls every breached password
breached, and as many others as its rate of false positives says: those are refused as well, and lose nothing but one
choice among many.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from struct import unpack
from typing import Any

FALSE_POSITIVES = 0.001


def require_library() -> None:
    """Raise ImportError without the extra `breached`."""
    import probables  # noqa: F401, PLC0415  # the look is all
    import pwned_passwords_django.api  # noqa: F401, PLC0415  # the look is all


def _bloom_filter(**values: Any) -> Any:
    from probables import BloomFilter  # noqa: PLC0415  # needs the extra `breached`

    return BloomFilter(hash_function=_places, **values)


def _sha1(password: str) -> str:
    normal = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    # The form of the published lists, nothing that we rely on: what is stored is Argon2id.
    return hashlib.sha1(normal, usedforsecurity=False).hexdigest().upper()


def _places(sha1: str | bytes, count: int) -> list[int]:
    """Return numbers of 64 bits for a filter, as many as it asks for; its own hashes are slower by far."""
    return list(unpack(f"<{count}Q", hashlib.shake_256(str(sha1).encode()).digest(8 * count)))


def build(source: Path, target: Path, *, false_positives: float = FALSE_POSITIVES, at_least: int = 1) -> int:
    """Write a filter of the passwords in `source`, and return how many there are.

    `source` has a line `SHA1:count` for each, as Have I Been Pwned offers them for download, or a password. `at_least`
    leaves out those that were seen less often. The target appears when it is whole, or not at all. It takes 1.8
    bytes for each password at one false positive in a thousand.

    Raises ValueError for a source without passwords or a rate that is none, OSError, or ImportError without the extra
    `breached`.
    """
    if not 0 < false_positives < 1:
        raise ValueError("false_positives is between 0 and 1, such as 0.001")
    count = sum(1 for _ in _read(source, at_least))
    if not count:
        raise ValueError(f"{source} has no password that was seen {at_least} times")
    made = _bloom_filter(est_elements=count, false_positive_rate=false_positives)
    for sha1 in _read(source, at_least):
        made.add(sha1)
    unfinished = target.with_name(target.name + ".part")
    try:
        made.export(unfinished)
        os.replace(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return count


def _read(source: Path, at_least: int) -> Iterator[str]:
    with source.open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            text = line.rstrip("\r\n")
            sha1, _, seen = text.partition(":")
            if len(sha1) == 40 and all(letter in "0123456789abcdefABCDEF" for letter in sha1):
                if not seen.isdecimal() or int(seen) >= at_least:
                    yield sha1.upper()
            elif text:
                yield _sha1(text)


@lru_cache(maxsize=1)
def _opened(path: str, changed_at: float) -> Any:
    return _bloom_filter(filepath=path)


def load(path: str) -> Any:
    """Return a filter, read anew when its file was replaced.

    Raises OSError, ValueError for a file that is none, or ImportError without the extra `breached`.
    """
    try:
        return _opened(path, os.stat(path).st_mtime)
    except (OSError, ImportError):
        raise
    except Exception as error:  # whatever the reader makes of other bytes
        raise ValueError(f"{path} is no filter") from error


def is_in_filter(password: str, path: str) -> bool:
    """Tell whether a filter lists a password. Raises what `load` raises."""
    return _sha1(password) in load(path)


@lru_cache(maxsize=1)
def _client() -> Any:
    # Made when first asked: its settings are the project's. No redirect is followed.
    import httpx  # noqa: PLC0415  # needs the extra `breached`
    from pwned_passwords_django.api import PwnedPasswords  # noqa: PLC0415  # needs the extra `breached`

    return PwnedPasswords(client=httpx.Client(follow_redirects=False))


def is_in_range(password: str) -> bool:
    """Ask Have I Been Pwned whether it lists a password; five characters of its SHA-1 leave the process.

    Raises ConnectionError when there is no answer in time, or ImportError without the extra `breached`.
    """
    client = _client()
    try:
        return bool(client.check_password(unicodedata.normalize("NFC", password)))
    except Exception as error:  # the library's own: whatever goes wrong, it has not answered
        raise ConnectionError("the range service gave no answer") from error
