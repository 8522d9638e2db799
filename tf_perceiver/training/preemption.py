"""SIGTERM and SIGINT: finish the device's loop, save, leave with a code that schedulers understand.

After every loop all workers add up whether one of them was signalled (`strategy.any_worker`), so
that all save the same step and leave together, with the same code.

TensorFlow's PreemptionCheckpointHandler has workers agree too, through the coordination service. It
isn't used: its `run` wants single steps, which would put Python between those of the device's loop;
it restores in its constructor what its CheckpointManager calls the latest, where we take the newest
that is whole; and a single process would go another way than many. Connections at the start, which
it leaves to the scheduler's retries, `cluster` tries for a bounded time.

That a cloud is about to take a machine away is not asked for: it reaches us as SIGTERM when the
machine shuts down. The notice before that comes up to an hour early and stays: a training that left
at it would be started again, and leave again, until the hour is over.
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
