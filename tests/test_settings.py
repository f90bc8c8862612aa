"""Every setting: its default, overriding it, and what is refused. And the key rings."""

from __future__ import annotations

import base64
import json
import secrets
from collections import UserDict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest
from django.test import Client, RequestFactory, override_settings
from django.urls import reverse

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.apikeys.services import rotate as rotate_key
from django_secure_auth.checks import check_settings
from django_secure_auth.conf import (
    DEFAULT_NOTICES,
    DEFAULT_RATE_LIMITS,
    DEFAULT_WHEN_AWAY,
    Conf,
    Setting,
    conf,
    declared,
    secret_ring,
    shared_keys,
    signing_ring,
)
from django_secure_auth.exceptions import ChallengeInvalid, SessionInactive, TokenExpired, TokenInvalid
from django_secure_auth.kit.cookies import cookie_name
from django_secure_auth.kit.keys import b64encode
from django_secure_auth.otp.services import find, start, trust_device, users_of_device, verify
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import alive, open_session
from django_secure_auth.testing import latest_code
from django_secure_auth.tokens.services import issue, read_access_token, rotate

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
EXPIRES = datetime(2030, 1, 1, tzinfo=UTC)
A_SECRET, B_SECRET = secrets.token_bytes(32), secrets.token_bytes(32)


def always(user: Any, request: Any) -> bool:
    return True


def hmac_key(kid: str, secret: bytes) -> dict[str, Any]:
    return {"kid": kid, "alg": "HS256", "key": b64encode(secret)}


def root_key(kid: str, secret: bytes) -> dict[str, str]:
    return {"kid": kid, "key": b64encode(secret)}


def duration(low: timedelta, high: timedelta) -> tuple[list[Any], list[Any]]:
    return [low, high], [low - SECOND, high + SECOND, 300, 300.0, "300", None]


def number(low: int, high: int) -> tuple[list[Any], list[Any]]:
    return [low, high], [low - 1, high + 1, float(high), str(high), True, None]


A_BOOL: tuple[list[Any], list[Any]] = ([True, False], [1, 0, "False", None, []])
A_TEXT: tuple[list[Any], list[Any]] = (["x", "https://example.com"], ["", "  ", None, 5, b"x"])
A_TEXT_OR_NONE: tuple[list[Any], list[Any]] = (["x", None], ["", "  ", 5, b"x", False])

