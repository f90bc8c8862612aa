"""A list of owned rows among many: one query, by an index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet

from tests.browser import make_user
from tests.host_app.models import Note, Project, Task

pytestmark = [pytest.mark.django_db, pytest.mark.database("postgresql")]
OWNED = 1000


def _fill(rows: int) -> Any:
    """Return a user who owns a thousand notes, and a thousand tasks in ten projects, among `rows` of 100 others'."""
    ana = make_user("ana@example.com")
    others = [make_user(f"user-{number}@example.com").pk for number in range(100)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO host_app_note (owner_id, title, created_at) "
            "SELECT CASE WHEN n <= %s THEN %s ELSE (%s::bigint[])[1 + n %% 100] END, 'n' || n, now() "
            "FROM generate_series(1, %s) AS n",
            [OWNED, ana.pk, others, rows],
        )
        cursor.execute(
            "INSERT INTO host_app_project (owner_id, name) "
            "SELECT CASE WHEN n <= 10 THEN %s ELSE (%s::bigint[])[1 + n %% 100] END, 'p' || n "
            "FROM generate_series(1, %s / 100) AS n",
            [ana.pk, others, rows],
        )
        cursor.execute(
            "INSERT INTO host_app_task (project_id, title) SELECT p.id, 't' || n "
            "FROM host_app_project AS p, generate_series(1, 100) AS n"
        )
        cursor.execute("ANALYZE host_app_note, host_app_project, host_app_task")
    return ana


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]


def _plan_of(queryset: QuerySet[Any]) -> list[dict[str, Any]]:
    return _nodes(json.loads(queryset.explain(format="json"))[0]["Plan"])


def _show_that_an_index_is_used(rows: int, django_assert_num_queries: Any) -> None:
    ana = _fill(rows)
    assert Note.objects.count() == Task.objects.count() == rows
    assert Project.objects.count() == rows // 100
    for model in (Note, Task):
        owned = model.objects.owned_by(ana)
        with django_assert_num_queries(1):
            assert len(owned) == OWNED
        nodes = _plan_of(model.objects.owned_by(ana))
        scans = [node["Node Type"] for node in nodes if node.get("Relation Name") == model._meta.db_table]
        assert scans
        assert all("Index" in scan or "Bitmap" in scan for scan in scans), scans
        page = _plan_of(model.objects.owned_by(ana).order_by("-pk")[:20])
        assert "Seq Scan" not in {node["Node Type"] for node in page}


def test_a_thousand_rows_among_a_hundred_thousand_are_found_by_an_index(django_assert_num_queries: Any) -> None:
    """R33: one query, no scan."""
    _show_that_an_index_is_used(100_000, django_assert_num_queries)


@pytest.mark.nightly
def test_a_thousand_rows_among_a_million_are_found_by_an_index(django_assert_num_queries: Any) -> None:
    """R33: one query, no scan, also in a large table."""
    _show_that_an_index_is_used(1_000_000, django_assert_num_queries)
