"""Rates such as `10/15m`, read strictly."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

_UNITS = {
    "s": 1, "sec": 1, "second": 1,
    "m": 60, "min": 60, "minute": 60,
    "h": 3600, "hour": 3600,
    "d": 86400, "day": 86400,
}  # fmt: skip
_RATE = re.compile(r"([1-9][0-9]{0,8})/([1-9][0-9]{0,5})?(" + "|".join(_UNITS) + r")", re.ASCII)
_LONGEST = 366 * 86400


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` events in each window of `seconds` seconds."""

    limit: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> Rate:
        """Read `"10/15m"`, `"5/min"`, `"100/hour"`.

        The whole text must match: a lenient reader takes `10/5x` for ten per five seconds, and a limit
        that is not the one that was meant protects nobody. Raises ValueError.
        """
        return _parse(text) if isinstance(text, str) else _refuse(text)

    @classmethod
    def parse_several(cls, text: object) -> tuple[Rate, ...]:
        """Read `"5/min, 100/hour"`: one rate, or several of growing windows, each of which allows more than the last.

        One that allows no more than a shorter one is a slip: the shorter would never be reached. Raises ValueError.
        """
        rates = (
            tuple(_parse(part.strip(" ")) for part in text.split(",")) if isinstance(text, str) else (_refuse(text),)
        )
        for shorter, longer in pairwise(rates):
            if shorter.seconds >= longer.seconds or shorter.limit >= longer.limit:
                raise ValueError(f"{text!r} does not grow; write for example '5/min, 100/hour'")
        return rates


@lru_cache(maxsize=256)
def _parse(text: str) -> Rate:
    match = _RATE.fullmatch(text)
    if match is None:
        return _refuse(text)
    limit, multiple, unit = match.groups()
    seconds = int(multiple or 1) * _UNITS[unit]
    return Rate(int(limit), seconds) if seconds <= _LONGEST else _refuse(text)


def _refuse(text: object) -> Rate:
    raise ValueError(f"{text!r} is not a rate; write for example '10/15m', '5/min' or '100/hour'")
