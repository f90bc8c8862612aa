"""Serializers that refuse what they do not know."""

from __future__ import annotations

from collections import UserDict
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import QueryDict
from rest_framework import serializers

from django_secure_auth.strict import StrictModelSerializer, StrictSerializer
from tests.host_app.models import Note


class Address(StrictSerializer):
    city = serializers.CharField()


class Person(StrictSerializer):
    name = serializers.CharField(max_length=5)
    owner = serializers.HiddenField(default="me")
    id = serializers.IntegerField(read_only=True)
    address = Address(required=False)


def errors_of(data: Any, **kwargs: Any) -> Any:
    serializer = Person(data=data, **kwargs)
    serializer.is_valid()
    return serializer.errors


@pytest.mark.parametrize("data", [{"name": "Ana"}, {"name": "Ana", "address": {"city": "Rome"}}, UserDict(name="Ana")])
def test_what_is_declared_is_taken(data: Any) -> None:
    assert errors_of(data) == {}


@pytest.mark.control("ASVS-2.2.1")
@pytest.mark.control("ASVS-15.3.3")
@pytest.mark.parametrize("name", ["nmae", "is_staff", "", "NAME", "id", "name ", "__class__", "owner"])
def test_an_unknown_read_only_or_hidden_field_is_told(name: str) -> None:
    assert errors_of({"name": "Ana", name: 1}) == {name: ["Unknown field."]}


def test_a_hidden_field_has_its_default() -> None:
    serializer = Person(data={"name": "Ana"})
    assert serializer.is_valid()
    assert serializer.validated_data == {"name": "Ana", "owner": "me"}


def test_all_of_them_are_told_at_once() -> None:
    assert errors_of({"b": 1, "a": 2}) == {"a": ["Unknown field."], "b": ["Unknown field."]}


def test_an_unknown_field_of_a_nested_object_too() -> None:
    errors = errors_of({"name": "Ana", "address": {"city": "Rome", "zip": 1}})
    assert errors == {"address": {"zip": ["Unknown field."]}}


def test_a_long_name_is_not_echoed_whole() -> None:
    assert errors_of({"name": "Ana", "x" * 5000: 1}) == {"x" * 64: ["Unknown field."]}


@pytest.mark.parametrize("data", [[], [{"name": "Ana"}], "name", 1, None])
def test_what_is_no_object_is_refused(data: Any) -> None:
    assert set(errors_of(data)) == {"non_field_errors"}


def test_partial_updates_are_as_strict() -> None:
    assert errors_of({"nmae": 1}, partial=True) == {"nmae": ["Unknown field."]}
    assert errors_of({}, partial=True) == {}


def test_a_form_is_as_strict() -> None:
    assert errors_of(QueryDict("name=Ana&is_staff=1")) == {"is_staff": ["Unknown field."]}


# --- of a model --------------------------------------------------------------------------------------


class NoteSerializer(StrictModelSerializer[Note]):
    class Meta:
        model = Note
        fields: tuple[str, ...] = ("id", "title")


@pytest.mark.control("ASVS-15.3.1")
@pytest.mark.control("APITOP10-API3:2023")
@pytest.mark.parametrize("more", [{"fields": "__all__"}, {"exclude": ["owner"]}, {"fields": None, "exclude": []}])
def test_fields_of_a_model_are_named_one_by_one(more: dict[str, Any]) -> None:
    meta = type("Meta", (), {"model": Note, **more})
    with pytest.raises(ImproperlyConfigured, match=r"Made\.Meta\.fields must name the fields"):
        type("Made", (StrictModelSerializer,), {"Meta": meta})


@pytest.mark.control("ASVS-15.3.3")
@pytest.mark.parametrize("name", ["id", "owner", "owner_id", "created_at", "pk"])
def test_a_column_that_is_not_named_or_read_only_is_not_written(name: str) -> None:
    serializer = NoteSerializer(data={"title": "a", name: 1})
    assert not serializer.is_valid()
    assert serializer.errors == {name: ["Unknown field."]}


def test_a_subclass_may_name_others() -> None:
    class Longer(NoteSerializer):
        class Meta(NoteSerializer.Meta):
            fields = ("id", "title", "project")

    assert set(Longer().fields) == {"id", "title", "project"}
