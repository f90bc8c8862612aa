"""Every setting, declared once: name, type, default, help and bounds.

A project sets `DJANGO_SECURE_AUTH = {"OTP_TTL": timedelta(minutes=3)}`. Values are read when they are
needed, never at import, so that `override_settings` works for each; `secure_auth.E001` and `E002` name
misspelt and ill-typed ones at start.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, Self, TypeVar, overload
from urllib.parse import urlsplit

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.encoding import force_bytes

from django_secure_auth.kit.apikeys import is_key_word, is_scope
from django_secure_auth.kit.client_ip import parse_trusted_proxies
from django_secure_auth.kit.cookies import cookie_name
from django_secure_auth.kit.jwt import Key, KeyRing
from django_secure_auth.kit.keys import Secret, SecretRing, b64decode, b64encode, derive, is_weak_secret
from django_secure_auth.kit.permissions_policy import DEFAULT as DEFAULT_PERMISSIONS
from django_secure_auth.kit.permissions_policy import complaint_about
from django_secure_auth.kit.rate import Rate

T = TypeVar("T")
Complaint = str | None

_MISSING = object()
_MAX_KEY_ID = 64
_BASE_URL = re.compile(r"(?i)https?://[^\s\\?#@]+")
_PATH = re.compile(r"/[A-Za-z0-9._~/-]*")
_PERMISSION = re.compile(r"[A-Za-z_]\w*\.\w+", re.ASCII)


class Setting(Generic[T]):
    """One setting. Reading it gives the project's value or the default, and refuses an ill-typed one."""

    def __init__(self, default: T, *, judge: Callable[[Any], Complaint], text: str) -> None:
        self.default = default
        self.judge = judge
        self.text = text
        self._approved: object = _MISSING

    def __set_name__(self, owner: type[object], name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type[object]) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[object]) -> T: ...
    def __get__(self, instance: object | None, owner: type[object]) -> T | Self:
        if instance is None:
            return self
        value = _configured().get(self.name, _MISSING)
        if value is _MISSING:
            return self.default
        # Judged once per value: the identity of an approved value is remembered, since this is read on
        # the path of every request.
        if value is not self._approved:
            complaint = self.judge(value)
            if complaint:
                raise ImproperlyConfigured(f"DJANGO_SECURE_AUTH[{self.name!r}] {complaint}")
            self._approved = value
        return self.merge(value)

    def merge(self, value: Any) -> T:
        merged: T = value
        return merged


class MergedSetting(Setting[dict[str, T]]):
    """A project names only the entries that it changes; the others keep their default."""

    def merge(self, value: dict[str, T]) -> dict[str, T]:
        return {**self.default, **value}


def _configured() -> Mapping[str, Any]:
    value = getattr(django_settings, "DJANGO_SECURE_AUTH", None)
    if value is None:
        return {}
    if not isinstance(value, Mapping):  # an empty list is a mistake too, not the defaults
        raise ImproperlyConfigured("DJANGO_SECURE_AUTH must be a dict of settings.")
    return value


# --- judges: each returns what is wrong, or None ---------------------------------------------------


def _a_duration(low: timedelta, high: timedelta) -> Callable[[Any], Complaint]:
    def judge(value: Any) -> Complaint:
        if not isinstance(value, timedelta):
            return f"must be a timedelta, not {type(value).__name__}."
        return None if low <= value <= high else f"must be between {low} and {high}."

    return judge


def _an_int(low: int, high: int) -> Callable[[Any], Complaint]:
    def judge(value: Any) -> Complaint:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"must be an int, not {type(value).__name__}."
        return None if low <= value <= high else f"must be between {low} and {high}."

    return judge


def _a_bool(value: Any) -> Complaint:
    return None if isinstance(value, bool) else f"must be True or False, not {type(value).__name__}."


def _a_text(value: Any) -> Complaint:
    return None if isinstance(value, str) and value.strip() else "must be a non-empty string."


def _a_text_or_none(value: Any) -> Complaint:
    return None if value is None else _a_text(value)


def _a_base_url(value: Any) -> Complaint:
    if value is None:
        return None
    try:
        # Reading a port that is none raises.
        fine = bool(_BASE_URL.fullmatch(value) and urlsplit(value).hostname) and urlsplit(value).port != 0
    except (ValueError, TypeError):
        fine = False
    return None if fine else "must be http:// or https:// and a host, perhaps a port and a path, and nothing else."


