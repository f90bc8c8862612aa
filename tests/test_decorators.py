"""`requires`: whoever may pass does, everybody else meets 401, 403 or 500, and the view's body never runs."""

from __future__ import annotations

import builtins
import functools
import inspect
import json
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser, Permission
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_page
from django.views.decorators.csrf import csrf_exempt
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.authentication import SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient
from rest_framework.views import APIView

from django_secure_auth import decorators
from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.audit import services as audit_services
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.decorators import MARK, requires
from django_secure_auth.exceptions import InternalError
from django_secure_auth.rbac.models import Role
from django_secure_auth.rbac.permissions import HasScope
from django_secure_auth.rbac.services import grant, revoke
from django_secure_auth.request_scope import Credentials
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import end_session
from django_secure_auth.testing import sign_in
from tests import guarded
from tests.browser import Browser, Clock, change_user, code_of, cookie, make_user, named

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.guarded")]

PROBLEM = "application/problem+json"
EXCEPTIONS = {one for one in vars(builtins).values() if isinstance(one, type) and issubclass(one, Exception)} - {
    BaseExceptionGroup,
    ExceptionGroup,
}
Roles = dict[Any, set[str]]


@pytest.fixture(autouse=True)
def roles(monkeypatch: pytest.MonkeyPatch) -> Roles:
    """Who has which roles, by the user's key."""
    granted: Roles = {}
    monkeypatch.setattr(decorators, "has_role", lambda user, role: role in granted.get(user.pk, ()))
    return granted


