"""Limited views that answer 503 while their cache is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.decorators import rate_limit
from django_secure_auth.ratelimit.throttling import RateLimitThrottle


def closed(rate: str) -> Callable[[HttpRequest], HttpResponse]:
    @rate_limit(rate, name="at-once", fail_open=False)
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("ok")

    return view


def throttled(rate: str) -> Callable[..., Any]:
    throttle = type("AtOnce", (RateLimitThrottle,), {"rate": rate, "name": "at-once", "fail_open": False})

    class Throttled(APIView):
        authentication_classes = ()
        permission_classes = (AllowAny,)
        throttle_classes = [throttle]

        def get(self, request: Request) -> Response:
            return Response("ok")

    return Throttled.as_view()
