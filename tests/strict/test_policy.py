"""What each field takes of JSON: its own type in its own size, at every depth; the rest is DRF's to judge."""

from __future__ import annotations

import datetime
import enum
import uuid
from decimal import Decimal
from typing import Any

import pytest
from django.db import models
from django.http import QueryDict
from django.test import override_settings
from django.test.utils import isolate_apps
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers

from django_secure_auth.strict import StrictSerializer
from django_secure_auth.strict.policy import MAX_DIGITS, MAX_FREE_DEPTH, MAX_INTEGER, complaint_about, judge
from tests.host_app.models import Project, Sample, Tag

HUGE = 10**MAX_DIGITS
A_UUID = "12345678-1234-5678-1234-567812345678"


class Color(enum.Enum):
    RED = "red"


class Size(models.IntegerChoices):
    SMALL = 1


def shown(value: Any) -> str:
    return type(value).__name__ if isinstance(value, serializers.Field) else ascii(value)[:40]


def errors_of(field: Any, value: Any) -> Any:
    """What a strict serializer says of a value for a field that is declared in it."""
    made = type("Made", (StrictSerializer,), {"field": field})
    serializer = made(data={"field": value})
    serializer.is_valid()
    return serializer.errors.get("field")


def take(field: Any, value: Any) -> Any:
    made = type("Made", (StrictSerializer,), {"field": field})
    serializer = made(data={"field": value})
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data["field"]


STRING = ["Must be a string."]
LIST = ["Must be a list."]
INTEGER = ["Must be an integer."]
NUMBER = ["Must be a number."]
BOOLEAN = ["Must be true or false."]
RANGE = ["Out of range."]
DECIMAL = ["Must be a number, or a string that holds one."]
CHOICE = ["Must be one of the choices, in its own type."]
BAD_UUID = ["Must be a valid UUID."]


def listing(child: Any) -> Any:
    return serializers.ListField(child=child)


def decimal(**kwargs: Any) -> serializers.DecimalField:
    return serializers.DecimalField(**{"max_digits": 5, "decimal_places": 2, **kwargs})


@pytest.mark.control("ASVS-15.3.5")
@pytest.mark.parametrize(
    ("field", "value", "errors"),
    [
        *((serializers.BooleanField(), value, BOOLEAN) for value in ("true", "yes", "", 1, 0, 1.0, [], {})),
        *((serializers.CharField(), value, STRING) for value in (1, 1.5, True, [], ["a"], {})),
        *((serializers.EmailField(), value, STRING) for value in (1, True, [])),
        *((serializers.URLField(), value, STRING) for value in (1, {})),
        *((serializers.SlugField(), value, STRING) for value in (1, False)),
        *((serializers.RegexField("a"), value, STRING) for value in (1, [])),
        *((serializers.IPAddressField(), value, STRING) for value in (1, [])),
        *((serializers.UUIDField(), value, STRING) for value in (1, True, [], {})),
        *(
            (serializers.UUIDField(), value, BAD_UUID)
            for value in (f"{{{A_UUID}}}", f"urn:uuid:{A_UUID}", A_UUID[:-1] + "_", "1-" * 32, "", A_UUID + "\n")
        ),
        *((serializers.IntegerField(), value, INTEGER) for value in ("1", 1.0, 1.5, True, False, [], {}, "")),
        *((serializers.IntegerField(), value, RANGE) for value in (MAX_INTEGER + 1, -MAX_INTEGER - 2, HUGE)),
        *((serializers.FloatField(), value, NUMBER) for value in ("1.5", True, [], {}, "")),
        *((serializers.FloatField(), value, RANGE) for value in (HUGE, -HUGE, float("inf"))),
        *((decimal(), value, DECIMAL) for value in (True, [], {}, "", " 1", "1_0", "1e2", "NaN", "Infinity", "١")),
        *((decimal(), value, DECIMAL) for value in ("+1", ".5", "1.", "0x1", "1\n", "1" * 101)),
        *((decimal(max_digits=None), value, RANGE) for value in (HUGE, float("inf"), 1e99, "9" * 50)),
        *((serializers.DateTimeField(), value, STRING) for value in (0, 1.5, True, [], {})),
        *((serializers.DateField(), value, STRING) for value in (0, True, [])),
        *((serializers.TimeField(), value, STRING) for value in (0, True, [])),
        *((serializers.DurationField(), value, STRING) for value in (0, 1.5, True, [])),
        (serializers.DurationField(), "999999999 00:00:00", RANGE),
        *((serializers.ChoiceField(["a", "b"]), value, CHOICE) for value in (1, True, [], {})),
        *((serializers.ChoiceField([1, 2]), value, CHOICE) for value in ("1", 1.0, True, [])),
        (serializers.ChoiceField(Size.choices), "1", CHOICE),
        (serializers.ChoiceField([(Color.RED, "Red")]), 1, CHOICE),
        *((serializers.MultipleChoiceField(choices=["a"]), value, LIST) for value in ("a", {"a": 1}, 1)),
        (serializers.MultipleChoiceField(choices=["a"]), ["a", 1, True], {1: CHOICE, 2: CHOICE}),
        *((serializers.ListField(), value, LIST) for value in ("a", {"a": 1}, 1, True)),
        (serializers.ListField(child=serializers.IntegerField()), [1, "2", True], {1: INTEGER, 2: INTEGER}),
        (serializers.DictField(), [], ["Must be an object."]),
        (serializers.DictField(child=serializers.CharField()), {"a": "x", "b": 1}, {"b": STRING}),
        (listing(listing(serializers.CharField())), [["a", 1]], {0: {1: STRING}}),
    ],
    ids=shown,
)  # fmt: skip
def test_another_type_is_refused(field: Any, value: Any, errors: Any) -> None:
    assert errors_of(field, value) == errors


