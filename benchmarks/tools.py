"""`python -m benchmarks.tools`: microseconds of one clean_html and one cached call, in this process."""

from __future__ import annotations

import timeit

from django_secure_auth.kit.cache import cached
from django_secure_auth.kit.sanitize import clean_html

COMMENT = '<p>A <b>comment</b> of usual size, with <a href="https://example.com/?a=1&b=2">a link</a>.</p>' * 5


@cached()
def same(value: int) -> int:
    return value


def microseconds(statement: str, number: int) -> float:
    return min(timeit.repeat(statement, globals=globals(), number=number, repeat=5)) / number * 1e6


if __name__ == "__main__":
    print(f"clean_html, {len(COMMENT)} characters: {microseconds('clean_html(COMMENT)', 50):.0f} µs")
    print(f"cached, a hit: {microseconds('same(1)', 20_000):.2f} µs")
