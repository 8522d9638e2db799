"""Exponential moving averages of the weights: what is evaluated, exported and restored to predict.

tf-models-official's ExponentialMovingAverage wraps an optimizer and isn't used: it can't be told
that gradients are summed over the replicas already, and it exchanges averages and weights by
adding and subtracting them, which rounds, so that an evaluation would change the training.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import tensorflow as tf


class Averages:
    """An average for every weight that is learned.

    After update t it moves to decay_t * average + (1 - decay_t) * weight, with
    decay_t = min(decay, (1 + t) / (10 + t)): so the beginning doesn't weigh on a short training.
    Running statistics of batch norm are averages already and stay as they are.

    To be made under the strategy's scope.

    Args:
      weights: {neutral name: variable}, see `Perceiver.named_weights`.
      decay: in [0, 1); 0 is off: then there are no averages and every method does nothing.

    Attributes:
      variables: {neutral name: its average}.

    Raises:
      ValueError: another decay.
    """

    def __init__(self, weights: Mapping[str, tf.Variable], decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"config.train.ema_decay={decay} is not in [0, 1); 0 is off")
        self.decay = decay
        self._weights = {n: v for n, v in weights.items() if decay and v.trainable}
        self.variables = {
            name: tf.Variable(tf.convert_to_tensor(weight), trainable=False, name=f"ema.{name}")
            for name, weight in self._weights.items()
        }

    def start(self) -> None:
        """Sets the averages to the weights."""
        for name, weight in self._weights.items():
            self.variables[name].assign(tf.convert_to_tensor(weight))

    def update(self, updates: tf.Tensor, applied: tf.Tensor) -> None:
        """Moves the averages towards the weights; to be called by every replica in a train step.

        Args:
          updates: number of updates so far, this one included.
          applied: bool []; where it is false, nothing changes.
        """
        if not self.variables:
            return
        # 1 - decay_t, without the digits that a subtraction would lose in float32.
        rate = tf.maximum(1 - self.decay, 9 / (10 + tf.cast(updates, tf.float32)))
        rate = tf.where(applied, rate, tf.zeros_like(rate))

        def move(average: tf.Variable, weight: tf.Variable, rate: tf.Tensor) -> tf.Operation:
            return average.assign_sub(tf.cast(rate, average.dtype) * (average - weight))

        def move_all(strategy: tf.distribute.Strategy, rate: tf.Tensor) -> None:
            for name, average in self.variables.items():
                strategy.extended.update(average, move, args=(self._weights[name], rate))

        # As Keras' optimizers do it: every replica's copy is moved on its own device.
        tf.__internal__.distribute.interim.maybe_merge_call(
            move_all, tf.distribute.get_strategy(), rate
        )

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Has the model use the averages meanwhile; its weights come back to the bit."""
        kept = {name: tf.identity(weight) for name, weight in self._weights.items()}
        try:
            for name, average in self.variables.items():
                self._weights[name].assign(tf.convert_to_tensor(average))
            yield
        finally:
            for name, value in kept.items():
                self._weights[name].assign(value)