def _one_of(*choices: str) -> Callable[[Any], Complaint]:
    def judge(value: Any) -> Complaint:
        return None if value in choices else f"must be one of {', '.join(map(repr, choices))}."

    return judge


def _one_of_or_none(*choices: str) -> Callable[[Any], Complaint]:
    def judge(value: Any) -> Complaint:
        return None if value is None or value in choices else f"must be None or one of {', '.join(choices)}."

    return judge


def _a_path(value: Any) -> Complaint:
    fine = isinstance(value, str) and _PATH.fullmatch(value) and not value.startswith("//")  # that is another host
    return None if fine else "must be a path that begins with one '/', of letters, digits and -._~/."


def _a_path_or_none(value: Any) -> Complaint:
    return (
        None
        if value is None or _a_path(value) is None
        else f"must be None or {str(_a_path('')).removeprefix('must be ')}"
    )


def _a_link_path(value: Any) -> Complaint:
    fine = isinstance(value, str) and value.startswith("/") and not value.startswith("//") and value.isprintable()
    if not fine or value.count("{uid}") != 1 or value.count("{token}") != 1 or " " in value:
        return "must be a path that begins with one '/' and holds {uid} and {token}, each once."
    return None


def _a_cookie_prefix(value: Any) -> Complaint:
    fine = isinstance(value, str) and value.isascii() and value.replace("_", "").replace("-", "").isalnum()
    if not fine:
        return "must consist of ASCII letters, digits, '-' and '_'."
    try:
        cookie_name(value, "access", secure=True)
    except ValueError:
        return "must have at most 64 characters, and no '__Host-' or the like of its own."
    return None


def _a_policy(value: Any) -> Complaint:
    if callable(value) or value in ("new_device", "always", "never"):
        return None
    return "must be 'new_device', 'always', 'never' or a callable (user, request) -> bool."


def _notices(value: Any) -> Complaint:
    if not isinstance(value, dict):
        return "must be a dict of switches."
    unknown = sorted(map(str, value.keys() - DEFAULT_NOTICES.keys()))
    if unknown:
        return f"has no notice {', '.join(unknown)}; the notices are {', '.join(DEFAULT_NOTICES)}."
    return None if all(isinstance(one, bool) for one in value.values()) else "must say True or False for each."


def _a_callable_or_none(value: Any) -> Complaint:
    return None if value is None or callable(value) else "must be None or a callable."


def _proxies(value: Any) -> Complaint:
    try:
        parse_trusted_proxies(tuple(value) if isinstance(value, list) else value)
    except (ValueError, TypeError) as error:
        return f"must be a count or a list of CIDRs: {error}."
    return None


def _rates(value: Any) -> Complaint:
    if not isinstance(value, dict):
        return f"must be a dict, not {type(value).__name__}."
    for name, rate in value.items():
        if name not in DEFAULT_RATE_LIMITS:
            return f"has no limit {name!r}; the limits are {', '.join(sorted(DEFAULT_RATE_LIMITS))}."
        try:
            Rate.parse_several(rate)
        except ValueError as error:
            return f"[{name!r}]: {error}."
    return None


def _when_away(value: Any) -> Complaint:
    if not isinstance(value, dict):
        return f"must be a dict, not {type(value).__name__}."
    for name, policy in value.items():
        if name not in DEFAULT_WHEN_AWAY:
            return f"has no limit {name!r}; the limits are {', '.join(sorted(DEFAULT_WHEN_AWAY))}."
        if policy not in ("open", "closed"):
            return f"[{name!r}] must be 'open' or 'closed'."
    return None


def _a_key_word(value: Any) -> Complaint:
    return None if is_key_word(value) else "must be 2 to 16 lower-case letters and digits, a letter first."


def _a_key_word_or_none(value: Any) -> Complaint:
    return None if value is None else _a_key_word(value)


def _scopes(value: Any) -> Complaint:
    if not isinstance(value, dict):
        return f"must be a dict, not {type(value).__name__}."
    for scope, permission in value.items():
        if not is_scope(scope):
            return f"has {scope!r}, which is no scope; write for example 'reports:read'."
        if permission is not None and not (isinstance(permission, str) and _PERMISSION.fullmatch(permission)):
            return f"[{scope!r}] must be a permission such as 'reports.view_report', or None."
    return None


