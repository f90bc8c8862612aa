"""`log_in()` and `log_out()` in a host's own views: the same policy, also in the middle of a host's transaction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.urls import reverse

from django_secure_auth import signals
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.sessions.models import Session
from django_secure_auth.testing import sign_in
from tests.browser import Browser, code_of, cookie, is_signed_in, make_staff, make_user, named, trust

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("tests.stories.host")]
Configure = Callable[..., None]


@pytest.fixture(params=["atomic", "autocommit"])
def transactions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both kinds of project, whatever the shape."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", request.param == "atomic")
    return request.param


@pytest.fixture
def visitor(browser: Browser, transactions: str) -> Browser:
    browser.client.raise_request_exception = False
    return browser


def test_a_second_step_is_not_skipped(visitor: Browser) -> None:
    """R7: a social login asks for the code that the policy wants."""
    user = make_user()
    response = visitor.request("GET", reverse("social", args=[user.pk]))
    assert response.status_code == 202
    assert response.json()["status"] == "otp_required"
    assert not is_signed_in(visitor)
    opened = visitor.approve()
    assert opened.json()["session"]["amr"] == ["sso", "email"]
    assert is_signed_in(visitor)


def test_staff_need_the_code_however_they_were_proven(visitor: Browser, configure: Configure) -> None:
    """R7: staff always."""
    configure(OTP_POLICY="never")
    root = make_staff()
    assert visitor.request("GET", reverse("social", args=[root.pk])).status_code == 202


def test_a_trusted_device_comes_in_at_once(visitor: Browser) -> None:
    user = make_user()
    trust(visitor, user)
    response = visitor.request("GET", reverse("social", args=[user.pk]))
    assert response.status_code == 200
    assert response.json()["session"]["amr"] == ["sso"]
    assert is_signed_in(visitor)


def test_cookies_move_to_an_answer_of_the_hosts_own(visitor: Browser) -> None:
    user = make_user()
    first = visitor.page(reverse("social-page", args=[user.pk]))
    assert (first.status_code, first["Location"]) == (302, "/code/")
    assert first.cookies.keys() == {cookie("challenge")}
    visitor.approve()
    again = visitor.page(reverse("social-page", args=[user.pk]) + "?remember")
    assert again["Location"] == "/welcome/"
    assert again.cookies[cookie("refresh")]["max-age"]
    assert is_signed_in(visitor)


def test_a_plain_view_may_return_the_answer_itself(visitor: Browser, configure: Configure) -> None:
    configure(OTP_POLICY="never")
    user = make_user()
    response = visitor.page(reverse("social-bare", args=[user.pk]))
    assert response.status_code == 200
    assert response.json()["status"] == "authenticated"


def test_sign_out_moves_too(visitor: Browser) -> None:
    user = make_user()
    trust(visitor, user)
    visitor.login()
    response = visitor.page("/leave/")
    assert response.content == b"bye"
    assert response["Clear-Site-Data"] == '"cache", "storage"'
    assert cookie("refresh") in response.cookies
    assert not Session.objects.alive().exists()
    assert visitor.page("/leave/").status_code == 200


def test_an_inactive_user_does_not_get_in(visitor: Browser) -> None:
    """R24: proven elsewhere is not enough for an account that was switched off."""
    user = make_user(is_active=False)
    response = visitor.request("GET", reverse("social", args=[user.pk]))
    assert code_of(response) == "invalid_credentials"
    assert code_of(visitor.page(reverse("social-bare", args=[user.pk]))) == "invalid_credentials"
    events = named("authn_login_fail")  # written, though the request was rolled back
    assert [event.details["reason"] for event in events] == ["inactive", "inactive"]


def test_a_user_without_address_cannot_be_asked_for_a_code(visitor: Browser) -> None:
    user = make_user()
    model = get_user_model()
    model._default_manager.filter(pk=user.pk).update(**{model.get_email_field_name(): ""})
    response = visitor.request("GET", reverse("social", args=[user.pk]))
    assert response.status_code == 422
    assert code_of(response) == "policy_rejected"
    assert response.json()["errors"].keys() == {"email"}


def test_a_host_view_that_fails_leaves_no_session(visitor: Browser, configure: Configure) -> None:
    configure(OTP_POLICY="never")
    seen: list[Any] = []

    def listen(**kwargs: Any) -> None:
        seen.append(kwargs)

    signals.session_opened.connect(listen)
    try:
        user = make_user()
        assert visitor.page(reverse("social-fails", args=[user.pk])).status_code == 500
    finally:
        signals.session_opened.disconnect(listen)
    assert not Session.objects.exists()
    assert not seen
    assert named("authn_login_success")  # what was tried is told all the same


def test_mail_away_at_commit_leaves_no_open_challenge(visitor: Browser, settings: Any) -> None:
    user = make_user()
    use_broken_mail(settings)
    response = visitor.request("GET", reverse("social", args=[user.pk]))
    assert response.status_code == 503
    assert code_of(response) == "delivery_unavailable"
    assert not OTPChallenge.objects.open().exists()
    assert named("authn_otp_undelivered")


def use_broken_mail(settings: Any) -> None:
    backend = "tests.stories.mailers.AwayBackend"
    if hasattr(settings, "MAILERS"):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend


def test_signals_are_sent_after_commit(visitor: Browser, configure: Configure) -> None:
    configure(OTP_POLICY="never")
    user = make_user()
    in_transaction: list[bool] = []

    def listen(**_: Any) -> None:
        in_transaction.append(connection.in_atomic_block)

    signals.session_opened.connect(listen)
    try:
        visitor.request("GET", reverse("social", args=[user.pk]))
    finally:
        signals.session_opened.disconnect(listen)
    assert in_transaction == [False]


def test_the_testing_helper_signs_in_for_a_hosts_tests(visitor: Browser) -> None:
    user = make_user()
    session = sign_in(visitor.client, user, amr=["pwd", "email"], remember_me=True)
    assert session.remember_me
    assert is_signed_in(visitor)
    assert visitor.refresh().status_code == 200


def test_a_stranger_in_an_open_view_is_anonymous(visitor: Browser) -> None:
    make_user()
    assert visitor.request("GET", "/open/").json() == {"is_authenticated": False}
    assert visitor.request("GET", "/open/", headers={"Authorization": "Basic x"}).json() == {"is_authenticated": False}
    visitor.sign_in()
    assert visitor.request("GET", "/open/").json() == {"is_authenticated": True}


def test_an_event_of_a_failing_view_is_written_once(visitor: Browser) -> None:
    make_user()
    visitor.sign_in()
    visitor.request("POST", reverse("probe"), {}, csrf=False)
    assert len(named("malicious_csrf")) == 1
