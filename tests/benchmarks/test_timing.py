"""Calls take turns, and what is counted is what ran."""

from __future__ import annotations

from benchmarks import timing


class Clock:
    """A clock that only the calls advance."""

    def __init__(self):
        self.now = 0.0
        self.order = []

    def call(self, name, *seconds):
        waits = iter(seconds)

        def run():
            self.order.append(name)
            self.now += next(waits)

        return run


def test_calls_take_turns_and_the_first_is_not_counted(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    calls = {"a": clock.call("a", 100, 1, 2, 9), "b": clock.call("b", 100, 4, 5, 6)}
    times = timing.interleaved(calls, rounds=3)
    assert times == {"a": [1, 2, 9], "b": [4, 5, 6]}
    assert "".join(clock.order) == "ab" + "ab" + "ba" + "ab"
    assert timing.median(times["a"]) == 2


def test_a_quick_call_is_repeated_within_its_turn(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    calls = {"a": clock.call("a", *[1.0] * 50), "b": clock.call("b", *[8.0] * 50)}
    times = timing.interleaved(calls, rounds=2, sample_seconds=4.0)
    assert times == {"a": [1.0, 1.0], "b": [8.0, 8.0]}
    assert "".join(clock.order) == "ab" + "a" + "aaaa" + "b" + "b" + "aaaa"


def test_no_round_begins_when_time_is_up(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock.now)
    times = timing.interleaved({"a": clock.call("a", *[10.0] * 50)}, rounds=9, seconds=25)
    assert times == {"a": [10.0] * 3}
    times = timing.interleaved({"a": clock.call("a", *[10.0] * 50)}, rounds=9, seconds=0)
    assert times == {"a": [10.0] * 1}
