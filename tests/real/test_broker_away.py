"""A part is away: the answer says so, soon, nothing is half-done, and when the part is back all goes on.

Each deployment reaches its parts by a wire that the test cuts (nobody listens, connections break), mends, or lets
fall silent (connections stand, not a byte comes back).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from tests import reachable
from tests.real.conftest import Deploy
from tests.real.deployment import Deployment, User, own_redis_database
from tests.real.visitor import PROBLEM, REFRESH, Answer, Visitor
from tests.real.wire import Wire

pytestmark = pytest.mark.services

SECONDS = 5.0
"""The longest that somebody waits to hear that a part is away."""
SILENT_SECONDS = 12.0
"""The same when a broker hangs: two tries, each to the end of its patience."""
PORTS = {"redis": 6379, "amqp": 5672, "postgres": 5432}


@dataclass
class Cut:
    site: Deployment
    wire: Wire


def is_refused(answer: Answer, code: str, *, within: float = SECONDS) -> None:
    assert (answer.status, answer.header("Content-Type"), answer.problem) == (503, PROBLEM, code), answer
    assert set(answer.json()) == {"type", "title", "status", "detail", "code", "request_id"}
    assert not any(answer.set_cookies.values()), answer.set_cookies
    assert answer.seconds < within


# --- the broker --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def brokers(deploy: Deploy) -> Iterator[Callable[[str], Cut]]:
    with contextlib.ExitStack() as stack:

        @cache
        def on(broker: str) -> Cut:
            wires: list[Wire] = []

            def through(url: str) -> str:
                wires.append(stack.enter_context(Wire(url, PORTS[broker])))
                return wires[0].url

            site: Deployment = deploy(broker, through=through)
            wires[0].down()  # the web server starts, and works, without it
            site.start_web()
            return Cut(site, wires[0])

        yield on


@pytest.fixture(params=["redis", "amqp"])
def broker(request: pytest.FixtureRequest, brokers: Callable[[str], Cut]) -> Cut:
    cut = brokers(request.param)
    cut.wire.up()
    return cut


def is_not_delivered(site: Deployment, user: User, *, within: float = SECONDS) -> None:
    visitor = site.visitor().arrive()
    is_refused(visitor.login(user.email, user.password), "delivery_unavailable", within=within)
    assert site.open_challenges(user) == 0
    assert site.count("otpchallenge", "user_id = %s AND closed_reason = 'undelivered'", user.id) == 1
    assert site.events(user, "authn_otp_undelivered") == 1
    assert site.sessions(user, "true") == 0
    assert site.events(user, "authn_login_success") == 0


def is_delivered(site: Deployment, user: User) -> None:
    answer = site.visitor().login(user.email, user.password)
    assert answer.status == 202, answer
    assert site.open_challenges(user) == 1


def test_a_sign_in_without_broker_says_so_and_works_when_it_is_back(broker: Cut) -> None:
    user = broker.site.make_user()
    broker.wire.down()
    is_not_delivered(broker.site, user)
    broker.wire.up()
    is_delivered(broker.site, user)


@pytest.mark.parametrize("fault", ["down", "silence"])
def test_a_broker_that_goes_between_two_sign_ins(broker: Cut, fault: str) -> None:
    site = broker.site
    is_delivered(site, site.make_user())  # the server's connection stands
    user = site.make_user()
    getattr(broker.wire, fault)()
    is_not_delivered(site, user, within=SECONDS if fault == "down" else SILENT_SECONDS)
    broker.wire.up()
    is_delivered(site, user)


def test_a_resend_without_broker_closes_the_challenge(broker: Cut) -> None:
    site, user = broker.site, broker.site.make_user()
    visitor = site.visitor()
    assert visitor.login(user.email, user.password).status == 202
    site.rows("UPDATE django_secure_auth_otpchallenge SET resend_at = now() WHERE user_id = %s", user.id)
    broker.wire.down()
    is_refused(visitor.resend(), "delivery_unavailable")
    assert site.open_challenges(user) == 0


def test_who_is_signed_in_does_not_notice(broker: Cut) -> None:
    site, user = broker.site, broker.site.make_user()
    site.have_worker()
    visitor = site.sign_in(user)
    site.stop_workers()
    broker.wire.down()
    assert visitor.me().status == 200
    stolen = visitor.jar[REFRESH]
    assert visitor.refresh().status == 200
    assert visitor.me().status == 200
    # A theft ends the session although nobody can be told by mail now.
    site.end_grace(user)
    thief = visitor.copy()
    thief.jar[REFRESH] = stolen
    assert thief.refresh().problem == "refresh_reused"
    assert visitor.me().problem == "session_revoked"


# --- the database ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def database(deploy: Deploy) -> Iterator[Cut]:
    with Wire(reachable.url_of("postgres"), PORTS["postgres"]) as wire:
        site: Deployment = deploy("redis")
        site.env["DATABASE_URL"] = f"{wire.url}/{site.database}"
        site.start_web()
        yield Cut(site, wire)


@pytest.fixture
def without_database(database: Cut) -> Cut:
    database.wire.up()
    database.site.env["DATABASE_URL"] = f"{reachable.url_of('postgres')}/{database.site.database}"
    database.site.have_worker()  # it is not the worker's database that goes
    return database


def test_nothing_is_half_done_without_the_database(without_database: Cut) -> None:
    site, wire = without_database.site, without_database.wire
    user, other = site.make_user(), site.make_user("other")
    signed_in = site.sign_in(user)
    half_way = site.visitor()
    assert half_way.login(other.email, other.password).status == 202
    (letter,) = site.post.wait_for(other.email)
    newcomer = site.visitor().arrive()
    assert site.sent(user) == site.sent(other) == 1
    events = site.count("securityevent")

    wire.down()
    answers = [
        newcomer.login(user.email, user.password),
        half_way.approve(letter.code),
        half_way.resend(),
        signed_in.me(),
        signed_in.refresh(),
        signed_in.logout(),
    ]
    wire.up()

    for answer in answers:
        is_refused(answer, "state_unavailable")
    assert site.sessions(user) == 1
    assert site.count("otpchallenge", "user_id = %s", user.id) == 1
    assert site.open_challenges(other) == 1
    assert site.count("securityevent") == events
    # Whoever was refused goes on where he was.
    assert half_way.approve(letter.code).status == 200
    assert signed_in.refresh().status == 200
    assert signed_in.me().status == 200
    assert newcomer.login(user.email, user.password).status == 202
    assert signed_in.logout().status == 204


def test_a_database_that_goes_in_the_middle_of_an_approval(without_database: Cut) -> None:
    site, user = without_database.site, without_database.site.make_user()
    visitor = site.visitor()
    assert visitor.login(user.email, user.password).status == 202
    (letter,) = site.post.wait_for(user.email)
    # The server ends this connection at the very moment when the session is stored: the code is used by then.
    site.rows(
        "CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$"
    )
    site.rows("CREATE TRIGGER go_away BEFORE INSERT ON django_secure_auth_session EXECUTE FUNCTION go_away()")
    try:
        answer = visitor.approve(letter.code)
    finally:
        site.rows("DROP FUNCTION go_away CASCADE")
    is_refused(answer, "state_unavailable")
    assert site.sessions(user, "true") == 0
    assert site.events(user, "authn_login_success") == site.events(user, "session_created") == 0
    assert visitor.me().status == 401
    # A code counts once, also when it helped nobody; the next sign-in is whole again.
    assert visitor.approve(letter.code).problem == "challenge_invalid"
    assert site.sign_in(user).me().status == 200


# --- the cache ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache_site(deploy: Deploy) -> Iterator[Cut]:
    with own_redis_database() as url, Wire(url, PORTS["redis"]) as wire:
        site: Deployment = deploy("amqp", CACHE_URL=wire.url, STATE_CACHE="default")
        site.start_web()
        yield Cut(site, wire)


@pytest.fixture
def state(cache_site: Cut) -> Cut:
    cache_site.wire.up()
    cache_site.site.have_worker()
    return cache_site


@dataclass
class Journey:
    visitor: Visitor
    user: User


@pytest.fixture
def signed_in(state: Cut) -> Journey:
    user = state.site.make_user()
    visitor = state.site.sign_in(user)
    assert visitor.me().status == 200
    return Journey(visitor, user)


@pytest.mark.parametrize("fault", ["down", "silence"])
def test_requests_and_refresh_go_on_without_the_cache(state: Cut, signed_in: Journey, fault: str) -> None:
    visitor = signed_in.visitor
    getattr(state.wire, fault)()
    answers = [visitor.me(), visitor.me(), visitor.refresh(), visitor.me()]
    assert [answer.status for answer in answers] == [200] * 4
    assert max(answer.seconds for answer in answers) < SECONDS
    state.wire.up()
    assert visitor.me().status == 200


@pytest.mark.parametrize("fault", ["down", "silence"])
def test_sign_in_fails_closed_without_the_cache_that_counts(state: Cut, fault: str) -> None:
    site, user = state.site, state.site.make_user()
    visitor = site.visitor().arrive()
    getattr(state.wire, fault)()
    is_refused(visitor.login(user.email, user.password), "state_unavailable")
    is_refused(visitor.login(user.email, "wrong"), "state_unavailable")
    assert site.count("otpchallenge", "user_id = %s", user.id) == 0
    assert site.sessions(user, "true") == 0
    state.wire.up()
    assert visitor.login(user.email, user.password).status == 202


@pytest.mark.parametrize("fault", ["down", "silence"])
def test_a_sign_out_that_could_not_hold_everywhere_is_refused_whole(state: Cut, signed_in: Journey, fault: str) -> None:
    site, visitor, user = state.site, signed_in.visitor, signed_in.user
    getattr(state.wire, fault)()
    is_refused(visitor.logout(), "state_unavailable")
    is_refused(visitor.send("DELETE", f"/api/auth/sessions/{site.first_id('session', user)}/"), "state_unavailable")
    assert site.sessions(user) == 1
    assert site.events(user, "authn_token_revoked") == 0
    assert visitor.me().status == 200
    state.wire.up()
    assert visitor.me().status == 200
    before = visitor.copy()
    assert visitor.logout().status == 204
    assert before.me().problem == "session_revoked"
    assert site.sessions(user) == 0
