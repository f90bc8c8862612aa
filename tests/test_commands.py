"""Management commands: they check their input, say what they did, and have help worth reading."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_secure_auth.apikeys.models import APIKey
from django_secure_auth.apikeys.services import create_key
from django_secure_auth.audit import events
from django_secure_auth.audit.models import SecurityEvent
from django_secure_auth.audit.services import record
from django_secure_auth.checks import check_settings
from django_secure_auth.conf import signing_ring
from django_secure_auth.exceptions import TokenInvalid
from django_secure_auth.otp.models import OTPChallenge, TrustedDevice
from django_secure_auth.sessions.models import Session
from django_secure_auth.sessions.services import open_session
from django_secure_auth.testing import sign_in
from django_secure_auth.tokens.services import issue, read_access_token, rotate

COMMANDS = sorted(name for name, app in get_commands().items() if app == "django_secure_auth")


def run(*args: str) -> str:
    out = StringIO()
    call_command(*args, stdout=out)
    return out.getvalue()


def refusal(*args: str) -> str:
    with pytest.raises(CommandError) as caught:
        run(*args)
    return str(caught.value)


@pytest.fixture
def ana(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ana", "ana@example.com", "x")


@pytest.fixture
def ben(django_user_model: Any) -> Any:
    return django_user_model.objects.create_user("ben", "ben@example.com", "x")


def test_the_commands_are_those_of_the_contract() -> None:
    """And one more, which the contract's list does not name."""
    wanted = {"secure_auth_keys", "secure_auth_sessions", "secure_auth_purge"}
    assert wanted | {"secure_auth_apikeys"} <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_is_worth_reading(name: str) -> None:
    parser = load_command_class("django_secure_auth", name).create_parser("manage.py", name)
    assert len(parser.description or "") > 60
    text = parser.format_help()
    for action in parser._actions:
        assert action.help, f"{name}: {action.dest} has no help"
        assert max([*action.option_strings, action.dest], key=len) in text or action.choices


# --- secure_auth_keys --------------------------------------------------------------------------------


def entries_in(output: str) -> list[dict[str, str]]:
    return [json.loads(text) for text in re.findall(r"\{.*?\}", output, re.DOTALL)]


def entry_in(output: str) -> dict[str, str]:
    return entries_in(output)[0]


@pytest.mark.control("ASVS-11.6.1")
@pytest.mark.parametrize("alg", ["HS256", "EdDSA", "ES256", "PS256"])
def test_a_generated_signing_key_can_be_pasted_into_the_settings(alg: str, settings: Any) -> None:
    output = run("secure_auth_keys", "generate", "--alg", alg)
    entry = entry_in(output)
    assert "SIGNING_KEYS" in output
    settings.DJANGO_SECURE_AUTH = {"SIGNING_KEYS": [entry]}
    assert check_settings() == []
    assert (signing_ring().first.kid, signing_ring().first.alg) == (entry["kid"], alg)
    assert (f"{entry['kid']}:{entry['key']}" in output) == (alg == "HS256")


def test_a_generated_encryption_key_can_be_pasted_too(settings: Any) -> None:
    output = run("secure_auth_keys", "generate", "--encryption")
    entry = entry_in(output)
    assert entry.keys() == {"kid", "key"}
    settings.DJANGO_SECURE_AUTH = {"ENCRYPTION_KEYS": [entry]}
    assert check_settings() == []
    assert f"{entry['kid']}:{entry['key']}" in output


def test_every_generated_key_is_new() -> None:
    entries = [entry_in(run("secure_auth_keys", "generate")) for _ in range(3)]
    assert len({entry["kid"] for entry in entries}) == len({entry["key"] for entry in entries}) == 3


STEPS = ("LAST", "deploy everywhere", "FIRST", "deploy everywhere", "remove them")


@pytest.mark.parametrize("option", [(), ("--encryption",)])
def test_a_rotation_has_an_order_in_which_nobody_is_signed_out(option: tuple[str, ...]) -> None:
    """A new key that signs before all processes know it makes tokens that the others refuse."""
    output = run("secure_auth_keys", "rotate", *option)
    assert entry_in(output)
    places = [0]
    for step in STEPS:
        places.append(output.index(step, places[-1]))
    assert ("ENCRYPTION_KEYS" if option else "SIGNING_KEYS") in output
    assert ("secure_auth_apikeys list" in output) == bool(option)  # these live longer than what is waited for
    assert ("AUDIT_RETENTION (365 days" in output) == bool(option)  # and marks in the trail longer still
    assert ("SIGNING_KEYS" if option else "ENCRYPTION_KEYS") not in output


