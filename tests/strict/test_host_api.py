"""A host's own API on strict serializers and parser: any JSON is taken or refused, never a defect."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import pytest
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.generics import ListCreateAPIView, RetrieveUpdateAPIView
from rest_framework.parsers import FormParser, JSONParser
from rest_framework.permissions import AllowAny
from rest_framework.test import APIClient

from django_secure_auth.problems import MEDIA_TYPE
from django_secure_auth.strict import StrictModelSerializer, StrictSerializer
from django_secure_auth.strict.parsers import StrictJSONParser
from tests.browser import make_user
from tests.host_app.models import Project, Sample, Tag

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]
QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
quick = settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
long = settings(max_examples=4000, deadline=None, suppress_health_check=QUIET)


GOOD: dict[str, Any] = {
    "char": "a", "text": "a\nb", "email": "a@example.com", "slug": "a-b", "url": "https://example.com/",
    "identifier": "a-b", "uuid": "12345678-1234-5678-1234-567812345678", "address": "2001:db8::1", "boolean": True,
    "maybe": None, "small": 5, "integer": -5, "big": 2**63 - 1, "real": 1.5, "decimal": "1.10",
    "moment": "2026-01-31T10:00:00Z", "day": "2026-01-31", "time": "10:30:00", "duration": "1 00:00:00",
    "json": {"a": [1, None]}, "choice": "blue", "number": 2, "project": None, "tags": [],
}  # fmt: skip


class Extra(serializers.Serializer[Any]):
    count = serializers.IntegerField(required=False)
    flag = serializers.BooleanField(required=False)
    words: Any = serializers.ListField(child=serializers.CharField(), required=False)
    price = serializers.DecimalField(max_digits=None, decimal_places=2, required=False)
    free = serializers.JSONField(required=False)


class SampleSerializer(StrictModelSerializer[Sample]):
    extra = Extra(required=False, write_only=True)
    extras = Extra(required=False, write_only=True, many=True)

    class Meta:
        model = Sample
        fields = ("id", *GOOD, "extra", "extras")

    def create(self, validated_data: Any) -> Any:
        return super().create(self._plain(validated_data))

    def update(self, instance: Any, validated_data: Any) -> Any:
        return super().update(instance, self._plain(validated_data))

    def _plain(self, validated_data: Any) -> Any:
        return {name: value for name, value in validated_data.items() if name not in {"extra", "extras"}}


class Loose(JSONParser):
    """DRF's own, which lets NUL, 1e999 and anything of any depth through."""


class SampleView(ListCreateAPIView[Sample], RetrieveUpdateAPIView[Sample]):
    queryset = Sample.objects.order_by("pk")
    serializer_class = SampleSerializer
    permission_classes = (AllowAny,)
    parser_classes: Any = (StrictJSONParser,)

    def get(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return self.retrieve(request) if kwargs else self.list(request)


class LooselyParsed(SampleView):
    parser_classes = (Loose, FormParser)


class BulkParser(StrictJSONParser):
    max_bytes: ClassVar[int] = 200_000
    max_depth: ClassVar[int] = 20
    max_members: ClassVar[int] = 20_000
    allow_list: ClassVar[bool] = True


class Numbers(StrictSerializer):
    numbers: Any = serializers.ListField(child=serializers.IntegerField())
    free = serializers.JSONField(required=False)


class BulkView(SampleView):
    parser_classes = (BulkParser,)

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        return Numbers(*args, **{**kwargs, "many": isinstance(kwargs.get("data"), list)})

    def perform_create(self, serializer: Any) -> None:
        pass


urlpatterns = [
    path("samples/", SampleView.as_view()),
    path("samples/<int:pk>/", SampleView.as_view()),
    path("loose/", LooselyParsed.as_view()),
    path("loose/<int:pk>/", LooselyParsed.as_view()),
    path("bulk/", BulkView.as_view()),
]


def send(method: str, target: str, body: Any, content_type: str = "application/json") -> Any:
    client = APIClient(raise_request_exception=False)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.generic(method, target, raw, content_type)


# --- taken -------------------------------------------------------------------------------------------


def test_what_is_right_is_taken_and_comes_back() -> None:
    answer = send("POST", "/samples/", GOOD)
    assert answer.status_code == 201, answer.content
    shown = answer.json()
    assert {**GOOD, "id": shown["id"]} == shown
    shown.pop("id")
    assert send("PUT", f"/samples/{Sample.objects.get().pk}/", shown).status_code == 200
    assert send("POST", "/samples/", {**GOOD, "extra": {"count": 1}, "extras": [{"flag": True}]}).status_code == 201


@pytest.mark.control("ASVS-15.3.5")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (1, True, ["a"], {})) for name in ("char", "text", "email", "slug", "url", "identifier")),
        *((name, (1, True, [], {})) for name in ("uuid", "address")),
        ("boolean", ("true", "yes", 1, 0, None)),
        ("maybe", ("null", "", 1)),
        *((name, ("1", 1.0, True, "", [])) for name in ("small", "integer", "big", "project", "number")),
        ("real", ("1.5", True)),
        ("decimal", (True, "1e1", "NaN", [])),
        *((name, (1, 1.5, True)) for name in ("moment", "day", "time", "duration")),
        ("choice", (1, True, ["red"])),
        ("tags", ({"1": 1}, "1", [True], ["1"])),
        ("big", (2**63, 10**30)),
        ("small", (-1, 2**63)),
        ("identifier", ("1a", "a__b", "a b", "a\nb", "ä", "a-", "a" * 65, "../a")),
        ("id", (1,)),
        ("unknown", (1,)),
        ("is_staff", (True,)),
        ("extra", ({"x": 1}, {"count": "1"}, [], {"free": {"a": "\0"}}, {"words": ["a", 1]})),
        ("extras", ([{"x": 1}], [{"flag": 1}], {}, [1])),
    ],
)  # fmt: skip
def test_what_is_not_is_a_400_that_names_the_field(name: str, values: tuple[Any, ...]) -> None:
    for value in values:
        for target in ("/samples/", "/loose/"):
            answer = send("POST", target, {**GOOD, name: value})
            assert answer.status_code == 400, (value, answer.content)
            if answer.json()["code"] == "validation_error":
                assert set(answer.json()["errors"]) == {name}
            else:
                assert target == "/samples/"
    assert not Sample.objects.exists()


