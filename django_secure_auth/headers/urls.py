"""`path(".well-known/", include("django_secure_auth.headers.urls"))`, at the root of the site (RFC 8615 §3)."""

from __future__ import annotations

from django.urls import path

from django_secure_auth.headers.views import change_password, security_txt

app_name = "secure_auth_well_known"

urlpatterns = [
    path("security.txt", security_txt, name="security-txt"),
    path("change-password", change_password, name="change-password"),
]
