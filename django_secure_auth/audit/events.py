"""Every event that the package writes. To add one, add a line here and record it.

`name` is the finer name of the OWASP logging vocabulary where that has one; `kind` decides the severity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """`event_type` of a log line and of a row."""

    AUTH_SUCCESS = "auth_success"
    AUTH_FAILURE = "auth_failure"
    AUTHZ_FAILURE = "authz_failure"
    RATE_LIMIT_EXCEEDED = "rate_limit_exceeded"
    VALIDATION_FAILURE = "validation_failure"
    SUSPICIOUS_REQUEST = "suspicious_request"


SEVERITY: dict[Kind, str] = {
    Kind.AUTH_SUCCESS: "INFO",
    Kind.AUTH_FAILURE: "MEDIUM",
    Kind.AUTHZ_FAILURE: "MEDIUM",
    Kind.RATE_LIMIT_EXCEEDED: "MEDIUM",
    Kind.VALIDATION_FAILURE: "LOW",
    Kind.SUSPICIOUS_REQUEST: "HIGH",
}


@dataclass(frozen=True, slots=True)
class Event:
    """A kind of thing that happens: its stable name, its type, and one sentence for people."""

    name: str
    kind: Kind
    message: str
    is_free: bool = False
    """It costs the sender nothing: rows are bounded for each address, log lines are not."""

    severity: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "severity", SEVERITY[self.kind])


LOGIN_SUCCESS = Event("authn_login_success", Kind.AUTH_SUCCESS, "Signed in")
REAUTHENTICATED = Event("authn_reauthenticated", Kind.AUTH_SUCCESS, "Somebody signed in proved again who they are")
PASSWORD_CHANGED = Event("authn_password_change", Kind.AUTH_SUCCESS, "A password was changed")
PASSWORD_CHANGE_FAIL = Event("authn_password_change_fail", Kind.AUTH_FAILURE, "A change of a password was refused")
REGISTERED = Event("user_created", Kind.AUTH_SUCCESS, "Somebody has registered and proven the address")
REGISTER_FAIL = Event("authn_register_fail", Kind.AUTH_FAILURE, "A registration was refused")
EMAIL_CHANGED = Event("user_updated", Kind.AUTH_SUCCESS, "The address of an account was changed")
EMAIL_CHANGE_UNDONE = Event(
    "authn_email_change_undone", Kind.SUSPICIOUS_REQUEST, "A change of address was undone by its owner"
)
ACTION_APPROVED = Event("authn_action_approved", Kind.AUTH_SUCCESS, "One action was approved with a mailed code")
DISOWNED = Event("authn_not_me", Kind.SUSPICIOUS_REQUEST, "A user says that it was somebody else: account closed off")
LINK_FAIL = Event("authn_link_fail", Kind.AUTH_FAILURE, "A mailed link was refused")
RESET_REQUESTED = Event("authn_password_reset_requested", Kind.AUTH_SUCCESS, "A link to reset a password was asked for")
LINK_UNDELIVERED = Event("authn_link_undelivered", Kind.SUSPICIOUS_REQUEST, "A link could not be mailed")
RESET_FAIL = Event("authn_password_reset_fail", Kind.AUTH_FAILURE, "A link to reset a password was refused")
PASSWORD_RESET = Event("authn_password_reset", Kind.AUTH_SUCCESS, "A password was reset by a mailed link")
PASSWORD_COMPROMISED = Event(
    "authn_password_compromised", Kind.SUSPICIOUS_REQUEST, "A password is known to others: a change is forced"
)
BREACH_CHECK_AWAY = Event(
    "breach_check_unavailable", Kind.SUSPICIOUS_REQUEST, "Breached passwords could not be looked up"
)
USER_CLOSING = Event("user_closing", Kind.AUTH_SUCCESS, "The closing of an account was asked for by its owner")
USER_KEPT = Event("user_kept", Kind.AUTH_SUCCESS, "An account that was to be closed is kept")
USER_DELETED = Event("user_deleted", Kind.AUTH_SUCCESS, "An account was closed, as its owner had asked")
USER_EXPORTED = Event("user_exported", Kind.AUTH_SUCCESS, "The data of an account were exported by its owner")
DEVICE_DISTRUSTED = Event("authn_device_distrusted", Kind.AUTH_SUCCESS, "A device is trusted no more")
LOGIN_FAIL = Event("authn_login_fail", Kind.AUTH_FAILURE, "Sign-in refused")
OTP_SENT = Event("authn_otp_sent", Kind.AUTH_SUCCESS, "A code was mailed")
OTP_UNDELIVERED = Event("authn_otp_undelivered", Kind.SUSPICIOUS_REQUEST, "A code could not be mailed")
OTP_APPROVED = Event("authn_otp_approved", Kind.AUTH_SUCCESS, "A mailed code was approved")
OTP_FAIL = Event("authn_otp_fail", Kind.AUTH_FAILURE, "A mailed code was refused")
OTP_FAIL_MAX = Event("authn_otp_fail_max", Kind.SUSPICIOUS_REQUEST, "Right password, but all tries of a code used up")
TOKEN_RENEWED = Event("session_renewed", Kind.AUTH_SUCCESS, "A session was refreshed")
TOKEN_REUSE = Event("authn_token_reuse", Kind.SUSPICIOUS_REQUEST, "A refresh token was used twice: session ended")
TOKEN_FUTURE = Event(
    "authn_token_future", Kind.SUSPICIOUS_REQUEST, "A genuine refresh token is ahead of its session: restored backup?"
)
SESSION_CREATED = Event("session_created", Kind.AUTH_SUCCESS, "A session was opened")
IMPERSONATED = Event("user_impersonated", Kind.SUSPICIOUS_REQUEST, "Somebody of the staff signed in as a user")
IMPERSONATION_FAIL = Event("user_impersonation_fail", Kind.AUTHZ_FAILURE, "Signing in as a user was refused")
SESSION_ENDED = Event("authn_token_revoked", Kind.AUTH_SUCCESS, "A session was ended")
SESSION_EXPIRED = Event("session_expired", Kind.AUTH_SUCCESS, "A session of Django's timed out")
SESSION_USE_AFTER_END = Event("session_use_after_expire", Kind.AUTH_FAILURE, "An ended session was used")
CSRF_FAIL = Event("malicious_csrf", Kind.SUSPICIOUS_REQUEST, "A request failed the CSRF check", is_free=True)
CROSS_SITE = Event("malicious_cors", Kind.SUSPICIOUS_REQUEST, "A page of another site sent a request", is_free=True)
CSP_VIOLATION = Event(
    "csp_violation", Kind.SUSPICIOUS_REQUEST, "A browser has blocked what a page was not allowed to do", is_free=True
)
SENT_IN_CLEAR = Event(
    "sensitive_in_clear", Kind.SUSPICIOUS_REQUEST, "What is meant for https was sent by plain http", is_free=True
)
AUTHZ_FAIL = Event("authz_fail", Kind.AUTHZ_FAILURE, "Access refused", is_free=True)
AUTHZ_BROKEN = Event(
    "authz_broken", Kind.SUSPICIOUS_REQUEST, "Access refused, since the rule of a view is broken", is_free=True
)
RATE_LIMIT = Event("excess_rate_limit_exceeded", Kind.RATE_LIMIT_EXCEEDED, "A rate limit was reached")
RATE_LIMIT_AWAY = Event("rate_limit_unavailable", Kind.SUSPICIOUS_REQUEST, "Limits cannot count: their cache is away")
INPUT_FAIL = Event("input_validation_fail", Kind.VALIDATION_FAILURE, "Input was refused", is_free=True)
SUSPICIOUS = Event("suspicious_request", Kind.SUSPICIOUS_REQUEST, "A request looks like an attack")
DEVICE_TRUSTED = Event("authn_device_trusted", Kind.AUTH_SUCCESS, "A device was trusted")
APIKEY_CREATED = Event("authn_token_created", Kind.AUTH_SUCCESS, "An API key was made")
APIKEY_ROTATED = Event("authn_api_key_rotated", Kind.AUTH_SUCCESS, "An API key was replaced by a new one")
APIKEY_CHANGED = Event("authn_api_key_changed", Kind.AUTH_SUCCESS, "An API key was changed")
APIKEY_REVOKED = Event("authn_api_key_revoked", Kind.AUTH_SUCCESS, "An API key was revoked")
APIKEY_USED_FIRST = Event("authn_api_key_used_first", Kind.AUTH_SUCCESS, "An API key was used for the first time")
APIKEY_FAIL = Event("authn_api_key_fail", Kind.AUTH_FAILURE, "An API key was refused", is_free=True)
ADMIN_CHANGE = Event("authz_admin", Kind.AUTH_SUCCESS, "An administrator changed codes, devices, sessions or keys")
ROLES_CHANGE = Event("authz_change", Kind.AUTH_SUCCESS, "A role was granted or revoked")
PERMISSIONS_CHANGE = Event("privilege_permissions_changed", Kind.AUTH_SUCCESS, "A role itself was changed")

AUDIT_SEALED = Event("audit_sealed", Kind.AUTH_SUCCESS, "A range of the trail was sealed")
AUDIT_EXPORTED = Event("audit_exported", Kind.AUTH_SUCCESS, "Security events were exported")
AUDIT_ERASED = Event("audit_person_erased", Kind.AUTH_SUCCESS, "The personal data of somebody were erased in the trail")
AUDIT_BROKEN = Event("audit_tampered", Kind.SUSPICIOUS_REQUEST, "The trail does not fit its seals")


def registered() -> dict[str, Event]:
    """Return all events of this page by name."""
    return {value.name: value for value in globals().values() if isinstance(value, Event)}
