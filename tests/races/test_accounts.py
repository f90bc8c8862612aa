"""Opening and changing accounts under a race: one winner, no defect, nothing half-done."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model

from django_secure_auth.links.models import MailedLink
from django_secure_auth.mail import address_of
from django_secure_auth.passwords.services import find_account
from django_secure_auth.recovery.services import mark_compromised
from django_secure_auth.sessions.models import Session
from tests.races.browser import TIMEOUT, Browser, at_once, code_for, in_threads, mails_to, statuses
from tests.races.conftest import PASSWORD, ROUNDS, WIDE, Configure, email_of, new_user

NewBrowser = Callable[[], Browser]
CALLERS = 8
NEW = "another long pass phrase"


@pytest.fixture(autouse=True)
def _roomy(configure: Configure) -> None:
    names = (*WIDE, "login_device", "register", "password_reset", "password_reset_address", "otp_address")
    configure(BASE_URL="https://app.example", RATE_LIMITS=dict.fromkeys(names, "100000/15m"))


def fresh() -> str:
    return f"{uuid4().hex[:16]}@example.com"


def accounts_of(email: str) -> int:
    model = get_user_model()
    return int(model._default_manager.filter(**{f"{model.get_email_field_name()}__iexact": email}).count())


def post(browser: Browser, name: str, **body: Any) -> Any:
    return browser.call("POST", f"secure_auth:{name}", body)


def link_to(email: str) -> dict[str, str]:
    found = re.search(r"#uid=([^&\s]+)&token=(\S+)", str(mails_to(email)[-1].body))
    assert found is not None
    return {"uid": found[1], "token": found[2]}


def test_of_many_registrations_of_one_address_one_becomes_an_account(browser: NewBrowser) -> None:
    """Whether the user model has a unique address or not."""
    for _ in range(ROUNDS):
        email, ready = fresh(), []
        for _ in range(CALLERS):
            stranger = browser()
            stranger.keep(post(stranger, "register", email=email, password=PASSWORD).send())
            ready.append(post(stranger, "register-verify", otp_code=code_for(email)))
        assert statuses(at_once(ready)) == {"200": 1, "401 challenge_invalid": CALLERS - 1}
        assert accounts_of(email) == 1


def test_one_code_that_is_shown_many_times_at_once_opens_one_account(browser: NewBrowser) -> None:
    for _ in range(ROUNDS):
        email, stranger = fresh(), browser()
        stranger.keep(post(stranger, "register", email=email, password=PASSWORD).send())
        verify = [post(stranger, "register-verify", otp_code=code_for(email)) for _ in range(CALLERS)]
        assert statuses(at_once(verify)) == {"200": 1, "401 challenge_invalid": CALLERS - 1}
        assert accounts_of(email) == 1


def test_of_many_resets_with_one_link_one_comes_through(browser: NewBrowser) -> None:
    for _ in range(ROUNDS):
        user = new_user()
        email, stranger = email_of(user), browser()
        assert post(stranger, "password-reset", email=email).send().status == 202
        given = link_to(email)
        words = [f"{NEW} {number}" for number in range(CALLERS)]
        answers = at_once(post(stranger, "password-reset-confirm", **given, new_password=word) for word in words)
        assert statuses(answers) == {"204": 1, "401 reset_invalid": CALLERS - 1}
        winner = words[[one.status for one in answers].index(204)]
        user.refresh_from_db()
        assert user.check_password(winner)
        assert not MailedLink.objects.open().exists()


def test_a_change_of_the_password_while_its_browser_refreshes_loses_nobody(browser: NewBrowser) -> None:
    """This session goes on with every tab's refresh, the others are over, and nothing is a defect."""
    for _ in range(ROUNDS):
        user = new_user()
        here, elsewhere = browser(), browser()
        here.sign_in(email_of(user), PASSWORD)
        elsewhere.sign_in(email_of(user), PASSWORD)
        change = post(here, "password-change", current_password=PASSWORD, new_password=NEW)
        answers = at_once(
            [change, here.refresh(), here.refresh(), here.probe(), elsewhere.refresh(), elsewhere.probe()]
        )
        assert answers[0].status == 204
        assert {one.status for one in answers[1:4]} == {200}
        assert {one.status for one in answers[4:]} <= {200, 401}
        here.keep(answers[1])
        assert here.refresh().send().status == 200
        assert elsewhere.probe().send().status == 401
        living = Session.objects.for_user(user).alive()
        assert living.count() == 1


