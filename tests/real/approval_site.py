"""The example project with two views that ask for a mailed code: one by the decorator, one by the permission."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.accounts.permissions import Approved
from django_secure_auth.decorators import approved
from testproject.urls import urlpatterns as testproject


def named_by(request: Request) -> dict[str, Any]:
    return {"to": request.data["to"], "amount": request.data["amount"]}


class PayView(APIView):
    permission_classes = [IsAuthenticated]

    @approved("pay", named_by)
    def post(self, request: Request) -> Response:
        return Response({"paid": request.data["amount"]})


class TransferView(APIView):
    permission_classes = [IsAuthenticated, Approved("transfer", named_by)]

    def post(self, request: Request) -> Response:
        return Response({"paid": request.data["amount"]})


urlpatterns = [
    path("api/pay/", transaction.non_atomic_requests(PayView.as_view())),
    path("api/transfer/", transaction.non_atomic_requests(TransferView.as_view())),
    *testproject,
]
