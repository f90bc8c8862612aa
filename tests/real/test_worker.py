"""A worker in a process of its own, on each broker: a code's mail arrives, once, whatever happens to the worker."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest

from django_secure_auth.otp.tasks import LEASE
from tests.real.conftest import Deploy
from tests.real.deployment import Deployment, Program, User
from tests.real.postoffice import Letter
from tests.real.visitor import Visitor
from tests.real.waiting import until

pytestmark = pytest.mark.services

BROKERS = ("redis", "amqp")
# Redis gives a dead worker's message to another one only after this time. Below our lease, so that the second
# delivery meets the lease of the dead worker and has to wait for its end.
VISIBILITY = {"CELERY_VISIBILITY_TIMEOUT": "5"}

Shared = Callable[[str], Deployment]


@pytest.fixture(scope="module")
def deployments(deploy: Deploy) -> Shared:
    @cache
    def on(broker: str) -> Deployment:
        made: Deployment = deploy(broker, **VISIBILITY)
        made.start_web()
        return made

    return on


@pytest.fixture(params=BROKERS)
def site(request: pytest.FixtureRequest, deployments: Shared) -> Deployment:
    return deployments(request.param)


@pytest.fixture
def site_at_work(site: Deployment) -> Deployment:
    site.have_worker()
    return site


@pytest.fixture
def site_without_worker(site: Deployment) -> Deployment:
    site.stop_workers()
    return site


def asks_for_code(site: Deployment, user: User) -> tuple[Visitor, str]:
    """Sign in with the password; returns the browser and the challenge's id."""
    visitor = site.visitor()
    answer = visitor.login(user.email, user.password)
    assert answer.status == 202, answer
    body = answer.json()
    assert body["status"] == "otp_required"
    return visitor, str(body["challenge"]["id"])


def is_in(visitor: Visitor) -> bool:
    return visitor.me().status == 200


def wait_until_read(site: Deployment) -> None:
    """Wait until the queue has been worked off up to now: a mail that was asked for last has come."""
    last = site.make_user("last")
    asks_for_code(site, last)
    site.post.wait_for(last.email)


def test_the_code_comes_by_mail_and_signs_in(site_at_work: Deployment) -> None:
    site, user = site_at_work, site_at_work.make_user()
    visitor = site.visitor("203.0.113.9")
    answer = visitor.login(user.email, user.password)
    assert answer.status == 202
    assert answer.json()["challenge"]["purpose"] == "login"
    assert not is_in(visitor)

    (letter,) = site.post.wait_for(user.email)
    assert letter.sender == "no-reply@example.com"
    assert letter.message["Subject"] == "Your sign-in code for app.example.com"
    for kind in ("plain", "html"):
        text = letter.part(kind)
        assert letter.code in text
        for named in ("Firefox on Linux", "203.0.113.9", "signing in to app.example.com", "5 minutes"):
            assert named in text, (kind, named)

    answer = visitor.approve(letter.code)
    assert answer.status == 200
    assert answer.json()["session"]["amr"] == ["pwd", "email"]
    assert is_in(visitor)
    assert site.sent(user) == site.events(user, "authn_otp_approved") == 1


def test_a_refused_mail_is_tried_again_later_and_arrives_once(site_at_work: Deployment) -> None:
    site, user = site_at_work, site_at_work.make_user()
    manners = site.post.treat(user.email)
    manners.refuse = 2
    visitor, _ = asks_for_code(site, user)
    (letter,) = site.post.wait_for(user.email)
    first, second, third = manners.tried_at
    assert second - first >= 1
    assert third - second >= 2
    assert visitor.approve(letter.code).status == 200
    wait_until_read(site)
    assert len(manners.tried_at) == 3
    assert len(site.post.of(user.email)) == 1


def test_a_code_that_died_while_no_worker_ran_is_not_mailed(site_without_worker: Deployment) -> None:
    site = site_without_worker
    expired, closed, kept = (site.make_user(name) for name in ("expired", "closed", "kept"))
    _, expired_id = asks_for_code(site, expired)
    visitor, _ = asks_for_code(site, closed)
    assert visitor.logout().status == 204  # a sign-out closes the challenge of its browser
    asks_for_code(site, kept)
    site.rows("UPDATE django_secure_auth_otpchallenge SET expires_at = now() WHERE id = %s", expired_id)

    site.have_worker()
    site.post.wait_for(kept.email)
    wait_until_read(site)
    assert site.post.of(expired.email) == site.post.of(closed.email) == []
    assert site.events(expired, "authn_otp_sent") == site.events(closed, "authn_otp_sent") == 0


def let_resend(site: Deployment, challenge_id: str) -> None:
    """The wait between two mails is over."""
    site.rows("UPDATE django_secure_auth_otpchallenge SET resend_at = now() WHERE id = %s", challenge_id)


def test_a_resend_mails_a_new_code_and_kills_the_old(site_at_work: Deployment) -> None:
    site, user = site_at_work, site_at_work.make_user()
    visitor, challenge_id = asks_for_code(site, user)
    (old,) = site.post.wait_for(user.email)
    assert visitor.resend().status == 429
    let_resend(site, challenge_id)
    assert visitor.resend().status == 202
    new = site.post.wait_for(user.email, count=2)[-1]
    assert new.code != old.code
    refused = visitor.approve(old.code)
    assert (refused.status, refused.problem) == (401, "otp_invalid")
    assert visitor.approve(new.code).status == 200
    assert is_in(visitor)


