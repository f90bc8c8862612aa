"""What a new password may not be, for `AUTH_PASSWORD_VALIDATORS`. Every refusal says why.

Source: NIST SP 800-63B-4 §3.1.1.2, ASVS 6.2.1 to 6.2.12.
"""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.contrib.auth.password_validation import CommonPasswordValidator as DjangosList
from django.contrib.auth.password_validation import MinimumLengthValidator
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop, ngettext

from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.conf import conf
from django_secure_auth.mail import address_of, site_name
from django_secure_auth.passwords import breached

logger = logging.getLogger("django_secure_auth")
LEAST_LENGTH = 8


def _normal(password: str) -> str:
    return unicodedata.normalize("NFC", password)


class LengthValidator(MinimumLengthValidator):
    """At least `min_length` code points, whatever they are (ASVS 6.2.1). Our own bodies bound them above."""

    def __init__(self, min_length: int = 12) -> None:
        if min_length < LEAST_LENGTH:
            raise ImproperlyConfigured(f"LengthValidator: min_length is at least {LEAST_LENGTH} (NIST, ASVS 6.2.1).")
        super().__init__(min_length)

    def validate(self, password: str, user: Any = None) -> None:
        if len(_normal(password)) < self.min_length:
            raise ValidationError(self.get_help_text(), code="password_too_short")

    def get_help_text(self) -> str:
        return ngettext(
            "Use at least %(count)d character: several words are easy to remember.",
            "Use at least %(count)d characters: several words are easy to remember.",
            self.min_length,
        ) % {"count": self.min_length}


# --- common passwords --------------------------------------------------------------------------------

_DIGEST = 6


class _Digests:
    """Sorted beginnings of SHA-256, searched where they lie."""

    def __init__(self, path: Path) -> None:
        header, _, self._bytes = path.read_bytes().partition(b"\n")
        self.lengths: Mapping[int, int] = {int(key): value for key, value in json.loads(header)["lengths"].items()}
        self._count = len(self._bytes) // _DIGEST

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> bytes:
        return self._bytes[place * _DIGEST : (place + 1) * _DIGEST]

    def __contains__(self, text: str) -> bool:
        digest = sha256(text.encode()).digest()[:_DIGEST]
        place = bisect_left(self, digest)
        return place < len(self) and self[place] == digest


@lru_cache(maxsize=1)
def _long_list() -> _Digests:
    return _Digests(Path(__file__).with_name("common_passwords.bin"))


@lru_cache(maxsize=1)
def _djangos_list() -> frozenset[str]:
    return frozenset(DjangosList().passwords)


def common_passwords_from(min_length: int) -> int:
    """Return how many of the common passwords a rule of this length would let pass: what the list is there for."""
    ours = sum(count for length, count in _long_list().lengths.items() if length >= min_length)
    return ours + sum(len(password) >= min_length for password in _djangos_list())


class CommonPasswordValidator(DjangosList):
    """Not one of 35,000 common passwords: Django's 20,000, and 16,000 of twelve characters and more (ASVS 6.2.4)."""

    def __init__(self) -> None:
        """Django's reads its list each time; here both are read once, at the first password."""

    def validate(self, password: str, user: Any = None) -> None:
        folded = _normal(password).lower().strip()
        if folded in _djangos_list() or folded in _long_list():
            raise ValidationError(_("Many people use this password, so it is tried first."), code="password_too_common")

    def get_help_text(self) -> str:
        return _("Do not use a password that many people use.")


# --- breached passwords ------------------------------------------------------------------------------


def is_breached(password: str) -> bool:
    """Tell whether the filter of `BREACHED_PASSWORDS_FILE` lists a password. Told, and False, if unreadable."""
    if conf.BREACHED_PASSWORDS_FILE is None:
        return False
    try:
        return breached.is_in_filter(password, conf.BREACHED_PASSWORDS_FILE)
    except (ImportError, OSError, ValueError) as error:
        _tell_away("file", error)
        return False


def _is_in_range(password: str) -> bool:
    if not conf.BREACHED_PASSWORDS_API:
        return False
    try:
        return breached.is_in_range(password)
    except (ImportError, ConnectionError) as error:
        _tell_away("api", error)
        return False


