"""HTTP's side of the stories: parse strictly, call one service, answer."""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DatabaseError, router, transaction
from django.middleware.csrf import get_token
from django.utils.cache import patch_vary_headers
from django.utils.decorators import method_decorator
from rest_framework.pagination import CursorPagination, PageNumberPagination
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from django_secure_auth.accounts import services
from django_secure_auth.accounts.export import export_of
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
    activity_row,
    device_row,
    impersonation_body,
    key_body,
    me_body,
    profile_serializer,
    registration_serializer,
    session_row,
)
from django_secure_auth.addresses import services as addresses
from django_secure_auth.apikeys.models import APIKey, APIKeyQuerySet
from django_secure_auth.apikeys.serializers import APIKeySerializer
from django_secure_auth.apikeys.services import change_key, create_key, revoke, rotate
from django_secure_auth.audit import events
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import (
    APIKeyInvalid,
    Forbidden,
    InvalidInput,
    NotFound,
    SessionRevoked,
    Unauthenticated,
)
from django_secure_auth.lifecycle import services as lifecycle
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.problems import answer_exception, as_error, problem_response
from django_secure_auth.ratelimit.services import reserve
from django_secure_auth.rbac.permissions import NotImpersonated, RecentlyAuthenticated
from django_secure_auth.recovery import services as recovery
from django_secure_auth.request_scope import Credentials, carries_api_key
from django_secure_auth.sessions.models import Session, SessionQuerySet
from django_secure_auth.sessions.services import end_all, end_session
from django_secure_auth.strict.parsers import EmptyFormParser, StrictJSONParser
from django_secure_auth.tokens import cookies
from django_secure_auth.tokens.authentication import (
    JWTCookieAuthentication,
    bearer_token,
    enforce_csrf,
    has_explicit_credential,
)

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
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
        if request.method not in _SAFE and not self.is_proven_without_cookies(request):
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
            _tell_refusal(self.request, reason=code)
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


def _caller(request: Request) -> tuple[AbstractBaseUser, Credentials]:
    """Who is asking, behind `SignedInView`: never an anonymous user."""
    return cast(AbstractBaseUser, request.user), cast(Credentials, request.auth)


def _tell_refusal(request: Request, *, reason: str) -> None:
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
        return services.reauthenticate(request, _caller(request)[1], password=data["password"])


class PasswordChangeView(SignedInView):
    permission_classes = [IsAuthenticated, NotImpersonated]

    def post(self, request: Request) -> Response:
        data = self.read(PasswordChangeSerializer).validated_data
        services.change_password(
            request, _caller(request)[1], current=data["current_password"], new=data["new_password"]
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
        return services.change_address(request, _caller(request)[1], email=data["new_email"])


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


class MeView(SignedInView):
    def get_permissions(self) -> list[Any]:
        recent = [RecentlyAuthenticated()] if self.request.method == "DELETE" else []
        return [*super().get_permissions(), *recent]

    def get(self, request: Request) -> Response:
        user, credentials = _caller(request)
        return Response({**me_body(user), **impersonation_body(credentials)})

    def patch(self, request: Request) -> Response:
        serializer = self.read(profile_serializer(), instance=request.user, partial=True)
        user, _ = _caller(request)
        changes = serializer.validated_data
        for name, value in changes.items():
            setattr(user, name, value)
        if changes:
            _save(user, *changes)
        return Response(me_body(user))

    def delete(self, request: Request) -> Response:
        self.read(NothingSerializer)
        lifecycle.ask_to_close(request, _caller(request)[0])
        response = Response(status=204)
        cookies.clear(response, "access", "refresh", "challenge")
        return response


class ExportView(SignedInView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]

    def get(self, request: Request) -> Response:
        user, credentials = _caller(request)
        reserve("export", str(user.pk), request=request)
        record(events.USER_EXPORTED, request=request, user=user, session_id=credentials.session_id)
        headers = {"Content-Disposition": 'attachment; filename="account.json"'}
        return Response(export_of(user), headers=headers)


def _save(user: AbstractBaseUser, *names: str) -> None:
    # Only these: the rest is as it was at the start of the request, and somebody may have changed it since.
    try:
        user.save(update_fields=names)
    except DatabaseError:  # no row was there, or the database refused
        model = get_user_model()
        if model._base_manager.using(router.db_for_write(model)).filter(pk=user.pk).exists():
            raise
        raise SessionRevoked from None  # deleted since the request began


class _Pages(PageNumberPagination):
    page_size = 100

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})


def _living_sessions(request: Request) -> SessionQuerySet:
    """What the caller may see and end: the sessions that a next request would find alive."""
    user, credentials = _caller(request)
    return Session.objects.primary().for_user(user).alive().under_password_of(credentials.session_id)


