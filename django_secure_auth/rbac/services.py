"""Grant, revoke, and ask. What somebody may do is read once for a request, and then asked of memory."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeGuard, TypeVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import AnonymousUser, Permission
from django.contrib.contenttypes.models import ContentType
from django.db import models, router, transaction
from django.db.models import Case, F, Min, QuerySet, Value, When
from django.db.models.functions import Cast
from django.utils import timezone

from django_secure_auth import signals
from django_secure_auth.audit import events
from django_secure_auth.audit.services import record
from django_secure_auth.notices import services as notices
from django_secure_auth.prepared import Param, PreparedSelect
from django_secure_auth.rbac.models import Role, RoleAssignment, UserAccess, key_field, scope_of_object
from django_secure_auth.request_scope import AnyRequest, after_transaction

M = TypeVar("M", bound=models.Model)
AnyUser = AbstractBaseUser | AnonymousUser | None

_HELD = "_secure_auth_access"
_HELD_ON_OBJECTS = "_secure_auth_object_access"


class Access(NamedTuple):
    """What a user's global grants come to. `valid_until` in Unix seconds: when the first of them ends."""

    roles: frozenset[str]
    permissions: frozenset[str]
    requires_otp: bool
    valid_until: float | None

    def holds_at(self, now: float) -> bool:
        return self.valid_until is None or now < self.valid_until


NOTHING = Access(frozenset(), frozenset(), False, None)


class Summary(NamedTuple):
    """A row of `UserAccess`, as others read it along with their own. All None: there is none."""

    version: int | None
    computed_version: int | None
    roles: list[str] | None
    permissions: list[str] | None
    requires_otp: bool | None
    valid_until: datetime | None


# --- asking ------------------------------------------------------------------------------------------


def attach(user: AbstractBaseUser, held: Access | Summary) -> None:
    """Let a user instance carry what was read along with it, so that asking costs no query."""
    setattr(user, _HELD, held)


def forget(user: AbstractBaseUser) -> None:
    """Drop what a user instance carries: it has just been changed."""
    for name in (_HELD, _HELD_ON_OBJECTS):
        if hasattr(user, name):
            delattr(user, name)


_by_user = PreparedSelect(
    lambda: UserAccess.objects.filter(user=Param("user", UserAccess, "user")).order_by().values_list(*Summary._fields)
)


def is_somebody(user: AnyUser) -> TypeGuard[AbstractBaseUser]:
    """Whether there is an account, and it is active: nobody else holds anything, a superuser neither."""
    return user is not None and user.is_active and user.pk is not None


def is_privileged(user: Any) -> bool:
    """Tell whether a user is staff, a superuser, or holds a role with `requires_otp`: whose account opens more than
    their own."""
    is_staff = getattr(user, "is_staff", False) or getattr(user, "is_superuser", False)
    return bool(is_staff) or access_of(user).requires_otp


def access_of(user: AnyUser) -> Access:
    """Return what a user's global roles come to. No query for a user from our authentication; one otherwise, and none
    for the same instance again. Who is inactive or anonymous has nothing."""
    if not is_somebody(user):
        return NOTHING
    held = getattr(user, _HELD, None)
    if isinstance(held, Access) and held.holds_at(timezone.now().timestamp()):
        return held
    if not isinstance(held, Summary):
        row = next(iter(_by_user.rows(user=user.pk)), None)
        held = Summary(*row) if row else None
    access = resolve(user.pk, held) if held else NOTHING
    attach(user, access)
    return access


def resolve(user_id: Any, summary: Summary) -> Access:
    """Return the access that a summary holds; when it is stale, what the tables say, and write that back.

    Written by compare-and-swap, and not before the transaction of the request has ended: whoever changes a grant
    meanwhile gives the summary another version, and nothing is written.
    """
    if summary.version is None:
        return NOTHING
    now = timezone.now()
    until = summary.valid_until
    if summary.computed_version == summary.version and (until is None or until > now):
        return Access(
            frozenset(summary.roles or ()),
            frozenset(summary.permissions or ()),
            bool(summary.requires_otp),
            until.timestamp() if until else None,
        )
    roles, permissions, requires_otp, until = _compute(user_id, now)
    columns = {
        "computed_version": summary.version,
        "roles": sorted(roles),
        "permissions": sorted(permissions),
        "requires_otp": requires_otp,
        "valid_until": until,
    }
    row = UserAccess.objects.filter(user=user_id, version=summary.version)
    after_transaction(partial(row.update, **columns), using=router.db_for_write(UserAccess))
    return Access(roles, permissions, requires_otp, until.timestamp() if until else None)


