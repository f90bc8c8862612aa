"""What belongs to one request: how it proved who it is, its id, where it came from, and what must be written after it.

With `ATOMIC_REQUESTS`, a view that refuses takes its transaction down, and with it whatever was written
inside. An audit row of the refusal, or a session's last-seen, must not go the same way, and must not hold
a row lock for as long as a host's view runs either. `after_transaction` defers such writes until the view's
transaction has ended; `IdleTimeoutMiddleware` opens the scope and runs them.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest
from rest_framework.request import Request

from django_secure_auth.conf import conf
from django_secure_auth.kit.client_ip import client_ip
from django_secure_auth.kit.user_agent import device_label

logger = logging.getLogger("django_secure_auth")

AnyRequest = HttpRequest | Request
MAX_USER_AGENT = 256


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a permission has refused. Whether that was the last word (`A | B`) shows the answer: see `refusal`."""

    code: str
    details: dict[str, Any]


class Scope:
    """The same values for limits, sessions and audit: whoever counts and whoever writes agree.

    Read when first asked for: most requests neither count nor write. The id is ours, a client's is not trusted.
    """

    def __init__(self, meta: Mapping[str, Any]) -> None:
        # Copied, since holding the request, which holds this, would keep both until the garbage collector comes.
        self._sender = meta.get("REMOTE_ADDR"), meta.get("HTTP_X_FORWARDED_FOR")
        self._user_agent = meta.get("HTTP_USER_AGENT", "")
        self.deferred: list[Callable[[], object]] = []
        self.collected: dict[Callable[..., object], list[Any]] = {}
        self.refusal: Refusal | None = None
        self.impersonator: Any = None
        """The id of whoever acts in the user's name: the actor of what is written in this request."""
        self.suspicions: list[Refusal] = []
        """What a middleware without tables has met, refused or not; written at the end of the request."""

    @cached_property
    def request_id(self) -> str:
        return secrets.token_hex(16)

    @cached_property
    def ip_address(self) -> str | None:
        proxies = conf.TRUSTED_PROXIES
        return client_ip(*self._sender, tuple(proxies) if isinstance(proxies, list) else proxies)

    @cached_property
    def user_agent(self) -> str:
        return _printable(self._user_agent, MAX_USER_AGENT)

    @cached_property
    def device_label(self) -> str:
        return device_label(self.user_agent)


_current: ContextVar[Scope | None] = ContextVar("django_secure_auth_scope", default=None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """`request.auth`: how this request proved who it is. `kind` is `cookie`, `bearer` or `api_key`."""

    session_id: UUID | None
    amr: tuple[str, ...]
    auth_time: datetime
    kind: str
    scopes: frozenset[str] = frozenset()
    impersonator: Any = None
    """The id of whoever of the staff is signed in as the user; None for the user."""


def plain_request(request: AnyRequest) -> HttpRequest:
    """Return Django's request behind DRF's."""
    return request._request if isinstance(request, Request) else request


def carries_api_key(request: AnyRequest) -> bool:
    """Tell whether a request has the header of an API key, whatever it holds."""
    return "HTTP_X_API_KEY" in plain_request(request).META


def _printable(text: str, limit: int) -> str:
    # Latin-1 bytes from the wire: control characters would reach mails, logs and admin columns.
    return "".join(character if character.isprintable() else " " for character in text[:limit]).strip()


def scope_of(request: AnyRequest) -> Scope:
    """Return the scope of a request, made at the first call."""
    bare = plain_request(request)
    scope: Scope | None = getattr(bare, "_secure_auth_scope", None)
    if scope is None:
        scope = Scope(bare.META)
        bare._secure_auth_scope = scope  # type: ignore[attr-defined]  # our own mark on Django's request
    return scope


def current_scope() -> Scope | None:
    """Return the scope that is open in this thread or task, for callers that hold no request."""
    return _current.get()


@contextmanager
def open_scope(request: HttpRequest) -> Iterator[Scope]:
    """Make the request's scope the current one. Whoever opens it calls `run_deferred` at the end."""
    scope = scope_of(request)
    token = _current.set(scope)
    try:
        yield scope
    finally:
        _current.reset(token)


def after_transaction(write: Callable[[], object], *, using: str | None = None) -> None:
    """Run `write` now, or, inside a transaction of a request in scope, when that transaction has ended.

    Unlike `transaction.on_commit` it runs after a rollback too. Outside of any scope (a shell, a task) the
    transaction is the caller's own, and so is what it rolls back: `write` runs inside it.
    """
    scope = _current.get()
    if scope is not None and transaction.get_connection(using).in_atomic_block:
        scope.deferred.append(write)
    else:
        write()


def at_end_of_request(write: Callable[..., object], item: object) -> None:
    """Call `write(*items)` once at the end of the request in scope, with the items of all such calls; else now."""
    scope = _current.get()
    if scope is None:
        write(item)
    else:
        scope.collected.setdefault(write, []).append(item)


def run_deferred(scope: Scope) -> None:
    """Run what was deferred, in order; one failure neither stops the others nor the response."""
    while scope.deferred or scope.collected:  # a write may itself defer one
        if scope.deferred:
            write = scope.deferred.pop(0)
        else:
            write_all = next(iter(scope.collected))  # rows before whoever is told of them
            write = partial(write_all, *scope.collected.pop(write_all))
        try:
            write()
        except Exception:
            logger.exception("A write that had waited for the end of the request failed.")
