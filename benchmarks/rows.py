"""The rows of the table. Each asks all its workers in turn, round after round, and keeps medians."""

from __future__ import annotations

import json
import math
import random
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.pool import ROOT, Store, Worker, base_env, served_store
from benchmarks.setups import Setup, of_row

CHANGES = ("sign_out", "password", "deactivation", "deletion")
LATER = 1.2
"""Seconds after which a change is looked at again: more than STATE_MAX_AGE, less than an access token lives."""
THREADS = 16


@dataclass(frozen=True)
class Form:
    """How long to look. The full form is for a quiet machine."""

    name: str
    rounds: int
    requests: int
    slow_rounds: int
    slow_calls: int
    races: int
    http_rounds: int
    http_seconds: float
    starts: int
    growth: tuple[int, int] | None
    objects: int = 10_000


FORMS = {
    "quick": Form("quick", 12, 30, 6, 8, 3, 3, 0.6, 3, None),
    "full": Form("full", 60, 50, 20, 10, 10, 9, 1.5, 11, (1_000, 1_000_000)),
}

Say = Callable[[str], None]
Samples = dict[str, list[float]]


# --- rounds ------------------------------------------------------------------------------------------


def interleave(asked: dict[str, Callable[[], float]], rounds: int) -> Samples:
    """Ask everybody once a round, in an order that is drawn anew each time. The first round is thrown away."""
    samples: Samples = defaultdict(list)
    names = list(asked)
    for number in range(rounds + 1):
        random.shuffle(names)
        for name in names:
            value = asked[name]()
            if number:
                samples[name].append(value)
    return samples


def spread(values: list[float]) -> float:
    """Width of the middle four fifths, as a share of the median."""
    if len(values) < 3:
        return 0.0
    cuts = quantiles(values, n=10)
    return (cuts[-1] - cuts[0]) / median(values)


def ratio(values: list[float], to: list[float]) -> float:
    """Median of the rounds' own ratios: what slows a whole round down cancels out."""
    return median(ratios(values, to))


def between(values: list[float]) -> tuple[float, float]:
    """Bounds of the median, at 95 % (order statistics; nothing is assumed of the distribution)."""
    ordered = sorted(values)
    half = 0.98 * math.sqrt(len(ordered))
    low = max(0, math.floor(len(ordered) / 2 - half))
    high = min(len(ordered) - 1, math.ceil(len(ordered) / 2 + half) - 1)
    return ordered[low], ordered[max(low, high)]


def ratios(values: list[float], to: list[float]) -> list[float]:
    return [value / base for value, base in zip(values, to, strict=True)]


def _figures(samples: Samples, name: str, *, base: str | None = None) -> dict[str, float]:
    figures = {"us": median(samples[name]), "spread": spread(samples[name])}
    if base is not None:
        figures["ratio"] = ratio(samples[name], samples[base])
        figures["low"], figures["high"] = between(ratios(samples[name], samples[base]))
    return figures


def _count(worker: Worker, what: str) -> dict[str, int]:
    return dict(worker.ask("count", what=what))


def _asking(worker: Worker, do: str, batch: int) -> Callable[[], float]:
    return lambda: float(worker.ask(do, batch=batch))


# --- requests ----------------------------------------------------------------------------------------


