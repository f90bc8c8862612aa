"""Laws of kit.redact."""

import copy
import datetime
import decimal
import enum
import json
import re
import time
import uuid
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit import redact
from django_secure_auth.kit.redact import (
    CYCLE,
    MAX_COST,
    MAX_DEPTH,
    MAX_TEXT,
    REDACTED,
    TRUNCATED,
    is_sensitive_key,
    redact_email,
    redact_ip,
    redact_jti,
    redact_mapping,
    redact_text,
)

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
CANARY = "canary-0xC0FFEE"


class Colour(enum.Enum):
    RED = 1


class Status(enum.StrEnum):
    OPEN = "open"


class Pair(NamedTuple):
    left: int
    right: int


def evaluated(self: object) -> str:
    raise AssertionError("evaluated")


# Like Django's SimpleLazyObject: asking what it is costs a query.
Lazy: Any = type("Lazy", (), {"__class__": property(evaluated), "__str__": evaluated, "__repr__": evaluated})


# ---------------------------------------------------------------------------------------------------- e-mail addresses


@pytest.mark.parametrize(
    ("email", "shown"),
    [
        ("jane@example.com", "j***@example.com"),
        ("j@example.com", "j***@example.com"),
        (" jane.doe+tag@mail.example.co.uk ", "j***@mail.example.co.uk"),
        ("Ünal@exämple.de", "Ü***@exämple.de"),
        ("root@localhost", "r***@localhost"),
    ],
)
def test_an_email_shows_its_first_letter_and_its_domain(email: str, shown: str) -> None:
    assert redact_email(email) == shown


@pytest.mark.parametrize(
    "email",
    [
        None,
        17,
        "",
        "hunter2",
        "@example.com",
        "jane@",
        "jane@example",
        "jane@-example.com",
        "jane@example..com",
        "jane@@example.com",
        "a@b@example.com",
        '"jane doe"@example.com',
        "jane doe@example.com",
        "\u202ejane@example.com",
        "ja\nne@example.com",
        "jane@exam\nple.com",
        "j" * 65 + "@example.com",
        "jane@" + "a" * 250 + ".com",
        "jane@" + "a." * 122 + "example.com",
        "x" * 1_000_000 + "@example.com",
    ],
)
def test_what_is_no_plain_address_is_hidden_as_a_whole(email: Any) -> None:
    assert redact_email(email) == REDACTED


@given(st.text())
def test_redact_email_never_raises_and_never_shows_more_than_one_letter_of_the_name(text: str) -> None:
    shown = redact_email(text)
    assert shown == REDACTED or shown.startswith(text.strip()[0] + "***@")


# ---------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("ip", "shown"),
    [
        ("192.168.1.77", "192.168.***.***"),
        (" 10.0.0.1 ", "10.0.***.***"),
        ("2001:db8::1", "2001:db8:***"),
        ("2001:0DB8:1:2:3:4:5:6", "2001:db8:***"),
        ("::1", "0:0:***"),
        ("fe80::1%eth0", "fe80:0:***"),
        ("::ffff:192.168.1.77", "192.168.***.***"),
        ("", "***.***.***.***"),
        ("unknown", "***.***.***.***"),
        ("192.168.1.77:80", "***.***.***.***"),
        ("192.168.1.256", "***.***.***.***"),
        (None, "***.***.***.***"),
        (3232235777, "***.***.***.***"),
        ("1" * 1_000_000, "***.***.***.***"),
    ],
)
def test_an_address_shows_its_network_and_hides_its_host(ip: Any, shown: str) -> None:
    assert redact_ip(ip) == shown


@given(st.ip_addresses().map(str) | st.text())
def test_redact_ip_has_three_shapes_only(text: str) -> None:
    assert re.fullmatch(
        r"\d{1,3}\.\d{1,3}\.\*{3}\.\*{3}|[0-9a-f]{1,4}:[0-9a-f]{1,4}:\*{3}|\*{3}(\.\*{3}){3}", redact_ip(text)
    )


