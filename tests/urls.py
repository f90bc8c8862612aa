"""The suite's URLs: ours at the prefix under test, the admin, and a host's own DRF view to send credentials to."""

from __future__ import annotations

import environ
from django.contrib import admin
from django.urls import include, path

from tests.views import ProbeView

env = environ.Env()

urlpatterns = [
    path("admin/", admin.site.urls),
    path(env.str("DSA_PREFIX", default="api/auth/"), include("django_secure_auth.urls")),
    path("probe/", ProbeView.as_view(), name="probe"),
]
