"""testproject says at its start what is missing, and its example file is true."""

from __future__ import annotations

import ast
import re
import subprocess
from hashlib import sha256, sha384

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from django_secure_auth.kit.keys import b64encode
from testproject.environment import Incomplete, key_pairs, refuse_incomplete
from tests.testproject.server import ROOT, Manage

REQUIRED = (
    "SECRET_KEY", "ALLOWED_HOSTS", "BASE_URL", "EMAIL_URL", "SECURE_AUTH_SIGNING_KEYS", "SECURE_AUTH_ENCRYPTION_KEYS",
)  # fmt: skip
LOW = b64encode(bytes(range(32)))
# Good keys that are the same in every process that collects these tests.
STRONG, OTHER = (b64encode(sha256(name).digest()) for name in (b"one key", b"another key"))
LONG = b64encode(sha384(b"a key").digest())
PUBLIC = b64encode(
    Ed25519PrivateKey.from_private_bytes(sha256(b"a pair").digest())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
)


def complaints(environment: dict[str, str]) -> list[str]:
    try:
        refuse_incomplete(environment)
    except Incomplete as refusal:
        return str(refusal).split("\n  - ")[1:]
    return []


def test_a_production_start_with_nothing_set_names_every_missing_value_in_one_message(manage: Manage) -> None:
    done = manage("check", DEBUG="0", **dict.fromkeys(REQUIRED, ""))
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert [line.split()[1] for line in done.stderr.splitlines() if line.startswith("  - ")] == list(REQUIRED)


@pytest.mark.parametrize("missing", REQUIRED)
def test_one_missing_value_stops_the_start_and_is_the_only_one_named(missing: str, production: dict[str, str]) -> None:
    del production[missing]
    (complaint,) = complaints(production)
    assert complaint.startswith(f"{missing} is missing")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "x" * 60),
        ("SECRET_KEY", "django-insecure-for-development-on-this-machine-only"),
        ("ALLOWED_HOSTS", "*"),
        ("ALLOWED_HOSTS", "auth.example.com,*"),
        ("ALLOWED_HOSTS", " , "),
        ("BASE_URL", "http://auth.example.com"),
        ("CORS_ALLOWED_ORIGINS", "*"),
        ("CORS_ALLOWED_ORIGINS", "null"),
        ("CORS_ALLOWED_ORIGINS", "https://app.example.com,http://app.example.com"),
        ("BASE_URL", "auth.example.com"),
        ("BASE_URL", "https://"),
        ("BASE_URL", "https://["),
        ("BASE_URL", "https://auth.example.com/path"),
        ("BASE_URL", "https://ana:secret@auth.example.com"),
        ("BASE_URL", "https://auth.example.com:port"),
        ("BASE_URL", "https://auth.example.com?a=b"),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("SECRET_KEY_FALLBACKS", f"{STRONG},{'x' * 60}"),
        ("EMAIL_URL", "consolemail://"),
        ("EMAIL_URL", "dummymail://"),
        ("EMAIL_URL", "filemail:///tmp"),
        ("EMAIL_URL", "memorymail://"),
        ("SECURE_AUTH_SIGNING_KEYS", "no-colon"),
        ("SECURE_AUTH_SIGNING_KEYS", "k1:c2hvcnQ"),
        ("SECURE_AUTH_SIGNING_KEYS", "k1:not base64!"),
        ("SECURE_AUTH_SIGNING_KEYS", f"k1:{LOW}"),
        ("SECURE_AUTH_SIGNING_KEYS", f"k1:{STRONG},k1:{OTHER}"),
        ("SECURE_AUTH_SIGNING_KEYS", f"é:{STRONG}"),
        ("SECURE_AUTH_SIGNING_KEYS", f"{'k' * 256}:{STRONG}"),
        ("SECURE_AUTH_SIGNING_KEYS", f"k1:{PUBLIC}"),
        ("SECURE_AUTH_ENCRYPTION_KEYS", "e1:"),
        ("SECURE_AUTH_ENCRYPTION_KEYS", f"e1:{LOW}"),
        ("SECURE_AUTH_ENCRYPTION_KEYS", f"e1:{LONG}"),
        ("SECURE_AUTH_ENCRYPTION_KEYS", f"e1:{STRONG},e1:{OTHER}"),
        ("SECURE_AUTH_ENCRYPTION_KEYS", f"é:{STRONG}"),
        ("SECURE_AUTH_ENCRYPTION_KEYS", f"{'k' * 65}:{STRONG}"),
    ],
)
def test_a_weak_value_stops_the_start(name: str, value: str, production: dict[str, str]) -> None:
    (complaint,) = complaints({**production, name: value})
    assert complaint.startswith(name)
    if "KEY" in name and len(value) > 10:
        assert value not in complaint  # the message goes to logs


