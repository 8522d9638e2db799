"""The share of waiting is what a pipeline of known slowness makes steps wait."""

from __future__ import annotations

import time

import numpy as np
import orbit
import tensorflow as tf

from tf_perceiver.training.input_wait import InputWait


class Loop(orbit.StandardTrainer):
    """Steps of a known length on batches of a known length, in one loop inside a tf.function."""

    def __init__(self, batch_seconds: float, step_seconds: float, parallel: int = 1) -> None:
        self.wait = InputWait()
        self.total = tf.Variable(0.0)

        def slept(x: tf.Tensor, seconds: float) -> tf.Tensor:
            def sleep(x: np.ndarray) -> np.ndarray:
                time.sleep(seconds)
                return x

            return tf.ensure_shape(tf.numpy_function(sleep, [x], tf.float32), []) if seconds else x

        self.step = lambda x: slept(x + self.total, step_seconds)
        numbers = tf.data.Dataset.range(10**6).map(lambda x: tf.cast(x, tf.float32))
        super().__init__(numbers.map(lambda x: slept(x, batch_seconds)).prefetch(4))

    def train_loop_begin(self) -> None:
        self.wait.begin()

    def train_step(self, iterator) -> None:
        self.total.assign(self.step(next(self.wait.timed(iterator))))

    def train_loop_end(self) -> dict[str, float]:
        return {"share": self.wait.share(), "total": float(self.total)}


def measured(*seconds: float, steps: int = 20) -> dict[str, float]:
    """Of a loop after the one that traces."""
    looped = Loop(*seconds)
    assert looped.train(tf.constant(3))["total"] == 0 + 1 + 2
    return looped.train(tf.constant(steps))


def test_what_a_slow_pipeline_makes_steps_wait_is_seen():
    """No exact shares: on a busy machine everything takes longer, and not by as much."""
    waited, worked = measured(0.03, 0.0)["share"], measured(0.0, 0.03)["share"]
    assert 0 <= worked < waited <= 1
