"""A DRF view whose rows, parents and references are the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, ClassVar

from django.core.exceptions import ImproperlyConfigured
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import models, router, transaction
from django.http import Http404
from rest_framework import exceptions as drf
from rest_framework.generics import GenericAPIView, get_object_or_404
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from django_secure_auth.exceptions import NotFound
from django_secure_auth.ownership.fields import narrow
from django_secure_auth.ownership.permissions import IsOwner
from django_secure_auth.ownership.policy import ATTRIBUTE, is_owner, is_somebody, owned, require_rule, rule_of


class OwnedViewMixin(GenericAPIView[Any]):
    """`class NoteViewSet(OwnedViewMixin, ModelViewSet)`: its routes see and write the caller's rows only.

    By the rule of the model (`secure_auth_owner`):

    - lists and objects are filtered in SQL; foreign, missing and ill-formed ids are the same 404;
    - a new row belongs to the caller, or to a parent of theirs; an update moves it to parents of theirs only;
    - related fields find the caller's rows only, at any depth of the serializer;
    - object permissions are asked for new rows and for the rows of a list too.

    Nobody is exempt, superusers included; see `is_owner_exempt`.
    """

    parent_lookup_kwargs: ClassVar[Mapping[str, str]] = {}
    """For nested routes: keyword of the URL → look-up, as in drf-nested-routers: `{"project_pk": "project__pk"}`."""
    _parents: Mapping[str, models.Model] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        model = getattr(cls.__dict__.get("queryset"), "model", None)
        if model is not None and getattr(model, ATTRIBUTE, None) is None:
            require_rule(model)
        for lookup in cls.parent_lookup_kwargs.values():
            if "__" not in lookup:
                raise ImproperlyConfigured(f'{cls.__name__}.parent_lookup_kwargs: write "{lookup}__pk".')
        # A get_queryset() of the view's own, or of another mixin, that forgets super() must not show everything.
        if not getattr(cls.get_queryset, "is_restricted", False):
            cls.get_queryset = _restricted(cls.get_queryset)  # type: ignore[method-assign]  # see above

    def is_owner_exempt(self, request: Request) -> bool:
        """Tell whether this caller is outside of the rule, for this view: sees, changes and refers to everybody's rows.

        Nobody is. To let superusers in: `return request.user.is_superuser`.
        """
        return False

    # --- reading -------------------------------------------------------------------------------------

    def _restrict(self, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        require_rule(queryset.model)
        if self._is_drawn():
            return queryset.none()
        for keyword, lookup in self.parent_lookup_kwargs.items():
            try:
                queryset = queryset.filter(**{lookup: self.kwargs[keyword]})
            except (TypeError, ValueError, DjangoValidationError):
                raise Http404 from None
        return queryset if self.is_owner_exempt(self.request) else owned(queryset, self.request.user)

    def check_object_permissions(self, request: Request, obj: Any) -> None:
        self._judge(obj)
        super().check_object_permissions(request, obj)

    def _judge(self, row: Any) -> None:
        # Also where a view finds its object in some other way than by get_object().
        if rule_of(type(row)) is not None and not self.is_owner_exempt(self.request):
            if not is_owner(self.request.user, row):
                raise NotFound

    def _is_drawn(self) -> bool:
        """Tell whether nobody asks: a tool looks at the view to draw a schema."""
        return getattr(self, "request", None) is None or getattr(self, "swagger_fake_view", False)

    # --- nested routes -------------------------------------------------------------------------------

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if any("\0" in str(value) for value in self.kwargs.values()):
            raise Http404  # PostgreSQL refuses it with an error of its own
        self._parents = self._find_parents(request)

    def _find_parents(self, request: Request) -> dict[str, models.Model]:
        """Return the parents that the URL names, by relation; a foreign one is a 404, not an empty list.

        For a single row there is nothing to find: it is filtered by its parents.
        """
        if not self.parent_lookup_kwargs or (self.lookup_url_kwarg or self.lookup_field) in self.kwargs:
            return {}
        parents = {}
        for keyword, lookup in self.parent_lookup_kwargs.items():
            relation, _, field = lookup.rpartition("__")
            model = self.get_queryset().model
            for name in relation.split("__"):
                model = model._meta.get_field(name).related_model
            queryset = model._default_manager.all()
            if rule_of(model) is not None and not self.is_owner_exempt(request):
                queryset = owned(queryset, request.user)
            parents[relation] = get_object_or_404(queryset, **{field: self.kwargs[keyword]})
        return parents

    # --- writing -------------------------------------------------------------------------------------

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        if self._is_drawn():
            return super().get_serializer(*args, **kwargs)
        if kwargs.get("many") and "data" not in kwargs and (args or "instance" in kwargs):
            rows, *others = args or [kwargs.pop("instance")]
            args = (self._permitted(rows), *others)
        serializer = super().get_serializer(*args, **kwargs)
        if not self.is_owner_exempt(self.request):
            narrow(serializer, self.request.user)
        # Here, not in perform_create(): a view that overrides that, as DRF's tutorial says, must not lose the rule.
        serializer.save = partial(self._save, serializer, serializer.save)  # type: ignore[method-assign]  # see above
        return serializer

    def _save(self, serializer: Any, save: Any, **kwargs: Any) -> Any:
        """Save in a transaction that a foreign result takes back."""
        if not is_somebody(self.request.user):
            self.permission_denied(self.request)
        model = getattr(getattr(getattr(serializer, "child", serializer), "Meta", None), "model", None)
        is_new = serializer.instance is None
        if is_new and model is not None:
            kwargs = {**self._given(serializer, model), **kwargs}
        with transaction.atomic(using=router.db_for_write(model) if model is not None else None):
            saved = save(**kwargs)
            for row in saved if isinstance(saved, list | tuple) else [saved]:
                self._judge(row)
                if is_new and isinstance(row, self.get_queryset().model):
                    super().check_object_permissions(self.request, row)
                    if self._parents and not self.get_queryset().filter(pk=row.pk).exists():
                        raise NotFound  # not below the parents that the URL names
        return saved

    def _given(self, serializer: Any, model: type[models.Model]) -> dict[str, Any]:
        """What a new row has from the server: its owner, when the row names one, and the parent in the URL."""
        names = {field.name for field in model._meta.get_fields()}
        given: dict[str, Any] = {relation: row for relation, row in self._parents.items() if relation in names}
        rule = rule_of(model)
        if rule is not None and rule.is_direct:
            chosen = self.is_owner_exempt(self.request) and rule.path in serializer.validated_data
            if not chosen:
                given[rule.path] = self.request.user
        return given

    # --- lists ---------------------------------------------------------------------------------------

    def _permitted(self, rows: Iterable[Any]) -> Iterable[Any]:
        """Leave out the rows of a list that an object permission of the view refuses.

        DRF asks them for single objects only. Ownership itself is in the query and costs nothing here; parents are
        loaded for all rows at once.
        """
        asked = [permission for permission in self.get_permissions() if _judges_objects(permission)]
        if not asked:
            return rows
        rows = list(rows)
        rule = rule_of(type(rows[0])) if rows else None
        if rule is not None and not rule.is_direct:
            models.prefetch_related_objects(rows, rule.parents)
        return [row for row in rows if all(self._is_permitted(permission, row) for permission in asked)]

    def _is_permitted(self, permission: Any, row: Any) -> bool:
        try:
            return bool(permission.has_object_permission(self.request, self, row))
        except (Http404, DjangoPermissionDenied, drf.NotFound, drf.PermissionDenied):
            return False


def _restricted(get_queryset: Callable[[Any], models.QuerySet[Any]]) -> Any:
    @wraps(get_queryset)
    def restricted(self: OwnedViewMixin) -> models.QuerySet[Any]:
        return self._restrict(get_queryset(self))

    restricted.is_restricted = True  # type: ignore[attr-defined]  # so that a subclass is not restricted twice
    return restricted


def _judges_objects(permission: Any) -> bool:
    """Tell whether a permission, or an operand of a composed one, has something to say of objects beside ownership."""
    operands = [getattr(permission, name) for name in ("op1", "op2") if hasattr(permission, name)]
    if operands:
        return any(_judges_objects(operand) for operand in operands)
    silent = (BasePermission.has_object_permission, IsOwner.has_object_permission)
    return type(permission).has_object_permission not in silent
