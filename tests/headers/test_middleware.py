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
from django.urls import include, path
from django.utils.functional import SimpleLazyObject
from django.views import View
from django.views.decorators.cache import cache_control
from django.views.decorators.clickjacking import xframe_options_exempt, xframe_options_sameorigin
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from django_secure_auth.exceptions import RateLimited, StateUnavailable
from django_secure_auth.headers.middleware import SecurityHeadersMiddleware
from django_secure_auth.headers.policy import HSTS, security_headers

API_CSP = "default-src 'none'; frame-ancestors 'none'"
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


@security_headers(profile="page", csp={"img-src": "'none'"}, coep="require-corp")
def strict_page(request: HttpRequest) -> HttpResponse:
    return HttpResponse("<p>no nonce of its own</p>")


@security_headers(csp={"img-src": "https://img.example"}, loosen_because="Pictures lie elsewhere.")
class PicturePage(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("<p>a picture</p>")


def bannered(request: HttpRequest) -> HttpResponse:
    return HttpResponse("", headers={"Server": "teapot/1.0", "X-Powered-By": "steam"})


def cookie_setting(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("")
    response.set_cookie("a", "b")
    return response


def session_reading(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.session.get("a")))


@cache_control(private=True)
def cached_by_choice(request: HttpRequest) -> HttpResponse:
    return session_reading(request)


class WhoAmI(APIView):
    permission_classes = ()

    def get(self, request: Request) -> Response:
        return Response({"auth": str(request.auth)})


VIEWS: tuple[Callable[..., Any], ...] = (
    page, guarded_page, bare_page, own_headers, some_json, moved, streaming, missing, crash, refusing, page_later,
    refusing_later, framed, framed_at_home, framed_page, framed_page_at_home, strict_page, bannered, cookie_setting,
    session_reading, cached_by_choice,
)  # fmt: skip
# Without a transaction around them, whatever the project under test does: these need no database.
urlpatterns = [
    *(path(f"{view.__name__}/", transaction.non_atomic_requests(view)) for view in VIEWS),
    path("picture/", transaction.non_atomic_requests(PicturePage.as_view())),
    path("who/", transaction.non_atomic_requests(WhoAmI.as_view())),
    path("admin/", include(([path("page/", bare_page), path("own/", page)], "admin"))),
]

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
        assert f"script-src 'nonce-{first}' 'strict-dynamic'; style-src 'nonce-{first}'" in policy
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


def policy_of(response: Any) -> dict[str, str]:
    parts = (part.partition(" ") for part in response["Content-Security-Policy"].split("; "))
    return {name: rest for name, _, rest in parts}


@both_ways
def test_a_view_may_have_the_policy_of_a_page_without_asking_for_the_nonce(get: Callable[..., Any]) -> None:
    response = get("strict_page")
    policy = policy_of(response)
    assert re.fullmatch(r"'nonce-[\w-]{22}' 'strict-dynamic'", policy["script-src"])
    assert policy["img-src"] == "'none'"
    assert response["Cross-Origin-Embedder-Policy"] == "require-corp"


@both_ways
def test_a_class_may_say_so_too(get: Callable[..., Any]) -> None:
    assert policy_of(get("picture"))["img-src"] == "https://img.example"


@both_ways
def test_the_admin_has_a_policy_of_its_own(get: Callable[..., Any]) -> None:
    policy = policy_of(get("admin/page"))
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "trusted-types" not in policy
    own = policy_of(get("admin/own"))
    assert re.fullmatch(r"'self' 'nonce-[\w-]{22}'", own["script-src"])
    assert own["script-src"] == own["style-src"]


@both_ways
def test_no_banner_tells_what_serves(get: Callable[..., Any]) -> None:
    response = get("bannered")
    assert not {"Server", "X-Powered-By"} & {name for name, _ in response.items()}


@pytest.mark.django_db
@pytest.mark.control("ASVS-14.3.2")
@pytest.mark.parametrize("name", ["cookie_setting", "session_reading"])
def test_what_depends_on_who_asks_is_stored_nowhere(name: str) -> None:
    response = get_sync(name)
    assert response["Cache-Control"] == "no-store"
    assert "Cookie" in response["Vary"]


@pytest.mark.django_db
def test_what_a_credential_was_used_for_is_stored_nowhere(django_user_model: Any) -> None:
    user = django_user_model.objects.create_user(**{django_user_model.USERNAME_FIELD: "ana"})
    client = APIClient()
    client.force_authenticate(user, token="proof")
    response = client.get("/who/")
    assert response["Cache-Control"] == "no-store"
    assert {"Cookie", "Authorization"} <= set(response["Vary"].split(", "))


def test_a_views_own_word_on_caches_stands() -> None:
    assert get_sync("cached_by_choice")["Cache-Control"] == "private"


@both_ways
def test_what_is_the_same_for_all_may_be_stored(get: Callable[..., Any]) -> None:
    assert "Cache-Control" not in get("bare_page")


@both_ways
def test_the_settings_of_a_project_are_sent(settings: Any, get: Callable[..., Any]) -> None:
    settings.DJANGO_SECURE_AUTH = {
        "PERMISSIONS_POLICY": {"camera": "(self)", "fullscreen": "*"},
        "CROSS_ORIGIN_EMBEDDER_POLICY": "credentialless",
        "CSP_REPORT_PATH": "/csp/",
    }
    response = get("page")
    allowed = "camera=(self), geolocation=(), microphone=(), payment=(), usb=(), fullscreen=*"
    assert response["Permissions-Policy"] == allowed
    assert response["Cross-Origin-Embedder-Policy"] == "credentialless"
    assert policy_of(response)["report-uri"] == "/csp/"
    assert "report-uri" not in get("some_json")["Content-Security-Policy"]


def test_the_nonce_is_djangos_where_django_has_one() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        # As Django 6's middleware sets it: drawn at its first use, true from then on.
        request._csp_nonce = SimpleLazyObject(lambda: "from-django")  # type: ignore[attr-defined]  # Django 6's name
        return page(request)

    response: Any = SecurityHeadersMiddleware(view)(RequestFactory().get("/"))
    assert b"nonce='from-django'" in response.content
    assert "'nonce-from-django'" in response["Content-Security-Policy"]


def test_djangos_nonce_alone_is_a_promise_too() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        request._csp_nonce = "from-django"  # type: ignore[attr-defined]  # Django 6's name
        return HttpResponse("<script nonce='from-django'></script>")

    response: Any = SecurityHeadersMiddleware(view)(RequestFactory().get("/"))
    assert "'nonce-from-django'" in response["Content-Security-Policy"]


def test_djangos_own_middleware_is_not_doubled(settings: Any) -> None:
    settings.SECURE_HSTS_SECONDS = 63_072_000
    response = get_sync("page", secure=True)
    for name in ("Strict-Transport-Security", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"):
        assert len([value for header, value in response.items() if header == name]) == 1
    assert response["Strict-Transport-Security"] == "max-age=63072000"
