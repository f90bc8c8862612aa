"""The example project with the API at its root: a scanner asks for `/`, and knows of no other path."""

from __future__ import annotations

from django.urls import path

from django_secure_auth.accounts.views import CSRFView
from testproject.urls import urlpatterns as testproject

urlpatterns = [path("", CSRFView.as_view()), *testproject]
