"""HTTP's side of the stories: parse strictly, call one service, answer."""

from __future__ import annotations

from typing import Any, cast

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import transaction
from django.middleware.csrf import get_token
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from django_secure_auth.accounts import services
from django_secure_auth.accounts.serializers import (
    ApproveInBodySerializer,
    ApproveSerializer,
    ChallengeInBodySerializer,
    EmailChangeSerializer,
    LinkSerializer,
    LoginInBodySerializer,
    LoginSerializer,
    NothingSerializer,
    PasswordChangeSerializer,
    PasswordResetConfirmSerializer,
    PasswordResetSerializer,
    ReauthenticateSerializer,
    RefreshInBodySerializer,
    registration_serializer,
)
from django_secure_auth.addresses import services as addresses
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import (
    APIKeyInvalid,
    Forbidden,
    InvalidInput,
    Unauthenticated,
)
from django_secure_auth.problems import answer_exception, as_error, problem_response
from django_secure_auth.rbac.permissions import NotImpersonated, RecentlyAuthenticated
from django_secure_auth.recovery import services as recovery
from django_secure_auth.request_scope import Credentials, carries_api_key
from django_secure_auth.strict.parsers import EmptyFormParser, StrictJSONParser
from django_secure_auth.tokens import cookies
from django_secure_auth.tokens.authentication import (
    JWTCookieAuthentication,
    bearer_token,
    enforce_csrf,
    has_explicit_credential,
)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# A failed CSRF check, and what a permission refuses, have events of their own.
_ACCESS_REFUSED = frozenset({Forbidden.code, APIKeyInvalid.code})


# Non-atomic: a refusal has written something (an attempt, a revocation), and ATOMIC_REQUESTS would take it
# back. The services open the transactions that they need.
@method_decorator(transaction.non_atomic_requests, name="dispatch")
class AuthView(APIView):
    """Ground of our endpoints: JSON only, CSRF for anonymous callers too, never stored in a cache, no API keys.

    What a host configured for its own API (parsers, throttles, handlers) does not reach in here.
    """

    authentication_classes: Any = []
    permission_classes: Any = [AllowAny]
    parser_classes = [StrictJSONParser]
    renderer_classes = [JSONRenderer]
    throttle_classes = []
    versioning_class = None
    secure_auth_csrf = "enforced"

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if request.method not in SAFE_METHODS and not self.is_proven_without_cookies(request):
            enforce_csrf(request)
        if carries_api_key(request):
            raise APIKeyInvalid  # nor a password or a cookie beside it: the explicit credential alone decides

    def is_proven_without_cookies(self, request: Request) -> bool:
        """Where no cookie is read there is nothing to forge. Signed-in views leave CSRF to the authentication."""
        return cookies.wants_tokens_in_body(request)

    def read(self, serializer_class: type[BaseSerializer[Any]], **kwargs: Any) -> Any:
        serializer = serializer_class(data=self.request.data, **kwargs)
        if not serializer.is_valid():
            raise InvalidInput(errors=serializer.errors)
        return serializer

    def get_exception_handler(self) -> Any:
        return answer_exception

    def handle_exception(self, exc: Exception) -> Response:
        if isinstance(exc, InvalidInput):
            fields = sorted(exc.members.get("errors", {}))
            record(events.INPUT_FAIL, request=self.request, endpoint=self.request.path, fields=fields)
        elif (code := as_error(exc).code) in _ACCESS_REFUSED:
            tell_refusal(self.request, reason=code)
        return super().handle_exception(exc)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Cache-Control"] = "no-store"
        patch_vary_headers(response, ("Cookie", "Authorization"))
        return response


class NoBodyView(AuthView):
    """Takes nothing at all, or `{}`. An empty form is nothing too: what HTML and test clients send."""

    parser_classes = [StrictJSONParser, EmptyFormParser]


class SignedInView(AuthView):
    secure_auth_csrf = "by authentication"
    authentication_classes = [JWTCookieAuthentication]
    permission_classes: Any = [IsAuthenticated]

    def is_proven_without_cookies(self, request: Request) -> bool:
        return True  # the authentication class has asked for CSRF where the proof was a cookie


def caller(request: Request) -> tuple[AbstractBaseUser, Credentials]:
    """Who is asking, behind `SignedInView`: never an anonymous user."""
    return cast(AbstractBaseUser, request.user), cast(Credentials, request.auth)


def tell_refusal(request: Request, *, reason: str) -> None:
    session_id = getattr(request.auth, "session_id", None)
    path = request.path[:200]
    record(events.AUTHZ_FAIL, request=request, user=request.user, session_id=session_id, resource=path, reason=reason)


class CSRFView(AuthView):
    secure_auth_open = "the CSRF token is needed to sign in, and is no credential"

    def get(self, request: Request) -> Response:
        return Response({"csrf_token": get_token(request._request)})


class LoginView(AuthView):
    secure_auth_open = "signing in; attempts are limited"

    def post(self, request: Request) -> Response:
        in_body = cookies.wants_tokens_in_body(request)
        data = self.read(LoginInBodySerializer if in_body else LoginSerializer).validated_data
        return services.log_in_with_password(
            request,
            email=data["email"],
            password=data["password"],
            remember_me=data["remember_me"],
            device=data.get("device_token") or cookies.read_cookie(request, "device"),
        )


