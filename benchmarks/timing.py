"""Times of calls that take turns, so that what slows the machine for a while slows them all."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

SAMPLE_SECONDS = 0.05  # A shorter call is repeated until a sample lasts about as long.


def seconds_of(call: Callable[[], object], repetitions: int = 1) -> float:
    """Mean time of `repetitions` calls in a row; the call waits for its result."""
    started = time.perf_counter()
    for _ in range(repetitions):
        call()
    return (time.perf_counter() - started) / repetitions


def interleaved(
    calls: Mapping[str, Callable[[], object]],
    rounds: int,
    seconds: float = math.inf,
    sample_seconds: float = SAMPLE_SECONDS,
) -> dict[str, list[float]]:
    """Times every call once a round, after one call each that isn't counted.

    Every other round goes through the calls backwards: a drift of the machine then adds the same
    to all of them.

    Args:
      calls: by name. rounds: at least 1, and at most so many.
      seconds: no round begins once these have passed, but for the first.
      sample_seconds: a call that is quicker is repeated within its turn.

    Returns:
      {name: seconds of each round}.
    """
    for call in calls.values():
        call()
    repetitions: dict[str, int] = {}
    times: dict[str, list[float]] = {name: [] for name in calls}
    until = time.perf_counter() + seconds
    for turn in range(rounds):
        if turn and time.perf_counter() > until:
            break
        gc.collect()
        for name in calls if turn % 2 == 0 else reversed(calls):
            if name not in repetitions:
                taken = seconds_of(calls[name])
                repetitions[name] = max(1, math.ceil(sample_seconds / max(taken, 1e-9)))
                if repetitions[name] == 1:  # Long enough: it counts.
                    times[name].append(taken)
                    continue
            times[name].append(seconds_of(calls[name], repetitions[name]))
    return times


def median(times: Sequence[float]) -> float:
    """The median, which one slow round doesn't move."""
    return statistics.median(times)
