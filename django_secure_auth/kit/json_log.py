"""One event, one line, one JSON object: whatever a request contains, it cannot write a second line into the log.

Log injection (CWE-117; ASVS 5.0 §16.4.1) needs a line break, or a mark that makes a terminal or a viewer show something
else than what is there. `json.dumps(ensure_ascii=True)` leaves printable ASCII and escapes everything else: C0, C1 and
DEL, U+2028/2029, U+FEFF, the bidirectional marks ("Trojan Source", CVE-2021-42574) and lone surrogates, which could
not be encoded as UTF-8 at all. That one argument is the whole defence; the tests hold it still.
"""

import datetime
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from django_secure_auth.kit.redact import redact_mapping, redact_text
from django_secure_auth.kit.siem import WHO, cef, ecs, ocsf

MAX_LINE = 16_384
"""Bytes (the line is ASCII). Collectors split or drop longer ones: syslog, journald, Docker."""

MAX_MESSAGE = 2_048
_SHORT_MESSAGE = 512
_MAX_NAME = 128
_MAX_WHO = 128

LOGGER_NAME = "django_secure_auth.security"

_SEVERITIES = ((logging.CRITICAL, "CRITICAL"), (logging.ERROR, "HIGH"), (logging.WARNING, "MEDIUM"))


class JSONFormatter(logging.Formatter):
    """Format a record as one JSON object in one line of at most 16 KiB of ASCII; never raises.

    Members, in this order: `timestamp` (RFC 3339, UTC, milliseconds), `event_type` (lower case), `event`, `severity`
    (upper case), `message`, `request_id` (or null), `details`. All but the first and the message are read from the
    record's `extra`; a record without them is a `"log"` whose severity follows from its level: CRITICAL, ERROR → HIGH,
    WARNING → MEDIUM, below → INFO.

    `details` and the message are redacted (`kit.redact`). Of an exception only the class is named, as
    `details.exception`: its text and its traceback may hold a secret (OWASP Logging Cheat Sheet, "Data to exclude").
    Details that make the line too long are replaced by `{"truncated": true}`, beside who the event is about.

    A record whose `audit_format` is `"ecs"`, `"ocsf"` or `"cef"` has the shape of `kit.siem` instead, within the same
    bounds.
    """

    def format(self, record: logging.LogRecord) -> str:
        # An error here would be printed by logging with the whole record, unescaped and unredacted, and the event lost.
        try:
            return _line(record)
        except Exception:
            return _dump(_unreadable())


def logging_preset(level: str = "INFO") -> dict[str, Any]:
    """Return a value for Django's `LOGGING`: security events as JSON lines on stderr, other loggers as they were.

    Raises ValueError if `level` is not a name known to `logging`.
    """
    name = level.upper()
    if name not in logging.getLevelNamesMapping():
        raise ValueError(f"unknown log level: {level!r}")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"secure_auth_json": {"()": "django_secure_auth.kit.json_log.JSONFormatter"}},
        "handlers": {
            "secure_auth_stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "secure_auth_json",
            }
        },
        # propagate: otherwise the root logger prints every event again, in a format that escapes nothing.
        "loggers": {LOGGER_NAME: {"handlers": ["secure_auth_stderr"], "level": name, "propagate": False}},
    }


def _line(record: logging.LogRecord) -> str:
    members: dict[str, Any] = {
        "timestamp": _timestamp(record.created),
        "event_type": (_name(record, "event_type") or "log").lower(),
        "event": _name(record, "event") or "",
        "severity": (_name(record, "severity") or _severity(record.levelno)).upper(),
        "message": _message(record),
        "request_id": _name(record, "request_id"),
        "details": _details(record),
    }
    shape = _SHAPES.get(getattr(record, "audit_format", "json"), _dump)
    line = shape(members)
    if len(line) > MAX_LINE:
        members["details"] = {**_who(members["details"]), "truncated": True}
        line = shape(members)
    if len(line) > MAX_LINE:
        # 2,048 emoji are 24,576 characters once escaped (12 each); 512 of them, and the names, fit.
        members["message"] = members["message"][:_SHORT_MESSAGE]
        line = shape(members)
    return line


def _who(details: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(details[name])[:_MAX_WHO] for name in sorted(WHO) if name in details}


def _dump(members: dict[str, Any]) -> str:
    return json.dumps(members, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


_SHAPES: dict[str, Callable[[dict[str, Any]], str]] = {
    "json": _dump,
    "ecs": lambda members: _dump(ecs(members)),
    "ocsf": lambda members: _dump(ocsf(members)),
    "cef": cef,
}


def _unreadable() -> dict[str, Any]:
    return {
        "timestamp": _timestamp(datetime.datetime.now(datetime.UTC).timestamp()),
        "event_type": "log",
        "event": "",
        "severity": "MEDIUM",
        "message": "A log record could not be formatted",
        "request_id": None,
        "details": {},
    }


def _timestamp(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _severity(level: int) -> str:
    return next((name for least, name in _SEVERITIES if level >= least), "INFO")


def _name(record: logging.LogRecord, attribute: str) -> str | None:
    """A short text of the record's, None if there is none: other objects' texts are not for a log."""
    value = getattr(record, attribute, None)
    if isinstance(value, str) and value:
        return redact_text(str.__str__(value), limit=_MAX_NAME)
    return str(value) if isinstance(value, uuid.UUID) else None


def _message(record: logging.LogRecord) -> str:
    if isinstance(record.msg, BaseException):
        return type(record.msg).__name__[:_MAX_NAME]
    try:
        message = record.getMessage()
    except Exception:
        # Wrong arguments, or one whose text raises. The template says which event it was; the arguments are dropped.
        message = record.msg if isinstance(record.msg, str) else "A log message could not be formatted"
    return redact_text(message, limit=MAX_MESSAGE)


def _details(record: logging.LogRecord) -> dict[str, Any]:
    details = getattr(record, "details", None)
    if details is None:
        redacted: dict[str, Any] = {}
    else:
        try:
            redacted = redact_mapping(details if isinstance(details, Mapping) else {"value": details})
        except Exception:
            redacted = {"unreadable": True}  # a mapping that raises while it is read must not cost the event
    if record.exc_info and record.exc_info[0] is not None:
        redacted["exception"] = record.exc_info[0].__name__[:_MAX_NAME]
    return redacted
