"""HTML of strangers is cleaned on its way in, through a serializer, a model, and a template."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError as DjangoValidationError
from django.template import engines
from django.utils.safestring import SafeString
from rest_framework.serializers import ValidationError

from django_secure_auth.kit.sanitize import HTMLRefused
from django_secure_auth.strict.fields import CleanableHTML, SanitizedHTMLField, SanitizedTextField
from django_secure_auth.templatetags.secure_auth import clean_html
from testproject.notes.models import Note
from tests.browser import make_user

HOSTILE = "<b>a</b><script>x</script>"


def test_a_serializer_field_cleans_what_comes_in() -> None:
    assert SanitizedHTMLField().run_validation(HOSTILE) == "<b>a</b>x"
    assert SanitizedHTMLField(preset="text").run_validation(HOSTILE) == "ax"
    assert SanitizedHTMLField(allow_blank=True).run_validation("<img>") == ""


@pytest.mark.parametrize(
    ("value", "kwargs", "message"),
    [
        (1, {}, "Must be a string."),
        ("x" * 11, {"max_length": 10}, "At most 10 characters."),
        ("&" * 9, {"max_length": 10}, "At most 10 characters, as HTML."),
        ("a\0", {}, "No NUL and no lone surrogate."),
        ("<img>", {}, "This field may not be blank."),
    ],
)
def test_what_is_refused_is_a_validation_error(value: Any, kwargs: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SanitizedHTMLField(**kwargs).run_validation(value)
    assert [str(one) for one in caught.value.detail] == [message]


@pytest.mark.django_db
def test_a_column_is_cleaned_however_it_is_written() -> None:
    owner = make_user("a@example.com")
    note = Note.objects.create(owner=owner, title="a", body=HOSTILE)
    assert note.body == "<b>a</b>x"
    Note.objects.bulk_create([Note(owner=owner, title="b", body=HOSTILE)])
    assert set(Note.objects.values_list("body", flat=True)) == {"<b>a</b>x"}
    Note.objects.update(body="<i>" + HOSTILE)
    assert set(Note.objects.values_list("body", flat=True)) == {"<i><b>a</b>x</i>"}
    assert Note.objects.filter(body__contains="<i>").count() == 2  # a look-up is not cleaned
    note.body = "a\0"
    with pytest.raises(HTMLRefused):
        note.save()


def test_a_column_says_in_a_form_what_it_would_refuse() -> None:
    field = SanitizedTextField(preset="article", max_length=10)
    with pytest.raises(DjangoValidationError, match="as HTML"):
        field.clean("&" * 9, None)
    assert field.deconstruct()[1:] == (
        "django_secure_auth.strict.fields.SanitizedTextField",
        [],
        {"max_length": 10, "preset": "article"},
    )
    assert SanitizedTextField().get_db_prep_save(None, None) is None
    assert len({CleanableHTML("text", 5), CleanableHTML("text", 5)}) == 1


@pytest.mark.django_db
def test_an_empty_column_stays_null() -> None:
    class Row:
        body = None

    field = SanitizedTextField()
    field.set_attributes_from_name("body")
    assert field.pre_save(Row(), True) is None  # type: ignore[arg-type]  # anything with the attribute


def render(value: object, tag: str = "v|clean_html") -> str:
    return str(engines["django"].from_string(f"{{% load secure_auth %}}{{{{ {tag} }}}}").render({"v": value}))


@pytest.mark.control("ASVS-1.1.2")
def test_a_template_shows_html_cleaned_and_what_is_refused_as_text() -> None:
    assert render(HOSTILE) == "<b>a</b>x"
    assert render("<h1>a</h1>", 'v|clean_html:"article"') == "<h1>a</h1>"
    assert render(None) == ""
    assert render(7) == "7"
    assert render("<b>\0") == "&lt;b&gt;\0"
    assert isinstance(clean_html("a"), SafeString)