def test_a_rotation_says_how_long_to_wait(settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"ACCESS_TOKEN_TTL": timedelta(minutes=7), "CLOCK_LEEWAY": timedelta(seconds=5)}
    assert "0:07:05" in run("secure_auth_keys", "rotate")
    assert "180 days" in run("secure_auth_keys", "rotate", "--encryption")
    settings.DJANGO_SECURE_AUTH = {"TRUSTED_DEVICE_TTL": timedelta(days=1), "REMEMBER_ABSOLUTE_TIMEOUT": timedelta(2)}
    assert "12:00:00" not in run("secure_auth_keys", "rotate", "--encryption")
    assert "2 days" in run("secure_auth_keys", "rotate", "--encryption")
    settings.DJANGO_SECURE_AUTH |= {"SESSION_ABSOLUTE_TIMEOUT": timedelta(days=3)}
    assert "3 days" in run("secure_auth_keys", "rotate", "--encryption")


@pytest.mark.django_db
def test_the_first_rotation_away_from_derived_keys_signs_nobody_out(ana: Any, settings: Any, rf: Any) -> None:
    """Check W001 asks for keys of one's own: what was made with the derived ones is understood as long as they stay."""
    settings.SECRET_KEY_FALLBACKS = ["the secret of last year: 8f1d0b3c9a7e5d2f4b6a"]
    tokens = issue(open_session(ana, request=rf.get("/"), amr=["pwd"]))
    signing, roots = (entries_in(run("secure_auth_keys", "rotate", *option)) for option in ((), ("--encryption",)))
    assert len(signing) == len(roots) == 3  # the new one, that of SECRET_KEY, that of its fallback
    settings.DJANGO_SECURE_AUTH = {"SIGNING_KEYS": signing[:1], "ENCRYPTION_KEYS": roots[:1]}
    with pytest.raises(TokenInvalid):
        read_access_token(tokens.access)
    with pytest.raises(TokenInvalid):
        rotate(tokens.refresh, request=rf.get("/"))
    settings.DJANGO_SECURE_AUTH = {"SIGNING_KEYS": signing, "ENCRYPTION_KEYS": roots}
    assert check_settings() == []
    assert read_access_token(tokens.access).user_id == str(ana.pk)
    assert rotate(tokens.refresh, request=rf.get("/")).session.generation == 2


def test_a_rotation_of_keys_of_ones_own_prints_no_other_key(settings: Any) -> None:
    signing = entry_in(run("secure_auth_keys", "generate"))
    settings.DJANGO_SECURE_AUTH = {"SIGNING_KEYS": [signing]}
    output = run("secure_auth_keys", "rotate")
    assert len(entries_in(output)) == 1
    assert signing["key"] not in output
    assert len(entries_in(run("secure_auth_keys", "rotate", "--encryption"))) == 2  # these are still derived


