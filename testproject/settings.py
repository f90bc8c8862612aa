"""Settings of the example project, from the environment; `.env` is read, `.env.example` lists all."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import django
import environ
from corsheaders.defaults import default_headers

from django_secure_auth.kit.json_log import logging_preset
from django_secure_auth.passwords import presets
from testproject.environment import key_pairs, refuse_incomplete

ROOT = Path(__file__).resolve().parent.parent
env = environ.Env()
env.read_env(ROOT / ".env")

DEBUG = env.bool("DEBUG", default=True)
if not DEBUG:
    refuse_incomplete(os.environ)

# The key of a development machine. In production `refuse_incomplete` has asked for a real one.
SECRET_KEY = env.str("SECRET_KEY", default="django-insecure-for-development-on-this-machine-only")
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
ROOT_URLCONF = "testproject.urls"
ADMIN_PATH = env.str("ADMIN_PATH", default="admin/")
WSGI_APPLICATION = "testproject.wsgi.application"
ASGI_APPLICATION = "testproject.asgi.application"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django_secure_auth.apps.SecureAdminConfig",  # in the place of django.contrib.admin: staff need a code
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "corsheaders",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # the viewer's files: nothing is loaded from another site
    "django_secure_auth",
    "testproject",
    "testproject.notes",
    "testproject.reports",
]

MIDDLEWARE = [
    "django_secure_auth.headers.middleware.SecurityHeadersMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_secure_auth.sessions.middleware.IdleTimeoutMiddleware",
]

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

DATABASES = {"default": env.db_url("DATABASE_URL", default=f"sqlite:///{ROOT / 'db.sqlite3'}")}
_database: dict[str, Any] = DATABASES["default"]
if _database["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE: a transaction that reads and then writes waits for its turn instead of failing as "locked".
    _database["OPTIONS"] = {"timeout": 20, "transaction_mode": "IMMEDIATE"}
elif _database["ENGINE"].endswith("mysql"):
    import pymysql

    pymysql.version_info = (2, 2, 7, "final", 0)  # Django asks for a mysqlclient of at least this version
    pymysql.install_as_MySQLdb()

CACHES: dict[str, dict[str, Any]] = {"default": env.cache_url("CACHE_URL", default="locmemcache://")}
if CACHES["default"]["BACKEND"].endswith("RedisCache"):
    # A server that hangs must not hold up every request: what it knows, the database knows too.
    CACHES["default"].setdefault("OPTIONS", {}).update({"socket_connect_timeout": 1, "socket_timeout": 1})

_mail = env.email_url("EMAIL_URL", default="consolemail://")
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="no-reply@example.com")
_MAIL_TIMEOUT = 10  # seconds; below the time after which another worker takes a mail over
CODES_IN_CONSOLE = DEBUG and _mail["EMAIL_BACKEND"].endswith("console.EmailBackend")  # what the demo tells people
if django.VERSION >= (6, 1):
    _smtp = {
        "host": _mail.get("EMAIL_HOST"),
        "port": _mail.get("EMAIL_PORT"),
        "username": _mail.get("EMAIL_HOST_USER"),
        "password": _mail.get("EMAIL_HOST_PASSWORD"),
        "use_tls": _mail.get("EMAIL_USE_TLS", False),
        "use_ssl": _mail.get("EMAIL_USE_SSL", False),
        "timeout": _MAIL_TIMEOUT,
    }
    _options = {"smtp": _smtp, "filebased": {"file_path": _mail.get("EMAIL_FILE_PATH")}}
    _kind = _mail["EMAIL_BACKEND"].split(".")[-2]
    MAILERS: dict[str, Any] = {"default": {"BACKEND": _mail["EMAIL_BACKEND"], "OPTIONS": _options.get(_kind, {})}}
else:
    globals().update({name: value for name, value in _mail.items() if name.startswith("EMAIL_")})
    EMAIL_TIMEOUT = _MAIL_TIMEOUT

# Without a broker, tasks run in process: nothing but Python is needed to try everything.
CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default="")
CELERY_TASK_ALWAYS_EAGER = not CELERY_BROKER_URL
CELERY_RESULT_BACKEND = env.str("CELERY_RESULT_BACKEND", default="") or None
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
# Projects that share a broker's database or virtual host each need a queue of their own.
CELERY_TASK_DEFAULT_QUEUE = env.str("CELERY_TASK_DEFAULT_QUEUE", default="celery")
CELERY_BROKER_CONNECTION_TIMEOUT = 2
if CELERY_BROKER_URL.startswith("redis"):
    # Redis gives the task of a worker that died to another one only after this time.
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": env.int("CELERY_VISIBILITY_TIMEOUT", default=60),
        # Look for such tasks every ten seconds, not at every tenth look only: a code lives five minutes.
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 2,
        "socket_timeout": 3,  # longer than the second for which a worker waits at a time
    }
elif CELERY_BROKER_URL:
    # Without the broker's receipt, a message that was written to a dying connection is lost in silence.
    CELERY_BROKER_TRANSPORT_OPTIONS = {"confirm_publish": True}

# `celery --app testproject beat` runs these, beside the worker.
CELERY_BEAT_SCHEDULE = {
    "seal": {"task": "django_secure_auth.tasks.seal", "schedule": timedelta(hours=1)},
    "purge": {"task": "django_secure_auth.tasks.purge", "schedule": timedelta(days=1)},
}

PASSWORD_HASHERS = presets.PASSWORD_HASHERS
AUTH_PASSWORD_VALIDATORS = presets.AUTH_PASSWORD_VALIDATORS

# Pages of other origins that may call the API with their visitors' cookies. Our cookies are SameSite: an origin of
# another site gets none, a sibling sub-domain does.
CORS_ALLOWED_ORIGINS = env.list("CORS_ALLOWED_ORIGINS", default=[])
CORS_ALLOW_CREDENTIALS = True
CORS_URLS_REGEX = r"^/api/"
CORS_ALLOW_HEADERS = [*default_headers, "x-csrf-token", "x-api-key", "x-token-transport"]
CORS_EXPOSE_HEADERS = ["Retry-After", "RateLimit", "RateLimit-Policy"]

BASE_URL = env.str("BASE_URL", default="http://127.0.0.1:8000").rstrip("/")
DJANGO_SECURE_AUTH: dict[str, Any] = {
    "BASE_URL": BASE_URL,
    # Plain http on a development machine; refused when DEBUG is off.
    "COOKIE_SECURE": not DEBUG,
    "STATE_CACHE": env.str("STATE_CACHE", default="") or None,
    "TRUSTED_PROXIES": env.int("TRUSTED_PROXIES", default=0),
    # The pages that people sign in on and that mailed links lead to, their picture, and what describes the API;
    # `secure_auth_routes --fail-on-open` names any other.
    "OPEN_ROUTES": [
        "demo",
        "reset-password",
        "not-me",
        "undo-email",
        "icon",
        "/favicon.ico",
        "schema",
        "docs",
        "csp-report",
        "secure_auth_well_known:security-txt",
        "secure_auth_well_known:change-password",
    ],
    "SECURITY_TXT": {
        "contact": env.str("SECURITY_CONTACT", default="mailto:security@example.com"),
        "expires": datetime.now(UTC) + timedelta(days=180),  # a project of yours names a day, and keeps it
    },
    "CHANGE_PASSWORD_URL": "demo",
    "CSP_REPORT_PATH": "/csp-report/",
    # All that our pages show comes from here.
    "CROSS_ORIGIN_EMBEDDER_POLICY": "require-corp",
    # Who may read reports may let a program of theirs read them.
    "API_KEY_SCOPES": {"reports:read": "reports.view_report"},
}
if _signing := key_pairs(env.str("SECURE_AUTH_SIGNING_KEYS", default="")):
    DJANGO_SECURE_AUTH["SIGNING_KEYS"] = [{"kid": kid, "alg": "HS256", "key": key} for kid, key in _signing]
if _encryption := key_pairs(env.str("SECURE_AUTH_ENCRYPTION_KEYS", default="")):
    DJANGO_SECURE_AUTH["ENCRYPTION_KEYS"] = [{"kid": kid, "key": key} for kid, key in _encryption]

AUTHENTICATION_BACKENDS = [
    "django_secure_auth.rbac.backends.RoleBackend",
    "django.contrib.auth.backends.ModelBackend",
]
CSRF_HEADER_NAME = "HTTP_X_CSRF_TOKEN"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["django_secure_auth.tokens.authentication.JWTCookieAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    # DRF's own parsers read bodies of any size.
    "DEFAULT_PARSER_CLASSES": ["django_secure_auth.strict.parsers.StrictJSONParser"],
    "EXCEPTION_HANDLER": "django_secure_auth.problems.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "django_secure_auth.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "django-secure-auth, example project",
    "DESCRIPTION": "Sign in with `POST /api/auth/login/`, or send an API key. Errors are problem documents (RFC 9457).",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    # What a body may hold and what an answer holds are two things: read-only fields are refused, not ignored.
    "COMPONENT_SPLIT_REQUEST": True,
}
LOGGING = logging_preset()
# Django's own console handler is silent without DEBUG: a 500 must leave its traceback somewhere.
LOGGING["handlers"]["console"] = {"class": "logging.StreamHandler"}
LOGGING["loggers"]["django.request"] = {"handlers": ["console"], "level": "ERROR", "propagate": False}

if not DEBUG:
    CSRF_TRUSTED_ORIGINS = [BASE_URL, *CORS_ALLOWED_ORIGINS]
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    DJANGO_SECURE_AUTH["HTTPS_ONLY"] = env.bool("HTTPS_ONLY", default=True)
    if env.int("TRUSTED_PROXIES", default=0):
        SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SILENCED_SYSTEM_CHECKS = [
        "security.W004",  # SecurityHeadersMiddleware sends Strict-Transport-Security
        "security.W008",  # and HTTPS_ONLY redirects, pages only
    ]