def _tell_away(source: str, error: Exception) -> None:
    # Open, or nobody could choose a password while somebody else's service is away; the other rules still judge.
    logger.error("Breached passwords cannot be looked up (%s): %s", source, type(error).__name__)
    record(events.BREACH_CHECK_AWAY, source=source)


class BreachedPasswordValidator:
    """Not a password of a known breach, by `BREACHED_PASSWORDS_FILE` and `BREACHED_PASSWORDS_API` (ASVS 6.2.12).

    With neither it lets everything pass. When one of them cannot answer it lets pass too, and the event
    `breach_check_unavailable` is written.
    """

    def validate(self, password: str, user: Any = None) -> None:
        if is_breached(password) or _is_in_range(password):
            raise ValidationError(
                _("This password has been found in a breach of some site, so it is tried first."),
                code="password_breached",
            )

    def get_help_text(self) -> str:
        return _("Do not use a password that you use elsewhere.")


# --- the user's and the site's own words -------------------------------------------------------------

_SHORTEST_WORD = 4
_NOT_A_LETTER = re.compile(r"[\W_]+")


class OwnWordsValidator:
    """Not made of the user's address and names, the site's name, or `words`: no such word is half of it."""

    def __init__(self, words: tuple[str, ...] | list[str] = ()) -> None:
        self._words = tuple(words)

    def validate(self, password: str, user: Any = None) -> None:
        typed = _folded(password)
        for word in {*self._words, *_words_of(user)}:
            folded = _folded(word)
            if len(folded) >= _SHORTEST_WORD and folded in typed and 2 * len(folded) >= len(typed):
                raise ValidationError(
                    _("It is made of your name, your address or the name of this site."), code="password_too_similar"
                )

    def get_help_text(self) -> str:
        return _("Do not use your name, your address or the name of this site.")


def _folded(text: str) -> str:
    return _NOT_A_LETTER.sub("", unicodedata.normalize("NFKC", text).casefold())


def _words_of(user: Any) -> Iterator[str]:
    site = site_name()
    yield from (site, site.partition(".")[0], *site.split("."))
    if user is None:
        return
    address = address_of(user)
    local, _, domain = address.partition("@")
    yield from (address, local, *local.split("."), domain, domain.partition(".")[0])
    for name in (user.USERNAME_FIELD, *conf.PROFILE_FIELDS, *conf.REGISTRATION_FIELDS):
        value = getattr(user, name, None)
        if isinstance(value, str):
            yield value


# --- older rules -------------------------------------------------------------------------------------

_KINDS: dict[str, tuple[Callable[[str], bool], str]] = {
    "lower": (str.islower, gettext_noop("a small letter")),
    "upper": (str.isupper, gettext_noop("a capital letter")),
    "digit": (str.isdigit, gettext_noop("a digit")),
    "special": (lambda character: not character.isalnum(), gettext_noop("a special character")),
}


class CompositionValidator:
    """`kinds` of characters, for those whom an older rule binds. `secure_auth.W081` advises against it.

    NIST SP 800-63B-4 §3.1.1.2 and ASVS 6.2.5 forbid such rules: people answer them with `Password1!`.
    """

    def __init__(self, kinds: tuple[str, ...] | list[str] = tuple(_KINDS)) -> None:
        unknown = sorted(set(kinds) - _KINDS.keys())
        if unknown or not kinds:
            raise ImproperlyConfigured(f"CompositionValidator: kinds are some of {', '.join(_KINDS)}.")
        self._kinds = tuple(kinds)

    def validate(self, password: str, user: Any = None) -> None:
        missing = [kind for kind in self._kinds if not any(map(_KINDS[kind][0], _normal(password)))]
        if missing:
            raise ValidationError(self._wanted(missing), code="password_composition")

    def get_help_text(self) -> str:
        return self._wanted(self._kinds)

    def _wanted(self, kinds: Any) -> str:
        return _("It must have %(kinds)s.") % {"kinds": ", ".join(_(_KINDS[kind][1]) for kind in kinds)}
