"""The cookies' names and attributes, and how they are read back: policy only, no request and no response.

`__Host-` makes the browser itself refuse a cookie that a sibling subdomain, or a plain-http answer, tries to plant; it
demands Secure, Path=/ and no Domain (RFC 6265bis §4.1.3.2). The refresh token has a narrower path, so that it travels
only to our URLs, and therefore has `__Secure-` (§4.1.3.1).
"""

import re
from dataclasses import dataclass
from functools import lru_cache

MAX_COOKIE_BYTES = 4096
"""Browsers drop a cookie whose name and value are longer (RFC 6265bis §5.6), in silence; ASVS 5.0 §3.3.5 wants less."""

MAX_HEADER = 16_384
"""Characters of a Cookie header that are read."""

_HOST, _SECURE = "__Host-", "__Secure-"
_NAME_PREFIXES = {"access": _HOST, "refresh": _SECURE, "challenge": _HOST, "device": _HOST}
_SAMESITE = ("Lax", "Strict", "None")
_PREFIX = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")  # token, RFC 9110 §5.6.2
_PATH = re.compile(r"/[\x21-\x3a\x3c-\x7e]*")  # visible ASCII without ";"


@dataclass(frozen=True, slots=True)
class CookieSpec:
    """What setting a cookie and deleting it must have in common: a deletion with another path deletes nothing."""

    name: str
    path: str
    samesite: str
    secure: bool
    httponly: bool = True


@lru_cache(maxsize=64)
def cookie_name(prefix: str, kind: str, *, secure: bool) -> str:
    """Return the full name of the "access", "refresh", "challenge" or "device" cookie.

    Without `secure` (development over plain http) the name has no `__Host-` or `__Secure-`: browsers refuse those names
    on a cookie that is not Secure.

    Raises ValueError for another kind, or a prefix that is no cookie name or brings a `__…-` prefix of its own.
    """
    if kind not in _NAME_PREFIXES:
        raise ValueError(f"unknown cookie kind: {kind!r}; valid kinds are: {', '.join(_NAME_PREFIXES)}")
    # The prefix goes into a header: no ";", "=" or line break. A "__Host-" of its own would double the real one.
    if not _PREFIX.fullmatch(prefix) or re.match(r"__[a-z]+-", prefix, re.IGNORECASE):
        raise ValueError(f"not a cookie prefix: {prefix!r}")
    return f"{_NAME_PREFIXES[kind] if secure else ''}{prefix}_{kind}"


def cookie_spec(prefix: str, kind: str, *, secure: bool, refresh_path: str, access_samesite: str = "Lax") -> CookieSpec:
    """Return name and attributes of a cookie (always HttpOnly, never a Domain; ASVS 5.0 §3.3.1 to §3.3.4).

    Refresh and challenge are SameSite=Strict: no link from another site needs them. The device cookie is Lax; the
    access cookie is what `access_samesite` says. `refresh_path` is the mount point of the URLs.

    Raises ValueError as cookie_name does; for a path that does not start with "/" or holds blanks or ";"; for a
    SameSite other than Lax, Strict and None; and for None without `secure`, which browsers refuse.
    """
    name = cookie_name(prefix, kind, secure=secure)
    if not _PATH.fullmatch(refresh_path):
        raise ValueError(f"not a cookie path: {refresh_path!r}")
    if access_samesite not in _SAMESITE:
        raise ValueError(f"unknown SameSite: {access_samesite!r}; valid values are: {', '.join(_SAMESITE)}")
    if access_samesite == "None" and not secure:
        raise ValueError("SameSite=None needs a Secure cookie")
    samesite = {"access": access_samesite, "device": "Lax"}.get(kind, "Strict")
    return CookieSpec(name=name, path=refresh_path if kind == "refresh" else "/", samesite=samesite, secure=secure)


def cookie_values(raw_header: str, name: str) -> list[str]:
    """Return every value that the Cookie header gives for this name, in its order (the longest path comes first).

    After a change of path or domain a browser holds two cookies of one name and sends both; Django's parser keeps the
    last, and a stale one there is a sign-in that never works again. The values are unverified, and may be many: the
    caller bounds how many it tries. Names are compared exactly. Of a header above 16 KiB the beginning is read.
    """
    pairs = raw_header[:MAX_HEADER].split(";")
    if len(raw_header) > MAX_HEADER:
        pairs.pop()  # half a pair
    values = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        # Blank and tab only. str.strip() would also take U+0085 and U+00A0 away: a sibling subdomain may set a cookie
        # named "\xa0__Host-…", which the browser does not recognise as a prefixed name, and we would.
        if equals and key.strip(" \t") == name:
            values.append(_unquoted(value.strip(" \t")))
    return values


def check_size(name: str, value: str) -> None:
    """Refuse a cookie that browsers would drop in silence: sign-in would then seem to work and not last.

    Raises ValueError if name and value have 4096 bytes or more together. The message does not hold the value.
    """
    size = len(name.encode("utf-8", "surrogatepass")) + len(value.encode("utf-8", "surrogatepass"))
    if size >= MAX_COOKIE_BYTES:
        raise ValueError(f"cookie {name!r} has {size} bytes; browsers keep less than {MAX_COOKIE_BYTES}")


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) >= 2 and value[0] == value[-1] == '"' else value