@pytest.mark.parametrize("action", ["generate", "rotate"])
def test_secrets_are_written_to_standard_output_and_nowhere_else(
    action: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = entries_in(run("secure_auth_keys", action))
    assert entries
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


def test_the_list_shows_names_and_no_values(settings: Any) -> None:
    output = run("secure_auth_keys", "list")
    assert output.count("derived from SECRET_KEY") == 2
    signing = [entry_in(run("secure_auth_keys", "generate")) for _ in range(2)]
    roots = [entry_in(run("secure_auth_keys", "generate", "--encryption")) for _ in range(2)]
    settings.DJANGO_SECURE_AUTH = {"SIGNING_KEYS": signing, "ENCRYPTION_KEYS": roots}
    output = run("secure_auth_keys", "list")
    assert f"  {signing[0]['kid']}  HS256  signs and verifies\n  {signing[1]['kid']}  HS256  verifies\n" in output
    assert f"  {roots[0]['kid']}  used\n  {roots[1]['kid']}  understood\n" in output
    assert not any(entry["key"] in output for entry in signing + roots)


@pytest.mark.parametrize("args", [(), ("burn",), ("generate", "--alg", "none"), ("generate", "--alg", "RS256")])
def test_keys_checks_its_input(args: tuple[str, ...]) -> None:
    assert refusal("secure_auth_keys", *args).startswith("Error: ")


# --- secure_auth_sessions ----------------------------------------------------------------------------


@pytest.mark.django_db
def test_living_sessions_are_listed(ana: Any, ben: Any) -> None:
    first, second, over = (sign_in(Client(), user) for user in (ana, ben, ben))
    Session.objects.filter(pk=over.pk).update(revoked_at=timezone.now())
    output = run("secure_auth_sessions", "list")
    assert str(first.pk) in output
    assert str(second.pk) in output
    assert str(over.pk) not in output
    assert output.endswith("2 living sessions\n")
    assert first.salt not in output
    output = run("secure_auth_sessions", "list", "--user", " ANA@example.com ")
    assert str(first.pk) in output
    assert output.endswith("1 living sessions\n")


@pytest.mark.django_db
def test_sessions_end_at_once_for_one_user_only(ana: Any, ben: Any) -> None:
    client, other = Client(), Client()
    session = sign_in(client, ana)
    sign_in(Client(), ana)
    sign_in(other, ben)
    assert run("secure_auth_sessions", "end", "--user", "ana@example.com") == "2 sessions ended\n"
    assert client.get(reverse("probe")).status_code == 401
    assert other.get(reverse("probe")).status_code == 200
    session.refresh_from_db()
    assert session.revoked_reason == "command"
    told = SecurityEvent.objects.filter(event="authn_token_revoked", user_id=str(ana.pk))
    assert told.count() == 2
    assert {event.actor_id for event in told} == {""}  # a shell knows no user
    assert run("secure_auth_sessions", "end", "--user", "ana@example.com") == "0 sessions ended\n"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("choose", "ended"),
    [
        (lambda session: ("--id", str(session.pk)), 1),
        (lambda session: ("--idle-for", "90s"), 1),
        (lambda session: ("--idle-for", "30m"), 0),
        (lambda session: ("--idle-for", "1h"), 0),
        (lambda session: ("--idle-for", "7d"), 0),
        (lambda session: ("--all",), 2),
    ],
)
def test_the_filters_choose(choose: Callable[[Session], tuple[str, ...]], ended: int, ana: Any) -> None:
    session = sign_in(Client(), ana)
    sign_in(Client(), ana)
    Session.objects.filter(pk=session.pk).update(last_seen_at=timezone.now() - timedelta(minutes=5))
    assert run("secure_auth_sessions", "end", *choose(session)) == f"{ended} sessions ended\n"
    session.refresh_from_db()
    assert (session.revoked_at is not None) == bool(ended)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "required: action"),
        (("burn",), "invalid choice"),
        (("end",), "Say which: --user, --id, --idle-for, or --all."),
        (("end", "--user", ""), "Say which"),
        (("end", "--user", "nobody@example.com"), "There is no account with the address 'nobody@example.com'."),
        (("list", "--id", "not-a-uuid"), "argument --id"),
        (("list", "--idle-for", "soon"), "'soon' is not a duration; write for example 30m, 12h or 7d"),
        (("list", "--idle-for", "0m"), "is not a duration"),
        (("list", "--idle-for", "-5m"), "argument --idle-for"),
        (("list", "--idle-for", "٣m"), "is not a duration"),
        (("list", "--idle-for", "999999d"), "is not a duration"),
    ],
)
def test_sessions_checks_its_input(args: tuple[str, ...], message: str, ana: Any) -> None:
    sign_in(Client(), ana)
    assert message in refusal("secure_auth_sessions", *args)
    assert Session.objects.alive().count() == 1


# --- secure_auth_apikeys -----------------------------------------------------------------------------


def key_in(output: str) -> str:
    return output.splitlines()[-1]


def answers(text: str) -> int:
    return int(Client().get(reverse("program"), headers={"X-API-Key": text}).status_code)


