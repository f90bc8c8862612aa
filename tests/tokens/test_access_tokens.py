"""Access tokens at the door: every way to forge, bend or borrow one is a 401, and the session stays."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from django.contrib.auth import get_user_model
from django.urls import reverse

from django_secure_auth.conf import conf, signing_ring
from django_secure_auth.exceptions import TokenInvalid
from django_secure_auth.kit import jwt
from django_secure_auth.kit.jwt import Key, KeyRing
from django_secure_auth.sessions.models import Session
from django_secure_auth.tokens import services
from tests.browser import Browser, code_of, is_signed_in, make_user, session_of

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    make_user()
    browser.sign_in()
    return browser


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    head, body, signature = token.split(".")

    def read(part: str) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return value

    return read(head), read(body), signature


def _unsigned(header: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    return ".".join((_b64(json.dumps(header).encode()), _b64(json.dumps(claims).encode()), signature))


def _sign(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A token with our own key: what a defect, or another use of the key, could have made. `jwt.sign` refuses many."""
    message = _unsigned(header, claims).rstrip(".")
    return f"{message}.{_b64(jwt._signature(signing_ring().first, message.encode()))}"


def _signed(claims: dict[str, Any], *, typ: str = "at+jwt") -> str:
    key = signing_ring().first
    return _sign({"alg": key.alg, "kid": key.kid, "typ": typ}, claims)


def _refused(token: str, code: str = "token_invalid") -> None:
    for response in (Browser().me(headers={"Authorization": f"Bearer {token}"}), _by_cookie(token)):
        assert response.status_code == 401, token
        assert code_of(response) == code, token
        assert response["WWW-Authenticate"] == 'Bearer error="invalid_token"', token


def _by_cookie(token: str) -> Any:
    return _bearing(token).me()


def _bearing(token: str) -> Browser:
    thief = Browser()
    thief.put("access", token)
    return thief


@pytest.mark.control("ASVS-14.3.3")
def test_the_claims_of_an_access_token(signed_in: Browser) -> None:
    header, claims, _ = _parts(signed_in.value("access"))
    session = Session.objects.get()
    assert header.keys() == {"alg", "kid", "typ"}
    assert (header["alg"], header["typ"]) == ("HS256", "at+jwt")
    assert claims.keys() == {"iss", "aud", "sub", "sid", "jti", "gen", "iat", "nbf", "exp", "auth_time", "amr"}
    assert claims["sub"] == str(session.user_id)
    assert claims["sid"] == str(session.pk)
    assert claims["gen"] == 1
    assert claims["amr"] == ["pwd", "email"]
    assert claims["exp"] - claims["iat"] == 300
    told = json.dumps(claims)
    assert not [word for word in ("ana", "example.com", "@") if word in told]  # who it is, by a key alone


@pytest.mark.control("ASVS-10.3.3")
def test_who_a_token_is_of_outlives_every_name_of_theirs(signed_in: Browser) -> None:
    _, before, _ = _parts(signed_in.value("access"))
    user = get_user_model().objects.get(pk=before["sub"])
    for name in {user.USERNAME_FIELD, user.get_email_field_name()}:
        setattr(user, name, "renamed@example.com")
    user.save()
    other = Browser()
    other.sign_in("renamed@example.com")
    _, after, _ = _parts(other.value("access"))
    assert (after["iss"], after["sub"]) == (before["iss"], before["sub"])


@pytest.mark.control("ASVS-9.1.2", "RFC8725-3.1")
@pytest.mark.parametrize("alg", ["none", "None", "NONE", "nOnE", "", None, "HS512", "HS384", "hs256", "RS256", "EdDSA"])
def test_another_algorithm_is_refused(signed_in: Browser, alg: Any) -> None:
    """R45: the key says which algorithm, never the token."""
    header, claims, signature = _parts(signed_in.value("access"))
    for mark in ("", signature):
        _refused(_unsigned({**header, "alg": alg}, claims, mark))
    _refused(_sign({**header, "alg": alg}, claims))
    assert is_signed_in(signed_in)


