"""The ways of signing in that are compared. Data only: read by the parent and by the settings of the workers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

SESSION = "rest_framework.authentication.SessionAuthentication"
SIMPLEJWT = "rest_framework_simplejwt.authentication.JWTAuthentication"
SIMPLEJWT_STATELESS = "rest_framework_simplejwt.authentication.JWTStatelessUserAuthentication"
KNOX = "knox.auth.TokenAuthentication"
OURS = "django_secure_auth.tokens.authentication.JWTCookieAuthentication"

_ROTATION = {"SIMPLE_JWT": {"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True}}
_BLACKLIST = ("rest_framework_simplejwt", "rest_framework_simplejwt.token_blacklist")


@dataclass(frozen=True)
class Setup:
    """`kind` decides how a client signs in and what it carries (`ways.py`); `rows` where this set-up is measured."""

    name: str
    label: str
    kind: str
    rows: frozenset[str]
    authentication: str = ""
    apps: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    package: dict[str, Any] = field(default_factory=dict)
    access: str = ""
    """Whose means `access.py` uses."""


def _rows(*names: str) -> frozenset[str]:
    return frozenset(names)


_REQUEST = ("request", "http")
_CACHED_DB = {"SESSION_ENGINE": "django.contrib.sessions.backends.cached_db"}


def _backend(*names: str) -> dict[str, Any]:
    return {"AUTHENTICATION_BACKENDS": [*names, "django.contrib.auth.backends.ModelBackend"]}


_ROLES = _backend("django_secure_auth.rbac.backends.RoleBackend")

SETUPS = (
    Setup("plain", "plain DRF view, no authentication", "plain", _rows(*_REQUEST, "startup", "access")),
    Setup(
        "session_db", "Django session, `db`", "session", _rows(*_REQUEST, "sign_in"), SESSION,
        settings={"SESSION_ENGINE": "django.contrib.sessions.backends.db"},
    ),
    Setup(
        "session_cached_db", "Django session, `cached_db`", "session", _rows(*_REQUEST, "sign_in"), SESSION,
        settings=_CACHED_DB,
    ),
    Setup(
        "session_cache", "Django session, `cache`", "session", _rows(*_REQUEST), SESSION,
        settings={"SESSION_ENGINE": "django.contrib.sessions.backends.cache"},
    ),
    Setup(
        "simplejwt", "simplejwt, user from the database", "simplejwt",
        _rows(*_REQUEST, "sign_in", "refresh", "race", "startup"), SIMPLEJWT, _BLACKLIST, _ROTATION,
    ),
    Setup(
        "simplejwt_stateless", "simplejwt, stateless", "simplejwt", _rows(*_REQUEST), SIMPLEJWT_STATELESS, _BLACKLIST,
        _ROTATION,
    ),
    Setup(
        "simplejwt_bare", "simplejwt without the blacklist app", "simplejwt", _rows("sign_in"), SIMPLEJWT,
        ("rest_framework_simplejwt",),
    ),
    Setup("knox", "knox", "knox", _rows(*_REQUEST, "sign_in", "startup"), KNOX, ("knox",)),
    Setup(
        "ours", "**ours**, default", "ours", _rows(*_REQUEST, "sign_in", "refresh", "race", "startup"), OURS,
        ("django_secure_auth",),
    ),
    Setup(
        "ours_state_cache", "**ours**, `STATE_CACHE`", "ours", _rows(*_REQUEST, "sign_in", "refresh", "race"), OURS,
        ("django_secure_auth",), package={"STATE_CACHE": "default"},
    ),
    Setup(
        "ours_state_max_age", "**ours**, `STATE_CACHE`, `STATE_MAX_AGE` 1 s", "ours", _rows(*_REQUEST), OURS,
        ("django_secure_auth",), package={"STATE_CACHE": "default", "STATE_MAX_AGE": timedelta(seconds=1)},
    ),
    Setup(
        "groups", "Django's groups and permissions", "session", _rows("access"), SESSION, settings=_CACHED_DB,
        access="groups",
    ),
    Setup(
        "rules", "rules", "session", _rows("access"), SESSION, ("rules",),
        _CACHED_DB | _backend("rules.permissions.ObjectPermissionBackend"), access="rules",
    ),
    Setup(
        "guardian", "django-guardian", "session", _rows("access"), SESSION, ("guardian",),
        _CACHED_DB | _backend("guardian.backends.ObjectPermissionBackend"), access="guardian",
    ),
    Setup(
        "api_key", "djangorestframework-api-key", "plain", _rows("access"), apps=("rest_framework_api_key",),
        access="api_key",
    ),
    Setup(
        "ours_roles", "**ours**, default", "ours", _rows("access"), OURS, ("django_secure_auth",), _ROLES,
        access="ours",
    ),
    Setup(
        "ours_roles_state_cache", "**ours**, `STATE_CACHE`", "ours", _rows("access"), OURS, ("django_secure_auth",),
        _ROLES, {"STATE_CACHE": "default"}, access="ours",
    ),
)  # fmt: skip

# Has the tables of all: migrates the database that the others share.
EVERYTHING = Setup(
    "everything", "", "ours", frozenset(), OURS,
    ("knox", *_BLACKLIST, "guardian", "rest_framework_api_key", "django_secure_auth"),
)  # fmt: skip

BY_NAME = {setup.name: setup for setup in (*SETUPS, EVERYTHING)}

STORES = {"local": "SQLite + local memory", "served": "PostgreSQL + Redis"}
USERS = 120
"""Users of each set-up. They are made before the first measurement, with one and the same password."""
PASSWORD = "a long enough passphrase"
PERMITTED = 100
"""Objects that the list of `access.py` finds, whatever the table holds."""


def of_row(row: str, only: Iterable[str] = ()) -> list[Setup]:
    """The set-ups of a row; plain stays in whatever else is left out, as the others are compared with it."""
    chosen = set(only)
    return [setup for setup in SETUPS if row in setup.rows and (not chosen or setup.name in {*chosen, "plain"})]
