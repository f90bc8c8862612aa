"""When the broker or the mail server is away: 503, and nothing half-done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail

from django_secure_auth.exceptions import DeliveryUnavailable
from django_secure_auth.notices.tasks import send_notice
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.otp.tasks import send_code
from django_secure_auth.sessions.models import Session
from tests.browser import Browser, code_of, last_code, make_user, named

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture(params=["broker", "mail server"])
def outage(
    request: pytest.FixtureRequest, configure: Configure, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    """Call it to take one of the two away."""

    def begin() -> None:
        if request.param == "broker":
            configure(MAIL_DELIVERY="celery")
            for task in (send_code, send_notice):
                monkeypatch.setattr(task, "apply_async", _refuse)
            return
        backend = "tests.stories.mailers.AwayBackend"
        if hasattr(settings, "MAILERS"):
            settings.MAILERS = {"default": {"BACKEND": backend}}
        else:
            settings.EMAIL_BACKEND = backend

    return begin


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise ConnectionRefusedError("the broker is away")


def test_sign_in_is_a_503_and_leaves_no_open_challenge(browser: Browser, outage: Callable[[], None]) -> None:
    make_user()
    outage()
    response = browser.login()
    assert response.status_code == 503
    assert code_of(response) == "delivery_unavailable"
    assert not response.cookies
    assert not OTPChallenge.objects.open().exists()
    assert OTPChallenge.objects.get().closed_reason == "undelivered"
    (event,) = named("authn_otp_undelivered")
    assert event.severity == "HIGH"
    assert not mail.outbox


def test_a_resend_is_a_503_and_closes_the_challenge(browser: Browser, outage: Callable[[], None], clock: Any) -> None:
    make_user()
    browser.login()
    old = last_code()
    clock.forward(seconds=31)
    outage()
    assert code_of(browser.resend()) == "delivery_unavailable"
    assert code_of(browser.approve(old)) == "challenge_invalid"


def test_codes_that_were_never_sent_use_up_no_limit(
    browser: Browser, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_user()
    configure(RATE_LIMITS={"otp": "2/15m"}, MAIL_DELIVERY="celery")
    with monkeypatch.context() as patch:
        patch.setattr(send_code, "apply_async", _refuse)
        assert [browser.login().status_code for _ in range(4)] == [503] * 4
    configure(RATE_LIMITS={"otp": "2/15m"})
    assert [browser.login().status_code for _ in range(3)] == [202, 202, 429]


def test_sign_in_works_again_afterwards(browser: Browser) -> None:
    make_user()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django_secure_auth.otp.services.deliver", _unavailable)
        assert browser.login().status_code == 503
    assert browser.sign_in().status_code == 200


def _unavailable(*args: Any, **kwargs: Any) -> None:
    raise DeliveryUnavailable


def test_a_theft_ends_the_session_though_the_user_cannot_be_told(browser: Browser, outage: Callable[[], None]) -> None:
    make_user()
    browser.sign_in()
    thief = browser.copy("refresh")
    browser.refresh()
    browser.refresh()
    outage()
    response = thief.refresh()
    assert response.status_code == 401
    assert code_of(response) == "refresh_reused"
    assert Session.objects.get().revoked_reason == "refresh_reused"


def test_a_trusted_device_needs_no_mail(browser: Browser, outage: Callable[[], None]) -> None:
    make_user()
    browser.sign_in()
    outage()
    assert browser.login().status_code == 200
