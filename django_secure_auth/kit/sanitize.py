"""HTML that strangers wrote, reduced to what may be shown. Bleach reads it; what comes out is judged once more."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bleach.html5lib_shim import BleachHTMLParser, BleachHTMLTokenizer, Filter
from bleach.sanitizer import Cleaner

MAX_LENGTH = 100_000
MAX_TAGS = 5_000  # marks `<` in a text, and elements made of them in all rounds: html5lib takes about 50 µs for one
MAX_MARKS = 20_000  # `&`, and `-` where there are comments: each is a step of the parser
MAX_DEPTH = 50  # a misnested <b> is opened again in each paragraph after it: depth × paragraphs elements
MAX_ATTRIBUTES = 20  # of one tag; html5lib compares each name with all before it
_ROUNDS = 5

# A scheme that is written plainly. Entities, blanks and control characters in it are read in two ways by two readers.
_ABSOLUTE = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_ABSOLUTE_OR_PATH = re.compile(r"(?:https?://|mailto:|#|/(?![/\\\s]))", re.IGNORECASE)
_IMAGE = re.compile(r"https://", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,4}", re.ASCII)
# Controls and noncharacters. Each is an error to html5lib, which takes 15 µs to say so: a text of them took 1.5 s.
_NONCHARACTERS = "".join(chr(plane * 0x10000 + last) for plane in range(17) for last in (0xFFFE, 0xFFFF))
_CONTROL = re.compile(rf"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef{_NONCHARACTERS}]")
_REFUSED = re.compile("[\0\ud800-\udfff]")
# Beyond eight digits no reference is a character; bleach would take quadratic time over them, and int() refuses.
_LONG_REFERENCE = re.compile(r"&(?=#[xX]?[0-9a-fA-F]{9})")

_TEXT: dict[str, tuple[str, ...]] = {}
_COMMENT = {
    **dict.fromkeys(("p", "br", "b", "strong", "i", "em", "u", "s", "del", "sub", "sup", "ul", "ol", "li"), ()),
    **dict.fromkeys(("blockquote", "code", "pre"), ()),
    "a": ("href", "title"),
}
_ARTICLE = {
    **_COMMENT,
    **dict.fromkeys(("h1", "h2", "h3", "h4", "h5", "h6", "hr", "figure", "figcaption", "dl", "dt", "dd"), ()),
    **dict.fromkeys(("table", "caption", "thead", "tbody", "tfoot", "tr", "q", "cite", "kbd", "samp", "mark"), ()),
    "abbr": ("title",),
    "td": ("colspan", "rowspan"),
    "th": ("colspan", "rowspan"),
    "img": ("src", "alt", "title", "width", "height"),
}
# What we add ourselves, over whatever stood there.
_LINK = {"rel": "nofollow ugc noopener noreferrer"}
_PICTURE = {"loading": "lazy", "referrerpolicy": "no-referrer"}


class HTMLRefused(ValueError):
    """The text is not cleaned but refused. The message may be shown to whoever sent it."""


@dataclass(frozen=True, slots=True)
class _Preset:
    tags: dict[str, tuple[str, ...]]
    href: re.Pattern[str]
    shape: re.Pattern[str]

    def allows(self, tag: str, name: str, value: str) -> bool:
        if name not in self.tags.get(tag, ()):
            return False
        if name == "href":
            return self.href.match(value) is not None
        if name == "src":
            return _IMAGE.match(value) is not None
        return name in {"title", "alt"} or _NUMBER.fullmatch(value) is not None


def _preset(tags: dict[str, tuple[str, ...]], href: re.Pattern[str]) -> _Preset:
    # The form in which the serializer writes, and no other: nothing that two readers could read in two ways.
    name = "href|title|src|alt|width|height|colspan|rowspan|rel|loading|referrerpolicy"
    attributes = rf"""(?: (?:{name})=(?:"[^"<]*+"|'[^'<]*+'))*+"""
    tag = rf"|</?(?:{'|'.join(sorted(tags))}){attributes}>" if tags else ""
    return _Preset(tags, href, re.compile(rf"(?:[^<>]++{tag})*+"))


PRESETS = {
    "text": _preset(_TEXT, _ABSOLUTE),
    "comment": _preset(_COMMENT, _ABSOLUTE),
    "article": _preset(_ARTICLE, _ABSOLUTE_OR_PATH),
}


def escape_html(value: str) -> str:
    """Return `value` as text that HTML shows as it is, between tags and in quoted attributes. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not text")
    return html.escape(str(value))


def clean_html(value: str, preset: str = "comment", max_length: int = MAX_LENGTH) -> str:
    """Return `value` as HTML in which nothing runs, reaches a frame, a form or a style, or looks like the page.

    Presets are `text` (no tags), `comment` and `article`. Cleaning twice is cleaning once. `max_length` counts
    characters, before any parsing and of the result. Raises HTMLRefused, a ValueError, for what is longer, nested or
    written too deep to be read in bounded time, and for NUL and lone surrogates, which no database can hold;
    ValueError for an unknown preset; TypeError for anything but text. Source: ASVS 5.0 1.3.1.
    """
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is not text")
    rules = PRESETS.get(preset)
    if rules is None:
        raise ValueError(f"Unknown preset {preset!r}. Presets are: {', '.join(PRESETS)}")
    if len(value) > max_length:
        raise HTMLRefused(f"At most {max_length} characters.")
    if _REFUSED.search(value):
        raise HTMLRefused("No NUL and no lone surrogate.")
    text = _CONTROL.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))
    if text.count("<") > MAX_TAGS:
        raise HTMLRefused("Too many tags.")
    if text.count("&") > MAX_MARKS or ("<!" in text and text.count("-") > MAX_MARKS):
        raise HTMLRefused("Too many signs that mean something in HTML.")
    budget = _Budget()
    cleaner = _cleaner(rules, budget)
    # A tree, written down and read again, may be another tree: so it is done until nothing moves.
    for _ in range(_ROUNDS):
        cleaned = _round(cleaner, text)
        if len(cleaned) > max_length:
            raise HTMLRefused(f"At most {max_length} characters, as HTML.")
        if rules.shape.fullmatch(cleaned) is None:
            raise HTMLRefused("It cannot be read as HTML.")
        if cleaned == text:
            return cleaned
        text = cleaned
    raise HTMLRefused("It does not come to rest as HTML.")


def _round(cleaner: Cleaner, text: str) -> str:
    try:
        return str(cleaner.clean(_LONG_REFERENCE.sub("&amp;", text)))
    except HTMLRefused:
        raise
    except Exception:  # whatever a parser of foreign make stumbles over is no defect of the caller's
        raise HTMLRefused("It cannot be read as HTML.") from None


# --- bounds, inside of the parser: a scan before it would read the text in another way ------------------------------


class _Budget:
    """Counts the elements that one call makes."""

    def __init__(self) -> None:
        self.elements = 0

    def limited(self, make: Callable[[str, Any], Any], tree: Any) -> Callable[[str, Any], Any]:
        def element(name: str, namespace: Any = None) -> Any:
            self.elements += 1
            if self.elements > MAX_TAGS:
                raise HTMLRefused("Too many tags.")
            if len(tree.openElements) > MAX_DEPTH or len(tree.activeFormattingElements) > MAX_DEPTH:
                raise HTMLRefused(f"Tags are nested deeper than {MAX_DEPTH}.")
            return make(name, namespace)

        return element


class _Tokenizer(BleachHTMLTokenizer):  # type: ignore[misc]  # bleach publishes no types
    def attributeNameState(self) -> bool:
        if len(self.currentToken["data"]) > MAX_ATTRIBUTES:
            raise HTMLRefused(f"A tag has more than {MAX_ATTRIBUTES} attributes.")
        return bool(super().attributeNameState())


class _Parser(BleachHTMLParser):  # type: ignore[misc]  # bleach publishes no types
    """Bleach's parser with our tokenizer; its own names no class to replace."""

    def _parse(
        self, stream: str, innerHTML: bool = False, container: str = "div", scripting: bool = True, **kwargs: Any
    ) -> None:
        self.innerHTMLMode, self.container, self.scripting = innerHTML, container, scripting
        self.tokenizer = _Tokenizer(stream=stream, consume_entities=False, parser=self, **kwargs)
        self.reset()
        self.mainLoop()


class _Finish(Filter):  # type: ignore[misc]  # bleach publishes no types
    """Adds `rel` to links, how to load to pictures, and the newline that a reader drops at the head of `<pre>`."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        after_pre = False
        for token in super().__iter__():
            name, kind = token.get("name"), token["type"]
            if name == "img" and (None, "src") not in token["data"]:
                continue
            if kind in {"StartTag", "EmptyTag"}:
                added = _LINK if name == "a" and (None, "href") in token["data"] else {}
                for key, text in (_PICTURE if name == "img" else added).items():
                    token["data"][None, key] = text
            if after_pre and kind in {"Characters", "SpaceCharacters"} and token["data"].startswith("\n"):
                token["data"] = "\n" + token["data"]
            after_pre = kind == "StartTag" and name == "pre"
            yield token


def _cleaner(rules: _Preset, budget: _Budget) -> Cleaner:
    # One per call: bleach's is not thread-safe.
    cleaner = Cleaner(
        tags=frozenset(rules.tags),
        attributes=rules.allows,
        protocols=frozenset({"http", "https", "mailto"}),
        strip=True,
        filters=[_Finish],
    )
    cleaner.parser = _Parser(
        tags=frozenset(rules.tags), strip=True, consume_entities=False, namespaceHTMLElements=False
    )
    tree = cleaner.parser.tree
    tree.elementClass = budget.limited(tree.elementClass, tree)
    return cleaner