def test_a_form_is_read_as_text_and_as_strict_in_names() -> None:
    kind = "application/x-www-form-urlencoded"
    assert send("POST", "/loose/", b"char=a&boolean=true&integer=5", kind).status_code == 201
    assert send("POST", "/loose/", b"char=a&is_staff=true", kind).status_code == 400


# --- limits that a host's view raises ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"numbers": [0] * 5000}, 201, None),
        ([{"numbers": [1]}, {"numbers": []}], 201, None),
        ({"numbers": [0] * 20_001}, 400, "malformed_request"),
        ({"numbers": [], "free": "x" * 200_000}, 413, "too_large"),
        (b'{"numbers":[],"free":' + b"[" * 30 + b"]" * 30 + b"}", 400, "malformed_request"),
        (b'{"numbers":[],"free":' + b"[" * 15 + b"]" * 15 + b"}", 201, None),
        ("numbers", 400, "malformed_request"),
    ],
    ids=["many", "a list", "too many", "too large", "too deep", "deep", "neither"],
)
def test_a_view_may_raise_the_parsers_limits(body: Any, status: int, code: str | None) -> None:
    answer = send("POST", "/bulk/", body)
    assert answer.status_code == status
    if code:
        assert answer.json()["code"] == code


def test_others_keep_theirs() -> None:
    assert send("POST", "/samples/", {"json": [0] * 1001}).status_code == 400
    assert send("POST", "/samples/", [GOOD]).status_code == 400


# --- anything ----------------------------------------------------------------------------------------

texts = st.text(max_size=40) | st.sampled_from(
    [
        "", "\0", "true", "null", "1", "1.0", "1e400", "NaN", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00",
        "0001-01-01", "9999-12-31", "24:00", "999999999 00:00:00", "P9999999999D", "http://[", "::ffff:0:0", "1" * 101,
        "a" * 300, "12345678-1234-5678-1234-567812345678", "red", "2026-02-30", "10:30", "a@b.c",
    ]
)  # fmt: skip
numbers = (
    st.integers()
    | st.floats()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**40, 10**99, 10**101, 10**400, 1e308, 5e-324, -0.0])
)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from([*GOOD, "extra", "extras", "id", "x"])
inner_names = st.sampled_from(["count", "flag", "words", "price", "free", "x"])
extras = st.dictionaries(inner_names, json_values, max_size=3)
one_wrong = st.tuples(names, json_values).map(lambda pair: {**GOOD, pair[0]: pair[1]})
bodies = (
    one_wrong
    | st.dictionaries(names, json_values, max_size=6)
    | extras.map(lambda value: {**GOOD, "extra": value})
    | st.lists(extras, max_size=3).map(lambda value: {**GOOD, "extras": value})
    | json_values
)


@pytest.fixture
def rows(settings: Any) -> int:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "LIST_SERIALIZER_ERRORS_AS_DICT": True}
    Tag.objects.create(name="a")
    Project.objects.create(owner=make_user(), name="a")
    return Sample.objects.create().pk


def _attack(data: st.DataObject, pk: int) -> None:
    target = data.draw(st.sampled_from(["/samples/", "/loose/"]))
    method = data.draw(st.sampled_from(["POST", "PUT", "PATCH"]))
    path_ = target if method == "POST" else f"{target}{pk}/"
    body = data.draw(bodies)
    answer = send(method, path_, json.dumps(body).encode())
    assert answer.status_code in {200, 201, 400, 413}, (answer.status_code, body)
    if answer.status_code >= 400:
        assert answer["Content-Type"].startswith(MEDIA_TYPE)
        assert answer.json()["code"] in {"validation_error", "malformed_request", "too_large"}
    else:
        assert isinstance(body, dict)
        assert body.keys() <= {*GOOD, "extra", "extras"}
        assert (
            send("GET", f"/samples/{answer.json()['id']}/", b"").status_code == 200
        )  # and what was stored can be read


@pytest.mark.control("ASVS-2.2.1")
@quick
@given(data=st.data())
def test_any_json_is_taken_or_refused_and_never_a_defect(rows: int, data: st.DataObject) -> None:
    """R22: at each field, alone and with others, nested, through our parser and through DRF's."""
    _attack(data, rows)


@pytest.mark.nightly
@long
@given(data=st.data())
def test_any_json_is_taken_or_refused_for_long(rows: int, data: st.DataObject) -> None:
    """R22: with many more examples."""
    _attack(data, rows)
