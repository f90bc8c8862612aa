"""Laws of kit.cookies."""

import dataclasses
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit.cookies import (
    MAX_COOKIE_BYTES,
    MAX_HEADER,
    CookieSpec,
    check_size,
    cookie_name,
    cookie_spec,
    cookie_values,
)

KINDS = ["access", "refresh", "challenge", "device"]
NAME = "__Host-secure_auth_access"


@pytest.mark.control("ASVS-3.3.1")
@pytest.mark.parametrize(
    ("kind", "secure", "name"),
    [
        ("access", True, "__Host-secure_auth_access"),
        ("refresh", True, "__Secure-secure_auth_refresh"),
        ("challenge", True, "__Host-secure_auth_challenge"),
        ("device", True, "__Host-secure_auth_device"),
        ("access", False, "secure_auth_access"),
        ("refresh", False, "secure_auth_refresh"),
        ("challenge", False, "secure_auth_challenge"),
        ("device", False, "secure_auth_device"),
    ],
)
def test_names_are_those_of_the_contract(kind: str, secure: bool, name: str) -> None:
    assert cookie_name("secure_auth", kind, secure=secure) == name


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="valid kinds are: access, refresh, challenge, device"):
        cookie_name("secure_auth", "session", secure=True)


@pytest.mark.parametrize(
    "prefix",
    ["", "a b", "a;b", "a=b", "a\r\nb", "a\n", "é", "a" * 65, "__Host-x", "__host-x", "__Secure-x", "__Http-x"],
)
def test_a_prefix_that_is_no_cookie_name_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="not a cookie prefix"):
        cookie_name(prefix, "access", secure=True)


@pytest.mark.control("ASVS-3.3.2")
@pytest.mark.control("RFC6265bis-4.1.3.1")
@pytest.mark.parametrize("secure", [True, False])
def test_attributes_are_those_of_the_contract(secure: bool) -> None:
    specs = {kind: cookie_spec("secure_auth", kind, secure=secure, refresh_path="/api/auth/") for kind in KINDS}
    assert {kind: (spec.path, spec.samesite) for kind, spec in specs.items()} == {
        "access": ("/", "Lax"),
        "refresh": ("/api/auth/", "Strict"),
        "challenge": ("/", "Strict"),
        "device": ("/", "Lax"),
    }
    assert all(spec.httponly and spec.secure is secure for spec in specs.values())
    assert all(spec.name == cookie_name("secure_auth", kind, secure=secure) for kind, spec in specs.items())


@pytest.mark.control("ASVS-3.3.3", "NIST-63B-5.1-d")
def test_a_host_cookie_always_is_secure_with_the_root_path_and_no_cookie_has_a_domain() -> None:
    for kind in KINDS:
        spec = cookie_spec("p", kind, secure=True, refresh_path="/x/")
        assert spec.secure
        assert not spec.name.startswith("__Host-") or spec.path == "/"
    assert {field.name for field in dataclasses.fields(CookieSpec)} == {
        "name",
        "path",
        "samesite",
        "secure",
        "httponly",
    }


@pytest.mark.parametrize("samesite", ["Lax", "Strict", "None"])
def test_the_samesite_setting_is_the_access_cookies_alone(samesite: str) -> None:
    found = {
        kind: cookie_spec("p", kind, secure=True, refresh_path="/", access_samesite=samesite).samesite for kind in KINDS
    }
    assert found == {"access": samesite, "refresh": "Strict", "challenge": "Strict", "device": "Lax"}


@pytest.mark.parametrize("samesite", ["", "lax", "none", "Lax; Domain=example.com"])
def test_an_unknown_samesite_is_refused(samesite: str) -> None:
    with pytest.raises(ValueError, match="valid values are: Lax, Strict, None"):
        cookie_spec("p", "access", secure=True, refresh_path="/", access_samesite=samesite)


def test_samesite_none_without_secure_is_refused() -> None:
    with pytest.raises(ValueError, match="Secure"):
        cookie_spec("p", "access", secure=False, refresh_path="/", access_samesite="None")


