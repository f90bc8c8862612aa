"""A project with ten thousand users moves to this package: nobody is locked out, and twins are named."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import PBKDF2PasswordHasher, identify_hasher
from django.core.checks import run_checks

from django_secure_auth.doctor.services import examine
from django_secure_auth.passwords import presets
from django_secure_auth.passwords.checks import check_twins
from django_secure_auth.passwords.fields import CanonicalEmailField
from tests.browser import PASSWORD, Browser, code_of

pytestmark = pytest.mark.django_db(transaction=True)
COUNT = 10_000


class OldHasher(PBKDF2PasswordHasher):
    """What the users' hashes were made with, years ago."""

    iterations = 1000


@pytest.fixture
def old_users(settings: Any) -> Any:
    settings.PASSWORD_HASHERS = presets.PASSWORD_HASHERS
    model: Any = get_user_model()
    email, name = model.get_email_field_name(), model.USERNAME_FIELD
    encoded = OldHasher().encode(PASSWORD, "salt")
    rows = []
    for number in range(COUNT):
        values = {name: f"user{number}@Example.com", email: f"User{number}@Example.com", "password": encoded}
        rows.append(model(**values))
    model._base_manager.bulk_create(rows, batch_size=500)
    return model


def _is_unique(model: Any) -> bool:
    field = model._meta.get_field(model.get_email_field_name())
    return bool(field.unique) or isinstance(field, CanonicalEmailField)


def test_nobody_is_locked_out_and_hashes_are_made_anew(old_users: Any) -> None:
    for number in (0, 1, 4999, COUNT - 1):
        for typed in (f"user{number}@example.com", f"USER{number}@EXAMPLE.COM"):
            browser = Browser(address=f"192.0.2.{number % 200 + 1}")
            assert browser.sign_in(typed).status_code == 200
        email = old_users.get_email_field_name()
        stored = old_users._base_manager.get(**{f"{email}__iexact": f"user{number}@example.com"}).password
        assert identify_hasher(stored).algorithm == "argon2"
        assert not identify_hasher(stored).must_update(stored)
    assert check_twins(databases=["default"]) == []


def test_twins_sign_in_by_their_exact_spelling_and_are_named(old_users: Any) -> None:
    if _is_unique(old_users):
        return  # there are none
    email, name = old_users.get_email_field_name(), old_users.USERNAME_FIELD
    twins = []
    for spelled in ("Ana@example.com", "ana@example.com"):
        user = old_users(**{name: f"name of {spelled}", email: spelled})
        user.set_password(f"the pass phrase of {spelled}")
        user.save()
        twins.append(user)
    for spelled in ("Ana@example.com", "ana@example.com"):
        assert Browser().sign_in(spelled, f"the pass phrase of {spelled}").status_code == 200
    assert code_of(Browser().login("ANA@example.com", "the pass phrase of ana@example.com")) == "invalid_credentials"
    (found,) = check_twins(databases=["default"])
    assert found.id == "secure_auth.W082"
    assert all(str(user.pk) in found.msg for user in twins)
    assert "ana@example.com" not in found.msg
    assert "secure_auth.W082" in {one.id for one in run_checks(databases=["default"])}
    # The doctor names them too, when it may look.
    told = [one.message for one in examine(["default"]) if one.id == "secure_auth.W082"]
    assert told == [found.msg]
    assert "secure_auth.W082" not in {one.id for one in examine()}