# name: (what is taken, what is refused). The first taken value is not the default.
VALUES: dict[str, tuple[list[Any], list[Any]]] = {
    "SIGNING_KEYS": (
        [[hmac_key("a", A_SECRET)], [hmac_key("a", A_SECRET), hmac_key("b", B_SECRET)], None],
        [
            [],
            {},
            "key",
            5,
            [{}],
            [{"kid": "a", "alg": "HS256"}],
            ["HS256"],
            [hmac_key("a", A_SECRET[:31])],
            [hmac_key("a", bytes(32))],
            [hmac_key("", A_SECRET)],
            [hmac_key("a", A_SECRET), hmac_key("a", B_SECRET)],
            [{"kid": 5, "alg": "HS256", "key": b64encode(A_SECRET)}],
            [{"kid": "a", "alg": "none", "key": b64encode(A_SECRET)}],
            [{"kid": "a", "alg": "HS512", "key": b64encode(A_SECRET * 2)}],
            [{"kid": "a", "alg": "HS256", "key": A_SECRET}],
            [{"kid": "a", "alg": "HS256", "key": UserDict(kty="oct", k=b64encode(A_SECRET))}],
            [{"kid": "a", "alg": "HS256", "key": "not base64!"}],
            [{"kid": "a", "alg": "EdDSA", "key": "not a pem"}],
            [{"kid": "a", "alg": "EdDSA", "key": None}],
        ],
    ),
    "ENCRYPTION_KEYS": (
        [[root_key("a", A_SECRET)], [root_key("a", A_SECRET), root_key("b", B_SECRET)], None],
        [
            [],
            {},
            "key",
            5,
            [{}],
            ["a"],
            [{"kid": "a"}],
            [{"kid": "a", "key": A_SECRET}],
            [{"kid": "a", "key": None}],
            [{"kid": "a", "key": "not base64!"}],
            [{"kid": 5, "key": b64encode(A_SECRET)}],
            [{"kid": "", "key": b64encode(A_SECRET)}],
            [{"kid": "k" * 65, "key": b64encode(A_SECRET)}],
            [root_key("a", A_SECRET[:31])],
            [root_key("a", A_SECRET + b"x")],
            [root_key("a", bytes(32))],
            [root_key("a", A_SECRET), root_key("a", B_SECRET)],
        ],
    ),
    "ISSUER": A_TEXT,
    "AUDIENCE": A_TEXT,
    "BASE_URL": (
        ["https://example.com", "http://127.0.0.1:8000", "https://[::1]:8443/app/", "HTTPS://example.com", None],
        [
            "",
            "  ",
            5,
            b"https://example.com",
            False,
            ["https://example.com"],
            "no url",
            "example.com",
            "//example.com",
            "ftp://example.com",
            "javascript:alert(1)",
            "https://",
            "https://:443",
            "https:///path",
            "https://[",
            "https://example.com:port",
            "https://example.com:99999",
            "https://example.com:0",
            "https://ana@example.com",
            "https://ana:secret@example.com",
            "https://example.com?",
            "https://example.com/?a=b",
            "https://example.com/#top",
            "https://example.com\\@evil.example",
            "https://exa mple.com",
            "https://example.com\n",
        ],
    ),
    "COOKIE_PREFIX": (
        ["shop", "my-shop_2", "x" * 64, "__shop"],
        ["", "_-", "a b", "é", "a;b", "a=b", None, 5, ["shop"], "x" * 65, "__Host-shop", "__secure-shop", "__a-b"],
    ),
    "COOKIE_SECURE": ([False, True], A_BOOL[1]),
    "ACCESS_COOKIE_SAMESITE": (["Strict", "Lax"], ["None", "lax", None, True, ""]),
    "ACCESS_TOKEN_TTL": duration(10 * SECOND, 15 * MINUTE),
    "CLOCK_LEEWAY": ([30 * SECOND, timedelta(0)], [-SECOND, 31 * SECOND, 30, None]),
    "REFRESH_GRACE": duration(timedelta(0), MINUTE),
    "ALLOW_TOKEN_IN_BODY": A_BOOL,
    "SESSION_IDLE_TIMEOUT": duration(MINUTE, 30 * DAY),
    "SESSION_ABSOLUTE_TIMEOUT": duration(MINUTE, 30 * DAY),
    "REMEMBER_IDLE_TIMEOUT": duration(MINUTE, 30 * DAY),
    "REMEMBER_ABSOLUTE_TIMEOUT": duration(MINUTE, 30 * DAY),
    "ACTIVITY_INTERVAL": duration(SECOND, 15 * MINUTE),
    "MAX_SESSIONS_PER_USER": ([10_000, 0], [-1, 10_001, 5.0, "5", True, None]),
    "STATE_CACHE": A_TEXT_OR_NONE,
    "STATE_MAX_AGE": ([MINUTE, timedelta(0)], [-SECOND, MINUTE + SECOND, 1, None]),
    "IMPERSONATION_TTL": duration(MINUTE, timedelta(hours=1)),
    "IMPERSONATION_PATH": (["/app/", "/"], ["", "app/", "//evil", "/a b", "https://app.example/", None, 5]),
    "STEP_UP_MAX_AGE": duration(SECOND, timedelta(hours=12)),
    "OTP_POLICY": (["always", "never", "new_device", always], ["sometimes", None, True, 1, ["always"]]),
    "REGISTRATION_OPEN": ([False, True], A_BOOL[1]),
    "REGISTRATION_FIELDS": ([["first_name"], (), []], ["first_name", ["password"], ["is_staff"], ["email"], [5], None]),
    "ACCOUNT_CLOSING_GRACE": ([timedelta(0), timedelta(days=90)], [timedelta(days=91), 5, None]),
    "ACCOUNT_CLOSER": ([str, None], ["tests.nowhere", 5, False]),
    "ACCOUNT_EXPORT": ([str, None], ["tests.nowhere", 5, False]),
    "GEOIP_FILE": ([None, "city.mmdb"], ["", 5, True]),
    "BREACHED_PASSWORDS_FILE": ([None, "breached.bloom"], ["", 5, True]),
    "BREACHED_PASSWORDS_API": ([False, True], A_BOOL[1]),
    "BREACHED_AT_SIGN_IN": ([False, True], A_BOOL[1]),
    "ADDRESS_POLICY": ([str, None], ["tests.nowhere", 5, False]),
    "PASSWORD_RESET_TTL": duration(5 * MINUTE, DAY),
    "PASSWORD_RESET_PATH": (
        ["/new/{uid}/{token}/", "/reset-password/#uid={uid}&token={token}"],
        ["/new/{uid}/", "new/{uid}/{token}", "//evil.example/{uid}/{token}", "/{uid}/{token}/{token}", "/{uid} {token}",
         "/{uid}\n{token}", None, 5],
    ),
    "NOTICES": (
        [{"new_device": False}, {}, {"role_granted": True, "wrong_codes": False}],
        [{"new_device": 1}, {"nonsense": True}, {1: True}, [], True, None],
    ),
    "NOT_ME_TTL": duration(timedelta(hours=1), 30 * DAY),
    "NOT_ME_PATH": (["/not-me/{uid}/{token}/"], ["/not-me/", None]),
    "EMAIL_UNDO_TTL": duration(timedelta(hours=1), 30 * DAY),
    "EMAIL_UNDO_PATH": (
        ["/undo/{uid}/{token}/", "/undo-email/#uid={uid}&token={token}"], ["/undo/{uid}/", "undo/{uid}/{token}", None],
    ),
    "OTP_LENGTH": ([9, 6], [5, 10, 6.0, "6", True, None]),
    "OTP_TTL": duration(30 * SECOND, 10 * MINUTE),
    "OTP_ATTEMPTS": number(1, 10),
    "OTP_ACCOUNT_ATTEMPTS": number(5, 100),
    "OTP_RESEND_INTERVAL": duration(timedelta(0), 10 * MINUTE),
    "OTP_RESENDS": number(0, 20),
    "TRUSTED_DEVICE_TTL": duration(timedelta(hours=1), 400 * DAY),
    "MAIL_DELIVERY": (["celery", "inline", "auto"], ["Celery", "", None, True]),
    "MAIL_FROM": A_TEXT_OR_NONE,
    "RATE_LIMITS": (
        [{"otp": "1/s"}, {}, {"login_account": "5/min, 50/d", "refresh": "100/hour"}],
        [
            {"otp": "10/5x"}, {"otp": 10}, {"otp": None}, {"otp": "5/min, 5/h"}, {"nonsense": "1/s"}, {1: "1/s"}, [],
            "10/15m", None,
        ],
    ),
    "RATE_LIMIT_CACHE": A_TEXT,
    "RATE_LIMIT_WHEN_AWAY": (
        [{"otp": "open"}, {}, {"view": "closed", "api_key": "closed"}],
        [{"otp": True}, {"otp": "Open"}, {"nonsense": "open"}, {1: "open"}, [], "open", None],
    ),
    "TRUSTED_PROXIES": (
        [1, ["10.0.0.0/8"], ("10.0.0.0/8", "2001:db8::/32"), 0, []],
        [-1, True, "10.0.0.0/8", ["10.0.0.0/99"], ["nonsense"], [1], None, 1.0],
    ),
    "PROFILE_FIELDS": (
        [["first_name"], (), ("nick",)],
        [["password"], ["is_staff"], ["groups"], ["email"], ["new_email"], "first_name", [5], None, {"first_name"}],
    ),
    "API_KEY_PREFIX": (
        ["acme", "ab", "a" * 16, "dsa"],
        ["", "a", "a" * 17, "Dsa", "1a", "a_b", "a-b", "é", None, 5, b"ab"],
    ),
    "API_KEY_ENVIRONMENT": (["live", "eu1", None], ["", "x", "Live", "a_b", False, 5, ["live"]]),
    "API_KEY_SCOPES": (
        [{"reports:read": "reports.view_report", "notes:write": None}, {}],
        [
            [], "reports:read", None, {"a b": None}, {1: None}, {"a": "view_report"}, {"a": ""}, {"a": True},
            {"a": ["reports.view_report"]}, {"a": "x.y.z"}, {"a": " reports.view_report"},
        ],
    ),
    "API_KEY_OVERLAP": duration(timedelta(0), 30 * DAY),
    "MAX_API_KEYS_PER_USER": ([10_000, 0], [-1, 10_001, 5.0, "5", True, None]),
    "OPEN_ROUTES": (
        [["probe"], ("secure_auth:csrf", "/about/<str:page>/"), [], ()],
        ["probe", {"probe"}, {"probe": True}, [""], ["  "], [" probe"], ["probe", None], [5], None, True],
    ),
    "PERMISSIONS_POLICY": (
        [{"camera": "(self)"}, {"fullscreen": "*", "usb": '("https://a.example")'}, {}],
        [[], {"camara": "()"}, {"camera": "self"}, {"camera": None}, {1: "()"}, None],
    ),
    "CROSS_ORIGIN_EMBEDDER_POLICY": (["require-corp", "credentialless", None], ["", "none", "unsafe-none", True]),
    "CSP_REPORT_PATH": (["/csp/", "/a-b_c.d~e/", None], ["", "csp/", "/a b", "/a;b", "/a\nb", 5]),
    "HTTPS_ONLY": A_BOOL,
    "CROSS_SITE_CHECK": (["report", "off", "enforce"], ["Enforce", "on", "", None, True]),
    "SECURITY_TXT": (
        [{"contact": "mailto:a@example.com", "expires": EXPIRES}, {"contact": ["tel:+1"], "expires": EXPIRES}, None],
        [{}, [], "x", {"contact": "a@example.com", "expires": EXPIRES}, {"contact": "tel:+1", "expires": "2030"}],
    ),
    "CHANGE_PASSWORD_URL": A_TEXT_OR_NONE,
    "AUDIT_FORMAT": (["ecs", "ocsf", "cef", "json"], ["ECS", "", "xml", None]),
    "AUDIT_SINKS": (
        [["log"], ("table", "signal"), ["log", "table", "signal"]],
        [[], "log", ["logs"], None, ["log", 5]],
    ),
    "AUDIT_RETENTION": duration(DAY, 3650 * DAY),
    "AUDIT_SEAL_INTERVAL": duration(MINUTE, 7 * DAY),
}  # fmt: skip

