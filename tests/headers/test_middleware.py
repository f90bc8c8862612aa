"""Security headers on every answer of a project, sync and async."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from asgiref.sync import iscoroutinefunction
from django.db import transaction
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.http.response import HttpResponseBase
from django.template import engines
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path
from django.views.decorators.clickjacking import xframe_options_exempt, xframe_options_sameorigin

from django_secure_auth.exceptions import RateLimited, StateUnavailable
from django_secure_auth.headers.middleware import SecurityHeadersMiddleware
from django_secure_auth.headers.policy import API_CSP, HSTS

PAGE = "<script nonce='{{ request.csp_nonce }}'></script><style nonce='{{ request.csp_nonce }}'></style>"
GUARDED = "{% if request.csp_nonce %}yes{% endif %}"


def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(PAGE).render({}, request))


def guarded_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(engines["django"].from_string(GUARDED).render({}, request))


def bare_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>no nonce</p>")


def own_headers(request: HttpRequest) -> HttpResponse:
    str(getattr(request, "csp_nonce", ""))
    names = ("Content-Security-Policy", "X-Frame-Options", "Referrer-Policy", "Strict-Transport-Security")
    return HttpResponse("", headers=dict.fromkeys(names, "mine"))


def some_json(request: HttpRequest) -> HttpResponse:
    return JsonResponse({}, content_type=request.GET.get("type", "application/json"))


def moved(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/page/")


def streaming(request: HttpRequest) -> HttpResponseBase:
    return StreamingHttpResponse([b"a"], content_type="text/csv")


def missing(request: HttpRequest) -> HttpResponse:
    raise Http404


def crash(request: HttpRequest) -> HttpResponse:
    raise RuntimeError


def refusing(request: HttpRequest) -> HttpResponse:
    raise RateLimited(headers={"Retry-After": "7"})


async def page_later(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    return page(request)


async def refusing_later(request: HttpRequest) -> HttpResponse:
    raise StateUnavailable


@xframe_options_exempt
def framed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a widget")


@xframe_options_sameorigin
def framed_at_home(request: HttpRequest) -> HttpResponse:
    return HttpResponse("a widget")


@xframe_options_exempt
def framed_page(request: HttpRequest) -> HttpResponse:
    return page(request)


@xframe_options_sameorigin
def framed_page_at_home(request: HttpRequest) -> HttpResponse:
    return page(request)


VIEWS: tuple[Callable[..., Any], ...] = (
    page, guarded_page, bare_page, own_headers, some_json, moved, streaming, missing, crash, refusing, page_later,
    refusing_later, framed, framed_at_home, framed_page, framed_page_at_home,
)  # fmt: skip
# Without a transaction around them, whatever the project under test does: these need no database.
urlpatterns = [path(f"{view.__name__}/", transaction.non_atomic_requests(view)) for view in VIEWS]

pytestmark = pytest.mark.urls(__name__)


def get_sync(name: str, **kwargs: Any) -> Any:
    return Client(raise_request_exception=False).get(f"/{name}/", **kwargs)


def get_async(name: str, **kwargs: Any) -> Any:
    async def get() -> Any:
        return await AsyncClient(raise_request_exception=False).get(f"/{name}/", **kwargs)

    return asyncio.run(get())


both_ways = pytest.mark.parametrize("get", [get_sync, get_async])


@pytest.mark.control("ASVS-3.4.4")
@both_ways
@pytest.mark.parametrize("name", [view.__name__ for view in VIEWS] + ["nowhere"])
def test_every_answer_has_the_common_headers(name: str, get: Callable[..., Any]) -> None:
    response = get(name)
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == ("mine" if name == "own_headers" else "same-origin")
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Permissions-Policy" in response
    assert "Strict-Transport-Security" not in response or name == "own_headers"


@pytest.mark.control("ASVS-3.4.1")
@both_ways
@pytest.mark.parametrize("name", ["bare_page", "moved", "missing", "crash", "some_json"])
def test_https_answers_of_any_status_have_hsts(name: str, get: Callable[..., Any]) -> None:
    assert get(name, secure=True)["Strict-Transport-Security"] == HSTS


# --- the nonce ---------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-3.4.3")
@both_ways
@pytest.mark.parametrize("name", ["page", "page_later"])
def test_the_nonce_is_one_within_a_request_and_another_in_the_next(name: str, get: Callable[..., Any]) -> None:
    nonces = set()
    for _ in range(2):
        response = get(name)
        first, second = re.findall(r"nonce='([\w-]{22,})'", response.content.decode())
        assert first == second
        policy = response["Content-Security-Policy"]
        assert f"script-src 'nonce-{first}'; style-src 'nonce-{first}'" in policy
        nonces.add(first)
    assert len(nonces) == 2


def test_a_template_may_ask_whether_there_is_one() -> None:
    response = get_sync("guarded_page")
    assert response.content == b"yes"
    assert "'nonce-" in response["Content-Security-Policy"]


@both_ways
def test_a_page_that_does_not_use_it_gets_no_policy_that_promises_one(get: Callable[..., Any]) -> None:
    """R40: absent when unused."""
    assert "Content-Security-Policy" not in get("bare_page")


def test_it_can_be_read_after_a_middleware_has_raised() -> None:
    """R40: stable when something reads it while an error page is made."""
    request = RequestFactory().get("/")
    kept: list[str] = []

    def get_response(request: HttpRequest) -> HttpResponse:
        kept.append(str(request.csp_nonce))  # type: ignore[attr-defined]  # ours
        raise RuntimeError

    with pytest.raises(RuntimeError):
        SecurityHeadersMiddleware(get_response)(request)
    assert str(request.csp_nonce) == kept[0]  # type: ignore[attr-defined]  # ours


def test_it_is_one_also_in_a_copy_of_the_request() -> None:
    request = RequestFactory().get("/")
    kept: list[str] = []

    def get_response(request: HttpRequest) -> HttpResponse:
        other = copy.copy(request.csp_nonce)  # type: ignore[attr-defined]  # ours
        kept.extend((str(request.csp_nonce), str(other)))  # type: ignore[attr-defined]  # ours
        return HttpResponse()

    response = cast(HttpResponse, SecurityHeadersMiddleware(get_response)(request))
    assert kept[0] == kept[1]
    assert f"'nonce-{kept[0]}'" in response["Content-Security-Policy"]


# --- what the view says counts -----------------------------------------------------------------------


@both_ways
def test_what_the_view_has_set_stays(get: Callable[..., Any]) -> None:
    response = get("own_headers", secure=True)
    for name in ("Content-Security-Policy", "X-Frame-Options", "Referrer-Policy", "Strict-Transport-Security"):
        assert response[name] == "mine"


@pytest.mark.control("ASVS-3.4.6")
def test_framing_is_forbidden_unless_the_view_opts_out() -> None:
    assert get_sync("bare_page")["X-Frame-Options"] == "DENY"
    assert get_sync("framed_at_home")["X-Frame-Options"] == "SAMEORIGIN"
    assert "X-Frame-Options" not in get_sync("framed")


@pytest.mark.control("ASVS-3.4.6")
def test_the_policy_of_a_page_forbids_framing_unless_the_view_opts_out() -> None:
    """A browser that reads the policy reads no X-Frame-Options: the view's word must be in both."""
    assert "frame-ancestors 'none'" in get_sync("page")["Content-Security-Policy"]
    at_home = get_sync("framed_page_at_home")
    assert "frame-ancestors 'self'" in at_home["Content-Security-Policy"]
    assert at_home["X-Frame-Options"] == "SAMEORIGIN"
    framed_anywhere = get_sync("framed_page")
    assert "frame-ancestors" not in framed_anywhere["Content-Security-Policy"]
    assert "script-src 'nonce-" in framed_anywhere["Content-Security-Policy"]
    assert "X-Frame-Options" not in framed_anywhere


