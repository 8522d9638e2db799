"""Attention between R queries and M structured inputs, block by block: what both directions share.

blocked_select.py: a few queries look at the inputs (an encoder). blocked_answer.py: the inputs are
the many queries and look at a few latents (a decoder). The backward pass recomputes: nothing of
size R x M is kept between forward and backward, and no block is alive longer than its turn.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tf_perceiver.model.factors import Channels
from tf_perceiver.model.operands import Named, Operands, Parts

# A callback's state, gradients to the queries and to the inputs of a block, and to its statistics.
Slopes = tuple[Parts, Parts, list[tf.Tensor], Named]

FIELDS = tuple(field.name for field in dataclasses.fields(Channels))


def walk_back(
    operands: Operands,
    channels: Channels,
    inputs: Named,
    slopes: Callable[[Parts, tf.Tensor, int | None, Parts], Slopes],
    state: Parts,
    apart: bool = False,
) -> tuple[Parts, tf.Tensor, Parts]:
    """The backward pass over all blocks.

    Args:
      operands: how inputs are multiplied. channels: what they are multiplied with.
      inputs: what has a gradient.
      slopes: (a block's inputs, first row, number of rows, state) -> state, and the gradients to
        the queries by the block, laid out as its inputs are, to its inputs, and what its
        statistics need besides.
      state: of `slopes`, before the first block.
      apart: whether the statistics of the first product's inputs get their gradients from the last
        of these: those to the logarithm of "scale", and to "scale" x "mean".

    Returns:
      The last state; the gradient to what is added to all of a query's logits; those to the
      channels' fields and to the inputs, one after the other.
    """
    nothing = column(channels)

    def body(start: tf.Tensor, rows: int | None, all_state: Parts) -> tuple[Parts, Parts]:
        block = operands.block(inputs, start, rows)
        with tf.GradientTape() as tape:
            tape.watch([block[name] for name in inputs])
            parts = operands.inputs(block, rows, constant=apart)
        own, sums = all_state[: len(state)], all_state[len(state) :]
        own, by_block, to_parts, of_statistics = slopes(parts, start, rows, own)
        to_inputs = tape.gradient(
            parts, {name: block[name] for name in inputs}, to_parts, tf.UnconnectedGradients.ZERO
        )
        for name, tiled in of_statistics.items():
            of_wide = operands.blocks.from_tiles(shared(tiled, block[name]), rows)
            scale = block["scale"]
            to_inputs[name] += (
                of_wide * scale if name == "mean" else tf.math.divide_no_nan(of_wide, scale)
            )
        outputs = [to_inputs[name] for name in inputs]
        if channels.outer is not None:
            outputs = [tf.transpose(operands.outer(by_block, rows), [0, 2, 1]), *outputs]
        return (*own, *operands.add(sums, by_block, rows)), tuple(outputs)

    dtype, per_row = nothing.dtype, operands.blocks.inner
    specs = [tf.TensorSpec([x.shape[0], per_row, x.shape[2]], dtype) for x in inputs.values()]
    if channels.outer is not None:
        specs.insert(0, tf.TensorSpec([nothing.shape[0], 1, nothing.shape[1]], dtype))
    all_state = (*state, *operands.no_sums(nothing))
    last, outputs = operands.blocks.walk(body, all_state, specs)
    gradients, ones = operands.channels(last[len(state) :])
    if channels.outer is not None:
        outer, *outputs = outputs
        gradients = dataclasses.replace(gradients, outer=tf.transpose(outer, [0, 2, 1]))
    by_field = [getattr(gradients, name) for name in present(channels)]
    return last[: len(state)], ones, (*by_field, *outputs)


def present(channels: Channels) -> list[str]:
    """The fields that there are."""
    return [name for name in FIELDS if getattr(channels, name) is not None]


def column(channels: Channels) -> tf.Tensor:
    """[B, R, 1] of zeros."""
    some = next(x for x in (channels.outer, channels.wide, channels.thin) if x is not None)
    return tf.zeros_like(some[..., :1])


def shared(gradient: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Summed over the batch where the examples share the part."""
    if part.shape[0] == 1 and gradient.shape[0] != 1:
        gradient = tf.reduce_sum(gradient, 0, keepdims=True)
    return gradient
