"""Roles, who holds them, and for each user the summary that a session's state carries.

Whatever changes what somebody may do gives the summaries that it makes stale another version, in its own
transaction. A summary counts only while it was computed for the version that it has.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Self
from uuid import UUID

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import models, router, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from django_secure_auth.rbac.state import EVERYBODY, lay_markers, marker_of

# --- roles -------------------------------------------------------------------------------------------


class RoleQuerySet(models.QuerySet["Role"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would give back what was taken away."""
        return self.using(router.db_for_write(self.model))

    def lock(self) -> dict[int, tuple[str, bool]]:
        """Lock every role until the transaction ends; returns name and `requires_otp` by id.

        All, in one order: who changes a role's parents must see what others add (A→B beside B→A), and nobody may be
        granted a role, which takes a share of its row, between the look at its holders and the change.
        """
        rows = self.model._base_manager.using(router.db_for_write(self.model)).select_for_update().order_by("pk")
        return {pk: (name, requires_otp) for pk, name, requires_otp in rows.values_list("pk", "name", "requires_otp")}

    def update(self, **values: Any) -> int:
        with transaction.atomic(using=router.db_for_write(self.model)):
            self.lock()
            roles = list(self.primary().values_list("pk", flat=True))
            changed = super().update(**values)
            UserAccess.objects.touch_holders(roles)
        return changed

    def bulk_create(self, objs: Iterable[Role], *args: Any, **kwargs: Any) -> list[Role]:
        wanted = list(objs)
        with transaction.atomic(using=router.db_for_write(self.model)):
            self.lock()
            made = super().bulk_create(wanted, *args, **kwargs)
            # By name: rows that were there already, or were updated, come back without their keys.
            named = self.model._base_manager.using(router.db_for_write(self.model)).filter(
                name__in=[role.name for role in wanted]
            )
            roles = list(named.values_list("pk", flat=True))
            RoleLink.objects.add_own(roles)
            UserAccess.objects.touch_holders(roles)
        return made


class Role(models.Model):
    """A named set of permissions. A role has all that its parents have; what they ask for, it asks for too."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    description = models.CharField(_("description"), max_length=255, blank=True)
    permissions = models.ManyToManyField(
        Permission, verbose_name=_("permissions"), blank=True, related_name="secure_auth_roles"
    )
    parents = models.ManyToManyField(
        "self",
        verbose_name=_("parents"),
        symmetrical=False,
        blank=True,
        related_name="children",
        help_text=_("This role has all that these have."),
    )
    requires_otp = models.BooleanField(
        _("requires a code"), default=False, help_text=_("Who holds it needs an e-mailed code at each sign-in.")
    )

    objects = RoleQuerySet.as_manager()

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        # In one transaction with what it makes stale (see `rbac.policy`).
        with transaction.atomic(using=router.db_for_write(Role)):
            super().save(*args, **kwargs)


class RoleLinkQuerySet(models.QuerySet["RoleLink"]):
    def add_own(self, roles: Iterable[int]) -> None:
        """Link roles to themselves, so that one join finds what is granted directly and what is inherited."""
        links = [RoleLink(role_id=role, ancestor_id=role) for role in roles]
        self.using(router.db_for_write(self.model)).bulk_create(links, ignore_conflicts=True)


class RoleLink(models.Model):
    """The closure of the parents: each role with each of its ancestors, itself included. Made, never edited."""

    pk = models.CompositePrimaryKey("role", "ancestor")
    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="links")
    ancestor = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="heirs")

    objects = RoleLinkQuerySet.as_manager()

    def __str__(self) -> str:
        return f"role {self.role_id} has role {self.ancestor_id}"


# --- grants ------------------------------------------------------------------------------------------


def key_field(model: type[models.Model]) -> models.Field[Any, Any]:
    """Return the field that holds a model's key: that of its parent, for a child of a concrete model."""
    field: Any = model._meta.pk
    while getattr(field, "remote_field", None) is not None:
        field = field.target_field
    return field  # type: ignore[no-any-return]  # the stubs know no target_field of a field


def object_key(model: type[models.Model], pk: Any) -> str:
    """Return the text under which a grant names an object: a UUID as 32 hex digits, as databases without that type
    store it, so that SQL can compare; anything else as `str`.

    Raises TypeError for keys that are neither numbers, UUIDs nor text, and ValidationError for one that is ill-formed.
    """
    field = key_field(model)
    if not isinstance(field, models.IntegerField | models.UUIDField | models.CharField | models.TextField):
        raise TypeError(f"Objects of {model._meta.label} cannot be granted on: their key is a {type(field).__name__}.")
    value = field.to_python(pk)
    return value.hex if isinstance(value, UUID) else str(value)


