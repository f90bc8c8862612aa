"""The stories' services where no browser reaches: deletions in the very moment, purge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import OperationalError
from django.utils import timezone

from django_secure_auth.accounts import services
from django_secure_auth.accounts.tasks import purge
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.otp.models import OTPChallenge
from django_secure_auth.sessions.models import Session
from tests.browser import Browser, code_of, make_user, named, trust

pytestmark = pytest.mark.django_db(transaction=True)
Configure = Callable[..., None]


def test_an_account_deleted_in_the_moment_of_sign_in_is_not_there(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = make_user()
    trust(browser, user)

    def deleted(*_: Any, **__: Any) -> bool:
        get_user_model()._default_manager.filter(pk=user.pk).delete()
        return False

    monkeypatch.setattr(services, "is_code_required", deleted)
    response = browser.login()
    assert response.status_code == 401, response.content
    assert code_of(response) == "invalid_credentials"
    assert not Session.objects.exists()


def test_another_failure_of_the_database_is_not_taken_for_a_deletion(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust(browser, make_user())

    def away(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("the database is away")

    monkeypatch.setattr(services, "open_session", away)
    response = browser.login()
    assert response.status_code == 503
    assert code_of(response) == "state_unavailable"
    assert "the database is away" not in response.content.decode()


def test_purge_keeps_the_rest(browser: Browser, configure: Configure) -> None:
    now = timezone.now()
    old = now - timedelta(days=400)
    make_user()
    # The first of the trail: whole ranges are deleted, and one with a younger row stays.
    SecurityEvent(occurred_at=now - timedelta(days=2), event="authz_fail").save()
    browser.sign_in()
    events = SecurityEvent.objects.count()
    assert purge() == {
        "closed accounts": 0,
        "sessions": 0,
        "challenges and devices": 0,
        "mailed links": 0,
        "claims of addresses": 0,
        "API keys": 0,
        "security events": 0,
    }
    Session.objects.update(revoked_at=old)
    OTPChallenge.objects.update(expires_at=old)
    assert purge(older_than_days=30)["sessions"] == 1
    assert purge()["security events"] == 0
    configure(AUDIT_RETENTION=timedelta(days=1))
    assert purge()["security events"] == 1
    assert SecurityEvent.objects.count() == events - 1
    assert named("authn_login_success")


@pytest.mark.parametrize("number", [-1, 0, 3651])
def test_purge_refuses_what_would_reach_the_living(number: int) -> None:
    """From Celery beat there is no command line that checks it."""
    with pytest.raises(ValueError, match="from 1 to 3650"):
        purge(number)
