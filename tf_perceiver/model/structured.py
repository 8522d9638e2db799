"""Cross-attention at a fraction of its cost, equal to the plain definition in attention.py.

Folded projections: with normalised inputs x^ = (x - mean) / std, a head's logits are
``(W_k (gamma x^ + beta) + b_k) . q = x^ . q^ + const``, where ``q^ = gamma (W_k q)`` lives in input
channels and the constant drops out of the softmax. Likewise the values' projection can follow the
weighted sum: ``sum_m a_m (W_v (gamma x^_m + beta) + b_v) = W_v (gamma (A x^) + beta) + b_v``. So no
key or value of the M inputs is ever made, and x^ is the same for every cross-attend of a pass.
The key bias has a gradient of exactly zero.

x^ isn't made either: factors.py takes it apart, blocks.py walks through it, blocked_select.py
attends. For a decoder of very many queries the same holds with the sides exchanged:
blocked_answer.py. One of very few folds its projections as above, and needs nothing more.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import tensorflow as tf

from tf_perceiver.model import blocked_answer, blocked_select, blocks, factors, lean
from tf_perceiver.model.attention import CrossAttention, split_heads
from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.linear import depending_on, statistics_dtype
from tf_perceiver.model.operands import Operands

ATTENTIONS = ("plain", "structured")
# Products of fewer multiplications than this are not worth the operations around them.
SMALL = 2**24
# Channels for the rows and columns of a grid, about.
GRID_CHANNELS = 32


@dataclasses.dataclass(frozen=True)
class Inputs:
    """A byte array as the cross-attends of one forward pass read it.

    Attributes:
      segments: the parts of its normalised inputs.
      mask: bool [B, 1, M], True = may be looked at, or None.
    """

    segments: list[factors.Factors]
    mask: tf.Tensor | None

    @classmethod
    def of(cls, array: ByteArray, dtype: tf.DType) -> Inputs:
        """Statistics and parts, in `dtype`; nothing of the size of the dense array is made."""
        mask = None if array.mask is None else array.mask[:, None]
        return cls(factors.of_array(array, dtype), mask)


def check(attention: str, field: str) -> str:
    """`attention`, if there is such a path.

    Raises:
      ValueError: there isn't; the message names the config's `field`.
    """
    if attention not in ATTENTIONS:
        raise ValueError(f"{field}={attention!r} is neither 'plain' nor 'structured'")
    return attention


def check_block_size(size: int, field: str) -> int:
    """`size`, if it can be one.

    Raises:
      ValueError: it is negative; the message names the config's `field`.
    """
    if size < 0:
        raise ValueError(f"{field}={size} is the number of logits of a block; 0 for the default")
    return size


def pays(layer: CrossAttention, array: ByteArray, latents: int, batch: int | None = None) -> bool:
    """Whether `cross_attend` needs fewer multiplications than the plain layer, by a static count.

    Plain: keys and values of M inputs, 2 M C F, and products of N x M x F. Structured: products of
    N x M with the channels that an input needs (`_thickness`) for each head, and projections of
    N x h queries. Softmax and the like cost both the same.

    Args:
      layer: with C input channels and F inner ones. array: M inputs; where M isn't static it is
        taken for large. latents: N. batch: examples, where known.
    """
    attn = layer.attn
    heads, channels = attn.heads, attn.k.inputs
    width = attn.k.outputs + attn.v.outputs
    structured = latents * channels * width
    plain = 0
    for segment in array.segments:
        inputs = segment.length or 1 << 20
        plain += inputs * (channels + latents) * width
        structured += 2 * heads * latents * inputs * _thickness(segment)
    return structured < plain and plain * (batch or 1) > SMALL


def pays_for_answers(layer: CrossAttention, queries: Segment, latents: int) -> bool:
    """Whether `answers` needs fewer multiplications than the plain layer; see `pays`.

    Args:
      layer: with C query channels. queries: M of them. latents: N.
    """
    attn = layer.attn
    count = queries.length or 1 << 20
    channels, keys = attn.q.inputs, attn.q.outputs
    plain = count * (channels + latents) * keys
    structured = attn.heads * latents * (count * _thickness(queries) + channels * keys)
    return structured < plain and plain > SMALL


def pays_for_few(layer: CrossAttention, queries: int | None, keys: int) -> bool:
    """Whether `few_attend` needs fewer multiplications than the plain layer; see `pays`.

    Args:
      layer: with C key channels. queries: N; where it isn't static, they aren't few. keys: M of
        them.
    """
    if queries is None:
        return False
    attn = layer.attn
    channels, width = attn.k.inputs, attn.k.outputs + attn.v.outputs
    plain = keys * (channels + queries) * width
    folded = queries * channels * (width + 2 * attn.heads * keys)
    return folded < plain and plain > SMALL


def _thickness(segment: Segment) -> int:
    """Channels that a product with the segment's inputs has for each of them."""
    return factors.width(segment) + 3 + GRID_CHANNELS * factors.separates(segment)