def scope_of_object(obj: models.Model) -> str:
    """Return the `scope` of grants on one object. Raises ValueError when it has not been saved."""
    if obj.pk is None:
        raise ValueError(f"{obj!r} has not been saved: there is nothing yet that a role could be granted on.")
    return f"{ContentType.objects.get_for_model(obj).pk}:{object_key(type(obj), obj.pk)}"


class ObjectIdField(models.CharField):  # type: ignore[type-arg]  # generic in the stubs only
    """A key of any model as text (see `object_key`)."""

    def to_python(self, value: Any) -> Any:
        return value.hex if isinstance(value, UUID) else super().to_python(value)

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        if model_instance.object_id is None:  # `object=None` sets it
            model_instance.object_id = ""
        if model_instance.content_type_id is not None:
            model = ContentType.objects.get_for_id(model_instance.content_type_id).model_class()
            if model is not None:  # an app that is gone leaves its content types
                model_instance.object_id = object_key(model, model_instance.object_id)
        return super().pre_save(model_instance, add)


class ScopeField(models.CharField):  # type: ignore[type-arg]  # generic in the stubs only
    """What a grant is for, in one column, which can be unique together with others: "" for everything, else
    `<content type>:<object id>`. It follows the two fields; nobody sets it."""

    def pre_save(self, model_instance: Any, add: bool) -> Any:
        is_global = model_instance.content_type_id is None
        model_instance.scope = "" if is_global else f"{model_instance.content_type_id}:{model_instance.object_id}"
        return model_instance.scope


