"""`python -m benchmarks.limits`: microseconds of one rate-limit check, ours and django-ratelimit's, on each cache.

The same question everywhere, "may this address call once more?", with room left, on warm connections, in one thread.
Local memory always; Redis and a table of PostgreSQL when both answer (`scripts/services start`).
"""

from __future__ import annotations

import os
import timeit
from collections.abc import Callable
from statistics import median
from typing import Any

import django
from django.conf import settings

from tests import reachable

ROUNDS, CALLS = 15, 200
RATE = "100000000/d"
CACHES: dict[str, dict[str, Any]] = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "redis": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"{reachable.url_of('redis')}/14"},
    "table": {
        "BACKEND": "django_secure_auth.ratelimit.backends.AtomicDatabaseCache",
        "LOCATION": "secure_auth_benchmark_limits",
    },
}


def configure() -> None:
    os.environ["DATABASE_URL"] = f"{reachable.url_of('postgres')}/postgres"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    settings.CACHES = CACHES
    django.setup()


def microseconds(action: Callable[[], object]) -> float:
    action()
    return median(timeit.repeat(action, number=CALLS, repeat=ROUNDS)) / CALLS * 1e6


if __name__ == "__main__":
    configure()

    from django.core.management import call_command
    from django.db import connection
    from django.test import RequestFactory, override_settings
    from django_ratelimit.core import is_ratelimited

    from django_secure_auth.kit.rate import Rate
    from django_secure_auth.ratelimit.policy import limit_of

    limit = limit_of(RATE, per="ip", methods=None, name="benchmark", fail_open=False)
    several = limit_of(f"{Rate.parse(RATE).limit - 1}/h, {RATE}", per="ip", methods=None, name="two", fail_open=False)
    request: Any = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1")

    chosen = ["default"] if reachable.why_not("redis") or reachable.why_not("postgres") else list(CACHES)
    for alias in chosen:
        if alias == "table":
            call_command("createcachetable", verbosity=0)
        ours = {"DJANGO_SECURE_AUTH": {"RATE_LIMIT_CACHE": alias}, "RATELIMIT_USE_CACHE": alias}
        with override_settings(**ours):
            rows: dict[str, Callable[[], object]] = {
                "rate_limit": lambda: limit.count(request, view="v"),
                "rate_limit, two windows": lambda: several.count(request, view="v"),
                "django-ratelimit": lambda: is_ratelimited(
                    request, group="b", key="ip", rate="100000000/d", increment=True
                ),
            }
            for name, action in rows.items():
                print(f"{alias:8} {name:38} {microseconds(action):7.0f} µs")
        if alias == "table":
            with connection.cursor() as cursor:
                cursor.execute("DROP TABLE secure_auth_benchmark_limits")
