"""A block of the latent transformer with a gradient of its own: fewer passes, and half is kept.

The same numbers as `SelfAttention`, of which this is the fast path. What it does otherwise:

- the layer norms' scales and offsets, the scale of the logits and the values' bias go into the
  kernels and biases behind them, once for all repetitions of a layer: a pass over its 512 x 1024
  latents takes as long as one over a kernel, and there are as many of them as repetitions. What all
  keys have in common, softmax doesn't see: the keys need no bias;
- kept for the backward pass are what the layer norms give, q, k, v, what attention selects and what
  GELU reads: 7 arrays of the latents' size where automatic differentiation keeps 15 and the
  attention's probabilities. Those are computed again, for a fortieth of the layer's work,
  unless `keeps` asks for them; so is, in half precision, what attention selects;
- a repeated layer's gradients to its weights are summed as they come. A block that is called more
  than once hands its weights on to its next call, so that backward the sum goes the other way.
  Automatic differentiation would hold all of them until the last is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from tf_perceiver.model import subgraph
from tf_perceiver.model.attention import SelfAttention
from tf_perceiver.model.lean import affine, affine_slopes, input_slope
from tf_perceiver.model.linear import (
    LayerNorm,
    Linear,
    depending_on,
    gelu,
    gelu_and_slope,
    standardise,
    standardise_slope,
)
from tf_perceiver.model.linear import statistics_dtype as exact_dtype

Pair = tuple[tf.Tensor, tf.Tensor]


class Weights(NamedTuple):
    """What a layer multiplies by and adds, in the order of its use; kernels [in, out]."""

    q: tf.Tensor
    q_bias: tf.Tensor
    k: tf.Tensor
    v: tf.Tensor
    out: tf.Tensor
    out_bias: tf.Tensor
    widen: tf.Tensor
    widen_bias: tf.Tensor
    narrow: tf.Tensor
    narrow_bias: tf.Tensor

    @classmethod
    def of(cls, layer: SelfAttention) -> Weights:
        """Those of a layer, in its compute dtype."""
        attn, mlp = layer.attn, layer.mlp
        weights = subgraph.call(
            _folded,
            _pair(layer.ln),
            *map(_pair, (attn.q, attn.k, attn.v, attn.o)),
            _pair(layer.mlp_ln),
            *map(_pair, (mlp.fc1, mlp.fc2)),
            scale=(attn.q.outputs // attn.heads) ** -0.5,
            dtype=attn.compute_dtype,
        )
        return weights._replace(k=depending_on(weights.k, attn.k.bias))


class Kept(NamedTuple):
    """What the forward pass leaves for the backward pass; [B N, ...], or heads first."""

    normal: tf.Tensor
    deviation: tf.Tensor
    q: tf.Tensor
    k: tf.Tensor
    v: tf.Tensor
    probabilities: tf.Tensor | None
    selected: tf.Tensor | None
    mlp_normal: tf.Tensor
    mlp_deviation: tf.Tensor
    hidden: tf.Tensor


class LatentBlock:
    """Some `SelfAttention` one after the other as a function of the latents, for one forward pass.

    Args:
      layers: whose weights these are.
      calls: how often it will be called.
      training: whether the gradient is the one written out here. Otherwise it is the automatic one,
        and a graph that is served holds no part of any.
      keeps: whether the attention's probabilities and what they select are kept.
    """

    def __init__(
        self,
        layers: Sequence[SelfAttention],
        calls: int = 1,
        training: bool = True,
        keeps: bool = False,
    ) -> None:
        self._left, self._training, self._keeps = calls, training, keeps
        self._heads = [layer.attn.heads for layer in layers]
        self._weights = [Weights.of(layer) for layer in layers]

    def __call__(self, x: tf.Tensor, times: int = 1, recompute: bool = False) -> tf.Tensor:
        """[B, N, D] -> [B, N, D]: all layers in their order, that `times`.

        In training, `recompute` keeps nothing but x.
        """
        order = list(range(len(self._weights))) * times
        if not self._training:
            for i in order:
                y, _ = subgraph.call(forward, x, self._weights[i], heads=self._heads[i])
                x = tf.ensure_shape(y, x.shape)
            return x
        self._left -= 1
        hands_on = self._left > 0

        @tf.custom_gradient
        def run(x: tf.Tensor, *flat: tf.Tensor):
            # Which is also stopping every tape: what is computed from these, none watches.
            y, *weights = tf.nest.map_structure(tf.stop_gradient, [x, *self._packed(flat)])
            kept = []
            for i in order:
                y, left = subgraph.call(
                    forward, y, weights[i], heads=self._heads[i], keeps=self._keeps
                )
                kept.append(left)

            def gradient(upstream: tf.Tensor, *later: tf.Tensor) -> tuple[tf.Tensor, ...]:
                slopes = self._packed(later) if later else [None] * len(weights)
                for i, left in zip(reversed(order), reversed(kept), strict=True):
                    given = (upstream, left, weights[i], slopes[i])
                    upstream, slopes[i] = subgraph.call(backward, *given, heads=self._heads[i])
                return upstream, *tf.nest.flatten(slopes)

            # Handed on, the weights' gradients of later calls come back to be added to.
            return (y, *flat) if hands_on else y, gradient

        y = (tf.recompute_grad(run) if recompute else run)(x, *tf.nest.flatten(self._weights))
        if hands_on:
            y, *handed_on = y
            self._weights = self._packed(handed_on)
        return tf.ensure_shape(y, x.shape)

    def _packed(self, flat: Sequence[tf.Tensor]) -> list[Weights]:
        return tf.nest.pack_sequence_as(self._weights, flat)


def forward(
    x: tf.Tensor, w: Weights, *, heads: int, keeps: bool = False
) -> tuple[tf.Tensor, Kept]:
    """The layer's output for x [B, N, D], and what its gradient needs; `keeps` as above."""
    shape, exact, dtype = tf.shape(x), exact_dtype(x.dtype), x.dtype
    flat = tf.reshape(x, [-1, x.shape[-1]])

    normal, deviation = standardise(tf.cast(flat, exact))
    normal = tf.cast(normal, dtype)
    q, k, v = (
        _heads_first(part, shape, heads)
        for part in (
            affine(normal, w.q, w.q_bias),
            tf.matmul(normal, w.k),
            tf.matmul(normal, w.v),
        )
    )
    probabilities = _probabilities(q, k, exact)
    selected = _rows(tf.matmul(probabilities, v))
    flat += affine(selected, w.out, w.out_bias)
    mlp_normal, mlp_deviation = standardise(tf.cast(flat, exact))
    mlp_normal = tf.cast(mlp_normal, dtype)
    hidden = affine(mlp_normal, w.widen, w.widen_bias)
    flat += affine(gelu(hidden), w.narrow, w.narrow_bias)
    kept = Kept(
        normal,
        deviation,
        q,
        k,
        v,
        probabilities if keeps else None,
        selected if keeps or dtype == exact else None,
        mlp_normal,
        mlp_deviation,
        hidden,
    )
    return tf.reshape(flat, shape), kept


