"""`POST devices/`: who has signed in without a code makes the browser a trusted one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core import mail

from django_secure_auth.accounts import services
from django_secure_auth.otp.models import TrustedDevice
from tests.browser import PASSWORD, Browser, Clock, code_of, last_code, make_user, named, wrong_code

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture
def signed_in(browser: Browser, configure: Configure) -> Browser:
    configure(OTP_POLICY="never")
    make_user()
    browser.sign_in()
    return browser


def ask(browser: Browser, **extra: Any) -> Any:
    return browser.post("device-list", **extra)


def trusted(browser: Browser) -> list[bool]:
    return [row["trusted"] for row in browser.get("device-list").json()["results"]]


def test_an_approved_code_makes_the_browser_a_trusted_one(signed_in: Browser, configure: Configure) -> None:
    assert trusted(signed_in) == [False]
    secret = signed_in.value("device")
    asked = ask(signed_in)
    assert (asked.status_code, asked.json()["challenge"]["purpose"]) == (202, "device")
    assert "Purpose: trust this device" in str(mail.outbox[-1].body)
    assert code_of(signed_in.approve(wrong_code())) == "otp_invalid"
    assert trusted(signed_in) == [False]
    done = signed_in.approve(last_code())
    assert (done.status_code, done.json()["status"]) == (200, "authenticated")
    assert trusted(signed_in) == [True]
    assert signed_in.value("device") != secret
    assert not signed_in.has("challenge")
    assert named("authn_device_trusted")
    configure(OTP_POLICY="new_device")
    signed_in.logout()
    assert signed_in.login().status_code == 200, "and no code is asked for there"
    (row,) = signed_in.get("device-list").json()["results"]
    assert signed_in.delete("device-detail", row["id"]).status_code == 204
    signed_in.logout()
    assert signed_in.login().status_code == 202


def test_it_asks_for_a_recent_proof(signed_in: Browser, clock: Clock) -> None:
    clock.forward(minutes=6)
    signed_in.refresh()
    mails = len(mail.outbox)
    assert code_of(ask(signed_in)) == "step_up_required"
    assert len(mail.outbox) == mails


def test_the_code_is_good_in_the_session_that_asked(signed_in: Browser) -> None:
    ask(signed_in)
    other = Browser(address="198.51.100.7")
    other.sign_in()
    other.put("challenge", signed_in.value("challenge"))
    assert code_of(other.approve(last_code())) == "challenge_invalid"
    assert trusted(other) == [False, False]


def test_a_program_keeps_its_secret_in_the_body(configure: Configure) -> None:
    configure(ALLOW_TOKEN_IN_BODY=True, OTP_POLICY="never")
    make_user()
    app = Browser()
    body = {"X-Token-Transport": "body"}
    tokens = app.login(headers=body, csrf=False).json()
    sent = {**body, "Authorization": f"Bearer {tokens['access_token']}"}
    asked = ask(app, headers=sent, csrf=False).json()
    code = {
        "challenge_token": asked["challenge_token"],
        "otp_code": last_code(),
        "device_token": tokens["device_token"],
    }
    done = app.post("otp-approve", code, headers=sent, csrf=False).json()
    assert done["device_token"] != tokens["device_token"]
    assert [device.is_approved for device in TrustedDevice.objects.alive()] == [True]


def test_an_account_that_is_deleted_meanwhile_is_not_there(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(signed_in)
    trust = services.otp.trust_device

    def meanwhile(user: Any, **kwargs: Any) -> str:
        get_user_model()._default_manager.filter(pk=user.pk).delete()
        return trust(user, **kwargs)

    monkeypatch.setattr(services.otp, "trust_device", meanwhile)
    assert code_of(signed_in.approve(last_code())) == "challenge_invalid"


def test_a_wrong_password_of_who_is_signed_in_is_told_as_one(signed_in: Browser) -> None:
    refused = signed_in.post("reauthenticate", {"password": "wrong"})
    assert (code_of(refused), refused.json()["detail"]) == ("invalid_credentials", "The password is not right.")
    assert signed_in.post("reauthenticate", {"password": PASSWORD}).status_code == 200