@pytest.mark.parametrize(
    ("field", "value", "taken"),
    [
        (serializers.BooleanField(), True, True),
        (serializers.BooleanField(allow_null=True), None, None),
        (serializers.CharField(), " a ", "a"),
        (serializers.UUIDField(), A_UUID, uuid.UUID(A_UUID)),
        (serializers.UUIDField(), A_UUID.replace("-", "").upper(), uuid.UUID(A_UUID)),
        (serializers.IntegerField(), MAX_INTEGER, MAX_INTEGER),
        (serializers.IntegerField(), -MAX_INTEGER - 1, -MAX_INTEGER - 1),
        (serializers.IntegerField(max_value=HUGE), HUGE, HUGE),
        (serializers.IntegerField(min_value=-HUGE), -HUGE, -HUGE),
        (serializers.FloatField(), 1, 1.0),
        (serializers.FloatField(), 1e99, 1e99),
        (decimal(), "1.10", Decimal("1.10")),
        (decimal(), 1.5, Decimal("1.50")),
        (decimal(), -1, Decimal("-1.00")),
        (serializers.DateField(), "2026-01-31", datetime.date(2026, 1, 31)),
        (serializers.TimeField(), "10:30", datetime.time(10, 30)),
        (serializers.DurationField(), "1 00:00:01", datetime.timedelta(days=1, seconds=1)),
        (serializers.ChoiceField(["a", "b"]), "a", "a"),
        (serializers.ChoiceField(["a"], allow_blank=True), "", ""),
        (serializers.ChoiceField([1, 2]), 2, 2),
        (serializers.ChoiceField([(Color.RED, "Red")]), "red", Color.RED),
        (serializers.MultipleChoiceField(choices=["a", "b"]), ["b"], ["b"]),
        (serializers.ListField(), [1, "a", None, {"b": []}], [1, "a", None, {"b": []}]),
        (serializers.DictField(), {"free": {"of": ["form"]}}, {"free": {"of": ["form"]}}),
        (serializers.JSONField(), {"free": [1, None, "a"]}, {"free": [1, None, "a"]}),
    ],
    ids=shown,
)
def test_its_own_type_is_taken(field: Any, value: Any, taken: Any) -> None:
    result = take(field, value)
    assert (list(result) if isinstance(result, set) else result) == taken


def test_a_moment_is_taken_in_its_own_zone() -> None:
    assert take(serializers.DateTimeField(), "2026-01-31T10:00:00+02:00").utctimetuple().tm_hour == 8
    assert errors_of(serializers.DateTimeField(), "soon")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_no_database_can_hold_is_refused(text: str, zone: str) -> None:
    with override_settings(TIME_ZONE=zone):
        assert errors_of(serializers.DateTimeField(), text)


def test_a_moment_at_the_edge_of_time_is_refused_in_a_zone_beyond_it() -> None:
    with override_settings(TIME_ZONE="Asia/Tokyo"):
        assert errors_of(serializers.DateTimeField(), "0001-01-01T00:00:00") == RANGE


def test_without_zones_a_moment_is_what_it_says() -> None:
    with override_settings(USE_TZ=False):
        assert take(serializers.DateTimeField(), "0001-01-01T00:00:00") == datetime.datetime(1, 1, 1)  # noqa: DTZ001  # naive on purpose


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (serializers.DateTimeField(), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)),
        (serializers.DateField(), datetime.date(2026, 1, 1)),
        (serializers.UUIDField(), uuid.UUID(A_UUID)),
        (decimal(), Decimal("1.50")),
    ],
    ids=shown,
)
def test_what_json_cannot_hold_is_left_to_the_field(field: Any, value: Any) -> None:
    assert take(field, value) == value


