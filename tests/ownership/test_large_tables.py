"""A list of owned rows among many: one query, by an index, on every database."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models import QuerySet
from django.utils import timezone

from tests.browser import make_user
from tests.host_app.models import Note, Project, Task

pytestmark = pytest.mark.django_db
OWNED = 1000
DIGITS = "(SELECT 0 AS i " + " ".join(f"UNION ALL SELECT {i}" for i in range(1, 10)) + ")"
FULL_SCAN = {"postgresql": "Seq Scan on {}", "sqlite": "SCAN {}", "mysql": "SIMPLE {} ALL"}


def _numbers(power: int) -> str:
    """A table of the numbers from 0 to 10^power - 1, in SQL that every database knows."""
    value = " + ".join(f"d{place}.i * {10**place}" for place in range(power))
    tables = ", ".join(f"{DIGITS} AS d{place}" for place in range(power))
    return f"(SELECT {value} AS n FROM {tables}) AS numbers"  # noqa: S608  # from numbers of our own


def _insert(model: Any, columns: str, values: str, source: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        statement = f"INSERT INTO {model._meta.db_table} ({columns}) SELECT {values} FROM {source}"  # noqa: S608  # ours
        cursor.execute(statement, parameters)


def _fill(power: int) -> Any:
    """Return a user who owns 1,000 notes, and 1,000 tasks in ten projects, among 10^power of a hundred others'."""
    others = [make_user(f"user-{number}@example.com") for number in range(100)]
    ana = make_user("ana@example.com")
    table = get_user_model()._meta.db_table
    place = "ROW_NUMBER() OVER (ORDER BY id) - 1 AS place"
    ranked = f"(SELECT id, {place} FROM {table} WHERE id <> {ana.pk}) AS others"  # noqa: S608  # a name and a number
    owner = "CASE WHEN n < {} THEN %s ELSE others.id END"
    text = "CAST(n AS CHAR(20))"
    now = connection.ops.adapt_datetimefield_value(timezone.now())
    source = f"{_numbers(power)} JOIN {ranked} ON others.place = n %% {len(others)}"
    _insert(Note, "owner_id, title, created_at", f"{owner.format(OWNED)}, {text}, %s", source, ana.pk, now)
    source = f"{_numbers(power - 2)} JOIN {ranked} ON others.place = n %% {len(others)}"
    _insert(Project, "owner_id, name", f"{owner.format(OWNED // 100)}, {text}", source, ana.pk)
    _insert(
        Task, "project_id, title", f"{Project._meta.db_table}.id, {text}", f"{Project._meta.db_table}, {_numbers(2)}"
    )
    if connection.vendor == "postgresql":  # the others need no telling; MySQL's ANALYZE would commit
        with connection.cursor() as cursor:
            cursor.execute("ANALYZE")
    return ana


def _scans(queryset: QuerySet[Any]) -> bool:
    plan = queryset.explain()
    return FULL_SCAN[connection.vendor].format(queryset.model._meta.db_table) in plan


def _show_that_an_index_is_used(power: int, django_assert_num_queries: Any) -> None:
    ana = _fill(power)
    assert Note.objects.count() == Task.objects.count() == 10**power
    for model in (Note, Task):
        assert _scans(model.objects.all())  # the plan of a scan is known when it is seen
        with django_assert_num_queries(1):
            assert len(model.objects.owned_by(ana)) == OWNED
        assert not _scans(model.objects.owned_by(ana))
        assert not _scans(model.objects.owned_by(ana).order_by("-pk")[:20])


def test_a_thousand_rows_among_a_hundred_thousand_are_found_by_an_index(django_assert_num_queries: Any) -> None:
    """R33: one query, no scan."""
    _show_that_an_index_is_used(5, django_assert_num_queries)


@pytest.mark.nightly
def test_a_thousand_rows_among_a_million_are_found_by_an_index(django_assert_num_queries: Any) -> None:
    """R33: one query, no scan, also in a large table."""
    _show_that_an_index_is_used(6, django_assert_num_queries)