class SessionListView(SignedInView):
    def get_permissions(self) -> list[Any]:
        recent = [RecentlyAuthenticated()] if self.request.method == "DELETE" else []
        return [*super().get_permissions(), *recent]

    def get(self, request: Request) -> Response:
        _, credentials = _caller(request)
        pages = _Pages()
        living = _living_sessions(request).order_by("-created_at", "-pk")
        page = pages.paginate_queryset(living, request, view=self) or []
        rows = [session_row(row, current=row.pk == credentials.session_id) for row in page]
        return pages.get_paginated_response(rows)

    def delete(self, request: Request) -> Response:
        self.read(NothingSerializer)
        user, credentials = _caller(request)
        end_all(user, reason="ended_by_user", keep=credentials.session_id)
        return Response(status=204)


class SessionDetailView(SignedInView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]

    def delete(self, request: Request, session_id: UUID) -> Response:
        self.read(NothingSerializer)
        user, credentials = _caller(request)
        session = _living_sessions(request).filter(pk=session_id).first()
        if session is None:
            # Written for a foreign id and for one that nobody has: both cost the same.
            _tell_refusal(request, reason=NotFound.code)
            raise NotFound
        end_session(session.pk, user_id=user.pk, reason="ended_by_user")
        response = Response(status=204)
        if session.pk == credentials.session_id:
            cookies.clear(response, "access", "refresh")
        return response


class DeviceListView(SignedInView):
    def get(self, request: Request) -> Response:
        pages = _Pages()
        own = TrustedDevice.objects.for_user(_caller(request)[0]).alive().order_by("-created_at", "-pk")
        page = pages.paginate_queryset(own, request, view=self) or []
        secret = cookies.read_cookie(request, "device")
        return pages.get_paginated_response([device_row(one, current=otp.is_device(one, secret)) for one in page])


class DeviceDetailView(SignedInView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]

    def delete(self, request: Request, device_id: UUID) -> Response:
        self.read(NothingSerializer)
        if not otp.distrust(_caller(request)[0], device_id, request=request):
            _tell_refusal(request, reason=NotFound.code)
            raise NotFound
        return Response(status=204)


class _Events(CursorPagination):
    """By number: the trail of an account may be long, and nobody has to count it."""

    page_size = 50
    ordering = "-id"

    def get_paginated_response(self, data: Any) -> Response:
        return Response({"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()})


class ActivityView(SignedInView):
    def get(self, request: Request) -> Response:
        pages = _Events()
        own = SecurityEvent.objects.filter(user_id=str(_caller(request)[0].pk))
        page = pages.paginate_queryset(own, request, view=self) or []
        return pages.get_paginated_response([activity_row(event) for event in page])


# --- API keys: a session makes and ends them, a key never does ----------------------------------------


class _KeyView(SignedInView):
    """Whoever writes has proven who they are a moment ago."""

    def get_permissions(self) -> list[Any]:
        recent = [] if self.request.method in _SAFE else [RecentlyAuthenticated()]
        return [*super().get_permissions(), *recent]

    def read_key(self, **kwargs: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.read(APIKeySerializer, context={"user": self.request.user}, **kwargs).validated_data
        return data

    def living_keys(self) -> APIKeyQuerySet:
        return APIKey.objects.primary().for_user(_caller(self.request)[0]).alive()

    def own_key(self, key_id: UUID) -> APIKey:
        key = self.living_keys().filter(pk=key_id).first()
        if key is None:
            # Written for a foreign id and for one that nobody has: both cost the same.
            _tell_refusal(self.request, reason=NotFound.code)
            raise NotFound
        return key


class APIKeyListView(_KeyView):
    def get(self, request: Request) -> Response:
        pages = _Pages()
        page = pages.paginate_queryset(self.living_keys().order_by("-created_at", "-pk"), request, view=self) or []
        return pages.get_paginated_response([key_body(key) for key in page])

    def post(self, request: Request) -> Response:
        data = self.read_key()
        networks = data.pop("allowed_networks", ())
        key, text = create_key(_caller(request)[0], networks=networks, **data)
        return Response({**key_body(key), "key": text}, status=201)


class APIKeyDetailView(_KeyView):
    def patch(self, request: Request, key_id: UUID) -> Response:
        key = self.own_key(key_id)
        return Response(key_body(change_key(key, **self.read_key(instance=key, partial=True))))

    def delete(self, request: Request, key_id: UUID) -> Response:
        self.read(NothingSerializer)
        revoke(self.own_key(key_id), reason="revoked_by_user")
        return Response(status=204)


class APIKeyRotateView(_KeyView):
    parser_classes = NoBodyView.parser_classes

    def post(self, request: Request, key_id: UUID) -> Response:
        self.read(NothingSerializer)
        successor, text = rotate(self.own_key(key_id))
        return Response({**key_body(successor), "key": text}, status=201)
