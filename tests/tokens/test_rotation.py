"""Rotation by compare-and-swap, its races taken step by step, and the mail of a theft."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.utils import timezone

from django_secure_auth.exceptions import RefreshReused, SessionInactive, SessionRevoked
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session, open_session
from django_secure_auth.tokens import services
from django_secure_auth.tokens.services import issue, rotate
from tests.browser import make_user, named

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def request_(rf: Any) -> Any:
    return rf.get("/", REMOTE_ADDR="192.0.2.1")


@pytest.fixture
def session(request_: Any) -> Session:
    return open_session(make_user(), request=request_, amr=["pwd"])


def _meanwhile(monkeypatch: pytest.MonkeyPatch, event: Any) -> None:
    """Let something happen once, between the look at the row and the swap."""
    real = services._swap

    def swap(session: Session) -> bool:
        monkeypatch.setattr(services, "_swap", real)
        event()
        return real(session)

    monkeypatch.setattr(services, "_swap", swap)


def test_the_loser_of_a_race_gets_the_winners_token(
    session: Session, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R1, R2, R47: two requests with one token; whoever comes second hands out the same successor."""
    token = issue(session).refresh
    winners: list[str] = []
    _meanwhile(monkeypatch, lambda: winners.append(rotate(token, request=request_).tokens.refresh))
    loser = rotate(token, request=request_)
    assert [loser.tokens.refresh] == winners
    assert loser.session.generation == 2
    assert Session.objects.get().generation == 2


def test_a_revocation_in_between_wins(session: Session, request_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R52: `revoked_at IS NULL` stands in the same UPDATE."""
    token = issue(session).refresh
    _meanwhile(monkeypatch, lambda: end_session(session.pk, user_id=session.user_id, reason="x"))
    with pytest.raises(SessionRevoked):
        rotate(token, request=request_)
    assert Session.objects.get().generation == 1


def test_a_deletion_in_between_is_a_refusal(session: Session, request_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue(session).refresh
    _meanwhile(monkeypatch, lambda: Session.objects.all().delete())
    with pytest.raises(SessionRevoked):
        rotate(token, request=request_)


def test_a_deadline_in_between_is_a_refusal(session: Session, request_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue(session).refresh
    past = timezone.now() - timedelta(hours=1)
    _meanwhile(monkeypatch, lambda: Session.objects.update(idle_at=past))
    with pytest.raises(SessionInactive):
        rotate(token, request=request_)


def test_two_rotations_in_between_are_a_theft(session: Session, request_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = issue(session).refresh

    def twice() -> None:
        rotate(rotate(token, request=request_).tokens.refresh, request=request_)

    _meanwhile(monkeypatch, twice)
    with pytest.raises(RefreshReused):
        rotate(token, request=request_)


def test_a_theft_that_another_replay_has_ended_is_told_once(
    session: Session, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two replays at once: the one whose UPDATE hits tells, and both are refused."""
    token = issue(session).refresh
    rotate(rotate(token, request=request_).tokens.refresh, request=request_)
    real = services.end_session

    def lost(pk: Any, **kwargs: Any) -> bool:
        assert real(pk, **kwargs)
        return real(pk, **kwargs)

    monkeypatch.setattr(services, "end_session", lost)
    with pytest.raises(RefreshReused):
        rotate(token, request=request_)
    assert not mail.outbox
    assert not named("authn_token_reuse")


def test_generations_decide_and_not_times(session: Session, request_: Any, clock: Any) -> None:
    """R52: a replay in the very same instant is judged by its number."""
    moment = timezone.now()
    first = issue(session).refresh
    second = rotate(first, request=request_).tokens.refresh
    rotate(second, request=request_)
    Session.objects.update(rotated_at=moment, created_at=moment)
    with pytest.raises(RefreshReused):
        rotate(first, request=request_)


def test_issuing_twice_gives_one_refresh_token(session: Session) -> None:
    """R4: derived, so that it can be given again; nothing is written."""
    first, second = issue(session), issue(session)
    assert first.refresh == second.refresh
    assert first.access != second.access  # each has a `jti` of its own
