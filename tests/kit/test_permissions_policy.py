"""Features of a browser by name, and who may use them."""

from __future__ import annotations

import pytest

from django_secure_auth.kit.permissions_policy import DEFAULT, FEATURES, complaint_about


def test_what_we_send_is_known_to_browsers() -> None:
    assert DEFAULT.keys() <= FEATURES
    assert complaint_about(DEFAULT) is None


@pytest.mark.parametrize(
    "allowed", ["()", "*", "(self)", '("https://a.example")', '(self "https://a.example" "https://b.example:8443")']
)
def test_an_allow_list_is_as_the_header_writes_it(allowed: str) -> None:
    assert complaint_about({"camera": allowed}) is None


@pytest.mark.parametrize(
    "allowed", ["", "none", "self", "(src)", '("http://a.example")', "(self), usb=*", None, ["self"]]
)
def test_what_is_no_allow_list_is_named(allowed: object) -> None:
    complaint = complaint_about({"camera": allowed})
    assert complaint is not None
    assert "camera" in complaint


def test_a_feature_that_no_browser_knows_is_named_with_a_guess() -> None:
    assert complaint_about({"camara": "()"}) == (
        "has 'camara', which is no policy-controlled feature; did you mean 'camera'?"
    )
    assert complaint_about({"zzz": "()"}) == "has 'zzz', which is no policy-controlled feature."
    assert complaint_about(["camera"]) == "must be a dict, not list."