def backward(
    upstream: tf.Tensor, kept: Kept, w: Weights, later: Weights | None, *, heads: int
) -> tuple[tf.Tensor, Weights]:
    """The gradients to x [B, N, D] and to the weights, from that to the layer's output.

    `later` are the weights' gradients of later repetitions, to which this one's are added.
    """
    shape, exact = tf.shape(upstream), kept.deviation.dtype
    upstream = tf.reshape(upstream, [-1, upstream.shape[-1]])

    # The MLP.
    activated, slope = gelu_and_slope(kept.hidden)
    narrow_slopes = affine_slopes(activated, upstream)
    d_hidden = input_slope(upstream, w.narrow) * slope
    widen_slopes = affine_slopes(kept.mlp_normal, d_hidden)
    upstream += _norm_slope(input_slope(d_hidden, w.widen), kept.mlp_normal, kept.mlp_deviation)
    # The attention.
    probabilities = kept.probabilities
    if probabilities is None:
        probabilities = _probabilities(kept.q, kept.k, exact)
    selected = kept.selected
    if selected is None:
        selected = _rows(tf.matmul(probabilities, kept.v))
    out_slopes = affine_slopes(selected, upstream)
    d_selected = input_slope(upstream, w.out)
    # Of the softmax: the mean of the slopes, from the outputs [N, e] and not from [N, M].
    mean = tf.cast(d_selected, exact) * tf.cast(selected, exact)
    mean = tf.reshape(mean, [shape[0], shape[1], heads, -1])
    mean = tf.transpose(tf.reduce_sum(mean, -1, keepdims=True), [0, 2, 1, 3])
    d_selected = _heads_first(d_selected, shape, heads)
    d_q, d_k, d_v = map(_rows, _attend_slopes(kept, probabilities, d_selected, mean))
    slopes = (
        *affine_slopes(kept.normal, d_q),
        tf.matmul(kept.normal, d_k, transpose_a=True),
        tf.matmul(kept.normal, d_v, transpose_a=True),
    )
    d_normal = input_slope(d_q, w.q) + input_slope(d_k, w.k) + input_slope(d_v, w.v)
    upstream += _norm_slope(d_normal, kept.normal, kept.deviation)
    slopes = Weights(*slopes, *out_slopes, *widen_slopes, *narrow_slopes)
    if later is not None:
        slopes = tf.nest.map_structure(tf.add, slopes, later)
    return tf.reshape(upstream, shape), slopes


