"""What a role inherits, and what must hold whoever changes a role or a grant: a service, the admin, a shell.

The receivers run inside the transaction of what they watch. Order of locks: roles, then grants, then summaries.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

from django.contrib.auth.models import Permission
from django.db import connections, models, router, transaction
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_delete, pre_save
from django.dispatch import Signal

from django_secure_auth.exceptions import PolicyRejected, StateUnavailable
from django_secure_auth.rbac.models import Role, RoleAssignment, RoleLink, UserAccess, new_version
from django_secure_auth.rbac.state import EVERYBODY, lay_markers

R = TypeVar("R")
logger = logging.getLogger("django_secure_auth")

# --- arithmetic over "role → its parents" ------------------------------------------------------------


def ancestors(role: R, parents: Mapping[R, Collection[R]]) -> frozenset[R]:
    """Return the roles whose permissions `role` has: itself, its parents, theirs. It ends in a cycle too."""
    found, todo = {role}, [role]
    while todo:
        for parent in parents.get(todo.pop(), ()):
            if parent not in found:
                found.add(parent)
                todo.append(parent)
    return frozenset(found)


def closure(roles: Iterable[R], parents: Mapping[R, Collection[R]]) -> set[tuple[R, R]]:
    """Return every pair of a role and one of its ancestors, the pair with itself included."""
    return {(role, ancestor) for role in roles for ancestor in ancestors(role, parents)}


def makes_cycle(child: R, new_parents: Iterable[R], parents: Mapping[R, Collection[R]]) -> bool:
    """Tell whether a role would inherit from itself: by way of others, or as its own parent."""
    return any(child in ancestors(parent, parents) for parent in new_parents)


# --- the tables --------------------------------------------------------------------------------------

CYCLE = "A role cannot inherit from itself, nor from a role that inherits from it."


def read_parents() -> dict[int, list[int]]:
    """Return the parents of each role, after the roles were locked: a locking read sees what others have committed,
    whatever this transaction had read before."""
    edges: Any = Role.parents.through._default_manager.using(router.db_for_write(Role)).select_for_update()
    parents: dict[int, list[int]] = defaultdict(list)
    for child, parent in edges.values_list("from_role_id", "to_role_id"):
        parents[child].append(parent)
    return parents


def rebuild_links() -> None:
    """Make `RoleLink` what the parents say. Locks the roles."""
    links = RoleLink.objects.using(router.db_for_write(RoleLink))
    wanted = closure(Role.objects.lock(), read_parents())
    known = set(links.select_for_update().order_by().values_list("role_id", "ancestor_id"))
    links.bulk_create([RoleLink(role_id=role, ancestor_id=ancestor) for role, ancestor in wanted - known])
    gone: dict[int, list[int]] = defaultdict(list)
    for role, ancestor in known - wanted:
        gone[role].append(ancestor)
    for role, ancestors_ in gone.items():
        links.filter(role=role, ancestor__in=ancestors_).delete()


def rebuild() -> None:
    """Make everything anew that is derived from roles and grants. For changes that went around the ORM: raw SQL,
    another program, the historical models of a migration (after which it is called by itself)."""
    using = router.db_for_write(UserAccess)
    with transaction.atomic(using=using):
        rebuild_links()
        UserAccess.objects.touch_holders(list(Role.objects.primary().order_by().values_list("pk", flat=True)))
        # Those who hold nothing any more, too.
        UserAccess.objects.primary().update(version=new_version())
        lay_markers((EVERYBODY,), using=using)


# --- receivers ---------------------------------------------------------------------------------------

_BEFORE = frozenset({"pre_add", "pre_remove", "pre_clear"})


def before_role_is_saved(instance: Role, **_: object) -> None:
    now = (instance.name, instance.requires_otp)
    if Role.objects.lock().get(instance.pk, now) != now:
        UserAccess.objects.touch_holders([instance.pk])


def after_role_is_saved(instance: Role, created: bool, **_: object) -> None:
    if created:
        RoleLink.objects.add_own([instance.pk])


def before_role_is_deleted(instance: Role, **_: object) -> None:
    Role.objects.lock()
    UserAccess.objects.touch_holders([instance.pk])


def after_role_is_deleted(**_: object) -> None:
    rebuild_links()


def _changed_roles(*, instance: Any, reverse: bool, pk_set: Collection[int] | None, back: str) -> list[int]:
    """The roles whose own list changes, whichever end it was changed from; `back` names the other end's accessor."""
    if not reverse:
        return [instance.pk]
    if pk_set is not None:
        return list(pk_set)
    return list(getattr(instance, back).using(router.db_for_write(Role)).order_by().values_list("pk", flat=True))


