"""The state cache: what it may say, and what a revocation does to it, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.db import transaction

from django_secure_auth.exceptions import SessionRevoked, StateUnavailable
from django_secure_auth.sessions import state as states
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import alive, end_session, open_session, touch
from django_secure_auth.sessions.state import State, cached_state, keep_copy, read_state, refresh_copy
from tests.browser import Browser, Clock, change_user, code_of, is_signed_in, make_user

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture
def cached(settings: Any, configure: Configure) -> Any:
    """A project with a state cache. Local memory stands for a shared one: there is one process here."""
    settings.CACHES = {
        **settings.CACHES,
        "states": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "states"},
        "away": {"BACKEND": "tests.stories.caches.AwayCache"},
        "half": {"BACKEND": "tests.stories.caches.HalfCache", "LOCATION": "half"},
    }
    configure(STATE_CACHE="states")
    caches["states"].clear()
    return caches["states"]


@pytest.fixture
def session(rf: Any) -> Session:
    return open_session(make_user(), request=rf.get("/", REMOTE_ADDR="192.0.2.1"), amr=["pwd"])


def _read(session: Session) -> State:
    state = read_state(session.pk)
    assert state is not None
    return state


def _warm(browser: Browser) -> None:
    """The first request acknowledges the token and drops the copy, the second one keeps it."""
    for _ in range(2):
        assert is_signed_in(browser)


def test_the_state_is_what_the_row_says(session: Session) -> None:
    state = _read(session)
    assert state.generation == 1
    assert not state.acked
    assert not state.is_revoked
    assert state.user_is_unchanged
    assert state.amr == ("pwd",)
    assert state.idle_at == pytest.approx(session.idle_at.timestamp(), abs=0.01)
    assert state.absolute_at == pytest.approx(session.absolute_at.timestamp(), abs=0.01)
    user: Any = state.user()
    assert user == session.user
    assert user.get_deferred_fields() >= {"password"}
    assert not user._state.adding


def test_no_row_no_state(session: Session) -> None:
    session.delete()
    assert read_state(session.pk) is None
    with pytest.raises(SessionRevoked):
        alive(session.pk, str(session.user_id))


def test_a_second_request_asks_no_database(cached: Any, session: Session, django_assert_num_queries: Any) -> None:
    alive(session.pk, str(session.user_id))
    with django_assert_num_queries(0):
        assert alive(session.pk, str(session.user_id)).user().pk == session.user_id


def test_the_cache_holds_no_secret(cached: Any, session: Session) -> None:
    alive(session.pk, str(session.user_id))
    text = repr(cached._cache) + repr(alive(session.pk, str(session.user_id)))
    user = get_user_model()._default_manager.get()
    assert user.password not in text
    assert session.salt not in text
    assert session.password_fingerprint not in text


@pytest.mark.parametrize("end", ["session", "password", "deactivation", "deletion", "row"])
def test_a_cached_yes_is_forgotten_at_once(cached: Any, browser: Browser, end: str) -> None:
    """R20, R27: with a cache as well."""
    user = make_user()
    browser.sign_in()
    _warm(browser)
    session = Session.objects.get()
    whose = session.pk, str(session.user_id)
    assert cached_state(*whose) is not None
    if end == "session":
        end_session(session.pk, user_id=user.pk, reason="test")
    elif end == "password":
        change_user(user, password="another long password")
    elif end == "deactivation":
        change_user(user, is_active=False)
    elif end == "deletion":
        get_user_model()._default_manager.get(pk=user.pk).delete()
    else:
        session.delete()
    assert cached_state(*whose) is None
    assert code_of(browser.me()) == "session_revoked"


def test_a_sign_in_does_not_bury_the_other_sessions(cached: Any, browser: Browser) -> None:
    """`last_login` is written with each sign-in: harmless."""
    make_user()
    browser.sign_in()
    _warm(browser)
    Browser().sign_in()
    oldest = Session.objects.order_by("created_at")[0]
    assert cached_state(oldest.pk, str(oldest.user_id)) is not None


# --- a reader in between


def test_a_reader_between_tombstone_and_commit_fills_no_cache(cached: Any, session: Session) -> None:
    """R52: bury, [read the old row, keep it], change: the old copy is not believed."""
    states.bury([session.pk])
    old = _read(session)
    keep_copy(session.pk, old)
    Session.objects.update(revoked_at=session.created_at)
    assert cached_state(session.pk, str(session.user_id)) is None
    with pytest.raises(SessionRevoked):
        alive(session.pk, str(session.user_id))


def test_a_reader_before_the_tombstone_who_stalls_is_too_late(cached: Any, session: Session, clock: Clock) -> None:
    """R52: read the old row, [bury, change], keep it: at any later moment the copy is refused."""
    old = _read(session)
    states.bury([session.pk])
    Session.objects.update(revoked_at=session.created_at)
    for _ in range(14):
        keep_copy(session.pk, old)
        assert cached_state(session.pk, str(session.user_id)) is None
        clock.forward(seconds=30)


def test_a_last_seen_in_between_does_not_lift_the_tombstone(cached: Any, session: Session) -> None:
    """Somebody deactivates an account, while a request of the same session writes last-seen: bury, [touch drops the
    copy, a reader reads the old row and keeps it], change."""
    states.bury([session.pk])
    touch(session.pk, _read(session), generation=1)
    refresh_copy(session.pk)
    keep_copy(session.pk, _read(session))
    get_user_model()._default_manager.update(is_active=False)
    assert cached_state(session.pk, str(session.user_id)) is None
    with pytest.raises(SessionRevoked):
        alive(session.pk, str(session.user_id))


def test_a_rotation_in_between_does_not_lift_the_tombstone(cached: Any, session: Session) -> None:
    old = _read(session)
    states.bury([session.pk])
    refresh_copy(session.pk)
    keep_copy(session.pk, old)
    assert cached_state(session.pk, str(session.user_id)) is None


def test_tombstones_outlive_every_copy_that_they_must_cover(cached: Any, session: Session, clock: Clock) -> None:
    """A copy read just before the change, at the last moment before the commit, dies before its tombstone."""
    states.bury([session.pk])
    clock.forward(seconds=5)  # the transaction of the change takes its time
    refresh_copy(session.pk)
    keep_copy(session.pk, _read(session))
    Session.objects.update(revoked_at=session.created_at)
    for _ in range(80):
        assert cached_state(session.pk, str(session.user_id)) is None
        clock.forward(seconds=5)


def test_a_transaction_that_outlasts_its_tombstones_lays_them_again(
    cached: Any, session: Session, clock: Clock, django_user_model: Any
) -> None:
    """A deactivation that commits after minutes: a copy that was filled meanwhile must not outlive the tombstone."""
    with transaction.atomic():
        user = django_user_model.objects.get(pk=session.user_id)
        user.is_active = False
        user.save()
        old = _read(session)._replace(read_at=time.time() + 150, user_is_unchanged=True)
        clock.forward(seconds=150)
        caches["states"].delete(states._key(session.pk))  # a last-seen of another process
        keep_copy(session.pk, old)
    clock.forward(seconds=250)
    with pytest.raises(SessionRevoked):
        alive(session.pk, str(session.user_id))


def test_a_cache_that_failed_is_left_alone_for_a_while(
    cached: Any, session: Session, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hangs would cost each request its whole time-out, several times."""
    tries: list[str] = []

    def fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        tries.append("asked")
        raise TimeoutError

    monkeypatch.setattr(type(caches["away"]), "get_many", fail)
    monkeypatch.setattr(type(caches["away"]), "set_many", fail)
    configure(STATE_CACHE="away")
    for _ in range(5):
        touch(session.pk, alive(session.pk, str(session.user_id)), generation=1)
    assert tries == ["asked"]
    with pytest.raises(StateUnavailable):  # who revokes tries
        end_session(session.pk, user_id=session.user_id, reason="sign_out")
    assert len(tries) == 2
    monkeypatch.setattr(states, "_last_outage", time.monotonic() - 6)
    alive(session.pk, str(session.user_id))
    assert len(tries) == 3


