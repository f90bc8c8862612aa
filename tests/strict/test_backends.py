"""`SafeOrderingFilter`: what the view declares, a message for the rest, and no row on two pages."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F
from django.urls import path
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.pagination import PageNumberPagination
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.test import APIClient

from django_secure_auth.strict import SafeOrderingFilter
from tests.browser import make_user
from tests.host_app.models import Note

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class NoteSerializer(serializers.ModelSerializer[Note]):
    class Meta:
        model = Note
        fields = ("id", "title", "owner", "created_at")


class TwoAtATime(PageNumberPagination):
    page_size = 2


class NoteList(ListAPIView[Note]):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer
    permission_classes = (AllowAny,)
    filter_backends = (SafeOrderingFilter,)
    renderer_classes = (JSONRenderer, BrowsableAPIRenderer)
    ordering_fields: Any = ("created_at", "title")


class Paged(NoteList):
    pagination_class = TwoAtATime
    ordering = "-created_at"


class Labelled(NoteList):
    ordering_fields = [("title", "Title"), "created_at"]


class ByKey(NoteList):
    ordering_fields = ("id", "pk")
    ordering = (F("title").desc(),)


class Undeclared(NoteList):
    ordering_fields = None


class ClassLevel(SafeOrderingFilter):
    ordering_fields = ("title",)


class ByFilter(ListAPIView[Note]):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer
    permission_classes = (AllowAny,)
    filter_backends = (ClassLevel,)


VIEWS: dict[str, Any] = {
    "notes": NoteList,
    "paged": Paged,
    "labelled": Labelled,
    "by-key": ByKey,
    "undeclared": Undeclared,
    "by-filter": ByFilter,
}
urlpatterns = [path(f"{name}/", view.as_view()) for name, view in VIEWS.items()]


def get(name: str, order: str | None = None, **more: Any) -> Any:
    query = more if order is None else {"ordering": order, **more}
    return APIClient(raise_request_exception=False).get(f"/{name}/", query)


def titles(answer: Any) -> str:
    rows = answer.json()
    return "".join(row["title"] for row in (rows["results"] if isinstance(rows, dict) else rows))


@pytest.fixture(autouse=True)
def notes() -> None:
    owner = make_user()
    for title in "bca":
        Note.objects.create(owner=owner, title=title)


@pytest.mark.parametrize(
    ("order", "found"),
    [
        ("title", "abc"),
        ("-title", "cba"),
        ("created_at", "bca"),
        ("-created_at, title", "acb"),
        ("", "bca"),
        (None, "bca"),
    ],
)
def test_declared_columns_order_the_list(order: str | None, found: str) -> None:
    """R35: those, in either direction, one or several."""
    assert titles(get("notes", order)) == found


@pytest.mark.parametrize(
    "order",
    [
        "owner", "id", "pk", "-pk", "?", "owner__password", "title,owner", "--title", "+title", "-", ",", "title,",
        "x" * 5000, "title__lower", "TITLE", "created_at desc", "\0", "título", "__all__",
    ],
    ids=lambda order: ascii(order)[:30],
)  # fmt: skip
@pytest.mark.control("ASVS-1.2.4")
def test_any_other_is_a_400_that_names_the_valid_ones(order: str) -> None:
    """R35: not in silence, as DRF's own filter drops it."""
    answer = get("notes", order)
    assert (answer.status_code, answer.json()["code"]) == (400, "validation_error")
    (message,) = answer.json()["errors"]["ordering"]
    assert message.startswith("Invalid order_by column: ")
    assert message.endswith("Valid columns are: created_at, title")
    assert len(message) < 200


def test_the_whole_answer() -> None:
    assert get("notes", "-owner").json()["errors"] == {
        "ordering": ["Invalid order_by column: 'owner'. Valid columns are: created_at, title"]
    }


@pytest.mark.parametrize("order", ["title,title", "title,-title", "-title,created_at,title"])
def test_a_column_is_named_once(order: str) -> None:
    assert get("notes", order).json()["errors"] == {"ordering": ["Name each column once."]}


def test_the_order_is_given_once() -> None:
    answer = APIClient().get("/notes/?ordering=title&ordering=-title")
    assert answer.json()["errors"] == {"ordering": ["Give the order once."]}


def test_ties_are_broken_by_the_key_so_that_no_row_is_on_two_pages(django_assert_num_queries: Any) -> None:
    Note.objects.update(created_at="2026-01-01T00:00:00Z")
    for order in (None, "created_at", "-created_at"):
        pages = [titles(get("paged", order, page=number)) for number in (1, 2)]
        assert sorted("".join(pages)) == ["a", "b", "c"]
    with django_assert_num_queries(2) as asked:
        get("paged", "-created_at")
    sql = asked.captured_queries[-1]["sql"]
    assert sql.index("created_at", sql.index("ORDER BY")) < sql.index("id", sql.index("ORDER BY"))
    assert sql.count("DESC") == 2


def test_a_key_that_is_named_is_not_named_again() -> None:
    for order in ("id", "-pk"):
        assert titles(get("by-key", order)) in {"bca", "acb"}
    assert titles(get("by-key")) == "cba"


def test_a_view_without_a_declaration_says_so_at_its_first_request() -> None:
    """R35: never a default of all."""
    assert get("undeclared").status_code == 500
    with pytest.raises(ImproperlyConfigured, match=r"Undeclared\.ordering_fields must be a list or tuple"):
        APIClient().get("/undeclared/")


@pytest.mark.parametrize("declared", ["__all__", "title", (), ("?",), ("-title",), (("?", "Chance"),)])
def test_neither_is_all_a_declaration(declared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R35: "__all__" is refused."""
    monkeypatch.setattr(NoteList, "ordering_fields", declared)
    with pytest.raises(ImproperlyConfigured, match="ordering_fields"):
        APIClient().get("/notes/")


def test_labels_and_the_filters_own_declaration_are_read() -> None:
    assert titles(get("labelled", "-title")) == "cba"
    assert get("labelled", "x").json()["errors"]["ordering"] == [
        "Invalid order_by column: 'x'. Valid columns are: title, created_at"
    ]
    assert titles(get("by-filter", "-title")) == "cba"
    assert get("by-filter", "created_at").status_code == 400


def test_the_browsable_api_offers_the_declared_ones() -> None:
    page = APIClient().get("/labelled/", headers={"Accept": "text/html"}).content.decode()
    assert "Title - descending" in page
    assert "owner - descending" not in page


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.text(max_size=30) | st.lists(st.sampled_from(["title", "-title", "created_at", "pk", "?"])).map(",".join)
)
def test_any_order_is_followed_or_refused(order: str) -> None:
    assert get("notes", order.encode("utf-8", "replace").decode()).status_code in {200, 400}