def test_a_jti_is_cut_to_its_first_eight_characters() -> None:
    assert redact_jti("0190b5a4-7d7c-7000-8000-000000000000") == "0190b5a4"
    assert redact_jti("abc") == "abc"
    assert redact_jti("") == ""
    assert redact_jti(None) == REDACTED


# --------------------------------------------------------------------------------------------------------------- keys

SENSITIVE = [
    "password", "PASSWORD", "passWord", "new_password", "password1", "password-confirm", "user[password]", "passwd",
    "passphrase", "secret", "client_secret", "SECRET_KEY", "token", "accessToken", "refresh-token", "id_token",
    "csrfmiddlewaretoken", "authorization", "Authorization", "HTTP_AUTHORIZATION", "Proxy-Authorization", "cookie",
    "Cookie", "set-cookie", "Set_Cookie", "HTTP_COOKIE", "api_key", "apiKey", "APIKEY", "api key", "api.key",
    "x-api-key", "X-API-Key", "HTTP_X_API_KEY", "otp", "OTP", "oTp", "otp_code", "otpCode", "OTPCode", "otp-code",
    "userOTP", "otp1", "totp", "verification_code", "csrf", "X-CSRF-Token", "sessionid", "session_id", "sessionKey",
    "private_key", "privateKey", "jwt", "access_jwt", "credential", "credentials", "signature", "X-Signature", "nonce",
    "oidcNonce", "pwd", "user_pass", "pin", "__Host-secure_auth_access", "__Secure-secure_auth_refresh",
    "ｐａｓｓｗｏｒｄ", "x" * 129,
]  # fmt: skip

HARMLESS = [
    "code", "status_code", "error_code", "email", "user_id", "reason", "ip_address", "user_agent", "event", "path",
    "footprint", "hotpot", "compass", "spinning", "design", "key_id", "kid", "amr", "auth_time", "", "_", "x" * 128,
]  # fmt: skip


@pytest.mark.parametrize("key", SENSITIVE)
def test_the_value_of_a_sensitive_key_is_hidden(key: str) -> None:
    assert is_sensitive_key(key)
    assert list(redact_mapping({key: CANARY}).values()) == [REDACTED]


@pytest.mark.parametrize("key", HARMLESS)
def test_the_value_of_a_harmless_key_is_kept(key: str) -> None:
    assert not is_sensitive_key(key)
    assert redact_mapping({key: "shown"}) == {key: "shown"}


@pytest.mark.parametrize("value", [None, True, 123456, 1.5, "", "text", b"bytes", [1, 2], {"a": 1}, object()])
def test_whatever_lies_under_a_sensitive_key_is_hidden(value: object) -> None:
    assert redact_mapping({"otp": value}) == {"otp": REDACTED}


def test_a_number_about_a_secret_is_kept_and_a_text_is_not() -> None:
    assert redact_mapping({"otp_required": True, "otp-attempts-left": 3, "token_count": 2}) == {
        "otp_required": True,
        "otp-attempts-left": 3,
        "token_count": 2,
    }
    assert redact_mapping({"otp_required": "123456", "password_length": "12"}) == {
        "otp_required": REDACTED,
        "password_length": REDACTED,
    }


@pytest.mark.control("ASVS-1.2.9")
def test_an_extra_key_is_compared_literally() -> None:
    assert redact_mapping({"a.b(": 1, "A.B(": 2, "axb(": 3, "ab": 4}, extra_keys=["a.b("]) == {
        "a.b(": REDACTED,
        "A.B(": REDACTED,
        "axb(": 3,
        "ab": 4,
    }


def test_an_extra_key_is_a_whole_name_in_any_spelling_and_at_any_depth() -> None:
    found = redact_mapping(
        {"x": [{"homeAddress": 1, "home-address": 2, "home_address_count": 3}]}, extra_keys=("home_address",)
    )
    assert found == {"x": [{"homeAddress": REDACTED, "home-address": REDACTED, "home_address_count": 3}]}


