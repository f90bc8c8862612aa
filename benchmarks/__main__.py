"""`python -m benchmarks`: measure, print, and write JSON and Markdown."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import machine, report, rows
from benchmarks.pool import Store, local_store, scratch_folder, served_store, why_not_served
from benchmarks.setups import SETUPS, STORES
from tests.reachable import url_of

ROWS = ("request", "http", "access", "sign_in", "refresh", "race", "growth", "startup")
_started = time.monotonic()


def say(text: str) -> None:
    print(f"[{time.monotonic() - _started:5.0f} s] {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    names = ", ".join(setup.name for setup in SETUPS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    form = parser.add_mutually_exclusive_group()
    parser.set_defaults(form="full")
    form.add_argument(
        "--quick", dest="form", action="store_const", const="quick", help="minutes less, noisier, no growth"
    )
    parser.add_argument("--full", dest="form", action="store_const", const="full", help="the default; undoes --quick")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        default=[],
        help=f"rows ({', '.join(ROWS)}), set-ups ({names}) or stores ({', '.join(STORES)})",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables, between the markers if the file has them"
    )
    parser.add_argument(
        "--from-json", type=Path, metavar="FILE", help="measure nothing: show the figures of an earlier run"
    )
    parser.add_argument(
        "--profile", choices=("request", "sign_in", "refresh"), help="measure nothing: show where the time goes"
    )
    chosen = parser.parse_args()
    known = {*ROWS, *STORES, *(setup.name for setup in SETUPS)}
    unknown = sorted(set(chosen.only) - known)
    if unknown:
        parser.error(f"--only knows no {', '.join(unknown)}; it knows {', '.join(sorted(known))}")
    chosen.rows = [row for row in ROWS if row in chosen.only] or list(ROWS)
    chosen.stores = [store for store in STORES if store in chosen.only] or list(STORES)
    chosen.setups = [setup.name for setup in SETUPS if setup.name in chosen.only]
    return chosen


def stores(stack: ExitStack, folder: Path, names: list[str]) -> list[Store]:
    found = []
    if "local" in names:
        found.append(stack.enter_context(local_store(folder)))
    if "served" in names:
        reason = why_not_served()
        if reason is None:
            found.append(stack.enter_context(served_store(folder)))
        else:
            say(f"without {STORES['served']}: {reason}")
    return found


def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    form = rows.FORMS[chosen.form]
    result: dict[str, Any] = {"form": form.name, "machine": machine.describe()}
    versions: dict[str, str] = {}
    with scratch_folder() as folder, ExitStack() as stack:
        say("databases and users")
        usable = stores(stack, folder, chosen.stores)
        for store in usable:
            with store.worker(SETUPS[0]) as worker:
                versions |= worker.ask("hello")
        served = next((store for store in usable if store.name == "served"), None)
        if served is not None:
            versions["Redis"] = machine.redis_version(url_of("redis"))
        result["machine"]["versions"] = {**versions, **result["machine"]["versions"]}
        tasks: dict[str, Callable[[], dict[str, Any]]] = {
            "startup": lambda: rows.startup(folder, form, chosen.setups, say)
        }
        if usable:
            for row in ("request", "access", "sign_in", "refresh", "race"):
                tasks[row] = partial(getattr(rows, row), usable, form, chosen.setups, say)
        if served is not None:
            tasks["http"] = partial(rows.http, served, form, chosen.setups, say)
            if form.growth is not None:
                tasks["growth"] = partial(rows.growth, folder, form, chosen.setups, say)
        for row in (row for row in ROWS if row in chosen.rows and row in tasks):
            try:
                result[row] = tasks[row]()
            except Exception as error:  # one row that fails must not take the others along
                say(f"{row} failed:\n{error}")
                result.setdefault("failed", []).append(row)
            keep(result, chosen.json)  # what is measured is kept, whatever happens to the rest
    result["seconds"] = round(time.monotonic() - _started)
    return result


def keep(result: dict[str, Any], path: Path | None) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def leave(number: int, _: object) -> None:
    """Unwind, so that databases, keys and processes are removed: a signal alone would leave them behind."""
    sys.exit(128 + number)


def profile(chosen: argparse.Namespace) -> None:
    with scratch_folder() as folder, ExitStack() as stack:
        for store in stores(stack, folder, chosen.stores):
            for setup in SETUPS:
                if chosen.profile in setup.rows and setup.name in (chosen.setups or ["ours"]):
                    with store.worker(setup) as worker:
                        print(f"\n{setup.label}, {STORES[store.name]}, {chosen.profile} × 300\n")
                        print(worker.ask("profile", what=chosen.profile))


def main() -> int:
    chosen = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    if chosen.profile:
        profile(chosen)
        return 0
    result = json.loads(chosen.from_json.read_text()) if chosen.from_json else measure(chosen)
    print(report.markdown(result))
    keep(result, chosen.json)
    if chosen.markdown:
        report.write(result, chosen.markdown)
    if report.is_noisy(result):
        say("the machine was busy while this ran: see the noise line")
    say("done")
    return 1 if result.get("failed") else 0


if __name__ == "__main__":
    sys.exit(main())
