"""Every check: what is broken is named with its id and a hint; what is fine is met with silence."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import django
import pytest
from celery import current_app
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import ERROR, WARNING, CheckMessage, registry, run_checks
from django.test import override_settings

from django_secure_auth import checks
from django_secure_auth.checks import (
    check_checklist,
    check_combinations,
    check_cors,
    check_hsts,
    check_installation,
    check_limit_policies,
    check_limits,
    check_loosened,
    check_other_sites,
    check_owners,
    check_password_rules,
    check_production,
    check_routes,
    check_settings,
    check_transport,
)
from django_secure_auth.checks import run_checks as our_checks
from django_secure_auth.conf import Conf, conf
from django_secure_auth.kit.keys import b64encode, new_secret_bytes
from django_secure_auth.rbac.backends import RoleBackend
from django_secure_auth.staff.admin import SecureAdminSite
from tests.host_app.models import Note
from tests.kit.test_places import LYON, geoip_file

HEADERS = "django_secure_auth.headers.middleware.SecurityHeadersMiddleware"
IDLE = "django_secure_auth.sessions.middleware.IdleTimeoutMiddleware"
ROLES = "django_secure_auth.rbac.backends.RoleBackend"
AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"

REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1"}
LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
DUMMY = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
TABLE = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_table"}
FILES = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": "/nowhere"}


# The production checklist judges a whole project: tests/doctor.
OWN = [check for check, _ in our_checks if check is not check_checklist]


class OurAdminSite(SecureAdminSite):
    """A project's own."""


@pytest.fixture(autouse=True)
def good(settings: Any) -> Any:
    """A project that no check has anything to say about."""
    settings.DEBUG = False
    settings.SECRET_KEY = b64encode(new_secret_bytes(48))
    settings.SECRET_KEY_FALLBACKS = []
    settings.MIDDLEWARE = [HEADERS, SESSIONS, CSRF, AUTH, IDLE]
    settings.CACHES = {"default": REDIS, "memory": LOCMEM, "dummy": DUMMY, "table": TABLE, "files": FILES}
    settings.AUTHENTICATION_BACKENDS = [ROLES, "django.contrib.auth.backends.ModelBackend"]
    settings.SECURE_PROXY_SSL_HEADER = None
    settings.DJANGO_SECURE_AUTH = {
        "SIGNING_KEYS": [{"kid": "a", "alg": "HS256", "key": b64encode(new_secret_bytes())}],
        "ENCRYPTION_KEYS": [{"kid": "a", "key": b64encode(new_secret_bytes())}],
        "BASE_URL": "https://example.com",
        "MAIL_DELIVERY": "celery",
        "STATE_CACHE": "default",
        "HTTPS_ONLY": True,
    }
    return settings


def found(**changes: Any) -> list[CheckMessage]:
    """What our checks say, with `--deploy`, when these settings of ours are changed."""
    with override_settings(DJANGO_SECURE_AUTH={**settings.DJANGO_SECURE_AUTH, **changes}):
        return [message for check in OWN for message in check(app_configs=None)]


def the_one(messages: list[CheckMessage], check_id: str) -> CheckMessage:
    (message,) = messages
    assert message.id == f"secure_auth.{check_id}"
    assert message.level == (ERROR if check_id.startswith("E") else WARNING)
    assert message.hint
    return message


def test_good_settings_are_met_with_silence() -> None:
    assert found() == []


def test_all_of_them_are_registered_and_those_of_production_wait_for_deploy() -> None:
    functions = dict(our_checks)
    assert functions == {
        check_settings: False,
        check_combinations: False,
        check_installation: False,
        check_owners: False,
        check_production: True,
        check_routes: True,
        check_checklist: True,
        check_cors: False,
        check_transport: False,
        check_other_sites: True,
        check_hsts: True,
        check_loosened: True,
        check_limits: False,
        check_limit_policies: True,
        check_password_rules: True,
    }
    always: set[Any] = set(registry.registry.get_checks())
    deploying: set[Any] = set(registry.registry.get_checks(include_deployment_checks=True))
    for function, deploy in functions.items():
        assert function in deploying
        assert (function in always) is not deploy
        assert function.__doc__