def test_one_string_of_extra_keys_is_a_mistake() -> None:
    with pytest.raises(TypeError, match="extra_keys"):
        redact_mapping({}, extra_keys="iban")


def test_keys_that_are_no_strings_become_short_strings() -> None:
    assert redact_mapping({1: "a", None: "b", b"cookie": "c", b"x": "d", Status.OPEN: "e", (1, 2): "f"}) == {
        "1": "a",
        "None": "b",
        "cookie": REDACTED,
        "x": "d",
        "open": "e",
        TRUNCATED: "f",
    }


def test_a_credential_used_as_a_key_is_hidden() -> None:
    assert redact_mapping({JWT[:100]: "unknown field", "y" * 200: CANARY}) == {
        REDACTED: "unknown field",
        TRUNCATED: REDACTED,
    }


# ------------------------------------------------------------------------------------------------------------- depths


def test_secrets_are_hidden_at_any_depth_of_dicts_lists_tuples_and_sets() -> None:
    value: Any = {"password": CANARY, "kept": 1}
    for wrap in range(20):
        value = [{"x": value}, [value, 1], (value, 1, 2), {"y": (1, value)}][wrap % 4]
    assert CANARY not in json.dumps(redact_mapping({"top": value}))
    assert '"kept": 1' in json.dumps(redact_mapping({"top": value}))
    assert redact_mapping({"s": {JWT, "b", "a"}, "f": frozenset({2, 1})}) == {"s": [REDACTED, "a", "b"], "f": [1, 2]}


def test_the_second_of_a_pair_is_hidden_when_the_first_is_a_sensitive_name() -> None:
    headers = [("Cookie", "a=b"), (b"authorization", b"Basic x"), ("Accept", "*/*"), (b"\x00key", b"salt"), ("iban", 1)]
    assert redact_mapping({"headers": headers}, extra_keys=["iban"]) == {
        "headers": [
            ("Cookie", REDACTED),
            ("<13 bytes>", REDACTED),
            ("Accept", "*/*"),
            ("<4 bytes>", "<4 bytes>"),
            ("iban", REDACTED),
        ]
    }


def test_a_list_of_two_alone_is_no_pair() -> None:
    assert redact_mapping({"amr": ["pwd", "email"]}) == {"amr": ["pwd", "email"]}


def test_a_list_of_two_is_a_pair_too() -> None:
    headers = [["X-API-Key", "sk_live"], ["Accept", "*/*"], [b"cookie", b"a=b"], ["token", "a", "b"], ["token"]]
    assert redact_mapping({"headers": headers}) == {
        "headers": [
            ["X-API-Key", REDACTED],
            ["Accept", "*/*"],
            ["<6 bytes>", REDACTED],
            ["token", "a", "b"],
            ["token"],
        ]
    }
    assert redact_mapping({"names": {"token", "x"}}) == {"names": ["token", "x"]}  # a set has no first


def test_the_input_is_never_changed() -> None:
    before = {"password": "x", "list": [{"token": "y"}, (JWT,)], "set": {1}, "pair": ["token", "z"]}
    kept = copy.deepcopy(before)
    redact_mapping(before)
    assert before == kept


def test_a_cycle_ends() -> None:
    loop: dict[str, Any] = {"a": 1}
    loop["self"] = loop
    ring: list[Any] = [loop]
    ring.append(ring)
    loop["ring"] = ring
    assert redact_mapping(loop) == {"a": 1, "self": CYCLE, "ring": [CYCLE, CYCLE]}
    pair: list[Any] = ["name"]
    pair.append(pair)
    assert redact_mapping({"pair": pair}) == {"pair": ["name", CYCLE]}


def test_a_container_seen_twice_is_no_cycle() -> None:
    shared = [1]
    assert redact_mapping({"a": shared, "b": shared}) == {"a": [1], "b": [1]}


