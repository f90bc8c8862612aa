"""Who needs an e-mailed code, and what the code of a challenge is. No writes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from django.contrib.auth.base_user import AbstractBaseUser

from django_secure_auth.conf import conf, secret_ring
from django_secure_auth.kit.opaque import is_equal, numeric_code
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.rbac.services import is_privileged
from django_secure_auth.request_scope import AnyRequest

if TYPE_CHECKING:
    from django_secure_auth.kit.keys import Secret

_PURPOSE = "otp-code"


def is_code_required(user: AbstractBaseUser, request: AnyRequest, *, is_trusted_device: bool) -> bool:
    """Tell whether this sign-in needs a code. Staff and holders of a role with `requires_otp` always do, whatever the
    policy and the device.

    A callable policy that answers anything but False is taken for a yes: a mistake in it must not open a door.
    """
    if is_privileged(user):
        return True
    policy = conf.OTP_POLICY
    if callable(policy):
        return policy(user, request) is not False
    if policy == "new_device":
        return not is_trusted_device
    return policy == "always"


def current_key() -> Secret:
    """Return the key under which a new challenge's codes are derived; the challenge remembers its id."""
    return secret_ring(_PURPOSE).first


def is_code(text: str) -> bool:
    """Tell whether a text has the form of a code: ASCII digits only, as many as `OTP_LENGTH` says."""
    return text.isascii() and text.isdigit() and len(text) == conf.OTP_LENGTH


def action_digest(action: str) -> str:
    """Return the name under which a challenge keeps what its code is good for; "" for a code of no one action."""
    return hashlib.sha256(action.encode()).hexdigest() if action else ""


def code_of(challenge: OTPChallenge) -> str | None:
    """Derive the present code of a challenge; None when its key has been retired.

    Anew at each use, so that no table, task argument, result or log ever holds it (ASVS 6.5.4, 11.4.x).
    """
    key = secret_ring(_PURPOSE).get(challenge.key_id)
    if key is None:
        return None
    parts = (str(challenge.pk), challenge.purpose, challenge.action_digest, challenge.nonce, str(challenge.send_number))
    return numeric_code(key.value, "\0".join(parts).encode(), digits=conf.OTP_LENGTH)


def is_right_code(challenge: OTPChallenge, code: str) -> bool:
    expected = code_of(challenge)
    return expected is not None and is_equal(expected, code)
