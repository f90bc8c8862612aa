"""The same journey under gunicorn with several processes and under uvicorn; an end holds in all of them at once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from tests.real.conftest import Deploy
from tests.real.deployment import Deployment, own_redis_database
from tests.real.visitor import CHALLENGE, REFRESH, Answer, Visitor

pytestmark = pytest.mark.services

PROCESSES = 2
REQUESTS = 50
AT_ONCE = 5


@pytest.fixture(scope="module")
def servers(deploy: Deploy) -> Iterator[Callable[[str], Deployment]]:
    with own_redis_database() as url:

        @cache
        def on(server: str) -> Deployment:
            site: Deployment = deploy("redis", CACHE_URL=url, STATE_CACHE="default")
            site.start_web(server=server, workers=PROCESSES)
            site.have_worker()
            return site

        yield on


@pytest.fixture(params=["gunicorn", "uvicorn"])
def site(request: pytest.FixtureRequest, servers: Callable[[str], Deployment]) -> Deployment:
    return servers(request.param)


def ask_often(visitor: Visitor) -> list[Answer]:
    """Many requests, some at a time, each on a connection of its own: every process gets its share."""

    def ask(_: int) -> Answer:
        return visitor.copy().me()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, range(REQUESTS)))


def process_shares(site: Deployment) -> Counter[str]:
    """How many requests for `me/` each gunicorn process has answered."""
    assert site.web is not None
    return Counter(re.findall(r'pid=<?(\d+)>? "GET /api/auth/me/', site.web.log))


def test_the_whole_journey(site: Deployment) -> None:
    user = site.make_user()
    visitor = site.visitor()
    assert visitor.login(user.email, "wrong").problem == "invalid_credentials"
    assert visitor.login(user.email, user.password).status == 202
    assert visitor.me().problem == "not_authenticated"
    (letter,) = site.post.wait_for(user.email)
    wrong = f"{(int(letter.code) + 1) % 10**6:06d}"
    assert visitor.approve(wrong).json()["attempts_left"] == 4
    answer = visitor.approve(letter.code)
    assert answer.status == 200
    assert CHALLENGE not in visitor.jar
    me = visitor.me()
    assert me.json()["email"] == user.email
    assert me.header("Cache-Control") == "no-store"
    assert me.header("Strict-Transport-Security")

    stolen = visitor.copy()
    assert visitor.refresh().status == 200
    assert visitor.jar[REFRESH] != stolen.jar[REFRESH]
    assert visitor.me().status == 200
    site.end_grace(user)
    assert stolen.refresh().problem == "refresh_reused"
    assert visitor.me().problem == "session_revoked"
    notice = site.post.wait_for(user.email, count=2)[-1]
    assert "Your account at" in str(notice.message["Subject"])
    assert "refresh token of yours was used twice" in notice.part("plain")

    assert visitor.login(user.email, user.password).status == 200  # in its trusted browser
    assert [row["current"] for row in visitor.send("GET", "/api/auth/sessions/").json()["results"]] == [True]
    assert visitor.logout().status == 204
    assert visitor.me().problem == "not_authenticated"


@pytest.mark.parametrize("end", ["sign_out", "from_elsewhere", "password", "deactivation"])
def test_an_ended_session_is_refused_by_every_process_at_once(servers: Callable[[str], Deployment], end: str) -> None:
    site = servers("gunicorn")
    user = site.make_user()
    visitor = site.sign_in(user)
    before = process_shares(site)
    assert {answer.status for answer in ask_often(visitor)} == {200}
    assert len(process_shares(site) - before) == PROCESSES, "a process has not seen the session yet"

    held = visitor.copy()
    if end == "sign_out":
        assert visitor.logout().status == 204
    elif end == "from_elsewhere":
        other = site.sign_in(user)
        assert other.send("DELETE", "/api/auth/sessions/").status == 204
    else:
        change_in_admin(site, user.id, end)

    before = process_shares(site)
    assert {(answer.status, answer.problem) for answer in ask_often(held)} == {(401, "session_revoked")}
    assert len(process_shares(site) - before) == PROCESSES
    assert held.refresh().problem == "session_revoked"


def change_in_admin(site: Deployment, user_id: int, what: str) -> None:
    """Somebody of the staff changes the account, by hand."""
    admin, _ = site.enter_admin()
    if what == "password":
        secret = "another correct horse staple"
        path, form = f"/admin/auth/user/{user_id}/password/", {"password1": secret, "password2": secret}
        form["usable_password"] = "true"
    else:
        (name, joined) = site.one("SELECT username, date_joined FROM auth_user WHERE id = %s", user_id)
        path = f"/admin/auth/user/{user_id}/change/"
        form = {"username": name, "date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
    answer = admin.send("POST", path, form=form)
    assert answer.status == 302, answer.body


def test_a_refresh_in_one_process_is_known_in_every_other(servers: Callable[[str], Deployment]) -> None:
    site = servers("gunicorn")
    user = site.make_user()
    visitor = site.sign_in(user)
    first = visitor.copy()

    def refresh(_: int) -> Visitor:
        tab = first.copy()
        assert tab.refresh().status == 200
        return tab

    with ThreadPoolExecutor(AT_ONCE) as pool:
        tabs = list(pool.map(refresh, range(10)))
    assert len({tab.jar[REFRESH] for tab in tabs}) == 1
    assert {answer.status for answer in ask_often(tabs[0])} == {200}
    assert site.sessions(user) == 1
