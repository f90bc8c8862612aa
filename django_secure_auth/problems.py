"""Exceptions become RFC 9457 problem documents: one shape for every error, ours and the host's."""

from __future__ import annotations

import logging
from http import HTTPStatus
from http.client import responses as http_responses
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions as drf
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import set_rollback

from django_secure_auth import exceptions
from django_secure_auth.exceptions import SecureAuthError
from django_secure_auth.request_scope import AnyRequest, plain_request, scope_of

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger("django.request")


class ProblemRenderer(JSONRenderer):
    """Whatever the client would rather have: an error is a problem document."""

    media_type = MEDIA_TYPE
    format = "json"


def _phrase(status: int) -> str:
    return http_responses.get(status, "Error")  # a host may use a status that has no name, such as 499


class _Passing(SecureAuthError):
    """An exception of DRF or Django that keeps its own status, in our shape."""

    def __init__(self, status: int, code: str, detail: str | None = None, **members: Any) -> None:
        super().__init__(detail or _phrase(status), **members)
        self.status_code = status
        self.own_code = code


_DRF: tuple[tuple[type[drf.APIException], type[SecureAuthError]], ...] = (
    (drf.ParseError, exceptions.MalformedRequest),
    (drf.NotAuthenticated, exceptions.Unauthenticated),
    (drf.AuthenticationFailed, exceptions.Unauthenticated),
    (drf.PermissionDenied, exceptions.Forbidden),
    (drf.NotFound, exceptions.NotFound),
    (drf.UnsupportedMediaType, exceptions.UnsupportedMediaType),
)

# What a DRF permission may refuse with, by its `code`. Ownership says 404: a foreign object is a missing one.
_BY_CODE: dict[Any, type[SecureAuthError]] = {
    one.code: one for one in (exceptions.StepUpRequired, exceptions.ImpersonationRefused, exceptions.NotFound)
}


def _messages(detail: Any) -> Any:
    if isinstance(detail, dict):
        # A field's messages are a list, also when the host gave a single one.
        lists = {key: value if isinstance(value, dict | list) else [value] for key, value in detail.items()}
        return {str(key): _messages(value) for key, value in lists.items()}
    if isinstance(detail, list):
        return [_messages(value) for value in detail]
    return str(detail)


def _field_errors(detail: Any) -> dict[str, Any]:
    messages = _messages(detail)
    return messages if isinstance(messages, dict) else {"non_field_errors": messages}


def _headers_of(error: drf.APIException) -> dict[str, str]:
    challenge = getattr(error, "auth_header", None)  # set by DRF's views
    return {"WWW-Authenticate": str(challenge)} if challenge else {}


def _from_drf(error: drf.APIException) -> SecureAuthError:
    if isinstance(error, SecureAuthError):
        return error
    if isinstance(error, drf.ValidationError):
        return exceptions.InvalidInput(errors=_field_errors(error.detail))
    if isinstance(error, drf.Throttled):
        wait = getattr(error, "wait", None)
        return exceptions.RateLimited(headers={"Retry-After": str(max(1, round(wait)))} if wait else {})
    if isinstance(error, drf.PermissionDenied) and str(error.detail).startswith("CSRF Failed"):
        return exceptions.CSRFFailed()  # DRF's own SessionAuthentication
    if isinstance(error, drf.PermissionDenied) and error.get_codes() in _BY_CODE:
        return _BY_CODE[str(error.get_codes())]()  # a permission said so through its `code`
    for theirs, ours in _DRF:
        if isinstance(error, theirs):
            # DRF turns a 401 into a 403 when no authentication class names a challenge: keep its status.
            if error.status_code == ours.status_code:
                return ours(headers=_headers_of(error))
            return _Passing(error.status_code, exceptions.Forbidden.code, headers=_headers_of(error))
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _Passing(error.status_code, exceptions.InternalError.code)
    if isinstance(error.detail, dict | list):
        return _Passing(error.status_code, str(error.default_code), errors=_field_errors(error.detail))
    return _Passing(error.status_code, str(error.default_code), str(error.detail))


