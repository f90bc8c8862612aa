"""Production as it should be has no finding; broken in one place it has one, which names that place."""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import django
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.decorators import login_required
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.contrib.auth.views import PasswordResetConfirmView
from django.test import override_settings
from django.urls import path
from django.views.static import serve
from rest_framework import filters
from rest_framework.generics import ListAPIView
from rest_framework.serializers import ModelSerializer

from django_secure_auth.doctor import packages
from django_secure_auth.doctor.backing import (
    is_elsewhere,
    leaves_the_network,
    mail_in_clear,
    mail_waits_for_ever,
    mailers,
)
from django_secure_auth.doctor.checks import CHECKLIST, find_checklist
from django_secure_auth.doctor.policy import GROUPS
from django_secure_auth.doctor.services import catalogue
from tests.doctor.host import ENCRYPTION, ROOT, SECRET, SIGNING, found, ids, production
from tests.host_app.models import Note

OURS = "secure_auth."
REDIS = "django.core.cache.backends.redis.RedisCache"
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
MD5 = "django.contrib.auth.hashers.MD5PasswordHasher"
ARGON2 = "django.contrib.auth.hashers.Argon2PasswordHasher"
LENGTH = "django.contrib.auth.password_validation.MinimumLengthValidator"
COMMON = {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"}
SOMEWHERE = {"version": 1, "handlers": {"x": {"class": "logging.NullHandler"}}}
AUTH = "REST_FRAMEWORK.DEFAULT_AUTHENTICATION_CLASSES"
JWT = "django_secure_auth.tokens.authentication.JWTCookieAuthentication"


class CheapArgon2(Argon2PasswordHasher):
    memory_cost = 12288
    time_cost = 2


class FrugalArgon2(Argon2PasswordHasher):
    memory_cost = 12288
    time_cost = 3


class KnownToAll:
    is_authenticated = True


class UserSerializer(ModelSerializer[Any]):
    class Meta:
        model = get_user_model()
        fields = "__all__"


class SortedView(ListAPIView[Note]):
    queryset = Note.objects.all()
    filter_backends = [filters.OrderingFilter]


class SearchedView(ListAPIView[Note]):
    queryset = Note.objects.all()
    filter_backends = [filters.SearchFilter]
    search_fields = ["text", "owner__password"]


class UsersView(ListAPIView[Any]):
    serializer_class = UserSerializer


class NamedSerializer(ModelSerializer[Any]):
    class Meta:
        model = get_user_model()
        fields = ("id",)


class NamedUsersView(ListAPIView[Any]):
    serializer_class = NamedSerializer


KEY_PAIR = {
    "kid": "k2",
    "alg": "EdDSA",
    "key": Ed25519PrivateKey.from_private_bytes(sha256(b"a pair").digest())
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode(),
}


def more(*values: Any) -> Callable[[Any], list[Any]]:
    return lambda old: [*(old or ()), *values]


def site(*patterns: Any, **changes: Any) -> dict[str, Any]:
    """The project with these URLs as well."""
    return {"+urls": patterns, **changes}


def app(*names: str, **changes: Any) -> dict[str, Any]:
    return {"INSTALLED_APPS": more(*names), **changes}


def cache(**changes: Any) -> dict[str, Any]:
    return {"CACHES.other": {"BACKEND": REDIS, "LOCATION": "rediss://:long@cache.example.com/2", **changes}}


def mail(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A change of how mail leaves, in the names of Django before 6.1 and in those since."""
    names = {f"MAILERS.default.{name}": value for name, value in new.items()}
    return names if django.VERSION >= (6, 1) else old


# What is broken, the finding that says so, and the one change.
BROKEN: list[tuple[str, str, Mapping[str, Any]]] = [
    # debugging
    ("DEBUG", "security.W018", {"DEBUG": True}),
    (
        "templates in debug",
        f"{OURS}W118",
        {"TEMPLATES": lambda old: [{**old[0], "OPTIONS": {**old[0]["OPTIONS"], "debug": True}}]},
    ),
    (
        "no escaping",
        f"{OURS}E104",
        {"TEMPLATES": lambda old: [{**old[0], "OPTIONS": {**old[0]["OPTIONS"], "autoescape": False}}]},
    ),
    ("exceptions propagate", f"{OURS}W119", {"DEBUG_PROPAGATE_EXCEPTIONS": True}),
    # secrets
    ("a secret key of 40 characters", "security.W009", {"SECRET_KEY": SECRET[:40]}),
    ("a fallback of 40 characters", "security.W025", {"SECRET_KEY_FALLBACKS": [SECRET[::-1][:40]]}),
    ("a published fallback", f"{OURS}W002", {"SECRET_KEY_FALLBACKS": ["secret-key-for-testing-only-" * 3]}),
    ("many fallbacks", f"{OURS}W101", {"SECRET_KEY_FALLBACKS": [SECRET[n:] + SECRET[:n] for n in range(1, 5)]}),
    ("the secret key is the database's password", f"{OURS}E100", {"DATABASES.default.PASSWORD": SECRET}),
    (
        "a fallback signs tokens",
        f"{OURS}E100",
        {"SECRET_KEY_FALLBACKS": ["x" + SECRET], "CELERY_BROKER_URL": f"rediss://:x{SECRET}@r.example.com"},
    ),
    (
        "the secret key signs tokens",
        f"{OURS}E100",
        {
            "DJANGO_SECURE_AUTH.SIGNING_KEYS": [{"kid": "k", "alg": "HS256", "key": {"kty": "oct", "k": SECRET}}],
        },
    ),
    ("one password for database and cache", f"{OURS}W100", {"DATABASES.default.PASSWORD": "of-the-cache"}),
    ("derived keys", f"{OURS}W001", {"DJANGO_SECURE_AUTH.SIGNING_KEYS": None}),
    # cookies and sessions
    ("session cookie in clear", "security.W012", {"SESSION_COOKIE_SECURE": False}),
    ("CSRF cookie in clear", "security.W016", {"CSRF_COOKIE_SECURE": False}),
    ("session cookie for scripts", "security.W015", {"SESSION_COOKIE_HTTPONLY": False}),
    ("session cookie across sites", f"{OURS}W104", {"SESSION_COOKIE_SAMESITE": "None"}),
    ("session cookie as old browsers take it", f"{OURS}W104", {"SESSION_COOKIE_SAMESITE": False}),
    ("CSRF cookie across sites", f"{OURS}W105", {"CSRF_COOKIE_SAMESITE": None}),
    ("sessions of a year", f"{OURS}W106", {"SESSION_COOKIE_AGE": 365 * 86400}),
    ("pickled sessions", f"{OURS}E101", {"SESSION_SERIALIZER": "shop.serializers.PickleSerializer"}),
    ("sessions in cookies", f"{OURS}W107", {"SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies"}),
    ("our cookies in clear", f"{OURS}E003", {"DJANGO_SECURE_AUTH.COOKIE_SECURE": False}),
    # HTTPS and headers
    ("paths in clear", f"{OURS}W111", {"SECURE_REDIRECT_EXEMPT": ["^health$"]}),
    ("sniffing", "security.W006", {"SECURE_CONTENT_TYPE_NOSNIFF": False}),
    ("frames", "security.W019", {"X_FRAME_OPTIONS": "SAMEORIGIN"}),
    ("no referrer policy", "security.W022", {"SECURE_REFERRER_POLICY": None}),
    ("a referrer policy that is none", "security.E023", {"SECURE_REFERRER_POLICY": "no-policy"}),
    ("the whole referrer", f"{OURS}W110", {"SECURE_REFERRER_POLICY": "unsafe-url"}),
    ("the whole referrer, in a list", f"{OURS}W110", {"SECURE_REFERRER_POLICY": ["unsafe-url", "same-origin"]}),
    ("openers", f"{OURS}W112", {"SECURE_CROSS_ORIGIN_OPENER_POLICY": None}),
    (
        "no security middleware",
        "security.W001",
        {"MIDDLEWARE": lambda old: [name for name in old if "SecurityMiddleware" not in name]},
    ),
    (
        "no frame middleware",
        "security.W002",
        {"MIDDLEWARE": lambda old: [name for name in old if "XFrame" not in name]},
    ),
    (
        "a loose CSP",
        f"{OURS}W196",
        {"CONTENT_SECURITY_POLICY": {"DIRECTIVES": {"script-src": ["'self'", "'unsafe-inline'"]}}},
    ),
    ("an old loose CSP", f"{OURS}W196", {"CSP_SCRIPT_SRC": "'unsafe-eval'"}),
    # hosts and proxies
    ("any host", f"{OURS}E103", {"ALLOWED_HOSTS": ["*"]}),
    ("no host", "security.W020", {"ALLOWED_HOSTS": []}),
    ("hosts of strangers", f"{OURS}W115", {"ALLOWED_HOSTS": [".herokuapp.com"]}),
    ("hosts from a header", f"{OURS}W113", {"USE_X_FORWARDED_HOST": True}),
    ("a proxy that nobody named", f"{OURS}W006", {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}),
    # admin
    ("the admin at /admin/", f"{OURS}W120", site(path("admin/", admin.site.urls))),
    ("admin docs", f"{OURS}W121", app("django.contrib.admindocs")),
    (
        "a header signs in",
        f"{OURS}W130",
        {"MIDDLEWARE": more("django.contrib.auth.middleware.PersistentRemoteUserMiddleware")},
    ),
    (
        "inactive users",
        f"{OURS}W131",
        {"AUTHENTICATION_BACKENDS": more("django.contrib.auth.backends.AllowAllUsersModelBackend")},
    ),
    # passwords
    ("MD5 first", f"{OURS}E105", {"PASSWORD_HASHERS": [MD5, ARGON2]}),
    ("MD5 for old ones", f"{OURS}W123", {"PASSWORD_HASHERS": [ARGON2, MD5]}),
    ("PBKDF2 first", f"{OURS}W122", {"PASSWORD_HASHERS": ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]}),
    ("bcrypt that cuts", f"{OURS}W125", {"PASSWORD_HASHERS": more("django.contrib.auth.hashers.BCryptPasswordHasher")}),
    ("cheap Argon2", f"{OURS}W124", {"PASSWORD_HASHERS": [f"{__name__}.CheapArgon2"]}),
    (
        "passwords of six characters",
        f"{OURS}E106",
        {"AUTH_PASSWORD_VALIDATORS": [{"NAME": LENGTH, "OPTIONS": {"min_length": 6}}, COMMON]},
    ),
    ("passwords of any length", f"{OURS}E106", {"AUTH_PASSWORD_VALIDATORS": [COMMON]}),
    ("common passwords", f"{OURS}W128", {"AUTH_PASSWORD_VALIDATORS": [{"NAME": LENGTH}]}),
    (
        "reset links of three days",
        f"{OURS}W132",
        site(
            path("reset/", PasswordResetConfirmView.as_view(), name="reset"),
            **{"DJANGO_SECURE_AUTH.OPEN_ROUTES": more("reset")},
        ),
    ),
    # throttling
    (
        "throttles believe callers",
        f"{OURS}W133",
        {
            "REST_FRAMEWORK.DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
            "REST_FRAMEWORK.DEFAULT_THROTTLE_RATES": {"user": "9/min"},
        },
    ),
    (
        "throttles without a rate",
        f"{OURS}W134",
        {
            "REST_FRAMEWORK.DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
            "REST_FRAMEWORK.NUM_PROXIES": 0,
        },
    ),
    ("limits in memory", f"{OURS}W004", {"CACHES.limits": LOCMEM, "DJANGO_SECURE_AUTH.RATE_LIMIT_CACHE": "limits"}),
    # DRF
    (
        "AllowAny by default",
        f"{OURS}W135",
        {"REST_FRAMEWORK.DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.AllowAny"]},
    ),
    ("no permission by default", f"{OURS}W135", {"REST_FRAMEWORK.DEFAULT_PERMISSION_CLASSES": []}),
    (
        "the browsable API",
        f"{OURS}W136",
        {"REST_FRAMEWORK.DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.BrowsableAPIRenderer"]},
    ),
    ("sessions", f"{OURS}W137", {AUTH: ["rest_framework.authentication.SessionAuthentication"]}),
    ("passwords in every request", f"{OURS}W138", {AUTH: ["rest_framework.authentication.BasicAuthentication"]}),
    ("eternal tokens", f"{OURS}W139", {AUTH: ["rest_framework.authentication.TokenAuthentication"]}),
    ("keys everywhere", f"{OURS}W020", {AUTH: [JWT, "django_secure_auth.apikeys.authentication.APIKeyAuthentication"]}),
    ("nobody is signed in", f"{OURS}E111", {"REST_FRAMEWORK.UNAUTHENTICATED_USER": f"{__name__}.KnownToAll"}),
    (
        "ordering by default",
        f"{OURS}W142",
        {"REST_FRAMEWORK.DEFAULT_FILTER_BACKENDS": ["rest_framework.filters.OrderingFilter"]},
    ),
    (
        "bodies of any size",
        f"{OURS}W145",
        {"REST_FRAMEWORK.DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"]},
    ),
    ("a view that sorts by anything", f"{OURS}W141", site(path("sorted/", SortedView.as_view()))),
    ("a view that searches secrets", f"{OURS}E112", site(path("searched/", SearchedView.as_view()))),
    ("a view that shows users whole", f"{OURS}W144", site(path("users/", UsersView.as_view()))),
    (
        "errors in another shape",
        f"{OURS}W012",
        {"REST_FRAMEWORK.EXCEPTION_HANDLER": "rest_framework.views.exception_handler"},
    ),
    # bodies and files
    ("bodies without bound", f"{OURS}W147", {"DATA_UPLOAD_MAX_MEMORY_SIZE": None}),
    ("bodies of a gigabyte", f"{OURS}W147", {"DATA_UPLOAD_MAX_MEMORY_SIZE": 2**30}),
    ("any number of fields", f"{OURS}W148", {"DATA_UPLOAD_MAX_NUMBER_FIELDS": None}),
    ("files for everybody", f"{OURS}E107", {"FILE_UPLOAD_PERMISSIONS": 0o666}),
    ("uploads among scripts", f"{OURS}E108", {"STATIC_ROOT": "/srv/static", "MEDIA_ROOT": "/srv/static/uploads"}),
    ("Django serves files", f"{OURS}W151", site(path("media/<path:path>", login_required(serve)))),
    # database
    ("database in clear", f"{OURS}W160", {"DATABASES.default.OPTIONS": {}}),
    ("SQLite", f"{OURS}W161", {"DATABASES.default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db"}}),
    ("the server's owner", f"{OURS}W162", {"DATABASES.default.USER": "postgres"}),
    ("no password", f"{OURS}W163", {"DATABASES.default.PASSWORD": ""}),
    ("the user's name as password", f"{OURS}W163", {"DATABASES.default.PASSWORD": "user"}),
    # caches
    ("memory of each", f"{OURS}W153", {"CACHES.other": LOCMEM, "$WEB_CONCURRENCY": "3"}),
    (
        "memory of each, by gunicorn's arguments",
        f"{OURS}W153",
        {"CACHES.other": LOCMEM, "$GUNICORN_CMD_ARGS": "--workers=2"},
    ),
    ("a cache without password", f"{OURS}W154", cache(LOCATION="rediss://cache.example.com/2")),
    ("a cache in clear", f"{OURS}W155", cache(LOCATION=["redis://:long@cache.example.com/2"])),
    ("caches that mix", f"{OURS}W156", cache(LOCATION="rediss://:of-the-cache@redis.example.com:6379/1")),
    (
        "sessions in memory",
        f"{OURS}W157",
        {
            "CACHES.other": LOCMEM,
            "SESSION_ENGINE": "django.contrib.sessions.backends.cache",
            "SESSION_CACHE_ALIAS": "other",
        },
    ),
    (
        "a cache of everybody",
        f"{OURS}W158",
        {"CACHES.other": {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/tmp/cache"}},
    ),
    (
        "Memcached far away",
        f"{OURS}W159",
        {
            "CACHES.other": {
                "BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache",
                "LOCATION": "cache.example.com:11211",
            }
        },
    ),
    ("a state in memory", f"{OURS}E006", {"CACHES.other": LOCMEM, "DJANGO_SECURE_AUTH.STATE_CACHE": "other"}),
    # broker
    ("pickled tasks", f"{OURS}E109", {"CELERY_ACCEPT_CONTENT": ["json", "pickle"]}),
    ("guest", f"{OURS}E110", {"CELERY_BROKER_URL": "amqps://guest:guest@mq.example.com//"}),
    ("a broker without password", f"{OURS}W165", {"CELERY_BROKER_URL": "rediss://mq.example.com"}),
    ("a broker in clear", f"{OURS}W166", {"CELERY_BROKER_URL": "amqp://site:long@mq.example.com//"}),
    (
        "results keep arguments",
        f"{OURS}W167",
        {"CELERY_RESULT_EXTENDED": True, "CELERY_RESULT_BACKEND": "rediss://:of-the-broker@redis.example.com"},
    ),
    ("no broker", f"{OURS}W003", {"CELERY_BROKER_URL": "", "CELERY_TASK_ALWAYS_EAGER": True}),
    # mail
    (
        "mail into the console",
        f"{OURS}W169",
        mail(
            {"EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend"},
            {"BACKEND": "django.core.mail.backends.console.EmailBackend", "OPTIONS": {}},
        ),
    ),
    ("mail in clear", f"{OURS}W170", mail({"EMAIL_USE_TLS": False}, {"OPTIONS.use_tls": False})),
    ("mail from localhost", f"{OURS}W171", {"DEFAULT_FROM_EMAIL": "webmaster@localhost"}),
    ("mail that waits for ever", f"{OURS}W172", mail({"EMAIL_TIMEOUT": None}, {"OPTIONS.timeout": None})),
    ("no site in mails", f"{OURS}W005", {"DJANGO_SECURE_AUTH.BASE_URL": None}),
    # logs
    ("nobody hears", f"{OURS}W174", {"LOGGING": {"version": 1}}),
    ("everything is logged", f"{OURS}W175", {"LOGGING.root": {"level": "DEBUG"}}),
    (
        "error pages by mail",
        f"{OURS}W176",
        {"LOGGING.handlers.mail": {"class": "django.utils.log.AdminEmailHandler", "include_html": True}},
    ),
    ("reports that hide nothing", f"{OURS}W177", {"DEFAULT_EXCEPTION_REPORTER_FILTER": f"{__name__}.KnownToAll"}),
    # other packages
    ("debug toolbar", f"{OURS}E102", app("debug_toolbar")),
    ("django_extensions", f"{OURS}W178", app("django_extensions")),
    ("silk", f"{OURS}E113", app("silk")),
    (
        "rotation without blacklist",
        f"{OURS}W179",
        {"SIMPLE_JWT": {"SIGNING_KEY": "its own", "ROTATE_REFRESH_TOKENS": True}},
    ),
    (
        "access for a day",
        f"{OURS}W180",
        {"SIMPLE_JWT": {"SIGNING_KEY": "its own", "ACCESS_TOKEN_LIFETIME": timedelta(days=1)}},
    ),
    ("simplejwt signs with the secret key", f"{OURS}E114", app("rest_framework_simplejwt")),
    ("unproven addresses", f"{OURS}W182", app("allauth.account", ACCOUNT_EMAIL_VERIFICATION="none")),
    (
        "links sign out",
        f"{OURS}W183",
        app("allauth.account", ACCOUNT_EMAIL_VERIFICATION="mandatory", ACCOUNT_LOGOUT_ON_GET=True),
    ),
    (
        "allauth counts nothing",
        f"{OURS}W184",
        app("allauth", ACCOUNT_EMAIL_VERIFICATION="mandatory", ACCOUNT_RATE_LIMITS=False),
    ),
    (
        "a reset signs in",
        f"{OURS}W185",
        app("allauth", ACCOUNT_EMAIL_VERIFICATION="mandatory", ACCOUNT_LOGIN_ON_PASSWORD_RESET=True),
    ),
    (
        "allauth tells accounts",
        f"{OURS}W186",
        app("allauth", ACCOUNT_EMAIL_VERIFICATION="mandatory", ACCOUNT_PREVENT_ENUMERATION=False),
    ),
    (
        "providers name the account",
        f"{OURS}W187",
        app("allauth", ACCOUNT_EMAIL_VERIFICATION="mandatory", SOCIALACCOUNT_EMAIL_AUTHENTICATION=True),
    ),
    ("tokens for scripts", f"{OURS}W188", app("dj_rest_auth", REST_AUTH={"USE_JWT": True, "JWT_AUTH_HTTPONLY": False})),
    (
        "cookies of dj-rest-auth",
        f"{OURS}W189",
        app("dj_rest_auth", REST_AUTH={"USE_JWT": True, "JWT_AUTH_COOKIE": "jwt"}),
    ),
    ("axes are off", f"{OURS}W190", app("axes", AXES_ENABLED=False)),
    ("axes believe callers", f"{OURS}W191", app("axes", AXES_IPWARE_META_PRECEDENCE_ORDER=["HTTP_X_FORWARDED_FOR"])),
    ("tokens in clear", f"{OURS}W192", app("rest_framework.authtoken")),
    (
        "no PKCE",
        f"{OURS}W193",
        app("oauth2_provider", OAUTH2_PROVIDER={"PKCE_REQUIRED": False, "ALLOWED_REDIRECT_URI_SCHEMES": ["https"]}),
    ),
    ("codes over http", f"{OURS}W194", app("oauth2_provider")),
    ("redirects anywhere", f"{OURS}W195", app("social_django", SOCIAL_AUTH_SANITIZE_REDIRECTS=False)),
    ("staff become superusers", f"{OURS}W197", app("impersonate", IMPERSONATE={"ALLOW_SUPERUSER": True})),
]


def test_production_as_it_should_be_has_no_finding() -> None:
    assert ids({}) == []


@pytest.mark.control(
    "DJ-security.W001", "DJ-security.W002", "DJ-security.W006", "DJ-security.W009", "DJ-security.W010",
    "DJ-security.W013", "DJ-security.W016", "DJ-security.W018", "DJ-security.W019", "DJ-security.W020",
    "DJ-security.W022", "DJ-security.E023", "DJ-security.W025", "DJ-checklist-CACHES", "DJ-checklist-EMAIL",
    "DJ-checklist-LOGGING", "DJ-checklist-SECRETS", "CS-DRF-defaults", "ASVS-12.3.1", "ASVS-13.2.3", "ASVS-13.4.2",
)  # fmt: skip
@pytest.mark.parametrize(("check_id", "changes"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_what_is_broken_is_found_and_nothing_else(check_id: str, changes: Mapping[str, Any]) -> None:
    messages = found(changes)
    assert [message.id for message in messages] == [check_id]
    said = " ".join(f"{message.msg} {message.hint}" for message in messages)
    for secret in (SECRET, SIGNING, ENCRYPTION, "of-the-mail", "of-the-cache", "of-the-broker", "of-the-database"):
        assert secret not in said


def test_sixty_settings_and_more_are_broken_one_by_one() -> None:
    assert len(BROKEN) >= 60
    assert len({row[0] for row in BROKEN}) == len(BROKEN)


def test_every_row_of_the_checklist_is_broken_once() -> None:
    by_themselves = {f"{OURS}{code}" for code in ("W127", "W150", "W198")}
    assert {check.id for check in CHECKLIST} - by_themselves <= {row[1] for row in BROKEN}


def test_no_two_rows_of_the_checklist_share_an_id() -> None:
    assert len({check.id for check in CHECKLIST}) == len(CHECKLIST)
    assert {check.group for check in CHECKLIST} <= GROUPS.keys()


def test_every_row_names_controls_that_exist() -> None:
    with (ROOT / "docs" / "controls.csv").open(encoding="utf-8", newline="") as file:
        controls = {row["id"] for row in csv.DictReader(file)}
    for check_id, group, named, _ in catalogue():
        assert set(named) <= controls, check_id
        assert group in GROUPS
    assert all(check.controls and check.hint for check in CHECKLIST)


def test_short_passwords_without_a_second_step() -> None:
    assert ids({"DJANGO_SECURE_AUTH.OTP_POLICY": "never"}) == [f"{OURS}W007", f"{OURS}W127"]
    long = [{"NAME": LENGTH, "OPTIONS": {"min_length": 15}}, COMMON]
    assert ids({"DJANGO_SECURE_AUTH.OTP_POLICY": "never", "AUTH_PASSWORD_VALIDATORS": long}) == [f"{OURS}W007"]


def test_a_python_without_security_fixes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "PYTHON_ENDS", {sys.version_info[:2]: date(2020, 1, 1)})
    with production({}):
        (message,) = [one for one in find_checklist() if one.id == f"{OURS}W198"]
    assert (
        message.msg
        == f"No security fixes any more: Python {sys.version_info[0]}.{sys.version_info[1]} since 2020-01-01."
    )


def test_w199_a_setting_of_no_known_form_is_said_to_be_unjudged_and_is_not_shown() -> None:
    with production({"SIMPLE_JWT": {"SIGNING_KEY": "its own", "ACCESS_TOKEN_LIFETIME": "hunter2"}}):
        (message,) = find_checklist()
    assert message.id == f"{OURS}W199"
    assert message.msg.startswith("secure_auth.W180 could not be judged (TypeError): ")
    assert "hunter2" not in f"{message.msg} {message.hint}"


# What looks like a fault and is none.
FINE: list[tuple[str, Mapping[str, Any]]] = [
    ("no admin at /admin/, but something else", site(path("admin/", login_required(lambda request: None)))),
    ("a wildcard of one's own", {"ALLOWED_HOSTS": [".example.com"]}),
    ("a host from a header of a proxy", {"USE_X_FORWARDED_HOST": True, "DJANGO_SECURE_AUTH.TRUSTED_PROXIES": 1}),
    ("several referrer policies", {"SECURE_REFERRER_POLICY": "no-referrer, same-origin"}),
    ("frugal Argon2", {"PASSWORD_HASHERS": [f"{__name__}.FrugalArgon2"]}),
    ("folders apart", {"STATIC_ROOT": "/srv/static", "MEDIA_ROOT": "/srv/media"}),
    ("a CSP with nonces", {"CSP_SCRIPT_SRC": ["'unsafe-inline'", "'nonce-x'", "https:"]}),
    (
        "reset links of half an hour",
        site(
            path("reset/", PasswordResetConfirmView.as_view(), name="reset"),
            **{"DJANGO_SECURE_AUTH.OPEN_ROUTES": more("reset"), "PASSWORD_RESET_TIMEOUT": 1800},
        ),
    ),
    (
        "a database beside the site",
        {"DATABASES.default.HOST": "", "DATABASES.default.OPTIONS": {}, "DATABASES.default.PASSWORD": ""},
    ),
    ("a database in a private network", {"DATABASES.default.HOST": "10.0.0.7", "DATABASES.default.OPTIONS": {}}),
    (
        "a database that asks for a certificate",
        {"DATABASES.default.PASSWORD": "", "DATABASES.default.OPTIONS.sslcert": "/etc/c"},
    ),
    (
        "a MariaDB with TLS",
        {"DATABASES.default.ENGINE": "django.db.backends.mysql", "DATABASES.default.OPTIONS": {"ssl": {"ca": "/c"}}},
    ),
    (
        "a MySQL with TLS",
        {
            "DATABASES.default.ENGINE": "django.db.backends.mysql",
            "DATABASES.default.OPTIONS": {"ssl_mode": "VERIFY_IDENTITY"},
        },
    ),
    ("a cache beside the site", cache(LOCATION="redis://127.0.0.1:6379/3")),
    (
        "a cache with a password in its options",
        cache(LOCATION="rediss://cache.example.com/3", OPTIONS={"PASSWORD": "long-one"}),
    ),
    ("caches with prefixes", cache(LOCATION="rediss://:of-the-cache@redis.example.com:6379/1", KEY_PREFIX="other")),
    ("caches with functions", cache(LOCATION="rediss://:of-the-cache@redis.example.com:6379/1", KEY_FUNCTION="f")),
    ("one process with a memory", {"CACHES.other": LOCMEM, "$WEB_CONCURRENCY": "auto"}),
    ("sessions in a shared cache", {"SESSION_ENGINE": "django.contrib.sessions.backends.cache"}),
    (
        "a broker of several servers",
        {"CELERY_BROKER_URL": ["amqps://s:long@a.example.com//;amqps://s:long@b.example.com//"]},
    ),
    (
        "a broker with TLS by option",
        {"CELERY_BROKER_URL": "amqp://site:long@mq.example.com//", "CELERY_BROKER_USE_SSL": True},
    ),
    (
        "a sender of mails of one's own",
        {"DEFAULT_FROM_EMAIL": "webmaster@localhost", "DJANGO_SECURE_AUTH.MAIL_FROM": "a@example.com"},
    ),
    (
        "mail by a provider",
        mail({"EMAIL_BACKEND": "anymail.backends.x.EmailBackend"}, {"BACKEND": "anymail.backends.x.EmailBackend"}),
    ),
    ("logging of one's own", {"LOGGING": None, "LOGGING_CONFIG": None}),
    ("a handler further up", {"LOGGING": {**SOMEWHERE, "loggers": {"django_secure_auth": {"handlers": ["x"]}}}}),
    ("a handler at the root", {"LOGGING": {**SOMEWHERE, "root": {"handlers": ["x"]}}}),
    ("toolbar in development", {}),
    ("silk that asks", app("silk", SILKY_AUTHENTICATION=True, SILKY_AUTHORISATION=True)),
    ("simplejwt with a key pair", app("rest_framework_simplejwt", SIMPLE_JWT={"ALGORITHM": "EdDSA"})),
    (
        "simplejwt with a blacklist",
        app(
            "rest_framework_simplejwt.token_blacklist",
            SIMPLE_JWT={
                "SIGNING_KEY": "its own",
                "ROTATE_REFRESH_TOKENS": True,
                "BLACKLIST_AFTER_ROTATION": True,
            },
        ),
    ),
    (
        "dj-rest-auth with all of it",
        app(
            "dj_rest_auth",
            REST_AUTH={
                "USE_JWT": True,
                "JWT_AUTH_COOKIE": "jwt",
                "JWT_AUTH_SECURE": True,
                "JWT_AUTH_COOKIE_USE_CSRF": True,
            },
        ),
    ),
    ("axes that count proxies", app("axes", AXES_META_PRECEDENCE_ORDER=["HTTP_X_FORWARDED_FOR"], AXES_PROXY_COUNT=1)),
    ("a serializer of users by a list", site(path("named/", NamedUsersView.as_view()))),
    (
        "our ordering filter",
        {"REST_FRAMEWORK.DEFAULT_FILTER_BACKENDS": ["django_secure_auth.strict.backends.SafeOrderingFilter"]},
    ),
    ("nobody at all", {"REST_FRAMEWORK.UNAUTHENTICATED_USER": None}),
    ("asymmetric keys", {"DJANGO_SECURE_AUTH.SIGNING_KEYS": [KEY_PAIR]}),
]


@pytest.mark.parametrize("changes", [row[1] for row in FINE], ids=[row[0] for row in FINE])
def test_what_only_looks_like_a_fault_is_none(changes: Mapping[str, Any]) -> None:
    assert ids(changes) == []


@pytest.mark.parametrize(
    ("check_id", "changes"),
    [
        (
            "W194",
            app(
                "oauth2_provider",
                OAUTH2_PROVIDER={"ALLOWED_REDIRECT_URI_SCHEMES": ["https"], "ALLOW_URI_WILDCARDS": True},
            ),
        ),
        ("W197", app("hijack", HIJACK_PERMISSION_CHECK="hijack.permissions.superusers_and_staff")),
        (
            "W162",
            {
                "DATABASES.default.ENGINE": "django.db.backends.mysql",
                "DATABASES.default.USER": "root",
                "DATABASES.default.OPTIONS": {"ssl": {"ca": "/c"}},
            },
        ),
        ("W160", {"DATABASES.default.HOST": "8.8.8.8", "DATABASES.default.OPTIONS": {"sslmode": "prefer"}}),
        ("W171", {"DEFAULT_FROM_EMAIL": "a@example.com", "ADMINS": [("Ana", "ana@example.com")]}),
        (
            "W174",
            {
                "LOGGING": {
                    **SOMEWHERE,
                    "loggers": {"django_secure_auth": {"propagate": False}},
                    "root": {"handlers": ["x"]},
                }
            },
        ),
        ("E109", {"CELERY_TASK_SERIALIZER": "pickle"}),
    ],
)
def test_a_fault_in_its_other_forms_is_found(check_id: str, changes: Mapping[str, Any]) -> None:
    assert ids(changes) == [f"{OURS}{check_id}"]


def test_development_is_not_scolded_for_its_tools() -> None:
    assert ids({"DEBUG": True, **app("debug_toolbar", "django_extensions")}) == ["security.W018"]


def test_mail_is_judged_as_django_6_1_configures_it() -> None:
    smtp = {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": {"host": "mail.example.com"}}
    with override_settings(MAILERS={"default": smtp, "other": {"BACKEND": "x.LocmemBackend"}}):
        assert dict(mailers()) == {smtp["BACKEND"]: {"host": "mail.example.com"}, "x.LocmemBackend": {}}
        assert [mail_in_clear.judge() is None, mail_waits_for_ever.judge() is None] == [False, False]


@pytest.mark.parametrize(
    ("host", "elsewhere", "far"),
    [
        (None, False, False),
        ("", False, False),
        ("/run/postgresql", False, False),
        ("localhost", False, False),
        ("127.0.0.1", False, False),
        ("::1", False, False),
        ("10.1.2.3", True, False),
        ("redis", True, False),
        ("db.internal", True, False),
        ("8.8.8.8", True, True),
        ("db.example.com", True, True),
    ],
)
def test_where_a_server_is(host: str | None, elsewhere: bool, far: bool) -> None:
    assert (is_elsewhere(host), leaves_the_network(host)) == (elsewhere, far)
