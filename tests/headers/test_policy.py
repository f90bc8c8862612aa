"""Which headers a response gets: a question in, headers out."""

from __future__ import annotations

import pytest

from django_secure_auth.headers.policy import API_CSP, COMMON, HSTS, page_csp, response_headers


@pytest.mark.parametrize("is_json", [True, False])
@pytest.mark.parametrize("is_secure", [True, False])
@pytest.mark.parametrize("nonce", [None, "abc"])
def test_every_kind_of_response_gets_the_common_ones(is_json: bool, is_secure: bool, nonce: str | None) -> None:
    headers = response_headers(is_json=is_json, is_secure=is_secure, nonce=nonce)
    assert headers.items() >= COMMON.items()
    assert headers.get("Strict-Transport-Security") == (HSTS if is_secure else None)
    expected = API_CSP if is_json else page_csp("abc") if nonce else None
    assert headers.get("Content-Security-Policy") == expected


@pytest.mark.control("ASVS-3.4.4")
@pytest.mark.control("ASVS-3.4.5")
@pytest.mark.control("ASVS-3.4.8")
def test_the_common_ones_are_those_of_the_parameters() -> None:
    assert COMMON["X-Content-Type-Options"] == "nosniff"
    assert COMMON["Referrer-Policy"] == "same-origin"
    assert COMMON["Cross-Origin-Opener-Policy"] == "same-origin"
    assert COMMON["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "X-XSS-Protection" not in COMMON


@pytest.mark.control("ASVS-3.4.1")
def test_hsts_is_a_year_with_subdomains_and_no_preload() -> None:
    assert HSTS == "max-age=31536000; includeSubDomains"


@pytest.mark.control("ASVS-3.4.3")
def test_the_policy_of_a_page_forbids_all_but_what_bears_the_nonce() -> None:
    policy = dict(part.split(" ", 1) for part in page_csp("abc").split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'nonce-abc'",
        "style-src": "'nonce-abc'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert "unsafe" not in page_csp("abc")


def test_a_page_may_name_the_policies_by_which_its_scripts_write_html() -> None:
    named = page_csp("abc", trusted_types=("dompurify", "default"))
    assert named == page_csp("abc").replace("trusted-types 'none'", "trusted-types dompurify default")


@pytest.mark.parametrize(
    ("framing", "ancestors"), [("DENY", "'none'"), ("SAMEORIGIN", "'self'"), ("ALLOW-FROM x", "'none'"), (None, None)]
)
def test_both_headers_say_the_same_about_frames(framing: str | None, ancestors: str | None) -> None:
    """Browsers that know frame-ancestors do not look at X-Frame-Options any more."""
    headers = response_headers(is_json=False, is_secure=False, nonce="abc", framing=framing)
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy.get("frame-ancestors") == ancestors
    assert headers.get("X-Frame-Options") == framing
    assert (
        policy.keys() | {"frame-ancestors"} == dict(part.split(" ", 1) for part in page_csp("abc").split("; ")).keys()
    )


def test_json_is_framed_by_nobody() -> None:
    headers = response_headers(is_json=True, is_secure=False, nonce=None, framing=None)
    assert headers["Content-Security-Policy"] == API_CSP


def test_the_answer_is_the_callers_own() -> None:
    response_headers(is_json=False, is_secure=False, nonce=None)["X-Frame-Options"] = "SAMEORIGIN"
    assert COMMON["X-Frame-Options"] == "DENY"
