#!/usr/bin/env python
"""Writes the pages of docs/ that are made from the code and the tests.

    python scripts/make_docs.py            writes docs/settings.md, events.md, regressions.md and controls.md
    python scripts/make_docs.py --check    writes nothing; exit 1 when a page is not up to date

tests/test_docs.py compares the pages with what this file makes, so that none can go stale. Nothing here needs a
configured Django: declarations are read, no setting's value is.
"""

from __future__ import annotations

import argparse
import ast
import csv
import inspect
import os
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
TESTS = ROOT / "tests"
sys.path.insert(0, str(ROOT))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "testproject.settings")

import django  # noqa: E402  # needs the path above

django.setup()

from django_secure_auth import conf as conf_module  # noqa: E402  # needs the path above
from django_secure_auth.audit.events import registered  # noqa: E402  # needs the path above
from django_secure_auth.conf import Conf, Setting, declared  # noqa: E402  # needs the path above

NOTE = "<!-- Made by `python scripts/make_docs.py`; a change by hand is overwritten. -->"


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def page(title: str, *blocks: str) -> str:
    return "\n\n".join([NOTE, f"# {title}", *(block.strip() for block in blocks)]) + "\n"


# ------------------------------------------------------------------------------------------------------------ settings

# What each judge of conf.py accepts, where its own values do not say it.
KINDS = {
    "_a_bool": "bool",
    "_a_text": "text",
    "_a_text_or_none": "text or None",
    "_a_base_url": "http or https URL: host, perhaps port and path; or None",
    "_a_path": "path that begins with `/`",
    "_a_cookie_prefix": "ASCII letters, digits, `-`, `_`; at most 64, no `__…-` in front",
    "_a_policy": "`'new_device'`, `'always'`, `'never'` or a callable",
    "_proxies": "count from 0 to 50, or a list of networks",
    "_rates": "dict of rates: `n/[k]s`, `m`, `h` or `d`, or several with commas",
    "_when_away": "dict of `'open'` or `'closed'`",
    "_a_key_word": "2 to 16 of `a-z` and `0-9`, a letter first",
    "_a_key_word_or_none": "2 to 16 of `a-z` and `0-9`, a letter first; or None",
    "_scopes": "dict of scopes, each with a permission or None",
    "_route_names": "list of URL names or paths",
    "complaint_about": "dict of features, each with an allow-list as in the header",
    "_sinks": "list of `'log'`, `'table'`, `'signal'`",
    "_a_path_or_none": "path, or None",
    "_security_txt": "dict of fields with `contact` and `expires`, or None",
    "_a_link_path": "path with `{uid}` and `{token}`",
    "_notices": "dict of switches",
    "_a_callable_or_none": "callable, or None",
    "_profile_fields": "list of field names; no credential, no privilege",
    "_signing_keys": "list of keys, the first of which can sign, or None",
    "_encryption_keys": "list of keys of exactly 32 bytes, or None",
}
GROUPS = {
    "keys": "Keys",
    "cookies": "Cookies",
    "tokens": "Tokens",
    "sessions": "Sessions",
    "codes": "E-mailed codes",
    "limits": "Limits",
    "accounts": "Accounts",
    "routes": "Routes",
    "headers": "Headers",
    "sites": "Other sites",
    "audit": "Audit",
}