@pytest.mark.django_db
def test_a_made_key_is_printed_once_and_works(ana: Any, caplog: pytest.LogCaptureFixture) -> None:
    output = run(
        "secure_auth_apikeys", "create", "--user", " ANA@example.com ", "--name", "nightly export",
        "--scope", "reports:read", "--scope", "notes:write", "--network", "127.0.0.0/8", "--rate", "100/min",
        "--expires-in", "90d",
    )  # fmt: skip
    text = key_in(output)
    key = APIKey.objects.get()
    assert output.startswith(f"# {key.public_id}, until ")
    assert answers(text) == 200
    assert (key.user, key.name, key.rate_limit) == (ana, "nightly export", "100/min")
    assert (key.scopes, key.allowed_networks) == (["notes:write", "reports:read"], ["127.0.0.0/8"])
    assert timedelta(days=89, hours=23) < key.expires_at - key.created_at <= timedelta(days=90)
    event = SecurityEvent.objects.get(event="authn_token_created")
    assert (event.user_id, event.actor_id) == (str(ana.pk), "")  # a shell knows no user
    assert text[-49:] not in run("secure_auth_apikeys", "list") + caplog.text


@pytest.mark.django_db
def test_living_keys_are_listed(ana: Any, ben: Any, settings: Any) -> None:
    first, _ = create_key(ana, name="first", scopes=["reports:read"])
    second, _ = create_key(ben, name="second")
    over, _ = create_key(ben, name="over")
    APIKey.objects.filter(pk=over.pk).update(revoked_at=timezone.now())
    APIKey.objects.filter(pk=first.pk).update(last_used_at=timezone.now())
    run("secure_auth_apikeys", "rotate", "--id", second.public_id)
    output = run("secure_auth_apikeys", "list")
    assert output.endswith("3 living API keys\n")
    (line,) = [line for line in output.splitlines() if first.public_id in line]
    assert "'first'  scopes reports:read  until " in line
    assert "last used " in line
    (line,) = [line for line in output.splitlines() if second.public_id in line]
    assert "scopes -  until " in line
    assert "never used  retires " in line
    assert over.public_id not in output
    assert "old root key" not in output
    assert run("secure_auth_apikeys", "list", "--user", "ana@example.com").endswith("1 living API keys\n")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "2c4e6a8b0d1f3e5c7a9b another", [settings.SECRET_KEY]
    assert run("secure_auth_apikeys", "list").count("under an old root key") == 3


@pytest.mark.django_db
def test_a_key_is_rotated_and_revoked_by_its_public_id(ana: Any) -> None:
    key, old = create_key(ana, name="ci")
    new = key_in(run("secure_auth_apikeys", "rotate", "--id", key.public_id, "--overlap", "12h"))
    assert [answers(text) for text in (old, new)] == [200, 200]
    key.refresh_from_db()
    assert key.retires_at is not None
    assert key.retires_at - timezone.now() < timedelta(hours=12)
    successor = APIKey.objects.get(replaces=key.pk)
    assert run("secure_auth_apikeys", "revoke", "--id", successor.public_id) == f"{successor.public_id} revoked\n"
    assert [answers(text) for text in (old, new)] == [200, 401]
    event = SecurityEvent.objects.get(event="authn_api_key_revoked")
    assert (event.actor_id, event.details["reason"]) == ("", "command")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "required: action"),
        (("burn",), "invalid choice"),
        (("create",), "Say for whom and what it is called: --user and --name."),
        (("create", "--user", "ana@example.com"), "Say for whom and what it is called"),
        (("create", "--user", "nobody@example.com", "--name", "x"), "There is no account with the address"),
        (("create", "--user", "ana@example.com", "--name", " "), "1 to 100 printable characters."),
        (("create", "--user", "ana@example.com", "--name", "x", "--scope", "a b"), "'a b' is no scope"),
        (("create", "--user", "ana@example.com", "--name", "x", "--network", "here"), "'here' is no network"),
        (("create", "--user", "ana@example.com", "--name", "x", "--rate", "often"), "'often' is no rate"),
        (("create", "--user", "ana@example.com", "--name", "x", "--expires-in", "400d"), "at most one year"),
        (("create", "--user", "ana@example.com", "--name", "x", "--expires-in", "soon"), "is not a duration"),
        (("create", "--user", "ben@example.com", "--name", "x"), "At most 1 API keys: revoke one first."),
        (("list", "--user", "nobody@example.com"), "There is no account with the address"),
        (("rotate",), "Say which: --id."),
        (("rotate", "--id", "nonsense"), "There is no living API key 'nonsense'."),
        (("revoke",), "Say which: --id."),
        (("revoke", "--id", "nonsense"), "There is no living API key 'nonsense'."),
    ],
)
def test_apikeys_checks_its_input(args: tuple[str, ...], message: str, ana: Any, ben: Any, settings: Any) -> None:
    settings.DJANGO_SECURE_AUTH = {"MAX_API_KEYS_PER_USER": 1}
    create_key(ben, name="his")
    assert message in refusal("secure_auth_apikeys", *args)
    assert APIKey.objects.alive().count() == 1