@pytest.fixture(autouse=True)
def _nothing_has_run(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    guarded.entered.clear()
    guarded.asked.clear()
    monkeypatch.setattr(guarded, "verdict", lambda: True)
    yield
    guarded.entered.clear()
    guarded.asked.clear()


@pytest.fixture
def user() -> Any:
    return make_user()


@pytest.fixture
def editor(user: Any, roles: Roles) -> Any:
    roles[user.pk] = {"editor"}
    return user


def ask(kind: str, user: Any = None, *, method: str = "get", client: Any = None) -> Any:
    """Call a view as a user, over the sync or the async handler."""
    client = client or Client(raise_request_exception=False)
    if user is not None:
        sign_in(client, user)
    call = getattr(client, method)
    call = async_to_sync(call) if isinstance(client, AsyncClient) else call
    return call(f"/{kind}/7/", secure=True)


def is_refused(response: Any, status: int, code: str) -> bool:
    """A problem document, and nobody has been in the view."""
    assert guarded.entered == []
    assert response["Content-Type"] == PROBLEM
    assert response.json()["request_id"]
    assert (response.status_code, code_of(response)) == (status, code)
    assert ("WWW-Authenticate" in response.headers) is (status == 401)
    return True


class CaptureEvents(list[SecurityEvent]):
    """The refusals that are written in between."""

    def __enter__(self) -> CaptureEvents:
        self.before = SecurityEvent.objects.count()
        return self

    def __exit__(self, *_: object) -> None:
        written = SecurityEvent.objects.order_by("id")[self.before :]
        self.extend(event for event in written if event.event.startswith("authz"))


def raises(error: type[BaseException]) -> Callable[[], Any]:
    def verdict() -> Any:
        raise error

    return verdict


async def true() -> bool:
    return True


# --- the matrix --------------------------------------------------------------------------------------

CLIENTS: dict[str, Any] = {"wsgi": Client, "asgi": AsyncClient}
MATRIX = [
    (kind, server)
    for kind in guarded.KINDS
    for server in CLIENTS
    if server == "wsgi" or kind in guarded.ASYNC or kind in ("function", "class", "api-below")
]
# What a check says, and what then becomes of somebody who has the role.
VERDICTS: dict[str, tuple[Callable[[], Any], int, str]] = {
    "False": (lambda: False, 403, "permission_denied"),
    "None": (lambda: None, 500, "internal_error"),
    "1": (lambda: 1, 500, "internal_error"),
    "0": (lambda: 0, 500, "internal_error"),
    "text": (lambda: "yes", 500, "internal_error"),
    "object": (object, 500, "internal_error"),
    "coroutine": (true, 500, "internal_error"),
    "raises": (raises(RuntimeError), 500, "internal_error"),
    "raises 403": (raises(PermissionError), 500, "internal_error"),
    "database": (raises(OperationalError), 500, "internal_error"),
}


@pytest.mark.parametrize(("kind", "server"), MATRIX)
def test_whoever_has_the_role_and_passes_the_check_is_let_in(kind: str, server: str, editor: Any) -> None:
    response = ask(kind, editor, client=CLIENTS[server]())
    assert response.status_code == 200, response.content
    assert guarded.entered == [str(editor.pk)]
    assert guarded.asked == [(editor, {"pk": 7})]
    assert named("authz_fail") == named("authz_broken") == []
    assert {"Cookie", "Authorization", "X-API-Key"} <= set(response["Vary"].split(", "))


@pytest.mark.parametrize(("kind", "server"), MATRIX)
def test_nobody_is_refused_without_being_judged(kind: str, server: str) -> None:
    assert is_refused(ask(kind, client=CLIENTS[server]()), 401, "not_authenticated")
    assert guarded.asked == []
    (event,) = named("authz_fail")
    assert (event.user_id, event.details["reason"]) == ("", "not_authenticated")


@pytest.mark.parametrize(("kind", "server"), MATRIX)
def test_the_wrong_role_is_refused_before_the_check(kind: str, server: str, user: Any, roles: Roles) -> None:
    roles[user.pk] = {"viewer"}
    assert is_refused(ask(kind, user, client=CLIENTS[server]()), 403, "permission_denied")
    assert guarded.asked == []
    (event,) = named("authz_fail")
    assert event.user_id == str(user.pk)
    assert event.session_id == str(Session.objects.get().pk)
    assert event.details == {"resource": f"/{kind}/7/", "required_roles": ["editor"], "reason": "permission_denied"}


@pytest.mark.parametrize(("kind", "server"), MATRIX)
def test_only_true_lets_in_and_only_false_is_a_no(
    kind: str, server: str, editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = CLIENTS[server](raise_request_exception=False)
    sign_in(client, editor)
    for verdict, (answer, status, code) in VERDICTS.items():
        monkeypatch.setattr(guarded, "verdict", answer)
        guarded.asked.clear()
        audit_services._written.clear()  # rows of one address are bounded
        with CaptureEvents() as events:
            assert is_refused(ask(kind, client=client), status, code), verdict
        assert len(guarded.asked) == 1
        told = ("authz_fail", "MEDIUM") if status == 403 else ("authz_broken", "HIGH")
        assert [(event.user_id, event.event, event.severity) for event in events] == [(str(editor.pk), *told)], verdict


# --- who is asking -----------------------------------------------------------------------------------

# Django's own middleware stands before a method, which is not the whole view: it answers first, in its own shape.
METHODS = {"method", "decorated-method", "async-method", "async-decorated-method"}


@pytest.fixture
def browser(editor: Any) -> Browser:
    """A browser that is signed in with our cookies and has a CSRF token."""
    browser = Browser()
    sign_in(browser.client, editor)
    return with_csrf_token(browser)


def with_csrf_token(browser: Browser) -> Browser:
    request = RequestFactory().get("/")
    browser.token = get_token(request)
    browser.client.cookies["csrftoken"] = request.META["CSRF_COOKIE"]
    return browser


def bearer(browser: Browser) -> dict[str, str]:
    """The access cookie's token as a header, for a client without cookies."""
    headers = {"Authorization": f"Bearer {browser.value('access')}"}
    browser.client.cookies.clear()
    return headers


@pytest.mark.control("ASVS-3.5.1")
@pytest.mark.parametrize("kind", guarded.KINDS)
def test_a_write_with_our_cookie_needs_the_csrf_token(kind: str, browser: Browser) -> None:
    """R6: in the views of a host too."""
    refused = browser.request("POST", f"/{kind}/7/", csrf=False)
    assert refused.status_code == 403
    assert (guarded.entered, guarded.asked) == ([], [])
    if kind not in METHODS:
        assert is_refused(refused, 403, "csrf_failed")
        assert len(named("malicious_csrf")) == 1
    assert named("authz_fail") == []
    assert browser.request("POST", f"/{kind}/7/").status_code == 200


@pytest.mark.parametrize("kind", sorted(set(guarded.KINDS) - METHODS))
def test_a_bearer_token_needs_no_csrf_token(kind: str, browser: Browser) -> None:
    headers = bearer(browser)
    assert browser.request("POST", f"/{kind}/7/", csrf=False, headers=headers).status_code == 200


@pytest.mark.parametrize("kind", guarded.PLAIN | guarded.ASYNC)
def test_a_session_of_djangos_is_somebody_too(kind: str, editor: Any) -> None:
    client = Client()
    client.force_login(editor)
    assert client.get(f"/{kind}/7/").status_code == 200
    assert guarded.entered == [str(editor.pk)]
    assert Session.objects.count() == 0


@pytest.mark.parametrize("kind", ["function", "class", "async-function", "async-class"])
def test_a_write_with_djangos_session_needs_the_csrf_token(kind: str, editor: Any) -> None:
    browser = with_csrf_token(Browser())
    browser.client.force_login(editor)
    assert is_refused(browser.request("POST", f"/{kind}/7/", csrf=False), 403, "csrf_failed")
    assert browser.request("POST", f"/{kind}/7/").status_code == 200


@pytest.mark.parametrize("proof", ["ours", "django"])
def test_a_forged_write_asks_no_check_of_stacked_rules(proof: str, browser: Browser, settings: Any) -> None:
    settings.ROOT_URLCONF = urlconf(guarded.guard(guarded.guard(plain)), "view/<int:pk>/")
    if proof == "django":
        browser.client.force_login(Session.objects.get().user)
        browser.drop("access")
    assert is_refused(browser.request("POST", "/view/7/", csrf=False), 403, "csrf_failed")
    assert guarded.asked == []
    assert browser.request("POST", "/view/7/").status_code == 200
    assert len(guarded.asked) == 2


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
@pytest.mark.parametrize("value", ["Bearer garbled", "Basic YTpi", "Bearer", "x"])
def test_no_cookie_counts_beside_an_explicit_credential(header: str, value: str, browser: Browser, editor: Any) -> None:
    browser.client.force_login(editor)
    for kind in ("function", "class", "async-function", "api-below", "api-above"):
        response = browser.request("GET", f"/{kind}/7/", headers={header: value})
        assert response.status_code == 401
        assert response["Content-Type"] == PROBLEM
    assert guarded.entered == []


def test_the_bearer_decides_and_not_djangos_session_beside_it(browser: Browser, editor: Any) -> None:
    stranger = make_user("ben@example.com")
    headers = bearer(browser)
    browser.client.force_login(stranger)
    assert browser.request("POST", "/function/7/", csrf=False, headers=headers).status_code == 200
    assert guarded.entered == [str(editor.pk)]


def test_a_user_whom_a_middleware_of_the_hosts_knows_from_a_header_is_somebody(editor: Any) -> None:
    request = RequestFactory().get("/", headers={"Authorization": "Token of-the-host"})
    request.user = editor
    assert guarded.function(request, pk=7).status_code == 200


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("revoke", "session_revoked"),
        ("wait", "token_expired"),
        ("forge", "token_invalid"),
    ],
)
@pytest.mark.parametrize("kind", ["function", "class", "async-function", "api-below", "api-above"])
def test_a_dead_session_says_so_and_is_no_refusal_of_the_rule(
    kind: str, spoil: str, code: str, browser: Browser, clock: Clock
) -> None:
    session = Session.objects.get()
    if spoil == "revoke":
        end_session(session.pk, user_id=session.user_id, reason="test")
    elif spoil == "wait":
        clock.forward(minutes=6)
    else:
        browser.put("access", browser.value("access")[:-4] + "AAAA")
    assert is_refused(browser.request("GET", f"/{kind}/7/"), 401, code)
    assert named("authz_fail") == []


