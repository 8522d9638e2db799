"""A window of steps for TensorFlow's profiler, whose traces TensorBoard shows."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf


class Window:
    """Profiles the device loops that steps `start` to `stop` lie in; a context manager.

    Args:
      directory: for the traces; None writes nothing.
      start, stop: first and last step; 0, 0 is off.

    Raises:
      ValueError: a window that ends before it begins.
    """

    def __init__(self, directory: Path | None, start: int, stop: int) -> None:
        if not 0 <= start <= stop:
            raise ValueError(f"config.train.profile=({start}, {stop}) is not a window of steps")
        self.directory, self.start, self.stop = directory, start, stop
        self.running = False

    def upcoming(self, done: int, last: int) -> None:
        """To be told of every loop before it: it takes the steps done + 1 to last."""
        wanted = self.start <= last and done < self.stop and self.directory is not None
        if wanted and not self.running:
            tf.profiler.experimental.start(str(self.directory))
        elif self.running and not wanted:
            tf.profiler.experimental.stop()
        self.running = wanted

    def __enter__(self) -> Window:
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the window that is open."""
        if self.running:
            tf.profiler.experimental.stop()
            self.running = False
