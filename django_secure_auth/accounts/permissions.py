"""DRF permission for one action that is approved with a mailed code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from rest_framework.exceptions import APIException
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response

from django_secure_auth.accounts.services import approve
from django_secure_auth.request_scope import plain_request

if TYPE_CHECKING:
    from rest_framework.permissions import SingleOperandHolder

    # To the stubs, what stands in `permission_classes` is a class or a holder; ours is an instance that acts as one.
    class _Instance(SingleOperandHolder, BasePermission):
        pass
else:
    _Instance = BasePermission


class _CodeMailed(APIException):
    """Leaves the view before its handler; what answers is the 202 that goes with it."""

    status_code = 202
    default_detail = "A code was mailed."


class Approved(_Instance):
    """`Approved("pay", lambda request, **url_kwargs: {…})`: passes when the request brings the code of this action.

    Else one is mailed, and the answer is the contract's 202 with its cookie; see `accounts.services.approve`, whose
    errors it raises. It asks for something, so put it last in `permission_classes`; it is not composed with `& | ~`.
    """

    secure_auth_who = "approved by code"

    def __init__(self, action: str, parameters: Callable[..., Mapping[str, Any]]) -> None:
        self.action = action
        self.parameters = parameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Let an instance stand in `permission_classes`, which DRF calls to make one."""
        return self

    def has_permission(self, request: Request, view: Any) -> bool:
        if not getattr(request.user, "is_authenticated", False):
            return False
        if plain_request(request).method != request.method:
            return True  # DRF asks what it might show (OPTIONS, a form of the browsable API): nothing is done
        asked = approve(request, self.action, self.parameters(request, **view.kwargs))
        if asked is None:
            return True
        _answer_with(asked, view)
        raise _CodeMailed


def _answer_with(answer: Response, view: Any) -> None:
    # An exception carries no cookie, and what a project's handler makes of it is its own: this request's view answers.
    finalize = view.finalize_response
    view.finalize_response = lambda request, _, *args, **kwargs: finalize(request, answer, *args, **kwargs)
