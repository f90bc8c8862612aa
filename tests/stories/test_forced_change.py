"""A password that others know: everybody is signed out, and its owner chooses another before anything else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.test import RequestFactory
from django.urls import reverse

from django_secure_auth.accounts import services as accounts
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.passwords import services as passwords
from django_secure_auth.passwords.breached import build
from django_secure_auth.passwords.models import CompromisedPassword
from django_secure_auth.passwords.services import is_compromised
from django_secure_auth.recovery.services import mark_compromised
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import Impersonation, open_session
from django_secure_auth.sessions.state import read_state, user_is_unchanged
from tests.browser import PASSWORD, Browser, admin_browser, code_of, is_signed_in, make_staff, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
ANA = "ana@example.com"
NEW = "another long pass phrase"
CODE = "password_change_required"


@pytest.fixture(autouse=True)
def _base_url(configure: Configure) -> None:
    configure(BASE_URL="https://app.example")


@pytest.fixture
def ana() -> Any:
    return make_user(ANA)


@pytest.mark.parametrize("changes", [{}, {"STATE_CACHE": "default"}, {"MAX_SESSIONS_PER_USER": 2}])
def test_who_signs_in_in_the_moment_of_the_mark_is_out_too(
    changes: dict[str, Any], browser: Browser, ana: Any, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Judged before, opened after: neither its requests nor its refresh token are worth anything."""
    configure(OTP_POLICY="never", **changes)
    opening = accounts.open_session

    def marked_first(*args: Any, **options: Any) -> Session:
        mark_compromised(ana)
        return opening(*args, **options)

    monkeypatch.setattr(accounts, "open_session", marked_first)
    assert browser.login().status_code == 200
    assert code_of(browser.me()) == "session_revoked"
    assert code_of(browser.refresh()) == "session_revoked"
    assert not user_is_unchanged(Session.objects.get())


def test_who_is_proven_otherwise_signs_in_all_the_same(browser: Browser, ana: Any, configure: Configure) -> None:
    """The mark is of the password: single sign-on has not asked for it, nor has an administrator."""
    configure(OTP_POLICY="never")
    mark_compromised(ana)
    request = RequestFactory().post("/")
    for options in ({"amr": ["sso"]}, {"amr": ["pwd"], "impersonation": Impersonation(make_staff(), "a ticket")}):
        session = open_session(ana, request=request, **options)
        state = read_state(session.pk)
        assert state is not None
        assert state.user_is_unchanged


def test_a_mark_is_of_the_hash_that_is_stored_by_now(ana: Any) -> None:
    """Somebody signs in meanwhile, and has it hashed anew."""
    type(ana)._base_manager.filter(pk=ana.pk).update(password=make_password(PASSWORD))
    mark_compromised(ana)
    ana.refresh_from_db()
    assert is_compromised(ana)


