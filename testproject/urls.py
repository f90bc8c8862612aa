"""The demo page, the admin, and the package's URLs."""

from django.contrib import admin
from django.urls import include, path

from testproject.views import demo_page, icon

urlpatterns = [
    path("", demo_page, name="demo"),
    path("icon.svg", icon, name="icon"),
    path("favicon.ico", icon),  # what browsers ask for on the admin's pages
    path("admin/", admin.site.urls),
    path("api/auth/", include("django_secure_auth.urls")),
]
