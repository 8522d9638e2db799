"""Attention between R queries and M structured inputs, block by block, in both directions.

`select`: a few queries look at the inputs (an encoder); the softmax runs over the inputs, with a
running maximum and sum. `answer`: the inputs are the many queries and look at a few latents (a
decoder); the softmax runs over the latents. The backward pass recomputes: nothing of size R x M is
kept between forward and backward, and no block is alive longer than its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from tf_perceiver.model.attention import MASKED_LOGIT
from tf_perceiver.model.factors import Channels
from tf_perceiver.model.operands import Named, Operands, Parts, product

_Slopes = tuple[Parts, Channels, list[tf.Tensor]]

FIELDS = tuple(field.name for field in dataclasses.fields(Channels))


def select(operands: Operands, queries: Channels) -> tuple[Channels, tf.Tensor]:
    """What R queries select from M inputs.

    Args:
      operands: the inputs, and how they are multiplied.
      queries: see `Factors.project`.

    Returns:
      The weighted means of the inputs' channels, and log sum exp of the logits [B, R, 1], by which
      the means of several segments are joined. Where nothing may be looked at, it is about
      `MASKED_LOGIT`.
    """
    queries = operands.in_tiles(queries)
    names = _present(queries)
    inputs = operands.differentiable

    @tf.custom_gradient
    def run(*flat: tf.Tensor) -> tuple[Parts, object]:
        asked = Channels(**dict(zip(names, flat, strict=False)))
        given = dict(zip(inputs, flat[len(names) :], strict=True))
        means, log_sum = _select(operands, asked, given)

        def gradient(*upstream: tf.Tensor) -> Parts:
            along = Channels(**dict(zip(names, upstream, strict=False)))
            return _select_gradient(operands, asked, given, means, log_sum, along, upstream[-1])

        return (*(getattr(means, name) for name in names), log_sum), gradient

    *means, log_sum = run(*(getattr(queries, name) for name in names), *inputs.values())
    return operands.out_of_tiles(Channels(**dict(zip(names, means, strict=True)))), log_sum


def _select(operands: Operands, queries: Channels, inputs: Named) -> tuple[Channels, tf.Tensor]:
    summed = [name for name in _present(queries) if name != "outer"]
    nothing = _column(queries)
    dtype = nothing.dtype

    def body(start: tf.Tensor, rows: int | None, state: Parts) -> tuple[Parts, Parts]:
        top, total, *sums = state
        parts = operands.inputs(operands.block(inputs, start, rows), rows)
        logits = product(operands.queries(queries, nothing, start, rows), parts, dtype)
        # One axis after the other: over both at once, the CPU takes ten times as long.
        new = tf.maximum(top, tf.reduce_max(tf.reduce_max(logits, -1, keepdims=True), 1))
        weights = tf.exp(logits - new[:, None])
        fade = tf.exp(top - new)
        block, ones = operands.channels(_sums(weights, parts, dtype), rows)
        sums = [
            old * (fade[:, None] if name == "inner" else fade) + getattr(block, name)
            for name, old in zip(summed, sums, strict=True)
        ]
        outputs = ()
        if block.outer is not None:
            # A row lies in one block: its sums are relative to that block's maximum until the end.
            outer = tf.transpose(block.outer, [0, 2, 1])
            outputs = (outer, tf.transpose(new, [0, 2, 1]) + tf.zeros_like(outer))
        return (new, total * fade + ones, *sums), outputs

    top = nothing + tf.constant(2 * MASKED_LOGIT, dtype)
    state = (top, nothing, *(tf.zeros_like(getattr(queries, name)) for name in summed))
    by_row = tf.TensorSpec([nothing.shape[0], 1, nothing.shape[1]], dtype)
    specs = () if queries.outer is None else (by_row, by_row)
    (top, total, *sums), outputs = operands.blocks.walk(body, state, specs)
    means = {}
    for name, value in zip(summed, sums, strict=True):
        means[name] = value / (total[:, None] if name == "inner" else total)
    if outputs:
        outer, tops = (tf.transpose(output, [0, 2, 1]) for output in outputs)
        means["outer"] = outer * tf.exp(tops - top) / total
    return Channels(**means), top + tf.math.log(total)


def _select_gradient(
    operands: Operands,
    queries: Channels,
    inputs: Named,
    means: Channels,
    log_sum: tf.Tensor,
    along: Channels,
    along_log_sum: tf.Tensor,
) -> Parts:
    """Gradients to the queries' channels and to the inputs; `along` is the one to the means."""
    dtype = log_sum.dtype
    # With weights a and gradient d to them, that to the logits is a (d - sum(a d) + d_log_sum).
    shift = along_log_sum
    for name in _present(queries):
        product_sum = tf.reduce_sum(getattr(along, name) * getattr(means, name), -1, keepdims=True)
        shift -= tf.reduce_sum(product_sum, 1) if name == "inner" else product_sum

    def body(parts: Parts, start: tf.Tensor, rows: int | None, state: Parts) -> _Slopes:
        asked = operands.queries(queries, -log_sum, start, rows)
        upstream = operands.queries(along, shift, start, rows, refuse=False)
        weights = tf.exp(product(asked, parts, dtype))
        slopes = weights * product(upstream, parts, dtype)
        to_queries, _ = operands.channels(_sums(slopes, parts, dtype), rows)
        to_parts = [
            _shared(_turned(slopes, q, part) + _turned(weights, d, part), part)
            for q, d, part in zip(asked, upstream, parts, strict=True)
        ]
        return state, to_queries, to_parts

    _, gradients = _walk_back(operands, queries, inputs, body, ())
    return gradients


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
    names = _present(latents)
    inputs = operands.differentiable

    @tf.custom_gradient
    def run(*flat: tf.Tensor) -> tuple[tf.Tensor, object]:
        shift, values, *flat = flat
        keys = Channels(**dict(zip(names, flat, strict=False)))
        given = dict(zip(inputs, flat[len(names) :], strict=True))
        answers, log_sum = _answer(operands, keys, shift, values, given)

        def gradient(upstream: tf.Tensor) -> Parts:
            return _answer_gradient(
                operands, keys, shift, values, given, answers, log_sum, upstream
            )

        return answers, gradient

    return run(shift, values, *(getattr(latents, name) for name in names), *inputs.values())