def test_depth_is_bounded() -> None:
    value: Any = CANARY
    for _ in range(100_000):
        value = [value]
    shown = json.dumps(redact_mapping({"deep": value}))
    assert TRUNCATED in shown
    assert shown.count("[") == MAX_DEPTH - 1 + 1
    assert CANARY not in shown


def test_a_small_value_that_unfolds_into_a_huge_one_is_bounded() -> None:
    lists: list[Any] = ["x"]
    dicts: dict[str, Any] = {"x": 1}
    for _ in range(40):
        lists, dicts = [lists] * 10, dict.fromkeys("abcdefghij", dicts)
    started = time.perf_counter()
    shown = json.dumps([redact_mapping({"bomb": lists}), redact_mapping(dicts)])
    assert time.perf_counter() - started < 5
    assert TRUNCATED in shown


def test_a_long_list_and_a_wide_mapping_are_cut() -> None:
    many = redact_mapping({"list": list(range(MAX_COST * 2))})["list"]
    assert many[-1] == TRUNCATED
    assert len(many) <= MAX_COST
    wide = redact_mapping({str(number): number for number in range(MAX_COST * 2)})
    assert wide[TRUNCATED] == TRUNCATED
    assert len(wide) <= MAX_COST + 1
    assert len(redact_mapping({f"token{number}": number for number in range(MAX_COST * 2)})) <= MAX_COST + 1


# ------------------------------------------------------------------------------------------------------------- values


