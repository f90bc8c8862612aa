"""Write an event: one log line at once, one row that survives a rolled-back request."""

from __future__ import annotations

import logging
import re
from contextlib import nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

from django.db import router, transaction

from django_secure_auth.audit import events
from django_secure_auth.audit.events import Event
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.conf import conf
from django_secure_auth.kit.client_ip import address_prefix
from django_secure_auth.kit.redact import redact_mapping
from django_secure_auth.kit.window import Window
from django_secure_auth.prepared import PreparedInsert
from django_secure_auth.request_scope import AnyRequest, Scope, at_end_of_request, current_scope, scope_of
from django_secure_auth.signals import security_event

logger = logging.getLogger("django_secure_auth.security")
_LEVEL = {"INFO": logging.INFO, "LOW": logging.INFO, "MEDIUM": logging.WARNING, "HIGH": logging.ERROR}

# `sid`: the redaction hides whatever is called session id, since Django's is a credential. Ours is a name.
_IN_LINE = {
    "user_id": "user_id",
    "actor_id": "actor_id",
    "sid": "session_id",
    "ip_address": "ip_address",
    "user_agent": "user_agent",
}


_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def _storable(value: Any) -> Any:
    """NUL is refused by PostgreSQL, a lone surrogate by every encoder: no event may be lost over one."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {_storable(name): _storable(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(member) for member in value]
    return value


def _id_of(thing: Any) -> str:
    """Ids, never names: an address in the trail would outlive the account. An anonymous user has none."""
    thing = getattr(thing, "pk", thing)
    return "" if thing is None else str(_storable(str(thing)))[:64]


def _actor(actor: Any, scope: Scope | None, user: Any) -> Any:
    if actor is None and scope is not None:
        actor = scope.impersonator
    return user if actor is None else actor


def record(
    event: Event,
    /,  # a host's detail may be named `event` too
    *,
    request: AnyRequest | None = None,
    user: Any = None,
    actor: Any = None,
    session_id: Any = None,
    ip_address: str | None = None,
    **details: Any,
) -> None:
    """Write `event` to the log and to the table; `user` and `actor` are users or their ids.

    Without an `actor` it is whoever impersonates the user in this request, else the user.

    The line is written at once; the row is written at the end of the request, in one statement with the request's
    others and behind its transaction, so that the refusal which it tells of cannot erase it. Details are redacted
    before they go anywhere. A table that cannot be written is logged and stops nobody: the line stands.
    """
    scope = scope_of(request) if request is not None else current_scope()
    safe_details = _storable(redact_mapping(details))
    row = SecurityEvent(
        event_type=event.kind.value,
        event=event.name,
        severity=event.severity,
        message=event.message,
        user_id=_id_of(user),
        actor_id=_id_of(_actor(actor, scope, user)),
        session_id=_id_of(session_id)[:36],
        ip_address=_storable(ip_address or (scope.ip_address if scope else "") or "")[:45],
        user_agent=scope.user_agent if scope else "",
        request_id=scope.request_id if scope else "",
        details=safe_details,
    )
    sinks = conf.AUDIT_SINKS
    if "log" in sinks:
        _write_line(event, row)
    if event.is_free and not _has_room(event, row.ip_address):
        return
    if "table" in sinks:
        at_end_of_request(_write_rows, row)
    # A receiver that records is not told of what it has recorded, which would have no end.
    if "signal" in sinks and not _is_telling.get() and security_event.has_listeners(SecurityEvent):
        at_end_of_request(_send_after_commit, row)


_is_telling: ContextVar[bool] = ContextVar("django_secure_auth_telling", default=False)


def _send_after_commit(*rows: SecurityEvent) -> None:
    # Behind a request nothing is open. In a task or a shell it is the caller's, and may still be rolled back.
    transaction.on_commit(partial(_send, *rows), using=router.db_for_write(SecurityEvent))


def _send(*rows: SecurityEvent) -> None:
    token = _is_telling.set(True)
    try:
        for row in rows:
            security_event.send_robust(SecurityEvent, event=row)  # Django logs a receiver that fails
    finally:
        _is_telling.reset(token)


_ROWS_A_MINUTE = 20
_written: Window[tuple[str, str]] = Window(60)


def _has_room(event: Event, address: str) -> bool:
    # Or whoever can send a request could fill the disk: twenty rows a minute say as much as a million. By /64: one
    # IPv6 host has as many addresses as it likes.
    return _written.count((event.name, address_prefix(address))) <= _ROWS_A_MINUTE


def tell(event: Event, /, **details: Any) -> None:
    """Write the log line of `event` and no row: for what has a table of its own, such as seals."""
    if "log" in conf.AUDIT_SINKS:
        _write_line(event, SecurityEvent(details=_storable(redact_mapping(details))))


def _write_line(event: Event, row: SecurityEvent) -> None:
    level = _LEVEL[event.severity]
    if not logger.isEnabledFor(level):
        return
    named = {name: value for name, column in _IN_LINE.items() if (value := getattr(row, column))}
    logger.log(
        level,
        "%s",
        event.message,
        extra={
            "event_type": event.kind.value,
            "event": event.name,
            "severity": event.severity,
            "request_id": row.request_id or None,
            "details": {**row.details, **named},
            "audit_format": conf.AUDIT_FORMAT,
        },
    )


_insert = PreparedInsert(SecurityEvent)
_ROWS_A_STATEMENT = 50


def _write_rows(*rows: SecurityEvent) -> None:
    for first in range(0, len(rows), _ROWS_A_STATEMENT):
        _write_together(*rows[first : first + _ROWS_A_STATEMENT])


def _write_together(*rows: SecurityEvent) -> None:
    using = router.db_for_write(SecurityEvent)
    inside = transaction.get_connection(using).in_atomic_block
    try:
        # In a transaction of the caller's (a task, a shell) a failure must not take that down.
        with transaction.atomic(using=using) if inside else nullcontext():
            _insert.insert(*rows)
    except Exception:
        if len(rows) > 1:  # one that cannot be stored must not take the others with it
            for row in rows:
                _write_together(row)
            return
        logger.exception(
            "A security event could not be stored; its log line stands.", extra={"audit_format": conf.AUDIT_FORMAT}
        )


class SecurityLogger:
    """The events of the field in plain words, for a host's own code.

    `ip_address` defaults to that of the request in progress. Further details may have any name; `request`, `actor`
    and `session_id` mean what they mean to `record`.
    """

    def log_auth_success(self, /, *, user: Any = None, ip_address: str | None = None, **details: Any) -> None:
        record(events.LOGIN_SUCCESS, user=user, ip_address=ip_address, **details)

    def log_auth_failure(
        self, /, *, user: Any = None, reason: str = "", ip_address: str | None = None, **details: Any
    ) -> None:
        record(events.LOGIN_FAIL, user=user, ip_address=ip_address, reason=reason, **details)

    def log_authz_failure(
        self,
        /,
        *,
        user: Any = None,
        resource: str = "",
        required_roles: Any = (),
        ip_address: str | None = None,
        **details: Any,
    ) -> None:
        record(
            events.AUTHZ_FAIL,
            user=user,
            ip_address=ip_address,
            resource=resource,
            required_roles=list(required_roles),
            **details,
        )

    def log_rate_limit(
        self, /, *, endpoint: str = "", ip_address: str | None = None, limit: str = "", **details: Any
    ) -> None:
        record(events.RATE_LIMIT, ip_address=ip_address, endpoint=endpoint, limit=limit, **details)

    def log_validation_failure(
        self, /, *, endpoint: str = "", errors: Any = (), ip_address: str | None = None, **details: Any
    ) -> None:
        record(events.INPUT_FAIL, ip_address=ip_address, endpoint=endpoint, errors=errors, **details)

    def log_suspicious(self, /, *, description: str = "", ip_address: str | None = None, **details: Any) -> None:
        record(events.SUSPICIOUS, ip_address=ip_address, description=description, **details)


security_logger = SecurityLogger()
