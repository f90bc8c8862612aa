"""Signed tokens, strictly: one spelling, one algorithm per key, three header members, six claims, no options.

JWS compact serialisation (RFC 7515) of a JWT claims set (RFC 7519), profiled by RFC 8725 and, for access tokens,
RFC 9068. The algorithm is a property of the key and is only ever compared with what the token says.
"""

from __future__ import annotations

import hmac
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import Algorithm, ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm, RSAPSSAlgorithm
from jwt.exceptions import InvalidKeyError

from django_secure_auth.kit.keys import b64decode, b64encode, is_weak_secret

PublicKey: TypeAlias = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey: TypeAlias = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

# A cookie holds 4 KiB; what is longer is not ours, and nothing in it is parsed.
_MAX_TOKEN = 8192
_MAX_NESTING = 16
_MAX_KID = 255
# Beyond 2⁵³ a float no longer counts seconds, and parties that read JSON differently see different times.
_MAX_TIME = 2**53

_HMAC_BYTES = 32
_RSA_BITS = 3072
_RSA_EXPONENT = 65537

# fmt: off
# The primes of the published test for CVE-2017-15361 (ROCA).
_ROCA_PRIMES = (
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
)
# fmt: on

_HMAC = HMACAlgorithm(HMACAlgorithm.SHA256)
_ASYMMETRIC: Mapping[str, Algorithm] = {
    "EdDSA": OKPAlgorithm(),
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
}
# PKCS #1 v1.5 padding is read for the sake of older issuers, never written (RFC 8725 §3.2).
_SIGNING = frozenset({"HS256", "EdDSA", "ES256", "PS256"})


class TokenInvalid(Exception):
    """The token is refused. The text is a short fixed reason for the log; it never quotes the token."""