@pytest.mark.parametrize("kind", ["function", "async-function", "api-below", "class"])
def test_an_account_that_was_deactivated_is_nobody(kind: str, browser: Browser, editor: Any) -> None:
    change_user(editor, is_active=False)
    assert browser.request("GET", f"/{kind}/7/").status_code == 401
    assert guarded.entered == []


@pytest.mark.parametrize(
    "user",
    [
        None,
        AnonymousUser(),
        SimpleNamespace(pk=1),
        SimpleNamespace(pk=1, is_authenticated=False),
        SimpleNamespace(pk=1, is_authenticated=1),
        SimpleNamespace(pk=1, is_authenticated=lambda: True),
        SimpleNamespace(pk=1, is_authenticated=True, is_active=False),
    ],
)
def test_whatever_is_not_surely_a_user_is_nobody(user: Any, roles: Roles) -> None:
    roles[1] = {"editor"}
    request = RequestFactory().get("/")
    request.user = user
    assert is_refused(as_json(guarded.function(request, pk=7)), 401, "not_authenticated")


def as_json(response: Any) -> Any:
    """A response that no client has seen, with what a client would have added."""
    response.json = lambda: json.loads(response.content)
    return response


def test_a_request_that_no_middleware_has_seen_is_authenticated(browser: Browser, editor: Any) -> None:
    request = RequestFactory().get("/", headers=bearer(browser))
    assert not hasattr(request, "user")
    assert guarded.function(request, pk=7).status_code == 200
    assert request.user == editor
    assert isinstance(request.auth, Credentials)  # type: ignore[attr-defined]  # ours
    assert async_to_sync(request.auser)() == editor


@requires("editor")
async def who_am_i(request: HttpRequest) -> HttpResponse:
    user = await request.auser()
    return HttpResponse(f"{user.pk} {request.user.pk}")


