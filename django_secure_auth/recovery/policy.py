"""What the token of a link is. No writes."""

from __future__ import annotations

from django_secure_auth.conf import conf, secret_ring
from django_secure_auth.kit.keys import Secret
from django_secure_auth.kit.opaque import derive_secret
from django_secure_auth.recovery.models import PasswordReset

_PURPOSE = "password-reset"


def current_key() -> Secret:
    return secret_ring(_PURPOSE).first


def token_of(reset: PasswordReset) -> str | None:
    """Derive the token of a link, 256 bits; None when its key has been retired.

    Anew at each use, so that no table, task argument, result or log ever holds it (ASVS 6.4.3; NIST SP 800-63B-4
    §4.2.1.2).
    """
    key = secret_ring(_PURPOSE).get(reset.key_id)
    if key is None:
        return None
    return derive_secret(key.value, "\0".join((str(reset.pk), reset.nonce, reset.bound_to)).encode())


def link_of(reset: PasswordReset, token: str) -> str:
    """Return the address that is mailed: under `BASE_URL`, never under a request's Host header."""
    path = conf.PASSWORD_RESET_PATH.replace("{uid}", str(reset.pk)).replace("{token}", token)
    return f"{str(conf.BASE_URL).rstrip('/')}{path}"
