"""What stands below `/.well-known/`: whom to tell of a hole, and where a password is changed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import resolve_url
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from django_secure_auth.conf import conf
from django_secure_auth.headers.cross_site import allow_cross_site


@allow_cross_site(reason="Whoever looks for a contact may come from anywhere.")
@require_safe
@cache_control(max_age=86400, public=True)
def security_txt(request: HttpRequest) -> HttpResponse:
    """`SECURITY_TXT` as RFC 9116 writes it; 404 while it is not set."""
    if conf.SECURITY_TXT is None:
        raise Http404
    text = "".join(f"{line}\n" for line in _lines(conf.SECURITY_TXT))
    return HttpResponse(text, content_type="text/plain; charset=utf-8")


def _lines(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        title = "-".join(word.capitalize() for word in name.split("_"))
        if name == "expires":
            yield f"{title}: {value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
        else:
            yield from (f"{title}: {line}" for line in ([value] if isinstance(value, str) else value))


@allow_cross_site(reason="A password manager follows a link of its own.")
@require_safe
def change_password(request: HttpRequest) -> HttpResponse:
    """302 to `CHANGE_PASSWORD_URL` (W3C, A Well-Known URL for Changing Passwords); 404 while it is not set."""
    if conf.CHANGE_PASSWORD_URL is None:
        raise Http404
    return HttpResponseRedirect(resolve_url(conf.CHANGE_PASSWORD_URL))