FORBIDDEN_PROFILE_FIELDS = frozenset(
    {
        "id",
        "pk",
        "username",
        "password",
        "is_active",
        "is_staff",
        "is_superuser",
        "groups",
        "user_permissions",
        "last_login",
    }
)


def _profile_fields(value: Any) -> Complaint:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        return "must be a list of field names."
    bad = sorted(name for name in value if name in FORBIDDEN_PROFILE_FIELDS or "email" in name)
    return f"may not name {', '.join(bad)}: credentials and privileges are not profile." if bad else None


def _a_signing_key(entry: dict[str, Any]) -> Key:
    kid, alg, key = entry["kid"], entry["alg"], entry["key"]
    if isinstance(key, dict):
        if key.get("kid", kid) != kid or key.get("alg", alg) != alg:
            raise ValueError("the kid or alg of a JWK differs from that of its entry")
        return Key.from_jwk({**key, "kid": kid, "alg": alg})
    if alg == "HS256":
        return Key.from_secret(kid=kid, secret=b64decode(key.rstrip("=")))
    return Key.from_pem(kid=kid, alg=alg, pem=key)


_SINKS = ("log", "table", "signal")


def _sinks(value: Any) -> Complaint:
    fine = isinstance(value, list | tuple) and len(value) > 0 and all(name in _SINKS for name in value)
    return None if fine else f"must be a list of some of {', '.join(map(repr, _SINKS))}."


def _route_names(value: Any) -> Complaint:
    fine = isinstance(value, list | tuple) and all(
        isinstance(name, str) and name.strip() == name != "" for name in value
    )
    return None if fine else "must be a list of URL names or paths, such as ['health', '/about/<str:page>/']."


def _signing_keys(value: Any) -> Complaint:
    if value is None:
        return None
    try:
        ring = KeyRing([_a_signing_key(entry) for entry in value])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        # Only our own messages are shown: they never hold key material.
        reason = str(error) if type(error) is ValueError else "each entry is {'kid', 'alg', 'key'}"
        return f"cannot be read: {reason}."
    return None if ring.first.can_sign else "must begin with a key that can sign (RS256 only verifies)."


def _a_root_key(entry: Mapping[str, Any]) -> Secret:
    kid = entry["kid"]
    # Challenges remember the id of their key in a column of so many characters.
    if not isinstance(kid, str) or not 1 <= len(kid) <= _MAX_KEY_ID or not (kid.isascii() and kid.isprintable()):
        raise ValueError("a kid that is no short text")
    return Secret(kid, b64decode(entry["key"].rstrip("=")))


def _encryption_keys(value: Any) -> Complaint:
    if value is None:
        return None
    try:
        ring = SecretRing([_a_root_key(entry) for entry in value])
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"must be a list of {{'kid': str, 'key': URL-safe base64}}; kids differ, 1 to {_MAX_KEY_ID} characters."
    if not all(len(secret.value) == 32 for secret in ring):
        return "must hold keys of exactly 32 bytes."
    return "must not hold a published or guessable key." if any(is_weak_secret(one.value) for one in ring) else None


_SECURITY_TXT_FIELDS = frozenset(
    {"contact", "expires", "encryption", "acknowledgments", "preferred_languages", "canonical", "policy", "hiring"}
)
_SECURITY_TXT_URI = re.compile(r"(?:https://|mailto:|tel:|openpgp4fpr:|dns:)[!-~]+")


def _security_txt(value: Any) -> Complaint:
    """RFC 9116 §2.5: contact and expires are required; URIs are https, or of another scheme that fits."""
    if value is None:
        return None
    if not isinstance(value, dict) or not value.keys() >= {"contact", "expires"}:
        return "must be a dict with 'contact' and 'expires'."
    unknown = sorted(map(str, value.keys() - _SECURITY_TXT_FIELDS))
    if unknown:
        return f"has no field {', '.join(unknown)}; the fields are {', '.join(sorted(_SECURITY_TXT_FIELDS))}."
    if not isinstance(value["expires"], datetime) or value["expires"].tzinfo is None:
        return "['expires'] must be a datetime with its time zone."
    for name in sorted(value.keys() - {"expires"}):
        lines = [value[name]] if isinstance(value[name], str) else value[name]
        if not isinstance(lines, list | tuple) or not lines or not all(_is_security_line(name, one) for one in lines):
            what = "language tags, such as 'en, de'" if name == "preferred_languages" else "https:// or mailto:"
            return f"[{name!r}] must be {what}, one or a list."
    return None


