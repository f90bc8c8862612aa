"""The same races on the other databases: a process has one database, so each gets a process.

Each is a class, so that scripts/run_tests.py does not have one worker wait for all three.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

import pytest

from tests.reachable import ROOT

pytestmark = [pytest.mark.services, pytest.mark.slow]

LIMIT = 600
REDIS_DATABASE = 12
# What the caller may have set; the folder of results too, where a race that is run in here would be counted again.
SETTINGS = {
    "DATABASE_URL", "DSA_TEST_DB_FILE", "CACHE_URL", "DSA_STATE_CACHE", "DSA_USER_MODEL", "DSA_EXTRA_APPS",
    "DSA_ATOMIC_REQUESTS", "DSA_PREFIX", "SECURE_AUTH_JUNIT_DIR",
}  # fmt: skip


def run(*arguments: str, **environment: str) -> str:
    """Run this folder without this file, in a process with its own database and settings; return what it said."""
    clean = {name: value for name, value in os.environ.items() if name not in SETTINGS and "PYTEST" not in name}
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            folder,
            "-m",
            "not services and not nightly",
            "-p",
            "no:cacheprovider",
            *arguments,
        ],
        cwd=ROOT,
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def expected() -> int:
    """How many tests the folder has for every database."""
    collected = re.search(r"^(\d+)(?:/\d+)? tests collected", run("--collect-only", "-q"), re.MULTILINE)
    assert collected is not None
    return int(collected[1])


def all_pass(expected: int, environment: Mapping[str, str]) -> None:
    assert expected > 10
    summary = run("-q", "--show-capture=no", **environment).strip().splitlines()[-1]
    assert re.fullmatch(rf"{expected} passed(, \d+ deselected)? in .*", summary), summary


class TestPostgreSQL:
    def test_the_races_hold_with_atomic_requests_and_all_counters_and_states_in_redis(
        self, postgres_url: str, redis_url: str, expected: int
    ) -> None:
        environment = {
            "DATABASE_URL": f"{postgres_url}/races_{uuid4().hex[:8]}",
            # A number of its own: a clean slate for the tests of another run is FLUSHDB.
            "CACHE_URL": f"{redis_url}/{REDIS_DATABASE}",
            "DSA_STATE_CACHE": "default",
            "DSA_ATOMIC_REQUESTS": "1",
        }
        all_pass(expected, environment)


class TestMariaDB:
    def test_the_races_hold(self, mariadb_url: str, expected: int) -> None:
        all_pass(expected, {"DATABASE_URL": f"{mariadb_url}/races_{uuid4().hex[:8]}"})


class TestSQLite:
    def test_the_races_hold_in_a_file_with_atomic_requests(self, tmp_path: Path, expected: int) -> None:
        all_pass(expected, {"DSA_TEST_DB_FILE": str(tmp_path / "races.sqlite3"), "DSA_ATOMIC_REQUESTS": "1"})
