"""Requests that pages of other sites send."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.headers.cross_site import Sender, Trusted, allow_cross_site, is_foreign, reason_of

REASON = "The bank posts its answer here."
CORS = "corsheaders.middleware.CorsMiddleware"
PARTNER = "https://app.partner.example"


@csrf_exempt
def plain(request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


async def later(request: HttpRequest) -> HttpResponse:
    return HttpResponse("later")


@allow_cross_site(reason=REASON)
@csrf_exempt
def opened(request: HttpRequest) -> HttpResponse:
    return HttpResponse("opened")


@allow_cross_site(reason=REASON)
class OpenedView(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("opened")


@allow_cross_site(reason=REASON)
class OpenedAPI(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response("opened")


urlpatterns = [
    path(f"{name}/", transaction.non_atomic_requests(view))
    for name, view in {
        "plain": plain,
        "later": later,
        "opened": opened,
        "opened-view": OpenedView.as_view(),
        "opened-api": OpenedAPI.as_view(),
    }.items()
]

pytestmark = pytest.mark.urls(__name__)


def fetched(site: str = "cross-site", mode: str = "no-cors", dest: str = "empty", origin: str = "") -> dict[str, str]:
    named = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": dest, "Origin": origin}
    return {name: value for name, value in named.items() if value}


def get(name: str, method: str = "get", **how: str) -> Any:
    return getattr(Client(), method)(f"/{name}/", headers=fetched(**how))


REFUSED: dict[str, tuple[str, dict[str, str]]] = {
    "an image": ("get", {"dest": "image"}),
    "a script": ("get", {"dest": "script"}),
    "a sibling's image": ("get", {"site": "same-site", "dest": "image"}),
    "a form": ("post", {"mode": "navigate", "dest": "document", "origin": "https://evil.example"}),
    "a sandboxed form": ("post", {"mode": "navigate", "dest": "document", "origin": "null"}),
    "a sibling's form": ("post", {"site": "same-site", "mode": "navigate", "origin": "https://evil.testserver"}),
    "a fetch": ("get", {"mode": "cors", "origin": "https://evil.example"}),
    "a fetch that reads nothing": ("post", {"origin": "https://evil.example"}),
    "an object": ("get", {"mode": "navigate", "dest": "object"}),
    "an embed": ("get", {"mode": "navigate", "dest": "embed"}),
    "a site that no standard knows": ("get", {"site": "new-word", "dest": "image"}),
    "a preflight that is none": ("options", {"mode": "cors", "origin": "https://evil.example"}),
}
PASSED: dict[str, tuple[str, dict[str, str]]] = {
    "a link": ("get", {"mode": "navigate", "dest": "document"}),
    "a link that asks for the head": ("head", {"mode": "navigate", "dest": "document"}),
    "a page of ours": ("post", {"site": "same-origin", "mode": "cors"}),
    "a bookmark": ("get", {"site": "none", "mode": "navigate", "dest": "document"}),
    "a program": ("post", {"site": "", "mode": "", "dest": ""}),
    "an old browser": ("post", {"site": "", "mode": "", "dest": "", "origin": "https://evil.example"}),
}


@pytest.mark.django_db
@pytest.mark.control("ASVS-3.5.1")
@pytest.mark.parametrize("case", REFUSED)
def test_what_another_sites_page_sends_is_refused(case: str) -> None:
    method, how = REFUSED[case]
    answer = get("plain", method, **how)
    assert answer.status_code == 403
    assert answer.json()["code"] == "cross_site_request"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("case", PASSED)
def test_what_no_other_sites_page_can_have_sent_passes(case: str) -> None:
    method, how = PASSED[case]
    assert get("plain", method, **how).status_code == 200


@pytest.mark.django_db
def test_a_refusal_is_told_with_what_the_browser_said() -> None:
    get("plain", mode="cors", origin="https://evil.example")
    event = SecurityEvent.objects.get()
    assert (event.event, event.severity) == ("malicious_cors", "HIGH")
    assert event.details == {
        "path": "/plain/",
        "method": "GET",
        "site": "cross-site",
        "mode": "cors",
        "destination": "empty",
        "origin": "https://evil.example",
        "refused": True,
    }


@pytest.mark.django_db
def test_report_tells_and_lets_pass(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"CROSS_SITE_CHECK": "report"}
    assert get("plain", dest="image").status_code == 200
    assert SecurityEvent.objects.get().details["refused"] is False


def test_off_does_not_look(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"CROSS_SITE_CHECK": "off"}
    assert get("plain", dest="image").status_code == 200


@pytest.mark.parametrize("name", ["opened", "opened-view", "opened-api"])
def test_a_view_that_says_why_may_be_called_from_everywhere(name: str) -> None:
    assert get(name, dest="image").content.strip(b'"') == b"opened"


def test_a_view_that_says_nothing_has_no_reason() -> None:
    assert reason_of(opened) == REASON
    assert reason_of(cast(Callable[..., object], OpenedView.as_view())) == REASON
    assert reason_of(plain) is None


def test_a_reason_must_be_given() -> None:
    with pytest.raises(ValueError, match="reason"):
        allow_cross_site(reason=" ")


@pytest.mark.django_db
@pytest.mark.parametrize(("how", "status"), [({"dest": "image"}, 403), ({"site": "same-origin"}, 200)])
def test_on_an_async_server_it_is_the_same(how: dict[str, str], status: int) -> None:
    answer = async_to_sync(AsyncClient().get)("/later/", headers=fetched(**how))
    assert answer.status_code == status


# --- origins that are let in -------------------------------------------------------------------------


def with_cors(settings: Any, **named: Any) -> None:
    settings.MIDDLEWARE = [settings.MIDDLEWARE[0], CORS, *settings.MIDDLEWARE[1:]]
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "corsheaders"]
    for name, value in named.items():
        setattr(settings, name, value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "named",
    [
        {"CORS_ALLOWED_ORIGINS": [PARTNER]},
        {"CORS_ORIGIN_WHITELIST": [PARTNER]},
        {"CORS_ALLOWED_ORIGIN_REGEXES": [r"^https://\w+\.partner\.example$"]},
        {"CORS_ALLOW_ALL_ORIGINS": True},
    ],
)
def test_an_origin_that_cors_lets_in_may_fetch_and_only_that(settings: Any, named: dict[str, Any]) -> None:
    with_cors(settings, **named)
    answer = get("plain", mode="cors", origin=PARTNER)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] in {PARTNER, "*"}
    assert get("plain", "post", mode="navigate", dest="document", origin=PARTNER).status_code == 403
    if "CORS_ALLOW_ALL_ORIGINS" not in named:
        assert get("plain", mode="cors", origin="https://evil.example").status_code == 403


@pytest.mark.django_db
def test_an_origin_that_only_settings_name_while_cors_is_not_installed_is_foreign(settings: Any) -> None:
    settings.CORS_ALLOWED_ORIGINS = [PARTNER]
    assert get("plain", mode="cors", origin=PARTNER).status_code == 403


@pytest.mark.django_db
def test_with_cookies_no_page_is_let_in_because_all_are(settings: Any) -> None:
    with_cors(settings, CORS_ALLOW_ALL_ORIGINS=True)
    client = Client()
    client.cookies["sessionid"] = "x"
    answer = client.get("/plain/", headers=fetched(site="same-site", mode="cors", origin="https://evil.testserver"))
    assert answer.status_code == 403


def test_a_preflight_is_cors_business(settings: Any) -> None:
    headers = {**fetched(mode="cors", origin=PARTNER), "Access-Control-Request-Method": "POST"}
    assert Client().options("/plain/", headers=headers).status_code == 200


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("trusted", "origin", "status"),
    [
        ("https://pages.testserver", "https://pages.testserver", 200),
        ("https://pages.testserver", "https://pages.testserver.evil.example", 403),
        ("https://*.testserver", "https://pages.testserver", 200),
        ("https://*.testserver", "http://pages.testserver", 403),
        ("https://*.testserver", "https://eviltestserver", 403),
    ],
)
def test_an_origin_that_csrf_trusts_may_post(settings: Any, trusted: str, origin: str, status: int) -> None:
    settings.CSRF_TRUSTED_ORIGINS = [trusted]
    how = {"site": "same-site", "mode": "navigate", "dest": "document", "origin": origin}
    assert get("plain", "post", **how).status_code == status


def test_the_rule_is_pure() -> None:
    trusted = Trusted(is_shared=lambda origin: origin == PARTNER, is_open=False, posting=())
    sender = Sender("POST", "cross-site", "cors", "empty", PARTNER, is_preflight=False, has_cookies=True)
    assert not is_foreign(sender, trusted)
    assert is_foreign(Sender("GET", "same-site", "", "", "", False, False), trusted)


# --- sign-in, refresh, sign-out ----------------------------------------------------------------------


@pytest.mark.django_db
@pytest.mark.urls("tests.urls")
@pytest.mark.parametrize("name", ["login", "refresh", "logout"])
def test_a_planted_csrf_cookie_does_not_help_a_sibling(name: str, settings: Any) -> None:
    """A page of another sub-domain may write cookies for ours; the pair of cookie and header then fits."""
    client = Client(enforce_csrf_checks=True, HTTP_HOST="testserver")
    planted = "a" * 32
    client.cookies[settings.CSRF_COOKIE_NAME] = planted
    headers = {"X-CSRF-Token": planted, "Origin": "https://evil.testserver"}
    url = f"/api/auth/{name}/"
    new = client.post(url, headers={**headers, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, secure=True)
    assert (new.status_code, new.json()["code"]) == (403, "cross_site_request")
    old = client.post(url, headers=headers, secure=True)
    assert (old.status_code, old.json()["code"]) == (403, "csrf_failed")
