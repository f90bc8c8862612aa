"""A limit of a host's own view: how much, of whom, and for which methods."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from django_secure_auth.conf import conf
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.rate import Rate
from django_secure_auth.ratelimit.services import reserve_at
from django_secure_auth.request_scope import AnyRequest, plain_request, scope_of

Per = str | Callable[[Any], str | None]
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Limit:
    """Rates of one limit, counted for each caller by itself. Made by `limit_of`, which refuses nonsense."""

    rates: tuple[Rate, ...]
    per: Per
    methods: frozenset[str]
    name: str
    """Views that share it share the counters; "" is each view by itself."""
    fail_open: bool | None
    """Whether everybody passes while the cache is away, or nobody; None is what RATE_LIMIT_WHEN_AWAY says of views."""

    def __str__(self) -> str:
        per = self.per if isinstance(self.per, str) else getattr(self.per, "__name__", "a function")
        return f"{', '.join(f'{rate.limit}/{rate.seconds}s' for rate in self.rates)} per {per}"

    def count(self, request: AnyRequest, *, view: str) -> None:
        """Count one request before the view runs. Raises LimitReached, and StateUnavailable unless it fails open."""
        if request.method not in self.methods:
            return
        who = _caller(self.per, request)
        if who is not None:
            parts = (self.name or view, *who)
            user = getattr(request, "user", None)
            fail_open = conf.RATE_LIMIT_WHEN_AWAY["view"] == "open" if self.fail_open is None else self.fail_open
            reserve_at(self.rates, self.name or "view", *parts, request=request, fail_open=fail_open, user=user)


def limit_of(rate: str, *, per: Per, methods: Iterable[str] | None, name: str | None, fail_open: bool | None) -> Limit:
    """Return the limit that these words mean. Raises ImproperlyConfigured when they mean none."""
    try:
        parsed = Rate.parse_several(rate)
    except ValueError as error:
        raise ImproperlyConfigured(f"rate_limit: {error}.") from None
    if not callable(per) and per not in _CALLERS:
        raise ImproperlyConfigured(f"rate_limit: per is one of {', '.join(_CALLERS)}, or a function, not {per!r}.")
    if name is not None and not _NAME.fullmatch(str(name)):
        raise ImproperlyConfigured(f"rate_limit: a name is of small letters, digits, - and _, not {name!r}.")
    return Limit(parsed, per, _methods_of(methods), name or "", fail_open)


def _methods_of(methods: Iterable[str] | None) -> frozenset[str]:
    if methods is None:
        return METHODS  # all but OPTIONS: a browser's preflight is no request of the caller's
    named = frozenset(methods)
    if isinstance(methods, str) or not named or not named <= METHODS:
        raise ImproperlyConfigured(f"rate_limit: methods are some of {', '.join(sorted(METHODS))}, not {methods!r}.")
    return named | {"HEAD"} if "GET" in named else named  # Django answers HEAD with GET


# --- who is counted ----------------------------------------------------------------------------------


def _address(request: AnyRequest) -> tuple[str, ...]:
    return ("ip", address_prefix(scope_of(request).ip_address))


def _user(request: AnyRequest) -> tuple[str, ...]:
    user: Any = getattr(request, "user", None)
    # All who are not signed in are one caller: what they use up is theirs.
    return ("user", str(user.pk)) if getattr(user, "is_authenticated", False) is True else ("nobody",)


def _user_or_address(request: AnyRequest) -> tuple[str, ...]:
    who = _user(request)
    return _address(request) if who == ("nobody",) else who


def _api_key(request: AnyRequest) -> tuple[str, ...]:
    # One that was proven: whoever invents a new one for each request would never be counted twice.
    if getattr(getattr(request, "auth", None), "kind", None) == "api_key":
        return ("api_key", plain_request(request).META["HTTP_X_API_KEY"])
    return _user_or_address(request)


_CALLERS: dict[str, Callable[[AnyRequest], tuple[str, ...]]] = {
    "ip": _address,
    "user": _user,
    "user_or_ip": _user_or_address,
    "api_key": _api_key,
}


def _caller(per: Per, request: AnyRequest) -> tuple[str, ...] | None:
    if isinstance(per, str):
        return _CALLERS[per](request)
    named = per(request)
    if named is None:
        return None
    if not isinstance(named, str):
        raise TypeError(f"A function that names who is counted returns text or None, not {type(named).__name__}.")
    return ("named", named)