def _is_security_line(name: str, line: Any) -> bool:
    pattern = re.compile(r"[A-Za-z0-9-]+(?:, ?[A-Za-z0-9-]+)*") if name == "preferred_languages" else _SECURITY_TXT_URI
    return isinstance(line, str) and pattern.fullmatch(line) is not None


DEFAULT_RATE_LIMITS: dict[str, str] = {
    "login_account": "10/15m",
    "login_device": "10/15m",
    "login_address": "60/15m",
    "login_address_alarm": "5/15m",
    "login_password": "20/15m",
    "login_site": "1000/15m",
    "otp": "20/15m",
    "otp_address": "10/h",
    "refresh": "600/15m",
    "register": "20/h",
    "password_reset": "3/h",
    "password_reset_address": "60/h",
    "export": "10/h",
}
DEFAULT_NOTICES: dict[str, bool] = dict.fromkeys(
    (
        "new_device",
        "password_changed",
        "reset_used",
        "api_key_created",
        "wrong_codes",
        "role_granted",
        "email_replaced",
        "refresh_reused",
        "email_changed",
        "account_closing",
    ),
    True,
)
# What guards a secret is closed without its counters; what guards the load is open. Beside the limits above those of
# API keys, and of the views that say nothing of their own.
DEFAULT_WHEN_AWAY: dict[str, str] = {
    **dict.fromkeys(DEFAULT_RATE_LIMITS, "closed"),
    **dict.fromkeys(("refresh", "api_key", "view"), "open"),
}

_SECOND, _MINUTE, _DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