# Of these a project names only what it changes.
MERGED = {
    "RATE_LIMITS": DEFAULT_RATE_LIMITS,
    "RATE_LIMIT_WHEN_AWAY": DEFAULT_WHEN_AWAY,
    "PERMISSIONS_POLICY": Conf.PERMISSIONS_POLICY.default,
    "NOTICES": DEFAULT_NOTICES,
}
NAMES = [setting.name for setting in declared()]


def test_every_setting_is_in_this_file() -> None:
    assert sorted(VALUES) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_default_holds_the_settings_own_rule_and_the_setting_explains_itself(name: str) -> None:
    setting = vars(Conf)[name]
    assert setting.judge(setting.default) is None
    assert setting.text.endswith(".")
    with override_settings(DJANGO_SECURE_AUTH={}):
        assert getattr(conf, name) == setting.default


def test_a_project_without_the_dict_has_the_defaults() -> None:
    with override_settings():
        del django_settings.DJANGO_SECURE_AUTH
        assert conf.OTP_LENGTH == 6
        assert check_settings() == []
    with override_settings(DJANGO_SECURE_AUTH=None):
        assert conf.OTP_LENGTH == 6
        assert check_settings() == []


@pytest.mark.parametrize("kind", [UserDict, MappingProxyType])
def test_any_mapping_will_do(kind: Callable[[dict[str, Any]], Any]) -> None:
    with override_settings(DJANGO_SECURE_AUTH=kind({"OTP_LENGTH": 8})):
        assert conf.OTP_LENGTH == 8
        assert check_settings() == []
    with override_settings(DJANGO_SECURE_AUTH=kind({"OTP_LENGHT": 8})):
        assert [found.id for found in check_settings()] == ["secure_auth.E001"]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in NAMES for value in VALUES[name][0]])
