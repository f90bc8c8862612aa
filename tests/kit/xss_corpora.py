# ruff: noqa: E501  # tables of samples are read by columns
"""Hostile HTML from public collections (`corpora/README.md` names them), and what is bred from it by a seed."""

from __future__ import annotations

import json
import random
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "corpora"
# What moves the border between text, tag and attribute, or changes the parser's mode.
_STIRRERS = (
    *"<>\"'`=/&; \n\t\f\r\x01\x0b\x85",
    *("<!--", "-->", "--!>", "<![CDATA[", "]]>", "</", "<?", "&lt;", "&#60;", "&#x3c", "&quot;", "&amp;", "&Tab;", "&colon;"),
    *("<svg>", "<math>", "<mtext>", "<style>", "</style>", "<title>", "<textarea>", "<noscript>", "<template>", "<select>"),
    *("<table>", "<form>", "</form>", "<p>", "</p>", "</br>", "<pre>\n", "<xmp>", "<plaintext>", "<a href='", '<img alt="'),
)  # fmt: skip


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json"))


@cache
def corpus(name: str) -> tuple[str, ...]:
    return tuple(json.loads((FOLDER / f"{name}.json").read_text()))


def everything() -> list[str]:
    """Return all texts of all corpora, each once."""
    return list(dict.fromkeys(text for name in names() for text in corpus(name)))


def _bred(rng: random.Random, parents: list[str]) -> str:
    text = rng.choice(parents)[:2000]
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(text))
        kind = rng.random()
        if kind < 0.35:
            text = text[:at] + rng.choice(_STIRRERS) + text[at:]
        elif kind < 0.6:  # one into the middle of another
            text = text[:at] + rng.choice(parents)[:2000] + text[at:]
        elif kind < 0.75:
            text = text[:at] + text[at + rng.randint(1, 4) :]
        elif kind < 0.9:
            text = text[:at] + rng.choice(_STIRRERS) + text[at:].swapcase()
        else:
            text = text[:at] + "".join(f"&#{ord(sign)};" for sign in text[at : at + 12]) + text[at + 12 :]
    return text


def bred(count: int, *, seed: int) -> list[str]:
    """Return `count` texts, each made of the collected ones by cutting, joining and stirring; none is one of them."""
    rng = random.Random(seed)
    parents = everything()
    found: dict[str, None] = {}
    while len(found) < count:
        found[_bred(rng, parents)] = None
    return list(found)
