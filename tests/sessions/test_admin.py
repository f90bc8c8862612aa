"""Sessions in the admin: what is shown as alive is, and whoever ends one stands in the trail."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_all, end_session, end_sessions
from tests.browser import Browser, admin_browser, change_user, is_signed_in, make_user, named, session_of

pytestmark = pytest.mark.django_db(transaction=True)
LIST = "admin:django_secure_auth_session_changelist"


@pytest.fixture
def owner() -> Any:
    return make_user()


@pytest.fixture
def root(owner: Any) -> Browser:
    return admin_browser("root@example.com")


def root_id() -> str:
    model = get_user_model()
    return str(model._default_manager.get(**{model.get_email_field_name(): "root@example.com"}).pk)


def told_after(events: int) -> list[SecurityEvent]:
    """The events since there were so many."""
    return list(SecurityEvent.objects.order_by("id")[events:])


def act(root: Browser, action: str, *pks: object) -> None:
    response = root.form(reverse(LIST), {"action": action, "_selected_action": [str(pk) for pk in pks]})
    assert response.status_code == 302


def delete(root: Browser, session: Session) -> None:
    path = reverse("admin:django_secure_auth_session_delete", args=[session.pk])
    assert root.form(path, {"post": "yes"}).status_code == 302
    assert not Session.objects.filter(pk=session.pk).exists()


# --- the actor ---------------------------------------------------------------------------------------


@pytest.mark.control("LOGVOC-authz_admin")
def test_an_administrator_who_ends_sessions_is_the_actor(root: Browser, owner: Any) -> None:
    """R36: the trail says whose session it was, and who ended it."""
    session, other = session_of(Browser().sign_in()), session_of(Browser().sign_in())
    before = SecurityEvent.objects.count()
    act(root, "end_selected", session.pk, other.pk)
    told = told_after(before)
    assert [event.event for event in told] == ["authn_token_revoked"] * 2
    assert {event.session_id for event in told} == {str(session.pk), str(other.pk)}
    assert {(event.user_id, event.actor_id) for event in told} == {(str(owner.pk), root_id())}
    assert {event.ip_address for event in told} == {"203.0.113.5"}
    assert told[0].details == {"reason": "admin"}


@pytest.mark.control("LOGVOC-authz_admin")
def test_deleting_a_session_ends_it_and_is_told_once(browser: Browser, root: Browser, owner: Any) -> None:
    """R36: deleting a row signs somebody out as well."""
    session = session_of(browser.sign_in())
    before = SecurityEvent.objects.count()
    delete(root, session)
    assert not is_signed_in(browser)
    event, *later = told_after(before)
    assert (event.event, event.session_id) == ("authn_token_revoked", str(session.pk))
    assert (event.user_id, event.actor_id) == (str(owner.pk), root_id())
    assert {one.event for one in later} <= {"session_use_after_expire"}


def test_deleting_what_was_over_is_told_too(root: Browser, owner: Any) -> None:
    """R36: the row said who was signed in, and when."""
    session = session_of(Browser().sign_in())
    end_session(session.pk, user_id=owner.pk, reason="x")
    before = SecurityEvent.objects.count()
    delete(root, session)
    (event,) = told_after(before)
    assert (event.event, event.session_id) == ("authz_admin", str(session.pk))
    assert (event.user_id, event.actor_id) == (str(owner.pk), root_id())
    assert event.details == {"change": "deleted", "thing": "session"}


def test_a_user_is_the_actor_of_what_nobody_else_did(browser: Browser, owner: Any, rf: Any) -> None:
    """R36: sign-out, and every end that names no actor."""
    first, *rest = (session_of(Browser().sign_in()) for _ in range(3))
    boss = make_user("boss@example.com")
    end_session(first.pk, user_id=owner.pk, reason="x")
    end_sessions([rest[0].pk], user_id=owner.pk, reason="x", actor=boss.pk)
    end_all(owner, reason="x", actor=boss)
    ended = named("authn_token_revoked")
    assert [event.actor_id for event in ended] == [str(owner.pk), str(boss.pk), str(boss.pk)]
    assert {event.user_id for event in ended} == {str(owner.pk)}


# --- what is shown -----------------------------------------------------------------------------------


def shown_alive(root: Browser) -> int:
    page = root.page(reverse(LIST)).content.decode()
    return len(re.findall(r'class="field-alive"><img[^>]*alt="True"', page))


@pytest.mark.parametrize("change", [{"password": "another long password"}, {"is_active": False}])
def test_what_a_change_of_the_account_has_ended_is_not_shown_as_alive(
    root: Browser, owner: Any, change: dict[str, Any]
) -> None:
    Browser().sign_in()
    assert shown_alive(root) == 1
    change_user(owner, **change)
    assert shown_alive(root) == 0


def test_the_list_costs_the_same_for_any_number_of_rows(root: Browser, owner: Any) -> None:
    costs = []
    for _ in range(2):
        Browser().sign_in()
        root.page(reverse(LIST))
        with CaptureQueriesContext(connection) as captured:
            root.page(reverse(LIST))
        costs.append(len(captured))
    assert costs[0] == costs[1]
