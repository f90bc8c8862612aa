"""Make, list and rotate keys."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from django_secure_auth.conf import conf, derived_encryption_keys, derived_signing_keys, secret_ring, signing_ring
from django_secure_auth.kit.keys import b64encode, new_secret_bytes

ALGORITHMS = ("HS256", "EdDSA", "ES256", "PS256")
_RSA_BITS = 3072

DERIVED = """\
# {setting} is not set: the keys in use are derived from SECRET_KEY and its fallbacks. Written out, they are the old
# keys of the steps below; with the new key alone everybody would be signed out."""

ROTATE = """\
Publish, use, retire: three deployments, and nobody is signed out.
  1. Add the new key as the LAST of {setting}, behind the old ones, and deploy everywhere: all processes understand it,
     none uses it.
  2. Move it to the FIRST place and deploy everywhere: it is used.
  3. After {wait} ({why}) nothing that the old ones made is alive: remove them and deploy.
     Sooner is too soon: what a key has made ends with it.
"""


def new_kid() -> str:
    return f"{timezone.now():%Y%m%d}-{new_secret_bytes(3).hex()}"


def new_private_pem(algorithm: str) -> str:
    """Return a fresh private key in PEM (PKCS #8) for an asymmetric algorithm."""
    key: Any
    if algorithm == "EdDSA":
        key = ed25519.Ed25519PrivateKey.generate()
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def _new_entry(algorithm: str | None) -> dict[str, str]:
    """Return a fresh entry of SIGNING_KEYS, or of ENCRYPTION_KEYS when there is no algorithm."""
    if algorithm is None:
        return {"kid": new_kid(), "key": b64encode(new_secret_bytes())}
    key = b64encode(new_secret_bytes()) if algorithm == "HS256" else new_private_pem(algorithm)
    return {"kid": new_kid(), "alg": algorithm, "key": key}


LONG_LIVED = """\
     API keys live longer: each moves to the new key when it is used. `secure_auth_apikeys list` marks those that have
     not; with the old key removed they end. Marks of erasures and of retention in the audit trail need the key that
     made them for AUDIT_RETENTION ({retention}); without it `secure_auth_audit verify` calls them `key unknown`.
"""


class Command(BaseCommand):
    help = (
        "`generate` prints a new key and stores nothing: put it where your secrets are. `list` shows the ids of the "
        "keys in use, never their values. `rotate` prints a new key, the derived keys that it replaces if there are "
        "such, and the order of steps in which nobody is signed out."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("action", choices=("generate", "list", "rotate"), help="what to do")
        parser.add_argument(
            "--alg", choices=ALGORITHMS, default="HS256", help="algorithm of a signing key (default HS256)"
        )
        parser.add_argument("--encryption", action="store_true", help="make an encryption key instead (32 bytes)")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == "list":
            self._list()
            return
        setting = "ENCRYPTION_KEYS" if options["encryption"] else "SIGNING_KEYS"
        self.stdout.write(f"# an entry of DJANGO_SECURE_AUTH[{setting!r}]")
        self._show(_new_entry(None if options["encryption"] else options["alg"]))
        if options["action"] == "rotate":
            self._explain_rotation(setting)

    def _explain_rotation(self, setting: str) -> None:
        if getattr(conf, setting) is None:
            self.stdout.write(DERIVED.format(setting=setting))
            for entry in derived_signing_keys() if setting == "SIGNING_KEYS" else derived_encryption_keys():
                self._show(entry)
        if setting == "SIGNING_KEYS":
            wait, why = conf.ACCESS_TOKEN_TTL + conf.CLOCK_LEEWAY, "ACCESS_TOKEN_TTL and CLOCK_LEEWAY"
        else:
            wait = max(conf.TRUSTED_DEVICE_TTL, conf.REMEMBER_ABSOLUTE_TIMEOUT, conf.SESSION_ABSOLUTE_TIMEOUT)
            why = "the longest life of a session or trusted device"
        self.stdout.write(ROTATE.format(setting=setting, wait=wait, why=why))
        if setting == "ENCRYPTION_KEYS":
            self.stdout.write(LONG_LIVED.format(retention=conf.AUDIT_RETENTION))

    def _show(self, entry: dict[str, str]) -> None:
        # A secret, on purpose: to standard output only, where `manage.py … | your-secret-store` can take it.
        self.stdout.write(json.dumps(entry, indent=2))
        if not entry["key"].startswith("-----"):
            self.stdout.write(f"# as kid:base64\n{entry['kid']}:{entry['key']}")

    def _list(self) -> None:
        own = "SIGNING_KEYS" if conf.SIGNING_KEYS is not None else "derived from SECRET_KEY"
        self.stdout.write(f"signing keys ({own}):")
        for number, key in enumerate(signing_ring()):
            use = "signs and verifies" if number == 0 else "verifies"
            self.stdout.write(f"  {key.kid}  {key.alg}  {use}")
        own = "ENCRYPTION_KEYS" if conf.ENCRYPTION_KEYS is not None else "derived from SECRET_KEY"
        self.stdout.write(f"encryption keys ({own}):")
        for number, secret in enumerate(secret_ring("list")):
            self.stdout.write(f"  {secret.key_id}  {'used' if number == 0 else 'understood'}")
