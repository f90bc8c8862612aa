"""Every error of a host's own views is a problem document (RFC 9457), and none shows what went wrong inside."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
    TooManyFieldsSent,
)
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError, connection, transaction
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.test import Client, RequestFactory
from django.urls import path, re_path, reverse
from rest_framework import exceptions as drf
from rest_framework import permissions, serializers
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.decorators import api_view, authentication_classes, permission_classes
from rest_framework.parsers import JSONParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from django_secure_auth import exceptions
from django_secure_auth.exceptions import SecureAuthError
from django_secure_auth.problems import as_error, exception_handler, plain_problem_response
from django_secure_auth.request_scope import scope_of

SECRET = "postgres://app:hunter2@10.0.0.5/db at /srv/app/views.py line 3: SELECT * FROM auth_user"
raised: list[Exception] = []


class Line(serializers.Serializer[Any]):
    amount = serializers.IntegerField()


class Order(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=3)
    lines = Line(many=True)

    def validate(self, attrs: Any) -> Any:
        raise serializers.ValidationError("Never good enough.")


class HostView(APIView):
    authentication_classes = ()
    permission_classes = (permissions.AllowAny,)

    def get(self, request: Request) -> Response:
        if raised:
            raise raised[0]
        return Response({"fine": True})

    def post(self, request: Request) -> Response:
        Order(data=request.data).is_valid(raise_exception=True)
        return Response()


class JSONOnlyView(HostView):
    parser_classes = (JSONParser,)
    renderer_classes = (JSONRenderer,)


class Slow(BaseThrottle):
    def allow_request(self, request: Request, view: APIView) -> bool:
        return False

    def wait(self) -> float | None:
        return 12.3


class NoHint(Slow):
    def wait(self) -> float | None:
        return None


class SlowView(HostView):
    throttle_classes = (Slow,)


class NoHintView(HostView):
    throttle_classes = (NoHint,)


class NeedsSignIn(HostView):
    permission_classes = (permissions.IsAuthenticated,)  # type: ignore[assignment]  # a host writes tuples


class Digest(BaseAuthentication):
    def authenticate(self, request: Request) -> None:
        raise drf.AuthenticationFailed("No such user: bob")

    def authenticate_header(self, request: Request) -> str:
        return 'Digest realm="api"'


class DigestView(HostView):
    authentication_classes = (Digest,)  # type: ignore[assignment]  # a host writes tuples


class SessionView(HostView):
    authentication_classes = (SessionAuthentication,)  # type: ignore[assignment]  # a host writes tuples


class StepUp(permissions.BasePermission):
    code = "step_up_required"

    def has_permission(self, request: Request, view: APIView) -> bool:
        return False


class StepUpView(HostView):
    permission_classes = (StepUp,)  # type: ignore[assignment]  # a host writes tuples


class WritesAndRefuses(HostView):
    def get(self, request: Request) -> Response:
        Group.objects.create(name="half-done")
        raise drf.PermissionDenied


@api_view(["GET"])
@authentication_classes([])
@permission_classes([permissions.AllowAny])
def function_view(request: Request) -> Response:
    raise Http404("No Invoice matches the given query.")


def plain_view(request: HttpRequest) -> HttpResponse:
    return plain_problem_response(exceptions.NotFound(), request)


# Without a transaction around them, whatever the project under test does: these need no database.
WITHOUT_DATABASE: dict[str, Callable[..., Any]] = {
    "host/": HostView.as_view(),
    "json/": JSONOnlyView.as_view(),
    "slow/": SlowView.as_view(),
    "slow-no-hint/": NoHintView.as_view(),
    "sign-in/": NeedsSignIn.as_view(),
    "digest/": DigestView.as_view(),
    "session/": SessionView.as_view(),
    "step-up/": StepUpView.as_view(),
    "function/": function_view,
    "plain/": plain_view,
}
urlpatterns = [
    path("half-done/", WritesAndRefuses.as_view()),
    re_path(r"^odd/[\s\S]*$", transaction.non_atomic_requests(HostView.as_view())),
    *(path(route, transaction.non_atomic_requests(view)) for route, view in WITHOUT_DATABASE.items()),
]

pytestmark = pytest.mark.urls(__name__)


@pytest.fixture(autouse=True)
def nothing_raised() -> Iterator[None]:
    raised.clear()
    yield
    raised.clear()


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def announced() -> Iterator[list[dict[str, Any]]]:
    """What error trackers would have been told."""
    found: list[dict[str, Any]] = []

    def listen(**kwargs: Any) -> None:
        found.append(kwargs)

    got_request_exception.connect(listen)
    yield found
    got_request_exception.disconnect(listen)


def problem_of(response: Any) -> dict[str, Any]:
    """The document, whose form is checked on the way."""
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    document: dict[str, Any] = json.loads(response.content)
    assert document.keys() >= {"type", "title", "status", "detail", "code", "request_id"}
    assert document["status"] == response.status_code
    assert document["type"] == f"urn:django-secure-auth:problem:{document['code']}"
    assert len(document["request_id"]) == 32
    assert document["title"]
    assert document["detail"]
    assert ("WWW-Authenticate" in response) == (response.status_code == 401)
    assert "hunter2" not in response.content.decode()
    return document


# --- from exceptions ---------------------------------------------------------------------------------

OURS = [one for one in vars(exceptions).values() if isinstance(one, type) and issubclass(one, SecureAuthError)]


@pytest.mark.control("RFC9457-3")
@pytest.mark.parametrize("error", OURS, ids=lambda error: error.__name__)
def test_our_own_errors_in_a_hosts_view(error: type[SecureAuthError], client: Client) -> None:
    raised.append(error("Your words.", headers={"X-Mark": "yes"}, errors={"a": ["b"]}))
    response = client.get("/host/")
    document = problem_of(response)
    assert (response.status_code, document["code"]) == (error.status_code, error.code)
    assert (document["title"], document["detail"]) == (error.title, "Your words.")
    assert document["errors"] == {"a": ["b"]}
    assert response["X-Mark"] == "yes"


@pytest.mark.control("RFC9457-3")
@pytest.mark.control("ASVS-16.5.1")
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (drf.ParseError(SECRET), 400, "malformed_request"),
        (drf.AuthenticationFailed(SECRET), 403, "permission_denied"),  # DRF: no authentication class, no challenge
        (drf.NotAuthenticated(SECRET), 403, "permission_denied"),
        (drf.PermissionDenied(SECRET), 403, "permission_denied"),
        (drf.NotFound(SECRET), 404, "not_found"),
        (drf.UnsupportedMediaType("x/hunter2"), 415, "unsupported_media_type"),
        (drf.Throttled(5, SECRET), 429, "rate_limited"),
        (drf.APIException(SECRET), 500, "internal_error"),
        (Http404(SECRET), 404, "not_found"),
        (PermissionDenied(SECRET), 403, "permission_denied"),
        (BadRequest(SECRET), 400, "malformed_request"),
        (MultiPartParserError(SECRET), 400, "malformed_request"),
        (SuspiciousOperation(SECRET), 400, "malformed_request"),
        (DisallowedHost(SECRET), 400, "malformed_request"),
        (TooManyFieldsSent(SECRET), 400, "malformed_request"),
        (RequestDataTooBig(SECRET), 413, "too_large"),
        (UnreadablePostError(SECRET), 400, "malformed_request"),
        (OperationalError(SECRET), 503, "state_unavailable"),
        (InterfaceError(SECRET), 503, "state_unavailable"),
        (RuntimeError(SECRET), 500, "internal_error"),
        (KeyError(SECRET), 500, "internal_error"),
        (ValueError(SECRET), 500, "internal_error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_exceptions_of_drf_and_django_in_a_hosts_view(
    error: Exception, status: int, code: str, client: Client, announced: list[Any]
) -> None:
    raised.append(error)
    response = client.get("/host/")
    document = problem_of(response)
    assert (response.status_code, document["code"]) == (status, code)


def test_a_function_view_answers_alike(client: Client) -> None:
    assert problem_of(client.get("/function/"))["code"] == "not_found"


@pytest.mark.parametrize("status", [402, 409, 410, 418, 451, 503])
def test_a_hosts_own_exception_keeps_its_status_and_code(status: int, client: Client) -> None:
    class Own(drf.APIException):
        status_code = status
        default_code = "out_of_tea"
        default_detail = "No tea today."

    raised.append(Own())
    response = client.get("/host/")
    document = problem_of(response)
    assert response.status_code == status
    assert document["code"] == ("out_of_tea" if status < 500 else "internal_error")
    assert ("No tea" in document["detail"]) == (status < 500)


@pytest.mark.parametrize("status", [420, 499, 599])
def test_a_status_that_has_no_name_is_no_defect(status: int, client: Client) -> None:
    error = drf.APIException("Enhance your calm.")
    error.status_code = status
    raised.append(error)
    response = client.get("/host/")
    assert response.status_code == status
    problem_of(response)


@pytest.mark.parametrize("detail", [{"seat": ["Taken."]}, ["Taken."], {"row": {"seat": [{"no": ["Taken."]}]}}])
def test_a_hosts_structured_detail_becomes_errors(detail: Any, client: Client) -> None:
    error = drf.APIException(detail)
    error.status_code = 409
    raised.append(error)
    document = problem_of(client.get("/host/"))
    assert "ErrorDetail" not in json.dumps(document)
    assert document["detail"] == "Conflict"
    assert document["errors"] == (detail if isinstance(detail, dict) else {"non_field_errors": detail})


# --- from requests -----------------------------------------------------------------------------------


@pytest.mark.control("ASVS-4.1.4")
def test_a_method_that_is_not_allowed(client: Client) -> None:
    response = client.delete("/host/")
    assert (response.status_code, problem_of(response)["code"]) == (405, "method_not_allowed")
    assert response["Allow"] == "GET, POST, HEAD, OPTIONS"


@pytest.mark.control("CS-REST-415")
def test_what_the_client_would_rather_have_is_not_there(client: Client) -> None:
    response = client.get("/json/", headers={"Accept": "text/csv"})
    assert (response.status_code, problem_of(response)["code"]) == (406, "not_acceptable")


@pytest.mark.control("CS-REST-415")
def test_another_media_type_is_refused(client: Client) -> None:
    response = client.post("/json/", "<a/>", content_type="application/xml")
    assert (response.status_code, problem_of(response)["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*", "application/xml"])
def test_an_error_is_a_problem_document_whatever_the_client_accepts(accept: str, client: Client) -> None:
    raised.append(Http404())
    assert client.get("/host/", headers={"Accept": accept}).status_code in {404, 406}
    problem_of(client.get("/host/", headers={"Accept": accept}))


def test_a_body_too_large_for_django(client: Client, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    response = client.post("/host/", {"name": "x" * 100})  # multipart: Django 5.2.0 has no limit on what DRF streams
    assert (response.status_code, problem_of(response)["code"]) == (413, "too_large")


def test_not_json_at_all(client: Client) -> None:
    response = client.post("/json/", "{", content_type="application/json")
    assert (response.status_code, problem_of(response)["code"]) == (400, "malformed_request")


def test_validation_errors_of_a_serializer(client: Client) -> None:
    response = client.post("/json/", {"name": "long", "lines": [{"amount": 1}]}, content_type="application/json")
    document = problem_of(response)
    assert (response.status_code, document["code"]) == (400, "validation_error")
    assert document["errors"] == {"name": ["Ensure this field has no more than 3 characters."]}


def test_nested_validation_errors_keep_their_shape(client: Client) -> None:
    errors: Any = {
        "lines": [{}, {"amount": ["An integer is required."], "tax": {"rate": ["Too high."]}}],
        "no": ["Used."],
    }
    raised.append(drf.ValidationError(errors))
    assert problem_of(client.get("/host/"))["errors"] == errors


def test_a_fields_messages_are_a_list_even_when_the_host_gave_one(client: Client) -> None:
    raised.append(drf.ValidationError({"name": "Taken.", "lines": [{"amount": "Too much."}]}))
    assert problem_of(client.get("/host/"))["errors"] == {"name": ["Taken."], "lines": [{"amount": ["Too much."]}]}


def test_errors_of_no_field_have_a_name(client: Client) -> None:
    response = client.post("/json/", {"name": "a", "lines": []}, content_type="application/json")
    assert problem_of(response)["errors"] == {"non_field_errors": ["Never good enough."]}
    raised.append(drf.ValidationError(["One.", "Two."]))
    assert problem_of(client.get("/host/"))["errors"] == {"non_field_errors": ["One.", "Two."]}


def test_a_throttle_of_the_hosts_says_when_to_come_back_never_too_early(client: Client) -> None:
    response = client.get("/slow/")
    assert (response.status_code, problem_of(response)["code"]) == (429, "rate_limited")
    assert response["Retry-After"] == "13"
    assert "Retry-After" not in client.get("/slow-no-hint/")


def test_a_401_names_a_challenge(client: Client) -> None:
    response = client.get("/digest/")
    assert (response.status_code, problem_of(response)["code"]) == (401, "not_authenticated")
    assert response["WWW-Authenticate"] == 'Digest realm="api"'
    assert b"bob" not in response.content
    raised.append(exceptions.TokenInvalid())
    assert client.get("/host/")["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_drfs_own_403_for_want_of_a_challenge_stays_one(client: Client) -> None:
    response = client.get("/sign-in/")
    assert (response.status_code, problem_of(response)["code"]) == (403, "permission_denied")


@pytest.mark.django_db(transaction=True)
def test_a_csrf_refusal_of_drfs_session_authentication(django_user_model: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(django_user_model.objects.create_user("ana", "ana@example.com", "x"))
    response = client.post("/session/", {}, content_type="application/json")
    assert (response.status_code, problem_of(response)["code"]) == (403, "csrf_failed")


def test_a_permission_may_ask_for_step_up_by_its_code(client: Client) -> None:
    # DRF answers a caller whom no class has authenticated by NotAuthenticated, unless there is none to do it.
    response = client.get("/step-up/")
    assert (response.status_code, problem_of(response)["code"]) == (403, "step_up_required")


def test_a_plain_view_answers_the_same_document(client: Client) -> None:
    assert problem_of(client.get("/plain/"))["code"] == "not_found"


# --- defects -----------------------------------------------------------------------------------------


@pytest.mark.control("ASVS-16.5.4")
def test_a_defect_is_logged_with_the_request_id_and_announced_and_not_shown(
    client: Client, announced: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    raised.append(RuntimeError(SECRET))
    with caplog.at_level(logging.ERROR, logger="django.request"):
        document = problem_of(client.get("/host/"))
    record = next(record for record in caplog.records if record.exc_info)
    assert record.getMessage() == f"RuntimeError at /host/ (request {document['request_id']})"
    assert record.exc_info is not None
    assert record.exc_info[1] is raised[0]
    (told,) = announced
    assert told["sender"] is HostView
    assert told["request"].path == "/host/"


@pytest.mark.control("ASVS-16.4.1")
def test_a_path_writes_no_lines_of_its_own_and_a_defect_is_logged_once(
    client: Client, announced: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    raised.append(RuntimeError(SECRET))
    with caplog.at_level(logging.ERROR, logger="django.request"):
        client.get("/odd/x%0AERROR%20all%20is%20well%1B[2J%C3%A9/")
    (record,) = caplog.records
    message = record.getMessage()
    assert message.isprintable()
    assert message.startswith(r"RuntimeError at /odd/x\nERROR all is well\x1b[2J\xe9/ (request ")
    assert vars(record)["status_code"] == 500
    assert vars(record)["request"].path.endswith("é/")


def test_djangos_test_client_raises_a_defect_as_it_always_does() -> None:
    raised.append(RuntimeError("mine"))
    with pytest.raises(RuntimeError, match="mine"):
        Client().get("/host/")


def test_a_database_that_is_away_is_logged_and_is_no_defect(
    client: Client, announced: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    raised.append(OperationalError(SECRET))
    with caplog.at_level(logging.ERROR, logger="django.request"):
        problem_of(client.get("/host/"))
    (record,) = (record for record in caplog.records if record.exc_info)
    assert record.getMessage().startswith("OperationalError at /host/ (request ")
    assert announced == []


@pytest.mark.parametrize("error", [exceptions.RateLimited(), exceptions.DeliveryUnavailable(), Http404()])
def test_a_refusal_is_no_defect(
    error: Exception, client: Client, announced: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    raised.append(error)
    problem_of(client.get("/host/"))
    assert announced == []
    assert not [record for record in caplog.records if record.exc_info]


def test_the_handler_works_for_callers_that_name_no_view(announced: list[dict[str, Any]]) -> None:
    request = Request(RequestFactory().get("/somewhere/"))
    response = exception_handler(RuntimeError(SECRET), {"request": request, "view": None})
    assert response is not None
    assert response.status_code == 500
    assert response.data["request_id"] == scope_of(request).request_id
    assert announced[0]["sender"] is None


def test_an_error_of_ours_is_returned_as_it_is() -> None:
    error = exceptions.OTPInvalid(attempts_left=2)
    assert as_error(error) is error


def test_the_request_id_is_the_same_for_all_of_a_request(rf: RequestFactory) -> None:
    request = rf.get("/")
    ids = {json.loads(plain_problem_response(exceptions.NotFound(), request).content)["request_id"] for _ in range(2)}
    assert ids == {scope_of(request).request_id}


@pytest.mark.django_db(transaction=True)
def test_a_refusal_rolls_back_what_the_view_had_written_under_atomic_requests(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    assert client.get("/half-done/").status_code == 403
    assert not Group.objects.filter(name="half-done").exists()


@pytest.mark.django_db(transaction=True)
def test_without_atomic_requests_the_host_decides_what_stays(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", False)
    assert client.get("/half-done/").status_code == 403
    assert Group.objects.filter(name="half-done").exists()


@pytest.mark.urls("tests.urls")
@pytest.mark.django_db
def test_a_refusal_of_our_own_endpoints_leaves_a_hosts_test_transaction_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are non-atomic, so there is nothing of theirs to roll back: under ATOMIC_REQUESTS it would be the test's."""
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    for name in ("secure_auth:login", "secure_auth:refresh", "secure_auth:otp-resend"):
        assert Client().post(reverse(name), content_type="application/json").status_code in {400, 401}
    assert Client().get(reverse("secure_auth:me")).status_code == 401
    assert not Group.objects.filter(name="a query that works").exists()


def test_a_view_inside_a_view_answers_once(rf: RequestFactory) -> None:
    """A host that calls one DRF view from another hands on Django's request, where the first had left its renderer."""
    inner: Callable[..., Any] = HostView.as_view()
    raised.append(Http404())
    request = rf.get("/")
    assert problem_of(inner(request).render())["code"] == "not_found"
    raised.clear()
    response = inner(request).render()
    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