def spoken(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def as_code(value: object) -> str:
    if not isinstance(value, timedelta):
        return f"`{value!r}`"
    seconds = int(value.total_seconds())
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds and seconds % size == 0:
            return f"`timedelta({unit}={seconds // size})`"
    return f"`timedelta(seconds={seconds})`" if seconds else "`timedelta(0)`"


def kind_of(setting: Setting[Any]) -> str:
    judge = setting.judge
    name = judge.__qualname__.partition(".")[0]
    if name in KINDS:
        return KINDS[name]
    bounds = inspect.getclosurevars(judge).nonlocals
    if name in {"_one_of", "_one_of_or_none"}:
        choices = [f"`{choice!r}`" for choice in bounds["choices"]]
        return " or ".join(choices if name == "_one_of" else [*choices, "None"])
    if name == "_a_duration":
        return f"timedelta, {spoken(bounds['low'])} … {spoken(bounds['high'])}"
    if name == "_an_int":
        return f"int, {bounds['low']} … {bounds['high']}"
    raise LookupError(f"scripts/make_docs.py does not know what {name} accepts; add it to KINDS")


def groups() -> dict[str, str]:
    """The group of each setting, from the comments between the declarations."""
    group, found = "", {}
    for line in inspect.getsource(Conf).splitlines():
        if match := re.fullmatch(r"    # ([a-z]+)", line):
            group = match[1]
        elif match := re.match(r"    ([A-Z][A-Z_]+) = ", line):
            found[match[1]] = group
    return found


def settings_page() -> str:
    group_of = groups()
    blocks = [
        "All settings stand in one dict in Django's settings; what is not named keeps its default:",
        '```python\nDJANGO_SECURE_AUTH = {\n    "OTP_POLICY": "always",\n    "OTP_TTL": timedelta(minutes=3),\n}\n```',
        "A misspelt name is the check error `secure_auth.E001`, an ill-typed value or one out of its bounds "
        "`secure_auth.E002` ([checks](checks.md)). Values are read when they are needed, so `override_settings` "
        "works for each. Durations are `timedelta`.",
    ]
    for key, title in GROUPS.items():
        rows = [
            (f"`{setting.name}`", kind_of(setting), default_of(setting), setting.text)
            for setting in declared()
            if group_of[setting.name] == key
        ]
        blocks += [f"## {title}", table(("setting", "type and bounds", "default", "what it does"), rows)]
    when_away = conf_module.DEFAULT_WHEN_AWAY
    limits = [(f"`{name}`", f"`{rate}`", when_away[name]) for name, rate in conf_module.DEFAULT_RATE_LIMITS.items()]
    blocks += [
        "## The limits of `RATE_LIMITS`",
        table(("limit", "default", "`RATE_LIMIT_WHEN_AWAY`"), limits),
        "While the cache is away, `api_key` (the rates of API keys) and `view` (limits of your own views) are open. A "
        "project names only those that it changes. What each one counts: [ratelimit](ratelimit.md).",
    ]
    return page("Settings", *blocks)


def default_of(setting: Setting[Any]) -> str:
    below = setting.name in {"RATE_LIMITS", "RATE_LIMIT_WHEN_AWAY"}
    return "[see below](#the-limits-of-rate_limits)" if below else as_code(setting.default)


# -------------------------------------------------------------------------------------------------------------- events


def events_page() -> str:
    by_kind: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for event in registered().values():
        by_kind[event.kind.value].append((f"`{event.name}`", event.severity, event.message))
    blocks = [
        "Every event that the package writes: one line to the logger `django_secure_auth.security`, one row in the "
        "table `SecurityEvent`. How and when: [audit](audit.md). `event` is stable; the message is for people and may "
        "change.",
    ]
    for kind, rows in by_kind.items():
        blocks += [f"## `{kind}`", table(("event", "severity", "message"), rows)]
    return page("Events", *blocks)


# --------------------------------------------------------------------------------------------------------------- tests


def test_functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef, list[ast.expr]]]:
    """Yield the name of every test, its node, and the marks that lie on it, its class and its module."""
    for file in sorted(TESTS.rglob("test_*.py")):
        path = file.relative_to(ROOT).as_posix()
        tree = ast.parse(file.read_text(encoding="utf-8"))
        ours = [node.value for node in tree.body if isinstance(node, ast.Assign) and is_pytestmark(node)]
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and inner.name.startswith("test"):
                        marks = [*ours, *node.decorator_list, *inner.decorator_list]
                        yield f"{path}::{node.name}::{inner.name}", inner, marks
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                yield f"{path}::{node.name}", node, [*ours, *node.decorator_list]


