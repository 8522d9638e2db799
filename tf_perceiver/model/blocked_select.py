"""What a few queries select from many structured inputs, block by block: an encoder's attention.

The softmax runs over the inputs, with a running sum relative to the largest logit of a block that
went before. The backward pass recomputes: see blocked.py.
"""

from __future__ import annotations

import tensorflow as tf

from tf_perceiver.model import blocked
from tf_perceiver.model.attention import MASKED_LOGIT
from tf_perceiver.model.factors import Channels
from tf_perceiver.model.operands import Named, Operands, Parts, added, product, products

# A block's weights are relative to the largest logit of an earlier block, so that neither it has to
# be looked for nor subtracted, unless that makes them sum to more than this, far from overflow.
FARTHEST = 2.0**60
# With fewer blocks than these, looking for the first maximum costs more than that wins.
FEW_BLOCKS = 5


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
    names = blocked.present(queries)
    inputs = operands.differentiable

    @tf.custom_gradient
    def run(*flat: tf.Tensor) -> tuple[Parts, object]:
        asked = Channels(**dict(zip(names, flat, strict=False)))
        given = dict(zip(inputs, flat[len(names) :], strict=True))
        means, log_sum = _forward(operands, asked, given)

        def gradient(*upstream: tf.Tensor) -> Parts:
            along = Channels(**dict(zip(names, upstream, strict=False)))
            return _backward(operands, asked, given, means, log_sum, along, upstream[-1])

        return (*(getattr(means, name) for name in names), log_sum), gradient

    *means, log_sum = run(*(getattr(queries, name) for name in names), *inputs.values())
    return operands.out_of_tiles(Channels(**dict(zip(names, means, strict=True)))), log_sum


def _forward(operands: Operands, queries: Channels, inputs: Named) -> tuple[Channels, tf.Tensor]:
    nothing = blocked.column(queries)
    dtype = nothing.dtype
    placed = operands.in_place(queries)

    def parts_of(start: tf.Tensor, rows: int | None) -> Parts:
        return operands.inputs(operands.block(inputs, start, rows), rows)

    def logits(parts: Parts, shift: tf.Tensor, start: tf.Tensor, rows: int | None) -> tf.Tensor:
        return product(operands.queries(placed, shift, start, rows), parts, dtype)

    def body(start: tf.Tensor, rows: int | None, state: Parts) -> tuple[Parts, Parts]:
        top, *sums = state
        parts = parts_of(start, rows)

        def relative_to_its_own() -> Parts:
            raw = logits(parts, nothing, start, rows)
            new = tf.maximum(top, _largest(raw))
            block = _sums(tf.exp(raw - new[:, None]), parts, dtype)
            fade = tf.exp(top - new)[:, None]
            return new, *operands.add([old * fade for old in sums], block, rows), *by_row(block)

        def by_row(block: Parts) -> Parts:
            return () if queries.outer is None else (operands.outer(block, rows),)

        if not estimates:
            new, *sums = relative_to_its_own()
        else:
            block = _sums(tf.exp(logits(parts, -top, start, rows)), parts, dtype)
            new, *sums = tf.cond(
                tf.reduce_max(operands.ones(block)) < FARTHEST,  # And not where it is NaN.
                lambda: (top, *operands.add(sums, block, rows), *by_row(block)),
                relative_to_its_own,
            )
        if queries.outer is None:
            return (new, *sums), ()
        # A row lies in one block: its sums are relative to that block's maximum until the end.
        *sums, outer = sums
        outer = tf.transpose(outer, [0, 2, 1])
        return (new, *sums), (outer, tf.transpose(new, [0, 2, 1]) + tf.zeros_like(outer))

    estimates = operands.blocks.count >= FEW_BLOCKS
    top = nothing + tf.constant(2 * MASKED_LOGIT, dtype)
    if estimates:
        first, rows = tf.constant(0), operands.blocks.rows
        top = _largest(logits(parts_of(first, rows), nothing, first, rows))
    by_row = tf.TensorSpec([nothing.shape[0], 1, nothing.shape[1]], dtype)
    specs = () if queries.outer is None else (by_row, by_row)
    (top, *sums), outputs = operands.blocks.walk(body, (top, *operands.no_sums(nothing)), specs)
    summed, total = operands.channels(sums)
    means = {}
    for name in (name for name in blocked.present(queries) if name != "outer"):
        means[name] = getattr(summed, name) / (total[:, None] if name == "inner" else total)
    if outputs:
        outer, tops = (tf.transpose(output, [0, 2, 1]) for output in outputs)
        means["outer"] = outer * tf.exp(tops - top) / total
    return Channels(**means), top + tf.math.log(total)


def _largest(logits: tf.Tensor) -> tf.Tensor:
    """[B, T, R, m] -> the maximum of a query's logits, [B, R, 1].

    One axis after the other: over both at once, the CPU takes ten times as long.
    """
    return tf.reduce_max(tf.reduce_max(logits, -1, keepdims=True), 1)


def _backward(
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
    # Where nothing may be looked at, nothing has a weight.
    seen = tf.where(log_sum > MASKED_LOGIT / 2, log_sum, tf.zeros([], dtype))
    placed = operands.in_place(queries)
    placed_along = operands.in_place(along)
    # With weights a and gradient d to them, that to the logits is a (d - sum(a d) + d_log_sum).
    shift = along_log_sum
    for name in blocked.present(queries):
        product_sum = tf.reduce_sum(getattr(along, name) * getattr(means, name), -1, keepdims=True)
        shift -= tf.reduce_sum(product_sum, 1) if name == "inner" else product_sum

    def body(parts: Parts, start: tf.Tensor, rows: int | None, state: Parts) -> blocked.Slopes:
        asked = operands.queries(placed, -seen, start, rows)
        upstream = operands.queries(placed_along, shift, start, rows, refuse=False)
        logits, slopes = (products(q, parts, dtype) for q in (asked, upstream))
        weights = tf.exp(added(logits))
        of_statistics = {}
        if operands.apart:
            along, slopes = slopes[0], weights * added(slopes)
            by_scale = tf.reduce_sum(slopes * logits[0] + weights * along, 2)[..., None]
            others = _turned(slopes, operands.to_statistics(asked), parts[-1])
            others += _turned(weights, operands.to_statistics(upstream), parts[-1])
            unscaled, of_mean = tf.split(others, 2, -1)
            of_statistics = {"scale": by_scale - unscaled, "mean": of_mean}
        else:
            slopes = weights * added(slopes)
        to_parts = [
            blocked.shared(_turned(slopes, q, part) + _turned(weights, d, part), part)
            for q, d, part in zip(asked, upstream, parts, strict=True)
        ]
        return state, _sums(slopes, parts, dtype), to_parts, of_statistics

    _, _, gradients = blocked.walk_back(operands, queries, inputs, body, (), operands.apart)
    return gradients


def _sums(weights: tf.Tensor, inputs: Parts, dtype: tf.DType) -> Parts:
    """[B, T, R, m], [B, T, m, K] each -> [B, T, R, K] each, in `dtype`."""
    return tuple(tf.cast(tf.matmul(tf.cast(weights, x.dtype), x), dtype) for x in inputs)


def _turned(weights: tf.Tensor, queries: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """[B, T, R, m], [B, T or 1, R, K] -> [B, T, m, K], in the part's dtype."""
    return tf.matmul(tf.cast(weights, part.dtype), queries, transpose_a=True)
