"""Which headers a response gets: facts in, headers out; and what a view may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from django_secure_auth.headers.policy import (
    COMMON,
    HSTS,
    PROFILES,
    Facts,
    changes_of,
    csp_of,
    profile_of,
    response_headers,
    security_headers,
)

API = "default-src 'none'; frame-ancestors 'none'"
PAGE = Facts("html", is_secure=False, nonce="abc")
JSON = Facts("json", is_secure=False)


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse()


def policy_of(facts: Facts) -> dict[str, str]:
    parts = (part.partition(" ") for part in response_headers(facts)["Content-Security-Policy"].split("; "))
    return {name: rest for name, _, rest in parts}


@pytest.mark.parametrize("facts", [JSON, PAGE, Facts("html", False), Facts("other", False)])
@pytest.mark.parametrize("is_secure", [True, False])
def test_every_kind_of_response_gets_the_common_ones(facts: Facts, is_secure: bool) -> None:
    headers = response_headers(replace(facts, is_secure=is_secure))
    assert headers.items() >= COMMON.items()
    assert headers["X-Frame-Options"] == "DENY"
    assert headers.get("Strict-Transport-Security") == (HSTS if is_secure else None)
    assert ("Content-Security-Policy" in headers) is (facts in (JSON, PAGE))


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
    assert policy_of(PAGE) == {
        "default-src": "'none'",
        "script-src": "'nonce-abc' 'strict-dynamic'",
        "style-src": "'nonce-abc'",
        "img-src": "'self'",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }


def test_no_profile_has_an_unsafe_source() -> None:
    sources = [one for policy in PROFILES.values() for named in policy.values() for one in named]
    assert not [one for one in sources if "unsafe" in one]


@pytest.mark.parametrize(
    ("framing", "ancestors"), [("DENY", "'none'"), ("SAMEORIGIN", "'self'"), ("ALLOW-FROM x", "'none'"), (None, None)]
)
def test_both_headers_say_the_same_about_frames(framing: str | None, ancestors: str | None) -> None:
    """Browsers that know frame-ancestors do not look at X-Frame-Options any more."""
    facts = replace(PAGE, framing=framing)
    assert policy_of(facts).get("frame-ancestors") == ancestors
    assert response_headers(facts).get("X-Frame-Options") == framing
    assert policy_of(facts).keys() | {"frame-ancestors"} == policy_of(PAGE).keys()


def test_json_is_framed_by_nobody() -> None:
    assert response_headers(replace(JSON, framing=None))["Content-Security-Policy"] == API


def test_the_answer_is_the_callers_own() -> None:
    response_headers(PAGE)["Referrer-Policy"] = "unsafe-url"
    assert COMMON["Referrer-Policy"] == "same-origin"


def test_a_file_and_a_page_without_the_nonce_keep_what_the_project_gave_them() -> None:
    assert profile_of(Facts("other", False, nonce="abc")) is None
    assert profile_of(Facts("html", False)) is None
    assert profile_of(Facts("html", False, is_admin=True)) == "admin"


# --- what a view changes -----------------------------------------------------------------------------


def changed(**said: Any) -> Facts:
    return replace(PAGE, changes=changes_of(security_headers(**said)(lambda request: None)))


def test_a_view_that_says_nothing_changes_nothing() -> None:
    assert changes_of(view).headers == {}


@pytest.mark.parametrize(
    ("csp", "policy"),
    [
        ({"img-src": "'none'"}, {"img-src": "'none'"}),
        ({"img-src": ["'none'"]}, {"img-src": "'none'"}),
        ({"script-src": "'nonce'"}, {"script-src": "'nonce-abc'"}),
        ({"font-src": "'none'"}, {"font-src": "'none'"}),
        ({"frame-ancestors": "'none'"}, {"frame-ancestors": "'none'"}),
    ],
)
def test_a_view_may_tighten(csp: dict[str, Any], policy: dict[str, str]) -> None:
    assert policy_of(changed(csp=csp)).items() >= policy.items()


def test_what_has_no_value_is_written_without_one() -> None:
    named = csp_of("page", changed(csp={"sandbox": "", "upgrade-insecure-requests": ()}))
    assert named.endswith("; sandbox; upgrade-insecure-requests")
    assert policy_of(changed(csp={"sandbox": "allow-forms"}))["sandbox"] == "allow-forms"


LOOSE: list[dict[str, Any]] = [
    {"csp": {"img-src": "'self' data:"}},
    {"csp": {"script-src": "'nonce' 'unsafe-inline'"}},
    {"csp": {"font-src": "'self'"}},
    {"csp": {"require-trusted-types-for": ""}},
    {"csp": {"trusted-types": "dompurify"}},
    {"csp": {"frame-ancestors": "https://partner.example"}},
    {"coop": "same-origin-allow-popups"},
    {"corp": "cross-origin"},
    {"coep": "unsafe-none"},
    {"profile": "api", "csp": {"img-src": "'self'"}},
]


@pytest.mark.parametrize("said", LOOSE)
def test_loosening_needs_a_reason(said: dict[str, Any]) -> None:
    for reason in ("", "  "):
        with pytest.raises(ImproperlyConfigured, match="loosen_because"):
            security_headers(**said, loosen_because=reason)
    changes = changed(**said, loosen_because="Because.").changes
    assert (len(changes.loosens), changes.because) == (1, "Because.")


def test_what_is_loosened_is_sent() -> None:
    facts = changed(csp={"require-trusted-types-for": ""}, coop="unsafe-none", loosen_because="Because.")
    assert "require-trusted-types-for" not in policy_of(facts)
    assert response_headers(facts)["Cross-Origin-Opener-Policy"] == "unsafe-none"


@pytest.mark.parametrize("coep", ["require-corp", "credentialless"])
def test_embedding_less_needs_no_reason(coep: str) -> None:
    assert response_headers(changed(coep=coep))["Cross-Origin-Embedder-Policy"] == coep


@pytest.mark.parametrize(
    "said",
    [
        {"profile": "pages"},
        {"coop": "same-site"},
        {"corp": "none"},
        {"coep": "strict"},
        {"csp": {"image-src": "'self'"}},
        {"csp": {"img-src": "'self'; script-src *"}},
        {"csp": {"img-src": ["'self' https://x"]}},
        {"csp": {"img-src": "a,b"}},
        {"csp": {"img-src": ["a\nb"]}},
    ],
)
def test_a_word_that_is_none_is_refused_where_it_is_written(said: dict[str, Any]) -> None:
    with pytest.raises(ImproperlyConfigured, match="security_headers"):
        security_headers(**said, loosen_because="Because.")
