"""`python -m tests.ratelimit.at_once '{…}'`: one of several processes that call a limited view from many threads.

Half of the threads call a view with `rate_limit`, the others one with a throttle, both under one name. Prints `ready`,
begins when its standard input has a line, and prints how many calls passed and how many were refused. What it is told:
the cache, the rate, how many threads, how many calls each, how many at a time (a server has only so many connections).
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import django


def main(told: dict[str, Any]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    from django.contrib.auth.models import AnonymousUser  # noqa: PLC0415  # needs the apps
    from django.test import RequestFactory, override_settings  # noqa: PLC0415  # needs the apps

    from tests.races.browser import in_threads, let_go  # noqa: PLC0415  # needs the apps
    from tests.ratelimit.views import closed, throttled  # noqa: PLC0415  # needs the apps

    gate = threading.BoundedSemaphore(told["at_a_time"])
    views = [closed(told["rate"]), throttled(told["rate"])]

    def call(view: Callable[..., Any]) -> int:
        request = RequestFactory().get("/here/")
        request.user = AnonymousUser()
        return int(view(request).status_code)

    def calls(view: Callable[..., Any]) -> list[int]:
        statuses = []
        for _ in range(told["calls"]):
            with gate:
                try:
                    while (status := call(view)) == 503:  # no connection was left: nothing was counted
                        let_go()
                        time.sleep(0.05)
                finally:
                    if told["at_a_time"] < told["threads"]:
                        let_go()
            statuses.append(status)
        let_go()
        return statuses

    with override_settings(CACHES={"default": told["cache"]}):
        jobs = [partial(calls, views[number % 2]) for number in range(told["threads"])]
        print("ready", flush=True)
        sys.stdin.readline()
        statuses = [status for several in in_threads(jobs) for status in several]
    assert set(statuses) <= {200, 429}, set(statuses)
    print(json.dumps({"passed": statuses.count(200), "refused": statuses.count(429)}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
