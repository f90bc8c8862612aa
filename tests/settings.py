"""Settings of the suite: the smallest project that uses the package as its README says.

The environment turns it into other projects, so that the same tests run against them:

DATABASE_URL             default: SQLite in memory
DSA_TEST_DB_FILE         the SQLite test database is this file; default: one in the temporary folder for each process
CACHE_URL                default: local memory
DSA_STATE_CACHE          STATE_CACHE of the package, e.g. ``default``
DSA_USER_MODEL           default: ``auth.User``
DSA_EXTRA_APPS           comma-separated, e.g. the app of that user model
DSA_ATOMIC_REQUESTS      ``1``: every request is one transaction
DSA_PREFIX               where our URLs are mounted; default ``api/auth/``
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import django
import environ

env = environ.Env()

SECRET_KEY = "g7Qx-4mZr!vT2pLkW9sYc3Hn8BdJfU6eXaRtMqNzKwVyGhPbEo5CiAuSD1jF0l"
DEBUG = False
ALLOWED_HOSTS = ["testserver", "localhost", "127.0.0.1"]
ROOT_URLCONF = "tests.urls"
AUTH_USER_MODEL = env.str("DSA_USER_MODEL", default="auth.User")
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django_secure_auth.apps.SecureAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    *env.list("DSA_EXTRA_APPS", default=[]),
    "rest_framework",
    "django_secure_auth",
    "tests.host_app",
    "testproject.notes",
    "testproject.reports",
]

MIDDLEWARE = [
    "django_secure_auth.headers.middleware.SecurityHeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_secure_auth.sessions.middleware.IdleTimeoutMiddleware",
]

AUTHENTICATION_BACKENDS = [
    "django_secure_auth.rbac.backends.RoleBackend",
    "django.contrib.auth.backends.ModelBackend",
]
CSRF_HEADER_NAME = "HTTP_X_CSRF_TOKEN"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["django_secure_auth.tokens.authentication.JWTCookieAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "EXCEPTION_HANDLER": "django_secure_auth.problems.exception_handler",
}

DJANGO_SECURE_AUTH: dict[str, Any] = {}
if state_cache := env.str("DSA_STATE_CACHE", default=""):
    DJANGO_SECURE_AUTH["STATE_CACHE"] = state_cache

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": env.db_url("DATABASE_URL", default="sqlite://:memory:")}
database: dict[str, Any] = DATABASES["default"]
database["ATOMIC_REQUESTS"] = env.bool("DSA_ATOMIC_REQUESTS", default=False)
vendor = database["ENGINE"].rpartition(".")[2]
if vendor == "sqlite3":
    # IMMEDIATE: a transaction that reads and then writes waits for its turn instead of failing as "locked".
    # Without `synchronous` a test is not slowed down by a disk whose loss of power would cost it nothing; so below.
    database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA synchronous=OFF;",
    }
    # A file: threads of a live server would share the one connection of a database in memory, and never race.
    # Its name holds the process, and pytest-django adds the worker's, so that parallel runs do not meet.
    own_file = Path(tempfile.gettempdir()) / f"secure_auth_test_{os.getpid()}.sqlite3"
    database["TEST"] = {"NAME": env.str("DSA_TEST_DB_FILE", default=str(own_file))}
elif vendor == "postgresql":
    database["OPTIONS"] = {"options": "-c synchronous_commit=off"}
elif vendor == "mysql":
    import pymysql

    # Django asks for a mysqlclient of at least this version and gets the pure Python driver under its name.
    pymysql.version_info = (2, 2, 7, "final", 0)
    pymysql.install_as_MySQLdb()
    database["OPTIONS"] = {"charset": "utf8mb4"}
    database["TEST"] = {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"}

CACHES = {"default": env.cache_url("CACHE_URL", default="locmemcache://")}
DEFAULT_FROM_EMAIL = "no-reply@example.com"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
else:
    EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
# Hashing that is slow on purpose would be most of the suite's time; what depends on it overrides this.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
