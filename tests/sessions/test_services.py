"""Sessions below the stories: labels, limits, races taken step by step, purge."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import (
    alive,
    end_all,
    end_session,
    end_sessions,
    open_session,
    purge,
    touch,
)
from django_secure_auth.sessions.state import password_fingerprint
from tests.browser import make_user, named

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def request_(rf: Any) -> Any:
    return rf.get("/", REMOTE_ADDR="192.0.2.1", HTTP_USER_AGENT="curl/8")


@pytest.fixture
def session(request_: Any) -> Session:
    return open_session(make_user(), request=request_, amr=["pwd"])


def test_each_session_is_ended_once(session: Session) -> None:
    assert end_session(session.pk, user_id=session.user_id, reason="first")
    assert not end_session(session.pk, user_id=session.user_id, reason="second")
    session.refresh_from_db()
    assert session.revoked_reason == "first"
    assert len(named("authn_token_revoked")) == 1


def test_ending_nothing_is_nothing() -> None:
    assert end_sessions([], user_id=None, reason="x") == 0
    assert end_sessions([uuid4()], user_id=None, reason="x") == 0


def test_all_but_one_end(session: Session, request_: Any) -> None:
    user = session.user
    others = [open_session(user, request=request_, amr=["pwd"]) for _ in range(2)]
    assert end_all(user, reason="x", keep=session.pk) == 2
    assert list(Session.objects.for_user(user).alive()) == [session]
    assert {other.pk for other in others} == set(Session.objects.exclude(revoked_at=None).values_list("pk", flat=True))


def test_a_touch_does_not_wake_a_session_that_was_ended_meanwhile(session: Session) -> None:
    """R52: `revoked_at IS NULL` stands in the same UPDATE."""
    state = alive(session.pk, str(session.user_id))
    end_session(session.pk, user_id=session.user_id, reason="x")
    before = Session.objects.get()
    touch(session.pk, state, generation=1)
    after = Session.objects.get()
    assert (after.acked, after.idle_at, after.revoked_at) == (False, before.idle_at, before.revoked_at)


def test_a_touch_with_an_old_generation_acknowledges_nothing(session: Session, clock: Any) -> None:
    Session.objects.update(generation=3)
    state = alive(session.pk, str(session.user_id))
    clock.forward(minutes=2)
    touch(session.pk, state, generation=2)
    row = Session.objects.get()
    assert not row.acked
    assert row.last_seen_at > session.last_seen_at
    touch(session.pk, state, generation=3)
    assert Session.objects.get().acked


def test_a_touch_that_knows_an_old_state_acknowledges_the_new_generation(session: Session) -> None:
    """A copy of the state from before a rotation, and the first token of the new generation."""
    state = alive(session.pk, str(session.user_id))
    Session.objects.update(generation=2)
    touch(session.pk, state, generation=2)
    assert Session.objects.get().acked


def test_a_used_generation_is_not_written_again(session: Session, django_assert_num_queries: Any) -> None:
    """R30, R51: reading writes nothing."""
    touch(session.pk, alive(session.pk, str(session.user_id)), generation=1)
    state = alive(session.pk, str(session.user_id))
    with django_assert_num_queries(0):
        touch(session.pk, state, generation=1)


def test_purge_deletes_what_is_over_and_nothing_else(session: Session, request_: Any) -> None:
    now = timezone.now()
    ended = open_session(session.user, request=request_, amr=["pwd"])
    idle = open_session(session.user, request=request_, amr=["pwd"])
    Session.objects.filter(pk=ended.pk).update(revoked_at=now - timedelta(days=31))
    Session.objects.filter(pk=idle.pk).update(idle_at=now - timedelta(days=31))
    assert purge(before=now - timedelta(days=30)) == 2
    assert Session.objects.get() == session


def test_the_table_refuses_what_makes_no_sense(session: Session) -> None:
    for values in ({"generation": 0}, {"idle_at": session.absolute_at + timedelta(seconds=1)}):
        with pytest.raises(IntegrityError), transaction.atomic():
            Session.objects.filter(pk=session.pk).update(**values)


def test_a_fingerprint_names_a_hash_and_does_not_hold_it() -> None:
    assert password_fingerprint("a") != password_fingerprint("b")
    assert len(password_fingerprint("")) == 32
    assert "secret" not in password_fingerprint("secret")


def test_a_session_says_nothing_but_its_name(session: Session) -> None:
    assert str(session) == f"session {session.pk}"
    assert session.is_alive
