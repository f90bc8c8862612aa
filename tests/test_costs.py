"""What a request may cost: queries, cache trips and files visited are exact; times are for the benchmarks.

A query is a statement on a table. BEGIN and COMMIT come on top where a story writes several rows as one.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from django.apps import apps
from django.core.cache import caches
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

import django_secure_auth
from django_secure_auth.accounts.serializers import profile_fields
from django_secure_auth.apikeys import services as apikey_services
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.kit.apikeys import new_api_key
from django_secure_auth.ratelimit import counter
from django_secure_auth.ratelimit.services import give_back, reserve
from django_secure_auth.sessions.models import Session
from tests.browser import Browser, last_code, make_user, trust
from tests.counting_cache import CountingCache
from tests.views import ProbeView

pytestmark = pytest.mark.django_db(transaction=True)

PACKAGE = Path(django_secure_auth.__file__).parent
# Whoever reads how a request goes has these files of ours to open. A sign-in with a code goes through many, nine of
# them in the kit; no further file joins without a reason.
SIGN_IN_FILES, REQUEST_FILES = 39, 12
AUDIT = "INSERT securityevent"

Configure = Callable[..., None]


@dataclass
class Cost:
    """The statements and the cache calls of one request, in order."""

    queries: list[str]
    trips: list[str]


@pytest.fixture(autouse=True)
def _counted_cache(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One cache for limits and states, which counts; the package's settings are its defaults."""
    settings.CACHES = {"default": {"BACKEND": "tests.counting_cache.CountingCache", "LOCATION": "costs"}}
    settings.DJANGO_SECURE_AUTH = {}
    caches["default"].clear()
    counter._over.clear()  # a process that has not looked at any limit's window before
    # In the first seconds of a window the one before is looked at again and again: not what is counted here.
    monkeypatch.setattr(counter, "EXPIRATION_FUDGE", 0)
    yield
    caches["default"].clear()


@pytest.fixture
def user() -> Any:
    return make_user()


@pytest.fixture
def signed_in(browser: Browser, user: Any) -> Browser:
    """A browser with a session that has been used: its generation is acknowledged and last-seen is fresh."""
    browser.sign_in()
    assert probe(browser).status_code == 200
    return browser


def probe(browser: Browser) -> Any:
    return browser.request("GET", reverse("probe"))


def cost_of(action: Callable[[], Any], *, status: int) -> Cost:
    tables = {model._meta.db_table: model._meta.model_name for model in apps.get_models() if not model._meta.proxy}
    CountingCache.calls.clear()
    with CaptureQueriesContext(connection) as captured:
        response = action()
    assert response.status_code == status, response.content
    queries = []
    for query in captured.captured_queries:
        words = re.sub(r'["`]', "", query["sql"])
        if found := re.match(r"(?:SELECT\b.*?\bFROM|INSERT INTO|UPDATE|DELETE FROM) (\w+)", words, re.DOTALL):
            queries.append(f"{words.split()[0]} {tables[found[1]]}")
    return Cost(queries, list(CountingCache.calls))


def user_table(user: Any) -> str:
    return str(user._meta.model_name)


# --- a request that is signed in ---------------------------------------------------------------------


def test_an_authenticated_request_is_one_query_and_no_cache_trip(signed_in: Browser) -> None:
    """R30: one row by its key, and nothing is deleted."""
    assert cost_of(lambda: probe(signed_in), status=200) == Cost(["SELECT session"], [])


def test_with_a_state_cache_it_is_no_query_and_one_trip(signed_in: Browser, configure: Configure) -> None:
    configure(STATE_CACHE="default")
    assert cost_of(lambda: probe(signed_in), status=200) == Cost(["SELECT session"], ["get_many", "add"])
    for _ in range(3):
        assert cost_of(lambda: probe(signed_in), status=200) == Cost([], ["get_many"])


