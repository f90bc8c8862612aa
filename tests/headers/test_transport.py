"""Plain http: pages move, the API refuses."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path

from django_secure_auth.audit.models import SecurityEvent
from tests.headers.test_cross_site import OpenedAPI


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


urlpatterns = [
    path("page/", transaction.non_atomic_requests(page)),
    path("view/", transaction.non_atomic_requests(OpenedAPI.as_view())),
    path("api/auth/", include("django_secure_auth.urls")),
]

pytestmark = [pytest.mark.urls(__name__), pytest.mark.django_db]
SECURE: dict[str, Any] = {"HTTPS_ONLY": True}


@pytest.fixture(autouse=True)
def https_only(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = SECURE


@pytest.mark.parametrize("where", ["/page/?a=b", "/nowhere/"])
@pytest.mark.control("ASVS-12.2.1")
def test_a_page_moves_to_https(where: str) -> None:
    answer = Client().get(where)
    assert answer.status_code == 301
    assert answer.headers["Location"] == f"https://testserver{where}"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Strict-Transport-Security" not in answer.headers  # RFC 6797 §7.2


@pytest.mark.parametrize("where", ["/view/", "/api/auth/csrf/", "/api/auth/me/"])
@pytest.mark.control("ASVS-4.1.2")
def test_an_api_refuses_instead_of_moving(where: str) -> None:
    answer = Client().get(where)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert "Location" not in answer.headers
    assert not SecurityEvent.objects.exists()


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_a_credential_that_came_in_clear_is_refused_and_told_without_it(header: str) -> None:
    answer = Client().get("/page/", headers={header: "Bearer of-a-secret"})
    assert answer.status_code == 403
    event = SecurityEvent.objects.get()
    assert (event.event, event.details) == ("sensitive_in_clear", {"path": "/page/"})


def test_what_would_change_something_is_refused_and_told() -> None:
    assert Client().post("/page/").status_code == 403
    assert SecurityEvent.objects.get().event == "sensitive_in_clear"


def test_https_goes_on() -> None:
    assert Client().get("/page/", secure=True).content == b"page"


def test_a_proxys_word_counts_only_by_the_configured_header(settings: Any) -> None:
    assert Client().get("/page/", headers={"X-Forwarded-Proto": "https"}).status_code == 301
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert Client().get("/page/", headers={"X-Forwarded-Proto": "https"}).status_code == 200
    assert Client().get("/page/", headers={"X-Forwarded-Proto": "http"}, secure=True).status_code == 301


def test_djangos_settings_of_its_redirect_hold(settings: Any) -> None:
    settings.SECURE_REDIRECT_EXEMPT = [r"^page/$"]
    settings.SECURE_SSL_HOST = "www.example.com"
    assert Client().get("/page/").status_code == 200
    assert Client().get("/nowhere/").headers["Location"] == "https://www.example.com/nowhere/"


def test_a_name_that_is_not_ours_is_no_place_to_move_to() -> None:
    answer = Client(raise_request_exception=False).get("/page/", headers={"Host": "evil.example"})
    assert answer.status_code == 400


def test_off_by_default(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {}
    assert Client().get("/page/").status_code == 200


def test_on_an_async_server_it_is_the_same() -> None:
    client = AsyncClient()
    assert async_to_sync(client.get)("/page/").status_code == 301
    assert async_to_sync(client.post)("/page/").status_code == 403
    assert SecurityEvent.objects.count() == 1
