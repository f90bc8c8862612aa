"""Public collections of hostile HTML, and what a grammar and a seed make: cleaned, nothing of it runs in Chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from django_secure_auth.kit.sanitize import PRESETS, HTMLRefused, clean_html, escape_html
from tests import reachable
from tests.kit.xss_corpora import bred, corpus, everything, names
from tests.kit.xss_grammar import VECTORS, inputs
from tests.kit.xss_judge import AROUND, Judge

RUNNING = [*VECTORS[:6], "<p onclick=f(1)>x", "<details open ontoggle=f(1)>", "<input autofocus onfocus=f(1)>"]
PER_CALL = 1.0  # seconds of this process; a machine that is busy with other things proves nothing


def shown(text: str) -> set[str]:
    """What a page would hold of `text`, by any preset: cleaned, or escaped when refused. Fails when it takes long."""
    found = set()
    for preset in PRESETS:
        started = time.process_time()
        try:
            cleaned = clean_html(text, preset)
        except HTMLRefused:
            cleaned = escape_html(text)
        else:
            assert clean_html(cleaned, preset) == cleaned, text
        assert time.process_time() - started < 2 * PER_CALL, text  # cleaned, and cleaned again
        found.add(cleaned)
    return found


def outputs(texts: list[str]) -> list[str]:
    return sorted(set().union(*map(shown, texts)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = reachable.browser()
    if chromium is None:
        pytest.skip(str(reachable.why_not("chromium")))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def judge(browser: Browser) -> Judge:
    return Judge(browser)


@pytest.fixture(scope="module")
def judge_of_raw(browser: Browser) -> Judge:
    """One that sees hostile texts as they are: what they do late must not be held against a cleaned one."""
    return Judge(browser)


def test_the_collections_are_those_of_the_readme() -> None:
    assert {name: len(corpus(name)) for name in names()} == {
        "bleach": 321, "blns": 230, "brs_kb": 3032, "owasp": 493, "xss_filters": 154,
    }  # fmt: skip
    assert len(everything()) > 4_000


def test_cleaning_what_others_collected_twice_is_cleaning_once() -> None:
    outputs([*everything()[::30], *bred(100, seed=3)])


@pytest.mark.services
@pytest.mark.parametrize(
    "text", [*VECTORS[:6], "<p onclick='f(1)'>x", "<details open ontoggle=f(1)>", "<input autofocus onfocus=f(1)>"]
)
def test_the_judge_sees_a_script_in_whatever_form(judge_of_raw: Judge, text: str) -> None:
    assert any(hit.startswith("compiled") for hit in judge_of_raw.hits([text]))


@pytest.mark.services
@pytest.mark.parametrize(
    "text",
    [
        "<p id=a>x",
        "<img src=http://x/>",
        "<a href=//x>x",
        "<form>",
        "<p style=color:red>",
        "<title>x",
        "<a href=data:,x>x",
    ],
)
def test_the_judge_sees_what_is_not_allowed(judge_of_raw: Judge, text: str) -> None:
    assert judge_of_raw.hits([text])


@pytest.mark.services
@pytest.mark.control("ASVS-1.3.1")
def test_nothing_runs_in_a_browser(judge: Judge) -> None:
    assert judge.hits(outputs([*everything()[::40], *inputs(100, seed=1), *bred(50, seed=1)])) == []


@pytest.mark.services
def test_nothing_runs_inside_of_other_elements(judge: Judge) -> None:
    assert judge.hits(outputs([*everything()[7::200], *inputs(45, seed=4)]), deep=True) == []


@pytest.mark.services
@pytest.mark.nightly
@pytest.mark.parametrize("share", range(6))
def test_nothing_runs_in_a_browser_for_nine_thousand_inputs(judge: Judge, share: int) -> None:
    texts = [*everything(), *inputs(2_500, seed=2), *bred(2_500, seed=2)][share::6]
    assert len(texts) > 1_500
    found = outputs(texts)
    assert judge.hits(found) == []
    assert judge.hits(found[::6], deep=True) == []
    print(f"{len(texts)} inputs, {len(found)} texts judged, {len(found[::6])} of them in {len(AROUND)} elements")