def test_with_a_process_local_copy_it_is_neither(signed_in: Browser, configure: Configure) -> None:
    configure(STATE_CACHE="default", STATE_MAX_AGE=timedelta(seconds=60))
    assert cost_of(lambda: probe(signed_in), status=200) == Cost(["SELECT session"], ["get_many", "add"])
    for _ in range(3):
        assert cost_of(lambda: probe(signed_in), status=200) == Cost([], [])


def test_a_process_local_copy_needs_no_shared_cache(signed_in: Browser, configure: Configure) -> None:
    configure(STATE_MAX_AGE=timedelta(seconds=60))
    assert cost_of(lambda: probe(signed_in), status=200) == Cost(["SELECT session"], [])
    assert cost_of(lambda: probe(signed_in), status=200) == Cost([], [])


def test_a_bearer_token_costs_what_the_cookie_costs(signed_in: Browser) -> None:
    headers = {"Authorization": f"Bearer {signed_in.value('access')}"}
    stranger = Browser()
    cost = cost_of(lambda: stranger.request("GET", reverse("probe"), headers=headers), status=200)
    assert cost == Cost(["SELECT session"], [])


@pytest.mark.parametrize("token", ["", "e30.e30.e30", "nothing like a token"])
def test_a_stranger_or_noise_costs_no_query(browser: Browser, user: Any, token: str) -> None:
    if token:
        browser.put("access", token)
    assert cost_of(lambda: probe(browser), status=401) == Cost([], [])


# --- a request with a key ----------------------------------------------------------------------------


def program(text: str, path: str = "program") -> Any:
    return Client().get(reverse(path), headers={"X-API-Key": text})


def many_keys(user: Any, count: int) -> None:
    """Rows as `create_key` writes them, but for digests that nobody can meet."""
    now = timezone.now()
    common: dict[str, Any] = {"user_id": user.pk, "name": "filler", "key_id": "k", "created_at": now}
    common["expires_at"] = now + timedelta(days=365)
    for start in range(0, count, 10_000):
        numbers = range(start, min(start + 10_000, count))
        rows = [APIKey(public_id=f"{number:016d}", digest=f"{number:064d}", **common) for number in numbers]
        APIKey.objects.bulk_create(rows, batch_size=1_000)


BY_INDEX = {
    "sqlite": r"SEARCH django_secure_auth_apikey USING INDEX .*public_id=",
    "postgresql": r"Index Scan using \w*public_id\w* on django_secure_auth_apikey",
    "mysql": r"'const'",
}


def plan_of(public_id: str) -> str:
    """How the database would look a key up."""
    with CaptureQueriesContext(connection) as captured:
        apikey_services._read(public_id)
    (query,) = captured.captured_queries
    with connection.cursor() as cursor:
        cursor.execute(("EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN ") + query["sql"])
        return "\n".join(str(row) for row in cursor.fetchall())


def assert_one_look_up(user: Any, count: int) -> None:
    text = create_key(user, name="ci")[1]
    many_keys(user, count)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    used = cost_of(lambda: program(text), status=200)
    assert used.queries == ["SELECT apikey", "UPDATE apikey", AUDIT]  # its first use
    for _ in range(3):
        assert cost_of(lambda: program(text), status=200) == Cost(["SELECT apikey"], [])
    plan = plan_of(text.split("_")[2])
    if count >= 1_000:  # a table of a few rows is rightly read from end to end
        assert re.search(BY_INDEX[connection.vendor], plan), plan


def test_a_request_with_a_key_is_one_query_by_its_index(user: Any) -> None:
    """R30, R32: no table is walked, and nothing is written."""
    assert_one_look_up(user, 10)


@pytest.mark.slow
@pytest.mark.database("postgresql")  # where a hundred thousand are; on the others it takes a minute to make them
def test_a_request_with_a_key_is_one_query_among_a_hundred_thousand(user: Any) -> None:
    """R30: flat."""
    assert_one_look_up(user, 100_000)


