"""A database that is held up by somebody else: the answer is "later", never "who are you"."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_secure_auth.sessions.models import Session
from tests.races.browser import Browser, at_once, statuses
from tests.races.conftest import PASSWORD, Configure, email_of, new_user

IMPATIENT = {
    "sqlite": "PRAGMA busy_timeout = 200",
    "postgresql": "SET lock_timeout = 200",
    "mysql": "SET innodb_lock_wait_timeout = 1",
}


@pytest.fixture
def _impatient_server(address: tuple[str, int]) -> Iterator[None]:
    """Connections that are made from now on do not wait for a lock as long as the tests would have to."""

    def hurry(connection: BaseDatabaseWrapper, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(IMPATIENT[connection.vendor])

    connection_created.connect(hurry)
    yield
    connection_created.disconnect(hurry)


@pytest.mark.usefixtures("_impatient_server")
def test_while_a_session_is_locked_refresh_and_sign_out_are_503_and_nobody_loses_it(
    browser: Callable[[], Browser], configure: Configure
) -> None:
    configure(OTP_POLICY="never")
    client = browser()
    session_id = client.sign_in(email_of(new_user()), PASSWORD).body["session"]["id"]
    assert client.me().send().status == 200  # last-seen is written: the next ones only read

    with transaction.atomic():
        held = Session.objects.select_for_update().get(pk=session_id)
        Session.objects.filter(pk=session_id).update(device_label="held")  # SQLite: one writer for the whole file
        answers = at_once([*(client.refresh() for _ in range(8)), client.logout()])
        assert statuses(answers) == {"503 state_unavailable": 9}
        assert not any(answer.cookies for answer in answers)  # none is taken away
        assert client.me().send().status == 200

    later = Session.objects.get(pk=session_id)
    assert (later.generation, later.revoked_at) == (held.generation, None)
    refreshed = client.refresh().send()
    assert refreshed.status == 200
    client.keep(refreshed)
    assert client.me().send().status == 200
