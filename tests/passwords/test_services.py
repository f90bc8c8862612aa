"""The password where no browser reaches: look-ups, parallel checks, a change in the very moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from django_secure_auth.passwords import services
from django_secure_auth.passwords.fields import CanonicalEmailField
from django_secure_auth.sessions.models import Session
from tests.browser import Browser, code_of, make_user, trust

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_canonical_column_is_asked_by_its_index(monkeypatch: pytest.MonkeyPatch) -> None:
    user = make_user()
    model = get_user_model()
    column: Any = model._meta.get_field(model.get_email_field_name())
    if not isinstance(column, CanonicalEmailField):
        monkeypatch.setattr(services, "CanonicalEmailField", type(column))
    assert services.find_account(" Ana@Example.COM") == user


def test_a_manager_of_the_projects_own_is_asked_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may choose by tenant: a statement that is kept would be the first one's."""
    ana, model = make_user(), get_user_model()
    manager = type(model._default_manager)
    hidden: list[Any] = []

    def get_queryset(self: Any) -> Any:
        return super(manager, self).get_queryset().exclude(pk__in=hidden)

    monkeypatch.setattr(manager, "get_queryset", get_queryset)
    assert services.find_account("ANA@example.com") == ana
    hidden.append(ana.pk)
    assert services.find_account("ANA@example.com") is None


def test_one_password_check_of_an_account_at_a_time(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    """R8: parallel guesses neither slip past a limit nor burn every core."""
    make_user()
    monkeypatch.setattr(services, "_WAIT_SECONDS", 0.05)
    with services._one_check_at_a_time("ana@example.com", is_known_device=False):
        response = browser.login()
    assert response.status_code == 429
    assert {"Retry-After", "RateLimit-Policy", "RateLimit"} <= set(response.headers)
    assert browser.login().status_code == 202


def test_strangers_who_keep_an_account_busy_do_not_keep_its_known_browsers_waiting(
    browser: Browser, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(RATE_LIMITS={"login_account": "2/15m"})
    user = make_user()
    trust(browser, user)
    monkeypatch.setattr(services, "_WAIT_SECONDS", 0.05)
    with services._one_check_at_a_time("ana@example.com", is_known_device=False):
        assert browser.login().status_code == 200
        # Never judged, so not counted: the limit of two is not reached by three of them.
        assert [Browser().login().headers["RateLimit-Policy"] for _ in range(3)] == ['"login_in_flight";q=1;w=1'] * 3
    assert Browser().login().status_code == 202


def test_a_second_check_waits_for_the_first(browser: Browser) -> None:
    make_user()
    inside, done = threading.Event(), threading.Event()

    def hold() -> None:
        with services._one_check_at_a_time("ana@example.com", is_known_device=False):
            inside.set()
            done.wait(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(5)
    assert browser.login().status_code == 202
    done.set()
    thread.join()


def test_a_hash_of_a_hasher_that_is_gone_is_nobodys_password(browser: Browser) -> None:
    make_user()
    get_user_model()._default_manager.update(password="gone$1$salt$hash")
    assert code_of(browser.login()) == "invalid_credentials"


def test_a_password_that_changes_in_the_moment_of_sign_in_keeps_no_session(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stored hash is another one after `authenticate()`, and it is not a re-hash: the sessions end."""
    user = make_user()
    trust(browser, user)
    browser.login()
    old = Session.objects.alive().get()
    real = services.authenticate

    def changed(*args: Any, **kwargs: Any) -> Any:
        found = real(*args, **kwargs)
        if found is not None:
            found.set_password("somebody else's choice")
            found.save()
        return found

    monkeypatch.setattr(services, "authenticate", changed)
    monkeypatch.setattr(services, "check_password", lambda *_: False)
    Browser().login()
    fingerprint = Session.objects.get(pk=old.pk).password_fingerprint
    assert fingerprint == old.password_fingerprint
    assert code_of(browser.me()) == "session_revoked"
