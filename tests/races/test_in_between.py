"""The moments that a race hits by chance only, each brought about on purpose."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from django_secure_auth.accounts import services as accounts
from django_secure_auth.exceptions import ChallengeInvalid, InvalidCredentials, OTPInvalid, SessionRevoked
from django_secure_auth.me.serializers import me_body
from django_secure_auth.otp import services as otp
from django_secure_auth.otp.models import OTPBudget, OTPChallenge
from tests.races.conftest import Configure, new_user


def request() -> HttpRequest:
    made = HttpRequest()
    made.META["REMOTE_ADDR"] = "192.0.2.1"
    return made


def challenge_of(user: Any) -> OTPChallenge:
    started = otp.start(user, purpose="login", request=request(), amr=["pwd"])
    return otp.find(started.secret)


def delete(user: Any) -> None:
    get_user_model()._default_manager.get(pk=user.pk).delete()


@pytest.mark.parametrize("policy", ["never", "always"])
def test_an_account_deleted_between_password_and_session_is_refused(configure: Configure, policy: str) -> None:
    configure(OTP_POLICY=policy)
    user = new_user()
    delete(user)
    with pytest.raises(InvalidCredentials):
        accounts.log_in(request(), user, amr=["sso"])


def test_an_account_deleted_while_its_code_is_approved_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    user = new_user()
    started = otp.start(user, purpose="login", request=request(), amr=["pwd"])
    monkeypatch.setattr(otp, "verify", lambda *_args, **_options: delete(user))
    with pytest.raises(ChallengeInvalid):
        accounts.finish_challenge(request(), code="123456", secret=started.secret, device=None)


def test_a_row_that_is_refused_for_another_reason_is_no_refusal_of_the_user(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect must not look like a wrong password."""
    configure(OTP_POLICY="never")

    def broken(*_: Any, **__: Any) -> None:
        raise IntegrityError("a constraint")

    monkeypatch.setattr(accounts, "open_session", broken)
    with pytest.raises(IntegrityError):
        accounts.log_in(request(), new_user(), amr=["sso"])


def test_a_challenge_deleted_while_its_code_is_judged_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    challenge = challenge_of(new_user())

    def judge(*_: Any) -> bool:
        OTPChallenge.objects.filter(pk=challenge.pk).delete()
        return False

    monkeypatch.setattr(otp, "is_right_code", judge)
    with pytest.raises(ChallengeInvalid):
        otp.verify(challenge, "123456", request=request())


def test_a_challenge_deleted_before_its_code_is_sent_again_is_invalid() -> None:
    challenge = challenge_of(new_user())
    OTPChallenge.objects.filter(pk=challenge.pk).delete()
    with pytest.raises(ChallengeInvalid):
        otp.resend(challenge, request=request())


def test_an_account_deleted_before_its_profile_is_shown_is_a_session_that_ended() -> None:
    model = get_user_model()
    user = model._default_manager.only(model.get_email_field_name()).get(pk=new_user().pk)
    delete(user)
    with pytest.raises(SessionRevoked):
        me_body(user)


def test_two_first_wrong_codes_at_once_are_both_judged_and_both_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one makes the budget's row between our look and our insert."""
    user = new_user()
    challenge = challenge_of(user)
    real = transaction.atomic

    def after_the_other(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(transaction, "atomic", real)
        OTPBudget.objects.create(user_id=user.pk, wrong_in_a_row=1)
        return real(*args, **options)

    monkeypatch.setattr(transaction, "atomic", after_the_other)
    monkeypatch.setattr(otp, "is_right_code", lambda *_: False)
    with pytest.raises(OTPInvalid):
        otp.verify(challenge, "123456", request=request())
    assert OTPBudget.objects.get(user=user.pk).wrong_in_a_row == 2