def test_a_resend_that_overtakes_its_first_mail_makes_one_mail(site_without_worker: Deployment) -> None:
    site, user = site_without_worker, site_without_worker.make_user()
    visitor, challenge_id = asks_for_code(site, user)
    let_resend(site, challenge_id)
    assert visitor.resend().status == 202
    site.have_worker()
    site.post.wait_for(user.email)
    wait_until_read(site)
    (letter,) = site.post.of(user.email)
    assert visitor.approve(letter.code).status == 200


def test_a_message_delivered_three_times_makes_one_mail(site_at_work: Deployment) -> None:
    site, user = site_at_work, site_at_work.make_user()
    _, challenge_id = asks_for_code(site, user)
    site.send_task(challenge_id)
    site.send_task(challenge_id)
    site.post.wait_for(user.email)
    wait_until_read(site)
    assert len(site.post.of(user.email)) == 1
    assert site.sent(user) == 1


# --- the worker dies ---------------------------------------------------------------------------------


class Disaster:
    """What happens to four people's mails, once on each broker; the tests below look at it.

    `child` had her mail in the hands of a pool process that is killed; `whole` in those of a worker that is killed
    with its pool. `crowd` are served by two workers at once, with every message three times.
    """

    def __init__(self, site: Deployment) -> None:
        self.site = site
        self.child, self.whole = site.make_user("child"), site.make_user("whole")
        self.crowd = [site.make_user(f"crowd{number}") for number in range(4)]
        self.visitors: dict[str, Visitor] = {}
        self.letters: dict[str, list[Letter]] = {}
        self._happen()

    def _happen(self) -> None:
        site, post = self.site, self.site.post
        site.stop_workers()
        doomed = site.start_worker(pool="prefork")

        self._hang_mail_of(self.child)
        (pool_process,) = doomed.children()
        os.kill(pool_process, signal.SIGKILL)
        until(lambda: post.treat(self.child.email).holds == 0, "the connection to break")
        until(lambda: doomed.children() not in ([], [pool_process]), "a new pool process")

        self._hang_mail_of(self.whole)
        doomed.kill()
        until(lambda: post.treat(self.whole.email).holds == 0, "the connection to break")
        post.treat(self.child.email).hang = post.treat(self.whole.email).hang = False

        for user in self.crowd:
            post.treat(user.email).delay = 1.0  # so that the other worker comes while the mail is being sent
            self.visitors[user.email], challenge_id = asks_for_code(site, user)
            site.send_task(challenge_id)
            site.send_task(challenge_id)
        self.heirs = [site.start_worker(wait=False), site.start_worker(wait=False)]
        for user in (*self.crowd, self.whole, self.child):
            post.wait_for(user.email, seconds=55)
        # Who met the lease of the other comes back when it is over: only then is it certain that nothing more comes.
        until(self._is_worked_off, "the late comers", seconds=30)
        self.letters = {user.email: post.of(user.email) for user in (self.child, self.whole, *self.crowd)}

    def _hang_mail_of(self, user: User) -> None:
        manners = self.site.post.treat(user.email)
        manners.hang = True
        self.visitors[user.email], _ = asks_for_code(self.site, user)
        until(lambda: manners.holds == 1, f"the mail of {user.email} to hang")

    def _is_worked_off(self) -> bool:
        return sum(map(_received, self.heirs)) == sum(map(_finished, self.heirs))


def _received(worker: Program) -> int:
    return worker.log.count(" received")


def _finished(worker: Program) -> int:
    return worker.log.count(" succeeded in ") + worker.log.count(" retry: Retry in ")


@pytest.fixture(scope="module")
def disasters(deployments: Shared) -> Callable[[str], Disaster]:
    """Both at once, since each waits for leases most of the time; and to their end, before another test goes on."""

    @cache
    def all_of_them() -> dict[str, Disaster]:
        sites = [deployments(broker) for broker in BROKERS]
        with ThreadPoolExecutor() as pool:
            return dict(zip(BROKERS, pool.map(Disaster, sites), strict=True))

    return lambda broker: all_of_them()[broker]


@pytest.fixture(params=BROKERS)
def disaster(request: pytest.FixtureRequest, disasters: Callable[[str], Disaster]) -> Disaster:
    return disasters(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("who", ["child", "whole"])
def test_the_mail_of_a_killed_worker_is_sent_by_another_once(disaster: Disaster, who: str) -> None:
    user: User = getattr(disaster, who)
    assert len(disaster.site.post.treat(user.email).tried_at) == 2
    (letter,) = disaster.letters[user.email]
    visitor = disaster.visitors[user.email]
    assert visitor.approve(letter.code).status == 200
    assert is_in(visitor)
    assert disaster.site.sent(user) == 1


@pytest.mark.slow
def test_two_workers_at_once_send_each_mail_once(disaster: Disaster) -> None:
    assert all(_received(worker) for worker in disaster.heirs)
    # Who met the other's lease came back at its end, not a whole lease after that.
    waits = [float(wait) for worker in disaster.heirs for wait in re.findall(r"Retry in ([0-9.]+)s", worker.log)]
    assert waits
    assert max(waits) < LEASE.total_seconds()
    for user in disaster.crowd:
        (letter,) = disaster.letters[user.email]
        assert disaster.visitors[user.email].approve(letter.code).status == 200
        assert disaster.site.sent(user) == 1