def test_values_become_plain_json_types() -> None:
    moment = datetime.datetime(2025, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
    name = uuid.UUID(int=1)
    shown = redact_mapping(
        {
            "none": None, "yes": True, "int": 7, "float": 1.5, "nan": float("nan"), "inf": float("inf"),
            "huge": 10**10_000, "uuid": name, "at": moment, "on": moment.date(), "for": datetime.timedelta(seconds=5),
            "price": decimal.Decimal("1.10"), "ip": ip_address("192.0.2.1"), "enum": Colour.RED, "choice": Status.OPEN,
            "bytes": b"\x00\xff", "array": bytearray(3), "other": object(), "pair": Pair(1, 2), "lazy": Lazy(),
        }
    )  # fmt: skip
    assert shown == {
        "none": None, "yes": True, "int": 7, "float": 1.5, "nan": "nan", "inf": "inf",
        "huge": "<int>", "uuid": str(name), "at": "2025-01-02T03:04:05+00:00", "on": "2025-01-02", "for": "0:00:05",
        "price": "1.10", "ip": "192.0.2.1", "enum": "Colour.RED", "choice": "open",
        "bytes": "<2 bytes>", "array": "<3 bytes>", "other": "<object>", "pair": (1, 2), "lazy": "<Lazy>",
    }  # fmt: skip
    assert type(shown["choice"]) is str
    assert json.loads(json.dumps(shown, allow_nan=False))


def test_a_generator_is_not_consumed() -> None:
    def numbers() -> Iterator[int]:
        yield 1

    source = numbers()
    assert redact_mapping({"numbers": source}) == {"numbers": "<generator>"}
    assert list(source) == [1]


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@pytest.mark.control("CS-Logging-exclude")
@given(json_like, st.sampled_from(SENSITIVE))
def test_a_planted_canary_never_comes_out(value: Any, key: str) -> None:
    planted = {
        "x": [value, {key: CANARY, "y": (value, {key: [CANARY]})}, (key, CANARY)],
        "url": f"https://u:{CANARY}@host/?a=1&token={CANARY}&b=2",
        "header": f"Authorization: Basic {CANARY}",
        "text": f"got Bearer {CANARY}",
    }
    shown = json.dumps(redact_mapping(planted), allow_nan=False)
    assert CANARY not in shown


# --------------------------------------------------------------------------------------------------------------- text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing here", "nothing here"),
        (JWT, REDACTED),
        (f"token is {JWT}, sorry", f"token is {REDACTED}, sorry"),
        (f"glued_{JWT}", REDACTED),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", REDACTED),
        (f"{JWT}.four.five", REDACTED),
        ("eyJhbGci.only", "eyJhbGci.only"),
        ("Bearer abc.def", f"Bearer {REDACTED}"),
        ("bearer   abc, rest", f"bearer   {REDACTED}, rest"),
        ("BEARER%20abc", f"BEARER%20{REDACTED}"),
        ("Authorization: Basic dTpw and more", f"Authorization: {REDACTED}"),
        ("Set-Cookie: a=b; Path=/\r\nAccept: x", f"Set-Cookie: {REDACTED}\r\nAccept: x"),
        ('{"X-API-Key": "abc"}', f'{{"X-API-Key": {REDACTED}'),
        ("/cb?state=1&access_token=abc&x=2", f"/cb?state=1&access_token={REDACTED}&x=2"),
        ("/cb?code=abc", "/cb?code=abc"),
        ("/x?next=/y?token=abc", f"/x?next=/y?token={REDACTED}"),
        ("/x?next=%2Fy%3Ftoken%3Dabc%26z%3D1", f"/x?next=%2Fy%3Ftoken%3D{REDACTED}%26z%3D1"),
        ("/x?next=a%3Dtoken%3Dabc", f"/x?next=a%3Dtoken%3D{REDACTED}"),
        ("password=secret=1 next", f"password={REDACTED} next"),
        ('password="hunter2" next', f'password="{REDACTED}" next'),
        ("login(password='hunter2', user='ana')", f"login(password='{REDACTED}', user='ana')"),
        ("login(password=b'hunter2')", f"login(password=b'{REDACTED}')"),
        ("password='it\\'s hunter2' next", f"password='{REDACTED}' next"),
        ("password='never closed hunter2", f"password='{REDACTED}"),
        ("password = hunter2 next", f"password = {REDACTED} next"),
        ("password= next", f"password={REDACTED} next"),
        ("tokens=['hunter1', 'hunter2'] next\nline", f"tokens={REDACTED}\nline"),
        ("password=SecretStr('hunter2') next", f"password={REDACTED}"),
        ("?password%3D%22hunter%202%22%26x%3D1", f"?password%3D%22{REDACTED}%22%26x%3D1"),
        ("authorization=Basic dXNlcjpw\nx", f"authorization={REDACTED}\nx"),
        ("{'HTTP_AUTHORIZATION': 'Basic x'}", f"{{'HTTP_AUTHORIZATION': {REDACTED}"),
        ("HTTP_X_API_KEY: sk_live", f"HTTP_X_API_KEY: {REDACTED}"),
        (
            'body={"password": "hunter2", "otp_code": "123456", "user": "ana"}',
            f'body={{"password": "{REDACTED}", "otp_code": "{REDACTED}", "user": "ana"}}',
        ),
        ('{"password":"say \\"hunter2\\"","x":1}', f'{{"password":"{REDACTED}","x":1}}'),
        ('{"otp": 123456, "x": 1}', f'{{"otp": {REDACTED} "x": 1}}'),
        ('"{\\"password\\": \\"hunter2\\", \\"x\\": 1}"', f'"{{\\"password\\": \\"{REDACTED}\\", \\"x\\": 1}}"'),
        ("?q=%7B%22pin%22%3A%221234%22%7D", f"?q=%7B%22pin%22%3A%22{REDACTED}%22%7D"),
        ('{"code": "no", "note": "it is"}', '{"code": "no", "note": "it is"}'),
        ("redis://:pw@cache:6379/0", f"redis://{REDACTED}@cache:6379/0"),
        ("postgres://u:p@ss@host/db", f"postgres://{REDACTED}@host/db"),
        ("postgres://u:pa/ss@host", f"postgres://{REDACTED}@host"),
        ("postgres://u:12/ss@host", f"postgres://{REDACTED}@host"),
        ("https://u:pa/ss@host/", f"https://{REDACTED}@host/"),
        ("?next=https://a.example/x&db=amqp://u:pw@host", f"?next=https://a.example/x&db=amqp://{REDACTED}@host"),
        ("https://example.com/@user", "https://example.com/@user"),
        ("http://[::1]:8000/?mail=ana@example.com", "http://[::1]:8000/?mail=ana@example.com"),
        ("a -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- b", f"a {REDACTED} b"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nMII", f"a {REDACTED}"),
        ("-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----"),
    ],
)
def test_credentials_in_text_are_hidden(text: str, shown: str) -> None:
    assert redact_text(text) == shown
    assert redact_mapping({"x": text}) == {"x": shown}


