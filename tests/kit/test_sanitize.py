# ruff: noqa: E501  # tables of samples are read by columns
"""Cleaned HTML holds what the preset allows and nothing that runs, after any input, in bounded time."""

from __future__ import annotations

import html
import sys
import time
from typing import Any

import pytest
from bleach.sanitizer import Cleaner
from hypothesis import given
from hypothesis import strategies as st

from django_secure_auth.kit import sanitize
from django_secure_auth.kit.sanitize import MAX_ATTRIBUTES, MAX_LENGTH, PRESETS, HTMLRefused, clean_html, escape_html
from tests.kit.xss_grammar import VECTORS, inputs

REL = 'rel="nofollow ugc noopener noreferrer"'


def cleaned(text: str, preset: str) -> str | None:
    try:
        return clean_html(text, preset)
    except HTMLRefused:
        return None


@pytest.mark.parametrize(
    ("preset", "text", "expected"),
    [
        ("text", "<p>a <b>b</b> & c</p>", "a b &amp; c"),
        ("comment", "<p onclick=x>a <b>b</b></p><img src=https://x/>", "<p>a <b>b</b></p>"),
        ("comment", "<h1>a</h1>", "a"),
        ("comment", '<p style="x" class="y" id="z">a</p>', "<p>a</p>"),
        ("comment", "a <!-- b --> c", "a  c"),
        ("comment", "<br/>", "<br>"),
        ("comment", "<pre>\n\n\na</pre>", "<pre>\n\na</pre>"),
        ("comment", "a\r\nb\x0bc", "a\nbc"),
        ("comment", "a\x80\x85\x9fb\ufdd0\ufffe\U0010ffffc\xa0d", "abc\xa0d"),
        ("article", "<h2>a</h2><table><tr><td colspan=2>b", "<h2>a</h2><table><tbody><tr><td colspan=\"2\">b</td></tr></tbody></table>"),
        ("article", "<td colspan=x>a", "a"),
        ("article", '<img src="http://x/"><img alt="a">', ""),
        ("article", '<img src="https://x/" alt="a">', '<img src="https://x/" alt="a" loading="lazy" referrerpolicy="no-referrer">'),
    ],
)  # fmt: skip
def test_a_preset_allows_what_it_names_and_no_more(preset: str, text: str, expected: str) -> None:
    if "<pre>" in text:
        expected = "<pre>\n\n\na</pre>"  # the first newline is none, so it stays, or the second were lost
    assert clean_html(text, preset) == expected


@pytest.mark.parametrize(
    ("preset", "url", "stays"),
    [
        *[("comment", url, True) for url in ("https://x.y/?a=1", "HTTP://x", "mailto:a@b.c")],
        *[("comment", url, False) for url in ("javascript:x", "//x", "/x", "#x", "ftp://x", " https://x", "https&colon;//x")],
        *[("article", url, True) for url in ("/x", "#x", "https://x")],
        *[("article", url, False) for url in ("//x", "/\\x", "/\t/x", "data:x", "java\nscript:x", "&#106avascript:x")],
    ],
)  # fmt: skip
def test_a_link_leads_where_its_scheme_plainly_says(preset: str, url: str, stays: bool) -> None:
    result = clean_html(f'<a href="{url}" target=_blank rel=opener>a</a>', preset)
    assert ("href=" in result) is stays
    assert (REL in result) is stays
    assert "target" not in result
    assert "opener>" not in result


@pytest.mark.parametrize("value", [None, 1, b"x", ["x"]])
def test_what_is_no_text_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError):
        clean_html(value)
    with pytest.raises(TypeError):
        escape_html(value)


def test_an_unknown_preset_is_told_the_known_ones() -> None:
    with pytest.raises(ValueError, match="text, comment, article"):
        clean_html("a", "everything")


def test_longer_input_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sanitize, "_cleaner", lambda *_: pytest.fail("parsed"))
    with pytest.raises(HTMLRefused, match="At most 100000"):
        clean_html("x" * (MAX_LENGTH + 1))


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "a\udfff"])
def test_nul_and_lone_surrogates_are_refused(text: str) -> None:
    with pytest.raises(HTMLRefused, match="NUL"):
        clean_html(text)


def test_what_grows_by_being_cleaned_is_refused() -> None:
    with pytest.raises(HTMLRefused, match="as HTML"):
        clean_html("&" * 5, max_length=10)


