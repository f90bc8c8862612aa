"""The demo page, those of mailed links, the admin, the package's URLs, and what describes them."""

from django.conf import settings
from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from django_secure_auth.headers.views import csp_report
from testproject.previews.views import LinkPreviewView
from testproject.reports.views import ReportListView
from testproject.views import api_docs, demo_page, icon, link_page

urlpatterns = [
    path("", demo_page, name="demo"),
    # Where PASSWORD_RESET_PATH, NOT_ME_PATH and EMAIL_UNDO_PATH lead, as they are by default.
    path("reset-password/", link_page, {"template": "testproject/reset_password.html"}, name="reset-password"),
    path("not-me/", link_page, {"template": "testproject/not_me.html"}, name="not-me"),
    path("undo-email/", link_page, {"template": "testproject/undo_email.html"}, name="undo-email"),
    path("icon.svg", icon, name="icon"),
    path("favicon.ico", icon),  # what browsers ask for on the admin's pages
    path(".well-known/", include("django_secure_auth.headers.urls")),
    path("csp-report/", csp_report, name="csp-report"),
    path(getattr(settings, "ADMIN_PATH", "admin/"), admin.site.urls),
    path("api/auth/", include("django_secure_auth.urls")),
    path("api/", include("testproject.notes.urls")),
    path("api/reports/", ReportListView.as_view(), name="reports"),
    path("api/link-preview/", LinkPreviewView.as_view(), name="link-preview"),
    path("api/schema/", SpectacularAPIView.as_view(authentication_classes=[]), name="schema"),
    path("api/docs/", api_docs, name="docs"),
]
