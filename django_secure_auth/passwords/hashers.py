"""The hash of passwords, with parameters of today."""

from __future__ import annotations

from django.contrib.auth.hashers import Argon2PasswordHasher


class Argon2idHasher(Argon2PasswordHasher):
    """Argon2id with m=47104 KiB, t=1, p=1. Hashes made with other parameters are made anew at the next sign-in.

    One core for each check: Django's eight lanes let one sign-in take eight. Raise `memory_cost` first, in a subclass.
    Source: ASVS 5.0 appendix C; OWASP Password Storage Cheat Sheet; RFC 9106.
    """

    time_cost = 1
    memory_cost = 47_104
    parallelism = 1
