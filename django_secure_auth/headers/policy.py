"""Which headers a response gets. Pure: a question in, headers out; and what a view may change about the answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

View = TypeVar("View", bound=Callable[..., object])
Policy = Mapping[str, tuple[str, ...]]

HSTS = "max-age=31536000; includeSubDomains"
COMMON = {
    "X-Content-Type-Options": "nosniff",
    # `no-referrer` would make browsers send `Origin: null` on form posts, and CSRF checks then fail.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

NONCE = "'nonce'"
_NONE = ("'none'",)
_SELF = ("'self'",)

# ASVS 3.4.3. `strict-dynamic`: what a script with the nonce loads may run, and no list of hosts is asked.
PROFILES: dict[str, Policy] = {
    "page": {
        "default-src": _NONE,
        "script-src": (NONCE, "'strict-dynamic'"),
        "style-src": (NONCE,),
        "img-src": _SELF,
        "connect-src": _SELF,
        "base-uri": _NONE,
        "form-action": _SELF,
        "frame-ancestors": _NONE,
        "require-trusted-types-for": ("'script'",),
        "trusted-types": _NONE,
    },
    "api": {"default-src": _NONE, "frame-ancestors": _NONE},
    # Django's admin loads files of its own, and its jQuery writes HTML: no nonce, no Trusted Types.
    "admin": {
        "default-src": _NONE,
        "script-src": _SELF,
        "style-src": _SELF,
        "img-src": ("'self'", "data:"),
        "font-src": _SELF,
        "connect-src": _SELF,
        "base-uri": _NONE,
        "form-action": _SELF,
        "frame-ancestors": _NONE,
    },
}
_DIRECTIVES = frozenset(
    """base-uri child-src connect-src default-src fenced-frame-src font-src form-action frame-ancestors frame-src
    img-src manifest-src media-src object-src require-trusted-types-for sandbox script-src script-src-attr
    script-src-elem style-src style-src-attr style-src-elem trusted-types upgrade-insecure-requests
    worker-src""".split()
)
_ONLY_TIGHTEN = frozenset({"sandbox", "upgrade-insecure-requests"})
_SOURCE = re.compile(r"[!-+\--:<-~]+")  # visible ASCII without comma and semicolon, which would begin something else

_VALUES: dict[str, tuple[str, ...]] = {
    "Cross-Origin-Opener-Policy": ("same-origin", "same-origin-allow-popups", "noopener-allow-popups", "unsafe-none"),
    "Cross-Origin-Resource-Policy": ("same-origin", "same-site", "cross-origin"),
    "Cross-Origin-Embedder-Policy": ("require-corp", "credentialless", "unsafe-none"),
}
# What no view has to explain. Embedders are free unless the project says otherwise: only taking that back loosens.
_FREE: dict[str, tuple[str, ...]] = {
    "Cross-Origin-Opener-Policy": ("same-origin",),
    "Cross-Origin-Resource-Policy": ("same-origin",),
    "Cross-Origin-Embedder-Policy": ("require-corp", "credentialless"),
}
_MARK = "secure_auth_headers"


@dataclass(frozen=True, slots=True)
class Changes:
    """What a view says about its headers. Made by `security_headers`, which refuses nonsense."""

    profile: str | None = None
    csp: Policy = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    loosens: tuple[str, ...] = ()
    because: str = ""


NO_CHANGES = Changes()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a response is, as far as its headers depend on it."""

    kind: str
    """`json`, `html` or `other`."""
    is_secure: bool
    is_admin: bool = False
    nonce: str | None = None
    framing: str | None = "DENY"
    """Its X-Frame-Options, None for a view that may be framed by anybody: browsers read the policy only."""
    changes: Changes = NO_CHANGES
    permissions: Mapping[str, str] = field(default_factory=dict)
    embedder: str | None = None
    report_to: str | None = None


def profile_of(facts: Facts) -> str | None:
    """Return the profile whose policy a response gets, None for one that keeps what the project gave it.

    A page that has not asked for the nonce has none: a strict policy would break what we do not know.
    """
    if facts.changes.profile is not None:
        return facts.changes.profile
    if facts.kind == "json":
        return "api"
    if facts.kind != "html":
        return None
    if facts.is_admin:
        return "admin"
    return "page" if facts.nonce is not None or facts.changes.csp else None


