"""What a log, a mail or a screen may show of a secret, an address or a name.

Everything here is linear in the length of its input, and the input is cut first: a log line is written on behalf of
whoever sent the request (OWASP Logging Cheat Sheet, "Data to exclude"; ASVS 5.0 §16.2.5).
"""

import datetime
import decimal
import enum
import ipaddress
import math
import re
import string
import unicodedata
import uuid
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, cast

REDACTED = "[REDACTED]"
TRUNCATED = "[TRUNCATED]"
CYCLE = "[CYCLE]"

MAX_TEXT = 2_048
"""Characters of one string that survive."""

MAX_DEPTH = 64
"""Containers inside each other; deeper ones become TRUNCATED."""

MAX_COST = 5_000
"""Values per call, a long string counting for several: ten lists, each ten times in the next, are 10^10 values."""

_MAX_KEY = 128
_MAX_NAME = 64
_MAX_SCAN = 8 * MAX_TEXT
_CHARS_PER_COST = 32
_MAX_INT_BITS = 256

_MASKED_IP = "***.***.***.***"

# Parts of a name that mean a secret wherever they stand. Compared with the letters and digits of the name in lower
# case, so that apiKey, API-KEY and x_api_key are one name. "code" is no part: it is how a problem is named.
_SECRET_PARTS = (
    "password", "passwd", "passphrase", "passcode", "secret", "token", "authorization", "cookie", "apikey",
    "privatekey", "signingkey", "encryptionkey", "accesskey", "sessionid", "sessionkey", "credential", "signature",
    "jwt", "csrf", "xsrf", "bearer", "nonce", "otpcode", "onetimecode", "verificationcode", "recoverycode",
    "backupcode", "resetcode", "authcode", "mfacode", "connectionstring", "databaseurl", "brokerurl",
    "cardnumber", "creditcard",
)  # fmt: skip

# Too short to look for inside other words ("footprint" holds "otp"): they count as a whole word only.
_SECRET_WORDS = frozenset({"otp", "totp", "hotp", "pwd", "pass", "pin", "sig", "cvv", "cvc"})

# otp_required=True and token_count=3 tell about a secret without holding it. Only for numbers and booleans: a text
# may be anything.
_ABOUT_A_SECRET = frozenset(
    {"required", "enabled", "count", "attempts", "left", "ttl", "length", "sent", "changed", "expired", "present"}
)

_SEPARATORS = re.compile(r"[-_\s]+")
_NO_LETTER = re.compile(r"[\W_]+")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")

# Each pattern scans a stretch of text once: a start is tied to a literal or to the edge of a run, and runs are
# possessive. Without that, "eyJeyJeyJ…" costs the square of its length.
_PEM = re.compile(
    r"-----BEGIN (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----.*?(?:-----END (?:[A-Z]{2,10} ){0,2}PRIVATE KEY-----|\Z)", re.S
)
_HEADER = re.compile(r"""(?i)(?<![A-Za-z0-9])(authorization|cookie|x[-_]api[-_]key)(["']?\s*+:\s*+|\s*+=)[^\r\n]++""")
_BEARER = re.compile(r"""(?i)(bearer)((?:\s|%20|[+:])++)[^\s"',;]++""")
_BASE64URL_AND_DOT = f"{string.ascii_letters}{string.digits}_-."
_TOKEN_RUN = re.compile(r"[A-Za-z0-9_.-]{5,}+")
# An @ may stand in the path of a web address. Everywhere else, what is before the last one is taken for a password,
# which holds "/" and "@" whenever somebody forgot to encode it.
_URL = re.compile(r"://\S++")
_USERINFO = re.compile(r"(?i)(?<!http)(?<!https)://|://(?!(?:\[[\da-f:.]*+\]|[^/?#@:]*+)(?::\d*+)?+[/?#])")
# name=value, "name": value and name = value; percent-encoded, or in a JSON text inside another one (\"name\":).
_QUOTE = r"""(?:\\*+["']|%2[27])"""
_ASSIGNMENT = re.compile(rf"(?<![\w.\[\]-])([\w.\[\]-]++)(?=(=|%3[Dd]|[ \t]++=++[ \t]*+|{_QUOTE}\s*+(?::|%3[Aa])\s*+))")
# Up to the closing quote; to the end of the line after an opening bracket; else as far as a query string would go.
_VALUE = re.compile(
    rf"""(?s)(b?({_QUOTE})).*?(?=(?<!\\)\2|\Z)"""
    r"""|(?!\[REDACTED\])[^&;\s"'<>(\[{]*+[(\[{][^\r\n]*+"""
    r"""|(?:(?!%26)[^&;\s"'<>])*+"""
)
# The part of an API key that no other text has (kit.apikeys): id, secret and checksum.
_API_KEY = re.compile(r"_[a-z0-9]{16}_[0-9A-Za-z]{49}")
# What each of the patterns above needs: most strings hold none of it, and one look is enough.
_SUSPECT = re.compile(
    r"""(?i)=|%3d|(?:["']|%2[27])\s*+(?::|%3a)|://|eyJ|-----BEGIN|bearer|authorization|cookie|x[-_]api[-_]key"""
    rf"""|{_API_KEY.pattern}"""
)

