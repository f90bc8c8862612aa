"""Which requests may come from other sites.

Django's CSRF check asks whether a request that changes something was meant. This one asks of every request who sent
it: a browser says so in headers that no page can write (W3C Fetch Metadata §2). One does not replace the other, since
programs and old browsers send no such header, and a sibling sub-domain can plant a cookie, CSRF's included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TypeVar

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import CrossSiteRequest
from django_secure_auth.problems import plain_problem_response
from django_secure_auth.request_scope import Refusal, scope_of

View = TypeVar("View", bound=Callable[..., object])

_OURS = frozenset({"same-origin", "none"})  # none: typed, a bookmark, a link in a mail
_NAVIGATES_TO_NO_PAGE = frozenset({"object", "embed"})
_MARK = "secure_auth_cross_site"
_DECIDES = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Origin")
_TOLD = 200


@dataclass(frozen=True, slots=True)
class Sender:
    """What a browser tells of where a request comes from. A header that is not there is ""."""

    method: str
    site: str
    mode: str
    destination: str
    origin: str
    is_preflight: bool
    has_cookies: bool


@dataclass(frozen=True, slots=True)
class Trusted:
    """Other origins that may send requests: by CORS, and by CSRF_TRUSTED_ORIGINS, which may hold wildcards."""

    is_shared: Callable[[str], bool]
    """Whether CORS lets an origin read answers of the path that is asked for."""
    is_open: bool
    """CORS lets every origin read, as an API does that needs no cookies."""
    posting: Collection[str]


def is_foreign(sender: Sender, trusted: Trusted) -> bool:
    """Tell whether a request was sent by a page that may not send it.

    A sibling sub-domain is as foreign as any other site: whoever takes one over sends our cookies along, whatever
    SameSite says.
    Source: the resource isolation policy of web.dev/fetch-metadata, W3C Fetch Metadata §2.
    """
    if sender.site in _OURS or not sender.site or sender.is_preflight:
        return False
    if sender.mode == "navigate" and sender.method in {"GET", "HEAD"}:
        # A link from elsewhere. It changes nothing by HTTP's rules, and whether it may be framed X-Frame-Options says.
        return sender.destination in _NAVIGATES_TO_NO_PAGE
    if not sender.origin or sender.origin == "null":
        return True
    if sender.mode == "cors" and (trusted.is_shared(sender.origin) or (trusted.is_open and not sender.has_cookies)):
        return False
    return not any(_is_one_of(sender.origin, pattern) for pattern in trusted.posting)


def _is_one_of(origin: str, pattern: str) -> bool:
    # As Django reads its CSRF_TRUSTED_ORIGINS: `https://*.example.com`, a star for whole labels and nothing else.
    if "*" not in pattern:
        return origin == pattern
    return fnmatchcase(origin, pattern.replace("[", "[[]"))


def allow_cross_site(*, reason: str) -> Callable[[View], View]:
    """Let pages of every site call a view: `@allow_cross_site(reason="The bank posts its answer here.")`.

    For functions and classes, Django's and DRF's. `reason` is for the next reader. It lifts this check alone; CSRF
    stays. Raises ValueError for an empty reason.
    """
    if not reason.strip():
        raise ValueError("allow_cross_site needs a reason: the next reader has to know why.")

    def mark(view: View) -> View:
        setattr(view, _MARK, reason)
        return view

    return mark


def reason_of(view: Callable[..., object]) -> str | None:
    """Return why pages of every site may call a view, or None when they may not."""
    for thing in (view, getattr(view, "view_class", None), getattr(view, "cls", None)):
        reason = getattr(thing, _MARK, None)
        if isinstance(reason, str):
            return reason
    return None


# --- the request at hand -----------------------------------------------------------------------------


def refuse_foreign(request: HttpRequest, view: Callable[..., object]) -> HttpResponseBase | None:
    """Return the refusal of a request that another site's page has sent, None for every other one.

    What Django and its middleware answer without a view, a redirect to a slash or a preflight, is not asked.
    """
    if conf.CROSS_SITE_CHECK == "off":
        return None
    meta = request.META
    site = meta.get("HTTP_SEC_FETCH_SITE", "")
    if not site or site in _OURS:
        return None
    sender = Sender(
        method=str(request.method),
        site=site,
        mode=meta.get("HTTP_SEC_FETCH_MODE", ""),
        destination=meta.get("HTTP_SEC_FETCH_DEST", ""),
        origin=meta.get("HTTP_ORIGIN", ""),
        is_preflight=request.method == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in meta,
        has_cookies=bool(meta.get("HTTP_COOKIE")),
    )
    if not is_foreign(sender, _trusted(request.path_info)) or reason_of(view) is not None:
        return None
    is_refused = conf.CROSS_SITE_CHECK == "enforce"
    details = {
        # A program can write these headers, as long as it likes.
        "path": request.path[:_TOLD],
        "method": sender.method[:_TOLD],
        "site": site[:_TOLD],
        "mode": sender.mode[:_TOLD],
        "destination": sender.destination[:_TOLD],
        "origin": sender.origin[:_TOLD],
        "refused": is_refused,
    }
    scope_of(request).suspicions.append(Refusal(CrossSiteRequest.code, details))
    return plain_problem_response(CrossSiteRequest(), request) if is_refused else None


def tell_caches(request: HttpRequest, response: HttpResponseBase) -> None:
    """Add to `Vary` what this check looks at, for an answer that a cache may keep: no other site's page is given ours.

    Source: W3C Fetch Metadata §6.3.
    """
    match = request.resolver_match
    if match is not None and conf.CROSS_SITE_CHECK == "enforce" and reason_of(match.func) is None:
        patch_vary_headers(response, _DECIDES)


CORS_MIDDLEWARE = "corsheaders.middleware.CorsMiddleware"


def _trusted(path: str) -> Trusted:
    trusted, shared_paths = _configured()
    # Elsewhere CORS sends no header, so no page of another origin has anything to ask there.
    return trusted if shared_paths.match(path) else replace(trusted, is_shared=_nobody, is_open=False)


def _nobody(origin: str) -> bool:
    return False


@lru_cache(maxsize=1)
def _configured() -> tuple[Trusted, re.Pattern[str]]:
    paths = re.compile(getattr(settings, "CORS_URLS_REGEX", r"^.*$"))
    if CORS_MIDDLEWARE not in settings.MIDDLEWARE:  # whatever its settings say, no browser will hear of them
        return Trusted(is_shared=_nobody, is_open=False, posting=tuple(settings.CSRF_TRUSTED_ORIGINS)), paths
    named = frozenset(cors_setting("CORS_ALLOWED_ORIGINS", "CORS_ORIGIN_WHITELIST", ()))
    patterns = [
        re.compile(one) for one in cors_setting("CORS_ALLOWED_ORIGIN_REGEXES", "CORS_ORIGIN_REGEX_WHITELIST", ())
    ]
    trusted = Trusted(
        # `match`, as the library does: its expression, its meaning. A check tries what else it lets in.
        is_shared=lambda origin: origin in named or any(pattern.match(origin) for pattern in patterns),
        is_open=bool(cors_setting("CORS_ALLOW_ALL_ORIGINS", "CORS_ORIGIN_ALLOW_ALL", False)),
        posting=tuple(settings.CSRF_TRUSTED_ORIGINS),
    )
    return trusted, paths


def cors_setting(name: str, former_name: str, default: Any) -> Any:
    """Return a setting of django-cors-headers, under the name that it has now or had before."""
    return getattr(settings, name, getattr(settings, former_name, default))


def _forget(*, setting: str, **_: object) -> None:
    if setting in {"MIDDLEWARE", "CSRF_TRUSTED_ORIGINS"} or setting.startswith("CORS_"):
        _configured.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_secure_auth.headers")