def _attend_slopes(
    kept: Kept, probabilities: tf.Tensor, upstream: tf.Tensor, mean: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Gradients to q, scaled, k and v; all heads first. `mean`: of the logits' slopes."""
    slopes = tf.matmul(upstream, kept.v, transpose_b=True) - tf.cast(mean, upstream.dtype)
    slopes *= probabilities
    return (
        tf.matmul(slopes, kept.k),
        tf.matmul(slopes, kept.q, transpose_a=True),
        tf.matmul(probabilities, upstream, transpose_a=True),
    )


def _heads_first(x: tf.Tensor, shape: tf.Tensor, heads: int) -> tf.Tensor:
    """[B N, h d] -> [B, h, N, d], of which `shape` begins with B, N."""
    size = x.shape[-1] // heads
    x = tf.transpose(tf.reshape(x, [shape[0], shape[1], heads, size]), [0, 2, 1, 3])
    return tf.ensure_shape(x, [None, heads, None, size])


def _pair(layer: LayerNorm | Linear) -> Pair:
    """Scale and offset, or kernel and bias."""
    pair = (layer.gamma, layer.beta) if isinstance(layer, LayerNorm) else (layer.kernel, layer.bias)
    return tuple(map(tf.convert_to_tensor, pair))


def _folded(
    norm: Pair,
    q: Pair,
    k: Pair,
    v: Pair,
    out: Pair,
    mlp_norm: Pair,
    widen: Pair,
    narrow: Pair,
    *,
    scale: float,
    dtype: str,
) -> Weights:
    """The weights as they are used, in `dtype`, from those of the layers."""
    # Not of the kernel itself, which would be held for the gradient to the scale.
    q, q_bias = _behind([scale * part for part in norm], (q[0], scale * q[1]), dtype)
    k, _ = _behind(norm, k, dtype)
    v, v_bias = _behind(norm, v, dtype)
    out, out_bias = (tf.cast(tensor, v.dtype) for tensor in out)
    # Probabilities sum to 1: every query selects the values' bias once.
    out_bias += tf.linalg.matvec(out, v_bias, transpose_a=True)
    weights = (q, q_bias, k, v, out, out_bias, *_behind(mlp_norm, widen, dtype), *narrow)
    return Weights(*(tf.cast(weight, dtype) for weight in weights))


def _behind(norm: Sequence[tf.Tensor], linear: Pair, dtype: str) -> Pair:
    """Kernel and bias of a linear layer that reads what `norm` gives, as of one without."""
    exact = exact_dtype(dtype)
    gamma, beta, kernel, bias = (tf.cast(tensor, exact) for tensor in (*norm, *linear))
    folded = tf.expand_dims(gamma, 1) * kernel
    return folded, tf.linalg.matvec(kernel, beta, transpose_a=True) + bias


def _norm_slope(upstream: tf.Tensor, normal: tf.Tensor, deviation: tf.Tensor) -> tf.Tensor:
    """`standardise_slope` in the dtype of `deviation`, given in that of `upstream`."""
    exact = deviation.dtype
    slope = standardise_slope(tf.cast(upstream, exact), tf.cast(normal, exact), deviation)
    return tf.cast(slope, upstream.dtype)


def _probabilities(q: tf.Tensor, k: tf.Tensor, exact: tf.DType) -> tf.Tensor:
    """Softmax of the logits in `exact`, given in the dtype of q: [B, h, N, N]."""
    logits = tf.matmul(q, k, transpose_b=True)
    return tf.cast(tf.nn.softmax(tf.cast(logits, exact)), q.dtype)


def _rows(x: tf.Tensor) -> tf.Tensor:
    """[B, h, N, d] -> [B N, h d]."""
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, x.shape[1] * x.shape[3]])
