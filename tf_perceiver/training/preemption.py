"""SIGTERM and SIGINT: finish the device's loop, save, leave with a code that schedulers understand.

After every loop all workers add up whether one of them was signalled (`strategy.any_worker`), so
that all save the same step and leave together; a worker's code says no more than the others'.

TensorFlow's PreemptionCheckpointHandler does the same between single steps, through the
coordination service. It isn't used: it wants to own the loop's steps and a CheckpointManager, whose
checkpoints have no manifest, and needs a cluster, so that one process would take another way than
many; and it saves where steps are called one by one, which Orbit's loop on the device doesn't do.
What it retries, the connection at the start, `cluster` does, for a bounded time. The end of a
machine that a cloud announces reaches us as SIGTERM, when it shuts down: the announcement itself
comes up to an hour before and stays, and a training that left at it would be started, and leave,
again and again.
"""

from __future__ import annotations

import signal
from types import FrameType

# sysexits' EX_TEMPFAIL: nothing is wrong, run the same command again.
EXIT_CODE = 75


class Preempted(Exception):
    """Nothing is wrong with this process, and it ends: the same command is to be run again."""


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
