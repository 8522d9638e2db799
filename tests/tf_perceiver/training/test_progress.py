"""Progress: what a person reads on a terminal and in a log."""

from __future__ import annotations

import contextlib
import doctest
import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_perceiver.training import progress as progress_module
from tf_perceiver.training.progress import Progress, duration


class Clock:
    """A clock that goes when told."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_doctest():
    assert doctest.testmod(progress_module).failed == 0


def test_line_says_rate_percent_eta_and_measures(clock):
    lines = io.StringIO()
    with Progress(11_000, examples_per_step=128, stream=lines, clock=clock) as progress:
        clock.seconds += 20  # Tracing.
        progress.update(1_000, {"loss": 0.9})
        clock.seconds += 20
        progress.update(
            1_200, {"loss": 0.5321, "accuracy": 0.8125, "input_wait": 0.07, "grad_norm": 1.0}
        )
        first, second = lines.getvalue().splitlines()
    assert first.startswith("step 1,000/11,000  9.1 %")
    assert second == (
        "step 1,200/11,000  10.9 %  1,280 examples/s  10 steps/s  ETA 16 min 20 s  "
        "loss 0.532  accuracy 81.2 %  waiting for input 7 %"
    )


def test_restored_steps_are_not_counted_as_work(clock):
    progress = Progress(2_000, 1_000, 10, stream=io.StringIO(), clock=clock)
    clock.seconds += 5
    progress.update(1_010, {})
    assert progress.steps_per_second == pytest.approx(2.0)
    assert progress.examples_per_second == pytest.approx(20.0)
    assert progress.seconds_left == pytest.approx(495.0)


def test_nothing_is_claimed_before_anything_is_measured(clock):
    lines = io.StringIO()
    progress = Progress(10, stream=lines, clock=clock)
    assert progress.steps_per_second is None
    assert progress.seconds_left is None
    progress.update(0, {})
    assert lines.getvalue() == "step 0/10  0.0 %\n"


def test_compiling_in_the_first_interval_does_not_slow_the_rate(clock):
    progress = Progress(1_000, stream=io.StringIO(), clock=clock)
    clock.seconds += 60
    progress.update(10, {})
    assert progress.steps_per_second == pytest.approx(10 / 60)
    clock.seconds += 1
    progress.update(20, {})
    assert progress.steps_per_second == pytest.approx(10.0)


def test_rate_follows_a_change_within_the_window(clock):
    progress = Progress(100_000, stream=io.StringIO(), clock=clock)
    step = 0
    for per_second in [10] * 120 + [40] * 32:
        clock.seconds += 1
        step += per_second
        progress.update(step, {})
    assert progress.steps_per_second == pytest.approx(40.0)


def test_pause_is_left_out_of_the_rate(clock):
    progress = Progress(1_000, stream=io.StringIO(), clock=clock)
    for step in (10, 20):
        clock.seconds += 1
        progress.update(step, {})
    with progress.pause("evaluating"):
        clock.seconds += 25
    clock.seconds += 1
    progress.update(30, {})
    assert progress.steps_per_second == pytest.approx(10.0)


def test_an_evaluation_reports_from_within_its_pause(clock):
    lines = io.StringIO()
    progress = Progress(1_000, stream=lines, clock=clock)
    for step in (10, 20):
        clock.seconds += 1
        progress.update(step, {"loss": 1.0})
    with progress.pause("evaluating"):
        clock.seconds += 3
        progress.update(20, {"eval_loss": 1.25, "eval_accuracy": 0.5})
        clock.seconds += 3
    assert (
        lines.getvalue()
        .splitlines()[-1]
        .endswith("loss 1.000  eval loss 1.250  eval accuracy 50.0 %")
    )
    clock.seconds += 1
    progress.update(30, {"loss": 0.5})
    assert progress.steps_per_second == pytest.approx(10.0)


def test_a_failing_pause_still_counts_as_pause(clock):
    progress = Progress(1_000, stream=io.StringIO(), clock=clock)
    clock.seconds += 1
    progress.update(10, {})
    with contextlib.suppress(OSError), progress.pause("saving"):
        clock.seconds += 9
        raise OSError("disk full")
    clock.seconds += 1
    progress.update(20, {})
    assert progress.steps_per_second == pytest.approx(10.0)


def test_rates_start_anew_after_a_rollback(clock):
    progress = Progress(1_000, stream=io.StringIO(), clock=clock)
    for step in (100, 200, 50):
        clock.seconds += 10
        progress.update(step, {})
    assert progress.steps_per_second is None
    clock.seconds += 10
    progress.update(70, {})
    assert progress.steps_per_second == pytest.approx(2.0)


def test_lines_come_at_most_every_ten_seconds_and_at_the_end(clock):
    lines = io.StringIO()
    with Progress(100, stream=lines, clock=clock) as progress:
        for step in range(1, 101):
            clock.seconds += 1
            progress.update(step, {})
    steps = [int(re.match(r"step (\d+)/100", line)[1]) for line in lines.getvalue().splitlines()]
    assert steps == [1, *range(11, 101, 10), 100]


def test_an_interrupted_run_leaves_its_last_step_in_the_log(clock):
    lines = io.StringIO()
    with (
        contextlib.suppress(KeyboardInterrupt),
        Progress(100, stream=lines, clock=clock) as progress,
    ):
        for step in (1, 2, 3):
            clock.seconds += 1
            progress.update(step, {})
        raise KeyboardInterrupt
    assert [line.split("/")[0] for line in lines.getvalue().splitlines()] == ["step 1", "step 3"]


def test_terminal_redraws_one_line(clock):
    terminal = Terminal()
    with Progress(100, stream=terminal, clock=clock) as progress:
        for step in (25, 50):
            clock.seconds += 1
            progress.update(step, {"loss": 1.5})
        with progress.pause("evaluating"):
            clock.seconds += 1
        progress.update(75, {"loss": float("nan")})
    text = terminal.getvalue()
    assert "\x1b[2K" in text  # Erases a line before drawing it again.
    assert "50.0 %  evaluating" in text
    assert "loss nan" in text
    assert text.rindex("75/100") > text.rindex("50/100")


@pytest.mark.parametrize(
    ("total", "start", "message"),
    [(0, 0, "at least 1, got 0"), (10, 11, r"11 lies outside of 0\.\.10"), (10, -1, "-1 lies")],
)
def test_impossible_runs_are_refused(total, start, message):
    with pytest.raises(ValueError, match=message):
        Progress(total, start)


@given(st.floats(0, 1e8))
def test_duration_is_within_a_unit_of_the_truth(seconds):
    sizes = {"d": 86_400, "h": 3_600, "min": 60, "s": 1}
    words = duration(seconds).split()
    said = sum(int(n) * sizes[unit] for n, unit in zip(words[::2], words[1::2], strict=True))
    largest = sizes[words[1]]
    second = {86_400: 3_600, 3_600: 60, 60: 1, 1: 1}[largest]
    assert math.isclose(said, seconds, abs_tol=second + 0.5)
