"""How far a training run is: rate, percent and time to go, live on a terminal or as lines in a log.

The idea of reporting rate, share done and time left together follows google/CLU's
``periodic_actions.ReportProgress``; the display is rich's.
"""

from __future__ import annotations

import collections
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TextIO

# Rates are those of the last half minute: long enough to even out a slow batch, short enough to
# show within a minute that something else is using the machine.
WINDOW_SECONDS = 30.0

# What is shown of the logs, in this order.
_SHOWN: dict[str, Callable[[float], str]] = {
    "loss": "loss {:.3f}".format,
    "accuracy": lambda share: f"accuracy {100 * share:.1f} %",
    "eval_loss": "eval loss {:.3f}".format,
    "eval_accuracy": lambda share: f"eval accuracy {100 * share:.1f} %",
    "eval_mean_average_precision": "eval mAP {:.3f}".format,
    "input_wait": lambda share: f"waiting for input {100 * share:.0f} %",
}


class Progress:
    """Tells a person how a run of known length goes; use it as a context manager.

    On a terminal one live line is redrawn in place. Anywhere else (a file, a pipe, a cluster's log)
    whole lines are written, the first and the last step always, in between at most one every
    `line_seconds`::

        step 1,200/11,000  10.9 %  1,234 examples/s  9.6 steps/s  ETA 17 min 3 s  loss 0.532

    Rates count the steps of this process alone: steps restored from a checkpoint took no time here.
    They are taken over the last `WINDOW_SECONDS`, and leave out the first call's tracing and
    compiling as soon as there is a second update, and the time spent inside `pause`.

    Example:
        >>> import io
        >>> lines = io.StringIO()
        >>> with Progress(10, examples_per_step=32, stream=lines, clock=lambda: 0.0) as progress:
        ...     progress.update(10, {"loss": 0.25})
        >>> print(lines.getvalue(), end="")
        step 10/10  100.0 %  loss 0.250
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int = 0,
        examples_per_step: int = 1,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        line_seconds: float = 10.0,
        live: bool | None = None,
    ):
        """Starts the clock.

        Args:
          total_steps: the step at which the run ends, > 0.
          start_step: the step this process starts from, in [0, total_steps].
          examples_per_step: the global batch size.
          stream: where to write; standard error unless told, so that standard output stays free
            for a command's result.
          clock: returns seconds, never going back. Tests inject their own.
          line_seconds: the least time between two lines of a log.
          live: whether to redraw one line in place; unless told, whether `stream` is a terminal.

        Raises:
          ValueError: if `total_steps` isn't positive or `start_step` lies outside of the run.
        """
        if total_steps <= 0:
            raise ValueError(f"total_steps must be at least 1, got {total_steps}")
        if not 0 <= start_step <= total_steps:
            raise ValueError(f"start_step {start_step} lies outside of 0..{total_steps}")
        self._total_steps = total_steps
        self._start_step = start_step
        self._step = start_step
        self._examples_per_step = examples_per_step
        self._stream = stream if stream is not None else sys.stderr
        self._clock = clock
        self._line_seconds = line_seconds
        self._live = self._stream.isatty() if live is None else live
        self._logs: dict[str, float] = {}
        self._paused_seconds = 0.0
        self._pause_began: float | None = None
        self._activity = ""
        # (seconds of work so far, step), oldest first.
        self._marks: collections.deque[tuple[float, int]] = collections.deque()
        self._marks.append((self._now(), start_step))
        self._intervals = 0
        self._last_line: tuple[float, int] | None = None
        self._display = None

    def __enter__(self) -> Progress:
        """Takes the terminal's last line, if there is one."""
        if self._live:
            from rich.console import Console
            from rich.live import Live

            # Redrawn by update() alone: a refreshing thread would compete with the training's.
            console = Console(file=self._stream, force_terminal=True)
            self._display = Live("", console=console, auto_refresh=False)
            self._display.start()
        return self

    def __exit__(self, exc_type: object, exc: object, traceback: object) -> None:
        """Leaves the last state on the terminal, or writes it if its line hadn't been due."""
        if self._display is not None:
            self._display.stop()
            self._display = None
        elif not self._live and self._last_line and self._last_line[1] != self._step:
            self._write_line()

    def update(self, step: int, logs: Mapping[str, float]) -> None:
        """Records that `step` is finished, and shows it when due.

        Args:
          step: the number of finished steps, restored ones included. It may go back (a rollback
            after a divergence): rates then start anew.
          logs: what to show beside it, each value until it is given anew: `loss`, `accuracy` (in
            [0, 1]), `input_wait` (the share of time spent waiting for input, in [0, 1]) and an
            evaluation's `eval_...`. Other keys are passed over.
        """
        now = self._now()
        if step < self._step:
            self._marks.clear()
        self._step = step
        self._logs |= {
            name: float(value)
            for name, value in logs.items()
            if name in _SHOWN or name.startswith("eval_")
        }
        if not self._marks or step > self._marks[-1][1]:
            self._intervals += 1
            if self._intervals == 2 and len(self._marks) == 2:
                self._marks.popleft()  # The first interval held tracing and compiling.
            self._marks.append((now, step))
        while len(self._marks) > 2 and now - self._marks[1][0] >= WINDOW_SECONDS:
            self._marks.popleft()
        self._redraw()
        evaluated = any(name.startswith("eval_") for name in logs)
        if not self._live and (evaluated or self._line_due()):
            self._write_line()

    @contextlib.contextmanager
    def pause(self, activity: str) -> Iterator[None]:
        """Leaves the time spent inside (an evaluation, a checkpoint) out of the training rate.

        Args:
          activity: what the run does meanwhile, shown on the terminal, such as "evaluating".
        """
        self._pause_began, self._activity = self._clock(), activity
        self._redraw()
        try:
            yield
        finally:
            self._paused_seconds += self._clock() - self._pause_began
            self._pause_began, self._activity = None, ""
            self._redraw()

    @property
    def steps_per_second(self) -> float | None:
        """The recent rate of this process, None as long as nothing has been measured."""
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        if last <= first or ended <= began:
            return None
        return (last - first) / (ended - began)

    @property
    def examples_per_second(self) -> float | None:
        """`steps_per_second` times the global batch size."""
        rate = self.steps_per_second
        return None if rate is None else rate * self._examples_per_step

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the end of the run at the recent rate, None as long as that is unknown."""
        rate = self.steps_per_second
        return None if rate is None else (self._total_steps - self._step) / rate

    def _now(self) -> float:
        """Seconds of work; the clock stands still during a pause."""
        now = self._clock() if self._pause_began is None else self._pause_began
        return now - self._paused_seconds

    def _text(self, activity: str = "") -> str:
        total, step = self._total_steps, self._step
        parts = [f"step {step:,}/{total:,}", f"{100 * step / total:.1f} %"]
        if activity:  # Near the front: a narrow terminal cuts the end off.
            parts.append(activity)
        if self.steps_per_second is not None:
            parts.append(f"{_rate(self.examples_per_second)} examples/s")
            parts.append(f"{_rate(self.steps_per_second)} steps/s")
            if step < total:
                parts.append(f"ETA {duration(self.seconds_left)}")
        parts += [_SHOWN[name](self._logs[name]) for name in _SHOWN if name in self._logs]
        others = [name for name in self._logs if name not in _SHOWN]
        parts += [f"{name.replace('_', ' ')} {self._logs[name]:.4g}" for name in others]
        return "  ".join(parts)

    def _redraw(self) -> None:
        if self._display is not None:
            from rich.text import Text

            line = Text(self._text(self._activity), no_wrap=True, overflow="ellipsis")
            self._display.update(line, refresh=True)

    def _line_due(self) -> bool:
        if self._last_line is None or self._step >= self._total_steps:
            return True
        return self._clock() - self._last_line[0] >= self._line_seconds

    def _write_line(self) -> None:
        self._stream.write(self._text() + "\n")
        self._stream.flush()
        self._last_line = (self._clock(), self._step)


def duration(seconds: float) -> str:
    """Says a time the way people do, in its two largest units.

    Args:
      seconds: >= 0.

    Example:
        >>> duration(42), duration(200), duration(7300), duration(200_000)
        ('42 s', '3 min 20 s', '2 h 1 min', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    largest = next(i for i, (_, size) in enumerate(units) if whole >= size)
    (name, size), (next_name, next_size) = units[largest], units[largest + 1]
    rest = whole % size // next_size
    return f"{whole // size} {name}" + (f" {rest} {next_name}" if rest else "")


def _rate(value: float) -> str:
    """Three significant digits: 1,234 or 12.3 or 0.0123."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
