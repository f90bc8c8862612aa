"""What ends a session or an account, racing with what goes on: after the answer nothing passes, and no 500 before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, OperationalError
from django.http import HttpRequest

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.exceptions import SessionRevoked
from django_secure_auth.sessions import services as sessions
from django_secure_auth.sessions import state as session_state
from django_secure_auth.sessions.models import Session
from tests.races.browser import Answer, Browser, Call, at_once, code_for, in_threads, statuses
from tests.races.conftest import PASSWORD, ROUNDS, Configure, email_of, new_user

NewBrowser = Callable[[], Browser]

STATE_CACHES = [
    pytest.param(None, id="state in the database"),
    pytest.param("default", id="state in a cache"),
]


@pytest.mark.control("ASVS-7.4.1")
@pytest.mark.parametrize("state_cache", STATE_CACHES)
def test_after_the_answer_to_a_sign_out_no_refresh_and_no_request_passes(
    browser: NewBrowser, configure: Configure, state_cache: str | None
) -> None:
    """R52: one tab goes on refreshing, seven go on reading with what it was handed, and one signs out."""
    configure(OTP_POLICY="never", STATE_CACHE=state_cache)
    for _ in range(ROUNDS):
        client = browser()
        session_id = client.sign_in(email_of(new_user()), PASSWORD).body["session"]["id"]
        signed_out = threading.Event()
        # Tabs of one browser share their cookies; the one that refreshes brings new ones for all.
        steps = [client.refresh, *[client.probe] * 7]

        def go_on(
            step: Callable[[], Call], client: Browser = client, done: threading.Event = signed_out
        ) -> list[Answer]:
            answers: list[Answer] = []
            stop_at = float("inf")
            while time.monotonic() < stop_at:
                answers.append(step().send())
                if answers[-1].status == 200:
                    client.keep(answers[-1])
                if done.is_set() and stop_at == float("inf"):
                    stop_at = time.monotonic() + 0.2
            return answers

        def sign_out(client: Browser = client, done: threading.Event = signed_out) -> list[Answer]:
            time.sleep(0.15)
            try:
                return [client.logout().send()]
            finally:
                done.set()

        jobs: list[Callable[[], list[Answer]]] = [*(partial(go_on, step) for step in steps), sign_out]
        *others, (end,) = in_threads(jobs)
        answers = [answer for part in others for answer in part]
        assert end.status == 204
        assert set(statuses(answers)) <= {"200", "401 session_revoked"}
        assert [answer for answer in answers if answer.began < end.began and answer.status == 200]
        assert [answer for answer in answers if answer.began > end.ended]
        assert not [answer for answer in answers if answer.began > end.ended and answer.status != 401]
        # With whatever was handed out last, too.
        assert statuses([client.refresh().send(), client.probe().send()]) == {"401 session_revoked": 2}
        assert SecurityEvent.objects.filter(event="authn_token_revoked", session_id=session_id).count() == 1


@pytest.mark.control("ASVS-15.4.3")
def test_refreshes_and_sign_outs_at_once_neither_lock_one_another_nor_leave_a_session(
    browser: NewBrowser, configure: Configure
) -> None:
    configure(OTP_POLICY="never")
    for _ in range(ROUNDS):
        client = browser()
        session_id = client.sign_in(email_of(new_user()), PASSWORD).body["session"]["id"]
        calls = [call for _ in range(8) for call in (client.refresh(), client.logout())]
        answers = at_once(calls)
        counted = statuses(answers)
        assert counted["204"] == 8
        assert counted["200"] + counted["401 session_revoked"] == 8
        assert not Session.objects.alive().filter(pk=session_id).exists()
        for answer in answers:
            if answer.status == 200:
                client.keep(answer)
                assert client.probe().send().code == "session_revoked"


def test_a_late_touch_does_not_lift_the_tombstone_of_a_session_that_is_being_ended(configure: Configure) -> None:
    """Between the tombstone and the UPDATE, a request that had touched the session before drops its copy, and
    another one, which still sees the row alive, would fill the cache: a revoked session that passes for minutes."""
    configure(STATE_CACHE="default")
    user = new_user()
    session = _opened(user)
    session_state.bury([session.pk])
    session_state.refresh_copy(session.pk)
    stale = session_state.read_state(session.pk)
    assert stale is not None
    Session.objects.filter(pk=session.pk).update(revoked_at=session.created_at, revoked_reason="sign_out")
    session_state.keep_copy(session.pk, stale)
    with pytest.raises(SessionRevoked):
        sessions.alive(session.pk, str(session.user_id))


def _opened(user: AbstractBaseUser) -> Session:
    request = HttpRequest()
    request.META["REMOTE_ADDR"] = "127.0.0.1"
    return sessions.open_session(user, request=request, amr=["pwd"])


def test_an_account_deleted_while_it_is_used_is_a_refusal_and_never_a_500(
    browser: NewBrowser, configure: Configure
) -> None:
    configure(OTP_POLICY="new_device")
    for _ in range(ROUNDS):
        user = new_user()
        email = email_of(user)
        signed_in = browser()
        signed_in.sign_in(email, PASSWORD)
        waiting = browser()
        assert waiting.send("POST", "secure_auth:login", {"email": email, "password": PASSWORD}).status == 202
        code = code_for(email)
        calls = [
            call
            for _ in range(4)
            for call in (
                signed_in.refresh(),
                signed_in.probe(),
                signed_in.me(),
                signed_in.login(email, PASSWORD),
                waiting.approve(code),
                waiting.resend(),
                browser().login(email, PASSWORD),
            )
        ]

        def delete(pk: Any = user.pk) -> list[Answer]:
            time.sleep(0.02)
            while True:
                try:
                    get_user_model()._default_manager.get(pk=pk).delete()
                except (IntegrityError, OperationalError):
                    continue  # Django collects first and deletes then: a row was made in between, so collect again
                return []

        jobs: list[Callable[[], list[Answer]]] = [partial(at_once, calls), delete]
        answers, _nothing = in_threads(jobs)
        # MariaDB may find a deadlock between the deletion and a sign-in, and gives one of them up: that is a 503.
        assert {code for code in statuses(answers) if code.startswith("5")} <= {"503 state_unavailable"}
        assert signed_in.probe().send().status == 401
        assert signed_in.refresh().send().status == 401
        assert waiting.approve(code).send().code == "challenge_invalid"
