"""A host's own views, as a project that uses the package would write them."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.rbac.permissions import RecentlyAuthenticated
from django_secure_auth.tokens.authentication import JWTCookieAuthentication


class ProgramView(APIView):
    """One that programs may use as well as people; `scopes` says what the caller's key may do."""

    authentication_classes: Any = (JWTCookieAuthentication, APIKeyAuthentication)
    permission_classes: Any = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        proof: Any = request.auth
        return Response({"user": str(request.user.pk), "kind": proof.kind, "scopes": sorted(proof.scopes)})

    def post(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk), "data": request.data})


class KeyOnlyView(ProgramView):
    """One for programs alone."""

    authentication_classes = (APIKeyAuthentication,)


class RecentProgramView(ProgramView):
    permission_classes = (RecentlyAuthenticated(minutes=60 * 24 * 366),)


class ProbeView(APIView):
    """Says who the caller is; a POST comes back as it went in, so that a test sees whether it got through."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk), "is_staff": request.user.is_staff})

    def post(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk), "data": request.data})
