"""Passwords of known breaches: a filter on disk, a range service, and what happens when neither answers."""

from __future__ import annotations

import hashlib
import os
import sys
import unicodedata
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.contrib.auth.password_validation import get_password_validators
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from pwned_passwords_django.api import PwnedPasswords

from django_secure_auth.passwords import breached, presets
from django_secure_auth.passwords.checks import find_weak_rules
from django_secure_auth.passwords.validators import BreachedPasswordValidator
from tests.browser import named

LISTED = "a phrase that has leaked"
FRESH = "a phrase that nobody has"


def sha1(password: str) -> str:
    return hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


@pytest.fixture
def a_filter(tmp_path: Path) -> str:
    source = tmp_path / "source.txt"
    source.write_text(f"{sha1(LISTED)}:12\n{sha1('seen once')}:1\nas it was typed\n{sha1('café au lait ☕').lower()}\n")
    breached.build(source, tmp_path / "breached.bloom", at_least=2)
    return str(tmp_path / "breached.bloom")


def refusal(password: str) -> str | None:
    try:
        BreachedPasswordValidator().validate(password)
    except ValidationError as error:
        return error.code
    return None


@pytest.mark.control("ASVS-6.2.12", "NIST-63B-3.1.1.2-b", "TOP10-A07:2025")
def test_a_listed_password_is_refused_whole_and_no_other(a_filter: str, configure: Callable[..., None]) -> None:
    configure(BREACHED_PASSWORDS_FILE=a_filter)
    assert refusal(LISTED) == "password_breached"
    assert refusal("as it was typed") == "password_breached"
    assert refusal(unicodedata.normalize("NFD", "café au lait ☕")) == "password_breached"
    assert refusal("seen once") is None
    assert refusal(LISTED + "!") is None
    assert refusal(FRESH) is None


def test_the_preset_asks_and_without_data_nothing_is_refused() -> None:
    preset = get_password_validators(presets.AUTH_PASSWORD_VALIDATORS)
    assert [one for one in preset if isinstance(one, BreachedPasswordValidator)]
    assert refusal(LISTED) is None
    assert "elsewhere" in BreachedPasswordValidator().get_help_text()


def test_nothing_is_missed_and_the_stated_rate_is_kept(tmp_path: Path) -> None:
    """20,000 listed, all found; of 100,000 others, one in a hundred is promised and twice as many would be a defect."""
    source, target = tmp_path / "source.txt", tmp_path / "filter"
    source.write_text("".join(f"listed {number}\n" for number in range(20_000)))
    assert breached.build(source, target, false_positives=0.01) == 20_000
    assert target.stat().st_size < 20_000 * 1.3
    assert all(breached.is_in_filter(f"listed {number}", str(target)) for number in range(20_000))
    wrong = sum(breached.is_in_filter(f"other {number}", str(target)) for number in range(100_000))
    assert 500 < wrong < 2000


def test_a_filter_that_is_replaced_is_read_anew(a_filter: str, tmp_path: Path) -> None:
    assert not breached.is_in_filter(FRESH, a_filter)
    (tmp_path / "new.txt").write_text(FRESH + "\n")
    breached.build(tmp_path / "new.txt", Path(a_filter))
    os.utime(a_filter, (1, 1))
    assert breached.is_in_filter(FRESH, a_filter)


def test_what_is_no_source_leaves_no_file(tmp_path: Path) -> None:
    empty, target = tmp_path / "empty", tmp_path / "target"
    empty.write_text("\n")
    with pytest.raises(ValueError, match="no password"):
        breached.build(empty, target)
    with pytest.raises(ValueError, match="between 0 and 1"):
        breached.build(empty, target, false_positives=1)
    with pytest.raises(OSError, match="nowhere"):
        breached.build(tmp_path / "nowhere", target)
    assert [one.name for one in tmp_path.iterdir()] == ["empty"]