def _answer_logits(
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


def _answer(
    operands: Operands, keys: Channels, shift: tf.Tensor, values: tf.Tensor, inputs: Named
) -> tuple[tf.Tensor, tf.Tensor]:
    """Answers [B, M, h e], and log sum exp of the logits [B, M, h]."""
    heads, size = values.shape[1], values.shape[3]
    dtype = shift.dtype
    with_ones = tf.concat([values, tf.ones_like(values[..., :1])], -1)

    def body(start: tf.Tensor, rows: int | None, state: Parts) -> tuple[Parts, Parts]:
        parts = operands.inputs(operands.block(inputs, start, rows), rows)
        _, logits = _answer_logits(operands, keys, shift, heads, parts, start, rows)
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


def _answer_gradient(
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
    per_head = tf.concat([tf.shape(upstream)[:2], [heads, size]], 0)
    delta = -tf.reduce_sum(tf.reshape(upstream * answers, per_head), -1)  # [B, M, h]

    def body(parts: Parts, start: tf.Tensor, rows: int | None, state: Parts) -> _Slopes:
        to_shift, to_values = state
        block_keys, logits = _answer_logits(operands, keys, shift, heads, parts, start, rows)
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
            to_part = _shared(tf.reduce_sum(tf.matmul(near, key), 1), part)
            to_parts.append(tf.reshape(to_part, tf.shape(part)))
        to_block, ones = operands.channels(tuple(sums), rows)
        return (to_shift + ones, to_values), to_block, to_parts

    state = (tf.zeros_like(shift), tf.zeros_like(values, dtype))
    (to_shift, to_values), gradients = _walk_back(operands, keys, inputs, body, state)
    return (to_shift, tf.cast(to_values, values.dtype), *gradients)


def _walk_back(
    operands: Operands,
    channels: Channels,
    inputs: Named,
    slopes: Callable[[Parts, tf.Tensor, int | None, Parts], _Slopes],
    state: Parts,
) -> tuple[Parts, Parts]:
    """The backward pass over all blocks.

    Args:
      operands: how inputs are multiplied. channels: what they are multiplied with.
      inputs: what has a gradient.
      slopes: (a block's inputs, first row, number of rows, state) -> state, and the gradients to
        the channels by the block and to its inputs.
      state: of `slopes`, before the first block.

    Returns:
      The last state; the gradients to the channels' fields and to the inputs, one after the other.
    """
    names = _present(channels)
    summed = [name for name in names if name != "outer"]
    nothing = _column(channels)

    def body(start: tf.Tensor, rows: int | None, all_state: Parts) -> tuple[Parts, Parts]:
        block = operands.block(inputs, start, rows)
        with tf.GradientTape() as tape:
            tape.watch([block[name] for name in inputs])
            parts = operands.inputs(block, rows)
        own, sums = all_state[: len(state)], all_state[len(state) :]
        own, to_channels, to_parts = slopes(parts, start, rows, own)
        outputs = tape.gradient(
            parts, [block[name] for name in inputs], to_parts, tf.UnconnectedGradients.ZERO
        )
        if to_channels.outer is not None:
            outputs = [tf.transpose(to_channels.outer, [0, 2, 1]), *outputs]
        sums = [old + getattr(to_channels, n) for n, old in zip(summed, sums, strict=True)]
        return (*own, *sums), tuple(outputs)

    dtype, per_row = nothing.dtype, operands.blocks.inner
    specs = [tf.TensorSpec([x.shape[0], per_row, x.shape[2]], dtype) for x in inputs.values()]
    if channels.outer is not None:
        specs.insert(0, tf.TensorSpec([nothing.shape[0], 1, nothing.shape[1]], dtype))
    zeros = [tf.zeros_like(getattr(channels, name)) for name in summed]
    last, outputs = operands.blocks.walk(body, (*state, *zeros), specs)
    gradients = dict(zip(summed, last[len(state) :], strict=True))
    if channels.outer is not None:
        outer, *outputs = outputs
        gradients["outer"] = tf.transpose(outer, [0, 2, 1])
    return last[: len(state)], (*(gradients[name] for name in names), *outputs)


def _present(channels: Channels) -> list[str]:
    """The fields that there are."""
    return [name for name in FIELDS if getattr(channels, name) is not None]


def _column(channels: Channels) -> tf.Tensor:
    """[B, R, 1] of zeros."""
    some = next(x for x in (channels.outer, channels.wide, channels.thin) if x is not None)
    return tf.zeros_like(some[..., :1])


def _sums(weights: tf.Tensor, inputs: Sequence[tf.Tensor], dtype: tf.DType) -> Parts:
    """[B, T, R, m], [B, T, m, K] each -> [B, T, R, K] each, in `dtype`."""
    return tuple(tf.cast(tf.matmul(tf.cast(weights, x.dtype), x), dtype) for x in inputs)


def _turned(weights: tf.Tensor, queries: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """[B, T, R, m], [B, T or 1, R, K] -> [B, T, m, K], in the part's dtype."""
    return tf.matmul(tf.cast(weights, part.dtype), queries, transpose_a=True)


def _shared(gradient: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Summed over the batch where the examples share the part."""
    if part.shape[0] == 1 and gradient.shape[0] != 1:
        gradient = tf.reduce_sum(gradient, 0, keepdims=True)
    return gradient


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