def test_a_sign_in_under_way_does_not_outlive_the_mark_of_its_password(browser: NewBrowser) -> None:
    """Whoever knows the password and has a trusted browser signs in all the time, and is out with the mark."""
    for turn in range(ROUNDS):
        user = new_user()
        thief = browser()
        thief.sign_in(email_of(user), PASSWORD)
        barrier = threading.Barrier(CALLERS + 1)
        ready = partial(barrier.wait, TIMEOUT)
        sign_ins = [partial(thief.login(email_of(user), PASSWORD).send, ready=ready) for _ in range(CALLERS)]

        def mark(user: Any = user, ready: Callable[[], object] = ready, pause: float = 0.01 * turn) -> None:
            ready()
            time.sleep(pause)
            mark_compromised(user)

        for answer in in_threads([*sign_ins, mark]):
            assert answer is None or answer.status in (200, 403)
            if answer is not None and answer.status == 200:
                one = browser()
                one.keep(answer)
                assert one.probe().send().status == 401
                assert one.refresh().send().status == 401


def test_signing_in_anew_while_the_password_is_changed_waits_for_nobody_for_ever(browser: NewBrowser) -> None:
    """Both take the user's row and the session that the browser holds: in the same order."""
    for _ in range(ROUNDS):
        user = new_user()
        here = browser()
        here.sign_in(email_of(user), PASSWORD)
        elsewhere = here.copy()
        elsewhere.keep(elsewhere.sign_in(email_of(user), PASSWORD))
        back = browser().arrive()
        back.keep(here.login(email_of(user), PASSWORD).send())
        change = post(back, "password-change", current_password=PASSWORD, new_password=NEW)
        again = [elsewhere.login(email_of(user), PASSWORD) for _ in range(CALLERS)]
        answers = at_once([change, *again])
        assert answers[0].status == 204
        assert {one.status for one in answers[1:]} <= {200, 202, 401}


def test_of_many_changes_of_one_password_one_comes_through(browser: NewBrowser) -> None:
    for _ in range(ROUNDS):
        user = new_user()
        here = browser()
        here.sign_in(email_of(user), PASSWORD)
        words = [f"{NEW} {number}" for number in range(CALLERS)]
        answers = at_once(post(here, "password-change", current_password=PASSWORD, new_password=word) for word in words)
        assert statuses(answers) == {"204": 1, "401 invalid_credentials": CALLERS - 1}
        user.refresh_from_db()
        assert user.check_password(words[[one.status for one in answers].index(204)])
        assert here.me().send().status == 200


def test_of_many_users_who_want_one_address_one_gets_it(browser: NewBrowser) -> None:
    for _ in range(ROUNDS):
        wanted, ready, users = fresh(), [], [new_user() for _ in range(4)]
        for user in users:
            here = browser()
            here.sign_in(email_of(user), PASSWORD)
            here.keep(post(here, "email-change", new_email=wanted).send())
            ready.append(here.approve(code_for(wanted)))
        stranger = browser()
        stranger.keep(post(stranger, "register", email=wanted, password=PASSWORD).send())
        ready.append(post(stranger, "register-verify", otp_code=code_for(wanted)))
        assert statuses(at_once(ready)) == {"200": 1, "401 challenge_invalid": 4}
        assert accounts_of(wanted) == 1
        assert find_account(wanted) is not None
        changed = get_user_model()._default_manager.filter(pk__in=[one.pk for one in users])
        assert sum(address_of(user) == wanted for user in changed) <= 1
