"""A project that uses roles, checked by mypy --strict: what it is promised is what it is given."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import assert_type

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from django_secure_auth.models import Role, RoleAssignment
from django_secure_auth.rbac.permissions import (
    ApprovedByEmail,
    HasAnyRole,
    HasPermission,
    HasRole,
    HasScope,
    RecentlyAuthenticated,
)
from django_secure_auth.rbac.services import grant, has_role, queryset_for, revoke, roles_of


class PublishView(APIView):
    permission_classes = [HasRole("editor") & RecentlyAuthenticated(minutes=5)]


class ReportView(APIView):
    permission_classes = [HasScope("reports:read") | HasPermission("reports.view_report"), ApprovedByEmail]


class PlainView(APIView):
    permission_classes = [IsAuthenticated & HasAnyRole("editor", "chief"), ~HasRole("guest"), HasRole("reader")]


def promote(member: AbstractBaseUser, boss: AbstractBaseUser) -> frozenset[str]:
    assert_type(grant(member, "editor", until=datetime(2030, 1, 1, tzinfo=UTC), by=boss), RoleAssignment)
    assert_type(revoke(member, Role.objects.get(name="guest")), bool)
    assert_type(has_role(member, "editor"), bool)
    return roles_of(member)


def visible_groups(request: Request) -> QuerySet[Group]:
    return queryset_for(request.user, "auth.view_group", Group)