def test_overriding_a_setting_works_and_ends(name: str, value: Any) -> None:
    with override_settings(DJANGO_SECURE_AUTH={}):
        before = getattr(conf, name)
        with override_settings(DJANGO_SECURE_AUTH={name: value}):
            expected = {**MERGED[name], **value} if name in MERGED else value
            assert getattr(conf, name) == expected
            assert check_settings() == []
        assert getattr(conf, name) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in NAMES for value in VALUES[name][1]],
    ids=lambda value: value if isinstance(value, str) and value in NAMES else type(value).__name__,
)
def test_an_ill_typed_setting_is_refused_when_read_and_named_by_a_check(name: str, value: Any) -> None:
    with override_settings(DJANGO_SECURE_AUTH={name: value}):
        with pytest.raises(ImproperlyConfigured, match=rf"^DJANGO_SECURE_AUTH\['{name}'\] "):
            getattr(conf, name)
        (found,) = check_settings()
        assert found.id == "secure_auth.E002"
        assert repr(name) in found.msg
        assert found.hint == vars(Conf)[name].text


@pytest.mark.parametrize(
    ("name", "guess"),
    [("OTP_POLICI", "OTP_POLICY"), ("SIGNING_KEY", "SIGNING_KEYS"), ("ACCESS_TTL", "ACCESS_TOKEN_TTL")],
)
def test_a_misspelt_setting_is_named_with_a_guess_and_the_valid_names(name: str, guess: str) -> None:
    with override_settings(DJANGO_SECURE_AUTH={name: 1}):
        (found,) = check_settings()
    assert found.id == "secure_auth.E001"
    assert repr(name) in found.msg
    assert found.hint is not None
    assert f"Did you mean '{guess}'?" in found.hint
    for valid in NAMES:
        assert valid in found.hint


