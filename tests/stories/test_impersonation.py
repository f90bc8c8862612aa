"""Staff sign in as a user from the admin: with a reason and their password, and not for what is dangerous."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.contrib.auth.signals import user_logged_out
from django.core import mail
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.exceptions import PolicyRejected, StateUnavailable
from django_secure_auth.impersonation.models import Impersonation
from django_secure_auth.impersonation.services import impersonate
from django_secure_auth.lifecycle.models import AccountClosing
from django_secure_auth.rbac.models import Role
from django_secure_auth.rbac.permissions import HasRole, NotImpersonated, RecentlyAuthenticated
from django_secure_auth.rbac.services import grant
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_all
from django_secure_auth.tokens.authentication import JWTCookieAuthentication
from tests.browser import (
    PASSWORD,
    Browser,
    Clock,
    admin_browser,
    change_user,
    code_of,
    is_signed_in,
    make_staff,
    make_user,
    named,
    url,
)

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
REASON = "Ticket 4711: the basket stays empty"


def add_page() -> str:
    return reverse("admin:django_secure_auth_impersonation_add")


def enter(browser: Browser, user: Any, *, reason: str = REASON, password: str = PASSWORD, csrf: bool = True) -> Any:
    return browser.form(add_page(), {"user": str(user.pk), "reason": reason, "password": password}, csrf=csrf)


@pytest.fixture
def ana() -> Any:
    return make_user()


@pytest.fixture
def root() -> Any:
    return make_staff()


@pytest.fixture
def staff(root: Any) -> Browser:
    return admin_browser(user=root)


def support(*names: str, email: str = "support@example.com") -> Any:
    """Staff who may sign in as users, and nothing else."""
    user = make_user(email, is_staff=True)
    for name in names or ("add_impersonation", "view_impersonation"):
        user.user_permissions.add(Permission.objects.get(codename=name))
    return user


# --- the way in --------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-7.5.1", "ASVS-16.2.1")
def test_staff_see_what_the_user_sees_and_every_event_names_both(staff: Browser, root: Any, ana: Any) -> None:
    page = staff.page(add_page())
    assert page.status_code == 200
    assert b'type="password"' in page.content
    entered = enter(staff, ana)
    assert (entered.status_code, entered["Location"]) == (302, "/")
    assert PASSWORD not in str(entered.serialize())
    me = staff.me().json()
    assert me["id"] == str(ana.pk)
    session = Session.objects.get()
    assert me["impersonation"] == {
        "by": {"id": str(root.pk), "name": root.get_username()},
        "reason": REASON,
        "expires_at": session.absolute_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    told = named("user_impersonated")[0]
    assert (told.user_id, told.actor_id, told.details["reason"]) == (str(ana.pk), str(root.pk), REASON)
    assert staff.refresh().status_code == 200
    assert staff.patch("me", {}).status_code == 200
    assert staff.delete("device-detail", session.pk).status_code == 403
    assert staff.logout().status_code == 204
    theirs = SecurityEvent.objects.filter(user_id=str(ana.pk))
    assert {"session_created", "session_renewed", "authz_fail", "authn_token_revoked"} <= {one.event for one in theirs}
    assert {one.actor_id for one in theirs} == {str(root.pk)}
    assert staff.page(reverse("admin:index")).status_code == 200, "the administrator is still one"


def test_the_user_sees_it_in_the_lists_and_can_end_it(staff: Browser, ana: Any) -> None:
    owner = Browser(address="198.51.100.7")
    owner.sign_in()
    enter(staff, ana)
    rows = owner.get("session-list").json()["results"]
    assert sorted((row["impersonated"], row["current"]) for row in rows) == [(False, True), (True, False)]
    assert any(row["by_somebody_else"] for row in owner.get("activity").json()["results"])
    theirs = next(row["id"] for row in rows if row["impersonated"])
    assert owner.delete("session-detail", theirs).status_code == 204
    assert code_of(staff.me()) == "session_revoked"


def test_nothing_that_the_user_does_alone_changes(staff: Browser, ana: Any, configure: Configure) -> None:
    configure(MAX_SESSIONS_PER_USER=1)
    owner = Browser(address="198.51.100.7")
    owner.sign_in()
    fresh = get_user_model()._default_manager.get(pk=ana.pk)
    mails = len(mail.outbox)
    enter(staff, ana)
    assert is_signed_in(owner), "no session of theirs makes room"
    assert get_user_model()._default_manager.get(pk=ana.pk).last_login == fresh.last_login
    assert len(mail.outbox) == mails
    owner.logout()
    owner.sign_in()
    assert is_signed_in(staff), "nor does the user's own sign-in end it"


def test_an_account_that_is_to_be_closed_is_not_kept_by_it(staff: Browser, ana: Any) -> None:
    AccountClosing.objects.create(user=ana, closes_at=timezone.now())
    enter(staff, ana)
    assert not AccountClosing.objects.all().came_back().exists()


def test_it_takes_the_place_of_what_the_browser_held(staff: Browser, root: Any, ana: Any) -> None:
    ben = make_user("ben@example.com")
    enter(staff, ana)
    enter(staff, ben)
    assert staff.me().json()["id"] == str(ben.pk)
    ended = Session.objects.get(user=ana)
    assert ended.revoked_reason == "replaced"
    impersonate(staff.page(add_page()).wsgi_request, by=root, user=ana, reason=REASON)
    assert code_of(staff.me()) == "session_revoked", "one at a time, also from another browser"


def test_the_access_token_names_the_actor(staff: Browser, root: Any, ana: Any) -> None:
    """RFC 8693 §4.1, for services that read the token without us."""
    enter(staff, ana)
    payload = staff.value("access").split(".")[1]
    claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["act"] == {"sub": str(root.pk)}
    owner = Browser()
    owner.sign_in()
    payload = owner.value("access").split(".")[1]
    assert "act" not in json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_the_browser_goes_where_the_project_says(staff: Browser, ana: Any, configure: Configure) -> None:
    configure(IMPERSONATION_PATH="/app/")
    assert enter(staff, ana)["Location"] == "/app/"


# --- what is refused in it ---------------------------------------------------------------------------


DANGEROUS: list[tuple[str, str, tuple[Any, ...], Any]] = [
    ("POST", "reauthenticate", (), {"password": PASSWORD}),
    ("POST", "password-change", (), {"current_password": PASSWORD, "new_password": "another long pass phrase"}),
    ("POST", "email-change", (), {"new_email": "mine@example.com"}),
    ("DELETE", "session-list", (), None),
    ("DELETE", "session-detail", ("00000000-0000-4000-8000-000000000000",), None),
    ("DELETE", "device-detail", ("00000000-0000-4000-8000-000000000000",), None),
    ("POST", "apikey-list", (), {"name": "mine", "scopes": []}),
    ("DELETE", "apikey-detail", ("00000000-0000-4000-8000-000000000000",), None),
    ("DELETE", "me", (), None),
    ("GET", "export", (), None),
]


@pytest.mark.parametrize(("method", "name", "arguments", "body"), DANGEROUS)
def test_what_is_dangerous_is_refused(
    staff: Browser, root: Any, ana: Any, method: str, name: str, arguments: tuple[Any, ...], body: Any
) -> None:
    enter(staff, ana)
    refusal = staff.request(method, url(name, *arguments), body)
    assert (refusal.status_code, code_of(refusal)) == (403, "impersonation_refused")
    told = named("authz_fail")
    assert [(one.user_id, one.actor_id) for one in told] == [(str(ana.pk), str(root.pk))]
    assert get_user_model()._default_manager.get(pk=ana.pk).check_password(PASSWORD)


@pytest.mark.parametrize("permission", [NotImpersonated(), RecentlyAuthenticated(), RecentlyAuthenticated(5)])
def test_a_view_of_the_project_refuses_it_too(staff: Browser, ana: Any, permission: Any) -> None:
    def ask(browser: Browser, *classes: Any) -> Any:
        class View(APIView):
            authentication_classes = [JWTCookieAuthentication]
            permission_classes = classes

            def get(self, request: Request) -> Response:
                return Response({"impersonator": request.auth.impersonator})

        request = browser.get("me").wsgi_request
        request._secure_auth_scope = None
        response = View.as_view()(request)
        return response.render() and (response.status_code, json.loads(response.content).get("code"))

    owner = Browser(address="198.51.100.7")
    assert ask(owner, permission)[0] == 401, "nobody is not the user either"
    owner.sign_in()
    assert ask(owner, permission) == (200, None)
    enter(staff, ana)
    for asked in (permission, permission & IsAuthenticated, permission & HasRole("no") | permission):
        assert ask(staff, asked) == (403, "impersonation_refused"), asked
    assert ask(staff, permission | IsAuthenticated) == (200, None)


# --- who may, and whom -------------------------------------------------------------------------------


def test_a_permission_of_its_own_is_enough_and_is_needed(ana: Any, root: Any) -> None:
    browser = admin_browser(user=support())
    assert enter(browser, ana).status_code == 302
    assert browser.me().status_code == 200
    clerk = admin_browser(user=support("view_impersonation", email="clerk@example.com"))
    assert clerk.page(add_page()).status_code == 403
    assert enter(clerk, ana).status_code == 403
    assert clerk.me().status_code == 401


def test_nobody_is_signed_in_as_somebody_who_may_more(staff: Browser, root: Any) -> None:
    other, holder, gone = make_staff("other@example.com"), make_user("boss@example.com"), make_user("gone@example.com")
    Role.objects.create(name="boss", requires_otp=True)
    grant(holder, "boss")
    change_user(gone, is_active=False)
    for one in (other, holder, gone, root):
        target = get_user_model()._default_manager.get(pk=one.pk)
        refused = enter(staff, target)
        assert b"Nobody may sign in as this user." in refused.content, target
        with pytest.raises(PolicyRejected):
            impersonate(refused.wsgi_request, by=root, user=target, reason=REASON)
    assert not Session.objects.exists()
    assert {one.actor_id for one in named("user_impersonation_fail")} == {str(root.pk)}


def test_the_own_password_is_asked_for_and_counted(staff: Browser, ana: Any, configure: Configure) -> None:
    configure(RATE_LIMITS={"login_device": "2/15m"})
    for _ in range(2):
        assert b"The password is not right." in enter(staff, ana, password="a wrong pass phrase").content
    limited = enter(staff, ana)
    assert b"Too many requests" in limited.content
    assert not Session.objects.exists()
    assert [one.details["reason"] for one in named("user_impersonation_fail")] == ["wrong_password", "wrong_password"]


def test_a_reason_is_needed_before_a_password_is_judged(staff: Browser, ana: Any) -> None:
    refused = enter(staff, ana, reason="why not", password="a wrong pass phrase")
    assert refused.status_code == 200
    assert b"The password is not right." not in refused.content
    assert not named("user_impersonation_fail")


def test_a_page_of_another_site_cannot_do_it(staff: Browser, ana: Any) -> None:
    assert enter(staff, ana, csrf=False).status_code == 403
    assert not Session.objects.exists()


def test_who_has_not_approved_a_code_in_the_admin_may_not(ana: Any, root: Any, browser: Browser) -> None:
    browser.client.force_login(root, backend="django.contrib.auth.backends.ModelBackend")
    assert enter(browser, ana).status_code in (302, 403)
    assert not Session.objects.exists()


def test_a_state_cache_that_is_away_leaves_nothing_done(
    staff: Browser, ana: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(staff, ana)
    session = Session.objects.get()

    def fail(*_: object) -> None:
        raise StateUnavailable

    monkeypatch.setattr("django_secure_auth.sessions.services.bury", fail)
    answer = enter(staff, ana)
    assert (answer.status_code, answer["Location"]) == (302, add_page())
    assert list(Session.objects.alive()) == [session]


# --- its end -----------------------------------------------------------------------------------------


def test_it_ends_after_half_an_hour_used_or_not(staff: Browser, ana: Any, clock: Clock) -> None:
    enter(staff, ana)
    for _ in range(5):
        clock.forward(minutes=5)
        assert staff.refresh().status_code == 200
        assert staff.me().status_code == 200
    clock.forward(minutes=5, seconds=1)
    assert code_of(staff.refresh()) == "session_inactive"


@pytest.mark.parametrize("state_max_age", [0, 30])
def test_it_ends_at_once_when_staff_or_user_change(
    staff: Browser, root: Any, ana: Any, configure: Configure, state_max_age: int
) -> None:
    configure(STATE_MAX_AGE=timedelta(seconds=state_max_age))
    user = support()
    browser = admin_browser(user=user)
    permission = Permission.objects.get(codename="add_impersonation")

    def begin() -> None:
        enter(browser, ana)
        assert is_signed_in(browser)
        assert is_signed_in(browser)

    begin()
    user.user_permissions.remove(permission)
    assert code_of(browser.me()) == "session_revoked"
    assert code_of(browser.refresh()) == "session_revoked"
    user.user_permissions.add(permission)
    begin()
    change_user(ana, is_staff=True)
    assert code_of(browser.me()) == "session_revoked"
    change_user(ana, is_staff=False)
    begin()
    end_all(user, reason="password_changed")
    assert code_of(browser.me()) == "session_revoked"
    ended = named("authn_token_revoked")[-1]
    assert (ended.user_id, ended.actor_id) == (str(ana.pk), str(user.pk))
    begin()
    change_user(user, is_active=False)
    assert code_of(browser.me()) == "session_revoked"


def test_who_signs_out_of_the_admin_has_signed_out_as_everybody_else(
    staff: Browser, root: Any, ana: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(staff, ana)
    elsewhere = staff.copy("access", "refresh")
    assert staff.form(reverse("admin:logout"), {}).status_code == 200
    assert code_of(elsewhere.me()) == "session_revoked"
    ended = named("authn_token_revoked")[-1]
    assert (ended.user_id, ended.actor_id, ended.details["reason"]) == (str(ana.pk), str(root.pk), "sign_out")
    again = admin_browser(user=root)
    enter(again, ana)

    def away(*_: object) -> None:
        raise StateUnavailable

    monkeypatch.setattr("django_secure_auth.sessions.services.bury", away)
    assert again.form(reverse("admin:logout"), {}).status_code == 200, "which is never refused"
    assert again.page(reverse("admin:index")).status_code == 302


def test_another_sign_out_ends_no_impersonation(staff: Browser, root: Any, ana: Any) -> None:
    """Of a session of Django's that has approved no code, and by code that holds no request."""
    enter(staff, ana)
    user_logged_out.send(sender=type(root), request=None, user=root)
    user_logged_out.send(sender=type(root), request=RequestFactory().get("/"), user=root)
    user_logged_out.send(sender=type(root), request=None, user=None)
    assert is_signed_in(staff)


