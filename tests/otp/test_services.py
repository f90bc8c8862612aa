"""Challenges below the stories: races taken step by step, purge, and the worker."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from celery.exceptions import Retry
from django.core import mail
from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from django_secure_auth.exceptions import ChallengeInvalid, OTPInvalid
from django_secure_auth.otp import services, tasks
from django_secure_auth.otp.models import OTPBudget, OTPChallenge, TrustedDevice
from django_secure_auth.otp.policy import code_of
from django_secure_auth.otp.tasks import LEASE, send_code
from tests.browser import last_code, make_user, named, wrong_code

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def request_(rf: Any) -> Any:
    return rf.get("/", REMOTE_ADDR="192.0.2.1")


@pytest.fixture
def started(request_: Any) -> services.Started:
    return services.start(make_user(), purpose="login", request=request_, amr=["pwd"])


def _meanwhile(monkeypatch: pytest.MonkeyPatch, event: Any) -> None:
    """Let something happen between the count and the comparison."""
    real = services.is_right_code

    def judge(challenge: OTPChallenge, code: str) -> bool:
        event()
        return real(challenge, code)

    monkeypatch.setattr(services, "is_right_code", judge)


def test_the_attempt_is_counted_before_the_code_is_judged(
    started: services.Started, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8, R49: whatever happens during the comparison, the attempt is in the table."""
    seen: list[int] = []
    _meanwhile(monkeypatch, lambda: seen.append(OTPChallenge.objects.get().attempts))
    with pytest.raises(OTPInvalid):
        services.verify(started.challenge, wrong_code(), request=request_)
    assert seen == [1]