class Money(serializers.DecimalField):
    """A field of the host's that takes an object."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(data["amount"])


class Raw(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> Any:
        return data


def test_a_field_with_an_input_of_its_own_judges_for_itself() -> None:
    assert take(Money(max_digits=5, decimal_places=2), {"amount": "1.5"}) == Decimal("1.50")
    assert take(Raw(), {"anything": 1}) == {"anything": 1}


class PhoneField(serializers.CharField):
    """A field of the host's that adds nothing to the type."""


def test_a_field_that_inherits_its_input_is_judged_like_its_parent() -> None:
    assert errors_of(PhoneField(), 1) == STRING


def test_a_form_is_text() -> None:
    made = type("Made", (StrictSerializer,), {"flag": serializers.BooleanField(), "count": serializers.IntegerField()})
    serializer = made(data=QueryDict("flag=true&count=5"))
    assert serializer.is_valid()
    assert serializer.validated_data == {"flag": True, "count": 5}


# --- at every depth --------------------------------------------------------------------------------------


class City(serializers.Serializer[Any]):
    """Not strict by itself."""

    name = serializers.CharField()
    id = serializers.IntegerField(read_only=True)


class Street(serializers.Serializer[Any]):
    city = City()
    number = serializers.IntegerField(required=False)


class StrictCity(StrictSerializer):
    name = serializers.CharField()


class Person(StrictSerializer):
    street = Street(required=False)
    cities = City(many=True, required=False)
    strict = StrictCity(required=False)
    stricts = StrictCity(many=True, required=False)
    free: Any = serializers.DictField(required=False)
    listed: Any = serializers.ListField(child=City(), required=False)


UNKNOWN = ["Unknown field."]


@pytest.mark.control("ASVS-2.2.1")
@pytest.mark.control("ASVS-15.3.3")
@pytest.mark.parametrize(
    ("data", "errors"),
    [
        ({"street": {"city": {"name": "a", "zip": 1}}}, {"street": {"city": {"zip": UNKNOWN}}}),
        ({"street": {"city": {"name": "a", "id": 1}}}, {"street": {"city": {"id": UNKNOWN}}}),
        ({"street": {"city": {"name": 5}, "number": "5"}}, {"street": {"city": {"name": STRING}, "number": INTEGER}}),
        ({"street": []}, {"street": ["Must be an object."]}),
        ({"cities": [{"name": "a"}, {"name": "a", "x": 1}]}, {"cities": {1: {"x": UNKNOWN}}}),
        ({"cities": {"name": "a"}}, {"cities": LIST}),
        ({"cities": ["a"]}, {"cities": {0: ["Must be an object."]}}),
        ({"strict": {"name": "a", "x": 1}}, {"strict": {"x": UNKNOWN}}),
        ({"strict": {"name": 1}}, {"strict": {"name": STRING}}),
        ({"listed": [{"name": "a", "x": 1}]}, {"listed": {0: {"x": UNKNOWN}}}),
        ({"x": 1, "street": {"y": 2}}, {"x": UNKNOWN, "street": {"y": UNKNOWN}}),
    ],
)
def test_no_depth_hides_an_unknown_name_or_another_type(data: Any, errors: Any) -> None:
    serializer = Person(data=data)
    assert not serializer.is_valid()
    assert serializer.errors == errors


def test_nested_strict_ones_in_a_list_are_as_strict(settings: Any) -> None:
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "LIST_SERIALIZER_ERRORS_AS_DICT": True}
    for made in (
        Person(data={"stricts": [{"name": "a", "x": 1}]}),
        StrictCity(data=[{"name": "a", "x": 1}], many=True),
    ):
        assert not made.is_valid()
        assert "Unknown field." in str(made.errors)


def test_a_dict_field_is_free() -> None:
    assert Person(data={"free": {"any": {"thing": 1}}, "street": {"city": {"name": "a"}, "number": 1}}).is_valid()


# --- references ------------------------------------------------------------------------------------------


with isolate_apps("tests.host_app"):  # nobody else is to meet them

    class ToKey(models.Model):
        key = models.SlugField(primary_key=True)

        class Meta:
            app_label = "host_app"

    class ToUUID(models.Model):
        key = models.UUIDField(primary_key=True)

        class Meta:
            app_label = "host_app"

    class ToOther(models.Model):
        """Its key is another's."""

        key = models.OneToOneField(Project, models.CASCADE, primary_key=True)

        class Meta:
            app_label = "host_app"


