"""Making, changing and ending keys from Python: what is refused, who the actor is, what a transaction keeps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from django_secure_auth.apikeys import policy, services
from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import change_key, create_key, prove, purge, revoke, rotate
from django_secure_auth.exceptions import NotFound, PolicyRejected
from django_secure_auth.kit.apikeys import parse_api_key
from tests.browser import make_user, named

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def ana() -> Any:
    return make_user()


def from_here(rf: Any) -> Any:
    return rf.get("/", REMOTE_ADDR="192.0.2.1")


# --- what a key may be -------------------------------------------------------------------------------


def test_a_key_is_found_by_its_public_id_and_named_by_an_id_that_is_no_secret(ana: Any) -> None:
    """R32: the digest is no key of the table."""
    key, text = create_key(ana, name="ci")
    assert APIKey._meta.pk.name == "id"
    assert APIKey._meta.get_field("public_id").unique
    assert str(key) == f"API key {key.public_id}"
    assert key.public_id in text
    assert key.digest not in text
    assert len(key.digest) == 64


@pytest.mark.parametrize(
    "refused",
    [
        {"name": ""},
        {"name": "\n"},
        {"name": "x" * 101},
        {"scopes": "reports:read"},
        {"scopes": [None]},
        {"scopes": ["a b"]},
        {"scopes": [f"s{number}" for number in range(51)]},
        {"networks": "192.0.2.0/24"},
        {"networks": ["10.0.0.0/99"]},
        {"networks": ["::/0"]},
        {"rate_limit": "often"},
        {"expires_at": datetime(2099, 1, 1)},  # noqa: DTZ001  # on purpose
        {"expires_at": timezone.now() - DAY},
        {"expires_at": timezone.now() + 367 * DAY},
    ],
)
def test_what_the_policy_refuses_is_not_made(ana: Any, refused: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\."):
        create_key(ana, **{"name": "ci", **refused})
    assert not APIKey.objects.exists()


def test_a_year_may_have_a_leap_day(ana: Any) -> None:
    key, _ = create_key(ana, name="ci", expires_at=timezone.now() + 366 * DAY)
    assert key.expires_at - key.created_at <= policy.MAX_LIFETIME


def test_what_stands_twice_is_stored_once(ana: Any) -> None:
    key, _ = create_key(
        ana, name="ci", scopes=("b", "a", "b"), networks=("192.0.2.7", "::ffff:192.0.2.7", "10.0.0.0/8")
    )
    assert key.scopes == ["a", "b"]
    assert key.allowed_networks == ["192.0.2.7/32", "10.0.0.0/8"]


def test_a_key_that_expires_before_it_is_made_is_refused_by_the_table(ana: Any) -> None:
    key, _ = create_key(ana, name="ci")
    with pytest.raises(IntegrityError), transaction.atomic():
        APIKey.objects.filter(pk=key.pk).update(expires_at=key.created_at)


def test_a_key_for_somebody_who_is_gone(ana: Any) -> None:
    type(ana)._default_manager.filter(pk=ana.pk).delete()
    with pytest.raises(NotFound):
        create_key(ana, name="ci")


def test_who_may_give_which_scope(ana: Any, configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    configure(API_KEY_SCOPES={"free": None, "bound": "auth.view_group"})
    assert policy.refused_scopes(ana, ["free", "bound", "unknown"]) == ["bound", "unknown"]
    root = make_user("root@example.com", is_superuser=True)
    assert policy.refused_scopes(root, ["free", "bound", "unknown"]) == ["unknown"]
    # A user model without permissions has none.
    assert policy.refused_scopes(object(), ["free", "bound"]) == ["bound"]  # type: ignore[arg-type]  # as of a host


# --- actors ------------------------------------------------------------------------------------------


def test_the_owner_is_the_actor_unless_somebody_else_is(ana: Any) -> None:
    """R36: an administrator, or nobody from a shell."""
    boss = make_user("boss@example.com")
    for actor, shown in ((None, str(ana.pk)), (boss, str(boss.pk)), ("", "")):
        key, _ = create_key(ana, name="ci", actor=actor)
        change_key(key, name="new", actor=actor)
        successor, _ = rotate(key, actor=actor)
        assert revoke(successor, reason="x", actor=actor)
        for event in ("authn_token_created", "authn_api_key_changed", "authn_api_key_rotated", "authn_api_key_revoked"):
            told = named(event)[-1]
            assert (told.user_id, told.actor_id) == (str(ana.pk), shown)


# --- changing and ending -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["user", "digest", "public_id", "revoked_at", "last_used_at", "nonsense"])
def test_only_some_of_a_key_can_be_changed(ana: Any, name: str) -> None:
    key, _ = create_key(ana, name="ci")
    with pytest.raises(TypeError, match=name):
        change_key(key, **{name: "x"})


def test_a_key_that_has_ended_meanwhile_cannot_be_changed(ana: Any) -> None:
    key, _ = create_key(ana, name="ci")
    APIKey.objects.update(revoked_at=timezone.now())
    with pytest.raises(NotFound):
        change_key(key, name="new")


def test_a_key_is_revoked_once_and_told_once(ana: Any) -> None:
    key, _ = create_key(ana, name="ci")
    assert [revoke(key, reason="x"), revoke(key, reason="x")] == [True, False]
    assert len(named("authn_api_key_revoked")) == 1


@pytest.mark.parametrize("field", ["revoked_at", "retires_at", "expires_at"])
def test_what_has_ended_is_not_replaced(ana: Any, field: str) -> None:
    key, _ = create_key(ana, name="ci")
    APIKey.objects.update(created_at=timezone.now() - 2 * DAY, **{field: timezone.now() - DAY})
    with pytest.raises(PolicyRejected):
        rotate(key)
    assert APIKey.objects.count() == 1


def test_a_successor_lives_as_long_as_the_key_was_made_for(ana: Any, clock: Any) -> None:
    key, _ = create_key(ana, name="ci", expires_at=timezone.now() + 30 * DAY)
    clock.forward(days=20)
    successor, _ = rotate(key)
    assert successor.expires_at - successor.created_at == key.expires_at - key.created_at
    APIKey.objects.filter(pk=successor.pk).update(created_at=timezone.now() - 900 * DAY)  # by a shell
    third, _ = rotate(successor)
    assert third.expires_at - third.created_at == policy.MAX_LIFETIME


def test_a_successor_is_like_the_row_and_not_like_what_a_caller_remembers(ana: Any) -> None:
    """Scopes that were just taken away must not come back."""
    key, _ = create_key(ana, name="ci", scopes=["a", "b"])
    change_key(APIKey.objects.get(), scopes=["a"])
    assert key.scopes == ["a", "b"]
    assert rotate(key)[0].scopes == ["a"]


def test_an_overlap_may_be_chosen_and_is_not_negative(ana: Any) -> None:
    key, _ = create_key(ana, name="ci")
    with pytest.raises(ValueError, match="not negative"):
        rotate(key, overlap=-DAY)
    rotate(key, overlap=5 * DAY)
    key.refresh_from_db()
    assert key.retires_at is not None
    assert timedelta(days=4, hours=23) < key.retires_at - timezone.now() <= 5 * DAY
    assert key.is_alive


def test_alive_says_in_python_what_it_says_in_sql(ana: Any) -> None:
    now = timezone.now()
    for revoked in (None, now - DAY):
        for expires in (now + DAY, now - DAY):
            for retires in (None, now + DAY, now - DAY):
                key, _ = create_key(ana, name="ci")
                changes = {"revoked_at": revoked, "expires_at": expires, "retires_at": retires}
                APIKey.objects.filter(pk=key.pk).update(created_at=now - 2 * DAY, **changes)
                key.refresh_from_db()
                assert key.is_alive == APIKey.objects.alive().filter(pk=key.pk).exists()
                assert key.is_alive == (revoked is None and expires > now and (retires is None or retires > now))
                key.delete()


def test_what_ended_long_ago_is_purged(ana: Any) -> None:
    now = timezone.now()
    fates: list[dict[str, Any]] = [
        {}, {"revoked_at": now}, {"retires_at": now + DAY}, {"revoked_at": now - 40 * DAY},
        {"retires_at": now - 40 * DAY}, {"expires_at": now - 40 * DAY},
    ]  # fmt: skip
    for fate in fates:
        key, _ = create_key(ana, name="ci")
        APIKey.objects.filter(pk=key.pk).update(created_at=now - 90 * DAY, **fate)
    assert purge(before=now - 30 * DAY) == 3
    assert APIKey.objects.count() == 3


def test_a_predecessor_can_be_purged_before_its_successor(ana: Any) -> None:
    key, _ = create_key(ana, name="ci")
    successor, _ = rotate(key)
    APIKey.objects.filter(pk=key.pk).update(retires_at=timezone.now() - 40 * DAY)
    assert purge(before=timezone.now() - 30 * DAY) == 1
    assert APIKey.objects.get() == successor


# --- in a caller's transaction -----------------------------------------------------------------------


def test_without_a_request_in_progress_the_last_use_is_written_in_the_callers_transaction(ana: Any, rf: Any) -> None:
    _, text = create_key(ana, name="ci")
    assert connection.in_atomic_block
    proof = prove(text, request=from_here(rf))
    assert (proof.user, proof.scopes) == (ana, frozenset())
    assert APIKey.objects.get().last_used_at is not None


def test_a_last_use_that_fails_takes_no_transaction_down(ana: Any, rf: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """R51: a caller's transaction goes on."""
    _, text = create_key(ana, name="ci")

    def fail(*_: Any) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")
        return True

    monkeypatch.setattr(services, "_swap_last_use", fail)
    prove(text, request=from_here(rf))
    assert APIKey.objects.get().last_used_at is None  # PostgreSQL would answer that the transaction is aborted


def test_of_two_requests_that_read_the_same_last_use_one_writes(ana: Any, rf: Any) -> None:
    key, text = create_key(ana, name="ci")
    row, _ = services._read(key.public_id)
    assert row is not None
    prove(text, request=from_here(rf))
    before = APIKey.objects.get().last_used_at
    services._write_use(row, parse_api_key(text), timezone.now() + DAY)
    assert APIKey.objects.get().last_used_at == before
    assert len(named("authn_api_key_used_first")) == 1