def test_manage_py_check_runs_them(good: Any) -> None:
    good.DJANGO_SECURE_AUTH = {"OTP_LENGHT": 6}
    assert "secure_auth.E001" in {message.id for message in run_checks(tags=["secure_auth"])}


# --- settings ----------------------------------------------------------------------------------------


def test_e001_a_misspelt_setting() -> None:
    message = the_one(found(OTP_LENGHT=6), "E001")
    assert "OTP_LENGHT" in message.msg
    assert "'OTP_LENGTH'" in str(message.hint)


def test_e002_an_ill_typed_setting() -> None:
    assert "OTP_LENGTH" in the_one(found(OTP_LENGTH="6"), "E002").msg


def test_e002_a_dict_that_is_none(good: Any) -> None:
    good.DJANGO_SECURE_AUTH = ["OTP_LENGTH"]
    messages = [message for check in OWN for message in check()]
    the_one(messages, "E002")


def test_an_ill_typed_setting_does_not_bury_the_others_in_a_traceback() -> None:
    """Every check that reads settings holds its tongue until they can be read."""
    for name in ("COOKIE_SECURE", "SESSION_IDLE_TIMEOUT", "STATE_CACHE", "OTP_POLICY", "TRUSTED_PROXIES", "BASE_URL"):
        the_one(found(**{name: 3.14}), "E002")


# --- combinations ------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-3.3.1")
def test_e003_cookies_in_clear_outside_of_development(good: Any) -> None:
    the_one(found(COOKIE_SECURE=False), "E003")
    good.DEBUG = True
    assert found(COOKIE_SECURE=False) == []


@pytest.mark.parametrize(
    ("shorter", "longer"),
    [
        ("SESSION_IDLE_TIMEOUT", "SESSION_ABSOLUTE_TIMEOUT"),
        ("REMEMBER_IDLE_TIMEOUT", "REMEMBER_ABSOLUTE_TIMEOUT"),
        ("ACTIVITY_INTERVAL", "SESSION_IDLE_TIMEOUT"),
        ("STEP_UP_MAX_AGE", "SESSION_IDLE_TIMEOUT"),
        ("ACCESS_TOKEN_TTL", "SESSION_ABSOLUTE_TIMEOUT"),
    ],
)
def test_e004_durations_that_contradict_each_other(shorter: str, longer: str) -> None:
    lengths = dict.fromkeys(("SESSION_IDLE_TIMEOUT", "STEP_UP_MAX_AGE", "ACCESS_TOKEN_TTL"), conf.ACTIVITY_INTERVAL)
    lengths |= dict.fromkeys(("SESSION_ABSOLUTE_TIMEOUT", "REMEMBER_ABSOLUTE_TIMEOUT"), conf.ACTIVITY_INTERVAL)
    lengths |= {"REMEMBER_IDLE_TIMEOUT": conf.ACTIVITY_INTERVAL}
    assert found(**lengths) == []
    message = the_one(found(**{**lengths, shorter: conf.ACTIVITY_INTERVAL * 2}), "E004")
    assert shorter in message.msg
    assert longer in message.msg


@pytest.mark.parametrize("name", ["STATE_CACHE", "RATE_LIMIT_CACHE"])
def test_e005_a_cache_that_is_not_there(name: str) -> None:
    """R28: not a silent fall-back to another cache."""
    message = the_one(found(**{name: "nowhere"}), "E005")
    assert name in message.msg
    assert "'nowhere'" in message.msg


def test_e006_a_state_cache_that_nobody_shares() -> None:
    """R28: not a revocation that reaches one process."""
    the_one(found(STATE_CACHE="memory"), "E006")
    assert found(STATE_CACHE=None) == []