def csp_of(profile: str, facts: Facts) -> str:
    """Return the Content-Security-Policy of a profile, with what the view changes."""
    directives = {**PROFILES[profile], **facts.changes.csp}
    if facts.framing is None and profile != "api":
        directives.pop("frame-ancestors", None)
    elif facts.framing == "SAMEORIGIN" and "frame-ancestors" not in facts.changes.csp:
        directives["frame-ancestors"] = _SELF
    if profile == "admin" and facts.nonce is not None:  # a template of the project's own, on the admin's pages
        for name in ("script-src", "style-src"):
            directives[name] = (*directives[name], NONCE)
    parts = [" ".join((name, *sources)) for name, sources in directives.items() if sources or name in _ONLY_TIGHTEN]
    if facts.report_to and profile != "api":
        # Beside `report-to` Chromium would look at that alone, and send nothing over http, not even on loopback.
        parts.append(f"report-uri {facts.report_to}")
    return "; ".join(parts).replace(NONCE, f"'nonce-{facts.nonce}'")


def response_headers(facts: Facts) -> dict[str, str]:
    """Return the headers for a response, by what it is and by what its view changes."""
    headers = dict(COMMON)
    if facts.framing is not None:
        headers["X-Frame-Options"] = facts.framing
    if facts.embedder:
        headers["Cross-Origin-Embedder-Policy"] = facts.embedder
    headers["Permissions-Policy"] = ", ".join(f"{name}={allowed}" for name, allowed in facts.permissions.items())
    profile = profile_of(facts)
    if profile is not None:
        headers["Content-Security-Policy"] = csp_of(profile, facts)
    if facts.is_secure:
        headers["Strict-Transport-Security"] = HSTS
    return {**headers, **facts.changes.headers}


# --- what a view changes -----------------------------------------------------------------------------


def security_headers(
    *,
    profile: str | None = None,
    csp: Mapping[str, str | Iterable[str]] | None = None,
    coop: str | None = None,
    corp: str | None = None,
    coep: str | None = None,
    loosen_because: str = "",
) -> Callable[[View], View]:
    """Change the headers of one view: `@security_headers(csp={"img-src": "'none'"}, coep="require-corp")`.

    For functions and classes, Django's and DRF's. `profile` is `"page"` (also for a page without the nonce), `"api"` or
    `"admin"`; `csp` replaces directives of it, an empty one is left out, `'nonce'` stands for that of the response.
    Tightening is free. What allows more than the profile needs `loosen_because`, a reason for the next reader; the
    check `secure_auth.I051` shows it. For frames there are Django's own decorators.

    Raises ImproperlyConfigured where it is written for a name that is none, and for loosening without a reason.
    """
    if profile is not None and profile not in PROFILES:
        raise ImproperlyConfigured(f"security_headers: profile is one of {', '.join(PROFILES)}, not {profile!r}.")
    named = dict(zip(_VALUES, (coop, corp, coep), strict=True))
    headers = {name: value for name, value in named.items() if value is not None}
    for name, value in headers.items():
        if value not in _VALUES[name]:
            raise ImproperlyConfigured(f"security_headers: {name} is one of {', '.join(_VALUES[name])}.")
    directives = {name: _sources_of(name, sources) for name, sources in (csp or {}).items()}
    base = PROFILES[profile or "page"]
    loosens = (
        *(name for name, sources in directives.items() if _is_looser(name, sources, base)),
        *(name for name, value in headers.items() if value not in _FREE[name]),
    )
    if loosens and not loosen_because.strip():
        raise ImproperlyConfigured(f"security_headers: {', '.join(loosens)} allows more; say why by loosen_because.")
    changes = Changes(profile, directives, headers, loosens, loosen_because)

    def mark(view: View) -> View:
        setattr(view, _MARK, changes)
        return view

    return mark


def _sources_of(name: str, sources: str | Iterable[str]) -> tuple[str, ...]:
    if name not in _DIRECTIVES:
        raise ImproperlyConfigured(f"security_headers: {name!r} is no directive of a Content-Security-Policy.")
    found = tuple(sources.split() if isinstance(sources, str) else sources)
    if not all(map(_SOURCE.fullmatch, found)):
        raise ImproperlyConfigured(f"security_headers: {name} has a source that is none: {sources!r}.")
    return found


def _is_looser(name: str, sources: tuple[str, ...], base: Policy) -> bool:
    if name in _ONLY_TIGHTEN:
        return False
    if not sources:
        return name in base
    allowed = base.get(name, base["default-src"] if name.endswith("-src") else None)
    return allowed is not None and not set(sources) <= {*allowed, "'none'"}


def changes_of(view: Callable[..., object]) -> Changes:
    """Return what a view says about its headers."""
    for thing in (view, getattr(view, "view_class", None), getattr(view, "cls", None)):
        changes = getattr(thing, _MARK, None)
        if isinstance(changes, Changes):
            return changes
    return NO_CHANGES
