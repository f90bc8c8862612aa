"""Make, list and rotate keys."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from django_secure_auth.conf import conf, secret_ring, signing_ring
from django_secure_auth.kit.keys import b64encode, new_secret_bytes

ALGORITHMS = ("HS256", "EdDSA", "ES256", "PS256")
_RSA_BITS = 3072

ROTATE = """\
Signing keys: publish, sign, retire.
  1. Add the new key as the LAST of SIGNING_KEYS and deploy everywhere: all processes verify it, none signs with it.
  2. Move it to the FIRST place and deploy: it signs.
  3. After {wait} (ACCESS_TOKEN_TTL) nothing signed by the old key is alive: remove it and deploy.
Encryption keys: put the new key FIRST and keep the old one behind it for {long} (the longest life of a session or
trusted device); removing it sooner ends the sessions, codes and devices that were made under it.
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


class Command(BaseCommand):
    help = (
        "`generate` prints a new key and stores nothing: put it where your secrets are. `list` shows the ids of the "
        "keys in use, never their values. `rotate` prints a new key and the order of steps in which nobody is signed "
        "out."
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
        self._generate(options["alg"], encryption=options["encryption"])
        if options["action"] == "rotate":
            longest = max(conf.TRUSTED_DEVICE_TTL, conf.REMEMBER_ABSOLUTE_TIMEOUT)
            self.stdout.write(ROTATE.format(wait=conf.ACCESS_TOKEN_TTL, long=longest))

    def _generate(self, algorithm: str, *, encryption: bool) -> None:
        kid = new_kid()
        if encryption:
            entry = {"kid": kid, "key": b64encode(new_secret_bytes())}
        elif algorithm == "HS256":
            entry = {"kid": kid, "alg": algorithm, "key": b64encode(new_secret_bytes())}
        else:
            entry = {"kid": kid, "alg": algorithm, "key": new_private_pem(algorithm)}
        setting = "ENCRYPTION_KEYS" if encryption else "SIGNING_KEYS"
        self.stdout.write(f"# an entry of DJANGO_SECURE_AUTH[{setting!r}]")
        self.stdout.write(json.dumps(entry, indent=2))
        if not entry["key"].startswith("-----"):
            self.stdout.write(f"# as kid:base64\n{kid}:{entry['key']}")

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