def test_one_key_in_both_sets_stops_the_start(production: dict[str, str]) -> None:
    for padding in ("", "="):
        keys = {"SECURE_AUTH_SIGNING_KEYS": f"k1:{STRONG}", "SECURE_AUTH_ENCRYPTION_KEYS": f"e1:{STRONG}{padding}"}
        (complaint,) = complaints({**production, **keys})
        assert complaint.startswith("SECURE_AUTH_ENCRYPTION_KEYS")
        assert STRONG not in complaint


def test_a_retired_key_that_is_strong_or_not_there_is_no_complaint(production: dict[str, str]) -> None:
    for value in ("", STRONG, f"{STRONG},{OTHER}", f",{STRONG},"):
        assert complaints({**production, "SECRET_KEY_FALLBACKS": value}) == []


def test_all_that_is_weak_is_listed_at_once(production: dict[str, str]) -> None:
    weak = {**production, "SECRET_KEY": "short", "ALLOWED_HOSTS": "*", "EMAIL_URL": "", "BASE_URL": "http://x"}
    assert [complaint.split()[0] for complaint in complaints(weak)] == list(REQUIRED[:4])


def test_several_keys_may_stand_in_one_value() -> None:
    assert key_pairs(f"new:{LOW}, old:{LOW}=") == [("new", LOW), ("old", f"{LOW}=")]


def issues(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"\(((?:secure_auth|security)\.[EW][0-9]+)\)", done.stderr)


def test_a_complete_environment_starts_and_the_deploy_checks_have_nothing_to_say(
    manage: Manage, production: dict[str, str]
) -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", **production)
    assert done.returncode == 0, done.stderr
    assert issues(done) == []


def test_without_broker_and_shared_cache_production_starts_and_the_checks_say_what_is_lacking(
    manage: Manage, production: dict[str, str]
) -> None:
    for name in ("CELERY_BROKER_URL", "CACHE_URL", "STATE_CACHE"):
        del production[name]
    done = manage("check", "--deploy", **production)
    assert done.returncode == 0, done.stderr
    # W003: mail in process; W004: limits counted by each process for itself.
    assert issues(done) == ["secure_auth.W003", "secure_auth.W004"]


def test_keys_made_by_the_command_are_accepted_as_they_are_printed(manage: Manage, production: dict[str, str]) -> None:
    for name, options in (("SECURE_AUTH_SIGNING_KEYS", ()), ("SECURE_AUTH_ENCRYPTION_KEYS", ("--encryption",))):
        production[name] = manage("secure_auth_keys", "generate", *options).stdout.splitlines()[-1]
    assert complaints(production) == []


# --- .env.example ------------------------------------------------------------------------------------


def example() -> dict[str, str]:
    lines = (ROOT / ".env.example").read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := re.match(r"#?([A-Z][A-Z_]*)=(.*)$", line))}


def variables_read() -> set[str]:
    """Every `env.<type>("NAME", …)` of settings.py; a name that is not written out would be a hole in this test."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "testproject/settings.py").read_text())):
        if isinstance(node, ast.Call) and re.fullmatch(r"env\.(?!read_env)\w+", ast.unparse(node.func)):
            found.add(ast.literal_eval(node.args[0]))
    return found


def test_the_example_file_lists_exactly_the_variables_that_the_settings_read() -> None:
    assert set(example()) == variables_read()


def test_the_example_file_marks_what_production_requires() -> None:
    blocks = re.findall(r"((?:^# .*\n)+)((?:^#?[A-Z_]+=.*\n)+)", (ROOT / ".env.example").read_text(), re.MULTILINE)
    marked = {name for text, lines in blocks if "(*)" in text for name in re.findall(r"^#?([A-Z_]+)=", lines, re.M)}
    assert marked == set(REQUIRED)


def test_the_example_file_as_it_is_starts_a_development_server(manage: Manage) -> None:
    used = [line for line in (ROOT / ".env.example").read_text().splitlines() if re.match(r"[A-Z]", line)]
    done = manage("check", **dict(line.split("=", 1) for line in used))
    assert done.returncode == 0, done.stderr