class Conf:
    """All settings of the package. `conf.OTP_TTL` is the live value, `Conf.OTP_TTL` its declaration."""

    # keys
    SIGNING_KEYS = Setting[list[dict[str, Any]] | None](
        None,
        judge=_signing_keys,
        text="Keys of access tokens, a list of `{'kid', 'alg', 'key'}`: the first signs, all verify. `key` is "
        "URL-safe base64 for HS256, a PEM or JWK for EdDSA, ES256, PS256 and (verify only) RS256. "
        "None: derived from SECRET_KEY and SECRET_KEY_FALLBACKS.",
    )
    ENCRYPTION_KEYS = Setting[list[dict[str, str]] | None](
        None,
        judge=_encryption_keys,
        text="Root keys, a list of `{'kid', 'key'}` of 32 bytes in URL-safe base64; the first is used, all are "
        "understood. Refresh tokens, codes and stored digests take their own key from them (HKDF, one label per "
        "purpose). None: derived from SECRET_KEY and SECRET_KEY_FALLBACKS.",
    )
    ISSUER = Setting("django-secure-auth", judge=_a_text, text="`iss` of access tokens.")
    AUDIENCE = Setting("django-secure-auth", judge=_a_text, text="`aud` of access tokens.")
    BASE_URL = Setting[str | None](
        None, judge=_a_base_url, text="Public URL of the site, for links and names in mails; never the Host header."
    )
    # cookies
    COOKIE_PREFIX = Setting("secure_auth", judge=_a_cookie_prefix, text="Middle part of the cookie names.")
    COOKIE_SECURE = Setting(
        True, judge=_a_bool, text="`Secure` and the `__Host-`/`__Secure-` names. False only with DEBUG (plain http)."
    )
    ACCESS_COOKIE_SAMESITE = Setting("Lax", judge=_one_of("Lax", "Strict"), text="`SameSite` of the access cookie.")
    # tokens
    ACCESS_TOKEN_TTL = Setting(
        5 * _MINUTE, judge=_a_duration(10 * _SECOND, 15 * _MINUTE), text="Life of an access token."
    )
    CLOCK_LEEWAY = Setting(timedelta(0), judge=_a_duration(timedelta(0), 30 * _SECOND), text="Tolerated clock skew.")
    REFRESH_GRACE = Setting(
        10 * _SECOND,
        judge=_a_duration(timedelta(0), 60 * _SECOND),
        text="How long after a rotation the previous refresh token still gets the same successor.",
    )
    ALLOW_TOKEN_IN_BODY = Setting(
        False, judge=_a_bool, text="Let a client that sends `X-Token-Transport: body` have its tokens in the body."
    )
    # sessions
    SESSION_IDLE_TIMEOUT = Setting(
        30 * _MINUTE, judge=_a_duration(_MINUTE, 30 * _DAY), text="A session ends when unused for so long."
    )
    SESSION_ABSOLUTE_TIMEOUT = Setting(
        timedelta(hours=12), judge=_a_duration(_MINUTE, 30 * _DAY), text="A session ends so long after sign-in."
    )
    REMEMBER_IDLE_TIMEOUT = Setting(
        14 * _DAY, judge=_a_duration(_MINUTE, 30 * _DAY), text="Idle limit of a session with remember-me."
    )
    REMEMBER_ABSOLUTE_TIMEOUT = Setting(
        30 * _DAY, judge=_a_duration(_MINUTE, 30 * _DAY), text="Absolute limit of a session with remember-me."
    )
    ACTIVITY_INTERVAL = Setting(
        60 * _SECOND,
        judge=_a_duration(_SECOND, 15 * _MINUTE),
        text="Last-seen is written at most once in so long; the idle check grants as much.",
    )
    MAX_SESSIONS_PER_USER = Setting(0, judge=_an_int(0, 10_000), text="The oldest session ends; 0 is no limit.")
    STATE_CACHE = Setting[str | None](
        None, judge=_a_text_or_none, text="Alias of a shared cache for session states; None reads the database."
    )
    STATE_MAX_AGE = Setting(
        timedelta(0),
        judge=_a_duration(timedelta(0), 60 * _SECOND),
        text="How old a process-local copy of a session's state may be; revocation is late by as much.",
    )
    IMPERSONATION_TTL = Setting(
        30 * _MINUTE,
        judge=_a_duration(_MINUTE, timedelta(hours=1)),
        text="A session that staff open in a user's name ends so long after, used or not.",
    )
    IMPERSONATION_PATH = Setting(
        "/", judge=_a_path, text="Where the browser goes when staff have signed in as a user: your own pages."
    )
    STEP_UP_MAX_AGE = Setting(
        5 * _MINUTE, judge=_a_duration(_SECOND, timedelta(hours=12)), text="What counts as a recent proof of identity."
    )
    # codes
    OTP_POLICY = Setting[str | Callable[[Any, Any], bool]](
        "new_device",
        judge=_a_policy,
        text="Who needs an e-mailed code: 'new_device', 'always', 'never', or a callable (user, request) -> bool. "
        "Staff and holders of a role with `requires_otp` always need one.",
    )
    OTP_LENGTH = Setting(6, judge=_an_int(6, 9), text="Digits of a code.")
    OTP_TTL = Setting(5 * _MINUTE, judge=_a_duration(30 * _SECOND, 10 * _MINUTE), text="Life of a code.")
    OTP_ATTEMPTS = Setting(5, judge=_an_int(1, 10), text="Tries of one challenge, over all its codes.")
    OTP_ACCOUNT_ATTEMPTS = Setting(
        50,
        judge=_an_int(5, 100),
        text="Wrong codes in a row, over all challenges; then an account gets no more.",
    )
    OTP_RESEND_INTERVAL = Setting(
        30 * _SECOND, judge=_a_duration(timedelta(0), 10 * _MINUTE), text="Wait before a code may be sent again."
    )
    OTP_RESENDS = Setting(5, judge=_an_int(0, 20), text="How often a code may be sent again.")
    TRUSTED_DEVICE_TTL = Setting(
        180 * _DAY, judge=_a_duration(timedelta(hours=1), 400 * _DAY), text="How long an approved device is trusted."
    )
    MAIL_DELIVERY = Setting(
        "auto",
        judge=_one_of("auto", "celery", "inline"),
        text="'celery', 'inline' (in process, after commit), or 'auto': Celery when a broker is configured.",
    )
    MAIL_FROM = Setting[str | None](None, judge=_a_text_or_none, text="Sender; None is DEFAULT_FROM_EMAIL.")
    # limits
    RATE_LIMITS = MergedSetting(
        DEFAULT_RATE_LIMITS, judge=_rates, text="Limits by name, such as `{'login_account': '10/15m, 50/d'}`."
    )
    RATE_LIMIT_CACHE = Setting("default", judge=_a_text, text="Alias of the cache that counts attempts.")
    RATE_LIMIT_WHEN_AWAY = MergedSetting(
        DEFAULT_WHEN_AWAY,
        judge=_when_away,
        text="What a limit does while its cache is away, by name: 'open' lets everybody pass, 'closed' nobody (503). "
        "`view` is every `rate_limit` and `RateLimitThrottle` without a `fail_open` of its own.",
    )
    TRUSTED_PROXIES = Setting[int | list[str] | tuple[str, ...]](
        0, judge=_proxies, text="Number of trusted reverse proxies, or their CIDRs; 0 ignores X-Forwarded-For."
    )
    # accounts
    PROFILE_FIELDS = Setting[list[str] | tuple[str, ...]](
        ("first_name", "last_name"),
        judge=_profile_fields,
        text="Fields that `PATCH me/` takes and `GET me/` shows, where the user model has them; never the ones that "
        "users sign in with or are known by.",
    )
    REGISTRATION_OPEN = Setting(True, judge=_a_bool, text="Whether strangers may open accounts at `register/`.")
    REGISTRATION_FIELDS = Setting[list[str] | tuple[str, ...]](
        (),
        judge=_profile_fields,
        text="Further fields of the user model that `register/` takes, such as `first_name`; never credentials and "
        "privileges.",
    )
    ADDRESS_POLICY = Setting[Callable[[str], str | None] | None](
        None,
        judge=_a_callable_or_none,
        text="A callable that gets an address and returns None, or why it may not be an account's: for allow-lists and "
        "disposable domains. Asked at `register/` and `email/change/`.",
    )
    PASSWORD_RESET_TTL = Setting(
        30 * _MINUTE, judge=_a_duration(5 * _MINUTE, _DAY), text="Life of a link that resets a password."
    )
    PASSWORD_RESET_PATH = Setting(
        "/reset-password/#uid={uid}&token={token}",
        judge=_a_link_path,
        text="Your page behind `BASE_URL` that takes the new password and sends it to `password/reset/confirm/`. "
        "Behind a `#` the token reaches no server's log and no Referer.",
    )
    GEOIP_FILE = Setting[str | None](
        None,
        judge=_a_text_or_none,
        text="Path of a GeoIP file (MaxMind's format, City or Country): mails and lists then name places.",
    )
    BREACHED_PASSWORDS_FILE = Setting[str | None](
        None,
        judge=_a_text_or_none,
        text="Path of a filter that `secure_auth_breached build` has made; new passwords that it lists are refused.",
    )
    BREACHED_PASSWORDS_API = Setting(
        False,
        judge=_a_bool,
        text="Ask the range service of Have I Been Pwned about new passwords: five characters of a SHA-1 leave. A "
        "password passes, and an event is written, when it gives no answer within `PWNED_PASSWORDS['API_TIMEOUT']`.",
    )
    BREACHED_AT_SIGN_IN = Setting(
        False,
        judge=_a_bool,
        text="Ask the filter at sign-in too: who comes with a right, breached password has to choose another.",
    )
    EMAIL_UNDO_TTL = Setting(
        timedelta(hours=72),
        judge=_a_duration(timedelta(hours=1), 30 * _DAY),
        text="How long a change of address can be undone.",
    )
    EMAIL_UNDO_PATH = Setting(
        "/undo-email/#uid={uid}&token={token}",
        judge=_a_link_path,
        text="Your page behind `BASE_URL` that asks whether to undo a change of address and sends it to `email/undo/`.",
    )
    NOTICES = MergedSetting(
        DEFAULT_NOTICES,
        judge=_notices,
        text="What users are told by mail, by kind: `{'new_device': False}` takes one out.",
    )
    NOT_ME_TTL = Setting(
        timedelta(hours=72),
        judge=_a_duration(timedelta(hours=1), 30 * _DAY),
        text="How long the link of a notice, by which its reader says that it was somebody else, works.",
    )
    NOT_ME_PATH = Setting(
        "/not-me/#uid={uid}&token={token}",
        judge=_a_link_path,
        text="Your page behind `BASE_URL` that asks whether it was somebody else and sends that to `not-me/`.",
    )
    ACCOUNT_CLOSING_GRACE = Setting(
        14 * _DAY,
        judge=_a_duration(timedelta(0), 90 * _DAY),
        text="How long an account that its owner has closed can be kept by signing in.",
    )
    ACCOUNT_CLOSER = Setting[Callable[[Any], object] | None](
        None,
        judge=_a_callable_or_none,
        text="A callable that gets a user and takes the account away, in a transaction. None: the row is deleted, or "
        "deactivated where other rows protect it.",
    )
    ACCOUNT_EXPORT = Setting[Callable[[Any], Any] | None](
        None,
        judge=_a_callable_or_none,
        text="A callable that gets a user and returns what the project knows of them, as JSON values: `me/export/`.",
    )
    API_KEY_PREFIX = Setting(
        "dsa", judge=_a_key_word, text="First part of new API keys, by which secret scanners find them."
    )
    API_KEY_ENVIRONMENT = Setting[str | None](
        None,
        judge=_a_key_word_or_none,
        text="Second part of new API keys, for people who handle several. None: 'test' with DEBUG, else 'live'.",
    )
    API_KEY_SCOPES = Setting[dict[str, str | None]](
        {},
        judge=_scopes,
        text="Scopes that users may give to their own API keys, such as `{'reports:read': 'reports.view_report'}`: "
        "only who has the permission may give the scope; None is everybody.",
    )
    API_KEY_OVERLAP = Setting(
        _DAY,
        judge=_a_duration(timedelta(0), 30 * _DAY),
        text="How long an API key goes on working beside the one that took over from it.",
    )
    MAX_API_KEYS_PER_USER = Setting(
        10,
        judge=_an_int(0, 10_000),
        text="Living API keys of one user, without those that are being replaced; 0 is no limit.",
    )
    # routes
    OPEN_ROUTES = Setting[list[str] | tuple[str, ...]](
        (),
        judge=_route_names,
        text="URLs of yours that anybody may call on purpose: names with their namespace, or paths as "
        "`secure_auth_routes` shows them.",
    )
    # headers
    PERMISSIONS_POLICY = MergedSetting(
        DEFAULT_PERMISSIONS,
        judge=complaint_about,
        text="Allow-lists of Permissions-Policy by feature, as the header writes them: `{'camera': '(self)'}`.",
    )
    CROSS_ORIGIN_EMBEDDER_POLICY = Setting[str | None](
        None,
        judge=_one_of_or_none("require-corp", "credentialless"),
        text="`Cross-Origin-Embedder-Policy` of every answer. None: not sent, since it breaks pages that show "
        "what other sites serve.",
    )
    CSP_REPORT_PATH = Setting[str | None](
        None,
        judge=_a_path_or_none,
        text="Where browsers tell of what a policy has blocked: the path of `headers.views.csp_report`. None: nowhere.",
    )
    # sites
    HTTPS_ONLY = Setting(
        False,
        judge=_a_bool,
        text="Plain http: pages move to https, the API answers 403. Replaces SECURE_SSL_REDIRECT; keeps "
        "SECURE_REDIRECT_EXEMPT and SECURE_SSL_HOST.",
    )
    CROSS_SITE_CHECK = Setting(
        "enforce",
        judge=_one_of("enforce", "report", "off"),
        text="What becomes of requests that pages of other sites send (`Sec-Fetch-Site`): 'enforce' refuses them, "
        "'report' only writes the event, 'off' does not look.",
    )
    SECURITY_TXT = Setting[dict[str, Any] | None](
        None,
        judge=_security_txt,
        text="Fields of `security.txt` (RFC 9116), such as `{'contact': 'mailto:security@example.com', 'expires': "
        "datetime(…, tzinfo=UTC)}`; a value is a text or a list of texts. None: 404.",
    )
    CHANGE_PASSWORD_URL = Setting[str | None](
        None,
        judge=_a_text_or_none,
        text="Where `/.well-known/change-password` leads: a path, or the name of a URL. None: 404.",
    )
    # audit
    AUDIT_RETENTION = Setting(
        365 * _DAY, judge=_a_duration(_DAY, 3650 * _DAY), text="How long `secure_auth_purge` keeps security events."
    )
    AUDIT_FORMAT = Setting(
        "json",
        judge=_one_of("json", "ecs", "ocsf", "cef"),
        text="Shape of the log lines of security events: ours, Elastic Common Schema, OCSF or CEF.",
    )
    AUDIT_SINKS = Setting[list[str] | tuple[str, ...]](
        ("log", "table", "signal"),
        judge=_sinks,
        text="Where security events go: the log, the table, the signal `security_event`.",
    )
    AUDIT_SEAL_INTERVAL = Setting(
        timedelta(hours=1),
        judge=_a_duration(_MINUTE, 7 * _DAY),
        text="How often you run the task `django_secure_auth.tasks.seal` or `secure_auth_audit seal`: `verify` says so "
        "when rows wait for a seal twice as long.",
    )


