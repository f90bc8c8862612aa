"""System checks: a misconfiguration has an id, a message, a hint and a page. Ids are stable.

Errors (`E`) stop `check`, `migrate` and `runserver`; warnings (`W`) of a production kind run with `--deploy`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

import django
from celery import current_app
from django.apps import apps
from django.conf import settings as django_settings
from django.contrib.auth import get_backends, get_user_model
from django.core.cache import BaseCache, caches
from django.core.cache.backends.db import DatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage
from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.module_loading import import_string

from django_secure_auth.accounts.serializers import identity_fields
from django_secure_auth.conf import conf, declared, shared_keys
from django_secure_auth.doctor.checks import find_checklist
from django_secure_auth.findings import error, info, warning
from django_secure_auth.headers.checks import find_cors, find_hsts, find_other_sites, find_transport
from django_secure_auth.headers.cross_site import reason_of
from django_secure_auth.headers.policy import changes_of
from django_secure_auth.kit import places
from django_secure_auth.kit.keys import is_weak_secret
from django_secure_auth.mail import uses_celery
from django_secure_auth.ownership.policy import rule_of
from django_secure_auth.passwords.checks import find_weak_rules
from django_secure_auth.ratelimit.backends import AtomicDatabaseCache
from django_secure_auth.ratelimit.checks import find_dangerous_limits, find_dangerous_policies
from django_secure_auth.rbac.backends import RoleBackend
from django_secure_auth.routes import open_routes, views

MIDDLEWARE_HEADERS = "django_secure_auth.headers.middleware.SecurityHeadersMiddleware"
MIDDLEWARE_IDLE = "django_secure_auth.sessions.middleware.IdleTimeoutMiddleware"
MIDDLEWARE_AUTH = "django.contrib.auth.middleware.AuthenticationMiddleware"
MIDDLEWARE_CACHE = "django.middleware.cache.UpdateCacheMiddleware"
MIDDLEWARE_CSRF = "django.middleware.csrf.CsrfViewMiddleware"
AUTH_API_KEY = "django_secure_auth.apikeys.authentication.APIKeyAuthentication"
ADMIN_SITE = "django_secure_auth.staff.admin.SecureAdminSite"  # a name: who has no admin does not load it
_MIN_SECRET = 32


def check_settings(**_: Any) -> list[CheckMessage]:
    """E001 to E002: misspelt and ill-typed settings."""
    found: list[CheckMessage] = []
    configured = getattr(django_settings, "DJANGO_SECURE_AUTH", None)
    if configured is None:
        return found
    if not isinstance(configured, Mapping):
        return [error(2, "DJANGO_SECURE_AUTH must be a dict.", "Write DJANGO_SECURE_AUTH = {'OTP_POLICY': 'always'}.")]
    known = {setting.name: setting for setting in declared()}
    for name, value in configured.items():
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            guess = f"Did you mean {near[0]!r}? " if near else ""
            hint = f"{guess}The settings are: {', '.join(sorted(known))}."
            found.append(error(1, f"DJANGO_SECURE_AUTH has no setting {name!r}.", hint))
            continue
        complaint = known[name].judge(value)
        if complaint:
            found.append(error(2, f"DJANGO_SECURE_AUTH[{name!r}] {complaint}", known[name].text))
    return found


def _if_settings_hold(check: Callable[[], Iterable[CheckMessage]]) -> Callable[..., list[CheckMessage]]:
    """Other checks read settings; an ill-typed one has its own message, which must not be buried in a traceback."""

    def run(**_: Any) -> list[CheckMessage]:
        return [] if check_settings() else list(check())

    run.__doc__ = check.__doc__
    return run


def _cache(alias: str | None) -> BaseCache | None:
    return caches[alias] if alias in django_settings.CACHES else None  # E005 names an alias that is not there


def _find_combinations() -> Iterable[CheckMessage]:
    """E003 to E009, E013: settings that contradict each other or the project."""
    if not conf.COOKIE_SECURE and not django_settings.DEBUG:
        yield error(
            3,
            "COOKIE_SECURE is False and DEBUG is off: session cookies would travel in clear.",
            "Serve over https and remove COOKIE_SECURE.",
        )
    pairs = (
        ("SESSION_IDLE_TIMEOUT", "SESSION_ABSOLUTE_TIMEOUT"),
        ("REMEMBER_IDLE_TIMEOUT", "REMEMBER_ABSOLUTE_TIMEOUT"),
        ("ACTIVITY_INTERVAL", "SESSION_IDLE_TIMEOUT"),
        ("STEP_UP_MAX_AGE", "SESSION_IDLE_TIMEOUT"),
        ("ACCESS_TOKEN_TTL", "SESSION_ABSOLUTE_TIMEOUT"),
    )
    for shorter, longer in pairs:
        if getattr(conf, shorter) > getattr(conf, longer):
            yield error(4, f"{shorter} is longer than {longer}.", f"Make {shorter} at most as long as {longer}.")
    for name in ("STATE_CACHE", "RATE_LIMIT_CACHE"):
        alias = getattr(conf, name)
        if alias is not None and alias not in django_settings.CACHES:
            yield error(
                5,
                f"{name} names the cache {alias!r}, which CACHES does not have.",
                "Add it to CACHES, or name another.",
            )
    if isinstance(_cache(conf.STATE_CACHE), LocMemCache):
        yield error(
            6,
            "STATE_CACHE is a local-memory cache: each process has its own, and a revocation would reach one of them.",
            "Name a shared cache (Redis, Memcached, database), or leave STATE_CACHE unset.",
        )
    if isinstance(_cache(conf.RATE_LIMIT_CACHE), DummyCache):
        yield error(
            7, "RATE_LIMIT_CACHE is a dummy cache, which counts nothing.", "Name a cache that keeps what it is told."
        )
    both = shared_keys(conf.SIGNING_KEYS or (), conf.ENCRYPTION_KEYS or ())
    if both:
        yield error(
            13,
            f"SIGNING_KEYS and ENCRYPTION_KEYS hold the same key: {', '.join(both)}.",
            "Make another for one of them: a key has one purpose.",
        )
    yield from _find_user_model()


def _find_user_model() -> Iterable[CheckMessage]:
    model = get_user_model()
    try:
        model._meta.get_field(model.get_email_field_name())
    except FieldDoesNotExist:
        yield error(
            8,
            f"The user model {model._meta.label} has no e-mail field.",
            "Add one and name it in EMAIL_FIELD, or start from accounts.models.AbstractEmailUser.",
        )
    named = sorted(identity_fields(model).intersection(conf.PROFILE_FIELDS))
    if named:
        yield error(
            9,
            f"PROFILE_FIELDS names what the users of {model._meta.label} are known by: {', '.join(named)}.",
            "Remove it: what somebody signs in with is no profile. The endpoint leaves it out.",
        )


def _find_installation() -> Iterable[CheckMessage]:
    """E010 to E012, W010 to W014, W020: what the quick start installs."""
    middleware = list(django_settings.MIDDLEWARE)
    if MIDDLEWARE_IDLE not in middleware:
        yield error(
            10,
            "IdleTimeoutMiddleware is not installed: Django sessions do not time out, and events of rolled-back "
            "requests are lost.",
            f"Add {MIDDLEWARE_IDLE!r} to MIDDLEWARE, after Django's authentication.",
        )
    elif MIDDLEWARE_AUTH in middleware and middleware.index(MIDDLEWARE_IDLE) < middleware.index(MIDDLEWARE_AUTH):
        yield error(
            11,
            "IdleTimeoutMiddleware stands before Django's authentication.",
            "Move it behind AuthenticationMiddleware.",
        )
    if MIDDLEWARE_HEADERS not in middleware:
        yield warning(
            10, "SecurityHeadersMiddleware is not installed.", f"Put {MIDDLEWARE_HEADERS!r} first in MIDDLEWARE."
        )
    elif middleware[0] != MIDDLEWARE_HEADERS:
        yield warning(
            11,
            "SecurityHeadersMiddleware is not the first: answers of the middleware before it go without headers.",
            "Put it first in MIDDLEWARE.",
        )
    if MIDDLEWARE_CSRF not in middleware:
        yield error(
            12,
            "CsrfViewMiddleware is not installed: no browser ever gets a CSRF token, so nobody can sign in.",
            f"Add {MIDDLEWARE_CSRF!r} to MIDDLEWARE.",
        )
    handler = getattr(django_settings, "REST_FRAMEWORK", {}).get("EXCEPTION_HANDLER")
    if handler != "django_secure_auth.problems.exception_handler":
        yield warning(
            12,
            "REST_FRAMEWORK['EXCEPTION_HANDLER'] is not ours: your own views answer errors in another shape.",
            "Set it to 'django_secure_auth.problems.exception_handler'.",
        )
    if not any(isinstance(backend, RoleBackend) for backend in get_backends()):
        yield warning(
            14,
            "RoleBackend is not installed: user.has_perm(), DRF's model permissions, templates and the admin do not "
            "see roles.",
            "Put 'django_secure_auth.rbac.backends.RoleBackend' first in AUTHENTICATION_BACKENDS.",
        )
    if apps.is_installed("django.contrib.admin") and not _admin_asks_for_codes():
        yield warning(
            13,
            "Staff sign in to Django's admin with a password alone.",
            "Replace 'django.contrib.admin' in INSTALLED_APPS by 'django_secure_auth.apps.SecureAdminConfig'.",
        )
    classes = getattr(django_settings, "REST_FRAMEWORK", {}).get("DEFAULT_AUTHENTICATION_CLASSES", ())
    if AUTH_API_KEY in classes:
        yield warning(
            20,
            "APIKeyAuthentication is a default authentication class: every view of the project takes API keys, also "
            "those that have no scope.",
            "Name it in the authentication_classes of the views that programs may use, and HasScope beside it.",
        )


def _admin_asks_for_codes() -> bool:
    site = getattr(apps.get_app_config("admin"), "default_site", "django.contrib.admin.sites.AdminSite")
    return issubclass(import_string(site), import_string(ADMIN_SITE))


def _find_owners() -> Iterable[CheckMessage]:
    """E030: a model whose way to its owner leads nowhere."""
    for model in apps.get_models():
        try:
            rule_of(model)
        except ImproperlyConfigured as mistake:
            yield error(
                30,
                str(mistake),
                'Name foreign keys up to the user model, such as "owner" or "project__owner".',
            )


def _find_production() -> Iterable[CheckMessage]:
    """W001 to W008, W084 to W087, with `--deploy`: safe to try, not yet to serve."""
    if conf.SIGNING_KEYS is None or conf.ENCRYPTION_KEYS is None:
        yield warning(
            1,
            "Keys are derived from SECRET_KEY.",
            "`manage.py secure_auth_keys rotate`, and again with --encryption, prints a new key for SIGNING_KEYS and "
            "ENCRYPTION_KEYS, and the derived ones: keep these behind it for a while, or everybody is signed out.",
        )
    for secret in (django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS):
        if len(secret) < _MIN_SECRET or is_weak_secret(force_bytes(secret)):
            yield warning(
                2,
                "SECRET_KEY or one of its fallbacks is short or well known.",
                "Make one: `secrets.token_urlsafe(50)`.",
            )
            break
    if not uses_celery() or current_app.conf.task_always_eager:
        yield warning(
            3,
            "Mail is sent in process: a slow mail server holds up sign-in, and nothing is tried again.",
            "Configure a broker for Celery, or set MAIL_DELIVERY to 'inline' and silence this check.",
        )
    if isinstance(_cache(conf.RATE_LIMIT_CACHE), LocMemCache):
        yield warning(
            4,
            "RATE_LIMIT_CACHE is local memory: each worker process has limits of its own, and a few hundred other "
            "entries push a counter out.",
            "Name a shared cache, such as Redis.",
        )
    counts = _cache(conf.RATE_LIMIT_CACHE)
    if isinstance(counts, DatabaseCache | FileBasedCache) and not isinstance(counts, AtomicDatabaseCache):
        yield warning(
            8,
            "RATE_LIMIT_CACHE counts in two steps: parallel attempts can pass a limit.",
            "Name a cache whose increments are atomic: Redis, Memcached, or ratelimit.backends.AtomicDatabaseCache.",
        )
    if conf.BASE_URL is None:
        yield warning(5, "BASE_URL is not set: mails do not name your site.", "Set BASE_URL = 'https://example.com'.")
    elif urlsplit(conf.BASE_URL).scheme != "https":
        yield warning(
            86,
            "BASE_URL is not https: a mailed link, with what it may do, would travel in clear.",
            "Set BASE_URL = 'https://example.com'.",
        )
    if not conf.TRUSTED_PROXIES and "HTTP_X_FORWARDED_PROTO" in (
        getattr(django_settings, "SECURE_PROXY_SSL_HEADER", None) or ()
    ):
        yield warning(
            6,
            "The site is behind a proxy (SECURE_PROXY_SSL_HEADER), but TRUSTED_PROXIES is 0: every caller has the "
            "proxy's address, and shares its limits.",
            "Set TRUSTED_PROXIES to the proxies' networks.",
        )
    if conf.OTP_POLICY == "never":
        yield warning(
            7, "OTP_POLICY is 'never': a password alone signs in from any device.", "Use 'new_device' or 'always'."
        )
    yield from _find_places()
    yield from _find_old_django(timezone.localdate())
    yield from _find_site_cache()


_NAMED_AT_MOST = 5


# Source: djangoproject.com/download, "Supported Versions": the end of extended support. Revised with each series.
_END_OF_SUPPORT = {(5, 2): date(2028, 4, 30), (6, 0): date(2027, 4, 30), (6, 1): date(2027, 12, 31)}


def _find_old_django(today: date) -> Iterable[CheckMessage]:
    until = _END_OF_SUPPORT.get(django.VERSION[:2])
    if until is not None and today > until:
        yield warning(
            85,
            f"Django {django.get_version()} has had no security fixes since {until}.",
            "Move to a series that is supported.",
        )


# From here on Django's cache of pages honours `no-store`; before, `private` alone counted.
HONOURS_NO_STORE = (5, 2, 15)


def _find_site_cache() -> Iterable[CheckMessage]:
    if MIDDLEWARE_CACHE not in django_settings.MIDDLEWARE:
        return
    if django.VERSION[:3] < HONOURS_NO_STORE:
        yield warning(
            87,
            f"UpdateCacheMiddleware of Django {'.'.join(map(str, django.VERSION[:3]))} keeps what says `no-store`: "
            "whoever was signed out can still read it.",
            "Update Django, or remove the middleware and cache views one by one.",
        )


def _find_places() -> Iterable[CheckMessage]:
    complaint = places.complaint_about(conf.GEOIP_FILE) if conf.GEOIP_FILE is not None else None
    if complaint is not None:
        yield warning(
            84,
            f"GEOIP_FILE cannot be read, and mails and lists show no places: {complaint}.",
            "Bring a file in MaxMind's format, and the extra `places`; or remove GEOIP_FILE.",
        )


def _find_open_routes() -> Iterable[CheckMessage]:
    """W009, with `--deploy`: URLs that anybody may call and that nobody has declared open."""
    found = open_routes()
    if found:
        more = f", and {len(found) - _NAMED_AT_MOST} more" if len(found) > _NAMED_AT_MOST else ""
        yield warning(
            9,
            f"Open without a declaration: {'; '.join(map(str, found[:_NAMED_AT_MOST]))}{more}.",
            "Guard them, or name what is meant to be open in OPEN_ROUTES. `manage.py secure_auth_routes` shows all.",
        )


def _find_loosened() -> Iterable[CheckMessage]:
    """I051 and I052, with `--deploy`: views that allow more than their profile. To know, not to mend."""
    for path, view in views():
        changes = changes_of(view)
        if changes.loosens:
            yield info(
                51,
                f"{path} loosens {', '.join(changes.loosens)}: {changes.because}",
                "Nothing, when the reason still holds.",
            )
        reason = reason_of(view)
        if reason is not None:
            yield info(
                52, f"{path} may be called by pages of every site: {reason}", "Nothing, when the reason still holds."
            )


# Each with whether it is for `--deploy` alone.
run_checks: tuple[tuple[Callable[..., list[CheckMessage]], bool], ...] = (
    (check_settings, False),
    (check_combinations := _if_settings_hold(_find_combinations), False),
    (check_installation := _if_settings_hold(_find_installation), False),
    (check_owners := _if_settings_hold(_find_owners), False),
    (check_production := _if_settings_hold(_find_production), True),
    (check_routes := _if_settings_hold(_find_open_routes), True),
    (check_cors := _if_settings_hold(find_cors), False),
    (check_transport := _if_settings_hold(find_transport), False),
    (check_other_sites := _if_settings_hold(find_other_sites), True),
    (check_hsts := _if_settings_hold(find_hsts), True),
    (check_loosened := _if_settings_hold(_find_loosened), True),
    (check_limits := _if_settings_hold(find_dangerous_limits), False),
    (check_limit_policies := _if_settings_hold(find_dangerous_policies), True),
    (check_checklist := _if_settings_hold(find_checklist), True),
    (check_password_rules := _if_settings_hold(find_weak_rules), True),
)
