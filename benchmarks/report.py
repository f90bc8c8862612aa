"""From the figures to Markdown. Says of each target whether it was reached, and what was not measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import CHANGES
from benchmarks.setups import PERMITTED, SETUPS, STORES

BEGIN = "<!-- begin measured: written by `python -m benchmarks --markdown`, a change by hand is overwritten -->"
END = "<!-- end measured -->"
_LABELS = {setup.name: setup.label for setup in SETUPS} | {
    "sign_in_with_code": "**ours**, new device: password, mailed code, approval",
}
_TRUSTED = {"ours": "**ours**, trusted device", "ours_state_cache": "**ours**, trusted device, `STATE_CACHE`"}

Result = dict[str, Any]


# --- tables ------------------------------------------------------------------------------------------


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _places(part: Result) -> list[str]:
    return [place for place in STORES if place in part]


def _us(value: float) -> str:
    return f"{value:,.0f}"


def _ms(value: float) -> str:
    return f"{value / 1000:.2f}"


def _request(part: Result) -> Iterator[str]:
    places = _places(part)
    yield "### One authenticated GET"
    header = ["set-up"]
    for place in places:
        header += [f"{STORES[place]}: µs", "× plain", "queries", "cache trips"]
    rows = []
    for setup in SETUPS:
        if setup.name not in part[places[0]]:
            continue
        row = [setup.label]
        for place in places:
            figures = part[place][setup.name]
            row += [_us(figures["us"]), f"{figures['ratio']:.2f}", str(figures["queries"]), str(figures["trips"])]
        rows.append(row)
    yield _table(header, rows)
    for place in places[-1:]:
        yield (
            f"When what was given out before is refused ({STORES[place]}; tried, by a change "
            f"{'in the same' if place == 'local' else 'in another'} process and a request after it; "
            "“no” is still served after 1.2 s):"
        )
        effects = part["effects"][place]
        yield _table(
            ["set-up", "sign-out", "password change", "deactivation", "deletion"],
            [
                [setup.label, *(effects[setup.name][what] for what in CHANGES)]
                for setup in SETUPS
                if setup.name in effects
            ],
        )


def _http(part: Result) -> Iterator[str]:
    yield "### Requests a second over HTTP"
    yield "PostgreSQL + Redis, two gunicorn workers of the default class, six callers on the same machine."
    yield _table(
        ["set-up", "requests a second", "share of plain"],
        [
            [_LABELS[name], _us(figures["per_second"]), f"{figures['share']:.2f}"]
            for name, figures in part["setups"].items()
        ],
    )
    if part["refused"]:
        yield f"{part['refused']:.0f} requests were not answered with 200."


_QUESTIONS = {
    "role": "a role",
    "permission": "a model permission",
    "object": "an object permission",
    "list": "the list of what somebody may change",
}


def _access(part: Result) -> Iterator[str]:
    places = _places(part)
    yield "### May somebody do something?"
    yield (
        "On top of the same set-up's authenticated GET: the time, the queries and the cache trips that the question "
        f"adds. The list finds {PERMITTED} objects among {part['objects']:,}, each granted on its own."
    )
    header = ["question", "set-up"]
    for place in places:
        header += [f"{STORES[place]}: µs", "queries", "trips"]
    rows = []
    for question, words in _QUESTIONS.items():
        for setup in SETUPS:
            if question in part[places[0]].get(setup.name, {}):
                row = [words, setup.label]
                for place in places:
                    one = part[place][setup.name][question]
                    row += [f"{one['us']:+,.0f}", f"{one['queries']:+}", f"{one['trips']:+}"]
                rows.append(row)
    yield _table(header, rows)
    yield "A request that an API key proves, beside the plain view:"
    header = ["set-up"]
    for place in places:
        header += [f"{STORES[place]}: × plain", "queries", "trips"]
    rows = []
    for setup in SETUPS:
        if "key" in part[places[0]].get(setup.name, {}):
            keys = [part[place][setup.name]["key"] for place in places]
            cells = [[f"{one['ratio']:.2f}", str(one["queries"]), str(one["trips"])] for one in keys]
            rows.append([setup.label, *(cell for group in cells for cell in group)])
    yield _table(header, rows)


def _slow(title: str, part: Result, labels: dict[str, str]) -> Iterator[str]:
    places = _places(part)
    yield f"### {title}"
    header = ["set-up"]
    for place in places:
        header += [f"{STORES[place]}: ms", "queries", "cache trips"]
    names = [setup.name for setup in SETUPS if setup.name in part[places[0]]]
    names += [name for name in part[places[0]] if name not in names]
    rows = []
    for name in names:
        row = [labels.get(name, _LABELS[name])]
        for place in places:
            figures = part[place][name]
            row += [_ms(figures["us"]), str(figures.get("queries", "–")), str(figures.get("trips", "–"))]
        rows.append(row)
    yield _table(header, rows)


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}, median {median(values):g}"


def _race(part: Result) -> Iterator[str]:
    yield "### One refresh token, shown by 16 threads at once"
    rows = []
    for place in _places(part):
        for name, races in part[place].items():
            rows.append(
                [
                    _LABELS[name],
                    STORES[place],
                    _range([one["answers"] for one in races]),
                    _range([one["living"] for one in races]),
                    f"{sum(one['replay_refused'] for one in races)} of {len(races)}",
                    f"{sum(one['replay_ends_all'] for one in races)} of {len(races)}",
                ]
            )
    header = ["set-up", "on", "answered", "different tokens that then work", "later replay refused", "… and all ended"]
    yield _table(header, rows)


def _growth(part: Result) -> Iterator[str]:
    small, large = part["sessions"]
    yield "### Growth"
    yield (
        "Ours, default, on PostgreSQL; each call with another session, drawn from the whole table. "
        "The trail holds as many events."
    )
    rows = [
        [what, *(_us(value) for value in part[what]["us"]), f"{part[what]['ratio']:.2f}"]
        for what in ("request", "refresh")
    ]
    yield _table(["", f"{small:,} sessions: µs", f"{large:,} sessions: µs", "ratio"], rows)


def _startup(part: Result) -> Iterator[str]:
    yield "### Start and memory"
    yield "A new process up to its first answer (CPU time, bytecode compiled before), and its resident memory then."
    rows = [
        [
            _LABELS[name],
            f"{figures['ms']:.0f}",
            f"{figures['ms_over']:+.0f}",
            f"{figures['mib']:.1f}",
            f"{figures['mib_over']:+.1f}",
        ]
        for name, figures in part.items()
    ]
    yield _table(["set-up", "ms of CPU", "over plain", "MiB", "over plain"], rows)


# --- targets -----------------------------------------------------------------------------------------


def _verdict(low: float, high: float, limit: float, *, at_least: bool = False) -> str:
    """Only what lies wholly on one side of the limit, with its uncertainty, is called reached or missed."""
    if at_least:
        low, high, limit = -high, -low, -limit
    return "reached" if high <= limit else "**missed**" if low > limit else "undecided"


def targets(result: Result) -> list[tuple[str, str, str, str]]:
    """What was aimed at, the target, what was measured (with the bounds of its median), and the verdict.

    On a busy machine no time is judged, either way: plain may have been slowed down as well as ours.
    """
    busy = is_noisy(result)

    def judge(low: float, high: float, limit: float, *, at_least: bool = False) -> str:
        return "no verdict: busy" if busy else _verdict(low, high, limit, at_least=at_least)

    found: list[tuple[str, str, str, str]] = []

    def add(name: str, target: str, measured: str | None, verdict: str = "–") -> None:
        found.append((name, target, measured or "not measured in this run", verdict if measured else "–"))

    def get(*path: str) -> Any:
        value: Any = result
        for key in path:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    for name, place, setup, most, queries, trips in (
        ("request, SQLite + local memory", "local", "ours", 2.6, 1, 0),
        ("request, PostgreSQL + Redis, `STATE_CACHE`", "served", "ours_state_cache", 3.0, 0, 1),
        ("the same with `STATE_MAX_AGE` 1 s", "served", "ours_state_max_age", 1.6, 0, 0),
    ):
        one = get("request", place, setup)
        target = f"≤ {most} × plain, queries: {queries}, trips: {trips}"
        if not one:
            add(name, target, None)
            continue
        counts = one["queries"] <= queries and one["trips"] <= trips
        add(
            name,
            target,
            f"{one['ratio']:.2f} ({one['low']:.2f} to {one['high']:.2f}) × plain, "
            f"queries: {one['queries']}, trips: {one['trips']}",
            judge(one["low"], one["high"], most) if counts else "**missed**",
        )
    effects = get("request", "effects", "served") or get("request", "effects", "local") or {}
    ours = {value for name in ("ours", "ours_state_cache") for value in effects.get(name, {}).values()}
    add(
        "sign-out, password change, deactivation, deletion",
        "at once",
        ", ".join(sorted(ours)) or None,
        "reached" if ours == {"at once"} else "**missed**",
    )
    one = get("http", "setups", "ours_state_cache")
    add(
        "requests a second, PostgreSQL + Redis, `STATE_CACHE`",
        "≥ 0.65 of plain",
        one and f"{one['share']:.2f} ({one['between'][0]:.2f} to {one['between'][1]:.2f}) of plain",
        judge(*one["between"], 0.65, at_least=True) if one else "–",
    )
    for question, most in (("role", 20), ("permission", 60)):
        for place, setup in (("local", "ours_roles"), ("served", "ours_roles_state_cache")):
            one = get("access", place, setup, question)
            name = f"+ {_QUESTIONS[question]}, {STORES[place]}"
            target = f"≤ +{most} µs, queries: 0"
            if not one:
                add(name, target, None)
                continue
            low, high = one["between"]
            add(
                name,
                target,
                f"{one['us']:+.0f} ({low:+.0f} to {high:+.0f}) µs, queries: {one['queries']}",
                judge(low, high, most) if one["queries"] == 0 else "**missed**",
            )
    for place in STORES:
        one = get("access", place, "ours_roles", "key")
        target = "≤ 2.6 × plain, queries: 1"
        if not one:
            add(f"API key, {STORES[place]}", target, None)
            continue
        low, high = one["ratio_between"]
        add(
            f"API key, {STORES[place]}",
            target,
            f"{one['ratio']:.2f} ({low:.2f} to {high:.2f}) × plain, queries: {one['queries']}",
            judge(low, high, 2.6) if one["queries"] <= 1 else "**missed**",
        )
    for name, row, place, most in (
        ("sign-in beyond the password hash, SQLite", "sign_in", "local", 3.0),
        ("sign-in beyond the password hash, PostgreSQL + Redis", "sign_in", "served", 5.0),
        ("refresh, SQLite", "refresh", "local", 1.5),
        ("refresh, PostgreSQL + Redis", "refresh", "served", 2.5),
    ):
        one = get(row, place, "ours")
        target = f"≤ {most} ms" + (", queries: 3" if row == "refresh" else "")
        if not one:
            add(name, target, None)
            continue
        low, high = one["between"]
        add(
            name,
            target,
            f"{_ms(one['us'])} ({_ms(low)} to {_ms(high)}) ms, queries: {one['queries']}",
            "**missed**" if row == "refresh" and one["queries"] > 3 else judge(low, high, most * 1000),
        )
    races = [one for place in STORES for one in get("race", place, "ours") or []]
    good = sum(one["answers"] == 16 and one["living"] == 1 and one["replay_ends_all"] for one in races)
    add(
        "one refresh token from 16 threads",
        "16 answers, one living token; a later replay ends the session",
        f"so in {good} of {len(races)} races" if races else None,
        "reached" if good == len(races) else "**missed**",
    )
    for what in ("request", "refresh"):
        one = get("growth", what)
        add(
            f"growth to a million sessions and events: {what}",
            "≤ 1.1 ×",
            one and f"{one['ratio']:.2f} ({one['between'][0]:.2f} to {one['between'][1]:.2f}) ×",
            judge(*one["between"], 1.1) if one else "–",
        )
    one = get("startup", "ours")
    for name, target, key, unit, limit in (
        ("import over plain DRF", "≤ +60 ms", "ms_over", "ms of CPU", 60),
        ("memory over plain DRF", "≤ +15 MiB", "mib_over", "MiB", 15),
    ):
        add(name, target, one and f"{one[key]:+.1f} {unit}", _verdict(one[key], one[key], limit) if one else "–")
    return found


def _targets(result: Result) -> Iterator[str]:
    yield "### Ours beside its targets"
    yield (
        "In brackets the bounds of the median at 95 %: they hold for this run on this machine. "
        "“Undecided”: the target lies between them."
    )
    yield _table(["what", "target", "measured", ""], [list(row) for row in targets(result)])


# --- the page ----------------------------------------------------------------------------------------


def _machine(result: Result) -> Iterator[str]:
    machine = result["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
    yield (
        f"Measured {machine['date']} ({result['form']} form) on {machine['cores']} cores of {machine['cpu']}, "
        f"{machine['system']}: {versions}."
    )
    if result.get("failed"):
        yield f"**Rows that failed in this run: {', '.join(result['failed'])}.**"
    noise = (result.get("request") or {}).get("noise")
    if noise:
        words = "; ".join(
            f"{STORES[place]}: plain's batches spread over {one['plain_spread']:.0%} of their median, the widest row's "
            f"over {one['widest']:.0%}, and plain against itself is {one['plain_again']:.2f}"
            for place, one in noise.items()
        )
        yield f"Noise of this run: load average {machine['load']} before it; {words} (spread: the middle four fifths)."
    if is_noisy(result):
        yield (
            "**The machine was busy: these figures are no verdict.** Who waits for PostgreSQL or Redis also "
            "waits for a processor there; plain does not, so times *and* ratios come out too high. Run it again when "
            "it is quiet."
        )


def is_noisy(result: Result) -> bool:
    """Tell whether something else ran: the load before, or plain against itself. How far batches spread is in the
    bounds of each figure already; on a shared machine they spread however quiet it is, with the processor's clock."""
    machine = result["machine"]
    noise = (result.get("request") or {}).get("noise") or {}
    return (machine["load"] or 0) > 0.5 * machine["cores"] or any(
        not 0.97 <= one["plain_again"] <= 1.03 for one in noise.values()
    )


def markdown(result: Result) -> str:
    """Everything between the markers of docs/performance.md."""
    blocks = [*_machine(result), *_targets(result)]
    if "request" in result:
        blocks += _request(result["request"])
    if "http" in result:
        blocks += _http(result["http"])
    if "access" in result:
        blocks += _access(result["access"])
    if "sign_in" in result:
        blocks += _slow("Sign-in, without the password hash", result["sign_in"], _TRUSTED)
    if "refresh" in result:
        blocks += _slow("Refresh with rotation", result["refresh"], {})
    if "race" in result:
        blocks += _race(result["race"])
    if "growth" in result:
        blocks += _growth(result["growth"])
    if "startup" in result:
        blocks += _startup(result["startup"])
    return "\n\n".join(blocks)


def write(result: Result, path: Path) -> None:
    """Put the figures between the markers of a page; a file without markers becomes the figures."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    measured = f"{BEGIN}\n\n{markdown(result)}\n\n{END}"
    if BEGIN in text and END in text:
        before, _, rest = text.partition(BEGIN)
        text = before + measured + rest.partition(END)[2]
    else:
        text = measured + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
