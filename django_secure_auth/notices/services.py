"""Tell a user by mail what has been done to the account, and how to say that it was somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser

from django_secure_auth.conf import conf
from django_secure_auth.links import services as links
from django_secure_auth.mail import address_of
from django_secure_auth.notices.tasks import PURPOSE, send_notice
from django_secure_auth.request_scope import AnyRequest

_TOLD = "_secure_auth_told"


@contextmanager
def told_here(user: AbstractBaseUser) -> Iterator[None]:
    """Save a user inside, whose new password or address the caller tells of."""
    setattr(user, _TOLD, True)
    try:
        yield
    finally:
        delattr(user, _TOLD)


def is_told(user: AbstractBaseUser) -> bool:
    return hasattr(user, _TOLD)


def tell(
    kind: str, user: AbstractBaseUser, *, request: AnyRequest | None = None, to: str | None = None, **details: Any
) -> None:
    """Have a notice mailed after commit, if `NOTICES[kind]` says so and the user has an address, or `to` another one.

    What it tells of has happened: a broker that is away is logged, and stops nobody. `details` are for the words of the
    kind (`notices.tasks.KINDS`), and no secret.
    """
    address = address_of(user) if to is None else to
    if not address or not conf.NOTICES[kind]:
        return
    link = links.make(
        PURPOSE, request=request, email=address, user=user, lifetime=conf.NOT_ME_TTL, payload={"kind": kind, **details}
    )
    links.mail_after_commit(link, send_notice, robust=True)
