"""Attention between R queries and M structured inputs, block by block, in both directions.

`select`: a few queries look at the inputs (an encoder); the softmax runs over the inputs, with a
running maximum and sum. `answer`: the inputs are the many queries and look at a few latents (a
decoder); the softmax runs over the latents. The backward pass recomputes: nothing of size R x M is
kept between forward and backward, and no block is alive longer than its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tf_perceiver.model.attention import MASKED_LOGIT
from tf_perceiver.model.factors import Channels
from tf_perceiver.model.operands import Named, Operands, Parts, product

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
    names = [name for name in FIELDS if getattr(queries, name) is not None]
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
    summed = [name for name in FIELDS if getattr(queries, name) is not None and name != "outer"]
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
    names = [name for name in FIELDS if getattr(queries, name) is not None]
    summed = [name for name in names if name != "outer"]
    dtype = log_sum.dtype
    # With weights a and gradient d to them, that to the logits is a (d - sum(a d) + d_log_sum).
    shift = along_log_sum
    for name in names:
        product_sum = tf.reduce_sum(getattr(along, name) * getattr(means, name), -1, keepdims=True)
        shift -= tf.reduce_sum(product_sum, 1) if name == "inner" else product_sum

    def body(start: tf.Tensor, rows: int | None, state: Parts) -> tuple[Parts, Parts]:
        block = operands.block(inputs, start, rows)
        with tf.GradientTape() as tape:
            tape.watch([block[name] for name in inputs])
            parts = operands.inputs(block, rows)
        asked = operands.queries(queries, -log_sum, start, rows)
        upstream = operands.queries(along, shift, start, rows, refuse=False)
        weights = tf.exp(product(asked, parts, dtype))
        slopes = weights * product(upstream, parts, dtype)
        to_queries, _ = operands.channels(_sums(slopes, parts, dtype), rows)
        to_parts = [
            _shared(_turned(slopes, q, part) + _turned(weights, d, part), part)
            for q, d, part in zip(asked, upstream, parts, strict=True)
        ]
        to_inputs = tape.gradient(
            parts, [block[name] for name in inputs], to_parts, tf.UnconnectedGradients.ZERO
        )
        state = tuple(
            old + getattr(to_queries, name) for name, old in zip(summed, state, strict=True)
        )
        if to_queries.outer is not None:
            to_inputs = [tf.transpose(to_queries.outer, [0, 2, 1]), *to_inputs]
        return state, tuple(to_inputs)

    per_row = operands.blocks.inner
    specs = [tf.TensorSpec([x.shape[0], per_row, x.shape[2]], dtype) for x in inputs.values()]
    if queries.outer is not None:
        specs.insert(0, tf.TensorSpec([log_sum.shape[0], 1, log_sum.shape[1]], dtype))
    state = tuple(tf.zeros_like(getattr(queries, name)) for name in summed)
    state, outputs = operands.blocks.walk(body, state, specs)
    gradients = dict(zip(summed, state, strict=True))
    if queries.outer is not None:
        outer, *outputs = outputs
        gradients["outer"] = tf.transpose(outer, [0, 2, 1])
    return (*(gradients[name] for name in names), *outputs)


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
    names = [name for name in FIELDS if getattr(latents, name) is not None]
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
    operands: Operands, keys: Channels, shift: tf.Tensor, heads: int, parts: Parts, start, rows
) -> tuple[Parts, tf.Tensor]:
    """The block's keys [B, T, h, N, K] each, and logits [B, T, h, m, N]."""
    keys = tuple(
        _in_heads(part, heads) for part in operands.queries(keys, shift, start, rows, refuse=False)
    )
    inputs = tuple(part[:, :, None] for part in parts)
    return keys, product(inputs, keys, shift.dtype)


