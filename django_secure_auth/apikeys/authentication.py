"""A key in `X-API-Key`, for programs. Never in a URL, a body, a cookie or `Authorization`."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib.auth.base_user import AbstractBaseUser
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from django_secure_auth.apikeys.services import CHALLENGE, prove, refuse
from django_secure_auth.request_scope import Credentials, carries_api_key, plain_request

_NEVER = datetime.fromtimestamp(0, UTC)
"""When the owner of a key last proved who they are, as far as a request with it shows: nothing is recent."""


class APIKeyAuthentication(BaseAuthentication):
    """Put it on the views that programs may use, and `HasScope` with it; our own endpoints refuse keys.

    The key alone decides: a cookie that came along does not count, and with an `Authorization` header beside it there
    are two answers to who is asking, and the request is refused. There is no session, no CSRF to ask for (no other
    site can send the header without a preflight), and never a recent proof of identity. What the key may do stands in
    `request.auth.scopes`.
    """

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, Credentials] | None:
        if not carries_api_key(request):
            return None
        meta = plain_request(request).META
        if "HTTP_AUTHORIZATION" in meta:
            raise refuse(request, reason="two_credentials")
        proof = prove(meta["HTTP_X_API_KEY"], request=request)
        return proof.user, Credentials(None, (), _NEVER, "api_key", proof.scopes)

    def authenticate_header(self, request: Request) -> str:
        return CHALLENGE["WWW-Authenticate"]
