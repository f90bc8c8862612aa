"""DRF permissions, composable with `& | ~`.

They judge, and leave a note of what was refused. Whether a refusal was the last word only the answer shows (`A | B`
goes on, and an OPTIONS request asks for what it does not do); `IdleTimeoutMiddleware` writes the event then.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from rest_framework.permissions import (
    AND,
    NOT,
    OR,
    BasePermission,
    OperandHolder,
    OperationHolderMixin,
    SingleOperandHolder,
)
from rest_framework.request import Request

from django_secure_auth.conf import conf
from django_secure_auth.exceptions import Forbidden, ImpersonationRefused, StepUpRequired
from django_secure_auth.rbac.services import has_permission, has_role, split_permission
from django_secure_auth.request_scope import Refusal, scope_of

_KEY = "api_key"

# --- composition -------------------------------------------------------------------------------------


class _Composable(OperationHolderMixin):
    """`& | ~` of instances, which DRF gives to classes only, into operators that know which operand has refused."""

    def __and__(self, other: Any) -> OperandHolder:
        return _Holder(_And, self, other)  # type: ignore[arg-type]  # the stubs ask for an instance of the operator

    def __or__(self, other: Any) -> OperandHolder:
        return _Holder(_Or, self, other)  # type: ignore[arg-type]  # as above

    def __invert__(self) -> SingleOperandHolder:
        return _NotHolder(_Not, self)  # type: ignore[arg-type]  # as above


class _Holder(_Composable, OperandHolder):
    pass


class _NotHolder(_Composable, SingleOperandHolder):
    pass


class _Judge:
    """What all of ours have in common: `refusal` judges and touches nothing, `has_permission` notes the outcome.

    A foreign operator (`IsAuthenticated & HasRole("editor")` is DRF's own) calls `has_permission` of one operand after
    the other: the last note stands, and a pass wipes out what an alternative before it had noted.
    """

    code: str = Forbidden.code
    message: str | None = None

    @abstractmethod
    def refusal(self, request: Request, view: Any) -> Refusal | None:
        """Judge, and touch nothing."""

    def has_permission(self, request: Request, view: Any) -> bool:
        refusal = self.refusal(request, view)
        scope_of(request).refusal = refusal
        return refusal is None


def _ask(operand: Any, request: Request, view: Any) -> Refusal | None:
    if isinstance(operand, _Judge):
        return operand.refusal(request, view)
    if operand.has_permission(request, view):
        return None
    # A foreign operator may have asked one of ours, which has left its note.
    noted = scope_of(request).refusal
    return noted or Refusal(getattr(operand, "code", None) or Forbidden.code, {"required": [type(operand).__name__]})


def _both(one: Refusal, other: Refusal) -> Refusal:
    # The client can do something about a proof that is too old, and about nothing else.
    code = StepUpRequired.code if StepUpRequired.code in (one.code, other.code) else one.code
    details = {name: [*one.details.get(name, ()), *other.details.get(name, ())] for name in one.details | other.details}
    return Refusal(code, details)


class _Operator(_Judge):
    """Made anew for each request, so that it may keep the code of the operand that refused: DRF reads it there."""

    def has_permission(self, request: Request, view: Any) -> bool:
        is_met = super().has_permission(request, view)
        noted = scope_of(request).refusal
        if noted is not None:
            self.code = noted.code
            self.message = StepUpRequired.default_detail if noted.code == StepUpRequired.code else None
        return is_met


def _judge_keys(*operands: Any) -> bool:
    """Tell whether a refusal of an API key says something of the key. Where not, its negation refuses as well."""
    return all(getattr(operand, "judges_keys", True) for operand in operands)


class _And(_Operator, AND):
    op1: Any
    op2: Any

    @property
    def judges_keys(self) -> bool:
        return _judge_keys(self.op1, self.op2)

    def refusal(self, request: Request, view: Any) -> Refusal | None:
        return _ask(self.op1, request, view) or _ask(self.op2, request, view)


class _Or(_Operator, OR):
    op1: Any
    op2: Any

    @property
    def judges_keys(self) -> bool:
        return _judge_keys(self.op1, self.op2)

    def refusal(self, request: Request, view: Any) -> Refusal | None:
        one = _ask(self.op1, request, view)
        other = _ask(self.op2, request, view) if one else None
        return _both(one, other) if one and other else None


class _Not(_Operator, NOT):
    op1: Any

    @property
    def judges_keys(self) -> bool:
        return _judge_keys(self.op1)

    def refusal(self, request: Request, view: Any) -> Refusal | None:
        if self._can_tell(request) and _ask(self.op1, request, view):
            return None
        refused = getattr(self.op1, "requirement", {"required": [type(self.op1).__name__]})
        return Refusal(Forbidden.code, {name: [f"not {value}" for value in values] for name, values in refused.items()})

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return self._can_tell(request) and super().has_object_permission(request, view, obj)

    def _can_tell(self, request: Request) -> bool:
        # A key has no roles and no proof: `~HasRole("guest")` would let in every key, a guest's too.
        return self.judges_keys or not _is_key(request)


# --- what a view may ask for -------------------------------------------------------------------------

if TYPE_CHECKING:
    # To the stubs, what stands in `permission_classes` is a class or a holder; ours is an instance that acts as one.
    class _Instance(_Composable, _Judge, SingleOperandHolder, BasePermission):
        pass
else:

    class _Instance(_Composable, _Judge, BasePermission):
        pass


class _Permission(_Instance):
    requirement: dict[str, list[str]] = {}
    """What is asked for, as the event names it."""

    @property
    def judges_keys(self) -> bool:
        return False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Let an instance such as `HasRole("editor")` stand in `permission_classes`, which DRF calls to make one."""
        return self

    @abstractmethod
    def is_met(self, request: Request) -> bool:
        """Tell whether the caller has what is asked for."""

    def refusal(self, request: Request, view: Any) -> Refusal | None:
        return None if self.is_met(request) else Refusal(self.code, self.requirement)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        # The same for every object; and not simply True, or its negation would refuse them all.
        return self.refusal(request, view) is None


def _is_key(request: Request) -> bool:
    return getattr(request.auth, "kind", None) == _KEY


def _names(names: Collection[Any], what: str) -> tuple[str, ...]:
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise ImproperlyConfigured(f"{what} needs the name of a role.")
    return tuple(names)


class HasRole(_Permission):
    """Passes when the caller holds all of these roles, inherited ones included. No query.

    A name that no role has is held by nobody. API keys have scopes and no roles: see `HasScope`.
    """

    def __init__(self, *roles: str) -> None:
        self.roles = _names(roles, "HasRole")
        self.requirement = {"required_roles": list(self.roles)}
        self.secure_auth_who = f"role {' and '.join(self.roles)}"

    def is_met(self, request: Request) -> bool:
        return not _is_key(request) and all(has_role(request.user, role) for role in self.roles)


class HasAnyRole(_Permission):
    """Passes when the caller holds at least one of these roles."""

    def __init__(self, *roles: str) -> None:
        self.roles = _names(roles, "HasAnyRole")
        self.requirement = {"required_roles": list(self.roles)}
        self.secure_auth_who = f"role {' or '.join(self.roles)}"

    def is_met(self, request: Request) -> bool:
        return not _is_key(request) and any(has_role(request.user, role) for role in self.roles)


class HasPermission(_Permission):
    """Passes when the caller has a permission such as `notes.change_note`, from a role (no query) or from anything
    else that `user.has_perm()` knows: superuser, Django's groups, another backend."""

    def __init__(self, permission: str) -> None:
        try:
            split_permission(permission)
        except ValueError as error:
            raise ImproperlyConfigured(str(error)) from None
        self.permission = permission
        self.requirement = {"required_permissions": [permission]}
        self.secure_auth_who = f"permission {permission}"

    def is_met(self, request: Request) -> bool:
        return not _is_key(request) and _may(request.user, self.permission)


def _may(user: Any, permission: str) -> bool:
    if has_permission(user, permission):
        return True
    ask = getattr(user, "has_perm", None)  # not every user model has permissions of Django's
    return bool(ask is not None and ask(permission))


class HasScope(_Permission):
    """Passes for an API key that holds this scope, while its owner has the permission behind it (`API_KEY_SCOPES`).

    A session is judged by roles and permissions; a view for both says
    `HasScope("reports:read") | HasPermission("reports.view_report")`.
    """

    def __init__(self, scope: str) -> None:
        if not str(scope or "").strip():
            raise ImproperlyConfigured("HasScope needs the name of a scope, such as 'reports:read'.")
        self.scope = scope
        self.requirement = {"required_scopes": [scope]}
        self.secure_auth_who = f"scope {scope}"

    @property
    def judges_keys(self) -> bool:
        return True

    def is_met(self, request: Request) -> bool:
        return holds_scope(request.user, request.auth, self.scope)


def holds_scope(user: Any, auth: Any, scope: str) -> bool:
    """Tell whether an API key holds a scope and its owner still has the permission behind it (`API_KEY_SCOPES`)."""
    if getattr(auth, "kind", None) != _KEY or scope not in getattr(auth, "scopes", ()):
        return False
    behind = conf.API_KEY_SCOPES.get(scope)
    return behind is None or _may(user, behind)


def refuse_impersonation(request: Request) -> None:
    """Raise ImpersonationRefused when whoever sends a request is signed in as somebody else."""
    if _is_impersonated(request):
        raise ImpersonationRefused


def _is_impersonated(request: Request) -> bool:
    return getattr(request.auth, "impersonator", None) is not None


class NotImpersonated(_Permission):
    """Passes for who is signed in, unless it is somebody of the staff who is signed in as the user.

    Refuses those with 403 `impersonation_refused`.
    """

    code = ImpersonationRefused.code
    message = ImpersonationRefused.default_detail
    requirement = {"required_proof": ["the user"]}
    secure_auth_who = "the user in person"

    def is_met(self, request: Request) -> bool:
        return bool(getattr(request.user, "is_authenticated", False)) and not _is_impersonated(request)


class RecentlyAuthenticated(_Permission):
    """Passes when the password, or another proof, was given within `minutes` (default `STEP_UP_MAX_AGE`).

    A refresh is no proof, and neither is an API key. Refuses with 403 `step_up_required` (ASVS 7.5.1), and whoever
    impersonates the user with 403 `impersonation_refused`.
    """

    code = StepUpRequired.code
    message = StepUpRequired.default_detail
    requirement = {"required_proof": ["recent"]}
    secure_auth_who = "recently signed in"

    def __init__(self, minutes: float | None = None) -> None:
        self.max_age = timedelta(minutes=minutes) if minutes is not None else None

    def refusal(self, request: Request, view: Any) -> Refusal | None:
        # Or a client would ask for a proof again and again that is not the impersonator's to give.
        if _is_impersonated(request):
            return Refusal(ImpersonationRefused.code, NotImpersonated.requirement)
        return super().refusal(request, view)

    def has_permission(self, request: Request, view: Any) -> bool:
        is_met = super().has_permission(request, view)
        refuse_impersonation(request)
        return is_met

    def is_met(self, request: Request) -> bool:
        auth_time = getattr(request.auth, "auth_time", None)
        if auth_time is None or _is_key(request):
            return False
        max_age = conf.STEP_UP_MAX_AGE if self.max_age is None else self.max_age
        return bool(timezone.now() - auth_time <= max_age)


class ApprovedByEmail(_Permission):
    """Passes when the session was approved with a code from a mail (`amr` has `email`), not by a password alone on a
    trusted device."""

    requirement = {"required_proof": ["email"]}
    secure_auth_who = "approved by e-mail"

    def is_met(self, request: Request) -> bool:
        return "email" in getattr(request.auth, "amr", ())
