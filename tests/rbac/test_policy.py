"""What a role inherits equals the plainest way of saying it, over thousands of random graphs; cycles are refused."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_secure_auth.exceptions import PolicyRejected
from django_secure_auth.rbac.models import Role, RoleAssignment, RoleLink, UserAccess
from django_secure_auth.rbac.policy import after_migrate, ancestors, closure, makes_cycle, rebuild
from django_secure_auth.rbac.services import access_of, grant, has_role
from tests.browser import make_user
from tests.rbac.conftest import fresh

Graph = dict[int, list[int]]


def random_graph(dice: random.Random, *, with_cycles: bool) -> Graph:
    size = dice.randint(1, 8)
    density = dice.random()
    return {
        child: [
            parent
            for parent in range(size)
            if (with_cycles or parent < child) and dice.random() < density and (with_cycles or parent != child)
        ]
        for child in range(size)
    }


def reference(graph: Graph) -> set[tuple[int, int]]:
    """Warshall, 1962: for each stop in between, join what it joins."""
    reached = {(role, role) for role in graph} | {(child, parent) for child in graph for parent in graph[child]}
    for stop in graph:
        reached |= {(a, b) for a in graph for b in graph if (a, stop) in reached and (stop, b) in reached}
    return reached


def test_the_closure_of_ten_thousand_random_graphs_equals_the_reference() -> None:
    dice = random.Random(1962)
    for number in range(10_000):
        graph = random_graph(dice, with_cycles=number % 2 == 0)
        expected = reference(graph)
        assert closure(graph, graph) == expected, graph
        for child in graph:
            parent = dice.choice(list(graph))
            assert makes_cycle(child, [parent], graph) is ((parent, child) in expected)


def test_a_permission_of_nested_roles_in_ten_thousand_random_graphs_equals_the_reference() -> None:
    dice = random.Random(2024)
    for _ in range(10_000):
        graph = random_graph(dice, with_cycles=False)
        carried = {role: {letter for letter in "abc" if dice.random() < 0.3} for role in graph}
        held = [role for role in graph if dice.random() < 0.5]
        naive: set[str] = set()
        todo = list(held)
        while todo:
            role = todo.pop()
            naive |= carried[role]
            todo += graph[role]
        assert set().union(*(carried[one] for role in held for one in ancestors(role, graph))) == naive


def test_a_long_chain_needs_no_recursion() -> None:
    graph = {number: [number + 1] for number in range(50_000)}
    assert len(ancestors(0, graph)) == 50_001


# --- through the database ----------------------------------------------------------------------------


def links() -> set[tuple[int, int]]:
    return set(RoleLink.objects.values_list("role_id", "ancestor_id"))


@pytest.mark.slow
@pytest.mark.django_db
def test_has_perm_of_nested_roles_in_random_graphs_equals_the_reference() -> None:
    """Built edge by edge in random order, some taken away again, some roles deleted."""
    dice = random.Random(7)
    permissions = list(Permission.objects.order_by("pk")[:4])
    names = [f"{one.content_type.app_label}.{one.codename}" for one in permissions]
    user = make_user()
    for _ in range(200):
        graph = random_graph(dice, with_cycles=False)
        roles = {number: Role.objects.create(name=f"role {number}") for number in graph}
        edges = [(child, parent) for child in graph for parent in graph[child]]
        dice.shuffle(edges)
        for child, parent in edges:
            if dice.random() < 0.5:
                roles[child].parents.add(roles[parent])
            else:
                roles[parent].children.add(roles[child])
        for child, parent in [edge for edge in edges if dice.random() < 0.2]:
            roles[child].parents.remove(roles[parent])
            graph[child].remove(parent)
        if dice.random() < 0.3:
            gone = dice.choice(list(graph))
            roles.pop(gone).delete()
            graph.pop(gone)
            graph = {child: [parent for parent in parents if parent != gone] for child, parents in graph.items()}
        carried = {number: [one for one in range(4) if dice.random() < 0.3] for number in graph}
        for number, role in roles.items():
            role.permissions.set([permissions[one] for one in carried[number]])
        held = [number for number in graph if dice.random() < 0.4]
        for number in held:
            grant(user, roles[number])
        expected = {(a, b) for a, b in reference(graph)}
        assert links() == {(roles[a].pk, roles[b].pk) for a, b in expected}
        reached = {b for a, b in expected if a in held}
        asking = fresh(user)
        for one, name in enumerate(names):
            assert asking.has_perm(name) is any(one in carried[number] for number in reached)
        assert access_of(asking).roles == {roles[number].name for number in reached}
        Role.objects.all().delete()
        assert not links()
        assert not RoleAssignment.objects.exists()


@pytest.fixture
def roles(db: None) -> list[Role]:
    """a, b, c: each inherits from the one before."""
    made = [Role.objects.create(name=name) for name in "abc"]
    made[1].parents.add(made[0])
    made[2].parents.add(made[1])
    return made


def test_a_role_is_linked_with_itself_and_with_what_it_inherits(roles: list[Role]) -> None:
    a, b, c = (role.pk for role in roles)
    assert links() == {(a, a), (b, b), (b, a), (c, c), (c, b), (c, a)}
    assert str(RoleLink.objects.get(role=c, ancestor=a)) == f"role {c} has role {a}"


def test_a_deleted_role_takes_away_what_came_through_it(roles: list[Role]) -> None:
    user = make_user()
    grant(user, "c")
    assert has_role(user, "a")
    roles[1].delete()
    assert links() == {(role.pk, role.pk) for role in (roles[0], roles[2])}
    assert access_of(fresh(user)).roles == {"c"}


@pytest.mark.parametrize(
    "change",
    [
        lambda a, b, c: a.parents.add(a),
        lambda a, b, c: a.parents.add(b),
        lambda a, b, c: a.parents.set([c]),
        lambda a, b, c: c.children.add(a),
        lambda a, b, c: c.children.set([a, b]),
        lambda a, b, c: b.children.add(b),
    ],
)
def test_a_cycle_is_refused_from_whichever_end_and_changes_nothing(roles: list[Role], change: Any) -> None:
    before = links()
    with pytest.raises(PolicyRejected) as refused, transaction.atomic():
        change(*roles)
    assert refused.value.status_code == 422
    assert "inherit from itself" in refused.value.members["errors"]["parents"][0]
    assert links() == before


def test_adding_what_is_there_asks_for_no_lock(roles: list[Role]) -> None:
    with CaptureQueriesContext(connection) as captured:
        roles[1].parents.add(roles[0])
    assert not any("FOR UPDATE" in query["sql"] for query in captured.captured_queries)
    assert not any("useraccess" in query["sql"] for query in captured.captured_queries)


def test_parents_may_be_cleared_from_both_ends(roles: list[Role]) -> None:
    a, _, c = roles
    c.parents.clear()
    assert (c.pk, a.pk) not in links()
    a.children.clear()
    assert links() == {(role.pk, role.pk) for role in roles}


# --- what went around the ORM ------------------------------------------------------------------------


def go_around() -> Any:
    """What a migration does: its models are not ours, and call no receiver."""
    user = make_user()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO django_secure_auth_role (name, description, requires_otp) VALUES ('editor', '', %s)", [False]
        )
    role = Role.objects.get(name="editor")
    RoleAssignment.objects.bulk_create([RoleAssignment(user=user, role=role)])
    UserAccess.objects.all().delete()
    assert access_of(fresh(user)).roles == frozenset()
    return user


@pytest.mark.django_db
def test_rebuild_makes_anew_what_was_derived() -> None:
    user = go_around()
    rebuild()
    assert access_of(fresh(user)).roles == {"editor"}
    UserAccess.objects.filter(user=user.pk).update(roles=["admin"])
    rebuild()
    assert access_of(fresh(user)).roles == {"editor"}


@pytest.mark.django_db
def test_after_a_migration_it_is_done_by_itself(settings: Any) -> None:
    user = go_around()
    after_migrate(using="default", plan=())  # nothing was migrated
    after_migrate(using="other", plan=["one"])  # another database
    assert access_of(fresh(user)).roles == frozenset()
    after_migrate(using="default", plan=["one"])
    assert access_of(fresh(user)).roles == {"editor"}


@pytest.mark.django_db
def test_a_migration_before_our_tables_is_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Role._meta, "db_table", "not_there_yet")
    after_migrate(using="default", plan=["one"])


@pytest.mark.django_db
def test_a_migration_goes_on_while_the_cache_is_away(
    settings: Any, configure: Any, caplog: pytest.LogCaptureFixture
) -> None:
    user = go_around()
    settings.CACHES = {**settings.CACHES, "away": {"BACKEND": "tests.stories.caches.AwayCache"}}
    configure(STATE_CACHE="away")
    after_migrate(using="default", plan=["one"])
    assert any("cached states may know less" in record.getMessage() for record in caplog.records)
    assert access_of(fresh(user)).roles == frozenset()
