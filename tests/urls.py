"""The suite's URLs: ours at the prefix under test, the admin, and a host's own DRF view to send credentials to."""

from __future__ import annotations

import environ
from django.contrib import admin
from django.urls import include, path

from tests.views import KeyOnlyView, ProbeView, ProgramView, RecentProgramView

env = environ.Env()

urlpatterns = [
    path("admin/", admin.site.urls),
    path(env.str("DSA_PREFIX", default="api/auth/"), include("django_secure_auth.urls")),
    path("probe/", ProbeView.as_view(), name="probe"),
    path("program/", ProgramView.as_view(), name="program"),
    path("program/only/", KeyOnlyView.as_view(), name="key-only"),
    path("program/recent/", RecentProgramView.as_view(), name="program-recent"),
]
