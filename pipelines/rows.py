"""Rows of numbers that another network made: as many as the model reads, and a mask.

Of more rows than the model reads evaluation takes evenly spaced ones, and training one from each of
as many even stretches; fewer are padded, which the mask tells.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def scale(count: float, total: float, squares: float) -> tuple[float, float]:
    """Mean and deviation of numbers by how many there are, their sum and that of their squares.

    The deviation is 1 where all are one number.
    """
    mean = total / count
    std = float(np.sqrt(max(squares / count - mean**2, 0.0)))
    return mean, std if std > 1e-6 * max(abs(mean), 1e-6) else 1.0


def fixed(
    values: tf.Tensor, width: int, length: int, seed: tf.Tensor | None, what: str
) -> tuple[tf.Tensor, tf.Tensor]:
    """As many rows as the model reads.

    Args:
        values: float32, `[rows, width]` or these one after the other; rows of nothing but NaN are
            padding, as a batch of several examples needs it.
        width: of a row.
        length: rows that the model reads.
        seed: int64 `[2]`, of the rows that are drawn, or None for evenly spaced ones.
        what: the rows are, for the message.

    Returns:
        float32 `[length, width]`, 0 behind the last row; bool `[length]`, False there. Running it
        fails with another width, NaN or infinity.
    """
    last = tf.shape(values)[-1]
    fits = tf.equal(last, width) if values.shape.rank == 2 else tf.equal(last % width, 0)
    with tf.control_dependencies(
        [tf.debugging.Assert(fits, [f"features of {what} of another width than {width}"])]
    ):
        rows = tf.reshape(values, [-1, width])
    rows = tf.boolean_mask(rows, ~tf.reduce_all(tf.math.is_nan(rows), axis=1))
    count = tf.shape(rows)[0]
    with tf.control_dependencies(
        [tf.debugging.assert_all_finite(rows, f"a feature of {what} is NaN or infinite")]
    ):
        rows = tf.gather(rows, _places(count, length, seed))
    rows = tf.pad(rows, [[0, tf.maximum(length - count, 0)], [0, 0]])
    return tf.ensure_shape(rows, [length, width]), tf.range(length) < count


def normalised(
    rows: tf.Tensor, mask: tf.Tensor, moments: tuple[float, float], clip: float
) -> tf.Tensor:
    """Rows in deviations from the mean, in [-clip, clip], 0 where the mask is False.

    Args:
        rows: float32 `[length, width]`. mask: bool `[length]`.
        moments: mean and deviation, of all numbers.
    """
    mean, std = moments
    return tf.where(mask[:, None], tf.clip_by_value((rows - mean) / std, -clip, clip), 0.0)


def noisy(rows: tf.Tensor, mask: tf.Tensor, deviation: float, seed: tf.Tensor) -> tf.Tensor:
    """Rows with noise, none where the mask is False.

    Args:
        rows: float32 `[length, width]`. mask: bool `[length]`. seed: int64 `[2]`.
    """
    if not deviation:
        return rows
    noise = tf.random.stateless_normal(rows.shape, seed)
    return rows + deviation * noise * tf.cast(mask, rows.dtype)[:, None]


def _places(count: tf.Tensor, length: int, seed: tf.Tensor | None) -> tf.Tensor:
    """int32: all rows of up to `length`, else one of each of `length` even stretches."""
    middle = tf.fill([length], 0.5)
    inside = middle if seed is None else tf.random.stateless_uniform([length], seed)
    stretch = tf.cast(count, tf.float32) / length
    drawn = tf.cast((tf.range(length, dtype=tf.float32) + inside) * stretch, tf.int32)
    return tf.where(count > length, tf.minimum(drawn, count - 1), tf.range(length))[
        : tf.minimum(count, length)
    ]
