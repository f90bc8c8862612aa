"""A project with a read replica: what decides something is read where it is written.

The replica of these tests is a database that nobody has: whoever asks it for one of our rows fails. A real one that
lags would answer, and be wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group, Permission
from django.core import mail
from django.core.cache import caches
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone
from django.utils.connection import ConnectionDoesNotExist

from django_secure_auth.accounts.tasks import purge
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.otp import tasks
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.rbac.models import Role
from django_secure_auth.rbac.policy import rebuild
from django_secure_auth.rbac.services import grant, has_role, revoke, roles_of
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_all, open_session
from django_secure_auth.sessions.state import bury_sessions_of
from tests.browser import Browser, code_of, make_user, session_of, url

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


class ReplicaRouter:
    """Reads of our tables go to the replica; the rest of the project has no router."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if model._meta.app_label == "django_secure_auth" else None

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


@pytest.fixture
def with_replica(settings: Any) -> Callable[[], None]:
    """Call it when the story has begun: what a test itself looks up is asked before, or `primary()`."""

    def switch() -> None:
        settings.DATABASE_ROUTERS = [f"{__name__}.{ReplicaRouter.__name__}"]

    return switch


def test_a_read_that_names_no_database_fails_here(with_replica: Callable[[], None]) -> None:
    with_replica()
    with pytest.raises(ConnectionDoesNotExist):
        Session.objects.exists()
    assert not Session.objects.primary().exists()


def test_the_code_of_a_moment_ago_is_mailed(browser: Browser, with_replica: Callable[[], None]) -> None:
    make_user()
    browser.login()
    OTPChallenge.objects.update(mailed_number=0)
    challenge = OTPChallenge.objects.get()
    mail.outbox.clear()
    with_replica()
    tasks.send_code.apply(args=(str(challenge.pk),)).get()
    assert len(mail.outbox) == 1


def test_a_lease_of_a_moment_ago_is_seen(browser: Browser, with_replica: Callable[[], None]) -> None:
    make_user()
    browser.login()
    OTPChallenge.objects.update(mailing_at=timezone.now())
    challenge = OTPChallenge.objects.get()
    with_replica()
    assert tasks._until_lease_ends(challenge) > 1


def test_the_session_of_a_moment_ago_is_ended(rf: Any, with_replica: Callable[[], None]) -> None:
    user = make_user()
    session = open_session(user, request=rf.get("/"), amr=["pwd"])
    with_replica()
    assert end_all(user, reason="x") == 1
    session.refresh_from_db(using="default")
    assert session.revoked_at is not None


def test_the_limit_of_sessions_counts_those_of_a_moment_ago(
    rf: Any, with_replica: Callable[[], None], configure: Configure
) -> None:
    configure(MAX_SESSIONS_PER_USER=1)
    user = make_user()
    with_replica()
    for _ in range(2):
        open_session(user, request=rf.get("/"), amr=["pwd"])
    assert Session.objects.primary().alive().count() == 1


def test_a_change_of_the_account_buries_the_sessions_of_a_moment_ago(
    rf: Any, with_replica: Callable[[], None], configure: Configure
) -> None:
    configure(STATE_CACHE="default")
    user = make_user()
    session = open_session(user, request=rf.get("/"), amr=["pwd"])
    with_replica()
    bury_sessions_of(user)
    assert caches["default"].get(f"secure_auth:state:1:{session.pk.hex}:tombstone") == 0


def test_the_session_of_a_moment_ago_is_listed_and_can_be_ended(
    browser: Browser, with_replica: Callable[[], None]
) -> None:
    make_user()
    browser.sign_in()
    other = session_of(Browser().sign_in())
    with_replica()
    assert len(browser.get("session-list").json()["results"]) == 2
    assert browser.delete("session-detail", other.pk).status_code == 204
    assert code_of(browser.delete("session-detail", uuid4())) == "not_found"
    assert browser.delete("session-list").status_code == 204


def test_a_key_of_a_moment_ago_works_and_can_be_managed(
    browser: Browser, with_replica: Callable[[], None], configure: Configure
) -> None:
    configure(MAX_API_KEYS_PER_USER=2)
    make_user()
    browser.sign_in()
    with_replica()
    first, second = (browser.post("apikey-list", {"name": "ci"}).json() for _ in range(2))
    assert code_of(browser.post("apikey-list", {"name": "ci"})) == "policy_rejected"
    program = Browser()
    answer = program.request("GET", reverse("program"), headers={"X-API-Key": first["key"]})
    assert answer.status_code == 200
    assert len(browser.get("apikey-list").json()["results"]) == 2
    rotated = browser.request("POST", url("apikey-rotate", first["id"]))
    assert rotated.status_code == 201
    assert browser.request("PATCH", url("apikey-detail", second["id"]), {"name": "x"}).json()["name"] == "x"
    assert browser.delete("apikey-detail", second["id"]).status_code == 204
    output = StringIO()
    call_command("secure_auth_apikeys", "list", stdout=output)
    assert output.getvalue().endswith("2 living API keys\n")


def test_a_grant_and_a_role_of_a_moment_ago_count(with_replica: Callable[[], None]) -> None:
    user = make_user()
    group, one = Group.objects.create(name="one"), Permission.objects.order_by("pk")[0]
    name = f"{one.content_type.app_label}.{one.codename}"
    editor, reader = Role.objects.create(name="editor"), Role.objects.create(name="reader")
    with_replica()

    def fresh() -> Any:
        return type(user)._default_manager.get(pk=user.pk)

    reader.permissions.add(one)
    editor.parents.add(reader)
    grant(user, "editor", until=timezone.now() + timedelta(days=1))
    grant(user, "editor")
    grant(user, "editor", obj=group)
    assert roles_of(fresh(), group) == {"editor", "reader"}
    assert fresh().has_perm(name)
    assert fresh().has_perm(name, group)
    one.secure_auth_roles.clear()
    assert not fresh().has_perm(name)
    reader.children.clear()
    assert roles_of(fresh()) == {"editor"}
    revoke(user, "editor")
    assert roles_of(fresh()) == frozenset()
    assert has_role(fresh(), "editor", group)
    editor.name = "author"
    editor.save()
    assert has_role(fresh(), "author", group)
    editor.delete()
    assert not has_role(fresh(), "author", group)
    rebuild()


def test_purge_deletes_where_rows_are_written(with_replica: Callable[[], None]) -> None:
    SecurityEvent(occurred_at=timezone.now() - timedelta(days=4000), event="authz_fail").save()
    with_replica()
    assert purge()["security events"] == 1
    assert not SecurityEvent.objects.using("default").exists()