def _compute(user_id: Any, now: datetime) -> tuple[frozenset[str], frozenset[str], bool, datetime | None]:
    held = RoleAssignment.objects.primary().live(now).filter(user=user_id).order_by()
    # Grouped by role, so that thousands of grants on objects are a few rows.
    rows = list(
        held.annotate(is_global=Case(When(scope="", then=Value(True)), default=Value(False)))
        .values("is_global", "role__links__ancestor__name", "role__links__ancestor__requires_otp")
        .annotate(until=Min("expires_at"))
        .values_list("is_global", "role__links__ancestor__name", "role__links__ancestor__requires_otp", "until")
    )
    granted = Permission.objects.using(router.db_for_write(UserAccess)).filter(
        secure_auth_roles__heirs__role__assignments__in=held.filter(scope="")
    )
    named = granted.order_by().values_list("content_type__app_label", "codename").distinct()
    ends = [until for is_global, _, requires_otp, until in rows if until and (is_global or requires_otp)]
    return (
        frozenset(name for is_global, name, _, _ in rows if is_global and name),
        frozenset(f"{app_label}.{codename}" for app_label, codename in named),
        any(requires_otp for _, _, requires_otp, _ in rows),
        min(ends, default=None),
    )


class _OnObject(NamedTuple):
    roles: frozenset[str]
    permissions: frozenset[str]


def access_on(user: AnyUser, obj: models.Model) -> _OnObject:
    """Return the roles and permissions that a user holds on one object alone: one query, and none for the same
    instance again."""
    if not is_somebody(user) or obj.pk is None:
        return _OnObject(frozenset(), frozenset())
    known: dict[str, _OnObject] = getattr(user, _HELD_ON_OBJECTS, {})
    scope = scope_of_object(obj)
    found = known.get(scope)
    if found is None:
        permission = "role__links__ancestor__permissions"
        rows = list(
            RoleAssignment.objects.primary()
            .live()
            .filter(user=user.pk, scope=scope)
            .order_by()
            .values_list(
                "role__links__ancestor__name", f"{permission}__content_type__app_label", f"{permission}__codename"
            )
            .distinct()
        )
        found = _OnObject(
            frozenset(name for name, _, _ in rows if name),
            frozenset(f"{app_label}.{codename}" for _, app_label, codename in rows if codename),
        )
        setattr(user, _HELD_ON_OBJECTS, {**known, scope: found})
    return found


def roles_of(user: AnyUser, obj: models.Model | None = None) -> frozenset[str]:
    """Return the names of the roles that a user holds, inherited ones included; with `obj`, on that object too."""
    everywhere = access_of(user).roles
    return everywhere if obj is None else everywhere | access_on(user, obj).roles


def has_role(user: AnyUser, role: str, obj: models.Model | None = None) -> bool:
    """Tell whether a user holds a role, everywhere or on `obj`. A name that no role has is held by nobody."""
    return role in access_of(user).roles or (obj is not None and role in access_on(user, obj).roles)


def has_permission(user: AnyUser, permission: str, obj: models.Model | None = None) -> bool:
    """The same for a permission such as `notes.change_note` that a role carries."""
    return permission in access_of(user).permissions or (
        obj is not None and permission in access_on(user, obj).permissions
    )


def queryset_for(user: AnyUser, permission: str, model: type[M]) -> QuerySet[M]:
    """Return the objects on which a user has a permission such as `notes.change_note`, as one SQL query.

    All for a superuser and for who holds it everywhere, else those of grants on single objects. It agrees with
    `RoleBackend.has_perm(user, permission, obj)`; Django's groups and user permissions, which know no objects, are
    not asked. Raises ValueError for a permission without its app.
    """
    app_label, codename = split_permission(permission)
    everything = model._default_manager.all()
    if not is_somebody(user):
        return everything.none()
    if getattr(user, "is_superuser", False) or permission in access_of(user).permissions:
        return everything
    key = key_field(model)
    granted = RoleAssignment.objects.live().filter(
        user=user.pk,
        content_type=ContentType.objects.get_for_model(model).pk,
        role__links__ancestor__permissions__codename=codename,
        role__links__ancestor__permissions__content_type__app_label=app_label,
    )
    # As the key's own type, so that its index serves; text stays as it is.
    as_key: Any = F("object_id")
    if isinstance(key, models.IntegerField):
        as_key = Cast("object_id", models.BigIntegerField())
    elif isinstance(key, models.UUIDField):
        as_key = Cast("object_id", models.UUIDField())
    return everything.filter(pk__in=granted.order_by().values_list(as_key))