_DOMAIN = re.compile(r"(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W_](?:[\w-]{0,61}[^\W_])?|localhost", re.IGNORECASE)


def redact_email(email: str | None) -> str:
    """Show whose mailbox it is without giving it away: `jane@example.com` becomes `j***@example.com`.

    The stars do not tell how long the name is. Whatever is no plain address (none, two "@", a quoted local part,
    control characters) becomes `[REDACTED]` as a whole: a user who typed a password into the e-mail field must not find
    its beginning in a log. Never raises.
    """
    if not isinstance(email, str) or len(email) > 320:
        return REDACTED
    local, at, domain = email.strip().partition("@")
    if not at or not 1 <= len(local) <= 64 or len(domain) > 253 or not _DOMAIN.fullmatch(domain):
        return REDACTED
    # isprintable() is False for control and format characters, so that no bidirectional mark comes through.
    if not local.isprintable() or any(char in ' "<>(),:;\\[]' for char in local):
        return REDACTED
    return f"{local[0]}***@{domain}"


def redact_ip(ip: str | None) -> str:
    """Keep the network, hide the host: `192.168.***.***`, `2001:db8:***`, and `***.***.***.***` for anything else.

    An IPv4 address inside an IPv6 one (`::ffff:192.0.2.1`) counts as IPv4. Never raises.
    """
    if not isinstance(ip, str) or len(ip) > 100:
        return _MASKED_IP
    try:
        address = ipaddress.ip_address(ip.strip())
    except ValueError:
        return _MASKED_IP
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            first, second = address.packed[:2], address.packed[2:4]
            return f"{int.from_bytes(first):x}:{int.from_bytes(second):x}:***"
        address = address.ipv4_mapped
    return f"{address.packed[0]}.{address.packed[1]}.***.***"


def redact_jti(jti: str | None) -> str:
    """Return the first 8 characters of a token's id: enough to find its lines, too little to name it elsewhere.

    Anything but a string becomes `[REDACTED]`. Never raises.
    """
    return jti[:8] if isinstance(jti, str) else REDACTED


def redact_text(text: str, *, limit: int = MAX_TEXT) -> str:
    """Take the credentials out of free text and cut it to `limit` characters (the last one is then "…").

    Recognised: JWTs and our API keys (also inside other words), `Bearer …`, `Authorization:`, `Cookie:` and
    `X-API-Key:` (or `=`) up to the end of the line, `name=value` and `"name": value` where the name is a sensitive one
    (query strings, JSON, calls; percent-encoded or not), the user part of a URL, PEM private keys. A bare password in a
    sentence is not recognisable: never log one.

    Time is linear and bounded, whatever the text.
    """
    cut = len(text) > _MAX_SCAN
    if cut:
        # A token that the cut goes through would no longer look like one; it goes as a whole.
        text = text[:_MAX_SCAN].rstrip(_BASE64URL_AND_DOT)
    if _SUSPECT.search(text):
        text = _without_credentials(text)
    if cut or len(text) > limit:
        return text[: limit - 1] + "…"
    return text