def reference(model: Any, **kwargs: Any) -> Any:
    return serializers.PrimaryKeyRelatedField(queryset=model._default_manager.all(), **kwargs)


def slug(model: Any, name: str) -> Any:
    return serializers.SlugRelatedField(slug_field=name, queryset=model._default_manager.all())


class Nowhere(serializers.PrimaryKeyRelatedField[Any]):
    def get_queryset(self) -> Any:
        return None


@pytest.mark.parametrize(
    ("field", "value", "errors"),
    [
        *((reference(Project), value, INTEGER) for value in ("1", 1.0, True, [], {}, MAX_INTEGER + 1, "")),
        *((reference(ToOther), value, INTEGER) for value in ("1", 1.5)),
        *((reference(ToKey), value, STRING) for value in (1, 1.5, True, [])),
        *((reference(ToUUID), value, STRING) for value in (1, [])),
        (reference(ToUUID), "x", BAD_UUID),
        (reference(Project, many=True), {"1": 1}, LIST),
        (reference(Project, many=True), [1, "2"], {1: INTEGER}),
        (reference(Project, pk_field=serializers.UUIDField()), 5, STRING),
        (slug(Tag, "name"), 5, STRING),
        (slug(Tag, "pk"), True, STRING),
        (slug(Tag, "id"), "5", INTEGER),
        (slug(Project, "owner__pk"), 1.5, STRING),
    ],
    ids=shown,
)
def test_a_reference_has_the_type_of_the_column_that_it_names(field: Any, value: Any, errors: Any) -> None:
    assert errors_of(field, value) == errors


def test_a_reference_into_nowhere_is_left_to_the_field() -> None:
    assert complaint_about(Nowhere(), 1) is None


@pytest.mark.parametrize("value", ["http://[", "http://[x]/", 5, True])
def test_a_link_is_a_link(value: Any) -> None:
    field = serializers.HyperlinkedRelatedField(view_name="x", queryset=Project.objects.all())
    assert errors_of(field, value)


def test_a_link_elsewhere_is_the_fields_to_refuse() -> None:
    field = serializers.HyperlinkedRelatedField(view_name="x", queryset=Project.objects.all())
    assert errors_of(field, "/nowhere/") == ["Invalid hyperlink - No URL match."]


@pytest.mark.django_db
def test_a_reference_of_its_type_is_taken() -> None:
    tag = Tag.objects.create(name="a")
    assert take(reference(Tag), tag.pk) == tag
    assert take(slug(Tag, "name"), "a") == tag


# --- what no field looks into ------------------------------------------------------------------------------

free_fields = st.sampled_from([serializers.JSONField, serializers.ListField, serializers.DictField])


@pytest.mark.control("ASVS-1.3.3")
@pytest.mark.parametrize(
    "bad", ["a\0", "\ud800", float("inf"), float("nan"), HUGE, ["\0"], {"\0": 1}, {"a": {"b": "\udfff"}}], ids=ascii
)
def test_free_json_holds_nothing_that_cannot_be_stored(bad: Any) -> None:
    for field, value in (
        (serializers.JSONField(), bad),
        (serializers.ListField(), [bad]),
        (serializers.DictField(), {"a": bad}),
        (serializers.ListField(child=serializers.JSONField()), [bad]),
    ):
        assert "Cannot be stored" in str(errors_of(field, value))


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_free_json_is_bounded_in_depth_and_number() -> None:
    assert take(serializers.JSONField(), nested(MAX_FREE_DEPTH))
    assert errors_of(serializers.JSONField(), nested(MAX_FREE_DEPTH + 1)) == ["Cannot be stored: too deep."]
    assert take(serializers.JSONField(), [0] * 10_000)
    assert errors_of(serializers.JSONField(), [0] * 10_001) == ["Cannot be stored: too many members."]


@given(
    st.recursive(st.none() | st.integers(-5, 5), lambda inner: st.lists(inner) | st.dictionaries(st.text("ab"), inner))
)
def test_members_are_names_and_items(value: Any) -> None:
    def count(item: Any) -> int:
        inner = list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []
        return len(inner) + sum(count(one) for one in inner)

    judge(value, max_depth=1000, max_members=count(value))
    if count(value):
        with pytest.raises(ValueError, match="too many members"):
            judge(value, max_depth=1000, max_members=count(value) - 1)


def test_each_column_has_a_field_that_the_table_knows_or_that_json_cannot_fill() -> None:
    class SampleSerializer(serializers.ModelSerializer[Sample]):
        class Meta:
            model = Sample
            fields = "__all__"

    for name, field in SampleSerializer().fields.items():
        if name not in {"id", "json"}:
            assert complaint_about(field, {"an": "object"}), name
