"""Django's settings, as they should be today: `PASSWORD_HASHERS = presets.PASSWORD_HASHERS` and its like."""

from __future__ import annotations

from typing import Any

PASSWORD_HASHERS: list[str] = [
    "django_secure_auth.passwords.hashers.Argon2idHasher",
    # Only to read what is there: the next sign-in makes it anew.
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
    "django.contrib.auth.hashers.ScryptPasswordHasher",
    "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
]

# NIST SP 800-63B-4 §3.1.1.2: length, common and breached passwords, the site's and the user's own words. No
# composition, no ageing.
AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": "django_secure_auth.passwords.validators.LengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django_secure_auth.passwords.validators.CommonPasswordValidator"},
    {"NAME": "django_secure_auth.passwords.validators.BreachedPasswordValidator"},
    {"NAME": "django_secure_auth.passwords.validators.OwnWordsValidator"},
]