def _without_credentials(text: str) -> str:
    text = _PEM.sub(REDACTED, text)
    text = _TOKEN_RUN.sub(_redact_token, text)
    text = _URL.sub(_redact_userinfo, text)
    text = _HEADER.sub(rf"\1\2{REDACTED}", text)
    text = _BEARER.sub(rf"\1\2{REDACTED}", text)
    text = _redact_assignments(text)
    # Once more: the blank that had ended an address may have been part of a value that is hidden now.
    return _URL.sub(_redact_userinfo, text)


def redact_mapping(mapping: Mapping[Any, Any], *, extra_keys: Iterable[str] = ()) -> dict[str, Any]:
    """Copy a mapping into plain JSON types, without its secrets.

    At any depth of dicts, lists, tuples and sets: the value of a key that looks sensitive (password, token, cookie,
    api_key, … in any case, with "-", "_" or camelCase) becomes `[REDACTED]`, as does the second of a pair whose first
    is such a name (lists of headers); strings go through `redact_text`; UUIDs, dates and decimals become text; bytes
    and unknown objects become `<12 bytes>` and `<ClassName>`, since their own text may hold a secret, run a query or
    raise. `extra_keys` are whole names, compared literally apart from case, "-" and "_" (ASVS 5.0 §1.2.9).

    The argument is never changed. Depth, number of values and length of strings are bounded, cycles end in `[CYCLE]`.

    Raises TypeError if `extra_keys` is a single string.
    """
    if isinstance(extra_keys, str):
        raise TypeError("extra_keys is a collection of names, not one string")
    return _Copy(frozenset(_canonical(key) for key in extra_keys)).mapping(mapping, 0)


def is_sensitive_key(key: str) -> bool:
    """Whether the value under this name has to be hidden; always for one above 128 characters, which no field has."""
    return len(key) > _MAX_KEY or _is_sensitive(key)


def _canonical(key: str) -> str:
    return _SEPARATORS.sub("", unicodedata.normalize("NFKC", key).casefold())


@lru_cache(maxsize=1024)
def _is_sensitive(key: str) -> bool:
    # Full-width letters and the like are the same name to a reader (and to some parsers).
    plain = unicodedata.normalize("NFKC", key)
    if plain.casefold().startswith(("__host-", "__secure-")):
        return True  # a cookie of ours or of anybody else
    letters = _NO_LETTER.sub("", plain.casefold())
    if any(part in letters for part in _SECRET_PARTS):
        return True
    words = {word.casefold() for word in _WORD.findall(plain)} | set(_SEPARATORS.split(plain.casefold()))
    return not words.isdisjoint(_SECRET_WORDS)


def _redact_userinfo(match: re.Match[str]) -> str:
    text, (begin, end) = match.string, match.span()
    last = text.rfind("@", begin, end)
    user = _USERINFO.search(text, begin, last) if last >= 0 else None
    return f"{text[begin : user.end()]}{REDACTED}{text[last:end]}" if user else match[0]


def _redact_token(match: re.Match[str]) -> str:
    run = match[0]
    start = run.find("eyJ")
    is_jwt = start >= 0 and run.count(".", start) >= 2
    return REDACTED if is_jwt or _API_KEY.search(run) else run


def _redact_assignments(text: str) -> str:
    kept: list[str] = []
    position = 0
    for name in _ASSIGNMENT.finditer(text):
        if name.start() < position or not is_sensitive_key(name[1]):
            continue
        value = cast(re.Match[str], _VALUE.match(text, name.end(2)))  # perhaps an empty one
        start = value.end(1) if value[1] else value.start()
        kept += [text[position:start], REDACTED]
        position = value.end()
    kept.append(text[position:])
    return "".join(kept)