def split_permission(permission: str) -> tuple[str, str]:
    """Return app and codename of `app.codename`. Raises ValueError."""
    app_label, dot, codename = permission.partition(".")
    if not (app_label and dot and codename):
        raise ValueError(f"A permission is named with its app, such as 'notes.change_note', not {permission!r}.")
    return app_label, codename


# --- changing ----------------------------------------------------------------------------------------


def _role(role: Role | str) -> Role:
    if isinstance(role, Role):
        return role
    named = {one.name: one for one in Role.objects.primary().filter(name=role)}  # a collation may know less than we do
    if role not in named:
        known = ", ".join(Role.objects.primary().order_by("name").values_list("name", flat=True)[:20]) or "none yet"
        raise Role.DoesNotExist(f"There is no role {role!r}. Roles are: {known}.")
    return named[role]


def grant(
    user: AbstractBaseUser,
    role: Role | str,
    *,
    obj: models.Model | None = None,
    until: datetime | None = None,
    by: AbstractBaseUser | None = None,
) -> RoleAssignment:
    """Give a user a role, everywhere or on `obj`, for ever or `until` a moment; it holds at the next request.

    Granting it again changes how long it holds, and who granted it; when nothing would be different, nothing is done.
    Raises Role.DoesNotExist for an unknown name, ValueError for an `until` that is naive or not in the future, and
    StateUnavailable, having changed nothing, when the state cache is away.
    """
    if until is not None and timezone.is_naive(until):
        raise ValueError("`until` needs a time zone.")
    if until is not None and until <= timezone.now():
        raise ValueError("`until` is not in the future.")
    found = _role(role)
    scope = scope_of_object(obj) if obj is not None else ""
    new = {"object": obj, "expires_at": until, "granted_by": by}
    with transaction.atomic(using=router.db_for_write(RoleAssignment)):
        assignment, is_new = RoleAssignment.objects.primary().get_or_create(
            user_id=user.pk, role=found, scope=scope, defaults=new
        )
        assignment.role = found
        if not is_new:
            if assignment.expires_at == until:
                return assignment
            assignment.expires_at, assignment.granted_at = until, timezone.now()
            assignment.granted_by_id = getattr(by, "pk", None)
            assignment.save()
        tell(assignment, "granted", actor=by, is_new=is_new)
    forget(user)
    return assignment


def revoke(
    user: AbstractBaseUser, role: Role | str, *, obj: models.Model | None = None, by: AbstractBaseUser | None = None
) -> bool:
    """Take a role from a user, everywhere or on `obj`; after this, no new request has it. Returns whether there was
    such a grant: a role that is inherited from another one goes with that one.

    Raises Role.DoesNotExist for an unknown name, and StateUnavailable, having changed nothing, when the state cache
    is away.
    """
    scope = scope_of_object(obj) if obj is not None else ""
    granted = RoleAssignment.objects.primary().filter(user=user.pk, role=_role(role), scope=scope)
    held = granted.select_related("role").first()
    was_there = held is not None and withdraw(held, actor=by)
    forget(user)
    return was_there


def withdraw(assignment: RoleAssignment, *, actor: Any, request: AnyRequest | None = None) -> bool:
    """Delete one grant and tell of it. Returns whether it was this call that did."""
    with transaction.atomic(using=router.db_for_write(RoleAssignment)):
        deleted, _ = RoleAssignment.objects.filter(pk=assignment.pk).delete()
        if deleted:
            tell(assignment, "revoked", actor=actor, request=request)
    return bool(deleted)


def tell(
    assignment: RoleAssignment, change: str, *, actor: Any, request: AnyRequest | None = None, is_new: bool = False
) -> None:
    """Write the event and send the signal, after commit, of a grant (`granted`) or its end (`revoked`).

    Of a new one its user is told by mail.
    """
    if is_new:
        notices.tell("role_granted", assignment.user, request=request, role=assignment.role.name)
    until, role = assignment.expires_at, assignment.role.name
    place = {"content_type_id": assignment.content_type_id, "object_id": assignment.object_id}
    record(
        events.ROLES_CHANGE, request=request, user=assignment.user_id,
        actor="" if actor is None else actor,  # nobody, as from a shell: who gets a role is not who gave it
        change=change, role=role, until=until.isoformat() if until else None, **place,
    )  # fmt: skip
    told = {"user_id": assignment.user_id, "role": role, **place, "by_id": getattr(actor, "pk", actor)}
    signal = signals.role_revoked
    if change == "granted":
        signal, told = signals.role_granted, {**told, "expires_at": until}
    transaction.on_commit(
        partial(signal.send_robust, sender=RoleAssignment, **told), using=router.db_for_write(RoleAssignment)
    )
