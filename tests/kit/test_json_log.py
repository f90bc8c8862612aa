"""Laws of kit.json_log."""

import json
import logging
import logging.config
import sys
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.json_log import LOGGER_NAME, MAX_LINE, MAX_MESSAGE, JSONFormatter, logging_preset

MEMBERS = ["timestamp", "event_type", "event", "severity", "message", "request_id", "details"]

# Everything that splits a line, moves a cursor or reorders text.
MARKS = [
    *map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)), "\u200e", "\u200f", "\u061c", "\u2028", "\u2029", "\ufeff", "\ud800", "\udfff",
]  # fmt: skip


def record(msg: Any = "hello", *args: Any, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("x", level, "file.py", 1, msg, args, None)
    made.created = 1735787045.678
    made.__dict__.update(extra)
    return made


def line(*args: Any, **extra: Any) -> str:
    return JSONFormatter().format(record(*args, **extra))


def parsed(*args: Any, **extra: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(line(*args, **extra))
    return made


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


class BrokenMapping(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1


def test_a_line_has_the_members_of_the_contract_in_their_order() -> None:
    made = parsed(
        "signed in %s",
        "again",
        event_type="AUTH_SUCCESS",
        event="authn_login_success",
        severity="info",
        request_id="r-1",
        details={"password": "x", "method": "pwd"},
    )
    assert list(made) == MEMBERS
    assert made == {
        "timestamp": "2025-01-02T03:04:05.678Z",
        "event_type": "auth_success",
        "event": "authn_login_success",
        "severity": "INFO",
        "message": "signed in again",
        "request_id": "r-1",
        "details": {"password": "[REDACTED]", "method": "pwd"},
    }


def test_a_plain_record_gets_defaults() -> None:
    made = parsed()
    assert list(made) == MEMBERS
    assert (made["event_type"], made["event"], made["severity"], made["request_id"], made["details"]) == (
        "log", "", "INFO", None, {},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        (logging.DEBUG, "INFO"),
        (logging.INFO, "INFO"),
        (25, "INFO"),
        (logging.WARNING, "MEDIUM"),
        (logging.ERROR, "HIGH"),
        (logging.CRITICAL, "CRITICAL"),
        (99, "CRITICAL"),
    ],
)
def test_the_severity_follows_from_the_level(level: int, severity: str) -> None:
    assert parsed(level=level)["severity"] == severity


def test_names_that_are_no_text_are_not_shown_and_a_uuid_is() -> None:
    name = uuid.UUID(int=7)
    made = parsed(event_type=object(), event=Unspeakable(), severity=5, request_id=name)
    assert (made["event_type"], made["event"], made["severity"]) == ("log", "", "INFO")
    assert made["request_id"] == str(name)


@pytest.mark.control("ASVS-16.4.1")
@pytest.mark.parametrize("mark", MARKS, ids=lambda mark: f"U+{ord(mark):04X}")
def test_a_mark_that_could_forge_a_line_is_escaped(mark: str) -> None:
    text = f'a{mark}b"}}'
    made = line(text, event_type=text, event=text, severity=text, request_id=text, details={text: [text]})
    assert made.isascii()
    assert made.isprintable()
    assert json.loads(made)["message"] == text
    assert json.loads(made)["details"] == {text: [text]}


@given(st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.floats() | st.binary()))
def test_a_line_is_one_json_object_in_one_line_whatever_the_input(text: str, details: dict[str, Any]) -> None:
    made = line(text, event_type=text, event=text, severity=text, request_id=text, details=details)
    assert made.isascii()
    assert len(made.splitlines()) == 1
    assert len(made) <= MAX_LINE
    assert list(json.loads(made)) == MEMBERS


def test_credentials_in_a_message_are_hidden() -> None:
    assert parsed("got %s", "Bearer abc")["message"] == "got Bearer [REDACTED]"


def test_a_long_message_is_cut() -> None:
    message = parsed("x " * 1_000_000)["message"]
    assert len(message) == MAX_MESSAGE
    assert message.endswith("…")


def test_details_too_long_for_the_line_give_way_to_a_marker() -> None:
    made = line("kept", details={"x": ["y" * 2_000] * 20})
    assert len(made) <= MAX_LINE
    assert json.loads(made)["details"] == {"truncated": True}
    assert json.loads(made)["message"] == "kept"


def test_a_message_that_grows_by_escaping_is_cut_to_the_line() -> None:
    worst = "\U0001f600" * 10_000
    made = line(worst, event_type=worst, event=worst, severity=worst, request_id=worst, details={"x": worst})
    assert len(made) <= MAX_LINE
    assert json.loads(made)["message"].startswith("\U0001f600")
    grows = "ΐ" * 10_000  # upper case: three characters each
    assert len(line(worst, event_type="İ" * 10_000, event=worst, severity=grows, request_id=worst)) <= MAX_LINE


def test_an_exception_shows_its_class_and_neither_text_nor_traceback() -> None:
    try:
        raise ValueError("hunter2")
    except ValueError:
        info = sys.exc_info()
    made = record("failed", details={"a": 1}, exc_info=info, exc_text="hunter2", stack_info="hunter2")
    text = JSONFormatter().format(made)
    assert json.loads(text)["details"] == {"a": 1, "exception": "ValueError"}
    assert "hunter2" not in text
    assert parsed("failed", exc_info=(None, None, None))["details"] == {}


def test_an_exception_logged_as_the_message_shows_its_class_only() -> None:
    assert parsed(ValueError("hunter2"))["message"] == "ValueError"


@pytest.mark.parametrize(
    ("msg", "args", "message"),
    [
        ("%s and %s", ("one",), "%s and %s"),
        ("%d", ("hunter2",), "%d"),
        ("%s", (Unspeakable(),), "%s"),
        (Unspeakable(), (), "A log message could not be formatted"),
    ],
)
def test_a_message_that_cannot_be_formatted_shows_its_template(msg: Any, args: tuple[Any, ...], message: str) -> None:
    assert parsed(msg, *args)["message"] == message


def test_details_that_are_no_mapping_are_kept_as_a_value() -> None:
    assert parsed(details=["a"])["details"] == {"value": ["a"]}


def test_details_that_raise_do_not_cost_the_event() -> None:
    made = parsed("kept", details=BrokenMapping())
    assert (made["message"], made["details"]) == ("kept", {"unreadable": True})


@pytest.mark.parametrize("extra", [{"created": float("nan")}, {"created": "x"}, {"exc_info": True}, {"levelno": "x"}])
def test_a_broken_record_is_still_one_line_and_never_raises(extra: dict[str, Any]) -> None:
    made = parsed("lost", **extra)
    assert list(made) == MEMBERS
    assert made["message"] == "A log record could not be formatted"
    assert made["severity"] == "MEDIUM"
    assert made["timestamp"].endswith("Z")


def test_the_record_stays_as_it_was_for_other_handlers() -> None:
    made = record("x %s", "y", details={"password": "z"})
    before = dict(made.__dict__)
    JSONFormatter().format(made)
    assert made.__dict__ == before


def test_the_preset_writes_json_to_stderr_and_leaves_other_loggers_alone(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger(LOGGER_NAME)
    before = (logger.handlers[:], logger.level, logger.propagate)
    try:
        preset = logging_preset("warning")
        assert preset["disable_existing_loggers"] is False
        logging.config.dictConfig(preset)
        logger.info("unseen")
        logger.warning("seen\nonce", extra={"event": "authn_login_fail"})
    finally:
        logger.handlers[:], level, logger.propagate = before
        logger.setLevel(level)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert json.loads(captured.err)["event"] == "authn_login_fail"


def test_the_preset_names_public_things_and_does_not_propagate() -> None:
    preset = logging_preset()
    assert preset["formatters"]["secure_auth_json"] == {"()": "django_secure_auth.kit.json_log.JSONFormatter"}
    assert preset["loggers"]["django_secure_auth.security"] == {
        "handlers": ["secure_auth_stderr"],
        "level": "INFO",
        "propagate": False,
    }


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="'LOUD'"):
        logging_preset("LOUD")
