"""Seconds by what they were spent on."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from statistics import median
from time import perf_counter
from typing import Any


class Clock:
    """Adds up seconds by part; a part that runs within another counts for itself alone."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time of the block."""
        inside, start = sum(self.spent.values()), perf_counter()
        try:
            yield
        finally:
            inside = sum(self.spent.values()) - inside
            self.spent[name] += perf_counter() - start - inside

    def timed(self, name: str, function: Callable) -> Callable:
        """Return the function, its calls counted."""

        @wraps(function)  # with its attributes: `Adam.step` has one without which torch would run its hooks twice
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return call


def in_turns(budget: float, functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Call the functions in turns for `budget` seconds, thrice at least, and return the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    end, rounds = perf_counter() + budget, 0
    while rounds < 3 or perf_counter() < end:
        for name, function in functions.items():
            start = perf_counter()
            function()
            seconds[name].append(perf_counter() - start)
        rounds += 1
    return {name: median(values) for name, values in seconds.items()}
