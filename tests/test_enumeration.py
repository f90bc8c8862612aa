"""Nobody learns from a sign-in whether an account exists: the same bytes, the same queries, the same time."""

from __future__ import annotations

import math
import random
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.browser import PASSWORD, Browser, make_user

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]

REFUSED = {
    "unknown": ("nobody@example.com", "a wrong password"),
    "wrong": ("ana@example.com", "a wrong password"),
    "inactive": ("gone@example.com", "correct horse battery staple"),
    "inactive and wrong": ("gone@example.com", "a wrong password"),
    "without a password": ("social@example.com", "a wrong password"),
}


@pytest.fixture
def people() -> None:
    make_user("ana@example.com")
    make_user("gone@example.com", is_active=False)
    make_user("social@example.com")
    model = get_user_model()
    model._default_manager.filter(**{model.get_email_field_name(): "social@example.com"}).update(password="!")


def _seen(response: Any) -> tuple[int, bytes, list[tuple[str, str]]]:
    """Everything that a caller sees, without the id of the request."""
    body = re.sub(rb'"request_id":"[0-9a-f]{32}"', b'"request_id":"-"', response.content)
    headers = sorted((name.lower(), value) for name, value in response.headers.items())
    return response.status_code, body, [*headers, ("set-cookie", str(response.cookies))]


@pytest.mark.control("ASVS-6.3.8", "CS-Authentication-signup", "TOP10-A07:2025")
def test_refusals_are_the_same_in_every_byte(people: None) -> None:
    """R25: unknown, wrong, inactive, without a password."""
    answers = {kind: _seen(Browser().login(*typed)) for kind, typed in REFUSED.items()}
    assert answers["wrong"][0] == 401
    assert b"invalid_credentials" in answers["wrong"][1]
    assert len({repr(answer) for answer in answers.values()}) == 1, answers


def test_over_the_limit_all_accounts_look_alike(people: None, configure: Configure, clock: Any) -> None:
    """R25: 429 for whoever was tried too often, whether there is such an account or not."""
    configure(RATE_LIMITS={"login_account": "1/15m"})
    answers = set()
    for email, password in REFUSED.values():
        browser = Browser()
        browser.login(email, password)
        response = browser.login(email, "correct horse battery staple")
        assert response.status_code == 429
        status, body, headers = _seen(response)
        # The windows of different counters end at different seconds, whoever they are of.
        named = [(name, re.sub(r"(t=)?\d+$", "n", value) if name in _WINDOWED else value) for name, value in headers]
        answers.add(repr((status, body, named)))
    assert len(answers) == 1


_WINDOWED = {"retry-after", "ratelimit"}


def _shape(sql: str) -> str:
    sql = re.sub(r"'(?:[^']|'')*'", "?", sql)
    return re.sub(r"\b\d+(\.\d+)?\b", "?", sql)


def _trace(email: str, password: str) -> list[str]:
    browser = Browser()
    browser.csrf()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        browser.login(email, password)
    return [_shape(query["sql"]) for query in queries.captured_queries]


def test_refusals_ask_the_database_the_same_questions(people: None) -> None:
    """R25: the same work for a known and an unknown name."""
    traces = {kind: _trace(*typed) for kind, typed in REFUSED.items()}
    assert traces["wrong"]
    for kind, trace in traces.items():
        assert trace == traces["wrong"], kind


def test_over_the_limit_they_ask_the_same_questions_too(people: None, configure: Configure) -> None:
    """R25: the first refusal of a window, which is written to the trail, and those after it."""
    configure(RATE_LIMITS={"login_account": "1/1d"})
    accounts = sorted({email for email, _ in REFUSED.values()})
    for email in accounts:
        Browser().login(email, "a wrong password")
    for _ in range(2):
        traces = [_trace(email, PASSWORD) for email in accounts]
        assert all(trace == traces[0] for trace in traces), traces


class RealisticHasher(PBKDF2PasswordHasher):
    """Django's own, with few enough iterations for four hundred sign-ins: some milliseconds each."""

    iterations = 12_000


def _u_test(left: list[float], right: list[float]) -> float:
    """Mann–Whitney U as a z value: do the times of one group rank above the other's? No ties in perf_counter()."""
    ranked = sorted([(value, 0) for value in left] + [(value, 1) for value in right])
    ranks = sum(rank for rank, (_, group) in enumerate(ranked, start=1) if group == 0)
    n, m = len(left), len(right)
    u = ranks - n * (n + 1) / 2
    return (u - n * m / 2) / math.sqrt(n * m * (n + m + 1) / 12)


