"""How far two answers of a model are apart, and how far its roundings take them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

Fields = Mapping[str, tf.Tensor]


def difference(answered: Fields, expected: Fields) -> float:
    """The largest difference of two answers' numbers; NaN where one of them is.

    Args:
      answered, expected: fields of any shapes; those of the latter that aren't floats don't count.

    Returns:
      In units of a field's largest expected number, or of 1 where that is more.
    """
    differences = [0.0]
    for name, value in expected.items():
        if value.dtype.is_floating:
            scale = tf.maximum(1.0, tf.reduce_max(tf.abs(value)))
            differences.append(float(tf.reduce_max(tf.abs(value - answered[name])) / scale))
    return float(np.max(differences))


def rounding(answers: Callable[[Fields], Fields], batch: Fields, expected: Fields) -> float:
    """The `difference` that the last bit of every float of a batch makes.

    Args:
      answers: of a model. batch: what it is asked. expected: what it answers.
    """
    step = 1 + np.finfo(np.float32).eps
    moved = {
        name: field * step if field.dtype.is_floating else field for name, field in batch.items()
    }
    return difference(answers(moved), expected)
