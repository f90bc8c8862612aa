"""Refresh tokens under a race: one successor for all, theft noticed once, no life after sign-out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.sessions.models import Session
from tests.races.browser import REFRESH, Browser, at_once, mails_to, statuses
from tests.races.conftest import PASSWORD, ROUNDS, Configure, email_of, new_user

NewBrowser = Callable[[], Browser]


@pytest.fixture(autouse=True)
def _without_codes(configure: Configure) -> None:
    configure(OTP_POLICY="never")


def signed_in(browser: NewBrowser) -> tuple[Browser, str, str]:
    """A fresh browser with a session; the session's id and the user's address."""
    email = email_of(new_user())
    client = browser()
    answer = client.sign_in(email, PASSWORD)
    return client, answer.body["session"]["id"], email


@pytest.mark.control("ASVS-2.3.4")
def test_one_refresh_token_from_sixteen_threads_gives_one_living_successor_to_all(browser: NewBrowser) -> None:
    """R1, R2, R3, R47: as many tabs at once; all hold the same living tokens, and nobody is signed out."""
    for _ in range(ROUNDS):
        client, session_id, _email = signed_in(browser)
        answers = at_once(client.refresh() for _ in range(16))
        assert statuses(answers) == {"200": 16}
        assert len({answer.cookies[REFRESH] for answer in answers}) == 1
        assert answers[0].cookies[REFRESH] != client.jar[REFRESH]
        assert Session.objects.get(pk=session_id).generation == 2

        for answer in answers:  # each caller's access token is good as well
            holder = client.copy()
            holder.keep(answer)
            assert holder.probe().send().status == 200
        client.keep(answers[0])
        assert client.refresh().send().status == 200
        assert Session.objects.get(pk=session_id).generation == 3


@pytest.mark.control("RFC9700-4.14.2-a")
@pytest.mark.control("ASVS-10.4.5")
def test_a_later_replay_by_sixteen_threads_ends_the_session_and_is_told_once(browser: NewBrowser) -> None:
    """R1, R46: the predecessor of an acknowledged token is a copy in somebody's hands, and ends the session."""
    for _ in range(ROUNDS):
        client, session_id, email = signed_in(browser)
        thief = client.copy()
        for answer in at_once(client.refresh() for _ in range(16)):
            assert answer.status == 200
            client.keep(answer)
        assert client.probe().send().status == 200  # acknowledges
        Session.objects.filter(pk=session_id).update(rotated_at=timezone.now() - timedelta(minutes=1))

        replayed = statuses(at_once(thief.refresh() for _ in range(16)))
        # One of them finds a living session and ends it; the others may find it ended already.
        assert replayed["401 refresh_reused"] >= 1
        assert replayed["401 refresh_reused"] + replayed["401 session_revoked"] == 16

        row = Session.objects.get(pk=session_id)
        assert row.revoked_at is not None
        assert row.revoked_reason == "refresh_reused"
        assert SecurityEvent.objects.filter(event="authn_token_reuse", session_id=session_id).count() == 1
        assert len(mails_to(email)) == 1
        assert client.probe().send().code == "session_revoked"
        assert client.refresh().send().code == "session_revoked"