def test_a_touch_that_comes_too_late_drops_the_copy_that_asked_for_it(
    cached: Any, session: Session, django_assert_num_queries: Any
) -> None:
    keep_copy(session.pk, _read(session))
    Session.objects.update(acked=True)  # another process was faster
    touch(session.pk, alive(session.pk, str(session.user_id)), generation=1)
    assert alive(session.pk, str(session.user_id)).acked
    with django_assert_num_queries(0):
        touch(session.pk, alive(session.pk, str(session.user_id)), generation=1)


def test_a_no_of_the_cache_is_asked_of_the_database(cached: Any, session: Session) -> None:
    """A copy can only say yes: an idle deadline that was moved meanwhile is found in the row."""
    state = alive(session.pk, str(session.user_id))
    stale = state._replace(idle_at=time.time() - 3600)
    cached.set(states._key(session.pk), tuple(stale), 300)
    assert alive(session.pk, str(session.user_id)).idle_at == pytest.approx(session.idle_at.timestamp(), abs=0.01)


def test_an_old_copy_is_not_believed(cached: Any, session: Session, clock: Clock) -> None:
    state = _read(session)
    cached.set(states._key(session.pk), tuple(state), 3000)
    clock.forward(seconds=299)
    assert cached_state(session.pk, str(session.user_id)) is not None
    clock.forward(seconds=2)
    assert cached_state(session.pk, str(session.user_id)) is None


@pytest.mark.parametrize("record", ["text", 5, (), (1, 2, 3), None, [1] * 13])
def test_a_strange_record_is_no_record(cached: Any, session: Session, record: Any) -> None:
    """Another version of the package, or another program, has written under our key."""
    cached.set(states._key(session.pk), record, 300)
    assert cached_state(session.pk, str(session.user_id)) is None
    assert alive(session.pk, str(session.user_id)).generation == 1


# --- outage