def test_text_is_cut() -> None:
    assert redact_text("x" * MAX_TEXT) == "x" * MAX_TEXT
    assert redact_text("x " * MAX_TEXT) == ("x " * MAX_TEXT)[: MAX_TEXT - 1] + "…"
    assert redact_text("abcdef", limit=4) == "abc…"


def test_a_token_that_the_cut_goes_through_is_hidden() -> None:
    assert redact_text("see " + JWT[:30] + "a" * 1_000_000 + ".b.c") == "see …"
    assert CANARY not in redact_text("password=" + CANARY * 10_000)


FRAGMENTS = (
    "=", "%3D", "%3d", "://", "u:p@", "eyJ", "eyJhbGciOiJub25lIn0.e30.x", ".", "-----BEGIN ", "PRIVATE KEY-----",
    "Bearer ", "bEaRer+t", "COO\u212aIE: x", "Authorization: ", "X-Api-Key:", "HTTP_X_API_KEY:", "authorization=",
    "token", "otp", "otp\"", "'pin' :", "%22pin%22%3a", "\\\"jwt\\\":", '"', "'", "%22", "%27", "%3A", "\\", ":", "@",
    "_0123456789abcdef_", "x" * 49, "/", "http://h/", "x://", "[", "(", "{", ",", "}", "&", " = ", "a", " ", "\n",
)  # fmt: skip


@given(st.text() | st.text(alphabet='eyJ.Bear =&%3D:/@"-abc') | st.lists(st.sampled_from(FRAGMENTS)).map("".join))
def test_redacting_twice_changes_nothing(text: str) -> None:
    once = redact_text(text)
    assert redact_text(once) == once


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=8).map("".join))
def test_the_look_that_spares_the_patterns_misses_nothing_that_they_find(text: str) -> None:
    assert redact_text(text) == redact._without_credentials(text)


@pytest.mark.parametrize(
    "piece",
    [
        "eyJ", "eyJ.", "eyJa.eyJ", "a.", "Bearer ", "bearer", "bearer:", "password", "password=", "a=", "a%3D", "://",
        "://:", "cookie ", "cookie:", "cookie\"  ", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "-----END ", "[",
        " ", "\n", "ﷺ", 'password="', "password='x' ", '"password":', '"pin": "1", ', "'a' ", "'a'\n:", "a\\",
        "\\\"a\\\":", "password  ", "password = ", "password=(", "password=[REDACTED]", "%22pin%22%3A%22",
        "authorization=", "://@", "@", "http://a/", "http://[:", "x://a:", "x://a@ ", "_", "_0123456789abcdef_",
        "_0123456789abcdef_" + "x" * 48,
    ],
)  # fmt: skip
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * (2_000_000 // len(piece))
    started = time.perf_counter()
    redact_text(text)
    redact_mapping({text: text, "x": [text] * 100})
    assert time.perf_counter() - started < 3


def test_the_memory_of_names_holds_no_long_ones() -> None:
    redact._is_sensitive.cache_clear()
    redact_text("q" * 10_000 + "=1")
    redact_mapping({"q" * 10_000: 1})
    assert redact._is_sensitive.cache_info().currsize == 0
