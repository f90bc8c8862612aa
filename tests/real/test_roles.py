"""A grant and its end hold in every process at once, with a shared cache and without one."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from tests.real.conftest import Deploy
from tests.real.deployment import Deployment, own_redis_database
from tests.real.visitor import Visitor

pytestmark = pytest.mark.services

PROCESSES = 2
ROUNDS = 6
REQUESTS, AT_ONCE = 12, 4


@pytest.fixture(scope="module")
def sites(deploy: Deploy) -> Iterator[Callable[[str], Deployment]]:
    with own_redis_database() as url:

        @cache
        def on(state_cache: str) -> Deployment:
            site: Deployment = deploy(
                "redis", CACHE_URL=url, STATE_CACHE=state_cache, DJANGO_SETTINGS_MODULE="tests.real.role_settings"
            )
            site.start_web(workers=PROCESSES)
            site.have_worker()
            return site

        yield on


def ask(visitor: Visitor) -> int:
    return visitor.copy().send("GET", "/api/editor/").status


def ask_often(visitor: Visitor) -> set[int]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return set(pool.map(lambda _: ask(visitor), range(REQUESTS)))


def process_shares(site: Deployment) -> Counter[str]:
    assert site.web is not None
    return Counter(re.findall(r'pid=<?(\d+)>? "GET /api/editor/', site.web.log))


@pytest.mark.parametrize("state_cache", ["default", ""], ids=["cache", "database"])
@pytest.mark.parametrize("how", ["grant", "role"])
def test_after_the_answer_to_a_revocation_no_request_passes_and_after_a_grant_all_do(
    sites: Callable[[str], Deployment], state_cache: str, how: str
) -> None:
    """Others ask all the while, so that every process has a copy, and some are filling the cache as it changes."""
    site = sites(state_cache)
    user = site.make_user()
    visitor = site.sign_in(user)
    boss = site.sign_in(site.make_user("boss", is_staff=True))
    stop = threading.Event()

    def hammer() -> None:
        while not stop.is_set():
            assert ask(visitor) in {200, 403}

    before = process_shares(site)
    with ThreadPoolExecutor(2) as pool:
        hammers = [pool.submit(hammer) for _ in range(2)]
        try:
            for _ in range(ROUNDS):
                for gives, status in ((True, 200), (False, 403)):
                    change = {"user": user.id, "how": how, "gives": gives}
                    assert boss.send("POST", "/api/change/", change).status == 200
                    assert ask_often(visitor) == {status}
        finally:
            stop.set()
    for one in hammers:
        one.result()
    assert len(process_shares(site) - before) == PROCESSES
