"""`safe_order_by()`: declared columns, and nothing that `order_by()` knows besides."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F
from django.db.models.functions import Lower, Random
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.strict import SafeOrderingQuerySet
from tests.browser import make_user
from tests.host_app.models import Note


def queryset_of(*columns: Any) -> Any:
    return type("Ordered", (SafeOrderingQuerySet,), {"safe_ordering": columns})(Note)


@pytest.mark.parametrize(
    "names", [("title",), ("-title",), ("created_at", "-title"), ("-created_at", "title"), ("title", "title"), ()]
)
def test_declared_columns_order_in_either_direction(names: tuple[str, ...]) -> None:
    """R35: a column that is declared, and a `-` before it."""
    assert Note.objects.safe_order_by(*names).query.order_by == names


def test_the_message_names_the_column_and_the_valid_ones() -> None:
    with pytest.raises(ValueError, match="Invalid") as caught:
        queryset_of("a", "b").safe_order_by("x")
    assert str(caught.value) == "Invalid order_by column: 'x'. Valid columns are: a, b"
    with pytest.raises(ValueError, match=r"^Invalid order_by column: 'x'\. Valid columns are: created_at, title$"):
        Note.objects.safe_order_by("title", "-x")


@pytest.mark.control("ASVS-1.2.4")
@pytest.mark.parametrize(
    "name",
    [
        "?", "-?", "", "-", "--title", "+title", "owner", "owner__password", "owner__password__startswith", "pk", "id",
        "title__lower", "Title", "title ", " title", "title,id", "title desc", "title;--", "host_app_note.title", "1",
        "(select 1)", "title\0", "título", "x" * 10_000, None, 1, True, b"title", ["title"], ("title",), {"title": 1},
        F("title"), F("title").desc(), Lower("title"), Random(),
    ],
    ids=lambda name: ascii(name)[:30],
)  # fmt: skip
def test_nothing_else_does(name: Any) -> None:
    """R35: neither relations nor expressions, neither chance nor what is not declared."""
    with pytest.raises(ValueError, match="Invalid order_by column") as caught:
        Note.objects.safe_order_by(name)
    assert len(str(caught.value)) < 200


@given(st.text())
def test_any_text_is_a_declared_column_or_refused(name: str) -> None:
    try:
        Note.objects.safe_order_by(name)
    except ValueError:
        return
    assert name.removeprefix("-") in {"created_at", "title"}


def test_a_path_may_be_declared() -> None:
    assert queryset_of("project__name").safe_order_by("-project__name").query.order_by == ("-project__name",)


@pytest.mark.parametrize("columns", [(), ("?",), ("-title",), ("",), ("title", 1), ("a b",)])
def test_a_queryset_that_declares_nothing_sensible_orders_by_nothing(columns: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="safe_ordering"):
        queryset_of(*columns).safe_order_by("title")


@pytest.mark.parametrize("declared", ["title", "__all__", None])
def test_neither_does_one_that_declares_no_list(declared: Any) -> None:
    """R35: there is no default of all columns."""
    queryset: Any = type("Ordered", (SafeOrderingQuerySet,), {"safe_ordering": declared})(Note)
    with pytest.raises(ImproperlyConfigured, match="must be a list or tuple"):
        queryset.safe_order_by("title")


@pytest.mark.django_db
def test_the_rows_come_in_that_order() -> None:
    owner = make_user()
    for title in "bca":
        Note.objects.create(owner=owner, title=title)
    assert "".join(note.title for note in Note.objects.safe_order_by("-title")) == "cba"
