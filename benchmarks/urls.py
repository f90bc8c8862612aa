"""URLs of the set-up that this process runs. Each brings its own sign-in; the view that is measured is the same."""

from __future__ import annotations

import os
from typing import Any

from django.urls import include, path

from benchmarks import access
from benchmarks.setups import BY_NAME
from benchmarks.views import SessionLogin, SessionLogout, WhoAmI

_setup = BY_NAME[os.environ["BENCH_SETUP"]]

urlpatterns: list[Any] = [path("whoami/", WhoAmI.as_view()), *access.urls(_setup)]

if _setup.kind == "session":
    urlpatterns += [path("login/", SessionLogin.as_view()), path("logout/", SessionLogout.as_view())]
elif _setup.kind == "simplejwt":
    from rest_framework_simplejwt.views import TokenBlacklistView, TokenObtainPairView, TokenRefreshView

    urlpatterns += [
        path("login/", TokenObtainPairView.as_view()),
        path("refresh/", TokenRefreshView.as_view()),
        path("logout/", TokenBlacklistView.as_view()),
    ]
elif _setup.kind == "knox":
    from knox.views import LoginView, LogoutView
    from rest_framework.authentication import BasicAuthentication

    urlpatterns += [
        path("login/", LoginView.as_view(authentication_classes=[BasicAuthentication])),
        path("logout/", LogoutView.as_view()),
    ]
elif _setup.kind == "ours":
    urlpatterns += [path("api/auth/", include("django_secure_auth.urls"))]
