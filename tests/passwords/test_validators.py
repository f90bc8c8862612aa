"""What a new password may not be, and that every refusal says why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password, identify_hasher, make_password
from django.contrib.auth.password_validation import (
    get_password_validators,
    password_validators_help_texts,
    validate_password,
)
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.test import override_settings

from django_secure_auth.accounts import serializers
from django_secure_auth.passwords import presets
from django_secure_auth.passwords.validators import (
    CommonPasswordValidator,
    CompositionValidator,
    LengthValidator,
    OwnWordsValidator,
    common_passwords_from,
)

PRESET = get_password_validators(presets.AUTH_PASSWORD_VALIDATORS)


def refusals(password: str, user: Any = None) -> list[str]:
    try:
        validate_password(password, user, PRESET)
    except ValidationError as error:
        return [one.code for one in error.error_list]
    return []


def somebody(**values: Any) -> Any:
    model = get_user_model()
    return model(**{model.get_email_field_name(): "ana.horvat@example.com", **values})


@pytest.mark.control("ASVS-6.2.1", "ASVS-6.2.5", "ASVS-6.2.9")
@pytest.mark.parametrize(
    "password", ["correct horse battery staple", "пароль из многих слов", "🐎🔋🖇" * 5, "a" * 11 + " "]
)
def test_length_is_what_counts(password: str) -> None:
    assert refusals(password) == []


def test_length_is_counted_in_code_points_of_one_form() -> None:
    eleven = "u\u0308" * 11  # twenty-two as typed by some, eleven letters
    assert refusals(eleven) == ["password_too_short"]
    assert refusals("u\u0308" * 12) == []
    assert refusals("🐎" * 11) == ["password_too_short"]  # 44 bytes
    with pytest.raises(ImproperlyConfigured, match="at least 8"):
        LengthValidator(min_length=7)


@pytest.mark.control("ASVS-6.2.4")
@pytest.mark.parametrize(
    "password", ["qwerty123456", "Q1W2E3R4T5Y6", "password1234", "123456789987654321", " qwerty123456 "]
)
def test_a_common_one_is_refused_whatever_its_case(password: str) -> None:
    assert "password_too_common" in refusals(password)


def test_django_s_own_list_is_part_of_it() -> None:
    with pytest.raises(ValidationError):
        CommonPasswordValidator().validate("letmein")


@pytest.mark.parametrize("length", [8, 12, 15])
def test_enough_common_passwords_are_left_under_the_length_rule(length: int) -> None:
    assert common_passwords_from(length) >= 3000


@pytest.mark.control("ASVS-6.2.11")
@pytest.mark.parametrize(
    "password",
    [
        "ana.horvat@example.com",
        "Ana-Horvat-1234",
        "AnaHorvat2026!",
        "example.com 123",
        "django-secure-auth!",
        "Štefanija-1990",
    ],
)
def test_the_own_words_are_no_password(password: str) -> None:
    user = somebody()
    user.first_name = "Štefanija"
    assert refusals(password, user) == ["password_too_similar"]


def test_such_a_word_within_a_long_one_is_none() -> None:
    assert refusals("ana.horvat rides a purple bicycle", somebody()) == []
    assert refusals("correct horse battery staple", None) == []
    with override_settings(DJANGO_SECURE_AUTH={"PROFILE_FIELDS": ["date_joined"]}):  # no text
        assert refusals("correct horse battery staple", somebody()) == []
    with pytest.raises(ValidationError):
        OwnWordsValidator(words=["Acme Rockets"]).validate("acme-rockets-1")


@pytest.mark.control("ASVS-6.1.2")
def test_the_docs_say_where_the_words_of_an_organisation_go_and_it_works() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "passwords.md").read_text(encoding="utf-8")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if '"words"' in block)
    settings: dict[str, Any] = {}
    exec(example, settings)  # noqa: S102  # our own page
    rules = get_password_validators(settings["AUTH_PASSWORD_VALIDATORS"])
    validate_password("correct horse battery staple", None, rules)
    for password in ("acme-rockets-1", "Springfield2026"):
        with pytest.raises(ValidationError, match="name"):
            validate_password(password, None, rules)


@pytest.mark.parametrize(
    ("password", "missing"),
    [
        ("Password1!", ""),
        ("password1!", "capital"),
        ("PASSWORD1!", "small"),
        ("Password!", "digit"),
        ("Password1", "special"),
    ],
)
def test_an_older_rule_can_be_kept(password: str, missing: str) -> None:
    rule = CompositionValidator()
    if not missing:
        rule.validate(password)
        return
    with pytest.raises(ValidationError, match=missing):
        rule.validate(password)


def test_a_rule_of_nothing_is_a_mistake() -> None:
    for kinds in ([], ["vowel"]):
        with pytest.raises(ImproperlyConfigured):
            CompositionValidator(kinds)


@pytest.mark.control("NIST-63B-3.1.1.2-d")
def test_every_rule_tells_what_it_wants() -> None:
    assert len(password_validators_help_texts(PRESET)) == len(PRESET)
    assert "capital" in CompositionValidator().get_help_text()


@pytest.mark.control("ASVS-11.4.2", "CS-PasswordStorage-argon2id", "CS-PasswordStorage-upgrade")
def test_the_hasher_has_the_parameters_of_the_standard_and_renews_others() -> None:
    django_s = "django.contrib.auth.hashers.Argon2PasswordHasher"
    with override_settings(PASSWORD_HASHERS=[django_s]):
        old = make_password("correct horse battery staple")
    with override_settings(PASSWORD_HASHERS=presets.PASSWORD_HASHERS):
        new = make_password("correct horse battery staple")
        assert "argon2id" in new
        assert "m=47104,t=1,p=1" in new
        assert check_password("correct horse battery staple", old)
        assert identify_hasher(old).must_update(old)
        assert not identify_hasher(new).must_update(new)
    with override_settings(PASSWORD_HASHERS=presets.PASSWORD_HASHERS):
        assert new != make_password("correct horse battery staple")  # salted


@pytest.mark.control("NIST-63B-3.1.1.2-g", "NIST-63B-3.1.1.2-9")
def test_the_whole_password_counts_and_its_hash_names_how_it_was_made() -> None:
    with override_settings(PASSWORD_HASHERS=presets.PASSWORD_HASHERS):
        one, other = make_password("x" * 127 + "a"), make_password("x" * 127 + "a")
        assert one != other
        assert one.startswith("argon2$argon2id$v=19$m=47104,t=1,p=1$")
        assert check_password("x" * 127 + "a", one)
        assert not check_password("x" * 127 + "b", one)


@pytest.mark.control("NIST-63B-3.1.1.2-2", "NIST-63B-3.1.1.2-3")
def test_every_printable_character_and_long_passwords_are_taken() -> None:
    for number in range(32, 127):
        for password in (
            chr(number) + "correct horse",
            "correct" + chr(number) + "horse",
            "correct horse" + chr(number),
        ):
            assert refusals(password) == [], password
    for length in (64, 128, 256):
        assert refusals("correct horse battery staple "[: length % 29 or 29] + "y z" * (length // 3)) == []


@pytest.mark.control("NIST-63B-3.1.1.2-4")
def test_fifteen_emoji_are_fifteen_characters() -> None:
    rule = LengthValidator(min_length=15)
    rule.validate("🐎" * 15)
    with pytest.raises(ValidationError):
        rule.validate("🐎" * 14)


@pytest.mark.control("NIST-63B-3.1.1.2-b")
def test_the_whole_password_is_looked_up_and_not_its_parts() -> None:
    assert refusals("password1234") == ["password_too_common"]
    assert refusals("my password1234 is not this one") == []


@pytest.mark.control("ASVS-6.4.2", "NIST-63B-3.1.1.2-7", "NIST-63B-3.1.1.2-8")
def test_there_are_no_hints_and_no_secret_questions() -> None:
    ours = apps.get_app_config("django_secure_auth").get_models()
    names = {field.name for model in ours for field in model._meta.get_fields()}
    bodies = {name for one in vars(serializers).values() if isinstance(one, type) and hasattr(one, "_declared_fields")
              for name in one._declared_fields}  # fmt: skip
    assert {"new_password", "email"} <= bodies
    assert not [name for name in names | bodies if "hint" in name or "question" in name or "answer" in name]
