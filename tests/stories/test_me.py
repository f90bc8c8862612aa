"""`me/`: who am I, and the profile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import OperationalError
from django.urls import reverse

from django_secure_auth.me import views
from tests.browser import Browser, change_user, code_of, is_signed_in, make_user

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


def _has(field: str) -> bool:
    try:
        get_user_model()._meta.get_field(field)
    except FieldDoesNotExist:
        return False
    return True


def _is_writable(field: str) -> bool:
    return _has(field) and bool(getattr(get_user_model()._meta.get_field(field), "editable", False))


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


def test_me_is_the_bare_user(signed_in: Browser) -> None:
    user = get_user_model()._default_manager.get()
    body = signed_in.me().json()
    names = {name for name in ("first_name", "last_name") if _has(name)}
    assert body.keys() == {"id", "email", "roles"} | names
    assert body["id"] == str(user.pk)
    assert body["email"] == "ana@example.com"
    assert body["roles"] == []


def test_a_stranger_is_401(browser: Browser) -> None:
    response = browser.me()
    assert response.status_code == 401
    assert code_of(response) == "not_authenticated"
    assert response["WWW-Authenticate"] == "Bearer"
    assert response["Content-Type"].startswith("application/problem+json")


def test_the_profile_changes(signed_in: Browser, configure: Configure) -> None:
    fields = [name for name in ("first_name", "last_name", "date_joined") if _has(name)]
    if "first_name" not in fields:
        return
    response = signed_in.patch("me", {"first_name": "Ana", "last_name": "Šimić"})
    assert response.status_code == 200
    assert response.json()["first_name"] == "Ana"
    assert signed_in.me().json()["last_name"] == "Šimić"
    assert is_signed_in(signed_in)


def test_an_empty_change_changes_nothing(signed_in: Browser) -> None:
    assert signed_in.patch("me", {}).status_code == 200


@pytest.mark.control("APITOP10-API3:2023", "LOGVOC-malicious_extraneous")
@pytest.mark.parametrize(
    "body",
    [
        {"email": "evil@example.com"},
        {"password": "x"},
        {"is_staff": True},
        {"is_superuser": True},
        {"is_active": False},
        {"roles": ["admin"]},
        {"id": "1"},
        {"groups": [1]},
        {"last_login": None},
        {"user": {"is_staff": True}},
    ],
)
def test_credentials_and_privileges_are_no_profile(signed_in: Browser, body: dict[str, Any]) -> None:
    response = signed_in.patch("me", body)
    assert response.status_code == 400
    assert code_of(response) == "validation_error"
    assert response.json()["errors"] == {next(iter(body)): ["Unknown field."]}
    user: Any = get_user_model()._default_manager.get()
    assert getattr(user, user.get_email_field_name()) == "ana@example.com"
    assert not user.is_staff
    assert is_signed_in(signed_in)


def test_the_model_judges_the_values(signed_in: Browser) -> None:
    if not _has("first_name"):
        return
    for value in ("x" * 1000, None, 5, ["x"], {"a": 1}):
        response = signed_in.patch("me", {"first_name": value})
        assert code_of(response) == "validation_error", value


def test_profile_fields_are_a_setting(signed_in: Browser, configure: Configure) -> None:
    configure(PROFILE_FIELDS=["date_joined", "no_such_field"])
    body = signed_in.me().json()
    assert "first_name" not in body
    assert "no_such_field" not in body
    if _has("date_joined"):
        assert "T" in body["date_joined"]
    assert code_of(signed_in.patch("me", {"first_name": "x"})) == "validation_error"


def test_no_profile_at_all(signed_in: Browser, configure: Configure) -> None:
    configure(PROFILE_FIELDS=[])
    assert signed_in.me().json().keys() == {"id", "email", "roles"}
    assert signed_in.patch("me", {}).status_code == 200


def test_a_profile_write_does_not_bring_old_privileges_back(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An administrator deactivates the account while its own profile is being saved: what the request had read of
    the account a moment ago must not be written again."""
    if not _has("first_name"):
        return  # this user model has no field that its owner may write
    user = get_user_model()._default_manager.get()
    change_user(user, is_staff=True, is_superuser=True)
    real = views.profile_serializer

    def meanwhile() -> Any:
        get_user_model()._default_manager.update(is_active=False, is_staff=False, is_superuser=False)
        return real()

    monkeypatch.setattr(views, "profile_serializer", meanwhile)
    assert signed_in.patch("me", {"first_name": "Ana"}).status_code == 200
    fresh: Any = get_user_model()._default_manager.get()
    assert (fresh.is_active, fresh.is_staff, fresh.is_superuser) == (False, False, False)
    assert fresh.first_name == "Ana"


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_other_methods_are_405(signed_in: Browser, method: str) -> None:
    response = signed_in.request(method, reverse("secure_auth:me"), {})
    assert response.status_code == 405
    assert code_of(response) == "method_not_allowed"


@pytest.mark.parametrize("method", ["GET", "PATCH"])
def test_an_account_deleted_in_the_moment_of_the_request_is_gone(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """After the session was asked, and before the profile is read or written."""
    if not _has("first_name"):
        return
    real = views.caller

    def meanwhile(request: Any) -> Any:
        get_user_model()._default_manager.all().delete()
        return real(request)

    monkeypatch.setattr(views, "caller", meanwhile)
    body = {"first_name": "Ana"} if method == "PATCH" else None
    response = signed_in.request(method, reverse("secure_auth:me"), body)
    assert response.status_code == 401
    assert code_of(response) == "session_revoked"


def test_a_database_that_refuses_is_not_taken_for_a_deletion(
    signed_in: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not _has("first_name"):
        return

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("the database is away")

    monkeypatch.setattr(get_user_model(), "save", away)
    response = signed_in.patch("me", {"first_name": "Ana"})
    assert response.status_code == 503
    assert code_of(response) == "state_unavailable"
