"""Names of devices: from the library, or words of ours, and never the client's."""

from __future__ import annotations

import re
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit import user_agent
from django_secure_auth.kit.user_agent import MAX_LABEL, UNKNOWN, device_label

APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1"
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0"


@pytest.fixture
def without_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ua_parser", None)
    user_agent._library.cache_clear()
    device_label.cache_clear()
    monkeypatch.setattr(user_agent, "device_label", device_label)


@pytest.fixture(autouse=True)
def _forget() -> None:
    user_agent._library.cache_clear()
    device_label.cache_clear()


@pytest.mark.parametrize(
    ("agent", "label"),
    [
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/120.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36", "Chrome on macOS"),
        (f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) {APPLE}", "Mobile Safari on iPhone"),
        (f"Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) {APPLE}", "Mobile Safari on iPad"),
        (f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {CHROME} Mobile Safari/537.36", "Chrome Mobile on Android"),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {CHROME} Safari/537.36", "Chrome on ChromeOS"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        ("curl/8.1", "curl"),
        ("python-requests/2.31", "Python Requests"),
        ("", UNKNOWN),
        ("Call +1-555-0100 now, https://evil.example", UNKNOWN),
        ("CSimpleSpider/1.0 (Symbian/3) NokiaBrowser/7.3", "CSimpleSpider on Symbian^3 Anna"),
        # A piece of a pattern is not a name either.
        ("(Pinterest(?:bot|))/1.0 (+https://www.pinterest.com/bot.html)", UNKNOWN),
        # What the patterns take over from the client is left out, unless it is a word of theirs.
        ("EvilCorpBot/1.0", UNKNOWN),
        (f"Mozilla/5.0 (Linux; Android 14; <img src=x>) {CHROME} Mobile Safari/537.36", "Chrome Mobile on Android"),
    ],
)
def test_the_library_names_a_device(agent: str, label: str) -> None:
    assert device_label(agent) == label


@pytest.mark.usefixtures("without_library")
def test_without_it_a_few_words_of_ours_do() -> None:
    assert device_label(f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) {APPLE}") == "Safari on iPhone"
    assert device_label("python-requests/2.31") == UNKNOWN
    assert device_label("Firefox/1") == "Firefox"
    assert device_label(f"Mozilla/5.0 (Windows NT 10.0) {CHROME} Safari/537.36 Edg/120.0") == "Edge on Windows"
    assert device_label(f"Mozilla/5.0 (Linux; Android 14) {CHROME} Mobile Safari/537.36") == "Chrome on Android"
    assert device_label(f"Mozilla/5.0 (X11; Linux x86_64) {CHROME} Safari/537 OPR/106") == "Opera on Linux"
    assert device_label("curl/8.1 (Linux)") == "Linux"


PIECES = st.sampled_from([
    "Mozilla/5.0 ", "(X11; Linux x86_64)", "(iPhone; ", "Android 14; ", "Chrome/120 ", "Bot/1.0", "Version/17 ",
    "+https://evil.example", "<script>alert(1)</script>", "\r\nBcc: eve@evil.example", "\x00", "%0d%0a", "; Build/",
    "evil.example/1.0 ",
])  # fmt: skip
AGENTS = st.lists(PIECES | st.text(max_size=30), max_size=12).map("".join)


@given(AGENTS)
def test_whatever_a_client_says_the_name_is_short_printable_and_not_its_own(agent: str) -> None:
    label = device_label(agent)
    assert 0 < len(label) <= MAX_LABEL
    assert label.isprintable()
    assert not re.search(r"[<>@]|evil|://|Bcc", label), label
