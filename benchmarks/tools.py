"""`python -m benchmarks.tools`: microseconds of one clean_html, one cached call and the MAC of one event, in this process."""

from __future__ import annotations

import timeit
from collections.abc import Callable

from django_secure_auth.kit.cache import cached
from django_secure_auth.kit.sanitize import clean_html

COMMENT = '<p>A <b>comment</b> of usual size, with <a href="https://example.com/?a=1&b=2">a link</a>.</p>' * 5


@cached()
def same(value: int) -> int:
    return value


def microseconds(action: Callable[[], object], number: int) -> float:
    return min(timeit.repeat(action, number=number, repeat=5)) / number * 1e6


if __name__ == "__main__":
    print(f"clean_html, {len(COMMENT)} characters: {microseconds(lambda: clean_html(COMMENT), 50):.0f} µs")
    print(f"cached, a hit: {microseconds(lambda: same(1), 20_000):.2f} µs")
