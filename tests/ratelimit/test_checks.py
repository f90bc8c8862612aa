"""Checks of limits: each id once, and nothing to say about a project that is right."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import connections

from django_secure_auth.checks import check_combinations, check_limit_policies, check_limits, check_production
from django_secure_auth.ratelimit import checks

OURS = "django_secure_auth.ratelimit.backends.AtomicDatabaseCache"


@pytest.fixture(autouse=True)
def databases(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`limits` beside `default`; nothing is connected to."""
    settings.CACHES = {
        "default": {"BACKEND": OURS, "LOCATION": "limits"},
        "own": {"BACKEND": OURS, "LOCATION": "limits", "OPTIONS": {"DATABASE": "limits"}},
        "nowhere": {"BACKEND": OURS, "LOCATION": "limits", "OPTIONS": {"DATABASE": "limit"}},
    }
    default = {**connections.settings["default"], "ENGINE": "django.db.backends.sqlite3", "NAME": "one.sqlite3"}
    made = {
        "default": {**default, "ATOMIC_REQUESTS": False},
        "limits": {**default, "ATOMIC_REQUESTS": False, "NAME": "limits.sqlite3"},
    }
    monkeypatch.setitem(connections.settings, "default", made["default"])
    monkeypatch.setitem(connections.settings, "limits", made["limits"])
    yield made
    if hasattr(connections._connections, "limits"):  # type: ignore[attr-defined]  # a private handle
        del connections["limits"]


def found(settings: Any, alias: str = "default", **changed: Any) -> list[CheckMessage]:
    settings.DJANGO_SECURE_AUTH = {"RATE_LIMIT_CACHE": alias, **changed}
    return [*check_limits(), *check_limit_policies()]


def the_one(messages: list[CheckMessage], number: str) -> CheckMessage:
    assert [message.id for message in messages] == [f"secure_auth.{number}"]
    assert messages[0].hint
    return messages[0]


def test_limits_that_are_right_have_nothing_said_about_them(settings: Any) -> None:
    assert found(settings) == []
    assert found(settings, "own") == []
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert found(settings) == []
    assert found(settings, "none") == []  # E005 says what is wrong
    assert [message.id for message in check_combinations()] == ["secure_auth.E005"]


def test_w004_and_w008_have_nothing_to_say_about_a_table_that_counts_exactly(settings: Any) -> None:
    found(settings)
    ids = {message.id for message in check_production()}
    assert not ids & {"secure_auth.W004", "secure_auth.W008"}


def test_e095_a_database_that_is_not_there(settings: Any) -> None:
    assert "'limit'" in the_one(found(settings, "nowhere"), "E095").msg


def test_e096_a_database_that_it_does_not_know(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(connections["limits"]), "vendor", "oracle")
    assert "oracle" in the_one(found(settings, "own"), "E096").msg


def test_e096_an_old_sqlite(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.sqlite3, "sqlite_version_info", (3, 34, 1))
    assert "3.35" in the_one(found(settings, "own"), "E096").msg


def test_e096_a_second_connection_to_a_file_of_one_writer(settings: Any, databases: Any) -> None:
    databases["limits"]["NAME"] = "one.sqlite3"
    assert found(settings, "own") == []
    databases["default"]["ATOMIC_REQUESTS"] = True
    assert "waits for itself" in the_one(found(settings, "own"), "E096").msg


def test_w095_counts_that_are_rolled_back(settings: Any, databases: Any) -> None:
    databases["default"]["ATOMIC_REQUESTS"] = True
    the_one(found(settings), "W095")
    assert found(settings, "own") == []


def test_w096_guessing_without_limit_while_the_cache_is_away(settings: Any) -> None:
    opened = {"login_account": "open", "otp": "open", "refresh": "open"}
    message = the_one(found(settings, RATE_LIMIT_WHEN_AWAY=opened), "W096")
    assert "login_account, otp let" in message.msg
    assert found(settings, RATE_LIMIT_WHEN_AWAY={"view": "closed", "refresh": "open"}) == []


def test_w097_a_limit_that_is_none(settings: Any) -> None:
    message = the_one(found(settings, RATE_LIMITS={"login_account": "1000/min"}), "W097")
    assert "60000 guesses an hour" in message.msg
    assert "lets 40 pass" in str(message.hint)
    assert found(settings, RATE_LIMITS={"login_account": "1000/min, 2000/d"}) == []