def test_e007_a_cache_that_counts_nothing() -> None:
    """R28: not a limit that is silently off."""
    the_one(found(RATE_LIMIT_CACHE="dummy"), "E007")


def test_e008_a_user_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_user_model(), "EMAIL_FIELD", "post_office_box")
    the_one(found(), "E008")


@pytest.mark.parametrize("name", ["EMAIL_FIELD", "USERNAME_FIELD"])
def test_e009_a_profile_that_holds_what_one_signs_in_with(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = get_user_model()
    plain = [field.name for field in model._meta.concrete_fields if not Conf.PROFILE_FIELDS.judge([field.name])]
    monkeypatch.setattr(model, name, plain[0])
    message = the_one(found(PROFILE_FIELDS=["nick", plain[0]]), "E009")
    assert plain[0] in message.msg
    assert "nick" not in message.msg


def test_e013_one_key_for_two_purposes() -> None:
    (root,) = settings.DJANGO_SECURE_AUTH["ENCRYPTION_KEYS"]
    message = the_one(found(SIGNING_KEYS=[{**root, "kid": "both", "alg": "HS256"}]), "E013")
    assert "both" in message.msg
    assert root["key"] not in f"{message.msg} {message.hint}"


# --- owners ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["ownr", "project__name", "tags", "project"])
def test_e030_a_way_to_the_owner_that_leads_nowhere(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Note, "secure_auth_owner", path)
    message = the_one(found(), "E030")
    assert message.msg.startswith(f"host_app.Note.secure_auth_owner is {path!r}, but")


# --- installation ------------------------------------------------------------------------------------


def test_e010_no_idle_timeout(good: Any) -> None:
    """R28: a part of the installation that is missing is an error, not a feature that is silently off."""
    good.MIDDLEWARE = [HEADERS, SESSIONS, CSRF, AUTH]
    assert IDLE in str(the_one(found(), "E010").hint)


def test_e011_idle_timeout_before_authentication(good: Any) -> None:
    good.MIDDLEWARE = [HEADERS, SESSIONS, CSRF, IDLE, AUTH]
    the_one(found(), "E011")
    good.MIDDLEWARE = [HEADERS, SESSIONS, CSRF, IDLE]  # no authentication of Django's to stand behind
    assert found() == []


def test_e012_no_csrf(good: Any) -> None:
    """R28: not a sign-in that no browser can pass."""
    good.MIDDLEWARE = (HEADERS, SESSIONS, AUTH, IDLE)
    the_one(found(), "E012")


def test_w010_no_headers(good: Any) -> None:
    good.MIDDLEWARE = [SESSIONS, CSRF, AUTH, IDLE]
    the_one(found(), "W010")


def test_w011_headers_not_first(good: Any) -> None:
    good.MIDDLEWARE = [SESSIONS, HEADERS, CSRF, AUTH, IDLE]
    the_one(found(), "W011")


@pytest.mark.parametrize("rest", [{}, {"EXCEPTION_HANDLER": "rest_framework.views.exception_handler"}])
def test_w012_another_exception_handler(rest: dict[str, str], good: Any) -> None:
    good.REST_FRAMEWORK = rest
    the_one(found(), "W012")


def test_w012_no_rest_framework_settings_at_all(good: Any) -> None:
    del good.REST_FRAMEWORK
    the_one(found(), "W012")


@pytest.mark.control("ADMIN-hardening")
def test_w013_an_admin_without_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps.get_app_config("admin"), "default_site", "django.contrib.admin.sites.AdminSite")
    the_one(found(), "W013")


@pytest.mark.parametrize("site", [SecureAdminSite, OurAdminSite])
def test_w013_is_silent_for_our_site_and_its_subclasses(site: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps.get_app_config("admin"), "default_site", f"{site.__module__}.{site.__name__}")
    assert found() == []


def test_w013_is_silent_without_an_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = apps.is_installed
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "django.contrib.admin" and installed(name))
    monkeypatch.setattr(apps.get_app_config("admin"), "default_site", "django.contrib.admin.sites.AdminSite")
    assert found() == []


