"""One reading of a body only, or a refusal."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.request import Request

from django_secure_auth.exceptions import MalformedRequest, TooLarge, UnsupportedMediaType
from django_secure_auth.strict.parsers import (
    MAX_BODY,
    MAX_DEPTH,
    MAX_MEMBERS,
    EmptyFormParser,
    StrictJSONParser,
    parse_object,
)
from django_secure_auth.strict.policy import MAX_DIGITS

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def parse(raw: bytes) -> dict[str, Any]:
    return StrictJSONParser().parse(io.BytesIO(raw))


def lists(depth: int) -> bytes:
    """An object around lists in each other, `depth` values below it."""
    return b'{"a":' + b"[" * (depth - 1) + b"1" + b"]" * (depth - 1) + b"}"


# --- what is taken -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"{}", {}),
        (b' \r\n\t{"a" : 1} ', {"a": 1}),
        (b'{"a":[1,-2.5e3,"x",true,null,{"a":1}]}', {"a": [1, -2500.0, "x", True, None, {"a": 1}]}),
        ('{"é":"😀\u2028"}'.encode(), {"é": "😀\u2028"}),
        (rb'{"a":"\ud83d\ude00\n\u0001"}', {"a": "😀\n\x01"}),
        (b'{"__proto__":{"a":1}}', {"__proto__": {"a": 1}}),
        (b'{"a":"' + b"x" * (MAX_BODY - 8) + b'"}', {"a": "x" * (MAX_BODY - 8)}),
        (lists(MAX_DEPTH), json.loads(lists(MAX_DEPTH))),
    ],
    ids=["empty", "blanks", "types", "utf-8", "escapes", "names", "as long as may be", "as deep as may be"],
)
def test_an_object_is_read(raw: bytes, value: dict[str, Any]) -> None:
    assert parse(raw) == parse_object(raw) == value


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.control("ASVS-1.5.3")
@pytest.mark.control("ASVS-15.3.7")
@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":1,"a":1}',
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[{"b":1,"b":2}]}',
        rb'{"a":1,"\u0061":2}',
    ],
)
def test_a_name_stands_once(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse(raw)


@pytest.mark.control("ASVS-1.3.3")
@pytest.mark.parametrize(
    "raw",
    [
        rb'{"a":"\u0000"}',
        rb'{"a":["b\u0000"]}',
        rb'{"\u0000":1}',
        b'{"a":"\0"}',
        rb'{"a":"\ud800"}',
        rb'{"a":"\udfff"}',
        rb'{"a":"\ude00\ud83d"}',
        rb'{"\ud800":1}',
        rb'{"a":{"b":["\udc00"]}}',
    ],
)
def test_neither_nul_nor_a_lone_surrogate_comes_in_anywhere(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse(raw)


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000, "01", "+1", ".5", "0x1"]
)
def test_a_number_is_a_finite_number_of_json(text: str) -> None:
    for raw in (f'{{"a":{text}}}', f'{{"a":[{text}]}}', text):
        with pytest.raises(MalformedRequest):
            parse(raw.encode())


@pytest.mark.parametrize("raw", [b"[]", b"[{}]", b'"{}"', b"1", b"true", b"null", b'["email"]'])
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    """R22: a JSON list as a body is a 400."""
    with pytest.raises(MalformedRequest):
        parse(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"{}{}",
        b"{} x",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1//x\n}',
        b'{"a":"\n"}',
        b"a=b",
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-16-le"),
        b'{"a":"\xff"}',
        b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xe9"}',
    ],
    ids=lambda raw: raw.decode("latin-1").encode("unicode_escape").decode(),
)
def test_what_is_no_json_in_utf_8_is_refused(raw: bytes) -> None:
    with pytest.raises(MalformedRequest):
        parse(raw)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100, 4000])
def test_what_is_nested_too_deep_is_refused(depth: int) -> None:
    with pytest.raises(MalformedRequest):
        parse(lists(depth))
    with pytest.raises(MalformedRequest):
        parse_object(b'{"a":' * depth + b"1" + b"}" * depth)


def members(count: int) -> bytes:
    """An object of as many names and items."""
    return b'{"a":[' + b",".join([b"1"] * (count - 1)) + b"]}"


def test_what_has_too_many_members_is_refused() -> None:
    assert len(parse(members(MAX_MEMBERS))["a"]) == MAX_MEMBERS - 1
    for raw in (members(MAX_MEMBERS + 1), b"{" + b",".join(b'"%d":1' % n for n in range(MAX_MEMBERS + 1)) + b"}"):
        with pytest.raises(MalformedRequest):
            parse(raw)


@pytest.mark.parametrize("digits", [MAX_DIGITS + 1, 4301, 10_000])
def test_a_number_is_not_longer_than_a_column(digits: int) -> None:
    assert parse(b'{"a":-' + b"1" * MAX_DIGITS + b"}") == {"a": -int("1" * MAX_DIGITS)}
    for sign in (b"", b"-"):
        with pytest.raises(MalformedRequest):
            parse(b'{"a":' + sign + b"1" * digits + b"}")


class Raised(StrictJSONParser):
    max_bytes = 40
    max_depth = 1
    max_members = 3
    allow_list = True


def test_a_subclass_has_limits_of_its_own() -> None:
    parser = Raised()
    assert parser.parse(io.BytesIO(b"[1,2,3]")) == [1, 2, 3]
    assert parser.parse(io.BytesIO(b"{}")) == {}
    for raw in (b"[1,2,3,4]", b"[[1]]", b"1", b"null"):
        with pytest.raises(MalformedRequest):
            parser.parse(io.BytesIO(raw))
    with pytest.raises(TooLarge):
        parser.parse(io.BytesIO(b" " * 41))


def test_what_is_too_large_is_refused_unread() -> None:
    class Endless(io.BytesIO):
        asked: int | None = 0

        def read(self, size: int | None = -1) -> bytes:
            Endless.asked = size
            return b"x" * (size or 0)

    with pytest.raises(TooLarge):
        StrictJSONParser().parse(Endless())
    assert Endless.asked == MAX_BODY + 1
    with pytest.raises(TooLarge):
        parse(b'{"a":"' + b"x" * (MAX_BODY - 7) + b'"}')


@pytest.mark.control("ASVS-2.2.1")
@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_a_refusal(raw: bytes) -> None:
    try:
        assert isinstance(parse(raw), dict)
    except MalformedRequest:
        pass


@given(st.text(alphabet='{}[]",:\\u0123456789eENaInfity-+. \n\0\ud800é'.replace("\ud800", ""), max_size=60))
def test_anything_like_json_is_an_object_or_a_refusal(text: str) -> None:
    try:
        assert isinstance(parse(text.encode()), dict)
    except MalformedRequest:
        pass


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_what_was_sent_is_what_is_read_unless_it_is_refused(value: dict[str, Any]) -> None:
    raw = json.dumps(value).encode()
    try:
        assert parse(raw) == value
    except (MalformedRequest, TooLarge):
        assert "\\u0000" in raw.decode() or len(raw) > MAX_BODY or raw.count(b"[") + raw.count(b"{") > MAX_DEPTH


# --- nothing at all ----------------------------------------------------------------------------------


def parse_form(raw: bytes) -> dict[str, Any]:
    return EmptyFormParser().parse(io.BytesIO(raw))


@pytest.mark.parametrize("raw", [b"--BoUnDaRyStRiNg--\r\n", b"--x--", b"\r\n--x--\r\n", b"----"])
def test_a_form_without_a_field_is_nothing(raw: bytes) -> None:
    assert parse_form(raw) == {}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"a=b",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n',
        b"--x\n--x--",
        b"--x",
        b"x--",
        b"--" + b"x" * 200 + b"--",
        b"{}",
    ],
)
def test_a_form_with_one_is_refused(raw: bytes) -> None:
    with pytest.raises(UnsupportedMediaType):
        parse_form(raw)


@given(st.binary(max_size=120))
def test_any_bytes_are_nothing_or_a_refusal(raw: bytes) -> None:
    try:
        assert parse_form(raw) == {}
    except UnsupportedMediaType:
        pass


# --- behind DRF --------------------------------------------------------------------------------------


def a_request(rf: RequestFactory, body: Any, content_type: str) -> Request:
    parsers: Any = [StrictJSONParser(), EmptyFormParser()]
    return Request(rf.generic("POST", "/", body, content_type), parsers=parsers)


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=latin-1", "Application/JSON"])
def test_json_is_utf_8_whatever_its_type_claims(content_type: str, rf: RequestFactory) -> None:
    assert a_request(rf, '{"a":"é"}'.encode(), content_type).data == {"a": "é"}


def test_the_test_clients_empty_post_is_nothing(rf: RequestFactory) -> None:
    request = Request(rf.post("/"), parsers=[EmptyFormParser()])
    assert dict(request.data) == {}


@pytest.mark.control("ASVS-3.5.2")
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "application/jsonp"])
@pytest.mark.django_db
def test_other_types_never_reach_an_endpoint(content_type: str) -> None:
    client = Client()
    response = client.post("/api/auth/logout/", "a=b", content_type=content_type)
    assert response.status_code == 415