class TokenExpired(TokenInvalid):
    """The token is genuine and meant for us in every respect, only too old."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Key:
    """One key: its name, the single algorithm it may be used with, and whether it may sign.

    Made by `from_jwk`, `from_secret` or `from_pem`, all of which raise ValueError, without key material in the text,
    for what is too weak or not meant for this use (RFC 8725 §3.5, RFC 7518 §3, RFC 7517 §4.2 to §4.4):

    ========  ==========================================================================
    HS256     32 bytes or more, neither published nor guessable, not a public key
    EdDSA     Ed25519
    ES256     P-256
    PS256     RSA of 3072 bits or more, odd exponent from 65537, no ROCA modulus
    RS256     as PS256; verifies only, also when the private key is at hand
    ========  ==========================================================================
    """

    kid: str
    alg: str
    can_sign: bool
    _verifying: bytes | PublicKey
    _signing: bytes | PrivateKey | None

    def __post_init__(self) -> None:
        _check_kid(self.kid)
        _check_material(self.alg, self._verifying)
        if self.can_sign and (self._signing is None or self.alg not in _SIGNING):
            raise ValueError(f"this {self.alg} key cannot sign")

    @classmethod
    def from_secret(cls, *, kid: str, secret: bytes) -> Key:
        """A key for HS256, which signs and verifies. Raises ValueError, see the class."""
        return cls(kid, "HS256", True, secret, secret)

    @classmethod
    def from_pem(cls, *, kid: str, alg: str, pem: str | bytes) -> Key:
        """A key from an unencrypted PKCS #8 or SubjectPublicKeyInfo PEM; a private one signs unless it is RS256.

        Raises ValueError, see the class.
        """
        try:
            data = pem.encode() if isinstance(pem, str) else pem
            private = b"PRIVATE KEY-----" in data
            loaded = load_pem_private_key(data, password=None) if private else load_pem_public_key(data)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError("not a key in PEM, or an encrypted one") from None
        return _asymmetric(kid, alg, loaded)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any]) -> Key:
        """A key from a JSON Web Key (RFC 7517, 7518 §6, 8037 §2), which must name ``kid`` and ``alg``.

        ``use`` must be absent or ``sig``; ``key_ops``, if present, must hold ``verify``, and ``sign`` for a key that
        signs: a key published for encryption is no key for signatures. Raises ValueError, see the class.
        """
        kid, alg = jwk.get("kid"), jwk.get("alg")
        if not isinstance(kid, str) or not isinstance(alg, str):
            raise ValueError("the JWK needs a kid and an alg")
        may_sign = _may_sign(jwk)
        kind = jwk.get("kty"), jwk.get("crv")
        if alg == "HS256" and kind == ("oct", None):
            secret = _octets(jwk, "k")
            return cls(kid, alg, may_sign, secret, secret)
        if alg == "EdDSA" and kind == ("OKP", "Ed25519"):
            return _asymmetric(kid, alg, _okp_key(jwk), may_sign=may_sign)
        if alg == "ES256" and kind == ("EC", "P-256"):
            return _asymmetric(kid, alg, _ec_key(jwk), may_sign=may_sign)
        if alg in ("PS256", "RS256") and kind == ("RSA", None):
            return _asymmetric(kid, alg, _rsa_key(jwk), may_sign=may_sign)
        raise ValueError("the JWK's alg, kty and crv do not fit together or are not supported")

    def public_jwk(self) -> dict[str, Any] | None:
        """What verifiers elsewhere need of this key as a JWK; None for HMAC, which has no public half."""
        if isinstance(self._verifying, bytes):
            return None
        return {**_public_members(self._verifying), "kid": self.kid, "alg": self.alg, "use": "sig"}

    def __repr__(self) -> str:
        return f"Key(kid={self.kid!r}, alg={self.alg!r}, can_sign={self.can_sign})"


class KeyRing:
    """The keys of one issuer: the first one signs, all verify, ``kid`` picks.

    Raises ValueError when it would be empty or two keys share a kid, since then a token could choose between them.
    """

    __slots__ = ("_by_kid", "first")

    first: Key

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_kid: dict[str, Key] = {}
        for key in keys:
            if key.kid in self._by_kid:
                raise ValueError(f"two keys have the kid {key.kid!r}")
            self._by_kid[key.kid] = key
        if not self._by_kid:
            raise ValueError("a ring needs at least one key")
        self.first = next(iter(self._by_kid.values()))

    def get(self, kid: str) -> Key | None:
        """The key of that name, or None."""
        return self._by_kid.get(kid)

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        """The public keys as a JWK set (RFC 7517 §5); HMAC keys are left out."""
        return {"keys": [jwk for key in self if (jwk := key.public_jwk()) is not None]}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._by_kid.values())

    def __len__(self) -> int:
        return len(self._by_kid)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self._by_kid)})"


def sign(claims: Mapping[str, Any], ring: KeyRing, *, typ: str) -> str:
    """A token of these claims, signed with the first key of the ring, that `verify` accepts for its form.

    The header is ``alg``, ``kid`` and ``typ`` and nothing else. ``iss aud sub exp iat jti`` are required; times are
    seconds since 1970 as numbers. ``typ`` names the kind of token ("at+jwt"), so that one kind is never taken for
    another (RFC 8725 §3.11).

    Raises ValueError when the first key cannot sign, ``typ`` is empty, a claim is missing or ill-typed, or the claims
    cannot be written as JSON that `verify` reads. Source: RFC 7515 §5.1, RFC 7519 §7.1.
    """
    key = ring.first
    if not key.can_sign:
        raise ValueError(f"the first key of the ring, {key.kid!r}, cannot sign")
    if not typ:
        raise ValueError("a token needs a typ")
    fault = _fault_in(claims)
    if fault is not None:
        raise ValueError(fault)
    try:
        payload = json.dumps(dict(claims), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
        _read_object(payload)
    except (TypeError, ValueError, RecursionError, TokenInvalid):
        raise ValueError("the claims cannot be written as JSON that can be read again") from None
    message = _header(key.alg, key.kid, typ) + "." + b64encode(payload)
    token = message + "." + b64encode(_signature(key, message.encode("ascii")))
    if len(token) > _MAX_TOKEN:
        raise ValueError(f"the token is longer than {_MAX_TOKEN} characters")
    return token


def verify(
    token: str,
    ring: KeyRing,
    *,
    issuer: str,
    audience: str,
    typ: str,
    leeway: float = 0,
    now: float | None = None,
) -> dict[str, Any]:
    """The claims of a token that one of our keys signed, for this audience, of this kind, valid now.

    ``leeway`` (seconds) is granted to both ends of the validity; ``now`` (seconds since 1970) is the clock unless
    given. Checked in this order: form, header, key, signature, claims, and last of all the expiry.

    Raises TokenExpired when only the expiry is against it, TokenInvalid for everything else, and nothing but these
    two whatever the token is. Source: RFC 7515 §5.2, RFC 7519 §7.2, RFC 8725 §3, RFC 9068 §4.
    """
    if not _can_be_token(token):
        raise TokenInvalid("not a token")
    parts = token.split(".")
    if len(parts) != 3:
        raise TokenInvalid("not three segments")
    alg, kid, token_typ = _read_header(parts[0])
    if token_typ != typ:
        raise TokenInvalid("another kind of token")
    key = ring.get(kid)
    if key is None:
        raise TokenInvalid("unknown key")
    # The key decides. A token that may choose makes HMAC secrets of public keys, or asks for no signature at all.
    if alg != key.alg:
        raise TokenInvalid("not this key's algorithm")
    message = token[: len(parts[0]) + 1 + len(parts[1])].encode("ascii")
    if not _signature_holds(key, message, _octets_of(parts[2])):
        raise TokenInvalid("signature")
    claims = _read_object(_octets_of(parts[1]))
    _check_claims(claims, issuer=issuer, audience=audience, leeway=leeway, now=time.time() if now is None else now)
    return claims


def _can_be_token(value: object) -> bool:
    return isinstance(value, str) and len(value) <= _MAX_TOKEN and value.isascii()


def _check_claims(claims: Mapping[str, Any], *, issuer: str, audience: str, leeway: float, now: float) -> None:
    fault = _fault_in(claims)
    if fault is not None:
        raise TokenInvalid(fault)
    if claims["iss"] != issuer:
        raise TokenInvalid("another issuer")
    aud = claims["aud"]
    if aud != audience and (isinstance(aud, str) or audience not in aud):
        raise TokenInvalid("another audience")
    # Each comparison is written so that a NaN refuses.
    if not claims["iat"] <= now + leeway:
        raise TokenInvalid("issued in the future")
    if not claims.get("nbf", 0) <= now + leeway:
        raise TokenInvalid("not valid yet")
    if not claims["exp"] > now - leeway:
        raise TokenExpired("expired")


def _fault_in(claims: Mapping[str, Any]) -> str | None:
    """What is missing or ill-typed among the registered claims, or None."""
    for name in ("iss", "sub", "jti"):
        value = claims.get(name)
        if not isinstance(value, str) or not value:
            return f"{name} must be a text"
    aud = claims.get("aud")
    audiences = [aud] if isinstance(aud, str) else aud
    if not isinstance(audiences, list) or not audiences or not all(isinstance(one, str) and one for one in audiences):
        return "aud must be a text or a list of texts"
    for name in ("exp", "iat"):
        if not _is_time(claims.get(name)):
            return f"{name} must be a time"
    if "nbf" in claims and not _is_time(claims["nbf"]):
        return "nbf must be a time"
    return None


def _is_time(value: object) -> bool:
    # True and False are ints in Python; a NaN fails the comparison.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MAX_TIME


def _octets_of(segment: str) -> bytes:
    try:
        return b64decode(segment)
    except ValueError:
        # Also `token + "="`: the same token under another text would slip past a list of token texts.
        raise TokenInvalid("not canonical base64url") from None


@lru_cache(maxsize=64)
def _header(alg: str, kid: str, typ: str) -> str:
    return b64encode(json.dumps({"alg": alg, "kid": kid, "typ": typ}, separators=(",", ":")).encode())


@lru_cache(maxsize=64)
def _read_header(segment: str) -> tuple[str, str, str]:
    """``alg``, ``kid`` and ``typ`` of a header that has these three and nothing else.

    ``jku``, ``jwk``, ``x5u`` and ``x5c`` bring the attacker's own key, ``crit``, ``b64`` and ``zip`` change what the
    signature covers or blow up when unpacked, ``cty`` nests tokens (RFC 8725 §2.4 to §2.10). Refusals are not cached.
    """
    header = _read_object(_octets_of(segment))
    if header.keys() != {"alg", "kid", "typ"}:
        raise TokenInvalid("header members other than alg, kid, typ")
    alg, kid, typ = header["alg"], header["kid"], header["typ"]
    if not (isinstance(alg, str) and isinstance(kid, str) and isinstance(typ, str)):
        raise TokenInvalid("ill-typed header")
    return alg, kid, typ


def _read_object(data: bytes) -> dict[str, Any]:
    """A JSON object that every reader understands alike (RFC 8259 §4 and §8, RFC 8725 §2.6 and §3.7)."""
    try:
        text = data.decode("utf-8")
        value = _JSON.decode(text)
    except (ValueError, RecursionError):
        raise TokenInvalid("not plain JSON") from None
    if not isinstance(value, dict):
        raise TokenInvalid("not a JSON object")
    # NUL and lone surrogates can only come out of an escape, nesting only out of brackets: no walk without them.
    if "\\" in text or text.count("{") + text.count("[") > _MAX_NESTING:
        _check_within(value, _MAX_NESTING)
    return value


def _check_within(value: object, depth: int) -> None:
    if isinstance(value, str):
        # A NUL ends the text for C and for PostgreSQL; a lone surrogate raises wherever it is next encoded.
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise TokenInvalid("characters that are none")
    elif isinstance(value, dict | list):
        if depth == 0:
            raise TokenInvalid("nested too deeply")
        if isinstance(value, dict):
            for name in value:
                _check_within(name, depth)
        for item in value.values() if isinstance(value, dict) else value:
            _check_within(item, depth - 1)


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ on which of two members counts: one party checks the first, another one acts on the last.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("not finite")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are Python's, not JSON's


_JSON = json.JSONDecoder(object_pairs_hook=_unique_members, parse_float=_finite, parse_constant=_refuse_constant)


def _signature(key: Key, message: bytes) -> bytes:
    if isinstance(key._signing, bytes):
        return hmac.digest(key._signing, message, "sha256")
    return _ASYMMETRIC[key.alg].sign(message, key._signing)


def _signature_holds(key: Key, message: bytes, signature: bytes) -> bool:
    if isinstance(key._verifying, bytes):
        return hmac.compare_digest(hmac.digest(key._verifying, message, "sha256"), signature)
    return _ASYMMETRIC[key.alg].verify(message, key._verifying, signature)


def _check_kid(kid: object) -> None:
    if not isinstance(kid, str) or not 0 < len(kid) <= _MAX_KID or not (kid.isascii() and kid.isprintable()):
        raise ValueError(f"a kid is printable ASCII of 1 to {_MAX_KID} characters")


def _check_material(alg: str, material: bytes | PublicKey) -> None:
    """Raise ValueError unless this key is of the kind and strength that the algorithm asks for."""
    check = _CHECKS.get(alg)
    if check is None:
        raise ValueError("the algorithm must be one of " + ", ".join(_CHECKS))
    check(material)


def _check_secret(material: object) -> None:
    if not isinstance(material, bytes) or len(material) < _HMAC_BYTES:
        raise ValueError(f"HS256 needs a secret of at least {_HMAC_BYTES} bytes")
    try:
        # A public key as an HMAC secret is the other half of the algorithm swap (RFC 8725 §2.1).
        _HMAC.prepare_key(material)
    except InvalidKeyError:
        raise ValueError("this is a key of another kind, not an HMAC secret") from None
    if is_weak_secret(material):
        raise ValueError("this secret is published or guessable: make a random one")


def _check_ed25519(material: object) -> None:
    if not isinstance(material, ed25519.Ed25519PublicKey):
        raise ValueError("EdDSA needs an Ed25519 key")


def _check_p256(material: object) -> None:
    if not isinstance(material, ec.EllipticCurvePublicKey) or not isinstance(material.curve, ec.SECP256R1):
        raise ValueError("ES256 needs a P-256 key")


def _check_rsa(material: object) -> None:
    if not isinstance(material, rsa.RSAPublicKey) or material.key_size < _RSA_BITS:
        raise ValueError(f"PS256 and RS256 need an RSA key of at least {_RSA_BITS} bits")
    numbers = material.public_numbers()
    if numbers.e < _RSA_EXPONENT or numbers.e % 2 == 0:
        raise ValueError(f"the RSA exponent must be odd and at least {_RSA_EXPONENT}")
    if _is_roca(numbers.n):
        raise ValueError("this RSA modulus can be factored (ROCA, CVE-2017-15361)")


_CHECKS: Mapping[str, Callable[[object], None]] = {
    "HS256": _check_secret,
    "EdDSA": _check_ed25519,
    "ES256": _check_p256,
    "PS256": _check_rsa,
    "RS256": _check_rsa,
}


def _is_roca(modulus: int) -> bool:
    """Whether the modulus bears the mark of Infineon's broken generator: a power of 65537 modulo every small prime.

    A sound modulus passes for one about once in 10⁸ keys (2⁻²⁷·⁸).
    Source: Nemec et al., "The Return of Coppersmith's Attack", CCS 2017, §2.
    """
    return all(modulus % prime in _powers_of_65537(prime) for prime in _ROCA_PRIMES)


def _powers_of_65537(prime: int) -> set[int]:
    return {pow(65537, exponent, prime) for exponent in range(prime - 1)}


def _asymmetric(kid: str, alg: str, loaded: object, *, may_sign: bool = True) -> Key:
    if isinstance(loaded, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        can_sign = may_sign and alg in _SIGNING
        return Key(kid, alg, can_sign, loaded.public_key(), loaded if can_sign else None)
    if isinstance(loaded, ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
        return Key(kid, alg, False, loaded, None)
    raise ValueError("keys are Ed25519, P-256 or RSA")


def _may_sign(jwk: Mapping[str, Any]) -> bool:
    if jwk.get("use", "sig") != "sig":
        raise ValueError("the JWK's use is not sig")
    operations = jwk.get("key_ops", ["sign", "verify"])
    if not isinstance(operations, list) or "verify" not in operations:
        raise ValueError("the JWK's key_ops do not allow verify")
    return "sign" in operations


def _octets(jwk: Mapping[str, Any], name: str) -> bytes:
    try:
        return b64decode(jwk[name])
    except (KeyError, ValueError):
        raise ValueError(f"the JWK's {name} is missing or not canonical base64url") from None


def _number(jwk: Mapping[str, Any], name: str) -> int:
    return int.from_bytes(_octets(jwk, name), "big")


def _public_members(public: PublicKey) -> dict[str, str]:
    if isinstance(public, ed25519.Ed25519PublicKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64encode(public.public_bytes_raw())}
    if isinstance(public, ec.EllipticCurvePublicKey):
        point = public.public_numbers()
        # 32 octets each, leading zeros included (RFC 7518 §6.2.1.2).
        x, y = (b64encode(coordinate.to_bytes(32, "big")) for coordinate in (point.x, point.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
    numbers = public.public_numbers()
    n, e = (b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")) for value in (numbers.n, numbers.e))
    return {"kty": "RSA", "n": n, "e": e}


def _okp_key(jwk: Mapping[str, Any]) -> PublicKey | PrivateKey:
    public = ed25519.Ed25519PublicKey.from_public_bytes(_octets(jwk, "x"))
    if "d" not in jwk:
        return public
    private = ed25519.Ed25519PrivateKey.from_private_bytes(_octets(jwk, "d"))
    # Signing with a public half that is not one's own gives the private half away.
    if private.public_key() != public:
        raise ValueError("the JWK's x and d do not belong together")
    return private


def _ec_key(jwk: Mapping[str, Any]) -> PublicKey | PrivateKey:
    x, y = _octets(jwk, "x"), _octets(jwk, "y")
    if len(x) != 32 or len(y) != 32:
        raise ValueError("the JWK's x and y must have 32 octets each")
    public = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    if "d" not in jwk:
        return public.public_key()
    return ec.EllipticCurvePrivateNumbers(_number(jwk, "d"), public).private_key()


def _rsa_key(jwk: Mapping[str, Any]) -> PublicKey | PrivateKey:
    public = rsa.RSAPublicNumbers(_number(jwk, "e"), _number(jwk, "n"))
    if "d" not in jwk:
        return public.public_key()
    p, q, d, dp, dq, qi = (_number(jwk, name) for name in ("p", "q", "d", "dp", "dq", "qi"))
    return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, public).private_key()
