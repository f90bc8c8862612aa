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
    assert {"secure_auth_keys", "secure_auth_sessions", "secure_auth_purge"} <= set(COMMANDS)


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
    SecurityEvent.objects.all()._raw_delete("default")
    for age in ages:
        SecurityEvent.objects.create(occurred_at=now - age)
    settings.DJANGO_SECURE_AUTH = {"AUDIT_RETENTION": timedelta(days=30)}
    assert run("secure_auth_purge") == (
        "1 sessions deleted\n2 challenges and devices deleted\n1 security events deleted\n"
    )
    assert run("secure_auth_purge", "--older-than-days", "10") == (
        "1 sessions deleted\n2 challenges and devices deleted\n0 security events deleted\n"
    )
    assert run("secure_auth_purge", "--older-than-days", "1").startswith("0 sessions deleted\n")
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
