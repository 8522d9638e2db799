"""SIGTERM and SIGINT: finish the step, save, leave with a code that a scheduler understands."""

from __future__ import annotations

import signal
from types import FrameType

# sysexits' EX_TEMPFAIL: nothing is wrong, run the same command again.
EXIT_CODE = 75


class Preempted(Exception):
    """Raised by the training loop after it has saved because of a signal."""


class WorkerLost(Preempted):
    """Raised by the training loop when another worker is gone; what wasn't saved is lost."""


class SignalFlag:
    """Remembers that a signal came. A second one ends the process at once, unsaved."""

    SIGNALS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before = {}

    def __enter__(self) -> SignalFlag:
        for number in self.SIGNALS:
            self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number)
        signal.signal(number, signal.SIG_DFL)
