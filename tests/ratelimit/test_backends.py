"""AtomicDatabaseCache: a counter in the database that loses nothing, and throws nothing away that lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import OperationalError, connection, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django_ratelimit.core import is_ratelimited

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.decorators import rate_limit
from django_secure_auth.ratelimit import backends
from django_secure_auth.ratelimit.backends import AtomicDatabaseCache
from django_secure_auth.ratelimit.services import LimitReached, give_back, reserve
from tests.browser import Browser, make_user

pytestmark = pytest.mark.django_db(transaction=True)

TABLE = "limits_of_tests"
OURS = "django_secure_auth.ratelimit.backends.AtomicDatabaseCache"


@pytest.fixture
def cache(settings: Any) -> Iterator[AtomicDatabaseCache]:
    settings.CACHES = {
        "default": settings.CACHES["default"],
        "limits": {"BACKEND": OURS, "LOCATION": TABLE},
        "django": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": TABLE},
    }
    settings.DJANGO_SECURE_AUTH = {
        **settings.DJANGO_SECURE_AUTH, "RATE_LIMIT_CACHE": "limits", "RATE_LIMITS": {"otp": "10/d"},
    }  # fmt: skip
    call_command("createcachetable", verbosity=0)
    found = caches["limits"]
    assert isinstance(found, AtomicDatabaseCache)
    found.clear()
    yield found
    found.clear()


def rows() -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {TABLE}")  # noqa: S608  # a constant
        return int(cursor.fetchone()[0])


def at_once(job: Callable[[], Any], threads: int) -> list[Any]:
    barrier, results = threading.Barrier(threads), []

    def run() -> None:
        barrier.wait()
        try:
            results.append(job())
        finally:
            connections.close_all()

    started = [threading.Thread(target=run) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    assert len(results) == threads
    return results


# --- it is a cache ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 7, -3, 10**17, 10**40, True, None, "12", 1.5, {"a": [1]}, b"\0"])
def test_what_is_written_is_read(cache: AtomicDatabaseCache, value: Any) -> None:
    cache.set("key", value)
    found = cache.get("key", "nothing")
    assert (found, type(found)) == (value, type(value))
    assert "key" in cache


def test_the_verbs_mean_what_they_mean_to_django(cache: AtomicDatabaseCache) -> None:
    assert (cache.get("key"), cache.get_many([]), cache.delete_many([]), cache.delete("key")) == (None, {}, None, False)
    assert cache.add("key", "first") is True
    assert cache.add("key", "second") is False
    cache.set("key", "third")
    cache.set_many({"other": 2, "more": None}, timeout=None)
    assert cache.get_many(["key", "other", "more", "none"]) == {"key": "third", "other": 2, "more": None}
    assert cache.delete("other") is True
    assert cache.get_or_set("other", 4) == 4
    assert cache.incr_version("other") == 2
    assert cache.get("other", version=2) == 4
    assert cache.touch("more", 100) is True
    assert cache.touch("none", 100) is False


def test_what_has_expired_is_not_there(cache: AtomicDatabaseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set("key", 5, timeout=-1)
    assert cache.get("key") is None
    assert "key" not in cache
    assert cache.touch("key", 100) is False
    with pytest.raises(ValueError, match="not found"):
        cache.incr("key")
    assert cache.add("key", 1) is True
    assert cache.get("key") == 1


def test_without_time_zones_expiry_is_the_same(cache: AtomicDatabaseCache, settings: Any) -> None:
    settings.USE_TZ = False
    cache.set("key", 5, timeout=100)
    assert cache.incr("key") == 6
    cache.set("key", 5, timeout=-100)
    assert cache.get("key") is None


def test_a_counter_counts_keeps_its_expiry_and_goes_below_zero(cache: AtomicDatabaseCache) -> None:
    with pytest.raises(ValueError, match="not found"):
        cache.incr("key")
    cache.add("key", 1, 100)
    assert [cache.incr("key"), cache.incr("key", 40), cache.decr("key", 41), cache.decr("key", 5)] == [2, 42, 1, -4]
    assert (cache.get("key"), cache.incr("key", 4)) == (-4, 0)


def test_what_is_no_counter_is_not_counted(cache: AtomicDatabaseCache) -> None:
    cache.set("key", "text")
    with pytest.raises(TypeError, match="no counter but str"):
        cache.incr("key")
    assert cache.get("key") == "text"


def test_what_djangos_own_has_left_in_the_table_is_read_and_counted_on(cache: AtomicDatabaseCache) -> None:
    """Or whoever changes the backend would answer 503 until the last old counter has expired."""
    old = caches["django"]
    old.set("counter", 6, 100)
    old.set("other", {"a": 1}, 100)
    assert (cache.get("counter"), cache.get("other")) == (6, {"a": 1})
    assert [cache.incr("counter"), cache.incr("counter")] == [7, 8]


def test_a_counter_of_djangos_that_somebody_else_takes_over_meanwhile_loses_nothing(
    cache: AtomicDatabaseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches["django"].set("counter", 6, 100)
    asked = cache._stored

    def slow(*arguments: Any) -> Any:
        found = asked(*arguments)
        monkeypatch.setattr(cache, "_stored", asked)
        assert cache.incr("counter") == 7
        return found

    monkeypatch.setattr(cache, "_stored", slow)
    assert cache.incr("counter") == 8


# --- it counts ---------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-15.4.2")
def test_of_parallel_callers_each_gets_a_number_of_its_own(cache: AtomicDatabaseCache) -> None:
    cache.add("key", 0)
    numbers = at_once(lambda: [caches["limits"].incr("key") for _ in range(4)], 16)
    assert sorted(number for several in numbers for number in several) == list(range(1, 65))


def test_of_parallel_callers_one_adds(cache: AtomicDatabaseCache) -> None:
    cache.set("expired", 3, timeout=-1)
    for key in ("new", "expired"):
        assert sorted(at_once(lambda key=key: caches["limits"].add(key, 1), 8)) == [False] * 7 + [True]


@pytest.mark.control("ASVS-15.4.2")
def test_exactly_the_limit_passes(cache: AtomicDatabaseCache) -> None:
    """R8, R15: on a database, where Django's own cache lets more pass."""

    def attempt() -> bool:
        try:
            reserve("otp", "ana")
        except LimitReached:
            return False
        return True

    assert sum(at_once(attempt, 32)) == 10
    assert not attempt()