@pytest.mark.parametrize("path", ["", "api/", "/a b", "/a;Domain=x", "/a\n", "/é", "/a\x7f"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="not a cookie path"):
        cookie_spec("p", "refresh", secure=True, refresh_path=path)


def test_a_spec_cannot_be_changed() -> None:
    spec = cookie_spec("p", "access", secure=True, refresh_path="/")
    for field in dataclasses.fields(spec):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(spec, field.name, None)


# ------------------------------------------------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    ("header", "values"),
    [
        ("", []),
        (f"{NAME}=a", ["a"]),
        (f"{NAME}=a; other=b; {NAME}=c", ["a", "c"]),
        (f"{NAME}=a;{NAME}=b", ["a", "b"]),
        (f" {NAME} =\ta ", ["a"]),
        (f"{NAME}=", [""]),
        (f"{NAME}=a=b==", ["a=b=="]),
        (f'{NAME}="a"', ["a"]),
        (f'{NAME}="', ['"']),
        (f'{NAME}=""', [""]),
        (f'{NAME}="a', ['"a']),
        (f'{NAME}="a\\"b"', ['a\\"b']),
        (NAME, []),
        (f"={NAME}=a", []),
        (f"x{NAME}=a; {NAME}x=b", []),
        (f'other="; {NAME}=a', ["a"]),
    ],
)
def test_every_value_of_a_name_is_found_in_order(header: str, values: list[str]) -> None:
    assert cookie_values(header, NAME) == values


def test_names_are_compared_with_their_case() -> None:
    assert cookie_values("__host-secure_auth_access=a; __HOST-SECURE_AUTH_ACCESS=b", NAME) == []


@pytest.mark.parametrize("blank", ["\xa0", "\x85", "\u2000", "\u3000", "\x0b", "\x0c", "\x1c", "\ufeff"])
def test_a_name_behind_an_exotic_blank_is_another_name(blank: str) -> None:
    assert cookie_values(f"{blank}{NAME}=planted; {NAME}{blank}=planted; {NAME}=ours", NAME) == ["ours"]


def test_of_a_long_header_the_beginning_is_read_and_a_pair_cut_in_two_is_dropped() -> None:
    padding = "p=" + "x" * MAX_HEADER
    assert cookie_values(f"{NAME}=a; {padding}; {NAME}=b", NAME) == ["a"]
    assert cookie_values(f"{NAME}=" + "x" * MAX_HEADER, NAME) == []
    exact = f"{NAME}=" + "x" * (MAX_HEADER - len(NAME) - 1)
    assert cookie_values(exact, NAME) == [exact.partition("=")[2]]


def test_a_huge_header_costs_little() -> None:
    started = time.perf_counter()
    cookie_values(f"{NAME}=;" * 1_000_000, NAME)
    assert time.perf_counter() - started < 1


@given(st.text())
def test_reading_never_raises(header: str) -> None:
    assert all(isinstance(value, str) for value in cookie_values(header, NAME))


@given(st.lists(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=';",\\'))))
def test_what_was_sent_comes_back(values: list[str]) -> None:
    assert cookie_values("; ".join(f"{NAME}={value}" for value in values), NAME) == values


# --------------------------------------------------------------------------------------------------------------- size


@pytest.mark.control("ASVS-3.3.5")
def test_a_cookie_that_browsers_would_drop_is_refused() -> None:
    check_size("name", "x" * (MAX_COOKIE_BYTES - 5))
    with pytest.raises(ValueError, match="4096 bytes"):
        check_size("name", "x" * (MAX_COOKIE_BYTES - 4))
    with pytest.raises(ValueError, match="bytes"):
        check_size("name", "é" * 2_050)


@pytest.mark.parametrize("secret", ["hunter2" * 1000, "\ud800" * 5000])
def test_the_refusal_does_not_hold_the_value(secret: str) -> None:
    with pytest.raises(ValueError, match=r"^cookie 'name' has"):
        check_size("name", secret)
