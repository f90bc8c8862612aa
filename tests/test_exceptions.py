"""The error tree: every class has the code and the status of the contract."""

from __future__ import annotations

import inspect

import pytest
from rest_framework.exceptions import APIException

from django_secure_auth import exceptions
from django_secure_auth.exceptions import SecureAuthError

# The table of the contract, as far as these slices go: status, codes.
CONTRACT = {
    "malformed_request": 400,
    "validation_error": 400,
    "not_authenticated": 401,
    "invalid_credentials": 401,
    "token_invalid": 401,
    "token_expired": 401,
    "session_inactive": 401,
    "session_revoked": 401,
    "refresh_reused": 401,
    "otp_invalid": 401,
    "challenge_invalid": 401,
    "api_key_invalid": 401,
    "reset_invalid": 401,
    "cross_site_request": 403,
    "csrf_failed": 403,
    "password_change_required": 403,
    "permission_denied": 403,
    "step_up_required": 403,
    "impersonation_refused": 403,
    "not_found": 404,
    "too_large": 413,
    "unsupported_media_type": 415,
    "password_rejected": 422,
    "policy_rejected": 422,
    "rate_limited": 429,
    "internal_error": 500,
    "delivery_unavailable": 503,
    "state_unavailable": 503,
}
CLASSES = [
    value
    for value in vars(exceptions).values()
    if inspect.isclass(value) and issubclass(value, SecureAuthError) and value is not SecureAuthError
]


def test_the_codes_are_those_of_the_contract_each_with_one_class() -> None:
    assert sorted(one.code for one in CLASSES) == sorted(CONTRACT)


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.code)
def test_a_class_has_the_status_of_the_contract_and_words_for_people(error: type[SecureAuthError]) -> None:
    assert error.status_code == CONTRACT[error.code]
    assert error.title
    assert error.title != SecureAuthError.title or error.code == "internal_error"
    assert error.default_detail.endswith((".", ")"))
    assert issubclass(error, APIException)


@pytest.mark.parametrize("error", CLASSES, ids=lambda error: error.code)
def test_a_host_may_raise_it_with_its_own_words_headers_and_members(error: type[SecureAuthError]) -> None:
    plain = error()
    assert str(plain.detail) == error.default_detail
    assert plain.get_codes() == error.code
    assert (plain.headers, plain.members) == ({}, {})
    own = error("Other words.", headers={"Retry-After": "5"}, attempts_left=3)
    assert str(own.detail) == "Other words."
    assert own.get_codes() == error.code
    assert (own.headers, own.members) == ({"Retry-After": "5"}, {"attempts_left": 3})


def test_headers_given_are_copied() -> None:
    headers = {"Retry-After": "5"}
    exceptions.RateLimited(headers=headers).headers["X"] = "y"
    assert headers == {"Retry-After": "5"}
