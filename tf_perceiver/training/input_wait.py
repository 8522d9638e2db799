"""How long training waits for its input, measured where it waits: in the loop on the device's host.

A loop of many steps is one call, within which Python sees no single step. So the graph itself reads
the clock, right before a step asks for its batch and as soon as it has it: two operations of the
host a step, and an addition.
"""

from __future__ import annotations

import time
from typing import Any

import tensorflow as tf


class InputWait:
    """The share of a loop's time in which its steps waited for their batches.

    What counts is the time between asking for a batch and having it. A batch that was prepared in
    the meantime is handed over in microseconds, so the share is near 0 as long as the pipeline
    keeps up; where the model waits, the share says how much of the time could be won at most by a
    quicker pipeline. On a CPU, of which both need the cores, less can be won than that. The first
    loop's time holds tracing and compiling too, so its share says too little.
    """

    def __init__(self) -> None:
        with tf.device("/cpu:0"):  # Else a TPU, or a GPU, were asked to hold a float64.
            self._seconds = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self.begin()

    def begin(self) -> None:
        """Forgets the loop before; to be called when one begins."""
        self._seconds.assign(0.0)
        self._began = time.perf_counter()

    def share(self) -> float:
        """In [0, 1]: of the time since `begin`, waited for input by the steps that have ended."""
        passed = time.perf_counter() - self._began
        return min(float(self._seconds) / passed, 1.0) if passed > 0 else 0.0

    def timed(self, iterator: Any) -> _Timed:
        """The same iterator, with the time that `next` takes noted; inside a tf.function."""
        return _Timed(iterator, self._seconds)


class _Timed:
    def __init__(self, iterator: Any, seconds: tf.Variable) -> None:
        self._iterator, self._seconds = iterator, seconds

    def __next__(self) -> Any:
        asked = tf.timestamp()
        with tf.control_dependencies([asked]):
            batch = next(self._iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            given = tf.timestamp()
        self._seconds.assign_add(given - asked)
        return batch
