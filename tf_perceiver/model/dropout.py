"""Dropout without a state: what is left out is a function of a key, and nothing else.

A generator that counts its draws, as in Keras' layer, would have to be saved on every replica, and
a step that runs again would draw something else. A key of seed, step and replica needs no saving.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

KEY = "dropout_key"  # Of a batch, beside the model's inputs.


def key(seed: int, *numbers: tf.Tensor | int) -> tf.Tensor:
    """int64 [2]: a key of its own for every seed and every sequence of numbers, such as a step."""
    made = tf.constant([seed, 0], tf.int64)
    for number in numbers:
        made = tf.random.experimental.stateless_fold_in(made, tf.cast(number, tf.int64))
    return made


def key_of(batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """The batch's key.

    Raises:
      ValueError: it has none.
    """
    if KEY not in batch:
        raise ValueError(f"model.trunk.dropout needs batch[{KEY!r}]; see dropout.key")
    return batch[KEY]


def check(share: float, field: str) -> float:
    """The share; raises ValueError, with the field's name, if it isn't in [0, 1)."""
    if not 0 <= share < 1:
        raise ValueError(f"{field}={share} is not in [0, 1); 0 is off")
    return share


def residual(before: tf.Tensor, after: tf.Tensor, share: float, key: tf.Tensor) -> tf.Tensor:
    """Leaves out a share of the numbers that a layer adds, and enlarges the others to the same sum.

    Args:
      before, after: what the layer was given and gave, of one shape and dtype.
      share: in [0, 1).
      key: int64 [2].
    """
    draw = tf.random.stateless_uniform(tf.shape(after), key)
    added = (after - before) / (1 - share)
    return before + tf.where(draw < share, tf.zeros_like(added), added)