@pytest.mark.django_db
def test_a_key_that_was_replaced_is_not_replaced_again(ana: Any) -> None:
    key, _ = create_key(ana, name="ci")
    run("secure_auth_apikeys", "rotate", "--id", key.public_id)
    message = refusal("secure_auth_apikeys", "rotate", "--id", key.public_id)
    assert message == "This key has ended or was replaced already."


@pytest.mark.django_db
def test_a_key_for_an_account_that_is_deleted_meanwhile(ana: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_secure_auth.management.commands.secure_auth_apikeys.find_account", lambda _: ana)
    type(ana).objects.filter(pk=ana.pk).delete()
    message = refusal("secure_auth_apikeys", "create", "--user", "ana@example.com", "--name", "x")
    assert message == "There is nothing here for you."


# --- secure_auth_purge -------------------------------------------------------------------------------


@pytest.mark.control("ASVS-14.2.7")
@pytest.mark.django_db
def test_what_is_long_over_is_deleted_and_the_rest_stays(ana: Any, settings: Any) -> None:
    now = timezone.now()
    ages = [timedelta(days=days) for days in (0, 20, 40)]
    for age in ages:
        session = sign_in(Client(), ana)
        Session.objects.filter(pk=session.pk).update(idle_at=now - age + timedelta(minutes=5))
        common: dict[str, Any] = {"expires_at": now - age + timedelta(minutes=5)}
        OTPChallenge.objects.create(secret_digest=f"{age}", key_id="k", resend_at=now, **common)
        TrustedDevice.objects.create(user=ana, secret_digest=f"{age}", **common)
        key, _ = create_key(ana, name="ci")
        APIKey.objects.filter(pk=key.pk).update(created_at=now - timedelta(days=90), **common)
    SecurityEvent.objects.all()._raw_delete("default")
    for age in reversed(ages):
        SecurityEvent.objects.create(occurred_at=now - age)
    settings.DJANGO_SECURE_AUTH = {"AUDIT_RETENTION": timedelta(days=30)}
    assert run("secure_auth_purge") == (
        "0 closed accounts deleted\n"
        "1 sessions deleted\n2 challenges and devices deleted\n0 mailed links deleted\n0 claims of addresses deleted\n"
        "1 API keys deleted\n1 security events deleted\n"
    )
    assert run("secure_auth_purge", "--older-than-days", "10") == (
        "0 closed accounts deleted\n"
        "1 sessions deleted\n2 challenges and devices deleted\n0 mailed links deleted\n0 claims of addresses deleted\n"
        "1 API keys deleted\n0 security events deleted\n"
    )
    said = run("secure_auth_purge", "--older-than-days", "1")
    assert said.startswith("0 closed accounts deleted\n0 sessions deleted\n")
    assert Session.objects.alive().count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("days", ["0", "-1", "3651", "1.5", "", "ten", "1e3", "٣", "9" * 5000, "0000013650", "1 "])
def test_purge_checks_its_input(days: str) -> None:
    record(events.OTP_SENT)
    message = refusal("secure_auth_purge", "--older-than-days", days)
    assert re.search(r"is not a number of days from 1 to 3650|expected one argument", message)
    assert SecurityEvent.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("days", ["1", "3650"])
def test_purge_takes_the_bounds(days: str) -> None:
    assert run("secure_auth_purge", "--older-than-days", days)