def as_error(error: Exception) -> SecureAuthError:
    """Return our error for any exception. What is nobody's refusal is `internal_error` and says nothing more."""
    if isinstance(error, drf.APIException):
        return _from_drf(error)
    if isinstance(error, Http404):
        return exceptions.NotFound()
    if isinstance(error, PermissionDenied):
        return exceptions.Forbidden()
    if isinstance(error, RequestDataTooBig):
        return exceptions.TooLarge()
    if isinstance(error, SuspiciousOperation | BadRequest | MultiPartParserError | UnreadablePostError):
        return exceptions.MalformedRequest()
    if isinstance(error, OperationalError | InterfaceError):
        return exceptions.StateUnavailable()
    return exceptions.InternalError()


def document(error: SecureAuthError, request: AnyRequest) -> dict[str, Any]:
    """Return the problem document (RFC 9457 §3.1): `type title status detail code request_id` and members."""
    code = error.own_code if isinstance(error, _Passing) else error.code
    title = _phrase(error.status_code) if isinstance(error, _Passing) else error.title
    return {
        "type": f"urn:django-secure-auth:problem:{code}",
        "title": title,
        "status": error.status_code,
        "detail": str(error.detail),
        "code": code,
        **error.default_members,
        **error.members,
        "request_id": scope_of(request).request_id,
    }


def _response_headers(error: SecureAuthError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store", **error.headers}
    if error.status_code == HTTPStatus.UNAUTHORIZED:
        # RFC 9110 §15.5.2: a 401 names a challenge. Without a realm, and with no more reason than the body has.
        headers.setdefault("WWW-Authenticate", getattr(error, "auth_header", exceptions.Unauthenticated.auth_header))
    return headers


def problem_response(error: SecureAuthError, request: Request) -> Response:
    """Answer a DRF request with an error, without raising it (see `request_scope`)."""
    request.accepted_renderer = ProblemRenderer()
    request.accepted_media_type = MEDIA_TYPE
    return Response(
        document(error, request), status=error.status_code, headers=_response_headers(error), content_type=MEDIA_TYPE
    )


def plain_problem_response(error: SecureAuthError, request: HttpRequest) -> HttpResponse:
    """The same for a request that DRF has not seen."""
    return JsonResponse(
        document(error, request), status=error.status_code, headers=_response_headers(error), content_type=MEDIA_TYPE
    )


def exception_handler(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's `EXCEPTION_HANDLER`: every error of every view is a problem document.

    A defect is logged with its traceback and announced by Django's `got_request_exception` (error trackers
    and test clients listen to it), and shown to nobody.
    """
    set_rollback()
    return answer_exception(exc, context)


def answer_exception(exc: Exception, context: dict[str, Any]) -> Response:
    """The same for a non-atomic view, which has no transaction: under ATOMIC_REQUESTS `set_rollback` would mark the
    one around it, that of a host's `TestCase`."""
    request: Request = context["request"]
    error = as_error(exc)
    refusal = scope_of(request).refusal
    if type(error) is exceptions.Forbidden and refusal is not None and refusal.code == exceptions.StepUpRequired.code:
        # DRF's own `A & B` forgets which operand refused, and with it the code.
        error = exceptions.StepUpRequired(headers=error.headers)
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(exc, SecureAuthError):
        sender = context["view"].__class__ if context.get("view") else None
        tell_defect(exc, plain_request(request), answer=error, sender=sender)
        response = problem_response(error, request)
        response._has_been_logged = True  # type: ignore[attr-defined]  # Django would log it again, without traceback
        return response
    return problem_response(error, request)


def tell_defect(error: Exception, request: HttpRequest, *, answer: SecureAuthError, sender: Any) -> None:
    """Log a defect with its traceback, and announce it by `got_request_exception` when the answer is `internal_error`.

    Error trackers and test clients listen to that signal, and look for the exception that is being handled.
    """
    # A path is decoded: it may hold line breaks, which would be lines of the log, and escapes for the terminal.
    path = request.path.encode("unicode_escape").decode("ascii")
    logger.error(
        "%s at %s (request %s)",
        type(error).__name__,
        path,
        scope_of(request).request_id,
        exc_info=error,
        extra={"status_code": answer.status_code, "request": request},
    )
    if isinstance(answer, exceptions.InternalError):
        got_request_exception.send(sender=sender, request=request)
