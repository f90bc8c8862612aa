"""A window begins with its first event and ends by itself, whatever comes in between."""

from __future__ import annotations

import threading

from django_secure_auth.kit.window import Window


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_window_is_not_prolonged_by_what_happens_in_it() -> None:
    clock = Clock()
    window: Window[str] = Window(60, timer=clock)
    counts = []
    for clock.now in range(0, 61, 10):
        counts.append(window.count("a"))
    assert counts == [1, 2, 3, 4, 5, 6, 1]


def test_keys_do_not_know_each_other_and_the_memory_is_bounded() -> None:
    window: Window[int] = Window(60, maxsize=2)
    assert [window.count(key) for key in (1, 2, 1, 3, 2)] == [1, 1, 2, 1, 1]  # the second was used least
    window.clear()
    assert window.count(3) == 1


def test_no_event_is_lost_between_threads() -> None:
    window: Window[str] = Window(60)
    threads = [threading.Thread(target=lambda: [window.count("a") for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert window.count("a") == 8001
