"""Public keys, for other services that verify our access tokens."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import AllowAny
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.conf import signing_ring
from django_secure_auth.problems import exception_handler


class JWKSView(APIView):
    """The public half of the asymmetric keys (RFC 7517 §5); empty for HMAC, whose keys are never public."""

    secure_auth_open = "public keys"
    authentication_classes: Any = []
    permission_classes: Any = [AllowAny]
    renderer_classes = [JSONRenderer]
    throttle_classes = []

    def get(self, request: Request) -> Response:
        return Response(signing_ring().jwks(), headers={"Cache-Control": "public, max-age=300"})

    def get_exception_handler(self) -> Any:
        return exception_handler