def test_django_ratelimit_itself_is_exact_on_it(cache: AtomicDatabaseCache, settings: Any) -> None:
    settings.RATELIMIT_USE_CACHE = "limits"

    def is_refused() -> bool:
        request = RequestFactory().get("/")
        return bool(is_ratelimited(request, group="one", key="ip", rate="10/d", increment=True))

    assert at_once(is_refused, 32).count(False) == 10


def test_what_is_given_back_is_there_again(cache: AtomicDatabaseCache) -> None:
    taken = [reserve("otp", "ana") for _ in range(10)]
    with pytest.raises(LimitReached):
        reserve("otp", "ana")
    give_back(taken[0])
    reserve("otp", "ana")


# --- nothing that lives is thrown away ---------------------------------------------------------------


def test_only_what_has_expired_is_thrown_away_however_much_there_is(
    cache: AtomicDatabaseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django's own throws a third away beyond 300 entries: whoever fills the table would begin to guess anew."""
    monkeypatch.setattr(backends, "_CULL_EVERY", 1)
    monkeypatch.setattr(backends, "_CULL_AT_MOST", 4)
    cache.add("guessed", 10)
    for number in range(310):
        cache.add(f"living-{number}", 1)
    cache.set("expired", 1, timeout=-10)
    assert cache.get("guessed") == 10
    assert rows() == 311  # and the one that had expired is gone
    monkeypatch.setattr(backends, "_CULL_EVERY", 1000)
    for number in range(5):
        cache.add(f"expired-{number}", 1, timeout=-10)
    monkeypatch.setattr(backends, "_CULL_EVERY", 1)
    cache.add("one", 1)
    cache.add("two", 1)
    assert rows() == 313


def test_housekeeping_that_fails_stops_nobody(cache: AtomicDatabaseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(backends, "_CULL_EVERY", 1)
    monkeypatch.setattr(cache, "_rows", fails)
    assert cache.add("key", 1) is True


# --- among transactions ------------------------------------------------------------------------------


class Refused(Exception):
    """A host's view that fails."""


@pytest.fixture
def own_connection(cache: AtomicDatabaseCache, settings: Any, tmp_path: Path) -> Iterator[None]:
    """OPTIONS["DATABASE"]: a connection of its own; with SQLite, which has one writer, to a file of its own."""
    own = connection.copy()  # by its alias a test would be kept from it
    if connection.vendor == "sqlite":
        own.settings_dict["NAME"] = str(tmp_path / "limits.sqlite3")
    connections["limits"] = own
    limits = settings.CACHES["limits"]
    settings.CACHES = {**settings.CACHES, "limits": {**limits, "OPTIONS": {"DATABASE": "limits"}}}
    call_command("createcachetable", database="limits", verbosity=0)
    yield
    own.close()
    del connections["limits"]


@pytest.mark.usefixtures("cache")
def test_sign_ins_are_counted_in_the_table_with_atomic_requests_too(
    browser: Browser, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own views are not atomic: they need no connection of their own."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    configure(RATE_LIMITS={"login_account": "2/15m"})
    make_user()
    assert [browser.login(password="wrong").status_code for _ in range(3)] == [401, 401, 429]
    make_user("ben@example.com")
    assert [browser.login("ben@example.com").status_code for _ in range(4)] == [202] * 4  # each is given back


def fails(request: HttpRequest) -> HttpResponse:
    SecurityEvent.objects.create(event_type="x", event="x")
    raise Refused


urlpatterns = [path("fails/", rate_limit("2/d", name="fails")(fails))]


@pytest.mark.usefixtures("own_connection")
@pytest.mark.urls(__name__)
def test_a_view_of_the_hosts_that_fails_under_atomic_requests_is_counted_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    client = Client(raise_request_exception=False)
    assert [client.get("/fails/").status_code for _ in range(4)] == [500, 500, 429, 429]


@pytest.mark.usefixtures("own_connection")
def test_on_a_connection_of_its_own_a_count_outlives_the_transaction_that_was_refused() -> None:
    """ATOMIC_REQUESTS: a view that raises rolls back. Without this, each refusal would give the attempt back."""
    own = caches["limits"]
    own.add("key", 1)

    def refused() -> None:
        with transaction.atomic():
            SecurityEvent.objects.create(event_type="x", event="x")  # a write: SQLite's one writer is this transaction
            own.incr("key")
            raise Refused

    for _ in range(2):
        with pytest.raises(Refused):
            refused()
    assert own.get("key") == 3


def test_inside_a_transaction_of_its_connection_a_count_is_rolled_back_with_it(cache: AtomicDatabaseCache) -> None:
    """What secure_auth.W095 warns of."""
    cache.add("key", 1)
    with transaction.atomic():
        assert cache.incr("key") == 2
        transaction.set_rollback(True)
    assert cache.get("key") == 1


def test_a_table_that_is_not_there_does_not_take_the_hosts_transaction_down(settings: Any) -> None:
    settings.CACHES = {**settings.CACHES, "limits": {"BACKEND": OURS, "LOCATION": "never_made"}}
    with transaction.atomic():
        with pytest.raises(Exception, match="never_made"):
            caches["limits"].incr("key")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)


def deadlock(*, sqlstate: str | None = None, number: int | None = None) -> OperationalError:
    error = OperationalError(number, "deadlock") if number else OperationalError("deadlock")
    cause = Exception()
    cause.sqlstate = sqlstate  # type: ignore[attr-defined]  # psycopg's have it
    error.__cause__ = cause
    return error


@pytest.fixture
def failures(cache: AtomicDatabaseCache, monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """What the next statements fail with."""
    waiting: list[Exception] = []
    honest = connection.cursor

    def cursor(*arguments: Any) -> Any:
        if waiting:
            raise waiting.pop(0)
        return honest(*arguments)

    monkeypatch.setattr(connection, "cursor", cursor)
    return waiting


def test_the_victim_of_others_tries_again(cache: AtomicDatabaseCache, failures: list[Exception]) -> None:
    cache.add("key", 1)
    failures += [deadlock(sqlstate="40001"), deadlock(sqlstate="40P01"), deadlock(number=1213)]
    assert cache.incr("key") == 2
    failures += [deadlock(number=1213)] * 10
    with pytest.raises(OperationalError):
        cache.incr("key")
    assert cache.incr("key") == 3


def test_inside_a_transaction_nothing_is_tried_again(cache: AtomicDatabaseCache, failures: list[Exception]) -> None:
    """The deadlock has ended it."""
    with transaction.atomic():
        failures.append(deadlock(sqlstate="40P01"))
        with pytest.raises(OperationalError):
            cache.add("key", 1)
    assert cache.add("key", 1) is True


def test_a_server_that_is_away_is_asked_once(cache: AtomicDatabaseCache, failures: list[Exception]) -> None:
    """Ten attempts to connect would be ten times the wait."""
    failures += [OperationalError("could not connect"), OperationalError("could not connect")]
    with pytest.raises(OperationalError):
        cache.add("key", 1)
    assert len(failures) == 1
    failures.clear()


@pytest.mark.database("postgresql")
@pytest.mark.usefixtures("own_connection")
def test_a_server_process_that_was_ended_costs_nobody_a_refusal() -> None:
    own = caches["limits"]
    own.add("key", 1)
    with connections["limits"].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (process,) = cursor.fetchone()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
    assert own.incr("key") == 2


def test_a_connection_that_died_since_its_last_use_is_replaced(
    cache: AtomicDatabaseCache, failures: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that was started anew costs nobody a 503."""
    cache.add("key", 1)
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    failures.append(OperationalError("server closed the connection unexpectedly"))
    assert cache.incr("key") == 2


def test_a_count_is_one_statement(cache: AtomicDatabaseCache, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        cache.add("key", 1)
    with django_assert_num_queries(1):
        cache.incr("key")


@pytest.mark.parametrize(("answer", "count"), [((1, 5), 5), ((1, 2**64 - 3), -3), ((0, 7), None)])
def test_where_nothing_is_returned_the_count_is_the_last_id(
    monkeypatch: pytest.MonkeyPatch, answer: tuple[int, int], count: int | None
) -> None:
    """MariaDB and MySQL: the id of the connection, unsigned, and an old one when no row was met."""

    class Connection:
        vendor = "mysql"
        ops = connection.ops

    monkeypatch.setattr(backends, "connections", {"elsewhere": Connection()})
    monkeypatch.setattr(AtomicDatabaseCache, "_changed", lambda *_: answer)
    assert AtomicDatabaseCache("t", {"OPTIONS": {"DATABASE": "elsewhere"}})._increment("key", 1) == count