class OurRoleBackend(RoleBackend):
    """A project's own."""


def test_w014_roles_that_djangos_permissions_do_not_see(good: Any) -> None:
    good.AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
    assert "RoleBackend" in str(the_one(found(), "W014").hint)


def test_w014_is_silent_for_a_subclass(good: Any) -> None:
    good.AUTHENTICATION_BACKENDS = [f"{__name__}.OurRoleBackend"]
    assert found() == []


@pytest.mark.parametrize("name", ["DEFAULT_AUTHENTICATION_CLASSES", "OTHER"])
def test_w020_keys_that_open_every_view(name: str, good: Any) -> None:
    both = [
        "django_secure_auth.tokens.authentication.JWTCookieAuthentication",
        "django_secure_auth.apikeys.authentication.APIKeyAuthentication",
    ]
    good.REST_FRAMEWORK = {**good.REST_FRAMEWORK, name: both}
    if name == "OTHER":
        assert found() == []
    else:
        the_one(found(), "W020")


# --- production --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["SIGNING_KEYS", "ENCRYPTION_KEYS"])
def test_w001_derived_keys(name: str) -> None:
    assert "secure_auth_keys rotate" in str(the_one(found(**{name: None}), "W001").hint)


@pytest.mark.parametrize(
    "weak",
    [
        "short",
        "x" * 50,
        "django-insecure-4q!k9z@0vb8x_2m#n7c$l6h^j5g&f3d*s1a(p)o-i=u+y",
        b"django-insecure-4q!k9z@0vb8x_2m#n7c$l6h^j5g&f3d*s1a(p)o-i=u+y",
        "your-256-bit-secret-your-256-bit-secret",
    ],
)
def test_w002_a_weak_secret_key(weak: Any, good: Any) -> None:
    strong = good.SECRET_KEY
    good.SECRET_KEY = weak
    the_one(found(), "W002")
    good.SECRET_KEY = strong
    good.SECRET_KEY_FALLBACKS = [weak, weak]
    the_one(found(), "W002")


@pytest.mark.parametrize("delivery", ["inline", "auto"])
def test_w003_mail_without_a_broker(delivery: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_app.conf, "broker_url", None)
    the_one(found(MAIL_DELIVERY=delivery), "W003")


def test_w003_a_celery_that_is_eager() -> None:
    current_app.conf.update(task_always_eager=True)
    try:
        the_one(found(), "W003")
    finally:
        current_app.conf.update(task_always_eager=False)


def test_w004_limits_of_each_process_its_own() -> None:
    the_one(found(RATE_LIMIT_CACHE="memory"), "W004")


def test_w005_no_base_url() -> None:
    the_one(found(BASE_URL=None), "W005")


@pytest.mark.control("ASVS-1.2.2")
@pytest.mark.parametrize("url", ["http://shop.example", "HTTP://shop.example/path"])
def test_w086_mailed_links_that_travel_in_clear(url: str) -> None:
    the_one(found(BASE_URL=url), "W086")
    assert found(BASE_URL=url.lower().replace("http:", "HTTPS:")) == []


@pytest.mark.parametrize("proxies", [0, []])
def test_w006_behind_a_proxy_that_is_not_named(proxies: Any, good: Any) -> None:
    good.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    the_one(found(TRUSTED_PROXIES=proxies), "W006")
    assert found(TRUSTED_PROXIES=1) == []
    assert found(TRUSTED_PROXIES=["10.0.0.0/8"]) == []


def test_w007_no_codes_at_all() -> None:
    the_one(found(OTP_POLICY="never"), "W007")


@pytest.mark.control("ASVS-15.4.2")
@pytest.mark.parametrize("alias", ["table", "files"])
def test_w008_a_cache_that_counts_in_two_steps(alias: str) -> None:
    the_one(found(RATE_LIMIT_CACHE=alias), "W008")