def is_pytestmark(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def controls_in(marks: list[ast.expr]) -> Iterator[str]:
    for mark in marks:
        for node in ast.walk(mark):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "control":
                yield from (str(one.value) for one in node.args if isinstance(one, ast.Constant))


def regressions_in(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[int]:
    """The laws that a test proves; a number that stands anywhere else would be dropped in silence, and is refused."""
    text = ast.get_docstring(node) or ""
    match = re.match(r"(R\d+(?:, ?R\d+)*):", text)
    found = [int(number) for number in re.findall(r"\d+", match[1])] if match else []
    if len(found) != len(re.findall(r"\bR\d+\b", text)):
        raise LookupError(f"{name}: the regressions of a test stand first in its docstring, as in `R8, R17: …`")
    return found


def listed(tests: list[str]) -> str:
    return "<br>".join(f"`{name}`" for name in tests)


def rows_of(name: str) -> list[dict[str, str]]:
    with (DOCS / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# --------------------------------------------------------------------------------------------------------- regressions


def regressions_page() -> str:
    tests: dict[int, list[str]] = defaultdict(list)
    for name, node, _marks in test_functions():
        for number in regressions_in(name, node):
            tests[number].append(name)
    rows = []
    for row in rows_of("regressions.csv"):
        found = tests.pop(int(row["number"]), [])
        shown = listed(found) or ("later, with its feature" if row["status"] == "later" else "**no test yet**")
        rows.append((f"R{row['number']}", row["law"], shown))
    if tests:
        raise LookupError(f"docs/regressions.csv has no row for {sorted(tests)}")
    return page(
        "Regressions",
        "Defects that other packages of this field had, each turned into a law of ours and a test that holds it. A "
        "test belongs to a row when its docstring starts with the row's number, such as `R8:`. The laws stand in "
        "`docs/regressions.csv`.",
        table(("#", "the law", "tests"), rows),
    )


# ------------------------------------------------------------------------------------------------------------ controls

STATUS = {"": "not shown yet", "partial": "not shown yet; partly the host's", "host": "the host's duty"}


def controls_page() -> str:
    tests: dict[str, list[str]] = defaultdict(list)
    for name, _node, marks in test_functions():
        for control in dict.fromkeys(controls_in(marks)):
            tests[control].append(name)
    shown: list[tuple[str, ...]] = []
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows_of("controls.csv"):
        found = tests.pop(row["id"], [])
        status = "met" if found else STATUS[row["status"]]
        counts[row["id"].partition("-")[0]][status] += 1
        if found:
            partly = "; partly the host's" if row["status"] == "partial" else ""
            shown.append((row["id"], row["level"], row["area"], status + partly, listed(found)))
    if tests:
        raise LookupError(f"docs/controls.csv has no row for {sorted(tests)}")
    listed_ids = {row["id"]: row for row in rows_of("controls.csv")}
    reasons = rows_of("controls-not-shown.csv")
    if strangers := [row["id"] for row in reasons if row["id"] not in listed_ids]:
        raise LookupError(f"docs/controls.csv has no row for {strangers}, of docs/controls-not-shown.csv")
    not_shown = [
        (row["id"], listed_ids[row["id"]]["level"], listed_ids[row["id"]]["area"], row["reason"]) for row in reasons
    ]
    names = ("met", *STATUS.values())
    summary = [(standard, *(str(count[name] or "–") for name in names)) for standard, count in counts.items()]
    return page(
        "Controls",
        "Controls of public standards, and the tests that show them. A control counts as met when at least one test "
        'carries its mark, `@pytest.mark.control("ASVS-3.3.1")`; this table says nothing about one without a mark. It '
        "is made by us, and is no audit. The ids stand in `docs/controls.csv`, their text in the standards.",
        "## Shown by a test",
        table(("control", "level", "area", "status", "tests"), shown),
        "## Not shown, and why",
        "What stands in `docs/controls-not-shown.csv`: controls that do not hold, hold in part, or are about something "
        "that this package does not have.",
        table(("control", "level", "area", "why not"), not_shown),
        "## All, by standard",
        table(("standard", *names), summary),
    )


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "events.md": events_page,
    "regressions.md": regressions_page,
    "controls.md": controls_page,
}


def pages() -> dict[Path, str]:
    """Every generated page, made now."""
    return {DOCS / name: make() for name, make in PAGES.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, exit 1 when a page is not up to date")
    check = parser.parse_args().check
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path.relative_to(ROOT)} {'is not up to date' if check else 'written'}")
    if not check:
        for path, text in pages().items():
            path.write_text(text, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