@pytest.mark.nightly
@pytest.mark.database("postgresql")  # where a hundred thousand are; on the others it takes a minute to make them
def test_a_request_with_a_key_is_one_query_among_a_million(user: Any) -> None:
    """R30: flat."""
    assert_one_look_up(user, 1_000_000)


def test_a_key_with_a_limit_is_one_cache_trip_more(user: Any) -> None:
    text = create_key(user, name="ci", rate_limit="100/h")[1]
    program(text)
    assert cost_of(lambda: program(text), status=200) == Cost(["SELECT apikey"], ["incr"])


def test_the_last_use_of_a_key_is_written_once_in_ten_minutes(user: Any) -> None:
    """R51: nobody's every request takes a lock."""
    text = create_key(user, name="ci")[1]
    program(text)
    APIKey.objects.update(last_used_at=timezone.now() - timedelta(minutes=10, seconds=1))
    assert cost_of(lambda: program(text), status=200).queries == ["SELECT apikey", "UPDATE apikey"]
    for _ in range(3):
        assert cost_of(lambda: program(text), status=200).queries == ["SELECT apikey"]


def test_noise_in_the_header_costs_no_query_but_its_event(user: Any) -> None:
    text = create_key(user, name="ci")[1]
    mistyped = text[:-1] + ("x" if text[-1] != "x" else "y")
    for noise in ("", "noise", mistyped):
        assert cost_of(lambda noise=noise: program(noise), status=401) == Cost([AUDIT], [])


def test_an_unknown_key_costs_what_a_wrong_one_costs(user: Any) -> None:
    """And a guess is told, each time."""
    text = new_api_key(prefix="dsa", environment="live").value
    unknown = cost_of(lambda: program(text), status=401)
    APIKey.objects.filter(pk=create_key(user, name="ci")[0].pk).update(public_id=text.split("_")[2])
    assert cost_of(lambda: program(text), status=401) == unknown == Cost(["SELECT apikey", AUDIT], [])


def test_the_list_of_keys_does_not_grow_with_its_length(signed_in: Browser, user: Any) -> None:
    create_key(user, name="one")
    few = cost_of(lambda: signed_in.get("apikey-list"), status=200)
    for _ in range(5):
        create_key(user, name="more")
    many = cost_of(lambda: signed_in.get("apikey-list"), status=200)
    assert few == many == Cost(["SELECT session", "SELECT apikey", "SELECT apikey"], [])


def test_a_request_with_a_key_visits_at_most_twelve_of_our_files(user: Any) -> None:
    text = create_key(user, name="ci")[1]
    program(text)
    with visited() as files:
        assert program(text, "key-only").status_code == 200
    assert len(files) <= REQUEST_FILES, f"{len(files)} files: {sorted(files)}"


# --- last-seen ---------------------------------------------------------------------------------------


def test_the_first_request_after_sign_in_and_after_a_rotation_writes_once(browser: Browser, user: Any) -> None:
    browser.sign_in()
    for _ in range(2):
        assert cost_of(lambda: probe(browser), status=200) == Cost(["SELECT session", "UPDATE session"], [])
        assert cost_of(lambda: probe(browser), status=200) == Cost(["SELECT session"], [])
        browser.refresh()


def test_last_seen_is_written_once_in_an_interval(signed_in: Browser) -> None:
    """R51: nobody's every request takes a lock."""
    Session.objects.update(last_seen_at=timezone.now() - timedelta(seconds=61))
    assert cost_of(lambda: probe(signed_in), status=200) == Cost(["SELECT session", "UPDATE session"], [])
    for _ in range(3):
        assert cost_of(lambda: probe(signed_in), status=200) == Cost(["SELECT session"], [])