class _Copy:
    """One walk through one mapping: it holds the budget and the containers that are open.

    Types are asked with type(), never isinstance(): that one believes `__class__`, and a lazy object (Django's
    request.user) would run its query to answer.
    """

    def __init__(self, extra_keys: frozenset[str]) -> None:
        self.extra_keys = extra_keys
        self.cost = 0
        self.open: set[int] = set()

    def mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        self.open.add(id(value))
        # The items are taken at once: another thread may be changing the dict.
        for key, item in list(islice(value.items(), MAX_COST + 1)):
            if self.cost >= MAX_COST:
                copy[TRUNCATED] = TRUNCATED
                break
            name = self.key(key)
            shown = redact_text(name) if len(name) <= _MAX_KEY else TRUNCATED
            copy[shown] = self.hide_or_copy(name, item, depth)
        self.open.discard(id(value))
        return copy

    def hide_or_copy(self, name: str, item: Any, depth: int) -> Any:
        if not self.is_hidden(name, item):
            return self.value(item, depth + 1)
        self.cost += 1
        return REDACTED

    def is_hidden(self, name: str, item: Any) -> bool:
        if len(name) > _MAX_KEY or _canonical(name) in self.extra_keys:
            return True
        if type(item) in (bool, int, float) and _SEPARATORS.split(name)[-1].lower() in _ABOUT_A_SECRET:
            return False
        return _is_sensitive(name)

    def is_hidden_pair(self, items: list[Any]) -> bool:
        is_named = len(items) == 2 and issubclass(type(items[0]), (str, bytes))
        return is_named and self.is_hidden(self.key(items[0]), items[1])

    def key(self, key: Any) -> str:
        kind = type(key)
        if issubclass(kind, str):
            return str.__str__(key)
        if issubclass(kind, bytes):
            return bytes(key).decode("latin-1")
        return str(self.value(key, MAX_DEPTH))

    def items(self, value: Iterable[Any], depth: int, *, may_be_pair: bool = False) -> list[Any]:
        copy: list[Any] = []
        self.open.add(id(value))
        items = list(islice(value, MAX_COST + 1))
        if may_be_pair and self.is_hidden_pair(items):
            items[1] = REDACTED
        for item in items:
            if self.cost >= MAX_COST:
                copy.append(TRUNCATED)
                break
            copy.append(self.value(item, depth + 1, is_element=True))
        self.open.discard(id(value))
        return copy

    def value(self, value: Any, depth: int, *, is_element: bool = False) -> Any:
        self.cost += 1
        kind = type(value)
        if value is None or kind is bool:
            return value
        if issubclass(kind, str):
            self.cost += min(len(value), _MAX_SCAN) // _CHARS_PER_COST
            return redact_text(str.__str__(value))
        if issubclass(kind, (bytes, bytearray)):
            return f"<{len(value)} bytes>"
        if issubclass(kind, (Mapping, list, tuple, set, frozenset)):
            return self.container(value, depth, is_element=is_element)
        return _scalar(value)

    def container(self, value: Any, depth: int, *, is_element: bool) -> Any:
        if id(value) in self.open:
            return CYCLE
        if depth >= MAX_DEPTH:
            return TRUNCATED
        kind = type(value)
        if issubclass(kind, Mapping):
            return self.mapping(value, depth)
        if issubclass(kind, list):
            # A list is a pair among others only (headers); alone it is a list of two things, as `["pwd", "email"]`.
            return self.items(value, depth, may_be_pair=is_element)
        if issubclass(kind, tuple):
            return tuple(self.items(value, depth, may_be_pair=True))
        return sorted(self.items(value, depth), key=str)  # sets have no order; a log line should


def _scalar(value: Any) -> Any:
    """A number as it is, what has a harmless text as that text, the rest as the name of its class."""
    kind = type(value)
    if issubclass(kind, enum.Enum):
        return f"{kind.__name__}.{value.name}"[:_MAX_NAME]
    if kind is int and value.bit_length() <= _MAX_INT_BITS:  # a huge one is an error to print, and slow
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)  # NaN is no JSON
    if issubclass(kind, (datetime.date, datetime.time)):
        return value.isoformat()
    if kind in (uuid.UUID, datetime.timedelta, decimal.Decimal, ipaddress.IPv4Address, ipaddress.IPv6Address):
        return str(value)[:_MAX_KEY]
    return f"<{kind.__name__[:_MAX_NAME]}>"