def request(stores: Iterable[Store], form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """An authenticated GET. Plain is asked twice a round: the second, against the first, shows the machine's noise."""
    result: dict[str, Any] = {"noise": {}}
    setups = of_row("request", only)
    with ExitStack() as stack:
        workers = {store.name: stack.enter_context(store.workers(setups)) for store in stores}
        for store in stores:
            say(f"request: which changes take effect at once ({store.name})")
            result.setdefault("effects", {})[store.name] = _effects(store, workers[store.name])
        say(f"request: {form.rounds} rounds of {form.requests} requests")
        asked = {
            (place, name): _asking(worker, "request", form.requests)
            for place, group in workers.items()
            for name, worker in group.items()
        }
        asked |= {
            (place, "plain again"): _asking(group["plain"], "request", form.requests)
            for place, group in workers.items()
        }
        samples: Any = interleave(asked, form.rounds)  # type: ignore[arg-type]  # unions of callables
        for place, group in workers.items():
            here = {name: values for (where, name), values in samples.items() if where == place}
            result[place] = {
                name: {**_figures(here, name, base="plain"), **_count(worker, "request")}
                for name, worker in group.items()
            }
            result["noise"][place] = {
                "plain_spread": spread(here["plain"]),
                "plain_again": ratio(here["plain again"], here["plain"]),
                # Plain waits for no other process, and cannot show how long others had to.
                "widest": max(spread(values) for values in here.values()),
            }
    return result


def _effects(store: Store, workers: dict[str, Worker]) -> dict[str, dict[str, str]]:
    """Change something, then ask with what was given out before. Shared caches: another process changes it."""
    asked = {name: worker for name, worker in workers.items() if name != "plain"}
    visitors: dict[tuple[str, str], Any] = {}
    outcome: dict[str, dict[str, str]] = defaultdict(dict)
    pending = []
    with ExitStack() as stack:
        if store.name == "local":
            others = asked
        else:
            others = stack.enter_context(store.workers([worker.setup for worker in asked.values()]))
        for name, what in ((name, what) for name in asked for what in CHANGES):
            # Right before the change: an older copy might have run out, and a late refusal would look prompt.
            visitor = visitors[name, what] = asked[name].ask("visit")
            others[name].ask("change", what=what, visitor=visitor)
            if asked[name].ask("get", visitor=visitor) == 200:
                pending.append((name, what))
            else:
                outcome[name][what] = "at once"
    time.sleep(LATER)
    for name, what in pending:
        late = asked[name].ask("get", visitor=visitors[name, what]) != 200
        outcome[name][what] = "within a second" if late else "no"
    return outcome


# --- requests a second -------------------------------------------------------------------------------


def http(store: Store, form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """Requests a second over HTTP, with two gunicorn workers of the default class."""
    setups = of_row("http", only)
    say(f"http: {form.http_rounds} rounds of {form.http_seconds} s with two gunicorn workers each")
    with ExitStack() as stack:
        workers = stack.enter_context(store.workers(setups))
        ports = {setup.name: stack.enter_context(_gunicorn(store, setup)) for setup in setups}
        for port in ports.values():
            _wait_for(port)
        refused = 0.0

        def served(name: str) -> float:
            nonlocal refused
            found = _load(port=ports[name], headers=workers[name].ask("headers"), seconds=form.http_seconds, callers=6)
            refused += found["refused"]
            return found["served"] / found["seconds"]

        samples = interleave({name: lambda name=name: served(name) for name in ports}, form.http_rounds)  # type: ignore[misc]  # bound early
    return {
        "refused": refused,
        "noise": spread(samples["plain"]),
        "setups": {
            name: {
                "per_second": median(values),
                "share": ratio(values, samples["plain"]),
                "between": between(ratios(values, samples["plain"])),
            }
            for name, values in ((setup.name, samples[setup.name]) for setup in setups)
        },
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _gunicorn(store: Store, setup: Setup) -> Any:
    port = _free_port()
    command = [
        sys.executable, "-m", "gunicorn", "benchmarks.wsgi:application", "--workers", "2",
        "--bind", f"127.0.0.1:{port}", "--log-level", "error", "--no-control-socket",
    ]  # fmt: skip
    with (store.folder / f"gunicorn-{setup.name}.log").open("ab") as log:
        server = subprocess.Popen(
            command, cwd=ROOT, env={**store.env, "BENCH_SETUP": setup.name}, stdout=log, stderr=log
        )
    try:
        yield port
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait_for(port: int) -> None:
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("gunicorn does not answer")


def _load(**details: Any) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=ROOT, input=json.dumps(details), capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found: dict[str, float] = json.loads(done.stdout)
    return found


# --- access ------------------------------------------------------------------------------------------


def access(stores: Iterable[Store], form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """What a question costs on top of the same set-up's request without one; of a key, beside a plain view."""
    result: dict[str, Any] = {"objects": form.objects}
    setups = of_row("access", only)
    with ExitStack() as stack:
        workers = {store.name: stack.enter_context(store.workers(setups)) for store in stores}
        say(f"access: grants on {form.objects:,} objects")
        asked: dict[Any, Callable[[], float]] = {}
        for place, group in workers.items():
            for name, worker in group.items():
                questions = worker.ask("grant", objects=form.objects) if worker.setup.access else []
                for question in ("whoami", *questions):
                    asked[place, name, question] = _asking_access(worker, question, form.requests)
        say(f"access: {form.rounds} rounds of {form.requests} requests")
        samples: Any = interleave(asked, form.rounds)
        for (place, name, question), values in samples.items():
            if question == "whoami":
                continue
            base = samples[place, "plain" if question == "key" else name, "whoami"]
            extra = [value - one for value, one in zip(values, base, strict=True)]
            figures = {"us": median(extra), "between": between(extra), "ratio": ratio(values, base)}
            figures["ratio_between"] = between(ratios(values, base))
            counts = workers[place][name].ask("count_access", question=question)
            if question != "key":
                before = workers[place][name].ask("count_access", question="whoami")
                counts = {what: counts[what] - before[what] for what in counts}
            result.setdefault(place, {}).setdefault(name, {})[question] = {**figures, **counts}
    return result


def _asking_access(worker: Worker, question: str, batch: int) -> Callable[[], float]:
    return lambda: float(worker.ask("access", question=question, batch=batch))


# --- sign-in and refresh -----------------------------------------------------------------------------


def sign_in(stores: Iterable[Store], form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """Sign-in with a hasher that costs nothing; ours from a trusted device, and from a new one with a code."""
    say(f"sign-in: {form.slow_rounds} rounds of {form.slow_calls}")
    return _slow("sign_in", stores, form, only, extra={"ours": "sign_in_with_code"})


def refresh(stores: Iterable[Store], form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """Refresh with rotation, each time with the token of the last answer."""
    say(f"refresh: {form.slow_rounds} rounds of {form.slow_calls}")
    return _slow("refresh", stores, form, only, extra={})


def _slow(
    row: str, stores: Iterable[Store], form: Form, only: Iterable[str], *, extra: dict[str, str]
) -> dict[str, Any]:
    result: dict[str, Any] = {}
    setups = [setup for setup in of_row(row, only) if setup.kind != "plain"]
    with ExitStack() as stack:
        workers = {store.name: stack.enter_context(store.workers(setups)) for store in stores}
        asked: dict[Any, Callable[[], float]] = {}
        for place, group in workers.items():
            for name, worker in group.items():
                asked[place, name] = _asking(worker, row, form.slow_calls)
                if name in extra:
                    asked[place, extra[name]] = _asking(worker, extra[name], form.slow_calls)
        samples: Any = interleave(asked, form.slow_rounds)
        for (place, name), values in samples.items():
            result.setdefault(place, {})[name] = {
                "us": median(values),
                "spread": spread(values),
                "between": between(values),
            }
        for place, group in workers.items():
            for name, worker in group.items():
                result[place][name] |= _count(worker, row)
    return result


# --- the race ----------------------------------------------------------------------------------------


def race(stores: Iterable[Store], form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """One refresh token from sixteen threads of one process, each with a connection of its own."""
    say(f"race: {form.races} races of {THREADS} threads")
    result: dict[str, Any] = {}
    setups = [setup for setup in of_row("race", only) if setup.kind != "plain"]
    for store in stores:
        with store.workers(setups) as workers:
            result[store.name] = {
                name: [worker.ask("race", threads=THREADS) for _ in range(form.races)]
                for name, worker in workers.items()
            }
    return result


# --- growth ------------------------------------------------------------------------------------------


def growth(folder: Path, form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """The same requests against a database with few sessions and one with very many, side by side."""
    assert form.growth is not None
    setups = [setup for setup in of_row("refresh", only) if setup.name == "ours"]
    if not setups:
        return {}
    with ExitStack() as stack:
        workers: dict[int, Worker] = {}
        for size in form.growth:
            say(f"growth: filling a database with {size:,} sessions and as many events")
            store = stack.enter_context(served_store(folder, users=10_000, setups=["ours"]))
            worker = workers[size] = stack.enter_context(store.worker(setups[0]))
            worker.ask("fill", sessions=size, events=size)
        say(f"growth: {form.rounds} rounds")
        small, large = form.growth
        result: dict[str, Any] = {"sessions": [small, large]}
        for what in ("request", "refresh"):
            asked: dict[Any, Callable[[], float]] = {
                size: _asking(worker, f"growth_{what}", form.slow_calls) for size, worker in workers.items()
            }
            samples: Any = interleave(asked, form.rounds)
            result[what] = {
                "us": [median(samples[small]), median(samples[large])],
                "ratio": ratio(samples[large], samples[small]),
                "between": between(ratios(samples[large], samples[small])),
            }
    return result


# --- start and memory --------------------------------------------------------------------------------


def startup(folder: Path, form: Form, only: Iterable[str], say: Say) -> dict[str, Any]:
    """CPU time to the first answer of a new process, and its memory then, over plain's. Bytecode is there before."""
    say(f"startup: {form.starts} starts of each")
    setups = of_row("startup", only)
    env = {**base_env(folder), "BENCH_DATABASE": ":memory:"}
    details: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def start(name: str) -> float:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.startup"],
            cwd=ROOT, env={**env, "BENCH_SETUP": name}, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        details[name].append(json.loads(done.stdout))
        return float(details[name][-1]["ms"])

    samples = interleave({setup.name: lambda name=setup.name: start(name) for setup in setups}, form.starts)  # type: ignore[misc]  # bound early
    result: dict[str, Any] = {}
    for setup in setups:
        name = setup.name
        kib = median(found["kib"] for found in details[name][1:])
        result[name] = {
            "ms": median(samples[name]),
            "mib": kib / 1024,
            "modules": details[name][-1]["modules"],
            "ms_over": median(mine - base for mine, base in zip(samples[name], samples["plain"], strict=True)),
            "mib_over": (kib - median(found["kib"] for found in details["plain"][1:])) / 1024,
            "spread": spread(samples[name]),
        }
    return result