@pytest.mark.parametrize("proof", ["ours", "django"])
def test_an_async_view_finds_the_user_in_both_places(proof: str, editor: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = urlconf(who_am_i)
    client: Any = AsyncClient()
    if proof == "ours":
        sign_in(client, editor)
    else:
        client.force_login(editor)
    response = async_to_sync(client.get)("/view/", secure=True)
    assert response.content.decode() == f"{editor.pk} {editor.pk}"


def test_drf_decides_who_somebody_is_in_its_own_views(editor: Any) -> None:
    """A DRF view that knows only Django's session does not take our cookie because of us."""

    @requires("editor")
    @api_view(["GET"])
    @authentication_classes([SessionAuthentication])
    @permission_classes([AllowAny])
    def above(request: Request) -> Response:
        return Response("entered")

    @api_view(["GET"])
    @authentication_classes([SessionAuthentication])
    @permission_classes([AllowAny])
    @requires("editor")
    def below(request: Request) -> Response:
        return Response("entered")

    @api_view(["GET"])
    @authentication_classes([])
    @permission_classes([AllowAny])
    @requires("editor")
    def nobody_is_known(request: Request) -> Response:
        raise AssertionError

    for view, status in ((above, 200), (below, 200), (nobody_is_known, 401)):
        with override_settings(ROOT_URLCONF=urlconf(view)):
            client = Client()
            sign_in(client, editor)
            assert client.get("/view/", secure=True).status_code == 401
            client.cookies.clear()
            client.force_login(editor)
            assert client.get("/view/", secure=True).status_code == status


@pytest.mark.parametrize("kind", ["api-above", "api-below", "api-class", "set-as-view", "function"])
def test_a_test_client_that_forces_a_user_does(kind: str, editor: Any) -> None:
    client = APIClient()
    client.force_authenticate(editor)
    assert client.get(f"/{kind}/7/").status_code == 200


def test_a_poller_that_is_guarded_keeps_no_session_alive(editor: Any, clock: Clock) -> None:
    """R56: in plain views too, however they are marked."""

    @requires("editor")
    def poll(request: HttpRequest) -> HttpResponse:
        return HttpResponse("polled")

    @requires("editor")
    class Poll(View):
        secure_auth_background = True

        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("polled")

    class PollMethod(View):
        secure_auth_background = True

        @requires("editor")
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("polled")

    poll.secure_auth_background = True  # type: ignore[attr-defined]  # how a host marks a function view
    client = Client()
    pollers: list[Any] = [poll, Poll.as_view(), PollMethod.as_view()]
    for view, moves in (*((one, False) for one in pollers), (requires("editor")(plain), True)):
        session = sign_in(client, editor)
        clock.forward(minutes=2)
        with override_settings(ROOT_URLCONF=urlconf(view)):
            assert client.get("/view/", secure=True).status_code == 200
        seen = session.last_seen_at
        session.refresh_from_db()
        assert (session.last_seen_at > seen) is moves


# --- conditions --------------------------------------------------------------------------------------


def plain(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    guarded.entered.append("plain")
    return HttpResponse("entered")


def urlconf(view: Any, route: str = "view/") -> Any:
    """A URLconf of one view."""
    module = ModuleType("one_view")
    module.urlpatterns = [path(route, view, name="view")]  # type: ignore[attr-defined]  # what Django looks for
    return module


def call(view: Any, user: Any = None, *, auth: Any = None, method: str = "GET", **url: Any) -> Any:
    """Call a plain view as Django would, as a user whom its own middleware has found."""
    request = RequestFactory().generic(method, "/somewhere/", headers={"X-Request-Id": "theirs"})
    request.user = user if user is not None else AnonymousUser()
    if auth is not None:
        request.auth = auth  # type: ignore[attr-defined]  # as our authentication does
    return as_json(view(request, **url))


def credentials(kind: str, *scopes: str) -> Credentials:
    return Credentials(None, ("pwd",), timezone.now(), kind, frozenset(scopes))


@pytest.mark.parametrize(("held", "passes"), [(set(), False), ({"a"}, True), ({"b", "c"}, True), ({"A", "ab"}, False)])
def test_any_of_the_named_roles_is_enough(held: set[str], passes: bool, user: Any, roles: Roles) -> None:
    roles[user.pk] = held
    response = call(requires("a", "b")(plain), user)
    assert response.status_code == 200 if passes else is_refused(response, 403, "permission_denied")


def test_what_is_named_beside_the_roles_must_hold_too(user: Any, roles: Roles, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"role": True, "permission": True, "check": True}
    monkeypatch.setattr(decorators, "has_role", lambda user, role: answers["role"])
    monkeypatch.setattr(type(user), "has_perm", lambda user, permission: answers["permission"])
    view = requires("editor", permission="notes.change_note", check_func=lambda request: answers["check"])(plain)
    assert call(view, user).status_code == 200
    guarded.entered.clear()
    for name in answers:
        answers[name] = False
        assert is_refused(call(view, user), 403, "permission_denied")
        answers[name] = True


def test_a_permission_is_asked_of_the_user(user: Any) -> None:
    view = requires(permission="auth.view_group")(plain)
    assert is_refused(call(view, user), 403, "permission_denied")
    (event,) = named("authz_fail")
    assert event.details["required_permission"] == "auth.view_group"
    assert event.details["required_roles"] == []
    user.user_permissions.add(Permission.objects.get(codename="view_group"))
    assert call(view, type(user)._default_manager.get(pk=user.pk)).status_code == 200


@pytest.mark.parametrize("answer", [None, 1, "yes", object()])
@pytest.mark.parametrize("source", ["has_role", "has_perm"])
def test_a_source_that_answers_neither_true_nor_false_denies(
    source: str, answer: Any, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = decorators if source == "has_role" else type(user)
    monkeypatch.setattr(target, source, lambda *_: answer)
    rule = requires("editor") if source == "has_role" else requires(permission="notes.view_note")
    assert is_refused(call(rule(plain), user), 500, "internal_error")
    assert source in named("authz_broken")[0].details["reason"]


def test_an_outage_of_the_database_is_an_outage(user: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> bool:
        raise OperationalError("gone")

    monkeypatch.setattr(decorators, "has_role", away)
    assert is_refused(call(requires("editor")(plain), user), 503, "state_unavailable")
    assert named("authz_broken") == named("authz_fail") == []


@pytest.mark.parametrize(
    ("auth", "passes"),
    [
        (credentials("api_key", "reports:read"), True),
        (credentials("api_key", "reports:write", "reports:read"), True),
        (credentials("api_key"), False),
        (credentials("api_key", "reports:write"), False),
        (credentials("cookie", "reports:read"), False),
        (credentials("bearer", "reports:read"), False),
    ],
)
def test_a_scope_is_that_of_a_key(auth: Credentials, passes: bool, user: Any) -> None:
    response = call(requires(scope="reports:read")(plain), user, auth=auth)
    assert response.status_code == 200 if passes else is_refused(response, 403, "permission_denied")
    if not passes:
        assert named("authz_fail")[0].details["required_scope"] == "reports:read"


@pytest.mark.parametrize("kind", ["function", "class", "async", "below", "above"])
@pytest.mark.parametrize(("scopes", "status"), [(["reports:read", "x:y"], 200), (["x:y"], 403), ([], 403), (None, 401)])
def test_a_real_key_is_let_in_where_a_rule_names_its_scope(
    kind: str, scopes: list[str] | None, status: int, user: Any, settings: Any
) -> None:
    guard = requires(scope="reports:read")

    @guard
    class Page(View):
        def post(self, request: HttpRequest) -> HttpResponse:
            return plain(request)

    @guard
    async def later(request: HttpRequest) -> HttpResponse:
        return plain(request)

    def endpoint(request: Request) -> Response:
        plain(request._request)
        return Response("entered")

    with_keys = authentication_classes([APIKeyAuthentication])
    views = {
        "function": guard(plain),
        "class": Page.as_view(),
        "async": later,
        "below": api_view(["POST"])(with_keys(guard(endpoint))),
        "above": guard(api_view(["POST"])(with_keys(endpoint))),
    }
    settings.ROOT_URLCONF = urlconf(views[kind])
    text = "dsa_garbled" if scopes is None else create_key(user, name="reports", scopes=scopes)[1]
    client = Client(enforce_csrf_checks=True)
    response = client.post("/view/", headers={"X-API-Key": text}, secure=True)
    assert response.status_code == status, response.content
    assert guarded.entered == (["plain"] if status == 200 else [])
    client.force_login(user)  # a cookie beside it counts for nothing
    assert client.post("/view/", headers={"X-API-Key": text}, secure=True).status_code == status


@pytest.mark.parametrize("kind", guarded.KINDS)
def test_a_real_key_is_nobody_where_no_scope_is_named(kind: str, editor: Any) -> None:
    _, text = create_key(editor, name="reports", scopes=["reports:read"])
    response = Client().get(f"/{kind}/7/", headers={"X-API-Key": text}, secure=True)
    assert response.status_code == 401
    assert guarded.entered == []


def test_a_key_passes_no_rule_that_names_no_scope(editor: Any) -> None:
    """What its owner may do is not for whoever reads a configuration file."""
    key = credentials("api_key", "notes:write")
    for rule in (requires("editor"), requires(check_func=lambda request: True)):
        assert is_refused(call(rule(plain), editor, auth=key), 403, "permission_denied")
    assert call(requires("editor", scope="notes:write")(plain), editor, auth=key).status_code == 200
    guarded.entered.clear()
    assert is_refused(call(requires("boss", scope="notes:write")(plain), editor, auth=key), 403, "permission_denied")


def test_stacked_rules_must_all_hold(user: Any, roles: Roles) -> None:
    @requires("a")
    @requires("b")
    @requires(check_func=lambda request, pk: pk == 7)
    def view(request: HttpRequest, pk: int) -> HttpResponse:
        return plain(request)

    for held, pk, status in (({"a"}, 7, 403), ({"b"}, 7, 403), ({"a", "b"}, 8, 403), ({"a", "b"}, 7, 200)):
        roles[user.pk] = held
        assert call(view, user, pk=pk).status_code == status
    assert guarded.entered == ["plain"]
    assert [str(rule) for rule in getattr(view, MARK)][:2] == ["role a", "role b"]


def test_stacked_rules_ask_once_who_it_is(editor: Any, settings: Any) -> None:
    view = requires("editor")(requires(check_func=lambda request: True)(plain))
    settings.ROOT_URLCONF = urlconf(view)
    client = Client()
    token = bearer_of(client, editor)
    with CaptureQueriesContext(connection) as queries:
        assert client.post("/view/", headers=token, secure=True).status_code == 200
    assert len([query for query in queries if "session" in query["sql"] and "SELECT" in query["sql"]]) == 1


def bearer_of(client: Client, user: Any) -> dict[str, str]:
    sign_in(client, user)
    token = client.cookies[cookie("access")].value
    client.cookies.clear()
    return {"Authorization": f"Bearer {token}"}


def test_a_class_and_its_methods_may_have_rules_of_their_own(user: Any, roles: Roles) -> None:
    @requires("staff")
    class Page(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return plain(request)

        @requires("boss")
        def post(self, request: HttpRequest) -> HttpResponse:
            return plain(request)

    view = Page.as_view()
    roles[user.pk] = {"staff"}
    assert call(view, user).status_code == 200
    assert call(view, user, auth=credentials("bearer"), method="POST").status_code == 403
    roles[user.pk] = {"staff", "boss"}
    assert call(view, user, auth=credentials("bearer"), method="POST").status_code == 200
    roles[user.pk] = {"boss"}
    assert call(view, user, auth=credentials("bearer"), method="POST").status_code == 403


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PATCH", "HEAD"])
@pytest.mark.parametrize("kind", ["class", "api-class", "async-class"])
def test_a_class_is_guarded_for_every_method(kind: str, method: str) -> None:
    response = Client().generic(method, f"/{kind}/7/", secure=True)
    assert response.status_code == 401
    assert guarded.entered == []


# --- check_func --------------------------------------------------------------------------------------


def test_a_check_is_given_the_request_and_what_the_url_says(editor: Any) -> None:
    given: list[Any] = []

    def check(*args: Any, **kwargs: Any) -> bool:
        given.append((args[1:], kwargs))
        return True

    @requires(check_func=check)
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse("entered")

    request = RequestFactory().get("/")
    request.user = editor
    assert view(request, "unnamed", slug="x", pk=3).content == b"entered"
    assert given == [(("unnamed",), {"slug": "x", "pk": 3})]


def test_a_check_that_does_not_fit_the_url_denies(editor: Any) -> None:
    assert is_refused(call(requires(check_func=lambda request: True)(plain), editor, pk=1), 500, "internal_error")
    assert "TypeError" in named("authz_broken")[0].details["reason"]


class Check:
    def __call__(self, request: Any) -> bool:
        return True


class AsyncCheck:
    async def __call__(self, request: Any) -> bool:
        return True


async def later(request: Any) -> bool:
    return True


def test_a_check_may_be_any_callable(editor: Any) -> None:
    for check in (Check(), functools.partial(lambda answer, request: answer, True), lambda request: True):
        assert call(requires(check_func=check)(plain), editor).status_code == 200


@pytest.mark.parametrize("check", [later, AsyncCheck(), functools.partial(later)])
def test_an_async_check_on_a_sync_view_is_refused_where_it_is_written(check: Any) -> None:
    class Page(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            raise AssertionError

    class Endpoint(APIView):
        pass

    for view in (plain, Page, Endpoint, Page.as_view(), Endpoint.as_view()):
        with pytest.raises(ImproperlyConfigured, match="async"):
            requires(check_func=check)(view)


def test_an_async_check_that_could_not_be_seen_there_denies(editor: Any) -> None:
    class Sync(guarded.Ground):
        def get(self, request: HttpRequest, pk: int) -> HttpResponse:
            raise AssertionError

    class Decorated(View):
        @method_decorator(requires(check_func=later))
        def get(self, request: HttpRequest, pk: int) -> HttpResponse:
            raise AssertionError

    assert is_refused(call(Sync.as_view(), editor, pk=7), 500, "internal_error")
    assert "async" in named("authz_broken")[0].details["reason"]
    with pytest.raises(ImproperlyConfigured):  # at the first call, since method_decorator decorates then
        call(Decorated.as_view(), editor, pk=7)


def test_what_a_check_may_not_catch_is_not_caught(editor: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "verdict", raises(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        call(guarded.function, editor, pk=7)
    assert guarded.entered == []


ANSWERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.lists(st.booleans()),
    st.dictionaries(st.text(), st.booleans()),
    st.builds(object),
    st.builds(SimpleNamespace),
    st.sampled_from([bool, int, ..., NotImplemented, HttpResponse(), AnonymousUser(), iter(()), 1.0, 1 + 0j]),
)


@given(answer=ANSWERS)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_whatever_a_check_returns_only_true_opens(kind: str, answer: Any) -> None:
    user: Any = SimpleNamespace(pk=1, is_authenticated=True, is_active=True, has_perm=None)
    bodies: list[Any] = []

    def view(request: HttpRequest) -> HttpResponse:
        bodies.append(request)
        return HttpResponse()

    async def async_view(request: HttpRequest) -> HttpResponse:
        return view(request)

    async def check(request: Any) -> Any:
        return answer

    request = RequestFactory().get("/")
    request.user = user
    if kind == "sync":
        response = requires(check_func=lambda request: answer)(view)(request)
    else:
        response = async_to_sync(requires(check_func=check)(async_view))(request)
    expected = 200 if answer is True else 403 if answer is False else 500
    assert response.status_code == expected
    assert len(bodies) == (answer is True)


@given(error=st.sampled_from(sorted(EXCEPTIONS, key=lambda one: one.__name__)))
def test_whatever_a_check_raises_denies(error: type[Exception]) -> None:
    request = RequestFactory().get("/")
    request.user = SimpleNamespace(pk=1, is_authenticated=True, is_active=True)  # type: ignore[assignment]  # a user

    def check(request: Any) -> bool:
        raise error.__new__(error)

    assert requires(check_func=check)(plain)(request).status_code == 500
    assert guarded.entered == []


# --- declarations ------------------------------------------------------------------------------------


@pytest.mark.parametrize("declare", [requires, lambda: requires(check_func=None), lambda: requires(*[])])
def test_nothing_to_check_is_refused_where_it_is_written(declare: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="nothing to check"):
        declare()


def test_a_bare_requires_is_refused_where_it_is_written() -> None:
    with pytest.raises(ImproperlyConfigured, match="bare"):
        requires(plain)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("target", [5, None, "view", object(), type("NoView", (), {}), dict])
def test_only_views_can_be_guarded(target: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="guards views"):
        requires("editor")(target)


BROKEN: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("",), {}),
    (("  ",), {}),
    ((5,), {}),
    ((None,), {}),
    ((True,), {}),
    ((["editor"],), {}),
    ((b"editor",), {}),
    (("editor", ""), {}),
    (("editor",), {"permission": ""}),
    (("editor",), {"permission": "codename"}),
    (("editor",), {"permission": "app."}),
    (("editor",), {"permission": ".codename"}),
    (("editor",), {"permission": ["app.codename"]}),
    (("editor",), {"scope": ""}),
    (("editor",), {"scope": 5}),
    (("editor",), {"check_func": "check"}),
    (("editor",), {"check_func": True}),
    ((), {"permission": False}),
    ((), {"check_func": 0}),
    ((), {"scope": b"x"}),
]


@pytest.mark.parametrize(("roles_", "more"), BROKEN)
def test_a_mistake_in_the_declaration_denies_everybody(
    roles_: tuple[Any, ...], more: dict[str, Any], editor: Any, caplog: pytest.LogCaptureFixture
) -> None:
    view = requires(*roles_, **more)(plain)
    for user in (editor, AnonymousUser()):
        assert is_refused(call(view, user), 500, "internal_error")
    assert {(event.event, event.severity) for event in SecurityEvent.objects.all()} == {("authz_broken", "HIGH")}
    assert "BrokenRule" in caplog.text
    assert str(getattr(view, MARK)[0]).startswith("nobody: ")


def test_a_request_that_is_none_reaches_no_view() -> None:
    for args in ((), (5,), (object(), object(), HttpRequest())):
        with pytest.raises(ImproperlyConfigured, match="without a request"):
            requires("editor")(plain)(*args)
    assert guarded.entered == []


# --- the answer --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["function", "async-function-later", "class", "api-below", "api-above"])
def test_a_defect_is_logged_and_announced_and_shown_to_nobody(
    kind: str, editor: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def verdict() -> Any:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(guarded, "verdict", verdict)
    response = ask(kind, editor)
    assert is_refused(response, 500, "internal_error")
    assert b"swordfish" not in response.content
    assert "swordfish" in caplog.text  # the traceback
    assert "swordfish" not in str(named("authz_broken")[0].details)
    client = Client()  # as in a project's tests: told what was wrong
    with pytest.raises((decorators.BrokenRule, InternalError)) as told:
        ask(kind, editor, client=client)
    assert isinstance(told.value.__cause__, RuntimeError | decorators.BrokenRule)


def test_an_endpoint_with_another_exception_handler_denies_as_well(
    editor: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "EXCEPTION_HANDLER": "rest_framework.views.exception_handler",
    }
    assert ask("api-class").status_code == 401
    assert ask("api-class")["WWW-Authenticate"] == "Bearer"
    monkeypatch.setattr(guarded, "verdict", lambda: None)
    assert ask("api-class", editor).status_code == 500
    monkeypatch.setattr(guarded, "verdict", lambda: False)
    assert ask("api-class", editor).status_code == 403
    assert guarded.entered == []


@pytest.fixture
def atomic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)


@pytest.mark.django_db(transaction=True)  # a defect marks the transaction around it, where requests are atomic
@pytest.mark.usefixtures("atomic")
@pytest.mark.parametrize("kind", [kind for kind in guarded.KINDS if kind not in guarded.ASYNC])
def test_the_event_of_a_refusal_survives_atomic_requests(
    kind: str, editor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verdict() -> Any:
        make_user("written-by-the-check@example.com")
        return answer

    monkeypatch.setattr(guarded, "verdict", verdict)
    answer: Any = None
    assert ask(kind, editor).status_code == 500
    assert len(named("authz_broken")) == 1
    assert get_user_model()._default_manager.count() == 1  # what the check wrote went with the request
    answer = False
    assert ask(kind, editor).status_code == 403
    assert len(named("authz_fail")) == 1
    assert guarded.entered == []


def test_a_cache_hands_a_guarded_answer_to_nobody_else(editor: Any, settings: Any) -> None:
    views: list[Any] = [requires("editor")(plain), guarded.Class.as_view(), guarded.APIClass.as_view()]
    for number, view in enumerate(views):
        settings.ROOT_URLCONF = urlconf(cache_page(60)(view), f"{number}/<int:pk>/")
        client = Client()
        sign_in(client, editor)
        assert [client.get(f"/{number}/7/", secure=True).status_code for _ in range(2)] == [200, 200]
        assert len(guarded.entered) == 1  # kept for whoever it was for
        guarded.entered.clear()
        assert Client().get(f"/{number}/7/", secure=True).status_code == 401
        token = {"Authorization": "Bearer x"}
        assert Client().get(f"/{number}/7/", secure=True, headers=token).status_code == 401


def test_what_is_no_response_is_left_to_django(editor: Any) -> None:
    request = RequestFactory().get("/")
    request.user = editor
    assert requires("editor")(lambda request: None)(request) is None


# --- what a view keeps -------------------------------------------------------------------------------


def test_a_view_keeps_its_name_and_its_attributes() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        """Says hello."""
        return HttpResponse("hello")

    view.secure_auth_background = True  # type: ignore[attr-defined]  # how a host marks a function view
    kept = requires("editor")(view)
    assert (kept.__name__, kept.__doc__, kept.__module__) == ("view", "Says hello.", __name__)
    assert kept.secure_auth_background is True  # type: ignore[attr-defined]  # copied
    assert inspect.unwrap(kept) is view
    assert [str(rule) for rule in getattr(kept, MARK)] == ["role editor"]
    assert not hasattr(view, MARK)


def test_a_view_stays_what_it_is_for_the_server() -> None:
    for name, view in guarded.KINDS.items():
        assert iscoroutinefunction(view) is (name in guarded.ASYNC), name


def test_a_guarded_class_keeps_its_parent_open() -> None:
    class Parent(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            return HttpResponse("open")

    class Child(Parent):
        pass

    assert requires("editor")(Child) is Child
    assert call(Parent.as_view()).status_code == 200
    assert call(Child.as_view()).status_code == 401


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (("a",), "role a"),
        (("a", "b"), "role a or b"),
    ],
)
def test_a_rule_says_who_passes(rule: tuple[str, ...], words: str) -> None:
    assert str(getattr(requires(*rule)(plain), MARK)[0]) == words
    everything = requires(*rule, permission="app.codename", scope="x:read", check_func=functools.partial(later))
    assert str(getattr(everything(who_am_i), MARK)[0]) == (
        f"{words} and permission app.codename and API key with scope x:read and check {__name__}.later"
    )
    assert str(getattr(requires(check_func=Check())(plain), MARK)[0]) == f"check {__name__}.Check"


def test_a_view_that_its_host_exempted_stays_so_for_the_hosts_own_proofs(editor: Any, settings: Any) -> None:
    """Only below the rule: what stands above it, it cannot see. Our cookie is checked in any case."""
    settings.ROOT_URLCONF = urlconf(requires("editor")(csrf_exempt(plain)))
    browser = Browser()
    browser.client.force_login(editor)
    assert browser.request("POST", "/view/", csrf=False).status_code == 200
    guarded.entered.clear()
    browser.client.logout()
    sign_in(browser.client, editor)
    assert is_refused(browser.request("POST", "/view/", csrf=False), 403, "csrf_failed")

    settings.ROOT_URLCONF = urlconf(requires("editor")(requires("editor")(csrf_exempt(plain))))
    assert is_refused(browser.request("POST", "/view/", csrf=False), 403, "csrf_failed")
    browser.client.force_login(editor)
    browser.drop("access")
    assert browser.request("POST", "/view/", csrf=False).status_code == 200
    guarded.entered.clear()
    browser.client.logout()
    sign_in(browser.client, editor)

    @requires("editor")
    @method_decorator(csrf_exempt, name="dispatch")
    class Page(View):
        def post(self, request: HttpRequest) -> HttpResponse:
            return plain(request)

    settings.ROOT_URLCONF = urlconf(Page.as_view())
    assert is_refused(browser.request("POST", "/view/", csrf=False), 403, "csrf_failed")
    browser.client.cookies.clear()
    browser.client.force_login(editor)
    assert browser.request("POST", "/view/", csrf=False).status_code == 200


@pytest.mark.parametrize("kind", ["function", "class", "async-function", "as-view", "decorated-dispatch"])
def test_djangos_login_middleware_leaves_a_guarded_view_to_its_rule(kind: str, editor: Any, settings: Any) -> None:
    """It knows no token of ours, and would send the caller to a page."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.contrib.auth.middleware.LoginRequiredMiddleware"]
    assert is_refused(ask(kind), 401, "not_authenticated")
    assert ask(kind, editor).status_code == 200


@pytest.mark.parametrize("guard", ["requires", "HasScope"])
def test_a_key_loses_a_scope_with_its_owners_permission_behind_it(guard: str, user: Any, settings: Any) -> None:
    """Whoever may no longer read reports has no program that may."""
    settings.DJANGO_SECURE_AUTH = {
        **settings.DJANGO_SECURE_AUTH,
        "API_KEY_SCOPES": {"reports:read": "auth.view_group", "free": None},
    }

    def asks(scope: str) -> Any:
        if guard == "requires":
            return requires(scope=scope)(plain)
        allowed = type("Allowed", (APIView,), {
            "authentication_classes": [APIKeyAuthentication],
            "permission_classes": [HasScope(scope)],
            "post": lambda self, request: Response({}),
        })  # fmt: skip
        return allowed.as_view()  # type: ignore[attr-defined]  # a class made here

    _, text = create_key(user, name="job", scopes=["reports:read", "free"])
    role = Role.objects.create(name="reader")
    role.permissions.add(Permission.objects.get(codename="view_group"))

    def status(scope: str) -> int:
        settings.ROOT_URLCONF = urlconf(asks(scope))
        return int(Client().post("/view/", headers={"X-API-Key": text}, secure=True).status_code)

    assert (status("reports:read"), status("free")) == (403, 200)
    grant(user, role)
    assert status("reports:read") == 200
    revoke(user, role)
    assert (status("reports:read"), status("free")) == (403, 200)