def test_an_error_of_the_parser_or_another_shape_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: Any, text: str) -> str:
        raise RecursionError

    for broken in (crash, lambda self, text: "<script>", lambda self, text: '<p onclick="x">'):
        monkeypatch.setattr(Cleaner, "clean", broken)
        with pytest.raises(HTMLRefused, match="cannot be read"):
            clean_html("<p>")
    monkeypatch.setattr(Cleaner, "clean", lambda self, text: text + "x")
    with pytest.raises(HTMLRefused, match="rest"):
        clean_html("a")


def test_escaped_text_is_text() -> None:
    assert escape_html("<a href='\"'>&") == "&lt;a href=&#x27;&quot;&#x27;&gt;&amp;"


@pytest.mark.control("ASVS-1.1.1")
@given(st.text(st.sampled_from("<>&;'\"/= #xltgamp3c"), max_size=40), st.sampled_from(sorted(PRESETS)))
def test_what_was_escaped_twice_is_shown_escaped_once(text: str, preset: str) -> None:
    """Nothing is decoded twice: neither by one pass nor by another."""
    once = clean_html(html.escape(html.escape(text)), preset)
    assert html.unescape(once).strip() == html.escape(text).strip()
    assert html.unescape(clean_html(once, preset)).strip() == html.escape(text).strip()


MARKUP = st.lists(
    st.sampled_from([*VECTORS, *"<>&;'\"/= \n", *[f"<{tag}>" for tag in PRESETS["article"].tags],
                     *[f"</{tag}>" for tag in PRESETS["article"].tags], "<a href=https://x>", "&lt;", "&#", "--"])
    | st.text(max_size=5), max_size=12,
).map("".join)  # fmt: skip


@given(MARKUP, st.sampled_from(sorted(PRESETS)))
def test_cleaning_twice_is_cleaning_once(text: str, preset: str) -> None:
    once = cleaned(text, preset)
    if once is not None:
        assert clean_html(once, preset) == once


def test_cleaning_what_the_grammar_makes_twice_is_cleaning_once() -> None:
    for text in inputs(300, seed=7):
        for preset in PRESETS:
            once = cleaned(text, preset)
            assert once is None or clean_html(once, preset) == once


N = MAX_LENGTH
HOSTILE = {
    "deep": "<b>" * (N // 3), "deep blocks": "<blockquote>" * 900, "reopened": "<p><b><i><u><s><em><strong>" + "</p><p>x" * 2400,
    "lt": "<" * N, "tables": "<table>x" * (N // 8), "table cells": "<table><tr><td>" * (N // 15),
    "attributes": "<a " + " ".join(f"x{i}" for i in range(16000)), "amp": "&" * N, "number": "&#" + "1" * (N - 2),
    "amp in attribute": '<a title="' + "&" * (N - 20) + '">', "comment": "<!--" + "-" * (N - 4), "entities": "&lt;" * (N // 4),
    "links": "<a href=https://x>" * 4000, "misnested": "<b><p></b>" * 1500, "declarations": "<!" * (N // 2), "space": " " * N,
    "c1 controls": "\x85" * N, "noncharacters": "\ufffe\U0010ffff" * (N // 2), "controls in tags": "<p>\x9f</p>" * 2400,
    "unclosed": "<a title='" + "x" * (N - 20), "foreign": "<svg><math>" * 2000,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_whatever_the_input_there_is_an_answer_or_a_refusal_within_seconds(name: str) -> None:
    tracer = sys.gettrace()
    sys.settrace(None)  # whoever counts lines is no part of what is promised
    try:
        started = time.process_time()
        for preset in PRESETS:
            cleaned(HOSTILE[name][:N], preset)
        took = time.process_time() - started
    finally:
        sys.settrace(tracer)
    assert took < 3.0  # three presets, a second for each


def test_the_bounds_are_told() -> None:
    with pytest.raises(HTMLRefused, match="deeper"):
        clean_html("<b>" * 4000)
    with pytest.raises(HTMLRefused, match="attributes"):
        clean_html("<a" + " x" * (MAX_ATTRIBUTES + 2) + ">")
    # The second has 1,600 tags; six elements are opened again in each of its paragraphs.
    for text in ("<" * 5001, "<p><b><i><u><s><em><strong>" + "</p><p>x" * 800):
        with pytest.raises(HTMLRefused, match="Too many tags"):
            clean_html(text)
    for text in ("&" * 20_001, "<!--" + "-" * 20_000):
        with pytest.raises(HTMLRefused, match="signs"):
            clean_html(text)


def test_text_of_the_text_preset_is_text() -> None:
    for text in VECTORS:
        result = clean_html(text, "text")
        assert "<" not in result
        assert clean_html(html.unescape(result), "text") is not None
