"""A JSON parser that accepts one reading of a body only."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any, ClassVar, NoReturn

from rest_framework.parsers import BaseParser

from django_secure_auth.exceptions import MalformedRequest, TooLarge, UnsupportedMediaType
from django_secure_auth.strict.policy import MAX_DIGITS, judge

MAX_BODY = 16 * 1024
"""Bytes. A sign-in is under 2 KiB; a megabyte of password is refused before anything hashes it."""
MAX_DEPTH = 8
MAX_MEMBERS = 1000
"""Names and items, over the whole body."""
MAX_BOUNDARY = 80


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _integer(text: str) -> int:
    if len(text.removeprefix("-")) > MAX_DIGITS:
        raise ValueError("too long a number")
    return int(text)


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


def _read(raw: bytes, *, max_depth: int, max_members: int, allow_list: bool = False) -> Any:
    try:
        text = raw.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        judge(value, max_depth=max_depth, max_members=max_members)
    except (ValueError, RecursionError):
        raise MalformedRequest from None
    if not isinstance(value, dict | list if allow_list else dict):
        raise MalformedRequest
    return value


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read a JSON object: UTF-8, unique names, no NaN, no NUL, no lone surrogate, at most 8 deep, 1,000 members large.

    Raises MalformedRequest. Source: RFC 8259; RFC 7493 (I-JSON).
    """
    value: dict[str, Any] = _read(raw, max_depth=MAX_DEPTH, max_members=MAX_MEMBERS)
    return value


class StrictJSONParser(BaseParser):
    """DRF parser for `application/json`: at most `max_bytes` bytes, strictly one object.

    A view that needs more says so in a subclass; the numbers are the defaults of all of ours:

        class ImportParser(StrictJSONParser):
            max_bytes = 1_000_000   # beyond: 413 too_large
            max_depth = 12          # beyond: 400 malformed_request
            max_members = 50_000    # names and items over the whole body; beyond: 400 malformed_request
            allow_list = True       # a list may be the body, for bulk routes
    """

    media_type = "application/json"
    max_bytes: ClassVar[int] = MAX_BODY
    max_depth: ClassVar[int] = MAX_DEPTH
    max_members: ClassVar[int] = MAX_MEMBERS
    allow_list: ClassVar[bool] = False

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        raw = stream.read(self.max_bytes + 1)
        if len(raw) > self.max_bytes:
            raise TooLarge
        return _read(raw, max_depth=self.max_depth, max_members=self.max_members, allow_list=self.allow_list)


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
