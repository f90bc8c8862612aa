"""The example project with two views of a host's own: one for editors, and one that makes and unmakes them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.urls import path
from rest_framework.permissions import IsAdminUser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_secure_auth.rbac.models import Role
from django_secure_auth.rbac.permissions import HasRole
from django_secure_auth.rbac.services import grant, revoke
from testproject.urls import urlpatterns as testproject


class EditorView(APIView):
    permission_classes: Any = (HasRole("editor"),)

    def get(self, request: Request) -> Response:
        return Response({})


class ChangeView(APIView):
    """`chief` inherits from `editor`: the last kind of change is one of the role, not of the grant."""

    permission_classes = (IsAdminUser,)

    def post(self, request: Request) -> Response:
        user = get_user_model()._default_manager.get(pk=request.data["user"])
        editor, _ = Role.objects.get_or_create(name="editor")
        chief, _ = Role.objects.get_or_create(name="chief")
        how, gives = request.data["how"], request.data["gives"]
        if how == "grant":
            grant(user, editor, by=request.user) if gives else revoke(user, editor, by=request.user)
        else:
            grant(user, chief)
            chief.parents.set([editor] if gives else [])
        return Response({})


urlpatterns = [*testproject, path("api/editor/", EditorView.as_view()), path("api/change/", ChangeView.as_view())]