def _answer(
    operands: Operands, keys: Channels, shift: tf.Tensor, values: tf.Tensor, inputs: Named
) -> tuple[tf.Tensor, tf.Tensor]:
    """Answers [B, M, h e], and log sum exp of the logits [B, M, h]."""
    heads, size = values.shape[1], values.shape[3]
    dtype = shift.dtype
    with_ones = tf.concat([values, tf.ones_like(values[..., :1])], -1)[:, None]

    def body(start: tf.Tensor, rows: int | None, state: Parts) -> tuple[Parts, Parts]:
        parts = operands.inputs(operands.block(inputs, start, rows), rows)
        _, logits = _answer_logits(operands, keys, shift, heads, parts, start, rows)
        top = tf.reduce_max(logits, -1, keepdims=True)
        weights = tf.cast(tf.exp(logits - top), values.dtype)
        summed = tf.cast(tf.matmul(weights, with_ones), dtype)
        answers, total = tf.split(summed, [size, 1], -1)
        log_sum = top + tf.math.log(total)
        return state, (
            operands.blocks.from_tiles(_merged_heads(answers / total), rows),
            operands.blocks.from_tiles(_merged_heads(log_sum), rows),
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
    names = [name for name in FIELDS if getattr(keys, name) is not None]
    summed = [name for name in names if name != "outer"]
    dtype = shift.dtype
    with_ones = tf.concat([values, tf.ones_like(values[..., :1])], -1)[:, None]
    per_head = tf.concat([tf.shape(upstream)[:2], [heads, size]], 0)
    along = tf.reshape(upstream * answers, per_head)
    along = {"upstream": upstream, "delta": -tf.reduce_sum(along, -1), "log_sum": log_sum}

    def body(start: tf.Tensor, rows: int | None, state: Parts) -> tuple[Parts, Parts]:
        to_shift, to_values, *to_keys = state
        block = operands.block(inputs, start, rows)
        with tf.GradientTape() as tape:
            tape.watch([block[name] for name in inputs])
            parts = operands.inputs(block, rows)
        block_keys, logits = _answer_logits(operands, keys, shift, heads, parts, start, rows)
        tiles = [
            _heads_apart(operands.blocks.to_tiles(x, rows), heads)
            for x in operands.blocks.cut(list(along.values()), start, rows)
        ]
        tiled = dict(zip(along, tiles, strict=True))
        weights = tf.exp(logits - tiled["log_sum"])
        d = tf.cast(tf.concat([tiled["upstream"], tiled["delta"]], -1), values.dtype)
        slopes = weights * tf.cast(tf.matmul(d, with_ones, transpose_b=True), dtype)
        turned = tf.matmul(tf.cast(weights, values.dtype), d[..., :size], transpose_a=True)
        to_values += tf.reduce_sum(tf.cast(turned, dtype), 1)

        sums = tuple(
            tf.cast(
                tf.matmul(tf.cast(slopes, part.dtype), part[:, :, None], transpose_a=True), dtype
            )
            for part in parts
        )
        block_sums, ones = operands.channels(tuple(_out_of_heads(s) for s in sums), rows)
        to_parts = [
            _shared(
                tf.reduce_sum(tf.matmul(tf.cast(slopes, key.dtype), key), 2), part
            )
            for key, part in zip(block_keys, parts, strict=True)
        ]
        to_inputs = tape.gradient(
            parts, [block[name] for name in inputs], to_parts, tf.UnconnectedGradients.ZERO
        )
        to_keys = [
            old + getattr(block_sums, name) for name, old in zip(summed, to_keys, strict=True)
        ]
        if block_sums.outer is not None:
            to_inputs = [tf.transpose(block_sums.outer, [0, 2, 1]), *to_inputs]
        return (to_shift + ones, to_values, *to_keys), tuple(to_inputs)

    per_row = operands.blocks.inner
    specs = [tf.TensorSpec([x.shape[0], per_row, x.shape[2]], dtype) for x in inputs.values()]
    if keys.outer is not None:
        specs.insert(0, tf.TensorSpec([shift.shape[0], 1, shift.shape[1]], dtype))
    state = (
        tf.zeros_like(shift),
        tf.zeros_like(values, dtype),
        *(tf.zeros_like(getattr(keys, name)) for name in summed),
    )
    (to_shift, to_values, *to_keys), outputs = operands.blocks.walk(body, state, specs)
    gradients = dict(zip(summed, to_keys, strict=True))
    if keys.outer is not None:
        outer, *outputs = outputs
        gradients["outer"] = tf.transpose(outer, [0, 2, 1])
    to_values = tf.cast(to_values, values.dtype)
    return (to_shift, to_values, *(gradients[name] for name in names), *outputs)


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


def _in_heads(part: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, T, h N, K] -> [B, T, h, N, K]."""
    shape = tf.shape(part)
    split = [shape[0], shape[1], heads, shape[2] // heads, shape[3]]
    count = part.shape[2]
    static = [*part.shape[:2], heads, None if count is None else count // heads, part.shape[3]]
    return tf.ensure_shape(tf.reshape(part, split), static)


def _out_of_heads(part: tf.Tensor) -> tf.Tensor:
    """The inverse of `_in_heads`."""
    shape = tf.shape(part)
    merged = tf.reshape(part, [shape[0], shape[1], shape[2] * shape[3], shape[4]])
    heads, count = part.shape[2:4]
    static = [*part.shape[:2], None if count is None else heads * count, part.shape[4]]
    return tf.ensure_shape(merged, static)


def _heads_apart(x: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, T, m, h e] -> [B, T, h, m, e]."""
    if heads == 1:
        return x[:, :, None]
    shape = tf.unstack(tf.shape(x))
    return tf.transpose(
        tf.reshape(x, [*shape[:3], heads, x.shape[-1] // heads]), [0, 1, 3, 2, 4]
    )


def _merged_heads(x: tf.Tensor) -> tf.Tensor:
    """[B, T, h, m, e] -> [B, T, m, h e]."""
    if x.shape[2] == 1:
        return x[:, :, 0]
    shape = tf.unstack(tf.shape(x))
    merged = tf.reshape(
        tf.transpose(x, [0, 1, 3, 2, 4]), [shape[0], shape[1], shape[3], x.shape[2] * x.shape[4]]
    )
    return tf.ensure_shape(merged, [*x.shape[:2], x.shape[3], x.shape[2] * x.shape[4]])