def test_a_better_hash_of_this_very_moment_takes_the_mark_along(
    browser: Browser, ana: Any, configure: Configure, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(OTP_POLICY="never")
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2SHA1PasswordHasher", *settings.PASSWORD_HASHERS]
    old = ana.password
    judging = passwords._authenticate

    def marked_first(*args: Any) -> Any:
        mark_compromised(ana)
        return judging(*args)

    monkeypatch.setattr(passwords, "_authenticate", marked_first)
    browser.login()
    ana.refresh_from_db()
    assert ana.password != old
    assert is_compromised(ana)
    assert not is_signed_in(browser)


def test_another_password_of_this_very_moment_is_not_marked(
    browser: Browser, ana: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever still knows the old one cannot have its owner asked for yet another."""
    elsewhere = Browser()

    def changed_first(user: Any, password: str) -> bool:
        monkeypatch.undo()
        ana.set_password(NEW)
        ana.save()
        elsewhere.sign_in(password=NEW)
        return True

    monkeypatch.setattr(accounts, "is_known_to_others", changed_first)
    assert code_of(browser.login()) == CODE
    assert is_signed_in(elsewhere)
    assert not CompromisedPassword.objects.exists()


def test_a_mark_of_who_was_deleted_meanwhile_is_none(ana: Any) -> None:
    type(ana)._base_manager.filter(pk=ana.pk).delete()
    mark_compromised(ana)
    assert not CompromisedPassword.objects.exists()
    assert named("authn_password_compromised") == []


def reset_by(body: str) -> int:
    found = re.search(r"/reset-password/#uid=([^&\s]+)&token=(\S+)", body)
    assert found is not None
    given = {"uid": found[1], "token": found[2], "new_password": NEW}
    return int(Browser(address="198.51.100.9").post("password-reset-confirm", given).status_code)


@pytest.mark.control("NIST-63B-3.1.1.2-6", "ASVS-6.2.10")
def test_a_marked_account_is_signed_out_everywhere_and_asked_for_another_password(browser: Browser, ana: Any) -> None:
    browser.sign_in()
    mark_compromised(ana, actor="")
    assert code_of(browser.me()) == "session_revoked"
    assert not TrustedDevice.objects.alive().exists()
    letter = mail.outbox[-1]
    assert letter.to == [ANA]
    for part in (str(letter.body), str(letter.alternatives[0][0])):
        assert "is known to others" in part
    answer = browser.login()
    assert (answer.status_code, code_of(answer)) == (403, CODE)
    assert not Session.objects.alive().exists()
    assert code_of(browser.login(password="wrong")) == "invalid_credentials"
    assert reset_by(str(letter.body)) == 204
    assert code_of(browser.login()) == "invalid_credentials"
    browser.sign_in(password=NEW)
    assert is_signed_in(browser)
    assert [event.details["reason"] for event in named("authn_password_compromised")] == ["reported"]
    assert named("authn_login_fail")[0].details["reason"] == CODE


def test_each_try_mails_a_link_within_the_limits_of_a_reset(browser: Browser, ana: Any) -> None:
    mark_compromised(ana)
    for _ in range(5):
        assert code_of(browser.login()) == CODE
    assert len(mail.outbox) == 3
    assert reset_by(str(mail.outbox[-1].body)) == 204


def test_without_a_mailbox_or_a_page_for_links_it_holds_all_the_same(
    browser: Browser, ana: Any, configure: Configure
) -> None:
    configure(BASE_URL=None)
    mark_compromised(ana)
    assert code_of(browser.login()) == CODE
    name = ana.get_email_field_name()
    get_user_model()._default_manager.update(**{name: ""})
    ana.refresh_from_db()
    mark_compromised(ana)
    assert not mail.outbox


def test_a_better_hash_of_the_same_password_is_still_the_one_that_others_know(
    browser: Browser, ana: Any, settings: Any
) -> None:
    settings.PASSWORD_HASHERS = [*settings.PASSWORD_HASHERS, "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
    ana.password = make_password(PASSWORD, hasher="pbkdf2_sha256")
    ana.save()
    mark_compromised(ana)
    before = ana.password
    assert code_of(browser.login()) == CODE
    ana.refresh_from_db()
    assert ana.password != before
    assert is_compromised(ana)
    assert code_of(browser.login()) == CODE
    ana.set_password(NEW)
    ana.save()
    assert not is_compromised(ana)


def test_breached_passwords_are_found_at_sign_in_where_that_is_asked_for(
    browser: Browser, ana: Any, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "source").write_text(PASSWORD)
    build(tmp_path / "source", tmp_path / "filter")
    configure(BREACHED_PASSWORDS_FILE=str(tmp_path / "filter"))
    assert browser.login().status_code == 202
    configure(BREACHED_PASSWORDS_FILE=str(tmp_path / "filter"), BREACHED_AT_SIGN_IN=True)
    assert code_of(browser.login()) == CODE
    assert named("authn_password_compromised")[0].details["reason"] == "breached"
    assert "is known to others" in str(mail.outbox[-1].body)
    assert code_of(browser.login()) == CODE


def test_administrators_mark_and_unmark_it_in_the_admin(browser: Browser, ana: Any) -> None:
    root = admin_browser("boss@example.com")
    at = "admin:django_secure_auth_compromisedpassword_"
    browser.sign_in()
    assert root.form(reverse(f"{at}add"), {"user": str(ana.pk), "reason": "phished"}).status_code == 302
    assert code_of(browser.login()) == CODE
    (event,) = named("authn_password_compromised")
    assert event.actor_id not in ("", str(ana.pk))
    assert event.details["reason"] == "phished"
    assert "phished" in root.request("GET", reverse(f"{at}changelist")).content.decode()
    assert root.request("GET", reverse(f"{at}change", args=[ana.pk])).status_code == 200
    assert root.form(reverse(f"{at}delete", args=[ana.pk]), {"post": "yes"}).status_code == 302
    assert not CompromisedPassword.objects.exists()
    assert named("authz_admin")[0].details["thing"] == "compromisedpassword"
    browser.sign_in()
    assert is_signed_in(browser)


def test_a_mark_of_an_earlier_password_is_no_obstacle_to_the_next(browser: Browser, ana: Any) -> None:
    root = admin_browser("boss@example.com")
    at = "admin:django_secure_auth_compromisedpassword_"
    mark_compromised(ana)
    ana.set_password(NEW)
    ana.save()
    assert b"icon-no" in root.request("GET", reverse(f"{at}changelist")).content
    assert root.form(reverse(f"{at}add"), {"user": str(ana.pk), "reason": "again"}).status_code == 302
    assert b"icon-yes" in root.request("GET", reverse(f"{at}changelist")).content
    assert code_of(browser.login(password=NEW)) == CODE
    assert str(CompromisedPassword.objects.get()).startswith("compromised since 2")


def test_a_marked_administrator_chooses_another_password_first(ana: Any) -> None:
    boss = make_staff("boss@example.com")
    mark_compromised(boss)
    page = Browser().form(reverse("admin:login"), {"username": boss.get_username(), "password": PASSWORD})
    assert "known to others" in page.content.decode()