def permissions_change(action: str, instance: Any, reverse: bool, pk_set: Collection[int] | None, **_: object) -> None:
    if action in _BEFORE and pk_set != set():
        Role.objects.lock()
        UserAccess.objects.touch_holders(
            _changed_roles(instance=instance, reverse=reverse, pk_set=pk_set, back="secure_auth_roles")
        )


def parents_change(action: str, instance: Any, reverse: bool, pk_set: Collection[int] | None, **_: object) -> None:
    """Refuse a cycle, also under a race: the other transaction waits for our lock, and then sees our edge.

    Raises PolicyRejected.
    """
    if pk_set == set():
        return
    if action not in _BEFORE:
        rebuild_links()
        return
    Role.objects.lock()
    children = _changed_roles(instance=instance, reverse=reverse, pk_set=pk_set, back="children")
    if action == "pre_add":
        new_parents = [instance.pk] if reverse else list(pk_set or ())
        parents = read_parents()
        if any(makes_cycle(child, new_parents, parents) for child in children):
            raise PolicyRejected(CYCLE, errors={"parents": [CYCLE]})
    UserAccess.objects.touch_holders(children)


def _counts(assignment: RoleAssignment) -> bool:
    """Whether a grant is in the summary: what is held on one object is there only for the code that it asks for."""
    links = RoleLink.objects.using(router.db_for_write(RoleLink)).filter(role=assignment.role_id)
    return assignment.scope == "" or links.filter(ancestor__requires_otp=True).exists()


def before_assignment_is_saved(instance: RoleAssignment, **_: object) -> None:
    if instance.pk is not None:
        was = RoleAssignment.objects.primary().filter(pk=instance.pk).exclude(user=instance.user_id)
        UserAccess.objects.make_stale(list(was.values_list("user_id", flat=True)))


def after_assignment_is_saved(instance: RoleAssignment, created: bool, **_: object) -> None:
    if not created or _counts(instance):
        UserAccess.objects.touch({instance.user_id})


def before_assignment_is_deleted(instance: RoleAssignment, origin: Any = None, **_: object) -> None:
    # With their role, all are told at once by the role's own receiver.
    is_with_role = isinstance(origin, Role) or getattr(origin, "model", None) is Role
    if not is_with_role and _counts(instance):
        UserAccess.objects.make_stale({instance.user_id})  # never adds a row: the user may be about to go too


def _touch_holders_of(permission: Permission) -> None:
    using = router.db_for_write(Role)
    with transaction.atomic(using=using):
        Role.objects.lock()
        roles = Role.objects.primary().filter(permissions=permission.pk).order_by()
        UserAccess.objects.touch_holders(list(roles.values_list("pk", flat=True)))


def after_permission_is_saved(instance: Permission, created: bool, **_: object) -> None:
    if not created:
        _touch_holders_of(instance)


def before_permission_is_deleted(instance: Permission, **_: object) -> None:
    _touch_holders_of(instance)


def after_migrate(using: str, plan: Collection[Any] = (), **_: object) -> None:
    """A migration's models are not ours: they call no receiver, and know no `RoleLink` of a role that they make."""
    if not plan or using != router.db_for_write(Role):
        return
    if Role._meta.db_table not in connections[using].introspection.table_names():
        return
    try:
        rebuild()
    except StateUnavailable:
        logger.exception("The state cache is away: cached states may know less of roles for a while.")


RECEIVERS: tuple[tuple[Signal, Callable[..., None], type[models.Model]], ...] = (
    (pre_save, before_role_is_saved, Role),
    (post_save, after_role_is_saved, Role),
    (pre_delete, before_role_is_deleted, Role),
    (post_delete, after_role_is_deleted, Role),
    (m2m_changed, permissions_change, Role.permissions.through),
    (m2m_changed, parents_change, Role.parents.through),
    (pre_save, before_assignment_is_saved, RoleAssignment),
    (post_save, after_assignment_is_saved, RoleAssignment),
    (pre_delete, before_assignment_is_deleted, RoleAssignment),
    (post_save, after_permission_is_saved, Permission),
    (pre_delete, before_permission_is_deleted, Permission),
)