conf = Conf()


def declared() -> Iterator[Setting[Any]]:
    """Yield every declared setting, in the order of this page."""
    for value in vars(Conf).values():
        if isinstance(value, Setting):
            yield value


# --- keys --------------------------------------------------------------------------------------------


def _django_secrets() -> Iterator[bytes]:
    for secret in (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS):
        if secret:  # a variable of the environment that is set to nothing is one empty fallback
            yield force_bytes(secret)  # Django takes both text and bytes


def _derived(purpose: str) -> list[Secret]:
    # Ids of derived keys tell nothing: they are themselves derived, by another label.
    return [
        Secret(derive(secret, purpose="key-id").hex()[:8], derive(secret, purpose=purpose))
        for secret in dict.fromkeys(_django_secrets())
    ]


def derived_signing_keys() -> list[dict[str, Any]]:
    """Return what is used while SIGNING_KEYS is None, as entries of it: secrets, for the key store only."""
    derived = _derived("access-token")
    return [{"kid": secret.key_id, "alg": "HS256", "key": b64encode(secret.value)} for secret in derived]


def derived_encryption_keys() -> list[dict[str, str]]:
    """Return what is used while ENCRYPTION_KEYS is None, as entries of it: secrets, for the key store only."""
    return [{"kid": secret.key_id, "key": b64encode(secret.value)} for secret in _derived("root")]


