"""Every public name that a project calls, with the types that it may count on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, assert_type

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core import mail
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.test import Client, TestCase
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from django_secure_auth.accounts.models import AbstractEmailUser
from django_secure_auth.accounts.services import copy_cookies, log_in, log_out
from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.apikeys.services import change_key, create_key, revoke, rotate
from django_secure_auth.audit import security_logger
from django_secure_auth.conf import conf
from django_secure_auth.decorators import requires
from django_secure_auth.exceptions import SecureAuthError
from django_secure_auth.kit.jwt import Key, KeyRing, TokenExpired, TokenInvalid, sign, verify
from django_secure_auth.kit.keys import new_secret_bytes
from django_secure_auth.models import APIKey, SecurityEvent, Session
from django_secure_auth.ownership.admin import OwnedAdminMixin
from django_secure_auth.ownership.mixins import OwnedViewMixin
from django_secure_auth.ownership.permissions import IsOwner
from django_secure_auth.ownership.querysets import OwnedQuerySet
from django_secure_auth.rbac.permissions import RecentlyAuthenticated
from django_secure_auth.request_scope import Credentials
from django_secure_auth.signals import api_key_used_first, session_opened
from django_secure_auth.strict import (
    SafeOrderingFilter,
    SafeOrderingQuerySet,
    StrictModelSerializer,
    StrictSerializer,
)
from django_secure_auth.strict.fields import IdentifierField, PasswordField, StrictBooleanField, StrictCharField
from django_secure_auth.strict.parsers import StrictJSONParser
from django_secure_auth.testing import assert_no_open_routes, latest_code, open_routes, sign_in
from django_secure_auth.tokens.authentication import JWTCookieAuthentication

# --- views -------------------------------------------------------------------------------------------


class NoteSerializer(StrictSerializer):
    title = StrictCharField(max_length=100)
    is_published = StrictBooleanField(required=False)
    password = PasswordField(write_only=True)


class NoteView(APIView):
    authentication_classes = [JWTCookieAuthentication]
    permission_classes = [IsAuthenticated]
    parser_classes = [StrictJSONParser]
    secure_auth_background = True

    def post(self, request: Request) -> Response:
        serializer = NoteSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        proof = request.auth
        assert isinstance(proof, Credentials)
        assert_type(proof.kind, str)
        return Response({"title": serializer.validated_data["title"], "session": str(proof.session_id)})


class ExportView(APIView):
    permission_classes = [IsAuthenticated, RecentlyAuthenticated]


class DeleteView(APIView):
    permission_classes = [RecentlyAuthenticated(minutes=5) & IsAuthenticated]


class EitherView(APIView):
    permission_classes = [IsAuthenticated & (RecentlyAuthenticated(minutes=5) | ~AllowAny)]


# --- programs ----------------------------------------------------------------------------------------


class ReportView(APIView):
    authentication_classes = [JWTCookieAuthentication, APIKeyAuthentication]
    permission_classes = [IsAuthenticated]

    def get(self, request: Request) -> Response:
        proof = request.auth
        assert isinstance(proof, Credentials)
        assert_type(proof.scopes, frozenset[str])
        return Response({"may_read": "reports:read" in proof.scopes})


def hand_out(user: Member) -> str:
    key, text = create_key(user, name="export", scopes=["reports:read"], networks=["192.0.2.0/24"], rate_limit="9/s")
    assert_type(key, APIKey)
    successor, text = rotate(key, overlap=timedelta(hours=1))
    change_key(successor, name="nightly export", scopes=())
    for one in APIKey.objects.for_user(user).alive().exclude(pk=successor.pk):
        assert_type(revoke(one, reason="left"), bool)
    return text


def first_use(sender: object, *, public_id: str, user_id: Any, **more: Any) -> None:
    print(public_id, user_id)


api_key_used_first.connect(first_use)
# --- who may call them -------------------------------------------------------------------------------


def is_open_on(request: HttpRequest, day: int) -> bool:
    return day < 6


async def is_open_later(request: HttpRequest, day: int) -> bool:
    return day < 6


@requires("editor", "admin", permission="notes.change_note", check_func=is_open_on)
def page(request: HttpRequest, day: int) -> HttpResponse:
    return HttpResponse(str(day))


@requires("editor", check_func=is_open_later)
async def async_page(request: HttpRequest, day: int) -> HttpResponse:
    return HttpResponse(str(day))


@requires(scope="reports:read")
class GuardedReportView(APIView):
    @requires("editor")
    def post(self, request: Request) -> Response:
        return Response({})


assert_type(page(HttpRequest(), day=1), HttpResponse)
GuardedReportView.as_view()
# --- rows with an owner ------------------------------------------------------------------------------


# django-stubs makes a manager's type for each parent, and finds that they differ.
class DocumentQuerySet(OwnedQuerySet["Document"], SafeOrderingQuerySet["Document"]):  # type: ignore[override]  # stubs differ in `as_manager`
    safe_ordering = ("created_at", "title")


class Document(models.Model):
    secure_auth_owner = "owner"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    title = models.CharField(max_length=100)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DocumentQuerySet.as_manager()

    class Meta:
        app_label = "documents"

    def __str__(self) -> str:
        return self.title


class DocumentSerializer(StrictModelSerializer[Document]):
    name = IdentifierField()

    class Meta:
        model = Document
        fields = ("id", "title", "name")


class UploadParser(StrictJSONParser):
    max_bytes = 1_000_000
    allow_list = True


class DocumentViewSet(OwnedViewMixin, ModelViewSet[Document]):
    queryset = Document.objects.all()
    serializer_class = DocumentSerializer
    permission_classes = [IsAuthenticated & IsOwner]
    parser_classes = [UploadParser]
    filter_backends = [SafeOrderingFilter]
    ordering_fields = ["created_at", "title"]
    parent_lookup_kwargs = {"folder_pk": "folder__pk"}

    def is_owner_exempt(self, request: Request) -> bool:
        return request.user.is_superuser


class DocumentAdmin(OwnedAdminMixin, admin.ModelAdmin):  # type: ignore[type-arg]  # generic in the stubs only
    pass


def titles_of(request: Request, order: str) -> list[str]:
    rows = DocumentQuerySet(Document).owned_by(request.user).safe_order_by(order)
    assert_type(rows, DocumentQuerySet)
    return [row.title for row in rows]


# --- somebody proven elsewhere -----------------------------------------------------------------------


def sso_callback(request: HttpRequest) -> HttpResponseRedirect:
    user = get_user_model()._default_manager.get(pk=1)
    try:
        answer = log_in(request, user, amr=["sso"], remember_me=True)
    except SecureAuthError as refusal:
        assert_type(refusal.code, str)
        return redirect("/refused/")
    assert_type(answer, Response)
    page = redirect("/" if answer.status_code == 200 else "/code/")
    copy_cookies(answer, page)
    return page


class SignOutView(APIView):
    def post(self, request: Request) -> HttpResponse:
        return log_out(request)


class Member(AbstractEmailUser):
    class Meta:
        app_label = "members"


def greet(member: Member) -> str:
    return f"Hello {member.email}"


# --- settings, events, signals -----------------------------------------------------------------------


def minutes_of_a_session() -> float:
    assert_type(conf.SESSION_IDLE_TIMEOUT, timedelta)
    assert_type(conf.OTP_ATTEMPTS, int)
    assert_type(conf.ALLOW_TOKEN_IN_BODY, bool)
    assert_type(conf.RATE_LIMITS, dict[str, str])
    assert_type(conf.STATE_CACHE, str | None)
    return conf.SESSION_IDLE_TIMEOUT.total_seconds() / 60


def report(request: Request) -> None:
    security_logger.log_auth_success(user=request.user, ip_address="192.0.2.1")
    security_logger.log_auth_failure(user=request.user, reason="expired card")
    security_logger.log_authz_failure(user=request.user, resource="report:7", required_roles=["editor"], tenant=4)
    security_logger.log_rate_limit(endpoint="/search/", ip_address="192.0.2.1", limit="10/m")
    security_logger.log_validation_failure(endpoint="/orders/", errors={"amount": ["Too much."]})
    security_logger.log_suspicious(description="a voucher typed 40 times", ip_address="192.0.2.1")


def of_this_year() -> list[str]:
    return [event.message for event in SecurityEvent.objects.filter(event="authn_login_fail")]


def count(sender: object, *, session: Session, **more: Any) -> None:
    print(session.idle_at, session.amr)


session_opened.connect(count)


# --- the kit -----------------------------------------------------------------------------------------


def round_trip(claims: dict[str, Any]) -> dict[str, Any] | None:
    ring = KeyRing([Key.from_secret(kid="2026-01", secret=new_secret_bytes())])
    token = sign(claims, ring, typ="invitation+jwt")
    assert_type(token, str)
    try:
        return verify(token, ring, issuer="https://example.com", audience="api", typ="invitation+jwt", leeway=5)
    except TokenExpired:
        return None
    except TokenInvalid as refusal:
        raise PermissionError(str(refusal)) from None


# --- tests -------------------------------------------------------------------------------------------


class NotesTest(TestCase):
    client: Client

    def test_a_signed_in_user_sees_notes(self) -> None:
        user = get_user_model()._default_manager.get(pk=1)
        assert_type(sign_in(self.client, user, amr=("pwd", "email")), Session)
        assert_type(latest_code(mail.outbox), str)
        assert_type([route.who for route in open_routes()], list[str])
        assert_no_open_routes()
