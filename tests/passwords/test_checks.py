"""Rules for new passwords that let too much pass, or forbid what helps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.test import override_settings

from django_secure_auth.passwords import presets
from django_secure_auth.passwords.checks import check_twins, find_weak_rules

OURS = "django_secure_auth.passwords.validators"
COMMON = {"NAME": f"{OURS}.CommonPasswordValidator"}
LONG = {"NAME": f"{OURS}.LengthValidator", "OPTIONS": {"min_length": 30}}


def _found(*entries: dict[str, Any]) -> list[str]:
    with override_settings(AUTH_PASSWORD_VALIDATORS=list(entries)):
        return [str(one.id) for one in find_weak_rules()]


def test_w080_a_length_that_leaves_no_common_password() -> None:
    assert _found(LONG, COMMON) == ["secure_auth.W080"]
    assert _found(LONG) == []
    assert _found(COMMON) == []


@pytest.mark.control("NIST-63B-3.1.1.2-5")
def test_w081_a_rule_of_composition() -> None:
    assert _found({"NAME": f"{OURS}.CompositionValidator"}) == ["secure_auth.W081"]


def test_the_preset_and_no_rules_at_all_are_another_checks() -> None:
    assert _found(*presets.AUTH_PASSWORD_VALIDATORS) == []
    assert _found() == []


@pytest.mark.django_db
def test_w082_twins_are_looked_for_where_the_users_are_and_only_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """That they are found shows tests/stories/test_takeover.py."""
    assert check_twins() == check_twins(databases=["other"]) == check_twins(databases=["default"]) == []
    assert "secure_auth.W082" not in {one.id for one in run_checks()}


@pytest.mark.django_db(transaction=True)
def test_users_that_are_not_migrated_yet_have_no_twins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_user_model()._meta, "db_table", "no_such_table")
    assert check_twins(databases=["default"]) == []


def test_w083_a_filter_of_breached_passwords_that_is_not_there(configure: Callable[..., None], tmp_path: Path) -> None:
    configure(BREACHED_PASSWORDS_FILE=str(tmp_path / "nowhere"))
    assert _found(LONG) == ["secure_auth.W083"]