def shared_keys(signing: Sequence[Mapping[str, Any]], encryption: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the ids of the signing keys whose bytes are a root key as well, of entries that the judges accept.

    Whoever may check access tokens could then make refresh tokens (NIST SP 800-57 part 1 §5.2: one key, one purpose).
    """
    roots = {_a_root_key(entry).value for entry in encryption}
    return [entry["kid"] for entry in signing if entry["alg"] == "HS256" and _hmac_secret(entry["key"]) in roots]


def _hmac_secret(key: str | Mapping[str, str]) -> bytes:
    return b64decode(key.rstrip("=") if isinstance(key, str) else key["k"])


@lru_cache(maxsize=1)
def signing_ring() -> KeyRing:
    """Return the keys of access tokens: the first signs, all verify, `kid` picks (RFC 8725 §3.1)."""
    entries = derived_signing_keys() if conf.SIGNING_KEYS is None else conf.SIGNING_KEYS
    return KeyRing([_a_signing_key(entry) for entry in entries])


@lru_cache(maxsize=1)
def _root_ring() -> SecretRing:
    entries = derived_encryption_keys() if conf.ENCRYPTION_KEYS is None else conf.ENCRYPTION_KEYS
    return SecretRing([_a_root_key(entry) for entry in entries])


def secret_ring(purpose: str) -> SecretRing:
    """Return the keys of one purpose, such as `"refresh"` or `"otp"`; no two purposes share a key.

    Source: NIST SP 800-57 part 1 §5.2 (one key, one purpose), RFC 5869 (HKDF).
    """
    return _root_ring().derive(purpose)


def _forget_rings(*, setting: str, **_: object) -> None:
    if setting in {"DJANGO_SECURE_AUTH", "SECRET_KEY", "SECRET_KEY_FALLBACKS"}:
        signing_ring.cache_clear()
        _root_ring.cache_clear()


setting_changed.connect(_forget_rings, dispatch_uid="django_secure_auth.conf")
