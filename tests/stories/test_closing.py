"""An account is closed by its owner, after a while, and kept by signing in; its data are given out whole."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.db.models import ProtectedError
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.accounts.tasks import purge
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.lifecycle import services as lifecycle
from django_secure_auth.lifecycle.models import AccountClosing
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.sessions.models import Session
from tests.browser import Browser, Clock, admin_browser, code_of, cookie, is_signed_in, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]
ANA = "ana@example.com"


@pytest.fixture
def ana() -> Any:
    return make_user(ANA)


@pytest.fixture
def signed_in(browser: Browser, ana: Any) -> Browser:
    browser.sign_in()
    return browser


def close(browser: Browser) -> Any:
    return browser.delete("me")


def exists(user: Any) -> bool:
    return get_user_model()._default_manager.filter(pk=user.pk).exists()


def test_it_takes_a_recent_proof(signed_in: Browser, clock: Clock) -> None:
    clock.forward(minutes=6)
    signed_in.refresh()
    assert code_of(close(signed_in)) == "step_up_required"
    assert code_of(signed_in.get("export")) == "step_up_required"
    assert not AccountClosing.objects.exists()


def test_everything_ends_at_once_and_the_account_goes_when_its_time_has_come(
    signed_in: Browser, ana: Any, clock: Clock
) -> None:
    create_key(ana, name="backup")
    other = Browser(address="198.51.100.9")
    other.sign_in()
    assert close(signed_in).status_code == 204
    assert not is_signed_in(signed_in)
    assert not is_signed_in(other)
    assert not APIKey.objects.alive().exists()
    assert not TrustedDevice.objects.alive().exists()
    day = f"{AccountClosing.objects.get().closes_at:%Y-%m-%d}"
    assert f"closed on {day}" in str(mail.outbox[-1].body)
    assert purge()["closed accounts"] == 0
    clock.forward(days=14, seconds=1)
    assert purge()["closed accounts"] == 1
    assert not exists(ana)
    about = SecurityEvent.objects.exclude(event="user_deleted")
    assert not about.filter(user_id=str(ana.pk)).exists()
    assert not about.filter(ip_address="192.0.2.1").exists()
    (event,) = named("user_deleted")
    assert event.user_id == str(ana.pk)


def test_signing_in_keeps_it(signed_in: Browser, ana: Any, clock: Clock) -> None:
    close(signed_in)
    clock.forward(days=1)
    signed_in.sign_in()
    get_user_model()._default_manager.update(last_login=None)  # a model without the field knows it by the session
    clock.forward(days=14)
    assert purge()["closed accounts"] == 0
    assert exists(ana)
    assert not AccountClosing.objects.exists()
    assert len(named("user_kept")) == 1


def test_who_came_back_is_remembered_although_the_session_is_purged(
    signed_in: Browser, ana: Any, clock: Clock, configure: Configure
) -> None:
    configure(ACCOUNT_CLOSING_GRACE=timedelta(days=90))
    close(signed_in)
    clock.forward(days=1)
    signed_in.sign_in()
    get_user_model()._default_manager.update(last_login=None)
    purge()
    signed_in.logout()
    clock.forward(days=88)
    purge()
    assert not Session.objects.exists()
    clock.forward(days=3)
    assert purge()["closed accounts"] == 0
    assert exists(ana)


def test_a_sign_in_between_the_look_and_the_closing_is_seen(signed_in: Browser, ana: Any) -> None:
    close(signed_in)
    signed_in.sign_in()
    assert lifecycle._close(ana.pk) is False
    assert exists(ana)
    assert len(named("user_kept")) == 1
    lifecycle._keep(ana.pk)
    assert len(named("user_kept")) == 1


def test_of_two_runs_at_once_one_closes(signed_in: Browser, ana: Any) -> None:
    close(signed_in)
    assert [lifecycle._close(ana.pk) for _ in range(2)] == [True, False]
    assert len(named("user_deleted")) == 1


def test_who_says_not_me_keeps_it(signed_in: Browser, ana: Any, clock: Clock, configure: Configure) -> None:
    """An intruder has asked for it: the owner must not lose the account for not having signed in since."""
    configure(BASE_URL="https://app.example")
    close(signed_in)
    found = re.search(r"/not-me/#uid=([^&\s]+)&token=(\S+)", str(mail.outbox[-1].body))
    assert found is not None
    clock.forward(days=1)
    answer = Browser(address="198.51.100.9").post("not-me", {"uid": found[1], "token": found[2]})
    assert answer.status_code == 204
    clock.forward(days=14)
    assert purge()["closed accounts"] == 0
    assert exists(ana)


def test_a_sign_in_to_the_admin_keeps_it_too(signed_in: Browser, ana: Any, clock: Clock) -> None:
    close(signed_in)
    get_user_model()._default_manager.filter(pk=ana.pk).update(last_login=timezone.now() + timedelta(days=1))
    clock.forward(days=15)
    assert purge()["closed accounts"] == 0
    assert exists(ana)


def test_what_other_rows_protect_stays_as_an_empty_shell(
    signed_in: Browser, ana: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
        raise ProtectedError("kept", set())

    close(signed_in)
    monkeypatch.setattr(get_user_model(), "delete", refuse)
    clock.forward(days=15)
    assert purge()["closed accounts"] == 1
    ana.refresh_from_db()
    assert (ana.is_active, ana.has_usable_password()) == (False, False)
    assert not AccountClosing.objects.exists()
    assert named("user_deleted")[0].details["kept_by"] == "ProtectedError"


def test_a_project_closes_accounts_its_own_way_and_a_failure_is_tried_again(
    signed_in: Browser, ana: Any, clock: Clock, configure: Configure
) -> None:
    def fail(user: Any) -> None:
        raise RuntimeError

    closed: list[Any] = []
    close(signed_in)
    clock.forward(days=15)
    configure(ACCOUNT_CLOSER=fail)
    assert purge()["closed accounts"] == 0
    assert AccountClosing.objects.exists()
    configure(ACCOUNT_CLOSER=closed.append)
    assert purge()["closed accounts"] == 1
    assert closed == [ana]


def test_administrators_see_what_is_to_be_closed_and_can_keep_it(signed_in: Browser, ana: Any) -> None:
    close(signed_in)
    root = admin_browser("boss@example.com")
    at = "admin:django_secure_auth_accountclosing_"
    assert root.request("GET", reverse(f"{at}changelist")).status_code == 200
    assert root.request("GET", reverse(f"{at}change", args=[ana.pk])).status_code == 200
    assert str(AccountClosing.objects.get()).startswith("closes 2")
    assert root.form(reverse(f"{at}delete", args=[ana.pk]), {"post": "yes"}).status_code == 302
    assert not AccountClosing.objects.exists()
    assert len(named("user_kept")) == 1


# --- everything about it -----------------------------------------------------------------------------


def test_the_export_is_whole_and_holds_no_secret(signed_in: Browser, ana: Any, configure: Configure) -> None:
    key, text = create_key(ana, name="backup")
    configure(ACCOUNT_EXPORT=lambda user: {"notes": [user.pk == ana.pk]})
    answer = signed_in.get("export")
    assert answer.status_code == 200
    assert answer.headers["Content-Disposition"] == 'attachment; filename="account.json"'
    body = answer.json()
    assert body["account"]["email"] == ANA
    assert body["more"] == {"notes": [True]}
    assert [len(body[part]) for part in ("sessions", "devices", "api_keys")] == [1, 1, 1]
    assert "authn_login_success" in {row["event"] for row in body["activity"]}
    said = json.dumps(body)
    for secret in (
        text,
        key.digest,
        ana.password,
        TrustedDevice.objects.get().secret_digest,
        signed_in.value("refresh"),
    ):
        assert str(secret) not in said
    assert len(named("user_exported")) == 1
    configure(ACCOUNT_EXPORT=None)
    assert "more" not in signed_in.get("export").json()


def test_exports_are_counted(signed_in: Browser, configure: Configure) -> None:
    configure(RATE_LIMITS={"export": "1/h"})
    assert [signed_in.get("export").status_code for _ in range(2)] == [200, 429]


# --- devices -----------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-6.5.6")
def test_devices_are_listed_and_one_is_trusted_no_more(signed_in: Browser, ana: Any) -> None:
    other = Browser(address="198.51.100.9")
    other.sign_in()
    rows = signed_in.get("device-list").json()["results"]
    assert [(row["current"], row["trusted"], row["ip_address"]) for row in rows] == [
        (False, True, "198.51.100.9"),
        (True, True, "192.0.2.1"),
    ]
    assert signed_in.delete("device-detail", rows[0]["id"]).status_code == 204
    assert [row["current"] for row in signed_in.get("device-list").json()["results"]] == [True]
    assert is_signed_in(other)
    other.logout()
    assert other.login().status_code == 202
    assert code_of(signed_in.delete("device-detail", rows[0]["id"])) == "not_found"
    assert len(named("authn_device_distrusted")) == 1


def test_a_device_of_somebody_else_is_not_there(signed_in: Browser) -> None:
    make_user("ben@example.com")
    ben = Browser(address="198.51.100.9")
    ben.sign_in("ben@example.com")
    foreign = TrustedDevice.objects.order_by("-created_at")[0]
    assert code_of(signed_in.delete("device-detail", foreign.pk)) == "not_found"
    assert TrustedDevice.objects.alive().count() == 2


def test_a_browser_without_its_cookie_marks_none(signed_in: Browser) -> None:
    for value in ("", "nonsense"):
        signed_in.client.cookies[cookie("device")] = value
        assert [row["current"] for row in signed_in.get("device-list").json()["results"]] == [False]