# Two-sided, alpha = 1e-4 for each pair. With 100 times in each group that is a difference of ranks (AUC) of 0.16:
# the time of one hash, left out for unknown names, would give 1.
CRITICAL = 3.89


def test_the_statistic_sees_a_difference() -> None:
    chance = random.Random(1)
    same = [[chance.gauss(10, 2) for _ in range(100)] for _ in range(2)]
    assert abs(_u_test(*same)) < CRITICAL
    assert abs(_u_test(same[0], [value + 3 for value in same[1]])) > CRITICAL


def _times(kinds: dict[str, tuple[str, str]], *, status: int) -> dict[str, list[float]]:
    """Wall-clock times of a hundred sign-ins of each kind, in random order, in one browser."""
    browser = Browser()
    browser.csrf()
    order = [kind for kind in kinds for _ in range(100)]
    random.Random(20).shuffle(order)
    for typed in kinds.values():  # what is loaded once is loaded now
        browser.login(*typed)
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for kind in order:
        started = time.perf_counter()
        answered = browser.login(*kinds[kind]).status_code
        times[kind].append(time.perf_counter() - started)
        assert answered == status
    return times


def _told_apart(
    times: dict[str, list[float]], *pairs: tuple[str, str], by: float = 0.0
) -> dict[tuple[str, str], float]:
    """The pairs of kinds whose times differ by more than so many seconds, each with its z."""
    found: dict[tuple[str, str], float] = {}
    for one, other in (*pairs, *((other, one) for one, other in pairs)):
        z = _u_test(times[one], [value + by for value in times[other]])
        if z >= CRITICAL:
            found[one, other] = round(z, 1)
    return found


@pytest.mark.slow
@pytest.mark.control("ASVS-6.3.8")
def test_four_hundred_interleaved_sign_ins_do_not_tell_accounts_apart_by_time(
    settings: Any, configure: Configure
) -> None:
    """R25: unknown, wrong and inactive, a hundred each, and a hundred more unknown ones for a control group.

    Mann–Whitney U over wall-clock times in random order, two-sided, alpha = 1e-4 for each of the four pairs.
    """
    settings.PASSWORD_HASHERS = ["tests.test_enumeration.RealisticHasher"]
    configure(RATE_LIMITS={"login_account": "1000000/1d", "login_address": "1000000/1d"})
    make_user("ana@example.com")
    make_user("gone@example.com", is_active=False)
    kinds = {
        "unknown": ("nobody@example.com", "a wrong password"),
        "control": ("someone@example.com", "a wrong password"),
        "wrong": ("ana@example.com", "a wrong password"),
        "inactive": ("gone@example.com", "correct horse battery staple"),
    }
    pairs = [("unknown", kind) for kind in ("control", "wrong", "inactive")]
    assert not _told_apart(_times(kinds, status=401), *pairs, ("wrong", "inactive"))


@pytest.mark.slow
@pytest.mark.control("ASVS-6.3.8")
def test_four_hundred_interleaved_sign_ins_over_the_limit_do_not_tell_accounts_apart_by_time(
    configure: Configure,
) -> None:
    """R25: 429 for a known, an inactive and an unknown account, a hundred each, and for a control group as above.

    The same statistic, for a difference of more than 0.1 ms. No hash drowns anything here, so that it would see what it
    takes to make a user of the row that was found: 0.04 ms. One query more, for some of them, is 0.2 ms.
    """
    configure(RATE_LIMITS={"login_account": "1/1d", "login_address": "1000000/1d"})
    make_user("ana@example.com")
    make_user("ben@example.com", is_active=False)
    names = {"unknown": "eve", "control": "ida", "known": "ana", "inactive": "ben"}
    # Whoever types more is answered later: as many characters for each.
    kinds = {kind: (f"{name}@example.com", PASSWORD) for kind, name in names.items()}
    for email, _ in kinds.values():
        assert Browser().login(email, "a wrong password").status_code == 401
    pairs = [("unknown", kind) for kind in ("control", "known", "inactive")]
    assert not _told_apart(_times(kinds, status=429), *pairs, ("known", "inactive"), by=0.0001)
