"""API keys under a race: the limit holds, a key has one successor, and after a revocation nothing passes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone

from django_secure_auth import signals
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key, revoke, revoke_all, rotate
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.exceptions import PolicyRejected, SessionRevoked
from django_secure_auth.kit.rate import Rate
from django_secure_auth.passwords.services import scramble_password
from django_secure_auth.ratelimit.counter import counter_for
from django_secure_auth.sessions.services import end_all, open_session
from tests.races.browser import Call, at_once, in_threads, statuses
from tests.races.conftest import ROUNDS, Configure, new_user

THREADS = 32


def together(actions: Sequence[Callable[[], Any]]) -> list[Any]:
    """Let all go at the same moment; a refusal counts as an answer."""
    barrier = threading.Barrier(len(actions))

    def act(action: Callable[[], Any]) -> Any:
        barrier.wait(60)
        try:
            return action()
        except (PolicyRejected, SessionRevoked) as refusal:
            return refusal

    return in_threads([partial(act, action) for action in actions])


def request(address: tuple[str, int], text: str) -> Call:
    return Call(address, "GET", reverse("program"), {"Connection": "close", "X-API-Key": text}, None)


@pytest.mark.control("ASVS-15.4.2")
def test_of_thirty_two_keys_at_once_ten_are_made_when_ten_are_allowed(configure: Configure) -> None:
    """R31: the user's row is locked for the count, so that no two makers both believe to be the last that fits."""
    configure(MAX_API_KEYS_PER_USER=10)
    for _ in range(ROUNDS):
        user = new_user()
        made = together([partial(create_key, user, name="ci")] * THREADS)
        assert sum(isinstance(one, PolicyRejected) for one in made) == THREADS - 10
        assert APIKey.objects.for_user(user).alive().count() == 10
        told = SecurityEvent.objects.filter(event="authn_token_created", user_id=str(user.pk))
        assert told.count() == 10


@pytest.mark.control("ASVS-15.4.2")
def test_of_thirty_two_rotations_at_once_one_makes_a_successor(address: tuple[str, int]) -> None:
    """R32: as the refresh token that was used twice, but nobody needs to be signed out for it."""
    for _ in range(ROUNDS):
        user = new_user()
        key, old = create_key(user, name="ci")
        answers = together([partial(rotate, key)] * THREADS)
        (made,) = [one for one in answers if isinstance(one, tuple)]
        successor, new = made
        assert APIKey.objects.for_user(user).count() == 2
        assert APIKey.objects.get(replaces=key.pk) == successor
        assert SecurityEvent.objects.filter(event="authn_api_key_rotated", user_id=str(user.pk)).count() == 1
        assert [request(address, text).send().status for text in (old, new)] == [200, 200]


def test_of_what_is_made_and_replaced_while_an_account_is_closed_off_nothing_lives(configure: Configure) -> None:
    configure(MAX_API_KEYS_PER_USER=0)
    for _ in range(ROUNDS):
        user = new_user()
        session = open_session(user, request=RequestFactory().get("/"), amr=["pwd"])
        keys = [create_key(user, name="ci")[0] for _ in range(4)]

        def close_off(user: Any = user) -> None:
            with transaction.atomic():
                scramble_password(user)
                revoke_all(user, reason="not_me")
                end_all(user, reason="not_me")

        makers = [partial(create_key, user, name="ci", session_id=session.pk)] * 12
        together([*makers, close_off, *(partial(rotate, key) for key in keys for _ in range(2))])
        assert not APIKey.objects.for_user(user).alive().exists()


def test_rotations_and_makers_at_once_keep_the_limit(configure: Configure) -> None:
    configure(MAX_API_KEYS_PER_USER=4)
    for _ in range(ROUNDS):
        user = new_user()
        keys = [create_key(user, name="ci")[0] for _ in range(2)]
        together([partial(create_key, user, name="ci")] * 12 + [partial(rotate, key) for key in keys for _ in range(6)])
        living = APIKey.objects.for_user(user).alive()
        assert living.filter(retires_at=None).count() == 4
        assert living.count() == 6


