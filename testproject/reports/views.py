"""For people and for programs: each proves itself in its own way, and is judged in its own way."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.generics import ListAPIView

from django_secure_auth.apikeys.authentication import APIKeyAuthentication
from django_secure_auth.rbac.permissions import HasPermission, HasScope
from django_secure_auth.tokens.authentication import JWTCookieAuthentication
from testproject.pagination import Pages
from testproject.reports.models import Report


class ReportSerializer(serializers.ModelSerializer[Report]):
    class Meta:
        model = Report
        fields = ("name", "count", "made_at")


class ReportListView(ListAPIView[Report]):
    """The numbers. For people with the permission `reports.view_report`, and for API keys with `reports:read`."""

    authentication_classes = [JWTCookieAuthentication, APIKeyAuthentication]
    permission_classes = [HasScope("reports:read") | HasPermission("reports.view_report")]
    queryset = Report.objects.all()
    serializer_class = ReportSerializer
    pagination_class = Pages