def test_the_command_makes_one_and_says_how_large_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target, out = tmp_path / "source", tmp_path / "target", StringIO()
    source.write_text(f"{sha1(LISTED)}:5\n")
    call_command("secure_auth_breached", "build", source, target, stdout=out)
    assert out.getvalue().startswith("1 passwords in ")
    with pytest.raises(CommandError, match="no password"):
        call_command("secure_auth_breached", "build", source, target, at_least=6)
    assert breached.is_in_filter(LISTED, str(target))
    forget_the_library(monkeypatch)
    with pytest.raises(CommandError, match=r"django-secure-auth\[breached\]"):
        call_command("secure_auth_breached", "build", source, target)


def forget_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("probables", "pwned_passwords_django.api"):
        monkeypatch.setitem(sys.modules, name, None)
    breached._opened.cache_clear()
    breached._client.cache_clear()


# --- the range service -------------------------------------------------------------------------------


def service(monkeypatch: pytest.MonkeyPatch, answer: Callable[[httpx.Request], httpx.Response]) -> list[httpx.Request]:
    """Put a transport that answers in the place of the network."""
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer(request)

    client = PwnedPasswords(client=httpx.Client(transport=httpx.MockTransport(handle)))
    monkeypatch.setattr(breached, "_client", lambda: client)
    return asked


@pytest.mark.control("ASVS-11.4.1")
def test_five_characters_leave_and_padding_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
) -> None:
    configure(BREACHED_PASSWORDS_API=True)
    asked = service(monkeypatch, lambda _: httpx.Response(200, text=f"{sha1(LISTED)[5:]}:3\r\n{'0' * 35}:0"))
    assert refusal(LISTED) == "password_breached"
    assert refusal(FRESH) is None
    assert [one.url.path for one in asked] == [f"/range/{sha1(LISTED)[:5]}", f"/range/{sha1(FRESH)[:5]}"]
    assert asked[0].headers["Add-Padding"] == "true"
    assert not asked[0].content


def _times_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("late", request=request)


@pytest.mark.django_db
@pytest.mark.control("ASVS-16.5.2", "APITOP10-API10:2023")
@pytest.mark.parametrize(
    "answer",
    [
        _times_out,
        lambda _: httpx.Response(503),
        lambda _: httpx.Response(200, text="<html>\n" * 1000),
        lambda _: httpx.Response(302, headers={"Location": "http://127.0.0.1/"}),
    ],
)
def test_a_service_that_does_not_answer_stops_nobody_and_is_told(
    answer: Any, monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
) -> None:
    configure(BREACHED_PASSWORDS_API=True)
    service(monkeypatch, answer)
    assert refusal(LISTED) is None
    assert named("breach_check_unavailable")[0].details == {"source": "api"}


def test_the_real_client_has_a_time_limit_and_follows_nobody() -> None:
    client = breached._client()
    assert client.request_timeout == httpx.Timeout(1.0)
    assert client.client.follow_redirects is False


# --- a file or a library that is not there -----------------------------------------------------------


@pytest.mark.django_db
def test_a_file_that_cannot_be_read_stops_nobody_and_is_told(tmp_path: Path, configure: Callable[..., None]) -> None:
    broken = tmp_path / "broken"
    broken.write_text("none")
    for path in (str(tmp_path / "nowhere"), str(broken)):
        configure(BREACHED_PASSWORDS_FILE=path)
        assert refusal(LISTED) is None
    assert [event.details for event in named("breach_check_unavailable")] == [{"source": "file"}] * 2


@pytest.mark.django_db
def test_a_check_names_a_file_or_a_library_that_is_missing(
    a_filter: str, monkeypatch: pytest.MonkeyPatch, configure: Callable[..., None]
) -> None:
    def found() -> list[str | None]:
        return [one.id for one in find_weak_rules()]

    assert found() == []
    for path in (a_filter, None):
        configure(BREACHED_PASSWORDS_FILE=path, BREACHED_PASSWORDS_API=True)
        assert found() == []
    configure(BREACHED_PASSWORDS_FILE=a_filter + "x")
    assert found() == ["secure_auth.W083"]
    configure(BREACHED_PASSWORDS_FILE=a_filter, BREACHED_PASSWORDS_API=True)
    forget_the_library(monkeypatch)
    assert found() == ["secure_auth.W083"]
    assert refusal(LISTED) is None
    assert len(named("breach_check_unavailable")) == 2
