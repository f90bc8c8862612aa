"""Where an address is, roughly: out of a GeoIP file of yours (MaxMind's format, City or Country). A hint for people.

Needs the extra `places`. A file that is missing or broken, and an address that it does not know, are no place: never an
exception, since a sign-in and a mail must not fail over it. `complaint_about` says what is wrong, for a check.
"""

from __future__ import annotations

import os
import threading
from typing import Any

_MOST = 64
_lock = threading.Lock()
_open: dict[str, tuple[tuple[int, int, int], Any]] = {}
"""One file: its stamp (when it was changed, its size, its inode), and what reads it."""
_KINDS = ("City", "Country", "Enterprise")


def place_of(address: str | None, *, file: str, language: str = "en") -> str:
    """Return such as "Lyon, France", or "France", or "" when nothing is known.

    `language` is an IETF tag; what the file has no name for in it is English. A file that was replaced is opened anew.
    """
    if not address:
        return ""
    try:
        found = _reader(file).get(address)
    except Exception:  # of a file that nobody promises to be whole: whatever the library raises
        return ""
    if not isinstance(found, dict):
        return ""
    names = (_name(found.get(kind), language) for kind in ("city", "country"))
    return ", ".join(dict.fromkeys(filter(None, names)))


def complaint_about(file: str) -> str | None:
    """Return what keeps a file from being read, or None."""
    try:
        reader = _reader(file)
        reader.get("192.0.2.1")
        kind = str(reader.metadata().database_type)
    except Exception as error:
        return str(error) or type(error).__name__
    return None if any(one in kind for one in _KINDS) else f"it is of the kind {kind}, which holds no places"


def _reader(file: str) -> Any:
    import maxminddb  # noqa: PLC0415  # of the extra `places`

    found = os.stat(file)
    stamp = found.st_mtime_ns, found.st_size, found.st_ino
    with _lock:
        kept = _open.get(file)
        if kept is None or kept[0] != stamp:
            _open.clear()  # whoever still reads the old one holds it
            kept = _open[file] = stamp, maxminddb.open_database(file)
    return kept[1]


def _name(part: Any, language: str) -> str:
    names = part.get("names") if isinstance(part, dict) else None
    if not isinstance(names, dict):
        return ""
    tag = language.lower()
    wanted = "zh-CN" if tag.startswith("zh") else "pt-BR" if tag.startswith("pt") else tag.partition("-")[0]
    text = names.get(wanted) or names.get("en")
    if not isinstance(text, str):
        return ""
    return "".join(one if one.isprintable() else " " for one in text[:_MOST]).strip()