@pytest.mark.parametrize("name", ["zzz", 5, None])
def test_a_setting_like_no_other_gets_the_valid_names_without_a_guess(name: Any) -> None:
    with override_settings(DJANGO_SECURE_AUTH={name: 1}):
        (found,) = check_settings()
    assert found.id == "secure_auth.E001"
    assert found.hint is not None
    assert found.hint.startswith("The settings are: ACCESS_COOKIE_SAMESITE, ")


@pytest.mark.parametrize("value", [["OTP_LENGTH"], "OTP_LENGTH", 5, True, [], "", 0, False, ()])
def test_a_dict_that_is_none_is_refused(value: Any) -> None:
    with override_settings(DJANGO_SECURE_AUTH=value):
        with pytest.raises(ImproperlyConfigured, match="must be a dict"):
            _ = conf.OTP_LENGTH
        (found,) = check_settings()
    assert found.id == "secure_auth.E002"


def test_a_declaration_is_read_on_the_class() -> None:
    assert isinstance(Conf.OTP_LENGTH, Setting)
    assert Conf.OTP_LENGTH.default == 6


def test_a_refused_key_is_not_shown() -> None:
    secret = b64encode(A_SECRET[:20])
    for name in ("SIGNING_KEYS", "ENCRYPTION_KEYS"):
        with override_settings(DJANGO_SECURE_AUTH={name: [{"kid": "a", "alg": "HS256", "key": secret}]}):
            (found,) = check_settings()
        assert secret not in f"{found.msg} {found.hint}"


def test_a_value_is_judged_once_and_then_remembered() -> None:
    judged: list[Any] = []
    setting = Setting(1, judge=judged.append, text="A number.")
    setting.__set_name__(Conf, "A_NUMBER")
    with override_settings(DJANGO_SECURE_AUTH={"A_NUMBER": 12345}):
        assert [setting.__get__(conf, Conf) for _ in range(3)] == [12345] * 3
    assert judged == [12345]


# --- durations whose effect no story shows -----------------------------------------------------------

HOUR = timedelta(hours=1)


def lives(session: Session) -> bool:
    try:
        alive(session.pk, str(session.user_id))
    except SessionInactive:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "remembered", "life"),
    [
        ("REMEMBER_IDLE_TIMEOUT", True, HOUR + MINUTE),  # the idle check grants ACTIVITY_INTERVAL
        ("REMEMBER_ABSOLUTE_TIMEOUT", True, HOUR),
        ("SESSION_IDLE_TIMEOUT", False, HOUR + MINUTE),
        ("SESSION_ABSOLUTE_TIMEOUT", False, HOUR),
    ],
)
def test_a_session_lives_as_long_as_its_kind_is_set_to(
    name: str, remembered: bool, life: timedelta, user: Any, clock: Any
) -> None:
    longer = {"SESSION_IDLE_TIMEOUT": 2 * HOUR, "REMEMBER_IDLE_TIMEOUT": 2 * HOUR}
    with override_settings(DJANGO_SECURE_AUTH={**longer, name: HOUR}):
        session = open_session(user, request=a_request(), amr=["pwd"], remember_me=remembered)
        other = open_session(user, request=a_request(), amr=["pwd"], remember_me=not remembered)
        clock.forward(life - SECOND)
        assert lives(session)
        clock.forward(2 * SECOND)
        assert not lives(session)
        assert lives(other)


def test_an_access_token_lives_as_long_as_it_is_set_to(user: Any, clock: Any) -> None:
    with override_settings(DJANGO_SECURE_AUTH={"ACCESS_TOKEN_TTL": MINUTE}):
        token = access_token_for(user)
        clock.forward(58 * SECOND)
        assert read_access_token(token).generation == 1
        clock.forward(3 * SECOND)
        with pytest.raises(TokenExpired):
            read_access_token(token)


@pytest.mark.parametrize(
    ("debug", "settings", "begin"),
    [
        (False, {}, "dsa_live_"),
        (True, {}, "dsa_test_"),
        (False, {"API_KEY_ENVIRONMENT": "eu1"}, "dsa_eu1_"),
        (True, {"API_KEY_ENVIRONMENT": "eu1", "API_KEY_PREFIX": "acme"}, "acme_eu1_"),
    ],
)
def test_a_key_begins_with_the_words_of_the_settings(
    debug: bool, settings: dict[str, str], begin: str, user: Any
) -> None:
    with override_settings(DEBUG=debug, DJANGO_SECURE_AUTH=settings):
        assert create_key(user, name="ci")[1].startswith(begin)