def cross_attend(
    layer: CrossAttention,
    queries: tf.Tensor,
    inputs: Inputs,
    block_size: int = 0,
    training: bool = True,
) -> tf.Tensor:
    """`layer(queries, dense inputs, mask)`.

    Args:
      layer: whose weights are used.
      queries: [B, N, Cq].
      inputs: M of them, of C channels.
      block_size: logits that are alive at a time; 0 for the default.
      training: whether there is going to be a gradient, for which little is to be kept.

    Returns:
      [B, N, Cq].
    """
    means = functools.partial(_means, inputs=inputs, dtype=queries.dtype, block_size=block_size)
    return _attend(layer, queries, means, inputs.mask, training)


def few_attend(
    layer: CrossAttention, queries: tf.Tensor, keys: tf.Tensor, mask: tf.Tensor | None = None
) -> tf.Tensor:
    """`layer(queries, keys, mask)` of so few queries that no key or value needs to be made.

    Args:
      layer: whose weights are used.
      queries: [B, N, Cq]. keys: [B, M, C].
      mask: bool [B, N, 1], True = the query is asked; what the others select is zero.

    Returns:
      [B, N, Cq].
    """
    normal = layer.kv_ln.normalise(keys)

    def means(q: tf.Tensor) -> tf.Tensor:
        return tf.matmul(tf.nn.softmax(tf.matmul(q, normal, transpose_b=True)), normal)

    return _attend(layer, queries, means, mask, training=False)


def _attend(
    layer: CrossAttention,
    queries: tf.Tensor,
    means: Callable[[tf.Tensor], tf.Tensor],
    mask: tf.Tensor | None,
    training: bool,
) -> tf.Tensor:
    """A cross-attend with folded projections.

    Args:
      means: queries in input channels [B, h N, C] -> the mean of the normalised inputs that each
        selects.
      mask: bool, of which [B, N, :] or [B, 1, :] says whether a query sees anything.
      further: see `cross_attend`.
    """
    attn, norm, dtype = layer.attn, layer.kv_ln, queries.dtype
    exact = statistics_dtype(dtype)
    gamma, beta = tf.cast(norm.gamma, exact), tf.cast(norm.beta, exact)
    q = lean.norm_linear(layer.q_ln, attn.q, queries) if training else attn.q(layer.q_ln(queries))
    q = depending_on(q, tf.convert_to_tensor(attn.k.bias))
    q = _folded(tf.cast(q, exact), tf.cast(attn.k.kernel, exact), attn.heads) * gamma
    summed = means(q) * gamma + beta  # [B, h N, C]
    selected = _projected(summed, tf.cast(attn.v.kernel, exact), attn.heads)
    selected = tf.cast(selected + tf.cast(attn.v.bias, exact), dtype)
    if mask is not None:  # Where nothing may be seen, nothing is: no offset, no bias.
        any_key = tf.reduce_any(mask, -1, keepdims=True)
        selected = tf.where(any_key, selected, tf.zeros([], dtype))
    attended = attn.o(tf.ensure_shape(selected, [*queries.shape[:2], None]))
    mlp = functools.partial(lean.mlp, layer.mlp_ln, layer.mlp) if training else None
    return layer.finish(queries, attended, mlp)


def _means(q: tf.Tensor, inputs: Inputs, dtype: tf.DType, block_size: int) -> tf.Tensor:
    """[B, R, C] queries in input channels -> the mean of the inputs that each selects."""
    means, log_sums = [], []
    lanes = (q.shape[0] or 1) * (q.shape[1] or 1)
    for segment in inputs.segments:
        grid = segment.rows_and_columns
        walk = blocks.choose(grid, segment.inputs, lanes, segment.width, block_size)
        operands = Operands(segment, walk, dtype, at_once=True)
        channels, log_sum = blocked_select.select(operands, segment.project(q))
        means.append(segment.sums(channels))
        log_sums.append(log_sum)
    if len(means) == 1:
        return means[0]
    shares = tf.nn.softmax(tf.concat(log_sums, -1))  # [B, R, segments]
    return tf.add_n(
        [share * mean for share, mean in zip(tf.split(shares, len(means), -1), means, strict=True)]
    )


