"""One page on which a person clicks through the whole journey, those of mailed links, and one that shows the API."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from django_secure_auth.headers.policy import security_headers

_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#1f5fbf"/>'
    '<path d="M16 6l8 3v7c0 5-3.4 8.4-8 10-4.6-1.6-8-5-8-10V9z" fill="#fff"/>'
    '<path d="M12 16l3 3 5.5-6" fill="none" stroke="#1f5fbf" stroke-width="2.5"/></svg>'
)


@require_safe
@ensure_csrf_cookie
def demo_page(request: HttpRequest) -> HttpResponse:
    return render(request, "testproject/demo.html", _context())


@require_safe
@cache_control(no_store=True)
def link_page(request: HttpRequest, template: str) -> HttpResponse:
    """The page that a mailed link leads to. It changes nothing: programs in mail systems open links, too."""
    response = render(request, template, _context())
    response["Referrer-Policy"] = "no-referrer"
    return response


def _context() -> dict[str, Any]:
    return {
        "api": reverse("secure_auth:csrf").removesuffix("csrf/"),
        "debug": settings.DEBUG,
        "codes_in_console": settings.CODES_IN_CONSOLE,
    }


@security_headers(
    csp={"trusted-types": "dompurify default"},
    loosen_because="Swagger UI writes HTML: by DOMPurify's policy, and by the one of docs.js, which lets nothing run.",
)
@require_safe
@ensure_csrf_cookie
def api_docs(request: HttpRequest) -> HttpResponse:
    return render(request, "testproject/docs.html")


@require_safe
@cache_control(max_age=86400, public=True)
def icon(request: HttpRequest) -> HttpResponse:
    return HttpResponse(_ICON, content_type="image/svg+xml")
