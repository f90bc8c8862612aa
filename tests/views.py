"""A host's own views, as a project that uses the package would write them."""

from __future__ import annotations

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView


class ProbeView(APIView):
    """Says who the caller is; a POST comes back as it went in, so that a test sees whether it got through."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk), "is_staff": request.user.is_staff})

    def post(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk), "data": request.data})