def test_a_rotation_that_races_with_a_revocation_leaves_one_of_two_states(address: tuple[str, int]) -> None:
    """Either nothing lives, or the successor does: never a successor of a key that had been revoked before."""
    for _ in range(ROUNDS):
        key, old = create_key(new_user(), name="ci")
        made, ended = together([partial(rotate, key), partial(revoke, key, reason="x")])
        assert ended is True
        assert request(address, old).send().status == 401
        successor = APIKey.objects.filter(replaces=key.pk)
        assert successor.alive().count() == (0 if isinstance(made, PolicyRejected) else 1)


@pytest.mark.control("ASVS-7.4.1")
def test_after_the_answer_to_a_revocation_no_request_passes(address: tuple[str, int]) -> None:
    """R27: whatever was on its way before, the next request is refused."""
    for _ in range(ROUNDS):
        key, text = create_key(new_user(), name="ci")
        revoked = threading.Event()

        def go_on(text: str = text, revoked: threading.Event = revoked) -> list[tuple[bool, int]]:
            seen: list[tuple[bool, int]] = []
            stop_at = time.monotonic() + 60
            while sum(was_revoked for was_revoked, _ in seen) < 3 and time.monotonic() < stop_at:
                was_revoked = revoked.is_set()
                seen.append((was_revoked, request(address, text).send().status))
            return seen

        def end(key: APIKey = key, revoked: threading.Event = revoked) -> list[tuple[bool, int]]:
            time.sleep(0.05)
            assert revoke(key, reason="x")
            revoked.set()
            return []

        jobs: list[Callable[[], list[tuple[bool, int]]]] = [go_on, go_on, go_on, end]
        seen = [one for part in in_threads(jobs) for one in part]
        after = [status for was_revoked, status in seen if was_revoked]
        assert len(after) == 9
        assert set(after) == {401}


def test_the_first_use_by_many_at_once_is_told_once(address: tuple[str, int]) -> None:
    """R51: one of them writes, nobody waits for a lock, and nobody fails."""
    for _ in range(ROUNDS):
        heard: list[Any] = []

        def listen(key_id: Any, heard: list[Any] = heard, **_: Any) -> None:
            heard.append(key_id)

        key, text = create_key(new_user(), name="ci")
        signals.api_key_used_first.connect(listen)
        try:
            answers = at_once(request(address, text) for _ in range(THREADS))
        finally:
            signals.api_key_used_first.disconnect(listen)
        assert statuses(answers) == {"200": THREADS}
        assert heard == [key.pk]
        told = SecurityEvent.objects.filter(event="authn_api_key_used_first", details__public_id=key.public_id)
        assert told.count() == 1


def test_the_next_use_by_many_at_once_is_written_and_nobody_fails(address: tuple[str, int]) -> None:
    """R51: Sanctum's update with each request dead-locked for years."""
    for _ in range(ROUNDS):
        key, text = create_key(new_user(), name="ci")
        long_ago = timezone.now() - timedelta(minutes=11)
        APIKey.objects.filter(pk=key.pk).update(last_used_at=long_ago)
        assert statuses(at_once(request(address, text) for _ in range(THREADS))) == {"200": THREADS}
        key.refresh_from_db()
        assert key.last_used_at is not None
        assert key.last_used_at > long_ago + timedelta(minutes=10)


def test_of_sixty_four_requests_at_once_exactly_the_keys_limit_passes(address: tuple[str, int]) -> None:
    """R15: the key's own rate."""
    for _ in range(ROUNDS):
        key, text = create_key(new_user(), name="ci", rate_limit="10/h")
        # A window that ends during the race would rightly let more pass.
        while counter_for("api_key", (key.public_id,), Rate.parse("10/h")).over_at - time.time() < 15:
            time.sleep(1)
        answers = at_once(request(address, text) for _ in range(64))
        assert statuses(answers) == {"200": 10, "429 rate_limited": 54}
