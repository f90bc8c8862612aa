"""The one view that every set-up is asked for, and a sign-in for Django's sessions, which bring none for an API."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import authenticate, login, logout
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_protect
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class WhoAmI(APIView):
    """Everything but the view's attributes comes from the set-up's settings."""

    def get(self, request: Request) -> Response:
        return Response({"id": str(request.user.pk)})


@method_decorator(csrf_protect, name="dispatch")
class SessionLogin(APIView):
    authentication_classes: Any = []
    permission_classes: Any = [AllowAny]

    def post(self, request: Request) -> Response:
        user = authenticate(request, username=request.data["email"], password=request.data["password"])
        if user is None:
            return Response(status=401)
        login(request._request, user)
        return Response({"id": str(user.pk)})


class SessionLogout(APIView):
    def post(self, request: Request) -> Response:
        logout(request._request)
        return Response(status=204)