def answers(
    layer: CrossAttention,
    queries: factors.Factors,
    latents: tf.Tensor,
    finish: Callable[[tf.Tensor], tf.Tensor],
    *,
    chunk: int = 0,
    block_size: int = 0,
) -> tf.Tensor:
    """``finish(layer.attn(q_ln(dense queries), kv_ln(latents)))``.

    Args:
      layer: whose weights are used.
      queries: M of them, of Cq channels.
      latents: [B, N, D].
      finish: [B, m, Cq] -> [B, m, K], each query by itself.
      chunk: how many queries are finished at a time, about; 0 for all. Whole rows of a grid are.
      block_size: as for `cross_attend`.

    Returns:
      [B, M, K].
    """
    attn, norm, dtype = layer.attn, layer.q_ln, latents.dtype
    exact = statistics_dtype(dtype)
    gamma, beta = tf.cast(norm.gamma, exact), tf.cast(norm.beta, exact)
    normalised = layer.kv_ln(latents)
    # Its bias would shift all logits of a query alike.
    keys = tf.cast(attn.k(normalised, biased=False), exact)
    keys = depending_on(keys, tf.convert_to_tensor(attn.k.bias))
    kernel, bias = (tf.cast(weight, exact) for weight in (attn.q.kernel, attn.q.bias))
    folded = _folded(keys, kernel, attn.heads)  # [B, h N, Cq]
    # Where the offset and the bias of the queries point, a latent's logits are all shifted.
    shift = tf.reduce_sum(folded * beta, -1, keepdims=True)
    shift += _folded(keys, bias[None], attn.heads)
    values = tf.transpose(split_heads(attn.v(normalised), attn.heads), [0, 2, 1, 3])
    folds = _folds_output(attn, queries.inputs, latents.shape[1])
    if folds:
        values = tf.matmul(values, tf.cast(attn.o.kernel, dtype)[None, None])
    channels = queries.project(folded * gamma)
    lanes = (latents.shape[0] or 1) * (folded.shape[1] or 1)

    def answered(queries: factors.Factors, channels: factors.Channels, rows: int) -> tf.Tensor:
        grid = queries.rows_and_columns
        grid = None if grid is None else (rows, grid[1])
        # Wide channels of all tiles are multiplied as one: they don't count here.
        walk = blocks.choose(grid, queries.inputs, lanes, size=block_size)
        y = blocked_answer.answer(Operands(queries, walk, dtype), channels, shift, values)
        y = tf.cast(y, dtype)
        return finish(y + tf.cast(attn.o.bias, dtype) if folds else attn.o(y))

    outer, inner = queries.rows_and_columns or (queries.inputs, 1)
    rows = outer if not chunk else min(outer, max(1, chunk // inner))
    if rows == outer:
        return answered(queries, channels, rows)

    def of_rows(start: tf.Tensor) -> tf.Tensor:
        part = channels
        if channels.outer is not None:
            size = tf.concat([tf.shape(channels.outer)[:2], [rows]], 0)
            cut = tf.ensure_shape(
                tf.slice(channels.outer, [0, 0, start], size), [*channels.outer.shape[:2], rows]
            )
            part = dataclasses.replace(channels, outer=cut)
        return answered(queries.cut(start * inner, rows * inner), part, rows)

    count = -(-outer // rows)
    # The last chunk ends with the last row, and so begins with rows that the one before has too.
    starts = tf.minimum(tf.range(count) * rows, outer - rows)
    parts = tf.map_fn(of_rows, starts, fn_output_signature=dtype, parallel_iterations=1)
    parts = tf.transpose(parts, [1, 0, 2, 3])
    batch, channels_out = tf.shape(parts)[0], parts.shape[3]
    whole = tf.reshape(parts[:, :-1], [batch, (count - 1) * rows * inner, channels_out])
    rest = (outer - (count - 1) * rows) * inner
    return tf.concat([whole, parts[:, -1, rows * inner - rest :]], 1)


def _folds_output(attn: tf.keras.layers.Layer, queries: int | None, latents: int | None) -> bool:
    """Whether values are better projected to outputs before they are summed, by a count."""
    if attn.heads > 1:
        return False
    queries, latents = queries or 1 << 20, latents or 1
    inner, outputs = attn.v.outputs, attn.o.outputs
    folded = outputs * (queries * latents + latents * inner)
    return folded < queries * (latents * inner + inner * outputs)


def _folded(x: tf.Tensor, kernel: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, N, h d] through the transpose of a kernel [C, h d], head by head -> [B, h N, C].

    Divided by the root of d, as logits are.
    """
    size = x.shape[-1] // heads
    x /= math.sqrt(size)
    if heads == 1:  # With an axis for it, tf.einsum would copy the kernel.
        return tf.einsum("bnd,cd->bnc", x, kernel)
    x = split_heads(x, heads)
    kernel = tf.reshape(kernel, [kernel.shape[0], heads, size])
    y = tf.einsum("bnhd,chd->bhnc", x, kernel)
    batch, count = tf.unstack(tf.shape(x))[:2]
    static = None if x.shape[1] is None else heads * x.shape[1]
    y = tf.reshape(y, [batch, heads * count, kernel.shape[0]])
    return tf.ensure_shape(y, [x.shape[0], static, kernel.shape[0]])


def _projected(x: tf.Tensor, kernel: tf.Tensor, heads: int) -> tf.Tensor:
    """[B, h N, C] through a kernel [C, h e], head by head -> [B, N, h e]."""
    if heads == 1:
        return tf.einsum("bnc,ce->bne", x, kernel)
    channels, outputs = kernel.shape
    x = tf.reshape(x, [tf.shape(x)[0], heads, -1, channels])
    y = tf.einsum("bhnc,che->bnhe", x, tf.reshape(kernel, [channels, heads, -1]))
    return tf.reshape(y, tf.concat([tf.shape(y)[:2], [outputs]], 0))
