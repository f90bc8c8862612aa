"""The laws of kit.jwt."""

from __future__ import annotations

import hmac
import json
import math
import re
import time
from collections.abc import Callable
from itertools import product
from typing import Any
from unittest.mock import create_autospec

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from django_secure_auth.kit import jwt
from django_secure_auth.kit.jwt import Key, KeyRing, TokenExpired, TokenInvalid, sign, verify
from django_secure_auth.kit.keys import b64decode, b64encode

NOW = 1_800_000_000
ISSUER = "https://example.com"
AUDIENCE = "example"
TYP = "at+jwt"
SECRET = bytes.fromhex("d6a1f03c8be7425990ce1b7d4a86f35f2e0b9d71c4a85e63f7128cd09be46a35")
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "7",
    "jti": "j-1",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 300,
}
HEADER = {"alg": "HS256", "kid": "k1", "typ": TYP}

HMAC_KEY = Key.from_secret(kid="k1", secret=SECRET)
RING = KeyRing([HMAC_KEY])

RFC8037_JWK = {
    "kty": "OKP",
    "crv": "Ed25519",
    "kid": "ed",
    "alg": "EdDSA",
    "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}
RFC7515_A3_JWK = {
    "kty": "EC",
    "crv": "P-256",
    "kid": "ec",
    "alg": "ES256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
OCT_JWK = {"kty": "oct", "kid": "k1", "alg": "HS256", "k": b64encode(SECRET)}

quiet = settings(database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def check(token: Any, ring: KeyRing = RING, **options: Any) -> dict[str, Any]:
    return verify(token, ring, **{"issuer": ISSUER, "audience": AUDIENCE, "typ": TYP, "now": NOW, **options})


def forge(header: Any = HEADER, claims: Any = CLAIMS, key: Key = HMAC_KEY) -> str:
    """A token signed with the right key whatever it says; bytes are taken as they are."""
    parts = [part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, claims)]
    message = ".".join(b64encode(part) for part in parts)
    return f"{message}.{b64encode(jwt._signature(key, message.encode()))}"


def refused(token: Any, ring: KeyRing = RING, **options: Any) -> str:
    with pytest.raises(TokenInvalid) as refusal:
        check(token, ring, **options)
    assert type(refusal.value) is TokenInvalid
    return str(refusal.value)


def without(mapping: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name not in names}


def private_pem(key: Any, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem: bytes = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return pem


def number(value: int) -> str:
    return b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 3072)


@pytest.fixture(scope="module")
def rsa_jwk(rsa_key: rsa.RSAPrivateKey) -> dict[str, Any]:
    numbers = rsa_key.private_numbers()
    return {
        "kty": "RSA",
        "kid": "r",
        "alg": "PS256",
        "n": number(numbers.public_numbers.n),
        "e": number(numbers.public_numbers.e),
        "d": number(numbers.d),
        "p": number(numbers.p),
        "q": number(numbers.q),
        "dp": number(numbers.dmp1),
        "dq": number(numbers.dmq1),
        "qi": number(numbers.iqmp),
    }


# ------------------------------------------------------------------------------------------------ what is accepted


def test_a_token_comes_back_with_the_claims_it_was_given() -> None:
    claims = {**CLAIMS, "sid": "s", "gen": 3, "amr": ["pwd", "email"], "name": "Zoë 🦊"}
    assert check(sign(claims, RING, typ=TYP)) == claims


def test_the_header_is_alg_kid_and_typ_and_the_json_is_compact() -> None:
    header, payload, _ = sign(CLAIMS, RING, typ=TYP).split(".")
    assert b64decode(header) == b'{"alg":"HS256","kid":"k1","typ":"at+jwt"}'
    assert b64decode(payload) == json.dumps(CLAIMS, separators=(",", ":")).encode()


@pytest.mark.parametrize("jwk", [OCT_JWK, RFC8037_JWK, RFC7515_A3_JWK])
def test_a_jwk_signs_and_its_public_half_verifies(jwk: dict[str, str]) -> None:
    key = Key.from_jwk(jwk)
    token = sign(CLAIMS, KeyRing([key]), typ=TYP)
    verifier = key if jwk is OCT_JWK else Key.from_jwk(without(jwk, "d"))
    assert verifier.can_sign is (jwk is OCT_JWK)
    assert check(token, KeyRing([verifier])) == CLAIMS


def test_an_rsa_key_signs_with_pss_as_jwk_and_as_pem(rsa_key: rsa.RSAPrivateKey, rsa_jwk: dict[str, Any]) -> None:
    for key in (
        Key.from_jwk(rsa_jwk),
        Key.from_pem(kid="r", alg="PS256", pem=private_pem(rsa_key)),
        Key.from_pem(kid="r", alg="PS256", pem=private_pem(rsa_key).decode()),
    ):
        token = sign(CLAIMS, KeyRing([key]), typ=TYP)
        assert check(token, KeyRing([Key.from_pem(kid="r", alg="PS256", pem=public_pem(rsa_key))])) == CLAIMS
        assert check(token, KeyRing([Key.from_jwk({**rsa_jwk, "key_ops": ["verify"]})])) == CLAIMS


def test_rs256_verifies_and_does_not_sign_even_with_the_private_key(
    rsa_key: rsa.RSAPrivateKey, rsa_jwk: dict[str, Any]
) -> None:
    for key in (
        Key.from_pem(kid="r", alg="RS256", pem=private_pem(rsa_key)),
        Key.from_jwk({**rsa_jwk, "alg": "RS256"}),
        Key.from_jwk({**without(rsa_jwk, "d"), "alg": "RS256"}),
    ):
        assert not key.can_sign
        with pytest.raises(ValueError, match="cannot sign"):
            sign(CLAIMS, KeyRing([key]), typ=TYP)
        message = ".".join(b64encode(json.dumps(part).encode()) for part in ({**HEADER, "alg": "RS256"}, CLAIMS))
        signature = jwt._ASYMMETRIC["RS256"].sign(message.encode(), rsa_key)
        renamed = KeyRing([Key("k1", "RS256", False, rsa_key.public_key(), None)])
        assert check(f"{message}.{b64encode(signature)}", renamed) == CLAIMS


@pytest.mark.parametrize(
    ("alg", "make"),
    [("EdDSA", ed25519.Ed25519PrivateKey.generate), ("ES256", lambda: ec.generate_private_key(ec.SECP256R1()))],
)
def test_a_pem_signs_and_its_public_half_verifies(alg: str, make: Callable[[], Any]) -> None:
    private = make()
    token = sign(CLAIMS, KeyRing([Key.from_pem(kid="p", alg=alg, pem=private_pem(private))]), typ=TYP)
    assert check(token, KeyRing([Key.from_pem(kid="p", alg=alg, pem=public_pem(private))])) == CLAIMS


def test_the_ed25519_vector_of_rfc_8037() -> None:
    key = Key.from_jwk(RFC8037_JWK)
    message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc"
    signature = b64decode("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg")
    assert jwt._signature(key, message) == signature
    assert jwt._signature_holds(key, message, signature)
    assert not jwt._signature_holds(key, message + b"A", signature)


def test_the_es256_vector_of_rfc_7515() -> None:
    key = Key.from_jwk(RFC7515_A3_JWK)
    message = (
        b"eyJhbGciOiJFUzI1NiJ9."
        b"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    )
    signature = b64decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q")
    assert jwt._signature_holds(key, message, signature)
    assert not jwt._signature_holds(key, message + b"A", signature)
    assert not jwt._signature_holds(key, message, bytes(64))


def test_the_first_key_signs_and_all_verify() -> None:
    old, new = HMAC_KEY, Key.from_jwk(RFC8037_JWK)
    ring = KeyRing(iter([new, old]))
    assert ring.first is new
    assert len(ring) == 2
    assert check(sign(CLAIMS, KeyRing([old]), typ=TYP), ring) == CLAIMS
    assert check(sign(CLAIMS, ring, typ=TYP), KeyRing([old, new])) == CLAIMS


def test_the_clock_is_now_unless_given() -> None:
    now = time.time()
    token = sign({**CLAIMS, "iat": now, "nbf": now, "exp": now + 60}, RING, typ=TYP)
    assert verify(token, RING, issuer=ISSUER, audience=AUDIENCE, typ=TYP)["sub"] == "7"


def test_nbf_is_optional_and_times_may_be_fractions() -> None:
    claims = {**without(CLAIMS, "nbf"), "iat": NOW + 0.25, "exp": NOW + 1.5}
    assert check(forge(claims=claims), now=NOW + 0.5) == claims


def test_one_audience_of_several_is_enough() -> None:
    assert check(forge(claims={**CLAIMS, "aud": ["other", AUDIENCE]}))["aud"] == ["other", AUDIENCE]


def test_claims_we_do_not_know_are_handed_through() -> None:
    assert check(forge(claims={**CLAIMS, "roles": ["a"], "x": None}))["roles"] == ["a"]


def test_sixteen_levels_and_escaped_characters_are_read() -> None:
    nested = json.loads("[" * 15 + "]" * 15)
    claims = {**CLAIMS, "nested": nested, "many": [[]] * 40, "text": 'a "quoted"\n é 🦊 {[', "object": {"k": {"l": 1}}}
    assert check(forge(claims=claims)) == claims


def test_two_verifications_do_not_share_their_answer() -> None:
    token = forge()
    check(token)["sub"] = "8"
    assert check(token) == CLAIMS


# ------------------------------------------------------------------------------------------------ algorithm and key


@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", "none ", "HS256 ", "hs256", "HS384", "HS512"])
def test_a_token_with_no_or_another_algorithm_is_refused(alg: str) -> None:
    token = forge({**HEADER, "alg": alg})
    assert refused(token) == "not this key's algorithm"
    refused(token.rpartition(".")[0] + ".")


@pytest.mark.control("ASVS-6.8.2")
def test_a_token_signed_with_none_is_refused_even_with_a_good_header() -> None:
    assert refused(forge().rpartition(".")[0] + ".") == "signature"


def test_a_public_key_is_never_an_hmac_secret(rsa_key: rsa.RSAPrivateKey) -> None:
    for private in (rsa_key, ec.generate_private_key(ec.SECP256R1())):
        with pytest.raises(ValueError, match="another kind"):
            Key.from_secret(kid="k1", secret=public_pem(private))
        with pytest.raises(ValueError, match="HS256 needs a secret"):
            Key.from_pem(kid="k1", alg="HS256", pem=public_pem(private))


def test_a_token_hmacked_with_the_public_key_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    pem = public_pem(rsa_key)
    message = ".".join(b64encode(json.dumps(part).encode()) for part in ({**HEADER, "kid": "r"}, CLAIMS))
    token = f"{message}.{b64encode(hmac.digest(pem, message.encode(), 'sha256'))}"
    for alg in ("PS256", "RS256"):
        assert refused(token, KeyRing([Key.from_pem(kid="r", alg=alg, pem=pem)])) == "not this key's algorithm"


def test_one_rsa_key_has_one_algorithm(rsa_key: rsa.RSAPrivateKey) -> None:
    """R45: one algorithm per key."""
    token = sign(CLAIMS, KeyRing([Key.from_pem(kid="r", alg="PS256", pem=private_pem(rsa_key))]), typ=TYP)
    refused(token, KeyRing([Key.from_pem(kid="r", alg="RS256", pem=public_pem(rsa_key))]))


@pytest.mark.parametrize("jwk", [RFC8037_JWK, RFC7515_A3_JWK])
@pytest.mark.parametrize("signature", [b"", bytes(1), bytes(32), bytes(63), bytes(64), bytes(65), b"\xff" * 64])
def test_a_signature_of_any_wrong_shape_is_refused(jwk: dict[str, str], signature: bytes) -> None:
    ring = KeyRing([Key.from_jwk(jwk)])
    message = sign(CLAIMS, ring, typ=TYP).rpartition(".")[0]
    assert refused(f"{message}.{b64encode(signature)}", ring) == "signature"


def test_a_token_of_another_secret_is_refused() -> None:
    assert refused(forge(key=Key.from_secret(kid="k1", secret=SECRET[::-1]))) == "signature"


@pytest.mark.control("ASVS-6.8.2")
@pytest.mark.parametrize("kid", ["", "k2", "K1", "k1 ", "../../dev/null", "/dev/null", "k1' OR '1'='1", "k1\0", "__"])
def test_a_kid_outside_the_ring_is_refused(kid: str) -> None:
    refused(forge({**HEADER, "kid": kid}))


@pytest.mark.parametrize("value", [None, 1, 1.5, True, ["k1"], {"k1": 1}, []])
@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_an_ill_typed_header_member_is_refused(name: str, value: object) -> None:
    refused(forge({**HEADER, name: value}))


@pytest.mark.parametrize("name", ["alg", "kid", "typ"])
def test_a_missing_header_member_is_refused(name: str) -> None:
    refused(forge(without(HEADER, name)))


@pytest.mark.parametrize(
    "extra",
    [
        {"jku": "https://evil.example/jwks.json"},
        {"jwk": OCT_JWK},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"x5t": "AA"},
        {"crit": ["exp"]},
        {"crit": []},
        {"b64": False, "crit": ["b64"]},
        {"zip": "DEF"},
        {"cty": "JWT"},
        {"enc": "A256GCM"},
        {"": ""},
    ],
)
def test_any_further_header_member_is_refused(extra: dict[str, Any]) -> None:
    assert refused(forge({**HEADER, **extra})) == "header members other than alg, kid, typ"


@pytest.mark.parametrize("typ", ["JWT", "AT+JWT", "at+jwt ", "application/at+jwt", "refresh", ""])
def test_another_kind_of_token_is_refused(typ: str) -> None:
    assert refused(forge({**HEADER, "typ": typ})) == "another kind of token"


# ------------------------------------------------------------------------------------------------ the text


@pytest.mark.parametrize("value", [None, 1, b"", forge().encode(), [], {}, object()])
def test_what_is_no_text_is_refused(value: object) -> None:
    assert refused(value) == "not a token"


@pytest.mark.parametrize("text", ["", ".", "..", "...", "a.b", "a.b.c.d", "a.b.c.d.e", "\ud800.\udfff.x", "é.é.é"])
def test_what_is_not_three_segments_is_refused(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("addition", ["=", "==", " ", "\n", "\t", "\0", ".", "%3D", "A", "AAAA"])
def test_a_token_has_no_second_spelling(addition: str) -> None:
    """R45: `token + "="` is another text, which no list of revoked tokens would know."""
    token = forge()
    header, payload, signature = token.split(".")
    for changed in (
        token + addition,
        addition + token,
        f"{header}{addition}.{payload}.{signature}",
        f"{header}.{payload}{addition}.{signature}",
        f"{header}.{addition}{payload}.{signature}",
    ):
        refused(changed)


def test_trailing_bits_that_count_for_nothing_are_refused() -> None:
    """R45: canonical base64 only."""
    token = forge()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    place = alphabet.index(token[-1])
    assert place % 4 == 0  # 32 bytes leave 2 bits
    for bits in (1, 2, 3):
        assert refused(token[:-1] + alphabet[place + bits]) == "not canonical base64url"


def test_a_payload_that_is_not_canonical_is_refused_even_when_signed() -> None:
    header, payload = (b64encode(json.dumps(part).encode()) for part in (HEADER, CLAIMS))
    message = f"{header}.{payload}="
    refused(f"{message}.{b64encode(jwt._signature(HMAC_KEY, message.encode()))}")


def test_a_token_beyond_8_kib_is_refused_unread() -> None:
    token = forge(claims={**CLAIMS, "x": "a" * 9000})
    assert refused(token) == "not a token"
    assert refused("." * 10_000_000) == "not a token"


def test_a_token_is_not_signed_beyond_8_kib() -> None:
    with pytest.raises(ValueError, match="longer than"):
        sign({**CLAIMS, "x": "a" * 9000}, RING, typ=TYP)


@pytest.mark.parametrize("alg_twice", [b'{"alg":"HS256","kid":"k1","typ":"at+jwt","alg":"HS256"}'])
def test_a_header_with_a_duplicate_member_is_refused(alg_twice: bytes) -> None:
    refused(forge(alg_twice))


@pytest.mark.parametrize("extra", [b'"sub":"8"', b'"s\\u0075b":"8"', b'"x":{"a":1,"a":1}', b'"x":[{"a":1,"a":2}]'])
def test_claims_with_a_duplicate_member_are_refused(extra: bytes) -> None:
    assert refused(forge(claims=json.dumps(CLAIMS).encode()[:-1] + b"," + extra + b"}")) == "not plain JSON"


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1" * 5000])
def test_numbers_that_json_does_not_have_are_refused(value: bytes) -> None:
    refused(forge(claims=json.dumps(CLAIMS).encode()[:-1] + b',"x":' + value + b"}"))
    refused(forge(claims=json.dumps(without(CLAIMS, "exp")).encode()[:-1] + b',"exp":' + value + b"}"))


@pytest.mark.parametrize("value", ['"\\u0000"', '"\\ud800"', '"a\\udfffb"', '{"\\u0000":1}', '[{"a":["\\ud83e"]}]'])
def test_nul_and_lone_surrogates_are_refused_wherever_they_stand(value: str) -> None:
    claims = json.dumps(CLAIMS)[:-1] + ',"x":' + value + "}"
    assert refused(forge(claims=claims.encode())) == "characters that are none"


@pytest.mark.parametrize("value", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\x00"])
def test_what_is_not_utf_8_is_refused(value: bytes) -> None:
    refused(forge(claims=json.dumps(CLAIMS).encode()[:-1] + b',"x":"' + value + b'"}'))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_json_in_another_encoding_is_refused(encoding: str) -> None:
    refused(forge(claims=json.dumps(CLAIMS).encode(encoding)))


@pytest.mark.parametrize("value", [b"", b"null", b"1", b'"x"', b"[]", b"{}", b"{", b"{}{}", b"{'a':1}", b"{//\n}"])
def test_claims_that_are_no_object_of_claims_are_refused(value: bytes) -> None:
    refused(forge(claims=value))
    refused(forge(header=value))


@pytest.mark.parametrize("depth", [16, 100, 2900])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(depth: int, opening: str, closing: str) -> None:
    inner = opening * depth + "1" + closing * depth
    token = forge(claims=(json.dumps(CLAIMS)[:-1] + ',"x":' + inner + "}").encode())
    refused(token)


# ------------------------------------------------------------------------------------------------ the claims


@pytest.mark.control("ASVS-9.2.4")
@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "jti"])
def test_a_token_without_a_required_claim_is_refused_and_not_signed(name: str) -> None:
    """R45: a token without `exp` would live for ever."""
    claims = without(CLAIMS, name)
    assert refused(forge(claims=claims)).startswith(name)
    with pytest.raises(ValueError, match=name):
        sign(claims, RING, typ=TYP)


NO_TEXTS: list[object] = ["", None, 7, True, ["7"], {"a": "b"}]
NO_AUDIENCES: list[object] = ["", None, 7, True, [], [AUDIENCE, 7], [AUDIENCE, ""], [[AUDIENCE]], {}]
NO_TIMES: list[object] = [None, True, False, str(NOW + 300), "", [NOW], {}, -1, -0.5, 2**53 + 1, 2.0**60, 10**400]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *product(("iss", "sub", "jti"), NO_TEXTS),
        *product(("aud",), NO_AUDIENCES),
        *product(("exp", "iat", "nbf"), NO_TIMES),
    ],
)
def test_an_ill_typed_claim_is_refused_and_not_signed(name: str, value: object) -> None:
    claims = {**CLAIMS, name: value}
    assert refused(forge(claims=claims)).startswith(name)
    with pytest.raises(ValueError, match=name):
        sign(claims, RING, typ=TYP)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_a_time_that_is_no_number_is_not_signed(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        sign({**CLAIMS, name: value}, RING, typ=TYP)


def test_another_issuer_is_refused() -> None:
    for issuer in ("https://example.org", ISSUER + "/", ISSUER.upper(), ""):
        assert refused(forge(), issuer=issuer) == "another issuer"


def test_another_audience_is_refused() -> None:
    for audience in ("exam", "Example", "example ", ""):
        assert refused(forge(), audience=audience) == "another audience"
        assert refused(forge(claims={**CLAIMS, "aud": ["a", AUDIENCE]}), audience=audience) == "another audience"


def test_a_token_expires_at_its_second() -> None:
    assert check(forge(), now=NOW + 299.9)
    for late in (300, 300.1, 10**9):
        with pytest.raises(TokenExpired, match="expired"):
            check(forge(), now=NOW + late)


def test_leeway_stretches_both_ends() -> None:
    assert check(forge(), now=NOW + 309, leeway=10)
    assert check(forge(), now=NOW - 10, leeway=10)
    with pytest.raises(TokenExpired):
        check(forge(), now=NOW + 310, leeway=10)
    refused(forge(), now=NOW - 11, leeway=10)


def test_a_token_from_the_future_is_refused() -> None:
    far = NOW + 10**9
    assert refused(forge(claims={**CLAIMS, "iat": far, "exp": far + 1})) == "issued in the future"
    assert refused(forge(claims={**CLAIMS, "nbf": far, "exp": far + 1})) == "not valid yet"


def test_expired_means_that_nothing_else_is_wrong() -> None:
    assert issubclass(TokenExpired, TokenInvalid)
    late = NOW + 10**6
    refused(forge(), now=late, audience="other")
    refused(forge(), now=late, issuer="other")
    refused(forge(), now=late, typ="other")
    refused(forge(key=Key.from_secret(kid="k1", secret=SECRET[::-1])), now=late)


def test_a_clock_that_is_no_number_refuses() -> None:
    refused(forge(), now=math.nan)
    refused(forge(), leeway=math.nan)


# ------------------------------------------------------------------------------------------------ signing


def test_a_token_without_a_typ_is_not_signed() -> None:
    with pytest.raises(ValueError, match="typ"):
        sign(CLAIMS, RING, typ="")


@pytest.mark.parametrize(
    "value",
    ["\0", "\ud800", math.nan, math.inf, object(), b"x", {1: "a", "1": "b"}, json.loads("[" * 20 + "]" * 20)],
)
def test_what_could_not_be_read_again_is_not_signed(value: object) -> None:
    with pytest.raises(ValueError, match="read again"):
        sign({**CLAIMS, "x": value}, RING, typ=TYP)


def test_what_contains_itself_is_not_signed() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(ValueError, match="read again"):
        sign({**CLAIMS, "x": loop}, RING, typ=TYP)


def test_a_ring_whose_first_key_only_verifies_does_not_sign() -> None:
    with pytest.raises(ValueError, match="'ed', cannot sign"):
        sign(CLAIMS, KeyRing([Key.from_jwk(without(RFC8037_JWK, "d")), HMAC_KEY]), typ=TYP)


# ------------------------------------------------------------------------------------------------ keys


def test_a_key_shows_its_name_only(rsa_key: rsa.RSAPrivateKey) -> None:
    key = Key.from_secret(kid="k1", secret=b"k7#Qz!v2Lm9$Rt:x4&Wp6*Ys8(Ud0)Fg1")
    assert repr(key) == str(key) == "Key(kid='k1', alg='HS256', can_sign=True)"
    assert repr(KeyRing([key, Key.from_jwk(RFC8037_JWK)])) == "KeyRing(k1, ed)"


def test_a_key_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        HMAC_KEY.alg = "none"  # type: ignore[misc]  # the law under test


@pytest.mark.parametrize("kid", ["", "a" * 256, "k\n", "k\0", "ké", "\ud800", None, 1, ["k"]])
def test_a_kid_is_short_printable_ascii(kid: Any) -> None:
    with pytest.raises(ValueError, match="kid"):
        Key.from_secret(kid=kid, secret=SECRET)


@pytest.mark.parametrize("secret", [b"", b"x4&Wp6*Y", SECRET[:31], SECRET.hex(), None])
def test_an_hmac_secret_has_32_bytes(secret: Any) -> None:
    """R45: eight bytes are no key."""
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Key.from_secret(kid="k1", secret=secret)
    if isinstance(secret, bytes):
        with pytest.raises(ValueError, match="at least 32 bytes"):
            Key.from_jwk({**OCT_JWK, "k": b64encode(secret)})


def test_a_weak_secret_is_refused() -> None:
    rfc7515_a1 = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
    with pytest.raises(ValueError, match="published or guessable"):
        Key.from_jwk({**OCT_JWK, "k": rfc7515_a1})
    with pytest.raises(ValueError, match="published or guessable"):
        Key.from_secret(kid="k1", secret=bytes(32))


@pytest.mark.parametrize("alg", ["none", "HS512", "ES384", "PS512", "Ed25519", "RSA-OAEP", ""])
def test_other_algorithms_do_not_exist(alg: str) -> None:
    with pytest.raises(ValueError, match="algorithm must be one of"):
        Key.from_pem(kid="p", alg=alg, pem=public_pem(ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(ValueError, match="alg, kty and crv"):
        Key.from_jwk({**OCT_JWK, "alg": alg})


def test_a_key_has_no_back_door_around_its_checks() -> None:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    with pytest.raises(ValueError, match="ES256 needs"):
        Key("k", "ES256", False, public, None)
    with pytest.raises(ValueError, match="cannot sign"):
        Key("k", "EdDSA", True, public, None)


@pytest.mark.parametrize(
    ("alg", "make", "says"),
    [
        ("ES256", lambda: ec.generate_private_key(ec.SECP384R1()), "P-256"),
        ("ES256", lambda: ec.generate_private_key(ec.SECP256K1()), "P-256"),
        ("ES256", ed25519.Ed25519PrivateKey.generate, "P-256"),
        ("EdDSA", lambda: ec.generate_private_key(ec.SECP256R1()), "Ed25519"),
        ("EdDSA", ed448.Ed448PrivateKey.generate, "keys are Ed25519, P-256 or RSA"),
        ("PS256", lambda: rsa.generate_private_key(65537, 2048), "3072"),
        ("RS256", lambda: rsa.generate_private_key(65537, 2048), "3072"),
        ("PS256", ed25519.Ed25519PrivateKey.generate, "3072"),
    ],
)
def test_a_pem_of_another_kind_or_too_small_is_refused(alg: str, make: Callable[[], Any], says: str) -> None:
    private = make()
    for pem in (private_pem(private), public_pem(private)):
        with pytest.raises(ValueError, match=says):
            Key.from_pem(kid="p", alg=alg, pem=pem)


def test_a_pem_that_is_encrypted_or_garbled_is_refused_without_quoting_it() -> None:
    pem = private_pem(ed25519.Ed25519PrivateKey.generate(), b"password")
    for garbled in (pem, pem.replace(b"M", b"N"), b"", "", "\ud800", pem[:40], b"MIIB", None):
        with pytest.raises(ValueError, match="^not a key in PEM, or an encrypted one$"):
            Key.from_pem(kid="p", alg="EdDSA", pem=garbled)  # type: ignore[arg-type]  # the law under test


def modulus(bits: int, residue: Callable[[int], int]) -> int:
    """An odd number of so many bits with the given residue modulo each of the primes of the ROCA test."""
    product, value = 2, 1
    for prime in jwt._ROCA_PRIMES:
        value += product * ((residue(prime) - value) * pow(product, -1, prime) % prime)
        product *= prime
    return value + product * ((1 << (bits - 1)) // product + 1)


def test_a_roca_modulus_is_refused(rsa_jwk: dict[str, Any]) -> None:
    marked = modulus(3072, lambda prime: pow(65537, 12345, prime))
    assert marked.bit_length() == 3072
    public = without(rsa_jwk, "d")
    with pytest.raises(ValueError, match="ROCA"):
        Key.from_jwk({**public, "n": number(marked)})
    # 2 is no power of 65537 modulo 11: one prime out of step is enough.
    almost = modulus(3072, lambda prime: 2 if prime == 11 else pow(65537, 12345, prime))
    assert Key.from_jwk({**public, "n": number(almost)}).alg == "PS256"


@pytest.mark.parametrize("exponent", [3, 17, 65535, 65539 - 1, 65536])
def test_a_small_or_even_rsa_exponent_is_refused(rsa_jwk: dict[str, Any], exponent: int) -> None:
    with pytest.raises(ValueError, match=r"."):
        Key.from_jwk({**without(rsa_jwk, "d"), "e": number(exponent)})


def test_an_exponent_that_is_even_is_refused_by_us_as_well() -> None:
    key = create_autospec(rsa.RSAPublicKey, instance=True, key_size=3072)
    key.public_numbers.return_value = rsa.RSAPublicNumbers(65538, 1)
    with pytest.raises(ValueError, match="odd"):
        jwt._check_rsa(key)


def test_a_small_rsa_jwk_is_refused(rsa_jwk: dict[str, Any]) -> None:
    small = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    with pytest.raises(ValueError, match="3072"):
        Key.from_jwk({**without(rsa_jwk, "d"), "n": number(small)})


@pytest.mark.parametrize("use", ["enc", "", "SIG", None, ["sig"]])
@pytest.mark.parametrize("jwk", [OCT_JWK, RFC8037_JWK, RFC7515_A3_JWK])
def test_a_jwk_for_another_use_is_refused(jwk: dict[str, Any], use: object) -> None:
    """R45: a key published for encryption (`use: enc`) is no key for signatures."""
    assert Key.from_jwk({**jwk, "use": "sig"}).can_sign
    with pytest.raises(ValueError, match="use is not sig"):
        Key.from_jwk({**jwk, "use": use})


@pytest.mark.parametrize(
    "operations", [[], ["sign"], ["encrypt"], ["deriveKey", "sign"], "verify", None, {"verify": 1}]
)
def test_a_jwk_whose_operations_do_not_allow_to_verify_is_refused(operations: object) -> None:
    """R45: `key_ops` are obeyed."""
    for jwk in (OCT_JWK, RFC8037_JWK):
        with pytest.raises(ValueError, match="key_ops do not allow verify"):
            Key.from_jwk({**jwk, "key_ops": operations})


@pytest.mark.parametrize("jwk", [OCT_JWK, RFC8037_JWK, RFC7515_A3_JWK])
def test_a_jwk_signs_only_if_its_operations_say_so(jwk: dict[str, Any]) -> None:
    """R45: `key_ops` are obeyed."""
    assert Key.from_jwk({**jwk, "key_ops": ["verify", "sign"]}).can_sign
    key = Key.from_jwk({**jwk, "key_ops": ["verify"]})
    assert not key.can_sign
    with pytest.raises(ValueError, match="cannot sign"):
        sign(CLAIMS, KeyRing([key]), typ=TYP)


@pytest.mark.parametrize("name", ["kid", "alg"])
@pytest.mark.parametrize("value", [None, 1, ["x"]])
def test_a_jwk_names_itself_and_its_algorithm(name: str, value: object) -> None:
    for jwk in (without(OCT_JWK, name), {**OCT_JWK, name: value}):
        with pytest.raises(ValueError, match="needs a kid and an alg"):
            Key.from_jwk(jwk)


@pytest.mark.parametrize(
    "changed",
    [
        {**OCT_JWK, "alg": "EdDSA"},
        {**OCT_JWK, "kty": "OKP"},
        {**OCT_JWK, "crv": "P-256"},
        {**RFC8037_JWK, "alg": "HS256"},
        {**RFC8037_JWK, "crv": "Ed448"},
        {**RFC8037_JWK, "crv": "X25519"},
        {**RFC8037_JWK, "crv": ["Ed25519"]},
        {**RFC7515_A3_JWK, "alg": "ES384"},
        {**RFC7515_A3_JWK, "crv": "P-384"},
        {**RFC7515_A3_JWK, "alg": "RS256"},
        without(RFC7515_A3_JWK, "kty"),
    ],
)
def test_a_jwk_whose_alg_and_kind_do_not_fit_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="alg, kty and crv"):
        Key.from_jwk(changed)


@pytest.mark.parametrize(
    ("jwk", "name"), [(OCT_JWK, "k"), (RFC8037_JWK, "x"), (RFC8037_JWK, "d"), (RFC7515_A3_JWK, "y")]
)
def test_a_jwk_with_a_garbled_member_is_refused_without_quoting_it(jwk: dict[str, Any], name: str) -> None:
    secret = jwk[name]
    for value in (secret + "=", " " + secret, secret[:-1] + "!", None, 5, secret.encode()):
        with pytest.raises(ValueError, match="canonical base64url") as refusal:
            Key.from_jwk({**jwk, name: value})
        assert secret not in str(refusal.value)


def test_a_jwk_whose_halves_do_not_belong_together_is_refused(rsa_jwk: dict[str, Any]) -> None:
    other = b64encode(bytes(range(1, 33)))
    for jwk in (
        {**RFC8037_JWK, "d": other},
        {**RFC7515_A3_JWK, "d": other},
        {**rsa_jwk, "d": number(int.from_bytes(b64decode(rsa_jwk["d"]), "big") ^ 2)},
    ):
        with pytest.raises(ValueError, match=r".") as refusal:
            Key.from_jwk(jwk)
        assert jwk["d"] not in str(refusal.value)


def test_a_jwk_with_a_missing_or_shortened_number_is_refused(rsa_jwk: dict[str, Any]) -> None:
    for jwk in (
        without(RFC8037_JWK, "x"),
        {**RFC8037_JWK, "x": b64encode(bytes(31))},
        {**RFC7515_A3_JWK, "x": b64encode(bytes(31))},
        {**RFC7515_A3_JWK, "x": b64encode(bytes([1] * 32))},
        {**RFC7515_A3_JWK, "y": b64encode(bytes(33))},
        without(rsa_jwk, "n"),
        without(rsa_jwk, "qi"),
    ):
        with pytest.raises(ValueError, match=r"."):
            Key.from_jwk(jwk)


def test_a_ring_is_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        KeyRing([])


def test_two_keys_of_a_ring_never_share_a_kid() -> None:
    with pytest.raises(ValueError, match="'k1'"):
        KeyRing([HMAC_KEY, Key.from_jwk({**RFC8037_JWK, "kid": "k1"})])


def test_the_published_keys_are_public_only_and_can_be_read_again(rsa_jwk: dict[str, Any]) -> None:
    keys = [HMAC_KEY, *(Key.from_jwk(jwk) for jwk in (RFC8037_JWK, RFC7515_A3_JWK, rsa_jwk))]
    published = KeyRing(keys).jwks()
    assert HMAC_KEY.public_jwk() is None
    assert published == {
        "keys": [
            {**without(RFC8037_JWK, "d"), "use": "sig"},
            {**without(RFC7515_A3_JWK, "d"), "use": "sig"},
            {**without(rsa_jwk, "d", "p", "q", "dp", "dq", "qi"), "use": "sig"},
        ]
    }
    assert [Key.from_jwk(jwk).can_sign for jwk in published["keys"]] == [False, False, False]
    json.dumps(published)


def test_a_short_coordinate_is_published_in_full() -> None:
    # The private value whose public point starts with a zero octet: found by counting up.
    private = next(
        key
        for value in range(1, 5000)
        if (key := ec.derive_private_key(value, ec.SECP256R1())).public_key().public_numbers().x < 2**248
    )
    jwk = Key.from_pem(kid="p", alg="ES256", pem=public_pem(private)).public_jwk()
    assert jwk is not None
    assert len(b64decode(jwk["x"])) == 32
    assert Key.from_jwk(jwk).public_jwk() == jwk


# ------------------------------------------------------------------------------------------------ whatever comes


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([ISSUER, AUDIENCE, TYP, "k1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(st.text() | st.from_regex(r"[A-Za-z0-9_\-=]*\.[A-Za-z0-9_\-=]*\.[A-Za-z0-9_\-=]*") | json_values | st.binary())
@example("\ud800.\ud800.\ud800")
@quiet
def test_whatever_comes_is_refused_and_nothing_else(token: object) -> None:
    refused(token)


@given(json_values | st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jwk", "\0"]), json_values))
@example({"alg": "none", "kid": "k1", "typ": TYP})
@quiet
def test_any_signed_header_but_ours_is_refused_and_nothing_else(header: object) -> None:
    refused(forge(header))


@given(json_values | st.dictionaries(st.sampled_from(sorted(CLAIMS)), json_values).map(lambda more: {**CLAIMS, **more}))
@quiet
def test_any_signed_claims_are_ours_or_refused_and_nothing_else(claims: Any) -> None:
    try:
        answer = check(forge(claims=claims))
    except TokenInvalid:
        return
    assert answer["iss"] == ISSUER
    assert answer["sub"]


@given(st.binary(max_size=300), st.binary(max_size=300))
@quiet
def test_any_signed_bytes_are_refused_and_nothing_else(header: bytes, claims: bytes) -> None:
    refused(forge(header=header))
    refused(forge(claims=claims))


@pytest.mark.control("ASVS-9.1.1")
@pytest.mark.parametrize("jwk", [OCT_JWK, RFC8037_JWK, RFC7515_A3_JWK])
@given(data=st.data())
@quiet
def test_a_token_with_any_one_character_changed_is_refused(jwk: dict[str, str], data: st.DataObject) -> None:
    ring = KeyRing([Key.from_jwk(jwk)])
    token = sign(CLAIMS, ring, typ=TYP)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(max_codepoint=255).filter(lambda character: character != token[place]))
    refused(token[:place] + other + token[place + 1 :], ring)


def test_a_refusal_never_quotes_the_token() -> None:
    marker = "EvilMarker"
    for token in (
        forge({**HEADER, "kid": marker}),
        forge({**HEADER, marker: marker}),
        forge(claims={**CLAIMS, "iss": marker}),
        forge(claims={**CLAIMS, "exp": marker}),
        f"{marker}.{marker}.{marker}",
    ):
        assert not re.search(marker, refused(token))
