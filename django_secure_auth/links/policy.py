"""What the token of a link is, and where a link leads. No writes."""

from __future__ import annotations

from django_secure_auth.conf import conf, secret_ring
from django_secure_auth.kit.keys import Secret
from django_secure_auth.kit.opaque import derive_secret
from django_secure_auth.links.models import MailedLink

_PURPOSE = "mailed-link"


def current_key() -> Secret:
    return secret_ring(_PURPOSE).first


def token_of(link: MailedLink) -> str | None:
    """Derive the token of a link, 256 bits; None when its key has been retired.

    Anew at each use, so that no table, task argument, result or log ever holds it (ASVS 6.4.3; NIST SP 800-63B-4
    §4.2.1.2).
    """
    key = secret_ring(_PURPOSE).get(link.key_id)
    if key is None:
        return None
    return derive_secret(key.value, "\0".join((str(link.pk), link.purpose, link.nonce, link.bound_to)).encode())


def url_of(link: MailedLink, path: str, *, token: str) -> str:
    """Return the address that is mailed: a path under `BASE_URL`, never under a request's Host header."""
    return f"{str(conf.BASE_URL).rstrip('/')}{path.replace('{uid}', str(link.pk)).replace('{token}', token)}"
