"""A JSON parser that accepts one reading of a body only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any, NoReturn

from rest_framework.parsers import BaseParser

from django_secure_auth.exceptions import MalformedRequest, TooLarge, UnsupportedMediaType

MAX_BODY = 16 * 1024
"""Bytes. A sign-in is under 2 KiB; a megabyte of password is refused before anything hashes it."""
MAX_DEPTH = 8
MAX_BOUNDARY = 80


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e999: no serializer can write it back
        raise ValueError("too large a number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two readers of {"a": 1, "a": 2} may see different things (RFC 8259 §4): whoever validates and whoever
    # acts must not.
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate member name")
    return result


def _judge(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    if isinstance(value, str):
        # NUL is refused by PostgreSQL, a lone surrogate by every encoder: both would be a 500 later.
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise ValueError("NUL or lone surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            _judge(name, depth + 1)
            _judge(member, depth + 1)
    elif isinstance(value, list):
        for member in value:
            _judge(member, depth + 1)


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object: UTF-8, unique names, no NaN, no NUL, no lone surrogate, at most 8 deep.

    Raises MalformedRequest. Source: RFC 8259; RFC 7493 (I-JSON).
    """
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant, parse_float=_finite)
        _judge(value)
    except (ValueError, RecursionError):
        raise MalformedRequest from None
    if not isinstance(value, dict):
        raise MalformedRequest
    return value


class StrictJSONParser(BaseParser):
    """DRF parser for `application/json`: at most `MAX_BODY` bytes, strictly one object."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        raw = stream.read(MAX_BODY + 1)
        if len(raw) > MAX_BODY:
            raise TooLarge
        return parse_object(raw)


class EmptyFormParser(BaseParser):
    """A form without a field counts as no body; one with a field is 415. For endpoints that take nothing."""

    media_type = "multipart/form-data"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        # The closing boundary alone: nothing is parsed, so nothing hostile can be.
        raw = stream.read(MAX_BOUNDARY + 1).strip()
        if len(raw) > MAX_BOUNDARY or b"\n" in raw or not (raw.startswith(b"--") and raw.endswith(b"--")):
            raise UnsupportedMediaType
        return {}
