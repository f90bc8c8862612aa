"""Fixtures and rules for the whole suite.

A skipped test is a failure when SECURE_AUTH_REQUIRE_SERVICES=1 says that every service has to be there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.cache import caches
from django.db import connection
from hypothesis import settings as hypothesis_settings
from pytest_django.plugin import DjangoDbBlocker

from django_secure_auth.apikeys import services as apikey_services
from django_secure_auth.audit import services as audit_services
from django_secure_auth.ratelimit import counter as limit_counter
from django_secure_auth.ratelimit import services as limit_services
from django_secure_auth.sessions import services as session_services
from django_secure_auth.sessions import state as session_state
from django_secure_auth.tokens import services as token_services
from tests import clean_slate, reachable
from tests.browser import Browser, Clock

# The first example on a cold machine imports half of Django: no deadline. A failure prints the line that repeats it.
hypothesis_settings.register_profile("default", deadline=None, print_blob=True, max_examples=100)
hypothesis_settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=3000)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """SECURE_AUTH_JUNIT_DIR: every run leaves its result there, so that several in a row can be counted."""
    folder = os.environ.get("SECURE_AUTH_JUNIT_DIR")
    if folder and not config.option.xmlpath and not hasattr(config, "workerinput"):
        config.option.xmlpath = str(Path(folder) / f"pytest-{os.getpid()}.xml")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    foreign = [item for item in items if not _fits_database(item)]
    if foreign:
        config.hook.pytest_deselected(items=foreign)
        items[:] = [item for item in items if item not in foreign]


def _fits_database(item: pytest.Item) -> bool:
    return all(connection.vendor in marker.args for marker in item.iter_markers("database"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    required = os.environ.get("SECURE_AUTH_REQUIRE_SERVICES") == "1"
    if required and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"SECURE_AUTH_REQUIRE_SERVICES=1, but {item.nodeid} was skipped: {reason}"
    return report


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> None:
    with django_db_blocker.unblock():
        clean_slate.remember()
    clean_slate.install()


@pytest.fixture(autouse=True)
def _no_memories() -> None:
    """What one test made the process remember (limits, states, signatures) must not decide another."""
    for alias in django_settings.CACHES:
        caches[alias].clear()
    limit_counter._over.clear()
    limit_services._last_outage = float("-inf")
    session_state._local.clear()
    session_state._last_outage = 0.0
    session_services._told.clear()
    audit_services._written.clear()
    token_services._verified.clear()
    apikey_services._told.clear()
    apikey_services._last_failure = float("-inf")


@pytest.fixture
def browser() -> Browser:
    return Browser()


@pytest.fixture
def configure(settings: Any) -> Callable[..., None]:
    """Change settings of the package for one test, and leave those that the project shape has made."""

    def change(**values: Any) -> None:
        settings.DJANGO_SECURE_AUTH = {**settings.DJANGO_SECURE_AUTH, **values}

    return change


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time that the test moves."""
    return Clock(monkeypatch)


def _need(service: str) -> None:
    if reason := reachable.why_not(service):
        pytest.skip(reason)


@pytest.fixture
def postgres_url() -> str:
    """Address of a PostgreSQL server, without a database name."""
    _need("postgres")
    return reachable.url_of("postgres")


@pytest.fixture
def mariadb_url() -> str:
    """Address of a MariaDB server, without a database name."""
    _need("mariadb")
    return reachable.url_of("mariadb")


@pytest.fixture
def redis_url() -> str:
    """Address of a Redis server, without a database number."""
    _need("redis")
    return reachable.url_of("redis")


@pytest.fixture
def chromium() -> str:
    """Path of a Chromium that Playwright can be started with (``executable_path``)."""
    _need("chromium")
    path = reachable.browser()
    assert path is not None
    return path