def test_a_background_view_writes_an_acknowledgement_once_and_nothing_else(
    browser: Browser, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R56, R46: a poller keeps no session alive, and ends the grace of the refresh token before."""
    browser.sign_in()
    long_ago = timezone.now() - timedelta(minutes=10)
    Session.objects.update(last_seen_at=long_ago)
    monkeypatch.setattr(ProbeView, "secure_auth_background", True, raising=False)
    assert cost_of(lambda: probe(browser), status=200) == Cost(["SELECT session", "UPDATE session"], [])
    for _ in range(3):
        assert cost_of(lambda: probe(browser), status=200) == Cost(["SELECT session"], [])
    session = Session.objects.get()
    assert (session.acked, session.last_seen_at) == (True, long_ago)
    monkeypatch.setattr(ProbeView, "secure_auth_background", False)
    assert cost_of(lambda: probe(browser), status=200).queries == ["SELECT session", "UPDATE session"]


# --- signing in --------------------------------------------------------------------------------------


def test_an_unknown_account_costs_what_a_wrong_password_costs(browser: Browser, user: Any) -> None:
    """R25: the second query is the backend's own, which is asked for a name that nobody has."""
    browser.csrf()
    # What counts the address, the site and the password is there already, as for anybody whom a guesser would compare.
    browser.login("warm@example.com", "not the password")
    wrong = cost_of(lambda: browser.login(password="not the password"), status=401)
    unknown = cost_of(lambda: browser.login("nobody@example.com", "not the password"), status=401)
    trips = ["incr", "incr", "incr", "add", "get", "get", "incr", "set"]  # address, site, account; the password
    assert wrong == unknown == Cost([f"SELECT {user_table(user)}"] * 2 + [AUDIT], trips)

    again = cost_of(lambda: browser.login(password="not the password"), status=401)
    unknown_again = cost_of(lambda: browser.login("nobody@example.com", "not the password"), status=401)
    assert again == unknown_again == Cost(wrong.queries, ["incr", "incr", "incr", "get"])


def test_a_browser_that_somebody_trusts_costs_one_query_more_for_known_and_unknown_alike(
    browser: Browser, user: Any
) -> None:
    trust(browser, user)
    make_user("ben@example.com")
    who = user_table(user)
    wrong = cost_of(lambda: browser.login("ben@example.com", "not the password"), status=401)
    unknown = cost_of(lambda: browser.login("nobody@example.com", "not the password"), status=401)
    assert wrong.queries == unknown.queries == ["SELECT trusteddevice", f"SELECT {who}", f"SELECT {who}", AUDIT]


def test_a_sign_in_on_a_trusted_device_is_seven_queries(browser: Browser, user: Any) -> None:
    trust(browser, user)
    who = user_table(user)
    cost = cost_of(browser.login, status=200)
    assert cost.queries == [
        "SELECT trusteddevice", f"SELECT {who}", f"SELECT {who}",
        "SELECT useraccess",  # does a role ask for a code? The roles of the answer are those
        f"UPDATE {who}", "INSERT session",
        AUDIT,  # one statement for its two events
    ]  # fmt: skip
    assert cost.trips == ["incr", "add", "get", "decr"]


def test_a_sign_in_with_a_code_is_nine_queries_and_then_twelve(browser: Browser, user: Any) -> None:
    """The mail is sent in process here: the last four of the nine are its task's. A later approval is ten."""
    browser.csrf()
    who = user_table(user)
    asked = cost_of(browser.login, status=202)
    assert asked.queries == [
        f"SELECT {who}", f"SELECT {who}", "SELECT useraccess", "SELECT otpbudget", "INSERT otpchallenge",
        "SELECT otpchallenge", "UPDATE otpchallenge", "UPDATE otpchallenge", AUDIT,
    ]  # fmt: skip
    # Address, site, account and password reserved and given back, and the one of the codes.
    one = ["incr", "add", "get"]
    assert asked.trips == [*one * 3, "get", *one, *["decr"] * 4, *one]

    approved = cost_of(browser.approve, status=200)
    assert approved.queries == [
        "SELECT otpchallenge", "UPDATE otpchallenge",
        "UPDATE otpbudget", "SELECT otpbudget", "INSERT otpbudget",  # an account's first code makes its row
        "UPDATE otpchallenge", "UPDATE otpbudget",
        f"UPDATE {who}", "INSERT session", "INSERT trusteddevice",
        "SELECT useraccess", AUDIT,  # one statement for its four events
    ]  # fmt: skip
    assert approved.trips == []

    browser.logout()
    browser.drop("device")
    browser.login()
    assert len(cost_of(browser.approve, status=200).queries) == 10


# --- going on and away -------------------------------------------------------------------------------


def test_a_refresh_is_three_queries_and_one_write_of_the_session(signed_in: Browser) -> None:
    cost = cost_of(signed_in.refresh, status=200)
    assert cost == Cost(["SELECT session", "UPDATE session", AUDIT], ["incr", "add", "get"])
    assert len(cost.queries) <= 3


def test_noise_in_the_refresh_cookie_costs_no_query(browser: Browser, user: Any) -> None:
    browser.csrf()
    browser.put("refresh", "noise")
    assert cost_of(browser.refresh, status=401).queries == []


def test_me_is_one_query_more_than_any_request(signed_in: Browser, user: Any) -> None:
    """For the profile's fields together, which the check of a request does not read."""
    more = [f"SELECT {user_table(user)}"] if profile_fields() else []
    assert cost_of(signed_in.me, status=200) == Cost(["SELECT session", *more], [])


def test_the_list_of_sessions_does_not_grow_with_its_length(signed_in: Browser) -> None:
    few = cost_of(lambda: signed_in.get("session-list"), status=200)
    for _ in range(5):
        Browser().sign_in()
    many = cost_of(lambda: signed_in.get("session-list"), status=200)
    assert few == many == Cost(["SELECT session"] * 3, [])


def test_a_sign_out_is_three_queries(signed_in: Browser) -> None:
    assert cost_of(signed_in.logout, status=204) == Cost(["SELECT session", "UPDATE session", AUDIT], [])


def test_a_sign_out_with_a_state_cache_is_one_trip_more(signed_in: Browser, configure: Configure) -> None:
    configure(STATE_CACHE="default")
    assert cost_of(signed_in.logout, status=204).trips == ["set_many"]


# --- limits ------------------------------------------------------------------------------------------


def test_a_limit_is_one_call_of_the_cache_but_for_the_first_attempt_of_a_window() -> None:
    CountingCache.calls.clear()
    reserve("refresh", "somebody")
    assert CountingCache.calls == ["incr", "add", "get"]  # the last: how much the window before had counted
    for _ in range(3):
        CountingCache.calls.clear()
        reserve("refresh", "somebody")
        assert CountingCache.calls == ["incr"]
    reservation = reserve("refresh", "somebody")
    CountingCache.calls.clear()
    give_back(reservation)
    assert CountingCache.calls == ["decr"]


# --- files visited -----------------------------------------------------------------------------------


@contextmanager
def visited() -> Iterator[set[str]]:
    """The files of ours in which a function was called; importing a module is no visit."""
    files: set[str] = set()

    def look(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_name != "<module>" and code.co_filename.startswith(str(PACKAGE)):
            files.add(str(Path(code.co_filename).relative_to(PACKAGE)))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        yield files
    finally:
        sys.setprofile(before)


def test_a_sign_in_with_a_code_visits_no_more_of_our_files_than_it_did(browser: Browser, user: Any) -> None:
    browser.csrf()
    with visited() as login:
        assert browser.login().status_code == 202
    code = last_code()
    with visited() as approval:
        assert browser.approve(code).status_code == 200
    files = login | approval
    assert len(files) <= SIGN_IN_FILES, f"{len(files)} files: {sorted(files)}"


def test_a_request_visits_at_most_thirteen_of_our_files(signed_in: Browser) -> None:
    with visited() as files:
        assert probe(signed_in).status_code == 200
    assert len(files) <= REQUEST_FILES, f"{len(files)} files: {sorted(files)}"
