"""Exactly N, however many threads of however many processes call at once: on Redis, and on a database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import connection

from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit.services import LimitReached, reserve_at
from tests.races.browser import in_threads, let_go
from tests.reachable import ROOT

OURS = "django_secure_auth.ratelimit.backends.AtomicDatabaseCache"
REDIS_DATABASE = 13
TABLE = "limits_of_processes"


def run(cache: dict[str, Any], environment: dict[str, str], *, processes: int = 2, **told: Any) -> dict[str, int]:
    """Start the processes, let them begin at the same moment, and add up what they say."""
    environment = {**os.environ, **environment}
    everything = {"cache": cache, "rate": "50/h", "threads": 64, "calls": 2, **told}
    everything.setdefault("at_a_time", everything["threads"])
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.ratelimit.at_once", json.dumps(everything)],
            cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(processes)
    ]  # fmt: skip
    total = {"passed": 0, "refused": 0}
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1][-3000:]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in started:
        out, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors[-3000:]
        for name, number in json.loads(out.splitlines()[-1]).items():
            total[name] += number
    assert sum(total.values()) == processes * everything["threads"] * everything["calls"]
    return total


def redis(url: str) -> dict[str, Any]:
    prefix = uuid4().hex  # what the next run counts is its own
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"{url}/{REDIS_DATABASE}",
        "KEY_PREFIX": prefix,
    }


@pytest.mark.services
@pytest.mark.control("ASVS-15.4.2")
def test_on_redis_exactly_the_limit_passes_of_sixty_four_threads_in_each_of_two_processes(redis_url: str) -> None:
    """R8, R15: half of them before `rate_limit`, half before a throttle of the same name."""
    assert run(redis(redis_url), {}) == {"passed": 50, "refused": 206}


@pytest.mark.services
@pytest.mark.nightly
@pytest.mark.parametrize("attempt", range(10))
def test_on_redis_it_holds_again_and_again(redis_url: str, attempt: int) -> None:
    assert run(redis(redis_url), {}, calls=20, rate="777/h") == {"passed": 777, "refused": 2560 - 777}


@pytest.mark.services
@pytest.mark.nightly
@pytest.mark.django_db(transaction=True)
def test_on_redis_no_burst_passes_at_any_of_many_edges(redis_url: str, settings: Any) -> None:
    """Sixteen threads that never stop, over ten windows of a second: never more than N * (1 + T/W) in any T."""
    settings.CACHES = {"default": redis(redis_url)}
    limit, until = 20, time.time() + 10.5
    rate, passed, lock = Rate(limit, 1), [], threading.Lock()

    def hammer() -> None:
        while (began := time.time()) < until:
            try:
                reserve_at([rate], "edges", "somebody", fail_open=False)
            except LimitReached:
                continue
            with lock:
                passed.append((began, time.time()))
        let_go()

    in_threads([hammer] * 16)
    passed.sort()
    assert len(passed) >= 10 * limit * 0.8
    for first, (began, _) in enumerate(passed):
        ended = began
        for number, (_, end) in enumerate(passed[first:], start=1):
            ended = max(ended, end)
            assert number <= limit * (1 + ended - began), (number, ended - began)


@pytest.fixture
def table(transactional_db: None, settings: Any) -> Iterator[dict[str, Any]]:
    cache = {"BACKEND": OURS, "LOCATION": TABLE, "KEY_PREFIX": uuid4().hex}
    settings.CACHES = {"default": cache}
    call_command("createcachetable", verbosity=0)
    yield cache
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {TABLE}")  # a name of ours


def url_of_this_database() -> str:
    told = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{told['NAME']}"
    scheme = {"postgresql": "postgres", "mysql": "mysql"}[connection.vendor]
    password = f":{told['PASSWORD']}" if told["PASSWORD"] else ""
    return f"{scheme}://{told['USER']}{password}@{told['HOST']}:{told['PORT']}/{told['NAME']}"


# A database has only so many connections, and SQLite one writer.
THREADS = {"sqlite": 8, "mysql": 16}.get(connection.vendor, 64)
AT_A_TIME = {"sqlite": 4}.get(connection.vendor, 12)


@pytest.mark.slow
@pytest.mark.control("ASVS-15.4.2")
def test_on_a_database_exactly_the_limit_passes_of_the_threads_of_two_processes(table: dict[str, Any]) -> None:
    """R8, R15: on PostgreSQL sixty-four threads each."""
    environment = {"DATABASE_URL": url_of_this_database()}
    total = run(table, environment, rate="10/d", threads=THREADS, calls=1, at_a_time=AT_A_TIME)
    assert total == {"passed": 10, "refused": 2 * THREADS - 10}


@pytest.mark.nightly
def test_the_proof_sees_a_cache_that_counts_in_two_steps(table: dict[str, Any]) -> None:
    cache = {**table, "BACKEND": "django.core.cache.backends.db.DatabaseCache"}
    environment = {"DATABASE_URL": url_of_this_database()}
    assert run(cache, environment, rate="10/d", threads=8, calls=10)["passed"] > 10


@pytest.mark.nightly
@pytest.mark.parametrize("attempt", range(5))
def test_on_a_database_it_holds_again_and_again(table: dict[str, Any], attempt: int) -> None:
    environment = {"DATABASE_URL": url_of_this_database()}
    total = run(table, environment, rate="77/d", threads=THREADS, calls=10, at_a_time=AT_A_TIME)
    assert total == {"passed": 77, "refused": 20 * THREADS - 77}
