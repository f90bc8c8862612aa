"""A name for a browser or program, out of what it says of itself: for lists and mails, and no proof of anything.

No text of the client's own gets into it: the name is made of words of ours, or, with the extra `devices`, of words that
stand in ua-parser's own patterns. Else a mail could be made to say whatever a stranger likes.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

MAX_LABEL = 64
UNKNOWN = "Unknown device"

_BROWSERS = (("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip
# Where the library's word is not the one that people know.
_SAID_OTHERWISE = {"Mac OS X": "macOS", "Chrome OS": "ChromeOS"}
# A name, and no piece of a pattern such as `?:bot`, which a client may write out.
_NAME = re.compile(r"\w[\w .+/^!'&-]*")
_TELLING_DEVICES = frozenset({"iPhone", "iPad"})


@lru_cache(maxsize=1024)
def device_label(user_agent: str) -> str:
    """Return a coarse name such as "Firefox on Linux", of at most 64 characters."""
    parser = _library()
    browser, system = _by_words(user_agent) if parser is None else parser.names(user_agent)
    return " on ".join(filter(None, (browser, system)))[:MAX_LABEL] or UNKNOWN


def _by_words(user_agent: str) -> tuple[str, str]:
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return browser, system


class _Library:
    def __init__(self, parse: Any, matchers: Any) -> None:
        self._parse = parse
        texts = (text for kind in matchers for one in kind for text in (str(_pattern(one)), one.family))
        self._own_words = "\n".join(texts)

    def names(self, user_agent: str) -> tuple[str, str]:
        found = self._parse(user_agent)
        browser, system, device = (
            self._known(getattr(one, "family", "")) for one in (found.user_agent, found.os, found.device)
        )
        return browser, device if device in _TELLING_DEVICES else system

    def _known(self, family: str) -> str:
        is_own = _NAME.fullmatch(family or "") and re.search(rf"(?<!\w){re.escape(family)}(?!\w)", self._own_words)
        return _SAID_OTHERWISE.get(family, family) if is_own else ""


def _pattern(matcher: Any) -> str:
    return str(matcher.regex)


@lru_cache(maxsize=1)
def _library() -> _Library | None:
    """Loaded when the first name is asked for: importing the package costs nothing of it."""
    try:
        from ua_parser import parse  # noqa: PLC0415  # of the extra `devices`
        from ua_parser.loaders import load_lazy_builtins  # noqa: PLC0415  # as above
    except ImportError:
        return None
    return _Library(parse, load_lazy_builtins()[:2])