@pytest.mark.control("RFC8725-3.10", "ASVS-9.1.3")
@pytest.mark.parametrize(
    "extra",
    [
        {"kid": "unknown"}, {"kid": ""}, {"kid": None}, {"kid": 1}, {"kid": ["x"]}, {"kid": "../../../../dev/null"},
        {"kid": "' OR 1=1 --"}, {"kid": "|whoami"}, {"kid": "x" * 10_000}, {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/"}, {"jwk": {"kty": "oct", "k": "AAAA"}}, {"crit": ["exp"]}, {"b64": False},
        {"typ": "JWT"}, {"typ": None}, {"typ": "rt+jwt"}, {"zip": "DEF"}, {"cty": "JWT"},
    ],
)  # fmt: skip
def test_tricks_with_the_header_are_refused_though_signed(signed_in: Browser, extra: dict[str, Any]) -> None:
    header, claims, _ = _parts(signed_in.value("access"))
    assert is_signed_in(_bearing(_sign(header, claims)))  # the signature is good: only the trick is judged
    _refused(_sign({**header, **extra}, claims))


def test_a_token_without_kid_is_refused_though_signed(signed_in: Browser) -> None:
    header, claims, _ = _parts(signed_in.value("access"))
    del header["kid"]
    _refused(_sign(header, claims))


def test_a_changed_claim_is_refused(signed_in: Browser) -> None:
    """The signature is judged before any claim."""
    header, claims, signature = _parts(signed_in.value("access"))
    for name, value in (("sub", "1"), ("gen", 2), ("exp", claims["exp"] + 999), ("sid", str(uuid4()))):
        _refused(_unsigned(header, {**claims, name: value}, signature))


@pytest.mark.parametrize("bend", [lambda t: t + "=", lambda t: t + ".", lambda t: f"{t} ", lambda t: t[:-1], str.upper])
def test_another_spelling_of_a_token_is_refused(signed_in: Browser, bend: Callable[[str], str]) -> None:
    """R45: one encoding; there is no second name for a token."""
    token = bend(signed_in.value("access"))
    assert _by_cookie(token).status_code == 401 or token.strip() == signed_in.value("access")
    assert Browser().me(headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_refresh_token_is_no_access_token(signed_in: Browser) -> None:
    _refused(signed_in.value("refresh"))
    other = signed_in.copy("access")
    other.csrf()
    other.put("refresh", signed_in.value("access"))
    assert code_of(other.refresh()) == "token_invalid"


@pytest.mark.control("ASVS-9.2.2", "RFC8725-3.11", "RFC8725-3.12")
@pytest.mark.parametrize("typ", ["rt+jwt", "JWT", "application/at+jwt", "logout+jwt"])
def test_another_kind_of_token_of_the_same_key_is_refused(signed_in: Browser, typ: str) -> None:
    _, claims, _ = _parts(signed_in.value("access"))
    _refused(_signed(claims, typ=typ))


@pytest.mark.control("ASVS-9.2.3", "ASVS-9.2.1", "RFC8725-3.9", "TOP10-A07:2025", "ASVS-10.3.1")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"iss": "https://evil.example"}, "token_invalid"),
        ({"aud": "another-service"}, "token_invalid"),
        ({"aud": []}, "token_invalid"),
        ({"exp": 1}, "token_expired"),
        ({"exp": "9999999999"}, "token_invalid"),
        ({"nbf": 9_999_999_999}, "token_invalid"),
        ({"iat": 9_999_999_999}, "token_invalid"),
        ({"sub": ""}, "token_invalid"),
        ({"sub": 1}, "token_invalid"),
        ({"sid": None}, "token_invalid"),
        ({"sid": 5}, "token_invalid"),
        ({"sid": "not a uuid"}, "token_invalid"),
        ({"gen": "1"}, "token_invalid"),
        ({"gen": 0}, "token_invalid"),
        ({"gen": -1}, "token_invalid"),
        ({"gen": True}, "token_invalid"),
        ({"gen": 1.5}, "token_invalid"),
        ({"gen": None}, "token_invalid"),
    ],
)
def test_claims_that_are_not_ours_are_refused_though_signed(
    signed_in: Browser, change: dict[str, Any], code: str
) -> None:
    _, claims, _ = _parts(signed_in.value("access"))
    _refused(_signed({**claims, **change}), code)


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "exp", "iat", "jti", "sid", "gen"])
def test_a_missing_claim_is_refused_though_signed(signed_in: Browser, name: str) -> None:
    _, claims, _ = _parts(signed_in.value("access"))
    del claims[name]
    _refused(_signed(claims))


@pytest.mark.parametrize(
    "spell", [str.upper, lambda sid: "{" + sid + "}", lambda sid: "urn:uuid:" + sid, lambda sid: sid.replace("-", "")]
)
def test_a_session_id_has_one_spelling(signed_in: Browser, spell: Callable[[str], str]) -> None:
    _, claims, _ = _parts(signed_in.value("access"))
    sid = spell(claims["sid"])
    if sid != claims["sid"]:
        _refused(_signed({**claims, "sid": sid}))


def test_a_session_of_nobody_is_over(signed_in: Browser) -> None:
    _, claims, _ = _parts(signed_in.value("access"))
    _refused(_signed({**claims, "sid": str(uuid4())}), "session_revoked")


def test_the_session_of_another_user_is_refused(signed_in: Browser) -> None:
    make_user("ben@example.com")
    foreign = session_of(Browser().sign_in("ben@example.com"))
    _, claims, _ = _parts(signed_in.value("access"))
    _refused(_signed({**claims, "sid": str(foreign.pk)}))