@pytest.mark.parametrize("overlap", [timedelta(0), HOUR, 30 * DAY])
def test_a_replaced_key_lives_as_long_as_the_overlap_is_set_to(overlap: timedelta, user: Any, clock: Any) -> None:
    with override_settings(DJANGO_SECURE_AUTH={"API_KEY_OVERLAP": overlap}):
        key, _ = create_key(user, name="ci")
        rotate_key(key)
        if overlap:
            clock.forward(overlap - SECOND)
            assert APIKey.objects.alive().filter(pk=key.pk).exists()
            clock.forward(2 * SECOND)
        assert not APIKey.objects.alive().filter(pk=key.pk).exists()


# --- derived keys ------------------------------------------------------------------------------------

OLD_SECRET = "the secret of last year: 8f1d0b3c9a7e5d2f4b6a"
NEW_SECRET = "the secret of this year: 2c4e6a8b0d1f3e5c7a9b"


@pytest.fixture
def user(db: None) -> Any:
    return get_user_model().objects.create_user("ana", "ana@example.com", "correct horse")


def a_request() -> HttpRequest:
    return RequestFactory().get("/")


def access_token_for(user: Any) -> str:
    return issue(open_session(user, request=a_request(), amr=["pwd"])).access


@pytest.mark.control("ASVS-13.3.4")
def test_a_token_of_the_old_secret_key_is_good_while_that_is_a_fallback(user: Any) -> None:
    with override_settings(SECRET_KEY=OLD_SECRET, SECRET_KEY_FALLBACKS=[]):
        token = access_token_for(user)
    with override_settings(SECRET_KEY=NEW_SECRET, SECRET_KEY_FALLBACKS=[OLD_SECRET]):
        assert read_access_token(token).user_id == str(user.pk)
        newer = access_token_for(user)
    with override_settings(SECRET_KEY=NEW_SECRET, SECRET_KEY_FALLBACKS=[]):
        with pytest.raises(TokenInvalid):
            read_access_token(token)
        assert read_access_token(newer).generation == 1


@pytest.mark.parametrize("secret", ["text", b"bytes"])
def test_a_secret_key_may_be_text_or_bytes(secret: Any, user: Any) -> None:
    with override_settings(SECRET_KEY=secret * 10, SECRET_KEY_FALLBACKS=[]):
        assert read_access_token(access_token_for(user)).generation == 1


def test_a_fallback_that_repeats_the_secret_key_is_one_key() -> None:
    with override_settings(SECRET_KEY=OLD_SECRET, SECRET_KEY_FALLBACKS=[OLD_SECRET]):
        assert len(signing_ring()) == len(secret_ring("refresh")) == 1


@pytest.mark.parametrize("empty", ["", b""])
def test_a_fallback_that_says_nothing_is_none(empty: Any) -> None:
    """An environment variable that is set to nothing is a list of one empty text."""
    with override_settings(SECRET_KEY=OLD_SECRET, SECRET_KEY_FALLBACKS=[empty]):
        assert len(signing_ring()) == len(secret_ring("refresh")) == 1


@pytest.mark.parametrize("cookies_are_secure", [True, False])
@pytest.mark.parametrize("prefix", VALUES["COOKIE_PREFIX"][0])
def test_every_prefix_that_is_taken_makes_cookie_names(prefix: str, cookies_are_secure: bool) -> None:
    for kind in ("access", "refresh", "challenge", "device"):
        assert prefix in cookie_name(prefix, kind, secure=cookies_are_secure)


@pytest.mark.control("ASVS-11.4.4")
@pytest.mark.control("CS-JWT-hmac-key")
def test_no_two_purposes_share_a_key_and_none_is_the_secret_key() -> None:
    purposes = ("refresh", "otp-code", "challenge", "device", "api-key")
    keys = {purpose: secret_ring(purpose).first.value for purpose in purposes}
    assert len(set(keys.values())) == 5
    assert django_settings.SECRET_KEY.encode() not in keys.values()
    assert all(len(value) == 32 for value in keys.values())


def test_a_key_id_does_not_tell_the_secret() -> None:
    with override_settings(SECRET_KEY=OLD_SECRET, SECRET_KEY_FALLBACKS=[]):
        (first,) = signing_ring()
    with override_settings(SECRET_KEY=NEW_SECRET, SECRET_KEY_FALLBACKS=[]):
        (second,) = signing_ring()
    assert first.kid != second.kid
    assert len(first.kid) == 8
    assert first.kid not in OLD_SECRET


# --- keys of their own -------------------------------------------------------------------------------


def pem_of(key: Any) -> str:
    text: bytes = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return text.decode()


def public_pem_of(key: Any) -> str:
    text: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return text.decode()


