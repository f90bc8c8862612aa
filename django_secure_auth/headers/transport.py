"""Plain http: pages move to https, the API refuses.

A redirect would hide that a credential has already travelled in clear, and a program that follows it would go on
sending it (ASVS 4.1.2). Whether a request came by https Django says (`SECURE_PROXY_SSL_HEADER`), never a header by its
name.
"""

from __future__ import annotations

import re

from django.conf import settings
from django.http import HttpRequest, HttpResponsePermanentRedirect
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve
from rest_framework.views import APIView

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import Forbidden
from django_secure_auth.problems import plain_problem_response
from django_secure_auth.request_scope import Refusal, scope_of

_OURS = "secure_auth"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def redirect_of(request: HttpRequest) -> HttpResponseBase | None:
    """Return the redirect that a page asked for by plain http gets, None for every other request.

    Raises DisallowedHost for a name that is not ours: it must not come back as a redirect to somewhere else.
    """
    if request.method not in {"GET", "HEAD"} or not _is_plain(request) or _has_credential(request) or _is_api(request):
        return None
    host = settings.SECURE_SSL_HOST or request.get_host()
    return HttpResponsePermanentRedirect(f"https://{host}{request.get_full_path()}")


def refuse_plain_http(request: HttpRequest) -> HttpResponseBase | None:
    """Return the refusal of what came by plain http and cannot be moved, None for a request that may go on."""
    if not _is_plain(request):
        return None
    if _has_credential(request) or request.method not in _SAFE:
        scope_of(request).suspicions.append(Refusal("plain_http", {"path": request.path}))
    return plain_problem_response(Forbidden("This is answered over https only."), request)


def _is_plain(request: HttpRequest) -> bool:
    return not request.is_secure() and conf.HTTPS_ONLY and not _is_exempt(request.path)


def _is_exempt(path: str) -> bool:
    # Django's own setting for its own redirect: a health check of a load balancer stays what it was.
    return any(re.search(pattern, path.lstrip("/")) for pattern in settings.SECURE_REDIRECT_EXEMPT)


def _has_credential(request: HttpRequest) -> bool:
    return "HTTP_AUTHORIZATION" in request.META or "HTTP_X_API_KEY" in request.META


def _is_api(request: HttpRequest) -> bool:
    try:
        match = resolve(request.path_info)
    except Resolver404:
        return False
    view_class = getattr(match.func, "cls", None)  # DRF's as_view leaves it; ours are Django's or DRF's
    return _OURS in match.app_names or (isinstance(view_class, type) and issubclass(view_class, APIView))