def test_an_outage_falls_back_to_the_database(
    cached: Any, session: Session, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    configure(STATE_CACHE="away")
    for _ in range(3):
        assert alive(session.pk, str(session.user_id)).generation == 1
    refresh_copy(session.pk)
    lines = [record for record in caplog.records if "state cache is away" in record.getMessage()]
    assert len(lines) == 1  # left alone for a while
    assert "ConnectionError" in lines[0].getMessage()


@pytest.mark.parametrize(
    "what", [lambda session, state: keep_copy(session.pk, state), lambda session, _: refresh_copy(session.pk)]
)
def test_a_cache_that_goes_away_between_reading_and_filling_stops_nobody(
    cached: Any, session: Session, configure: Configure, monkeypatch: pytest.MonkeyPatch, what: Callable[..., None]
) -> None:
    state = _read(session)
    configure(STATE_CACHE="away")
    monkeypatch.setattr(states, "_last_outage", float("-inf"))
    what(session, state)
    assert states._last_outage > 0  # it has been asked, and will be left alone for a while


@pytest.mark.parametrize("alias", ["away", "half"])
def test_a_revocation_that_cannot_reach_the_cache_fails_whole(
    cached: Any, browser: Browser, configure: Configure, alias: str
) -> None:
    """It must not look done while some process goes on believing its copy."""
    user = make_user()
    browser.sign_in()
    assert is_signed_in(browser)
    configure(STATE_CACHE=alias)
    response = browser.logout()
    assert response.status_code == 503
    assert code_of(response) == "state_unavailable"
    session = Session.objects.get()
    assert session.revoked_at is None
    with pytest.raises(StateUnavailable):
        change_user(user, is_active=False)
    assert get_user_model()._default_manager.get().is_active
    with pytest.raises(StateUnavailable):
        session.delete()
    configure(STATE_CACHE="states")
    assert browser.logout().status_code == 204


def test_refresh_and_requests_go_on_in_an_outage(cached: Any, browser: Browser, configure: Configure) -> None:
    make_user()
    browser.sign_in()
    configure(STATE_CACHE="away")
    assert is_signed_in(browser)
    assert browser.refresh().status_code == 200
    assert is_signed_in(browser)


# --- copies in the process


def test_a_local_copy_saves_the_trip_for_its_age(
    session: Session, configure: Configure, clock: Clock, django_assert_num_queries: Any
) -> None:
    configure(STATE_CACHE=None, STATE_MAX_AGE=timedelta(seconds=1))
    alive(session.pk, str(session.user_id))
    with django_assert_num_queries(0):
        alive(session.pk, str(session.user_id))
    clock.forward(seconds=1.1)
    with django_assert_num_queries(1):
        alive(session.pk, str(session.user_id))


def test_a_local_copy_is_taken_from_the_shared_cache(cached: Any, session: Session, configure: Configure) -> None:
    configure(STATE_MAX_AGE=timedelta(seconds=10))
    keep_copy(session.pk, _read(session))
    states._local.clear()
    assert cached_state(session.pk, str(session.user_id)) is not None
    assert session.pk in states._local
    cached.clear()
    assert cached_state(session.pk, str(session.user_id)) is not None


def test_a_local_copy_of_an_old_record_is_as_good_as_new(
    cached: Any, session: Session, configure: Configure, clock: Clock
) -> None:
    """What a process fetched is believed for STATE_MAX_AGE, however long ago another had read it for the cache."""
    configure(STATE_MAX_AGE=timedelta(seconds=1))
    keep_copy(session.pk, _read(session))
    clock.forward(seconds=30)
    assert cached_state(session.pk, str(session.user_id)) is not None
    cached.clear()
    assert cached_state(session.pk, str(session.user_id)) is not None
    clock.forward(seconds=1.1)
    assert cached_state(session.pk, str(session.user_id)) is None


def test_ending_forgets_the_local_copy(session: Session, configure: Configure) -> None:
    configure(STATE_CACHE=None, STATE_MAX_AGE=timedelta(seconds=10))
    alive(session.pk, str(session.user_id))
    end_session(session.pk, user_id=session.user_id, reason="test")
    with pytest.raises(SessionRevoked):
        alive(session.pk, str(session.user_id))


def test_another_process_sees_the_end_within_the_age(session: Session, configure: Configure, clock: Clock) -> None:
    configure(STATE_CACHE=None, STATE_MAX_AGE=timedelta(seconds=1))
    state = alive(session.pk, str(session.user_id))
    end_session(session.pk, user_id=session.user_id, reason="test")
    states._local[session.pk] = (state.read_at, state)  # what the other process has
    assert alive(session.pk, str(session.user_id)) is state
    clock.forward(seconds=1.1)
    with pytest.raises(SessionRevoked):
        alive(session.pk, str(session.user_id))


def test_without_cache_and_copies_a_user_is_saved_without_a_look_at_sessions(
    configure: Configure, django_assert_num_queries: Any
) -> None:
    configure(STATE_CACHE=None)
    user = make_user()
    with django_assert_num_queries(1):
        user.save(update_fields=["is_active"])