def test_w009_urls_that_anybody_may_call(good: Any) -> None:
    """The first few are named, the others counted."""
    good.ROOT_URLCONF = "tests.stories.host"
    message = the_one(found(), "W009")
    assert "/social-page/<str:pk>/ (social-page): anyone" in message.msg
    assert message.msg.endswith(", and 3 more.")
    assert "/plain-poll/" not in message.msg
    open_now = ["social", "social-page", "social-fails", "social-bare", "leave", "open", "plain"]
    message = the_one(found(OPEN_ROUTES=open_now), "W009")
    assert message.msg == "Open without a declaration: ANY /plain-poll/ (plain-poll): anyone."
    assert found(OPEN_ROUTES=[*open_now, "plain-poll"]) == []


def test_w009_a_urlconf_that_cannot_be_read(good: Any) -> None:
    """Whoever cannot see the doors cannot say that they are shut."""
    good.ROOT_URLCONF = "tests.no_such_module"
    assert "ModuleNotFoundError" in the_one(found(), "W009").msg


def test_every_id_has_a_test_of_its_own() -> None:
    """Checks of a slice are tested in its own folder, by the same names."""
    package, tests = Path(checks.__file__).parent, Path(__file__).parent
    source = "\n".join(page.read_text(encoding="utf-8") for page in sorted(package.rglob("checks.py")))
    used = {
        f"test_{kind[0]}{int(number):03d}" for kind, number in re.findall(r"\b(error|info|warning)\(\s*(\d+),", source)
    }
    shown = "\n".join(page.read_text(encoding="utf-8") for page in sorted(tests.rglob("test_checks.py")))
    assert len(used) > 15
    assert used == {name[:9] for name in re.findall(r"^def (test_[eiw]\d{3}_)", shown, re.MULTILINE)}


def test_several_faults_are_told_together(good: Any) -> None:
    good.MIDDLEWARE = []
    changes: dict[str, Any] = {"OTP_POLICY": "never", "BASE_URL": None, "STATE_CACHE": "nowhere"}
    ids = [message.id for message in found(**changes)]
    expected = ["E005", "E010", "W010", "E012", "W005", "W007"]
    assert ids == [f"secure_auth.{one}" for one in expected]


def test_w084_a_geoip_file_that_is_not_there(tmp_path: Path) -> None:
    the_one(found(GEOIP_FILE=str(tmp_path / "nowhere.mmdb")), "W084")
    assert found(GEOIP_FILE=geoip_file(tmp_path, {"192.0.2.0/24": LYON})) == []


@pytest.mark.control("ASVS-15.2.1")
def test_w085_a_series_of_django_that_is_not_supported_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    series = django.VERSION[:2]
    monkeypatch.setitem(checks._END_OF_SUPPORT, series, date(2026, 1, 1))
    assert "2026-01-01" in the_one(found(), "W085").msg
    monkeypatch.setitem(checks._END_OF_SUPPORT, series, date(2999, 1, 1))
    assert found() == []
    monkeypatch.delitem(checks._END_OF_SUPPORT, series)  # a newer one, of which this release knows nothing
    assert found() == []


@pytest.mark.control("ASVS-14.2.2")
@pytest.mark.parametrize(
    ("version", "keeps"),
    [((5, 2, 0), True), ((5, 2, 14), True), ((5, 2, 15), False), ((6, 0, 0), False)],
)
def test_w087_a_cache_of_pages_that_keeps_what_must_not_be_stored(
    version: tuple[int, ...], keeps: bool, good: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(django, "VERSION", (*version, "final", 0))
    assert found() == []
    good.MIDDLEWARE = [*good.MIDDLEWARE, checks.MIDDLEWARE_CACHE, "django.middleware.cache.FetchFromCacheMiddleware"]
    messages = found()
    assert [one.id for one in messages] == ["secure_auth.W087"] * keeps
    assert all(".".join(map(str, version)) in one.msg for one in messages)