def test_a_row_that_is_deleted_is_over_at_once(staff: Browser, ana: Any, configure: Configure) -> None:
    """A proxy sends its signals as itself."""
    configure(STATE_MAX_AGE=timedelta(seconds=30))
    enter(staff, ana)
    assert is_signed_in(staff)
    Impersonation.objects.get().delete()
    assert code_of(staff.me()) == "session_revoked"


def test_a_session_that_goes_away_meanwhile_is_over(staff: Browser, ana: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    enter(staff, ana)
    monkeypatch.setattr("django_secure_auth.me.views.me_body", lambda user: Session.objects.all().delete() and {})
    assert code_of(staff.me()) == "session_revoked"


def test_the_admin_lists_them_and_ends_them(staff: Browser, ana: Any) -> None:
    Browser(address="198.51.100.7").sign_in()
    enter(staff, ana)
    listed = staff.page(reverse("admin:django_secure_auth_impersonation_changelist"))
    assert REASON in listed.content.decode()
    assert listed.content.count(b'name="_selected_action"') == 1
    session = Session.objects.exclude(impersonator=None).get()
    page = staff.page(reverse("admin:django_secure_auth_impersonation_change", args=(session.pk,)))
    assert page.status_code == 200
    assert REASON in page.content.decode()
    staff.form(
        reverse("admin:django_secure_auth_impersonation_changelist"),
        {"action": "end_selected", "_selected_action": [str(session.pk)]},
    )
    assert code_of(staff.me()) == "session_revoked"