def b64int(value: int, length: int) -> str:
    return base64.urlsafe_b64encode(value.to_bytes(length)).rstrip(b"=").decode()


def ed25519_jwk() -> dict[str, str]:
    key = ed25519.Ed25519PrivateKey.generate()
    return {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": b64encode(key.public_key().public_bytes_raw()),
        "d": b64encode(key.private_bytes_raw()),
    }


def p256_jwk() -> dict[str, str]:
    numbers = ec.generate_private_key(ec.SECP256R1()).private_numbers()
    public = numbers.public_numbers
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": b64int(public.x, 32),
        "y": b64int(public.y, 32),
        "d": b64int(numbers.private_value, 32),
    }


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


def rsa_jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.private_numbers()
    public = numbers.public_numbers
    members = {"n": public.n, "e": public.e, "d": numbers.d, "p": numbers.p, "q": numbers.q}
    members |= {"dp": numbers.dmp1, "dq": numbers.dmq1, "qi": numbers.iqmp}
    return {"kty": "RSA", **{name: b64int(n, (n.bit_length() + 7) // 8) for name, n in members.items()}}


def the_first_signs_and_both_verify(first: dict[str, Any], second: dict[str, Any], user: Any) -> None:
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [second]}):
        by_second = access_token_for(user)
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [first, second]}):
        assert check_settings() == []
        assert signing_ring().first.kid == first["kid"]
        by_first = access_token_for(user)
        assert read_access_token(by_first).generation == 1
        assert read_access_token(by_second).generation == 1
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [first]}):
        assert read_access_token(by_first).generation == 1
        with pytest.raises(TokenInvalid):
            read_access_token(by_second)


@pytest.mark.control("ASVS-13.3.4")
def test_of_several_signing_keys_the_first_signs_and_all_verify(user: Any) -> None:
    the_first_signs_and_both_verify(hmac_key("new", A_SECRET), hmac_key("old", B_SECRET), user)


@pytest.mark.parametrize(
    ("alg", "key"),
    [
        ("EdDSA", lambda _: pem_of(ed25519.Ed25519PrivateKey.generate())),
        ("EdDSA", lambda _: ed25519_jwk()),
        ("ES256", lambda _: pem_of(ec.generate_private_key(ec.SECP256R1()))),
        ("ES256", lambda _: p256_jwk()),
        ("PS256", pem_of),
        ("PS256", rsa_jwk),
    ],
    ids=["EdDSA pem", "EdDSA jwk", "ES256 pem", "ES256 jwk", "PS256 pem", "PS256 jwk"],
)
def test_asymmetric_keys_sign_as_pem_and_as_jwk(
    alg: str, key: Callable[[rsa.RSAPrivateKey], Any], user: Any, rsa_key: rsa.RSAPrivateKey
) -> None:
    entry = {"kid": "pair", "alg": alg, "key": key(rsa_key)}
    the_first_signs_and_both_verify(entry, hmac_key("old", B_SECRET), user)


@pytest.mark.parametrize(("name", "value"), [("kid", "other"), ("alg", "ES256"), ("kid", None), ("alg", 5)])
def test_a_jwk_may_not_contradict_its_entry(name: str, value: Any) -> None:
    """The ring would know it under another name than the settings do."""
    jwk = ed25519_jwk()
    entry = {"kid": "pair", "alg": "EdDSA", "key": {**jwk, "kid": "pair", "alg": "EdDSA"}}
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [entry]}):
        assert signing_ring().first.kid == "pair"
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [{**entry, "key": {**jwk, name: value}}]}):
        (found,) = check_settings()
    assert found.id == "secure_auth.E002"
    assert "differ" in found.msg


@pytest.mark.parametrize("key", [pem_of, rsa_jwk, public_pem_of], ids=["pem", "jwk", "public pem"])
def test_rs256_may_not_be_first(key: Callable[[rsa.RSAPrivateKey], Any], rsa_key: rsa.RSAPrivateKey) -> None:
    entry = {"kid": "legacy", "alg": "RS256", "key": key(rsa_key)}
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [entry, hmac_key("a", A_SECRET)]}):
        with pytest.raises(ImproperlyConfigured, match="must begin with a key that can sign"):
            signing_ring()
        assert [found.id for found in check_settings()] == ["secure_auth.E002"]
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [hmac_key("a", A_SECRET), entry]}):
        assert check_settings() == []
        assert [one.alg for one in signing_ring()] == ["HS256", "RS256"]


def test_a_public_key_may_not_be_first() -> None:
    entry = {"kid": "theirs", "alg": "EdDSA", "key": public_pem_of(ed25519.Ed25519PrivateKey.generate())}
    with (
        override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": [entry]}),
        pytest.raises(ImproperlyConfigured, match="must begin with a key that can sign"),
    ):
        signing_ring()