def test_a_resend_in_between_makes_the_old_code_worthless(
    started: services.Started, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right code is judged while a fresh one is being made: it is consumed for nobody."""
    _meanwhile(monkeypatch, lambda: OTPChallenge.objects.update(send_number=2))
    with pytest.raises(ChallengeInvalid):
        services.verify(started.challenge, last_code(), request=request_)
    assert OTPChallenge.objects.get().used_at is None


def test_another_use_in_between_is_the_only_one(
    started: services.Started, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _meanwhile(monkeypatch, lambda: OTPChallenge.objects.update(used_at=timezone.now()))
    with pytest.raises(ChallengeInvalid):
        services.verify(started.challenge, last_code(), request=request_)


def test_an_expiry_or_a_closing_in_between_counts(
    started: services.Started, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _meanwhile(monkeypatch, lambda: OTPChallenge.objects.all().close("replaced"))
    with pytest.raises(ChallengeInvalid):
        services.verify(started.challenge, last_code(), request=request_)


def test_a_deletion_in_between_is_a_refusal(
    started: services.Started, request_: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its account, by an administrator."""
    code = wrong_code()
    with pytest.MonkeyPatch.context() as patch:
        _meanwhile(patch, lambda: OTPChallenge.objects.all().delete())
        with pytest.raises(ChallengeInvalid):
            services.verify(started.challenge, code, request=request_)
    with pytest.raises(ChallengeInvalid):
        services.resend(started.challenge, request=request_)


def test_a_resend_after_a_close_in_between_is_a_refusal(started: services.Started, request_: Any) -> None:
    OTPChallenge.objects.all().close("replaced")
    with pytest.raises(ChallengeInvalid):
        services.resend(started.challenge, request=request_)


def test_two_first_guesses_at_once_make_one_budget(started: services.Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row of the budget is made by a parallel guess between our look and our insert."""
    user_id = started.challenge.user_id
    real = QuerySet.exists

    def exists(self: QuerySet[Any]) -> bool:
        monkeypatch.setattr(QuerySet, "exists", real)
        answer = real(self)
        OTPBudget(user_id=user_id, wrong_in_a_row=1).save(force_insert=True)
        return answer

    monkeypatch.setattr(QuerySet, "exists", exists)
    assert services._count_against_account(user_id)
    assert OTPBudget.objects.get().wrong_in_a_row == 2


def test_closing_is_for_open_ones(started: services.Started) -> None:
    services.close(None, reason="x")
    services.close("noise", reason="x")
    services.close(started.secret, reason="first")
    services.close(started.secret, reason="second")
    assert OTPChallenge.objects.get().closed_reason == "first"


def test_purge_deletes_what_is_over(started: services.Started, request_: Any) -> None:
    user = started.challenge.user
    assert user is not None
    services.trust_device(user, secret=None, request=request_)
    now = timezone.now()
    assert services.purge(before=now) == 0
    OTPChallenge.objects.update(expires_at=now - timedelta(days=31))
    TrustedDevice.objects.update(expires_at=now - timedelta(days=31))
    assert services.purge(before=now - timedelta(days=30)) == 2


def test_a_device_without_a_label_has_a_name(started: services.Started) -> None:
    device = TrustedDevice(user_id=started.challenge.user_id)
    assert str(device) == f"device {device.pk}"
    assert str(OTPBudget(wrong_in_a_row=3)) == "3 wrong in a row"
    assert str(started.challenge) == f"challenge {started.challenge.pk}"


def test_more_mails_than_sends_cannot_be_noted(started: services.Started) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        OTPChallenge.objects.update(mailed_number=9)


# --- the worker


def test_a_second_delivery_of_the_task_mails_nothing(started: services.Started) -> None:
    assert len(mail.outbox) == 1
    send_code(str(started.challenge.pk))
    assert len(mail.outbox) == 1
    assert len(named("authn_otp_sent")) == 1


def _unsent(**values: Any) -> OTPChallenge:
    OTPChallenge.objects.update(mailed_number=0, **values)
    mail.outbox.clear()
    return OTPChallenge.objects.get()


def test_a_closed_expired_or_deleted_challenge_is_not_mailed(started: services.Started) -> None:
    challenge = _unsent(closed_at=timezone.now())
    send_code(str(challenge.pk))
    _unsent(closed_at=None, expires_at=timezone.now())
    send_code(str(challenge.pk))
    name = str(challenge.pk)
    challenge.delete()
    send_code(name)
    assert not mail.outbox


def test_a_second_delivery_mails_the_same_code(started: services.Started) -> None:
    first = last_code()
    challenge = _unsent()
    send_code(str(challenge.pk))
    assert last_code() == first == code_of(challenge)


def test_a_challenge_whose_key_was_retired_is_closed(started: services.Started) -> None:
    challenge = _unsent(key_id="retired")
    send_code(str(challenge.pk))
    assert OTPChallenge.objects.get().closed_reason == "key_retired"
    assert not mail.outbox


def test_one_worker_sends_and_the_other_comes_again_when_the_lease_is_over(
    started: services.Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send_code, "retry", lambda **kwargs: Retry(when=kwargs["countdown"]))
    challenge = _unsent(mailing_at=timezone.now())
    with pytest.raises(Retry) as caught:
        send_code(str(challenge.pk))
    assert LEASE.total_seconds() - 2 < caught.value.when <= LEASE.total_seconds()
    OTPChallenge.objects.update(mailing_at=timezone.now() - LEASE - timedelta(seconds=1))
    send_code(str(challenge.pk))
    assert len(mail.outbox) == 1


def test_a_lease_that_was_given_up_meanwhile_is_asked_for_soon(
    started: services.Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge = _unsent()
    monkeypatch.setattr(tasks, "_take_lease", lambda _: False)
    monkeypatch.setattr(send_code, "retry", lambda **kwargs: Retry(when=kwargs["countdown"]))
    with pytest.raises(Retry) as caught:
        send_code(str(challenge.pk))
    assert caught.value.when == 1.0


def test_a_worker_tries_again_and_at_last_gives_up_and_tells(
    started: services.Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionRefusedError

    challenge = _unsent()
    monkeypatch.setattr(tasks, "send_templated", refuse)
    monkeypatch.setattr(send_code, "retry", lambda **kwargs: Retry(when=kwargs["countdown"]))
    with pytest.raises(Retry):
        send_code(str(challenge.pk))
    assert OTPChallenge.objects.get().mailing_at is None  # the lease is free for the next try
    send_code.push_request(retries=6, is_eager=False)
    try:
        with pytest.raises(ConnectionRefusedError):
            send_code.run(str(challenge.pk))
    finally:
        send_code.pop_request()
    assert named("authn_otp_undelivered")[0].details["reason"] == "mail"
