"""Settings of one worker or server, from the environment: BENCH_SETUP, BENCH_DATABASE, BENCH_REDIS, BENCH_PREFIX.

All set-ups have the middleware of a new Django project and the same view; what one of them needs beyond that is in
`setups.py`. Connections stay open, as they do in production.
"""

from __future__ import annotations

import os
from typing import Any

from benchmarks.setups import BY_NAME, OURS

_setup = BY_NAME[os.environ["BENCH_SETUP"]]
_database = os.environ.get("BENCH_DATABASE", ":memory:")
_redis = os.environ.get("BENCH_REDIS", "")
_is_ours = _setup.authentication == OURS

SECRET_KEY = "k3Vw-8pQz!nT5xLdR1sYc7Hm4BgJfU2eXaWtMqZzKvGyPhbEo9CiAuSD6jF0l"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
ROOT_URLCONF = "benchmarks.urls"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
PASSWORD_HASHERS = ["benchmarks.hashers.FreeHasher"]

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "rest_framework",
    *_setup.apps,
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]

REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [_setup.authentication] if _setup.authentication else [],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated" if _setup.authentication else "rest_framework.permissions.AllowAny"
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}

if _is_ours:
    # As its README says: two middlewares, the handler of problem documents, the JSON log lines, the limits (high enough
    # that the benchmark does not meet them: they are counted all the same).
    from django_secure_auth.kit.json_log import logging_preset

    MIDDLEWARE = [
        "django_secure_auth.headers.middleware.SecurityHeadersMiddleware",
        *MIDDLEWARE,
        "django_secure_auth.sessions.middleware.IdleTimeoutMiddleware",
    ]
    REST_FRAMEWORK["EXCEPTION_HANDLER"] = "django_secure_auth.problems.exception_handler"
    LOGGING = logging_preset()
    _limits = ("login_account", "login_device", "login_address", "login_password", "login_site", "otp", "refresh")
    DJANGO_SECURE_AUTH: dict[str, Any] = {
        "RATE_LIMITS": dict.fromkeys(_limits, "100000000/15m"),
        "MAIL_DELIVERY": "inline",
        **_setup.package,
    }

if _database.startswith("postgres"):
    from urllib.parse import unquote, urlsplit

    _parts = urlsplit(_database)
    DATABASES: dict[str, Any] = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": _parts.path.strip("/"),
            "USER": unquote(_parts.username or ""),
            "PASSWORD": unquote(_parts.password or ""),
            "HOST": _parts.hostname or "",
            "PORT": _parts.port or "",
            "CONN_MAX_AGE": None,
        }
    }
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": _database,
            "CONN_MAX_AGE": None,
            "OPTIONS": {
                "timeout": 30,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }

CACHES: dict[str, Any] = {
    "default": {
        "BACKEND": f"django.core.cache.backends.{'redis.RedisCache' if _redis else 'locmem.LocMemCache'}",
        "LOCATION": _redis or "benchmarks",
        # Copies of one set-up's sessions are of no use to another's, and must not be found by it.
        "KEY_PREFIX": f"{os.environ.get('BENCH_PREFIX', 'bench')}:{_setup.name}",
    }
}
if not _redis:
    CACHES["default"]["OPTIONS"] = {"MAX_ENTRIES": 100_000}

globals().update(_setup.settings)