class RoleAssignmentQuerySet(models.QuerySet["RoleAssignment"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would give back what was taken away."""
        return self.using(router.db_for_write(self.model))

    def live(self, now: datetime | None = None) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=now or timezone.now()))

    def for_user(self, user: AbstractBaseUser) -> Self:
        return self.filter(user=user.pk)

    def for_object(self, obj: models.Model) -> Self:
        """Grants on one object. Its own end does not delete them: a host that reuses keys does so with this."""
        return self.filter(scope=scope_of_object(obj))

    def update(self, **values: Any) -> int:
        with transaction.atomic(using=router.db_for_write(self.model)):
            rows = list(self.primary().values_list("pk", "user_id"))
            changed = super().update(**values)
            moved = self.model._base_manager.using(router.db_for_write(self.model)).filter(
                pk__in=[pk for pk, _ in rows]
            )
            UserAccess.objects.touch({user for _, user in rows}.union(moved.values_list("user_id", flat=True)))
        return changed

    def bulk_create(self, objs: Iterable[RoleAssignment], *args: Any, **kwargs: Any) -> list[RoleAssignment]:
        wanted = list(objs)
        with transaction.atomic(using=router.db_for_write(self.model)):
            made = super().bulk_create(wanted, *args, **kwargs)
            UserAccess.objects.touch({assignment.user_id for assignment in wanted})
        return made


class RoleAssignment(models.Model):
    """Somebody holds a role: everywhere, or on one object; for ever, or until a moment."""

    id = models.BigAutoField(primary_key=True)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        related_name="secure_auth_roles",
        verbose_name=_("user"),
        db_index=False,  # the one with `scope` begins with it
    )
    role = models.ForeignKey(Role, on_delete=models.CASCADE, related_name="assignments", verbose_name=_("role"))
    content_type = models.ForeignKey(
        ContentType,
        on_delete=models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("kind of object"),
        help_text=_("Leave both empty to grant the role everywhere."),
    )
    object_id = ObjectIdField(_("object id"), max_length=200, blank=True, default="")
    scope = ScopeField(max_length=220, default="", editable=False)
    expires_at = models.DateTimeField(_("expires at"), null=True, blank=True)
    granted_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="+",
        verbose_name=_("granted by"),
    )
    granted_at = models.DateTimeField(_("granted at"), default=timezone.now, editable=False)

    object = GenericForeignKey("content_type", "object_id")
    objects = RoleAssignmentQuerySet.as_manager()

    class Meta:
        ordering = ("-granted_at", "-id")
        indexes = [
            models.Index(fields=["user", "scope"], name="secure_auth_grant_user"),
            models.Index(fields=["scope"], name="secure_auth_grant_object"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["user", "role", "scope"], name="secure_auth_grant_once"),
            models.CheckConstraint(
                # That they agree to the letter is ScopeField's: two texts that a cast and a column give may have two
                # collations, which MariaDB does not compare.
                condition=Q(content_type__isnull=True, object_id="", scope="")
                | Q(~Q(object_id="") & ~Q(scope=""), content_type__isnull=False),
                name="secure_auth_grant_scope",
            ),
        ]

    def __str__(self) -> str:
        return f"role {self.role_id} of user {self.user_id}" + (f" on {self.scope}" if self.scope else "")

    def save(self, *args: Any, **kwargs: Any) -> None:
        # In one transaction with what it makes stale (see `rbac.policy`).
        with transaction.atomic(using=router.db_for_write(RoleAssignment)):
            super().save(*args, **kwargs)

    @property
    def is_live(self) -> bool:
        return self.expires_at is None or self.expires_at > timezone.now()

    def clean(self) -> None:
        """What a form must say before the database does."""
        if (self.content_type_id is None) != (self.object_id in (None, "")):
            raise ValidationError(_("Name a kind of object and an object, or neither."))
        if self.content_type is not None:
            self._clean_object(self.content_type)
        place: Any = self._meta.get_field("scope")
        scope = place.pre_save(self, self._state.adding)
        twins = RoleAssignment.objects.primary().filter(user=self.user_id, role=self.role_id, scope=scope)
        if twins.exclude(pk=self.pk).exists():
            raise ValidationError(_("This user holds this role already."))

    def _clean_object(self, content_type: ContentType) -> None:
        model = content_type.model_class()
        try:
            if model is None:
                raise ObjectDoesNotExist
            self.object_id = object_key(model, self.object_id)
            content_type.get_object_for_this_type(pk=self.object_id)
        except (ObjectDoesNotExist, ValidationError, TypeError):
            raise ValidationError({"object_id": _("There is no such object.")}) from None


# --- the summary -------------------------------------------------------------------------------------


def new_version() -> int:
    """A number, not a count: that of a transaction which was rolled back must never come again, or what somebody
    computed inside of it would be believed."""
    return secrets.randbits(63)


class UserAccessQuerySet(models.QuerySet["UserAccess"]):
    def primary(self) -> Self:
        """Read where it is written: a replica that lags would give back what was taken away."""
        return self.using(router.db_for_write(self.model))

    def make_stale(self, user_ids: Collection[Any]) -> int:
        """Let summaries that there are be computed anew. Raises StateUnavailable when the state cache is away.

        Call it in the transaction of the change, after the change: roles are locked before summaries, everywhere.
        """
        if not user_ids:
            return 0
        lay_markers(map(marker_of, user_ids), using=router.db_for_write(self.model))
        return self.primary().filter(user__in=user_ids).update(version=new_version())

    def touch(self, user_ids: Collection[Any]) -> None:
        """As `make_stale`, and see to it that there is a summary: who has none has no roles."""
        if self.make_stale(user_ids) < len(user_ids):
            self._add(user_ids)
            self.make_stale(user_ids)  # somebody may have added one in between, and computed it

    def touch_holders(self, roles: Collection[int]) -> None:
        """The same for all who hold one of these roles, or one that inherits from them. Their number does not matter:
        it is a few statements, and one marker for everybody."""
        held = RoleAssignment.objects.primary().filter(role__links__ancestor__in=roles)
        self._add(held.filter(user__secure_auth_access=None).values_list("user_id", flat=True).distinct().order_by())
        if self.primary().filter(user__in=held.order_by().values("user_id")).update(version=new_version()):
            lay_markers((EVERYBODY,), using=router.db_for_write(self.model))

    def _add(self, user_ids: Iterable[Any]) -> None:
        rows = [UserAccess(user_id=user_id, version=new_version()) for user_id in user_ids]
        self.primary().bulk_create(rows, ignore_conflicts=True, batch_size=1000)


class UserAccess(models.Model):
    """What a user's global grants come to, inherited roles included. No row: no grant was ever made.

    `requires_otp` counts roles on single objects too.
    """

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="secure_auth_access"
    )
    version = models.BigIntegerField(default=new_version)
    computed_version = models.BigIntegerField(null=True)
    roles = models.JSONField(default=list)
    permissions = models.JSONField(default=list)
    requires_otp = models.BooleanField(default=False)
    valid_until = models.DateTimeField(null=True)

    objects = UserAccessQuerySet.as_manager()

    def __str__(self) -> str:
        return f"access of user {self.user_id}"
