"""What we give to the tests of projects that use us."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from django_secure_auth.sessions.models import Session
from django_secure_auth.testing import latest_code, sign_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def user(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ana", "ana@example.com", "correct horse battery")


# --- sign_in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("client_class", [Client, APIClient])
@pytest.mark.parametrize("secure", [True, False])
def test_a_client_is_signed_in_as_a_browser_would_be(client_class: type[Client], secure: bool, user: Any) -> None:
    client = client_class()
    session = sign_in(client, user)
    response = client.get(reverse("probe"), secure=secure)
    assert response.json()["user"] == str(user.pk)
    assert Session.objects.get().pk == session.pk
    assert set(client.cookies) == {"__Host-secure_auth_access", "__Secure-secure_auth_refresh"}


def test_it_takes_what_a_sign_in_may_say(user: Any) -> None:
    session = sign_in(Client(), user, amr=["pwd", "email"], remember_me=True)
    session.refresh_from_db()
    assert (session.amr, session.remember_me) == (["pwd", "email"], True)
    assert session.ip_address == "127.0.0.1"


def test_the_cookies_have_the_projects_names(user: Any, settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"COOKIE_PREFIX": "shop", "COOKIE_SECURE": False}
    client = Client()
    sign_in(client, user)
    assert set(client.cookies) == {"shop_access", "shop_refresh"}
    assert client.get(reverse("probe")).status_code == 200


def test_the_session_refreshes_and_ends_like_any_other(user: Any) -> None:
    client = Client()
    session = sign_in(client, user)
    assert client.post(reverse("secure_auth:refresh")).status_code == 200
    assert client.post(reverse("secure_auth:logout")).status_code == 204
    session.refresh_from_db()
    assert session.revoked_reason == "sign_out"
    assert client.get(reverse("probe")).status_code == 401


def test_two_clients_have_a_session_each(user: Any) -> None:
    first, second = Client(), Client()
    sign_in(first, user)
    sign_in(second, user)
    first.post(reverse("secure_auth:logout"))
    assert second.get(reverse("probe")).status_code == 200


# --- latest_code -------------------------------------------------------------------------------------


def letter(body: str) -> EmailMessage:
    return EmailMessage("subject", body, "a@example.com", ["b@example.com"])


@pytest.mark.django_db(transaction=True)
def test_the_code_of_a_real_mail_is_found(user: Any) -> None:
    client = Client()
    response = client.post(
        reverse("secure_auth:login"),
        {"email": "ana@example.com", "password": "correct horse battery"},
        content_type="application/json",
    )
    assert response.status_code == 202
    approval = {"otp_code": latest_code(mail.outbox)}
    response = client.post(reverse("secure_auth:otp-approve"), approval, content_type="application/json")
    assert response.status_code == 200


def test_of_several_mails_the_newest_with_a_code_counts() -> None:
    assert latest_code([letter("Code: 111111"), letter("Code: 222222"), letter("Welcome!")]) == "222222"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("Code: 123456", "123456"),
        ("Hello,\n\nCode: 123456\n\nBye", "123456"),
        ("Order 999999 waits.\nCode: 123456\n", "123456"),
        ("Ihr Code ist 123456.", "123456"),
        ("1234567 is a phone number, 123456 a code", "123456"),
    ],
)
def test_a_code_is_found_in_any_words(body: str, code: str) -> None:
    assert latest_code([letter(body)]) == code


@pytest.mark.parametrize("mailbox", [[], [letter("Welcome!")], [letter("12345 and 1234567")], [letter("a123456b")]])
def test_no_code_is_told(mailbox: list[EmailMessage]) -> None:
    with pytest.raises(LookupError, match="No mail in this mailbox holds a code"):
        latest_code(mailbox)


def test_longer_codes_are_found_when_the_project_has_them(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"OTP_LENGTH": 8}
    assert latest_code([letter("Code: 12345678")]) == "12345678"
    with pytest.raises(LookupError):
        latest_code([letter("Code: 123456")])
