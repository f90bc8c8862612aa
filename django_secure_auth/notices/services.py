"""Tell a user by mail what has been done to the account, and how to say that it was somebody else."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser

from django_secure_auth.conf import conf
from django_secure_auth.links import services as links
from django_secure_auth.mail import address_of
from django_secure_auth.notices.tasks import PURPOSE, send_notice
from django_secure_auth.request_scope import AnyRequest


def tell(kind: str, user: AbstractBaseUser, *, request: AnyRequest | None = None, **details: Any) -> None:
    """Have a notice mailed after commit, if `NOTICES[kind]` says so and the user has an address.

    What it tells of has happened: a broker that is away is logged, and stops nobody. `details` are for the words of the
    kind (`notices.tasks.KINDS`), and no secret.
    """
    address = address_of(user)
    if not address or not conf.NOTICES[kind]:
        return
    link = links.make(
        PURPOSE, request=request, email=address, user=user, lifetime=conf.NOT_ME_TTL, payload={"kind": kind, **details}
    )
    links.mail_after_commit(link, send_notice, robust=True)
