"""HTTP's side of the own account: each reads strictly and answers of the caller's own rows alone."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DatabaseError, router
from rest_framework.pagination import CursorPagination, PageNumberPagination
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from django_secure_auth.accounts.serializers import NothingSerializer, profile_serializer
from django_secure_auth.accounts.services import trust_this_device
from django_secure_auth.accounts.views import SAFE_METHODS, NoBodyView, SignedInView, caller, tell_refusal
from django_secure_auth.apikeys.models import APIKey, APIKeyQuerySet
from django_secure_auth.apikeys.serializers import APIKeySerializer
from django_secure_auth.apikeys.services import change_key, create_key, revoke, rotate
from django_secure_auth.audit import events
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.exceptions import (
    NotFound,
    SessionRevoked,
)
from django_secure_auth.lifecycle import services as lifecycle
from django_secure_auth.me.export import export_of
from django_secure_auth.me.serializers import (
    activity_row,
    device_row,
    impersonation_body,
    key_body,
    me_body,
    session_row,
)
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import TrustedDevice
from django_secure_auth.ratelimit.services import reserve
from django_secure_auth.rbac.permissions import RecentlyAuthenticated
from django_secure_auth.sessions.models import Session, SessionQuerySet
from django_secure_auth.sessions.services import end_all, end_session
from django_secure_auth.tokens import cookies


class MeView(SignedInView):
    def get_permissions(self) -> list[Any]:
        recent = [RecentlyAuthenticated()] if self.request.method == "DELETE" else []
        return [*super().get_permissions(), *recent]

    def get(self, request: Request) -> Response:
        user, credentials = caller(request)
        return Response({**me_body(user), **impersonation_body(credentials)})

    def patch(self, request: Request) -> Response:
        serializer = self.read(profile_serializer(), instance=request.user, partial=True)
        user, _ = caller(request)
        changes = serializer.validated_data
        for name, value in changes.items():
            setattr(user, name, value)
        if changes:
            _save(user, *changes)
        return Response(me_body(user))

    def delete(self, request: Request) -> Response:
        self.read(NothingSerializer)
        lifecycle.ask_to_close(request, caller(request)[0])
        response = Response(status=204)
        cookies.clear(response, "access", "refresh", "challenge")
        return response


class ExportView(SignedInView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]

    def get(self, request: Request) -> Response:
        user, credentials = caller(request)
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
    user, credentials = caller(request)
    return Session.objects.primary().for_user(user).alive().under_password_of(credentials.session_id)


class SessionListView(SignedInView):
    def get_permissions(self) -> list[Any]:
        recent = [RecentlyAuthenticated()] if self.request.method == "DELETE" else []
        return [*super().get_permissions(), *recent]

    def get(self, request: Request) -> Response:
        _, credentials = caller(request)
        pages = _Pages()
        living = _living_sessions(request).order_by("-created_at", "-pk")
        page = pages.paginate_queryset(living, request, view=self) or []
        rows = [session_row(row, current=row.pk == credentials.session_id) for row in page]
        return pages.get_paginated_response(rows)

    def delete(self, request: Request) -> Response:
        self.read(NothingSerializer)
        user, credentials = caller(request)
        end_all(user, reason="ended_by_user", keep=credentials.session_id)
        return Response(status=204)


class SessionDetailView(SignedInView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]

    def delete(self, request: Request, session_id: UUID) -> Response:
        self.read(NothingSerializer)
        user, credentials = caller(request)
        session = _living_sessions(request).filter(pk=session_id).first()
        if session is None:
            # Written for a foreign id and for one that nobody has: both cost the same.
            tell_refusal(request, reason=NotFound.code)
            raise NotFound
        end_session(session.pk, user_id=user.pk, reason="ended_by_user")
        response = Response(status=204)
        if session.pk == credentials.session_id:
            cookies.clear(response, "access", "refresh")
        return response


class DeviceListView(NoBodyView, SignedInView):
    def get_permissions(self) -> list[Any]:
        recent = [RecentlyAuthenticated()] if self.request.method == "POST" else []
        return [*super().get_permissions(), *recent]

    def post(self, request: Request) -> Response:
        self.read(NothingSerializer)
        return trust_this_device(request, caller(request)[1])

    def get(self, request: Request) -> Response:
        pages = _Pages()
        own = TrustedDevice.objects.for_user(caller(request)[0]).alive().order_by("-created_at", "-pk")
        page = pages.paginate_queryset(own, request, view=self) or []
        secret = cookies.read_cookie(request, "device")
        return pages.get_paginated_response([device_row(one, current=otp.is_device(one, secret)) for one in page])


class DeviceDetailView(SignedInView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]

    def delete(self, request: Request, device_id: UUID) -> Response:
        self.read(NothingSerializer)
        if not otp.distrust(caller(request)[0], device_id, request=request):
            tell_refusal(request, reason=NotFound.code)
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
        own = SecurityEvent.objects.filter(user_id=str(caller(request)[0].pk))
        page = pages.paginate_queryset(own, request, view=self) or []
        return pages.get_paginated_response([activity_row(event) for event in page])


# --- API keys: a session makes and ends them, a key never does ----------------------------------------


class _KeyView(SignedInView):
    """Whoever writes has proven who they are a moment ago."""

    def get_permissions(self) -> list[Any]:
        recent = [] if self.request.method in SAFE_METHODS else [RecentlyAuthenticated()]
        return [*super().get_permissions(), *recent]

    def read_key(self, **kwargs: Any) -> dict[str, Any]:
        data: dict[str, Any] = self.read(APIKeySerializer, context={"user": self.request.user}, **kwargs).validated_data
        return data

    def living_keys(self) -> APIKeyQuerySet:
        return APIKey.objects.primary().for_user(caller(self.request)[0]).alive()

    def own_key(self, key_id: UUID) -> APIKey:
        key = self.living_keys().filter(pk=key_id).first()
        if key is None:
            # Written for a foreign id and for one that nobody has: both cost the same.
            tell_refusal(self.request, reason=NotFound.code)
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
        user, credentials = caller(request)
        key, text = create_key(user, networks=networks, session_id=credentials.session_id, **data)
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