@pytest.mark.control("ASVS-3.2.1")
@both_ways
@pytest.mark.parametrize(
    "kind", ["application/json", "application/problem+json", "Application/JSON; charset=utf-8", "application/geo+json"]
)
def test_json_may_load_nothing(kind: str, get: Callable[..., Any]) -> None:
    assert get("some_json", data={"type": kind})["Content-Security-Policy"] == API_CSP


def test_what_only_looks_like_json_is_none() -> None:
    assert "Content-Security-Policy" not in get_sync("some_json", data={"type": "text/html; a=application/json"})
    assert "Content-Security-Policy" not in get_sync("some_json", data={"type": "application/jsonp"})


# --- refusals in plain views -------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize(
    ("name", "status", "code"), [("refusing", 429, "rate_limited"), ("refusing_later", 503, "state_unavailable")]
)
def test_a_refusal_of_ours_that_escapes_a_plain_view_is_a_problem_document(
    name: str, status: int, code: str, get: Callable[..., Any]
) -> None:
    response = get(name)
    assert response.status_code == status
    assert response["Content-Type"] == "application/problem+json"
    assert response["Content-Security-Policy"] == API_CSP
    assert json.loads(response.content)["code"] == code
    assert response.get("Retry-After") == ("7" if name == "refusing" else None)


@both_ways
@pytest.mark.parametrize(("name", "status"), [("missing", 404), ("crash", 500)])
def test_other_exceptions_are_djangos_own_business(name: str, status: int, get: Callable[..., Any]) -> None:
    response = get(name)
    assert response.status_code == status
    assert response["Content-Type"].startswith("text/html")


# --- as a callable -----------------------------------------------------------------------------------


def test_it_is_as_sync_or_async_as_what_it_wraps(rf: RequestFactory) -> None:
    async def later(request: HttpRequest) -> HttpResponse:
        return HttpResponse()

    wrapped = SecurityHeadersMiddleware(later)
    assert iscoroutinefunction(wrapped)
    answer = cast(Awaitable[HttpResponseBase], wrapped(rf.get("/")))

    async def wait() -> HttpResponseBase:
        return await answer

    assert asyncio.run(wait()).headers["X-Frame-Options"] == "DENY"
    assert not iscoroutinefunction(SecurityHeadersMiddleware(lambda request: HttpResponse()))


def test_an_answer_without_a_type_is_no_json(rf: RequestFactory) -> None:
    def get_response(request: HttpRequest) -> HttpResponse:
        response = HttpResponse(status=204)
        del response.headers["Content-Type"]
        return response

    response = cast(HttpResponse, SecurityHeadersMiddleware(get_response)(rf.get("/")))
    assert "Content-Security-Policy" not in response