def _challenge_secret(request: Request, data: dict[str, Any]) -> str | None:
    return data.get("challenge_token") or cookies.read_cookie(request, "challenge")


class OTPApproveView(AuthView):
    secure_auth_open = "for the holder of a challenge; tries are limited"

    def post(self, request: Request) -> Response:
        in_body = cookies.wants_tokens_in_body(request)
        data = self.read(ApproveInBodySerializer if in_body else ApproveSerializer).validated_data
        return services.finish_challenge(
            request,
            code=data["otp_code"],
            secret=_challenge_secret(request, data),
            device=data.get("device_token") or cookies.read_cookie(request, "device"),
        )


class OTPResendView(NoBodyView):
    secure_auth_open = "for the holder of a challenge; sends are limited"

    def post(self, request: Request) -> Response:
        in_body = cookies.wants_tokens_in_body(request)
        data = self.read(ChallengeInBodySerializer if in_body else NothingSerializer).validated_data
        return services.resend_code(request, secret=_challenge_secret(request, data))


class RefreshView(NoBodyView):
    secure_auth_open = "for the holder of a refresh token"

    def post(self, request: Request) -> Response:
        in_body = cookies.wants_tokens_in_body(request)
        data = self.read(RefreshInBodySerializer if in_body else NothingSerializer).validated_data
        try:
            return services.refresh(request, token=data.get("refresh_token"))
        except Unauthenticated as refusal:
            response = problem_response(refusal, request)
            if not in_body and not has_explicit_credential(request):
                cookies.clear(response, "access", "refresh")  # or the browser would try for ever
                cookies.clear_duplicates(response)
            return response


class LogoutView(NoBodyView):
    secure_auth_open = "signing out is never refused"

    def is_proven_without_cookies(self, request: Request) -> bool:
        return super().is_proven_without_cookies(request) or bearer_token(request) is not None

    def post(self, request: Request) -> Response:
        self.read(NothingSerializer)
        return services.log_out(request)


class RegisterView(AuthView):
    secure_auth_open = "opening an account; attempts are limited, and `REGISTRATION_OPEN` closes it"

    def post(self, request: Request) -> Response:
        return services.register(request, **self.read(registration_serializer()).validated_data)


class RegisterVerifyView(AuthView):
    secure_auth_open = "for the holder of a challenge; tries are limited"

    def post(self, request: Request) -> Response:
        in_body = cookies.wants_tokens_in_body(request)
        data = self.read(ApproveInBodySerializer if in_body else ApproveSerializer).validated_data
        return services.finish_registration(
            request,
            code=data["otp_code"],
            secret=_challenge_secret(request, data),
            device=data.get("device_token") or cookies.read_cookie(request, "device"),
        )


class ReauthenticateView(SignedInView):
    permission_classes = [IsAuthenticated, NotImpersonated]

    def post(self, request: Request) -> Response:
        data = self.read(ReauthenticateSerializer).validated_data
        return services.reauthenticate(request, caller(request)[1], password=data["password"])


class PasswordChangeView(SignedInView):
    permission_classes = [IsAuthenticated, NotImpersonated]

    def post(self, request: Request) -> Response:
        data = self.read(PasswordChangeSerializer).validated_data
        services.change_password(
            request, caller(request)[1], current=data["current_password"], new=data["new_password"]
        )
        return Response(status=204)


class PasswordResetView(AuthView):
    secure_auth_open = "for who has forgotten the password; mails are limited"

    def post(self, request: Request) -> Response:
        data = self.read(PasswordResetSerializer).validated_data
        recovery.request_reset(request, email=data["email"])
        return Response({"status": "accepted"}, status=202)


class PasswordResetConfirmView(AuthView):
    secure_auth_open = "for the holder of a mailed link"

    def post(self, request: Request) -> Response:
        data = self.read(PasswordResetConfirmSerializer).validated_data
        recovery.confirm_reset(request, uid=data["uid"], token=data["token"], new=data["new_password"])
        response = Response(status=204)
        if not cookies.wants_tokens_in_body(request):
            cookies.clear(response, "access", "refresh", "challenge")  # of sessions that are over now
        return response


class EmailChangeView(SignedInView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]

    def post(self, request: Request) -> Response:
        data = self.read(EmailChangeSerializer).validated_data
        return services.change_address(request, caller(request)[1], email=data["new_email"])


class NotMeView(AuthView):
    secure_auth_open = "for the holder of a mailed link"

    def post(self, request: Request) -> Response:
        data = self.read(LinkSerializer).validated_data
        recovery.disown(request, uid=data["uid"], token=data["token"])
        return Response(status=204)


class EmailUndoView(AuthView):
    secure_auth_open = "for the holder of a mailed link"

    def post(self, request: Request) -> Response:
        data = self.read(LinkSerializer).validated_data
        addresses.undo_change(request, uid=data["uid"], token=data["token"])
        return Response(status=204)
