"""Roles and grants that change at the same moment: no cycle, no grant that is not seen, nobody who keeps a lost one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib.auth.models import Permission
from django.db import OperationalError, connection, transaction

from django_secure_auth.exceptions import PolicyRejected
from django_secure_auth.rbac.models import Role, RoleAssignment, RoleLink
from django_secure_auth.rbac.policy import closure, read_parents
from django_secure_auth.rbac.services import access_of, grant, revoke, roles_of
from tests.races.browser import in_threads
from tests.races.conftest import ROUNDS, new_user

WAIT = 30.0


def fresh(user: Any) -> Any:
    return type(user)._default_manager.get(pk=user.pk)


def attempt(ready: threading.Barrier, change: Callable[[], Any]) -> str:
    """Do it when all are there. A database may give up one of two that wait for each other: nothing is changed then."""
    ready.wait(WAIT)
    try:
        change()
    except PolicyRejected:
        return "refused"
    except OperationalError:
        return "given up"
    return "done"


def all_at_once(*changes: Callable[[], Any]) -> list[str]:
    ready = threading.Barrier(len(changes))
    return in_threads([partial(attempt, ready, change) for change in changes])


def check_links() -> dict[int, list[int]]:
    """The closure is what the parents say, and nothing inherits from itself."""
    with transaction.atomic():
        parents = read_parents()
    roles = set(Role.objects.values_list("pk", flat=True))
    assert set(RoleLink.objects.values_list("role_id", "ancestor_id")) == closure(roles, parents)
    assert not any((parent, child) in closure(roles, parents) for child, group in parents.items() for parent in group)
    return parents


def test_of_two_that_make_each_other_a_parent_one_is_refused() -> None:
    for number in range(ROUNDS * 2):
        a, b = (Role.objects.create(name=f"{name}{number}") for name in "ab")
        outcomes = all_at_once(lambda a=a, b=b: a.parents.add(b), lambda a=a, b=b: b.parents.add(a))
        assert outcomes.count("done") <= 1
        assert "done" in outcomes or "given up" in outcomes
        if connection.vendor != "mysql":
            assert sorted(outcomes) == ["done", "refused"]
        check_links()


def test_a_ring_of_eight_that_closes_at_once_stays_open() -> None:
    for number in range(ROUNDS):
        ring = [Role.objects.create(name=f"r{number}-{place}") for place in range(8)]
        changes = [
            (lambda role=role, following=ring[(place + 1) % 8]: role.parents.add(following))
            if place % 2
            else (lambda role=role, following=ring[(place + 1) % 8]: following.children.add(role))
            for place, role in enumerate(ring)
        ]
        outcomes = all_at_once(*changes)
        assert outcomes.count("done") <= 7
        if connection.vendor != "mysql":
            assert sorted(outcomes) == ["done"] * 7 + ["refused"]
        check_links()


def test_a_grant_beside_a_change_of_its_role_ends_up_complete() -> None:
    """Somebody is granted a role while it gets a parent, and the parent a permission: whoever commits last, the summary
    says it all, however often it is read meanwhile."""
    one = Permission.objects.order_by("pk").first()
    assert one is not None
    for number in range(ROUNDS * 2):
        parent, child = (Role.objects.create(name=f"{name}{number}") for name in ("parent", "child"))
        users = [new_user() for _ in range(4)]
        outcomes = all_at_once(
            *(partial(grant, user, child) for user in users),
            partial(child.parents.add, parent),
            partial(parent.permissions.add, one),
            *(partial(lambda user: [access_of(fresh(user)) for _ in range(5)], user) for user in users[:2]),
        )
        check_links()
        for user, outcome in zip(users, outcomes, strict=False):
            expected = {child.name} if outcome == "done" else set()
            if expected and outcomes[4] == "done":
                expected.add(parent.name)
            assert roles_of(fresh(user)) == expected
            if parent.name in expected and outcomes[5] == "done":
                assert access_of(fresh(user)).permissions


def test_one_grant_of_many_at_once_is_one_row() -> None:
    for number in range(ROUNDS):
        role, user = Role.objects.create(name=f"role{number}"), new_user()
        outcomes = all_at_once(*[partial(grant, user, role)] * 8)
        assert "done" in outcomes
        assert RoleAssignment.objects.filter(user=user.pk).count() == 1
        told: list[bool] = []
        all_at_once(*[lambda user=user, role=role, told=told: told.append(revoke(user, role))] * 8)
        assert told.count(True) == 1
        assert roles_of(fresh(user)) == frozenset()


def test_after_a_revocation_has_returned_no_reader_sees_the_role() -> None:
    """Readers compute and write back all the while; none of them puts an old summary in the place of a newer one."""
    role, user = Role.objects.create(name="role"), new_user()
    stop = threading.Event()
    settled: list[list[bool]] = [[]]  # whether it is held; nothing is promised while it changes
    wrong: list[str] = []

    def read() -> None:
        while not stop.is_set():
            before = settled[0]
            held = bool(roles_of(fresh(user)))
            if settled[0] is before and before and before[0] is not held:
                wrong.append(f"held is {held}")

    def change() -> None:
        try:
            for _ in range(ROUNDS * 6):
                for apply, outcome in ((grant, True), (revoke, False)):
                    settled[0] = []
                    apply(user, role)
                    settled[0] = [outcome]
                    time.sleep(0.01)
        finally:
            stop.set()

    in_threads([change, *[read] * 3])
    assert wrong == []
