"""Every dotted path that a project may write exists, and can be the first thing that it imports."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.dispatch import Signal
from django.utils.module_loading import import_string

import django_secure_auth
from django_secure_auth import signals

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = Path(django_secure_auth.__file__).parent

# Public, and as stable as docs/index.md says: a name may join, none may move or go.
PATHS = [
    "apikeys.authentication.APIKeyAuthentication",
    "accounts.models.AbstractEmailUser",
    "accounts.services.copy_cookies",
    "accounts.services.log_in",
    "accounts.services.log_out",
    "apps.SecureAdminConfig",
    "apps.SecureAuthConfig",
    "audit.models.SecurityEvent",
    "audit.security_logger",
    "decorators.requires",
    "headers.middleware.SecurityHeadersMiddleware",
    "kit.json_log.JSONFormatter",
    "kit.jwt.Key",
    "kit.jwt.KeyRing",
    "kit.jwt.TokenExpired",
    "kit.jwt.TokenInvalid",
    "kit.jwt.sign",
    "kit.jwt.verify",
    "kit.redact.redact_email",
    "kit.redact.redact_ip",
    "kit.redact.redact_jti",
    "kit.redact.redact_mapping",
    "openapi.AutoSchema",
    "otp.tasks.send_code",
    "ownership.admin.OwnedAdminMixin",
    "ownership.mixins.OwnedViewMixin",
    "ownership.permissions.IsOwner",
    "ownership.querysets.OwnedQuerySet",
    "problems.exception_handler",
    "ratelimit.backends.AtomicDatabaseCache",
    "rbac.backends.RoleBackend",
    "rbac.models.Role",
    "rbac.models.RoleAssignment",
    "rbac.permissions.ApprovedByEmail",
    "rbac.permissions.HasAnyRole",
    "rbac.permissions.HasPermission",
    "rbac.permissions.HasRole",
    "rbac.permissions.HasScope",
    "rbac.permissions.RecentlyAuthenticated",
    "rbac.services.grant",
    "rbac.services.has_role",
    "rbac.services.queryset_for",
    "rbac.services.revoke",
    "rbac.services.roles_of",
    "sessions.middleware.IdleTimeoutMiddleware",
    "signals.api_key_used_first",
    "signals.otp_approved",
    "signals.otp_sent",
    "signals.password_changed",
    "signals.refresh_reused",
    "signals.role_granted",
    "signals.role_revoked",
    "signals.session_ended",
    "signals.session_opened",
    "strict.SafeOrderingFilter",
    "strict.SafeOrderingQuerySet",
    "strict.StrictModelSerializer",
    "strict.StrictSerializer",
    "tasks.purge",
    "testing.assert_no_open_routes",
    "testing.latest_code",
    "testing.open_routes",
    "testing.sign_in",
    "tokens.authentication.JWTCookieAuthentication",
    "urls.urlpatterns",
]
KIT = sorted(
    f"django_secure_auth.kit.{path.stem}" for path in (PACKAGE / "kit").glob("*.py") if path.stem != "__init__"
)

SETTINGS = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="g7Qx-4mZr!vT2pLkW9sYc3Hn8BdJfU6eXaRtMqNzKwVyGhPbEo5CiAuSD1jF0l",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions", "rest_framework",
                    "django_secure_auth"],
    MIDDLEWARE=["django_secure_auth.headers.middleware.SecurityHeadersMiddleware",
                "django.contrib.sessions.middleware.SessionMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django_secure_auth.sessions.middleware.IdleTimeoutMiddleware"],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": ["django_secure_auth.tokens.authentication.JWTCookieAuthentication"],
        "DEFAULT_PERMISSION_CLASSES": ["django_secure_auth.rbac.permissions.RecentlyAuthenticated"],
        "EXCEPTION_HANDLER": "django_secure_auth.problems.exception_handler",
    },
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ROOT_URLCONF="django_secure_auth.urls",
)
django.setup()
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("path", PATHS)
def test_a_public_path_exists(path: str) -> None:
    assert import_string(f"django_secure_auth.{path}") is not None


def test_the_signals_are_signals() -> None:
    public = {name: value for name, value in vars(signals).items() if isinstance(value, Signal)}
    assert set(public) == {
        "session_opened", "session_ended", "otp_sent", "otp_approved", "password_changed", "refresh_reused",
        "api_key_used_first", "role_granted", "role_revoked", "security_event",
    }  # fmt: skip
    for name in public:
        assert f"| `{name}` |" in str(signals.__doc__)


def test_the_version_is_that_of_the_distribution() -> None:
    assert django_secure_auth.__version__.count(".") == 2


@pytest.mark.parametrize("module", KIT)
def test_the_kit_needs_no_django(module: str) -> None:
    code = f"""
        import {module}, sys
        for name in ("django", "rest_framework", "celery"):
            assert name not in sys.modules, name
    """
    done = python(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path",
    [
        "headers.middleware.SecurityHeadersMiddleware",
        "sessions.middleware.IdleTimeoutMiddleware",
        "tokens.authentication.JWTCookieAuthentication",
        "apikeys.authentication.APIKeyAuthentication",
        "problems.exception_handler",
        "rbac.permissions.RecentlyAuthenticated",
        "ownership.querysets.OwnedQuerySet",
        "ownership.mixins.OwnedViewMixin",
        "strict.SafeOrderingQuerySet",
        "rbac.backends.RoleBackend",
        "rbac.services.grant",
        "audit.security_logger",
        "urls.urlpatterns",
        "testing.sign_in",
        "decorators.requires",
    ],
)
def test_a_path_may_be_the_first_that_is_imported(path: str) -> None:
    """A project names them in settings: whichever is loaded first must not run into a circle."""
    code = f"""
        {textwrap.indent(SETTINGS, " " * 8).strip()}
        from django.utils.module_loading import import_string
        import_string("django_secure_auth.{path}")
        from rest_framework.settings import api_settings
        api_settings.DEFAULT_AUTHENTICATION_CLASSES, api_settings.DEFAULT_PERMISSION_CLASSES
        from django.core.handlers.wsgi import WSGIHandler
        WSGIHandler()
    """
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_the_formatter_can_stand_in_logging_before_anything_is_loaded() -> None:
    code = f"""
        {textwrap.indent(SETTINGS, " " * 8).strip()}
    """.replace(
        "SECRET_KEY=",
        'LOGGING={"version": 1, "formatters": {"json": {"()": "django_secure_auth.kit.json_log.JSONFormatter"}}},\n'
        "            SECRET_KEY=",
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_headers_and_problems_need_no_table() -> None:
    """House rule 6: a door would drag tables into a table-free import."""
    code = """
        from django.conf import settings
        import django, sys
        settings.configure(INSTALLED_APPS=[], SECRET_KEY="x")
        django.setup()
        import django_secure_auth.headers.middleware, django_secure_auth.ratelimit.counter
        tables = [name for name in sys.modules if name.startswith("django_secure_auth.") and name.endswith(".models")]
        assert not tables, tables
    """
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_the_doors_show_all_that_lies_behind_them() -> None:
    def of(door: str) -> Any:
        return import_string(f"django_secure_auth.{door}.__all__")

    assert set(of("models")) == {
        "APIKey", "AccountClosing", "AddressClaim", "AuditSeal", "CompromisedPassword", "Impersonation", "MailedLink",
        "OTPBudget", "OTPChallenge",
        "Role", "RoleAssignment", "RoleLink", "SecurityEvent", "Session", "TrustedDevice",
        "UserAccess",
    }  # fmt: skip
    assert set(of("tasks")) == {"purge", "seal", "send_code", "send_notice", "send_reset", "send_undo"}
    for door in ("models", "tasks", "admin"):
        for name in of(door):
            import_string(f"django_secure_auth.{door}.{name}")
