"""What very many structured queries get from a few latents, block by block: a decoder's attention.

The softmax runs over the latents. The backward pass recomputes: see blocked.py.
"""

from __future__ import annotations

import tensorflow as tf

from tf_perceiver.model import blocked
from tf_perceiver.model.factors import Channels
from tf_perceiver.model.operands import Named, Operands, Parts


def answer(operands: Operands, latents: Channels, shift: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """What M structured queries, the operands' inputs, get from N latents.

    Args:
      operands: the queries, and how they are multiplied.
      latents: keys in the queries' channels, R = h N; see `Factors.project`.
      shift: [B, h N, 1], added to the logits of a latent.
      values: [B, h, N, e].

    Returns:
      [B, M, h e], head-major.
    """
    latents = operands.in_tiles(latents)
    names = blocked.present(latents)
    inputs = operands.differentiable

    @tf.custom_gradient
    def run(*flat: tf.Tensor) -> tuple[tf.Tensor, object]:
        shift, values, *flat = flat
        keys = Channels(**dict(zip(names, flat, strict=False)))
        given = dict(zip(inputs, flat[len(names) :], strict=True))
        answers, log_sum = _forward(operands, keys, shift, values, given)

        def gradient(upstream: tf.Tensor) -> Parts:
            return _backward(
                operands, keys, shift, values, given, answers, log_sum, upstream
            )

        return answers, gradient

    return run(shift, values, *(getattr(latents, name) for name in names), *inputs.values())


def _logits(
    operands: Operands,
    keys: Channels,
    shift: tf.Tensor,
    heads: int,
    parts: Parts,
    start: tf.Tensor,
    rows: int | None,
) -> tuple[Parts, tf.Tensor]:
    """The block's keys [B, h, T, N, K], or [B, h, 1, N, K]; logits [B, h, T m, N]."""
    asked = operands.queries(keys, shift, start, rows, refuse=False)
    asked = tuple(_heads_first(part, heads) for part in asked)
    logits = tf.add_n(
        [
            tf.cast(_flat(tf.matmul(_like(part, key), key, transpose_b=True)), shift.dtype)
            for part, key in zip(parts, asked, strict=True)
        ]
    )
    return asked, logits


def _forward(
    operands: Operands, keys: Channels, shift: tf.Tensor, values: tf.Tensor, inputs: Named
) -> tuple[tf.Tensor, tf.Tensor]:
    """Answers [B, M, h e], and log sum exp of the logits [B, M, h]."""
    heads, size = values.shape[1], values.shape[3]
    dtype = shift.dtype
    with_ones = tf.concat([values, tf.ones_like(values[..., :1])], -1)
    keys = operands.in_place(keys)

    def body(start: tf.Tensor, rows: int | None, state: Parts) -> tuple[Parts, Parts]:
        parts = operands.inputs(operands.block(inputs, start, rows), rows)
        _, logits = _logits(operands, keys, shift, heads, parts, start, rows)
        top = tf.reduce_max(logits, -1, keepdims=True)
        weights = tf.cast(tf.exp(logits - top), values.dtype)
        summed = tf.cast(tf.matmul(weights, with_ones), dtype)
        answers, total = tf.split(summed, [size, 1], -1)
        log_sum = top + tf.math.log(total)
        return state, tuple(
            operands.blocks.from_tiles(_heads_last(x, operands.blocks.tiles), rows)
            for x in (answers / total, log_sum)
        )

    per_row, batch = operands.blocks.inner, values.shape[0]
    specs = [tf.TensorSpec([batch, per_row, n], dtype) for n in (heads * size, heads)]
    _, (answers, log_sum) = operands.blocks.walk(body, (), specs)
    return answers, log_sum


def _backward(
    operands: Operands,
    keys: Channels,
    shift: tf.Tensor,
    values: tf.Tensor,
    inputs: Named,
    answers: tf.Tensor,
    log_sum: tf.Tensor,
    upstream: tf.Tensor,
) -> Parts:
    """Gradients to shift, values, the keys' channels and the inputs."""
    heads, size = values.shape[1], values.shape[3]
    dtype = shift.dtype
    with_ones = tf.concat([values, tf.ones_like(values[..., :1])], -1)
    placed = operands.in_place(keys)
    per_head = tf.concat([tf.shape(upstream)[:2], [heads, size]], 0)
    delta = -tf.reduce_sum(tf.reshape(upstream * answers, per_head), -1)  # [B, M, h]

    def body(parts: Parts, start: tf.Tensor, rows: int | None, state: Parts) -> blocked.Slopes:
        (to_values,) = state
        block_keys, logits = _logits(operands, placed, shift, heads, parts, start, rows)
        d, less, logs = (
            _heads_apart(operands.blocks.to_tiles(x, rows), heads)
            for x in operands.blocks.cut([upstream, delta, log_sum], start, rows)
        )
        d = tf.cast(d, values.dtype)
        weights = tf.exp(logits - logs)
        low = tf.cast(weights, values.dtype)
        to_values += tf.cast(tf.matmul(low, d, transpose_a=True), dtype)
        d = tf.concat([d, tf.cast(less, values.dtype)], -1)
        slopes = weights * tf.cast(tf.matmul(d, with_ones, transpose_b=True), dtype)

        sums, to_parts = [], []
        for part, key in zip(parts, block_keys, strict=True):
            near = _apart(tf.cast(slopes, part.dtype), key, operands.blocks.tiles)
            turned = tf.matmul(near, _like(part, key), transpose_a=True)
            sums.append(_heads_merged(tf.cast(turned, dtype)))
            to_part = blocked.shared(tf.reduce_sum(tf.matmul(near, key), 1), part)
            to_parts.append(tf.reshape(to_part, tf.shape(part)))
        return (to_values,), tuple(sums), to_parts, {}

    state = (tf.zeros_like(values, dtype),)
    (to_values,), to_shift, gradients = blocked.walk_back(operands, keys, inputs, body, state)
    return (to_shift, tf.cast(to_values, values.dtype), *gradients)


def _heads_first(part: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, T, h N, K] -> [B, h, T, N, K]."""
    batch, tiles, rows, _ = tf.unstack(tf.shape(part))
    count = None if part.shape[2] is None else part.shape[2] // heads
    static = [part.shape[0], heads, part.shape[1], count, part.shape[3]]
    split = tf.reshape(part, [batch, tiles, heads, rows // heads, part.shape[3]])
    return tf.ensure_shape(tf.transpose(split, [0, 2, 1, 3, 4]), static)


def _heads_merged(part: tf.Tensor) -> tf.Tensor:
    """The inverse of `_heads_first`."""
    turned = tf.transpose(part, [0, 2, 1, 3, 4])
    batch, tiles, heads, count, _ = tf.unstack(tf.shape(turned))
    merged = tf.reshape(turned, [batch, tiles, heads * count, part.shape[4]])
    rows = None if part.shape[3] is None else part.shape[1] * part.shape[3]
    return tf.ensure_shape(merged, [part.shape[0], part.shape[2], rows, part.shape[4]])


def _like(part: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """[B, T, m, K] -> [B, 1, T, m, K], or all tiles as one where the key is the same for them.

    A single product of many rows is faster than a small one for every tile.
    """
    if key.shape[2] == 1 and part.shape[1] != 1:
        batch, tiles, inputs, channels = tf.unstack(tf.shape(part))
        part = tf.reshape(part, [batch, 1, tiles * inputs, channels])
    return part[:, None]


def _apart(flat: tf.Tensor, key: tf.Tensor, tiles: int) -> tf.Tensor:
    """[B, h, T m, N] -> [B, h, T, m, N], as `_like` lays the inputs out for this key."""
    tiles = 1 if key.shape[2] == 1 else tiles
    batch, heads, inputs, count = tf.unstack(tf.shape(flat))
    return tf.reshape(flat, [batch, heads, tiles, inputs // tiles, count])


def _flat(x: tf.Tensor) -> tf.Tensor:
    """[B, h, T, m, N] -> [B, h, T m, N]."""
    batch, heads, tiles, inputs, count = tf.unstack(tf.shape(x))
    flat = tf.reshape(x, [batch, heads, tiles * inputs, count])
    rows = None if None in x.shape[2:4] else x.shape[2] * x.shape[3]
    return tf.ensure_shape(flat, [*x.shape[:2], rows, x.shape[4]])


def _heads_apart(x: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, T, m, h e] -> [B, h, T m, e]."""
    batch, tiles, inputs, channels = tf.unstack(tf.shape(x))
    split = tf.reshape(x, [batch, tiles * inputs, heads, channels // heads])
    return tf.transpose(split, [0, 2, 1, 3])


def _heads_last(x: tf.Tensor, tiles: int) -> tf.Tensor:
    """[B, h, T m, e] -> [B, T, m, h e]."""
    batch, heads, inputs, size = tf.unstack(tf.shape(x))
    turned = tf.transpose(x, [0, 2, 1, 3])
    merged = tf.reshape(turned, [batch, tiles, inputs // tiles, heads * size])
    count = None if x.shape[2] is None else x.shape[2] // tiles
    return tf.ensure_shape(merged, [x.shape[0], tiles, count, x.shape[1] * x.shape[3]])
