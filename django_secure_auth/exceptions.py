"""The error tree. Each class has a stable `code`; the message is for people and may change.

All are DRF exceptions, so that a host's own view may raise them and any handler gives the right status.
The true reason of a refusal goes to the audit trail, never into `detail`. That is English;
what people meet on the admin's pages is marked, and translated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.utils.translation import gettext_noop
from rest_framework.exceptions import APIException


class SecureAuthError(APIException):
    """A refusal with a stable code (RFC 9457 problem document)."""

    status_code = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    default_detail = gettext_noop("Something went wrong on our side.")
    default_members: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, detail: str | None = None, *, headers: Mapping[str, str] | None = None, **members: Any) -> None:
        super().__init__(detail, self.code)
        self.headers = dict(headers or {})
        self.members = members
        """Further members of the problem document, such as `attempts_left` or `errors`."""


class InternalError(SecureAuthError):
    pass


class MalformedRequest(SecureAuthError):
    status_code = 400
    code = "malformed_request"
    title = "Malformed request"
    default_detail = "The request body is not a JSON object."


class InvalidInput(SecureAuthError):
    """`errors` maps each field to its messages."""

    status_code = 400
    code = "validation_error"
    title = "Invalid input"
    default_detail = "One or more fields are not valid."


# A token was there and was not accepted: without one there is no `error` (RFC 6750 §3.1).
_REFUSED = 'Bearer error="invalid_token"'


class Unauthenticated(SecureAuthError):
    """401: no or bad proof of who it is."""

    auth_header = "Bearer"  # what WWW-Authenticate says, also by DRF's own exception handler
    status_code = 401
    code = "not_authenticated"
    title = "Not signed in"
    default_detail = "Sign in to go on."


class InvalidCredentials(Unauthenticated):
    code = "invalid_credentials"
    title = "Sign-in refused"
    default_detail = "The e-mail address or the password is not right."


class TokenInvalid(Unauthenticated):
    auth_header = _REFUSED
    code = "token_invalid"
    title = "Token refused"
    default_detail = "The token was not accepted."


class TokenExpired(Unauthenticated):
    auth_header = _REFUSED
    code = "token_expired"
    title = "Token expired"
    default_detail = "The access token has expired; refresh it."


class SessionInactive(Unauthenticated):
    auth_header = _REFUSED
    code = "session_inactive"
    title = "Session timed out"
    default_detail = "The session has timed out; sign in again."


class SessionRevoked(Unauthenticated):
    auth_header = _REFUSED
    code = "session_revoked"
    title = "Session ended"
    default_detail = "The session has ended; sign in again."


class RefreshReused(Unauthenticated):
    code = "refresh_reused"
    title = "Session ended"
    default_detail = "This refresh token had been used before, so the session was ended; sign in again."


class OTPInvalid(Unauthenticated):
    """`attempts_left` says how many tries the challenge has left."""

    code = "otp_invalid"
    title = "Code refused"
    default_detail = gettext_noop("The code is not right.")


class ChallengeInvalid(Unauthenticated):
    code = "challenge_invalid"
    title = "Start again"
    default_detail = gettext_noop("There is no open request for a code in this browser; start again.")


class ResetInvalid(Unauthenticated):
    """Always the same: unknown, expired, used, or of an account that has changed since."""

    code = "reset_invalid"
    title = "Link refused"
    default_detail = "This link is not valid any more; ask for a new one."


class APIKeyInvalid(Unauthenticated):
    code = "api_key_invalid"
    title = "API key refused"
    default_detail = "The API key was not accepted."


class Forbidden(SecureAuthError):
    """403: known, but not allowed."""

    status_code = 403
    code = "permission_denied"
    title = "Not allowed"
    default_detail = "You may not do this."


class PasswordChangeRequired(Forbidden):
    """The password is right, and known to others: a link to choose another one was mailed."""

    code = "password_change_required"
    title = "Choose another password"
    default_detail = gettext_noop(
        "This password is known to others. Choose another one by the link that was mailed to you."
    )


class CSRFFailed(Forbidden):
    code = "csrf_failed"
    title = "Request not proven to be yours"
    default_detail = "The CSRF token is missing or wrong; fetch a new one."


class CrossSiteRequest(Forbidden):
    code = "cross_site_request"
    title = "Sent by another site"
    default_detail = "A page of another site may not call this."


class StepUpRequired(Forbidden):
    """`accepts` says by what `reauthenticate/` may be answered: `password`."""

    code = "step_up_required"
    title = "Sign in again first"
    default_detail = "Prove once more who you are, then repeat this request."
    default_members: ClassVar[Mapping[str, Any]] = {"accepts": ["password"]}


class ImpersonationRefused(Forbidden):
    """Somebody of the staff is signed in as this user, and this is for the user alone."""

    code = "impersonation_refused"
    title = "Only the user may do this"
    default_detail = "This cannot be done in somebody else's name."


class NotFound(SecureAuthError):
    status_code = 404
    code = "not_found"
    title = "Not found"
    default_detail = "There is nothing here for you."


class TooLarge(SecureAuthError):
    status_code = 413
    code = "too_large"
    title = "Too large"
    default_detail = "The request body is too large."


class UnsupportedMediaType(SecureAuthError):
    status_code = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"
    default_detail = "Send JSON (Content-Type: application/json)."


class PolicyRejected(SecureAuthError):
    status_code = 422
    code = "policy_rejected"
    title = "Refused by policy"
    default_detail = gettext_noop("The request is well-formed, but the policy says no.")


class PasswordRejected(SecureAuthError):
    """`errors` says why, by the field of the password."""

    status_code = 422
    code = "password_rejected"
    title = "Choose another password"
    default_detail = "The new password does not meet the policy."


def rate_limit_headers(limit: str, *, quota: int, window: int, wait: int) -> dict[str, str]:
    """Return `Retry-After` (RFC 9110 §10.2.3), `RateLimit-Policy` and `RateLimit` of a limit that is used up.

    Times in seconds. Source: draft-ietf-httpapi-ratelimit-headers.
    """
    return {
        "Retry-After": str(wait),
        "RateLimit-Policy": f'"{limit}";q={quota};w={window}',
        "RateLimit": f'"{limit}";r=0;t={wait}',
    }


class RateLimited(SecureAuthError):
    """Its `headers` are those of `rate_limit_headers`."""

    status_code = 429
    code = "rate_limited"
    title = "Too many requests"
    default_detail = gettext_noop("Too many requests; try again later.")


class DeliveryUnavailable(SecureAuthError):
    status_code = 503
    code = "delivery_unavailable"
    title = "Mail cannot be sent"
    default_detail = gettext_noop("The mail could not be sent just now; try again.")


class StateUnavailable(SecureAuthError):
    status_code = 503
    code = "state_unavailable"
    title = "Temporarily unavailable"
    default_detail = gettext_noop("A part of the service is away; nothing was changed. Try again.")
