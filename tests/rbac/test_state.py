"""Markers in the state cache: what a changed role does to cached states, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.cache import caches
from django.db import transaction

from django_secure_auth.exceptions import StateUnavailable
from django_secure_auth.rbac.models import Role, RoleAssignment
from django_secure_auth.rbac.services import Access, access_of, grant, revoke, roles_of
from django_secure_auth.rbac.state import EVERYBODY, marker_of
from django_secure_auth.sessions import state as states
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import alive, open_session
from django_secure_auth.sessions.state import State, cached_state, keep_copy, read_state
from tests.browser import Browser, Clock
from tests.counting_cache import CountingCache
from tests.rbac.conftest import fresh, permission

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture(autouse=True)
def cache(settings: Any, configure: Configure) -> Any:
    settings.CACHES = {
        **settings.CACHES,
        "states": {"BACKEND": "tests.counting_cache.CountingCache", "LOCATION": "rbac-markers"},
        "away": {"BACKEND": "tests.stories.caches.AwayCache"},
        "half": {"BACKEND": "tests.stories.caches.HalfCache", "LOCATION": "rbac-half"},
    }
    configure(STATE_CACHE="states")
    caches["states"].clear()
    CountingCache.calls.clear()
    return caches["states"]


@pytest.fixture
def session(ana: Any, rf: Any) -> Session:
    return open_session(ana, request=rf.get("/", REMOTE_ADDR="192.0.2.1"), amr=["pwd"])


def read(session: Session) -> State:
    state = read_state(session.pk)
    assert state is not None
    return state


def cached(session: Session) -> State | None:
    return cached_state(session.pk, str(session.user_id))


def roles_in(state: State) -> Any:
    return Access(*state.access).roles


def test_who_meets_a_marker_asks_the_database_in_the_same_trip(session: Session, ana: Any, editor: Role) -> None:
    alive(session.pk, str(ana.pk))
    assert cached(session) is not None
    grant(ana, editor)
    CountingCache.calls.clear()
    state = alive(session.pk, str(ana.pk))
    assert roles_in(state) == {"editor", "reader"}
    assert CountingCache.calls == ["get_many", "add"]


def test_a_marker_lies_on_one_user_a_changed_role_on_all(session: Session, ana: Any, ben: Any, editor: Role) -> None:
    alive(session.pk, str(ana.pk))
    grant(ben, editor)
    assert cached(session) is not None
    editor.permissions.add(permission("auth.add_group"))
    assert cached(session) is None


def test_a_role_that_nobody_holds_may_change_without_a_marker(session: Session, ana: Any, editor: Role) -> None:
    alive(session.pk, str(ana.pk))
    editor.permissions.clear()
    editor.delete()
    assert cached(session) is not None


def test_a_grant_on_an_object_lays_a_marker_only_if_it_asks_for_a_code(
    session: Session, ana: Any, editor: Role
) -> None:
    group = Group.objects.create(name="one")
    alive(session.pk, str(ana.pk))
    grant(ana, editor, obj=group)
    revoke(ana, editor, obj=group)
    assert cached(session) is not None
    Role.objects.filter(name="reader").update(requires_otp=True)
    grant(ana, editor, obj=group)
    assert cached(session) is None
    assert access_of(fresh(ana)).requires_otp
    revoke(ana, editor, obj=group)
    assert not access_of(fresh(ana)).requires_otp


def test_a_reader_between_marker_and_commit_fills_no_cache(session: Session, ana: Any, editor: Role) -> None:
    """Marker, [read the old row, keep it], commit: the old copy is not believed."""
    grant(ana, editor)
    caches["states"].clear()
    old = read(session)
    revoke(ana, editor)
    keep_copy(session.pk, old)
    assert cached(session) is None
    assert roles_in(alive(session.pk, str(ana.pk))) == frozenset()


def test_a_reader_who_stalls_is_too_late_when_the_marker_has_gone(
    session: Session, ana: Any, editor: Role, clock: Clock
) -> None:
    grant(ana, editor)
    old = read(session)
    revoke(ana, editor)
    for _ in range(14):
        keep_copy(session.pk, old)
        state = cached(session)
        assert state is None or roles_in(state) == frozenset()
        clock.forward(seconds=30)


def test_a_transaction_that_outlasts_its_marker_lays_it_again(
    session: Session, ana: Any, editor: Role, clock: Clock
) -> None:
    grant(ana, editor)
    caches["states"].clear()
    old = read(session)
    with transaction.atomic():
        revoke(ana, editor)
        clock.forward(seconds=400)
    keep_copy(session.pk, old._replace(read_at=old.read_at + 399))
    assert cached(session) is None


@pytest.mark.parametrize("alias", ["away", "half"])
def test_a_change_that_cannot_reach_the_cache_fails_whole(
    ana: Any, ben: Any, editor: Role, configure: Configure, alias: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It must not look done while some process goes on believing its copy."""
    grant(ana, editor)
    configure(STATE_CACHE=alias)
    changes: list[Callable[[], Any]] = [
        lambda: revoke(ana, editor),
        lambda: grant(ben, editor),
        lambda: RoleAssignment.objects.all().delete(),
        lambda: RoleAssignment.objects.get().delete(),
        lambda: RoleAssignment.objects.create(user=ben, role=editor),
        editor.permissions.clear,
        editor.parents.clear,
        editor.delete,
        lambda: Role.objects.update(requires_otp=True),
        lambda: permission("auth.view_group").delete(),
    ]
    for change in changes:
        with pytest.raises(StateUnavailable):
            change()
    told = [record for record in caplog.records if "no role is changed" in record.getMessage()]
    assert len(told) == (len(changes) if alias == "away" else 0)
    configure(STATE_CACHE=None)
    assert roles_of(fresh(ana)) == {"editor", "reader"}
    assert access_of(fresh(ana)).permissions == {"auth.view_group", "auth.change_group"}
    assert roles_of(fresh(ben)) == frozenset()


def test_requests_go_on_in_an_outage(ana: Any, editor: Role, browser: Browser, configure: Configure) -> None:
    grant(ana, editor)
    browser.sign_in()
    configure(STATE_CACHE="away")
    assert browser.me().json()["roles"] == ["editor", "reader"]


def test_markers_are_keys_that_every_cache_takes() -> None:
    for user_id in (1, "a name with blanks\n", "x" * 400, "ü", None):
        key = marker_of(user_id)
        assert key.isascii()
        assert " " not in key
        assert len(key) < 100
        assert key != EVERYBODY
    assert marker_of(1) == marker_of("1")


def test_a_record_of_another_shape_is_no_record(session: Session, ana: Any, cache: Any) -> None:
    """Another version of the package has written under our key."""
    state = alive(session.pk, str(ana.pk))
    for access in ((), (frozenset(),), (1, 2, 3, 4, 5)):
        cache.set(states._key(session.pk), tuple(state._replace(access=access)), 300)
        assert cached(session) is None
    assert alive(session.pk, str(ana.pk)).access == state.access


def test_a_record_holds_plain_values(session: Session, ana: Any, editor: Role, cache: Any) -> None:
    """A class that was pickled could not be renamed."""
    grant(ana, editor)
    cache.clear()
    alive(session.pk, str(ana.pk))
    record = cache.get(states._key(session.pk))
    assert type(record) is tuple
    assert type(record[-1]) is tuple
    assert {type(value) for value in record[-1]} == {frozenset, bool, type(None)}