def test_huge_and_strange_tokens_are_refused() -> None:
    for token in ("x" * 100_000, "." * 1000, "..", "a.b", "a.b.c.d.e", "é.é.é", "\x7f", "eyJ" * 5000, "%00.%00.%00"):
        assert code_of(Browser().me(headers={"Authorization": f"Bearer {token}"})) == "token_invalid"


def test_another_issuer_and_audience_do_not_live_on_in_memory(signed_in: Browser, configure: Configure) -> None:
    assert is_signed_in(signed_in)
    configure(AUDIENCE="another-service")
    assert code_of(signed_in.me()) == "token_invalid"
    configure(AUDIENCE="django-secure-auth", ISSUER="somebody else")
    assert code_of(signed_in.me()) == "token_invalid"


def test_a_retired_key_does_not_live_on_in_memory(signed_in: Browser, settings: Any) -> None:
    assert is_signed_in(signed_in)
    settings.SECRET_KEY = "another-secret-key-that-is-long-enough-for-everybody-here"
    assert code_of(signed_in.me()) == "token_invalid"


def test_a_verified_signature_is_remembered(signed_in: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_signed_in(signed_in)
    monkeypatch.setattr(services.jwt, "verify", None)
    assert is_signed_in(signed_in)


# --- keys of other kinds


def _pem(key: Any) -> str:
    return str(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()
    )


@pytest.fixture
def asymmetric(configure: Configure) -> str:
    pem = _pem(ed25519.Ed25519PrivateKey.generate())
    configure(SIGNING_KEYS=[{"kid": "ed", "alg": "EdDSA", "key": pem}])
    return pem


@pytest.mark.control("RFC8725-3.1")
def test_a_public_key_is_no_hmac_secret(asymmetric: str, signed_in: Browser) -> None:
    """R45: key confusion, the public key as a shared secret."""
    assert is_signed_in(signed_in)
    header, claims, _ = _parts(signed_in.value("access"))
    assert header["alg"] == "EdDSA"
    public = signing_ring().jwks()["keys"][0]["x"]
    material = base64.urlsafe_b64decode(public + "=" * (-len(public) % 4))
    forged = jwt.sign(claims, KeyRing([Key.from_secret(kid="ed", secret=material)]), typ="at+jwt")
    _refused(forged)


def test_several_keys_verify_and_the_first_signs(signed_in: Browser, configure: Configure) -> None:
    new = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    old = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    configure(SIGNING_KEYS=[{"kid": "old", "alg": "HS256", "key": old}])
    signed_in.refresh()
    token = signed_in.copy("access")
    configure(SIGNING_KEYS=[{"kid": "new", "alg": "HS256", "key": new}, {"kid": "old", "alg": "HS256", "key": old}])
    assert is_signed_in(token)
    signed_in.refresh()
    assert _parts(signed_in.value("access"))[0]["kid"] == "new"
    configure(SIGNING_KEYS=[{"kid": "new", "alg": "HS256", "key": new}])
    assert not is_signed_in(token)
    assert is_signed_in(signed_in)


# --- published keys


def test_hmac_keys_are_never_published(browser: Browser) -> None:
    response = browser.get("jwks")
    assert response.status_code == 200
    assert response.json() == {"keys": []}
    assert response["Cache-Control"] == "public, max-age=300"


def test_public_keys_are_published_and_nothing_of_the_private_ones(asymmetric: str, browser: Browser) -> None:
    (key,) = browser.get("jwks").json()["keys"]
    assert key["kid"] == "ed"
    assert key["kty"] == "OKP"
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & key.keys()


def test_rsa_keys_are_published(configure: Configure, browser: Browser) -> None:
    pem = _pem(rsa.generate_private_key(public_exponent=65537, key_size=3072))
    configure(SIGNING_KEYS=[{"kid": "ps", "alg": "PS256", "key": pem}])
    (key,) = browser.get("jwks").json()["keys"]
    assert (key["kty"], key["alg"]) == ("RSA", "PS256")
    assert "d" not in key


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_keys_are_read_only(browser: Browser, method: str) -> None:
    response = browser.request(method, reverse("secure_auth:jwks"), {})
    assert response.status_code == 405
    assert code_of(response) == "method_not_allowed"


# --- below the door


def test_an_access_token_never_outlives_its_session(signed_in: Browser) -> None:
    session = Session.objects.get()
    session.idle_at = session.created_at - conf.ACTIVITY_INTERVAL + timedelta(seconds=20)
    issued = services.issue(session)
    assert issued.access_expires_at == session.created_at + timedelta(seconds=20)


def test_a_session_of_a_dead_access_token_is_still_found(signed_in: Browser, clock: Any) -> None:
    token = signed_in.value("access")
    clock.forward(days=30)
    assert services.session_of_access_token(token) == Session.objects.get()
    with pytest.raises(TokenInvalid):
        services.session_of_access_token(token + "x")