def test_a_key_with_padding_is_the_same_key() -> None:
    padded = base64.urlsafe_b64encode(A_SECRET).decode()
    assert padded.endswith("=")
    with override_settings(
        DJANGO_SECURE_AUTH={
            "SIGNING_KEYS": [{"kid": "a", "alg": "HS256", "key": padded}],
            "ENCRYPTION_KEYS": [{"kid": "a", "key": padded}],
        }
    ):
        assert check_settings() == []
        assert signing_ring().first.kid == secret_ring("refresh").first.key_id == "a"


# --- jwks.json ---------------------------------------------------------------------------------------


def test_jwks_is_empty_for_hmac() -> None:
    response = Client().get(reverse("secure_auth:jwks"))
    assert response.status_code == 200
    assert response.json() == {"keys": []}


def test_jwks_shows_public_keys_only(rsa_key: rsa.RSAPrivateKey) -> None:
    keys = [
        {"kid": "ed", "alg": "EdDSA", "key": ed25519_jwk()},
        {"kid": "ec", "alg": "ES256", "key": p256_jwk()},
        {"kid": "rsa", "alg": "PS256", "key": rsa_jwk(rsa_key)},
        hmac_key("secret", A_SECRET),
    ]
    with override_settings(DJANGO_SECURE_AUTH={"SIGNING_KEYS": keys}):
        response = Client().get(reverse("secure_auth:jwks"))
    assert response["Content-Type"] == "application/json"
    shown = {key["kid"]: key for key in response.json()["keys"]}
    assert set(shown) == {"ed", "ec", "rsa"}
    assert shown["ed"].keys() == {"kty", "crv", "x", "kid", "alg", "use"}
    assert shown["ec"].keys() == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert shown["rsa"].keys() == {"kty", "n", "e", "kid", "alg", "use"}
    assert b64encode(A_SECRET) not in json.dumps(response.json())


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_jwks_is_read_only(method: str) -> None:
    assert getattr(Client(), method)(reverse("secure_auth:jwks")).status_code == 405


# --- ENCRYPTION_KEYS ---------------------------------------------------------------------------------

OLD_ROOT, NEW_ROOT = root_key("old", A_SECRET), root_key("new", B_SECRET)


@pytest.mark.control("ASVS-13.3.4")
@pytest.mark.django_db(transaction=True)
def test_refresh_tokens_codes_and_devices_live_through_a_rotation_of_the_keys(user: Any) -> None:
    request = a_request()
    with override_settings(DJANGO_SECURE_AUTH={"ENCRYPTION_KEYS": [OLD_ROOT]}):
        refresh = issue(open_session(user, request=request, amr=["pwd"])).refresh
        started = start(user, purpose="login", request=request, amr=["pwd"])
        device = trust_device(user, secret=None, request=request)
        code = latest_code(mail.outbox)
    with override_settings(DJANGO_SECURE_AUTH={"ENCRYPTION_KEYS": [NEW_ROOT]}):
        with pytest.raises(TokenInvalid):
            rotate(refresh, request=request)
        with pytest.raises(ChallengeInvalid):
            find(started.secret)
        assert users_of_device(device) == {}
    with override_settings(DJANGO_SECURE_AUTH={"ENCRYPTION_KEYS": [NEW_ROOT, OLD_ROOT]}):
        successor = rotate(refresh, request=request).tokens.refresh
        verify(find(started.secret), code, request=request)
        assert users_of_device(device) == {user.pk: True}
    with override_settings(DJANGO_SECURE_AUTH={"ENCRYPTION_KEYS": [NEW_ROOT]}):
        assert rotate(successor, request=request).session.generation == 3


@pytest.mark.parametrize("padding", ["", "="])
def test_a_key_that_stands_in_both_sets_is_named(padding: str) -> None:
    both = b64encode(A_SECRET) + padding
    octets: dict[str, Any] = {"kid": "jwk", "alg": "HS256", "key": {"kty": "oct", "k": b64encode(A_SECRET)}}
    pair: dict[str, Any] = {"kid": "pair", "alg": "EdDSA", "key": pem_of(ed25519.Ed25519PrivateKey.generate())}
    signing = [pair, octets, hmac_key("fresh", B_SECRET), {"kid": "text", "alg": "HS256", "key": both}]
    assert shared_keys(signing, [{"kid": "root", "key": both}]) == ["jwk", "text"]
    assert shared_keys(signing, [root_key("root", secrets.token_bytes(32))]) == []
    assert shared_keys([], []) == []
