"""A layer of the latent transformer with a gradient of its own: fewer passes, and half is kept.

The same numbers as `SelfAttention`, of which this is the fast path. What it does otherwise:

- the layer norms' scales and offsets, the scale of the logits and the values' bias go into the
  kernels and biases behind them, once for all repetitions of a layer: a pass over its 512 x 1024
  latents takes as long as one over a kernel, and there are as many of them as repetitions. What all
  keys have in common, softmax doesn't see: the keys need no bias;
- kept for the backward pass are what the layer norms give, q, k, v, what attention selects and what
  GELU reads: 7 arrays of the latents' size where automatic differentiation keeps 15 and the
  attention's probabilities. Those are computed again, for a fortieth of the layer's work;
- kernels are transposed once for all repetitions, not packed against their grain in every product;
- a repeated layer's gradients to its weights are summed as they come: each repetition hands the
  weights on to the next, so that backward the sum goes the other way. Automatic differentiation
  would hold all of them until the last is there.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_perceiver.model.attention import SelfAttention
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
        """Those of a layer, in the dtype of its statistics."""
        attn, mlp = layer.attn, layer.mlp
        exact = exact_dtype(attn.compute_dtype)
        scale = (attn.q.outputs // attn.heads) ** -0.5
        q, q_bias = _behind(layer.ln, attn.q, exact)
        k, _ = _behind(layer.ln, attn.k, exact)
        v, v_bias = _behind(layer.ln, attn.v, exact)
        out = tf.cast(attn.o.kernel, exact)
        # Probabilities sum to 1: every query selects the values' bias once.
        out_bias = tf.linalg.matvec(out, v_bias, transpose_a=True) + tf.cast(attn.o.bias, exact)
        return cls(
            q * scale,
            q_bias * scale,
            depending_on(k, attn.k.bias),
            v,
            out,
            out_bias,
            *_behind(layer.mlp_ln, mlp.fc1, exact),
            tf.cast(mlp.fc2.kernel, exact),
            tf.cast(mlp.fc2.bias, exact),
        )


class LatentLayer:
    """A `SelfAttention` as a function of the latents, for one forward pass of a model.

    Args:
      layer: whose weights these are.
      repeats: how often it will be called.
    """

    def __init__(self, layer: SelfAttention, repeats: int = 1) -> None:
        self._left = repeats
        self.heads = layer.attn.heads
        dtype = layer.attn.compute_dtype
        self.weights = Weights(*(tf.cast(weight, dtype) for weight in Weights.of(layer)))
        # Made once, for all repetitions; where nothing is differentiated, TensorFlow prunes them.
        self.turned = {
            name: tf.stop_gradient(_transposed(getattr(self.weights, name)))
            for name in ("q", "k", "v", "out", "widen", "narrow")
        }

    def __call__(self, x: tf.Tensor, recompute: bool = False) -> tf.Tensor:
        """[B, N, D] -> [B, N, D]; `recompute` keeps of the layer nothing but x."""
        self._left -= 1
        run = self._run if self._left <= 0 else self._run_and_hand_on
        run = tf.custom_gradient(run)
        if recompute:
            run = tf.recompute_grad(run)
        y, *handed_on = tf.nest.flatten(run(x, *self.weights))
        if handed_on:
            self.weights = Weights(*handed_on)
        return tf.ensure_shape(y, x.shape)

    def _run_and_hand_on(self, x: tf.Tensor, *weights: tf.Tensor):
        """`_run`, and the weights as they are; their gradients are added to the layer's own."""
        y, gradient = self._run(x, *weights)

        def summed(upstream: tf.Tensor, *later: tf.Tensor) -> tuple[tf.Tensor, ...]:
            d_x, *slopes = gradient(upstream)
            # The dependency keeps TensorFlow from making one sum of all repetitions' out of these,
            # which would hold every part until the last is there.
            with tf.control_dependencies([d_x]):
                return d_x, *(one + other for one, other in zip(slopes, later, strict=True))

        return (y, *map(tf.identity, weights)), summed

    def _run(self, x: tf.Tensor, *weights: tf.Tensor):
        """The layer's output, and the gradient to x and to every weight."""
        w, shape = Weights(*weights), tf.shape(x)
        exact, dtype = exact_dtype(x.dtype), x.dtype
        x = tf.reshape(x, [-1, x.shape[-1]])

        normal, deviation = standardise(tf.cast(x, exact))
        normal = tf.cast(normal, dtype)
        q, k, v = (
            self._heads_first(part, shape)
            for part in (
                _affine(normal, w.q, w.q_bias),
                tf.matmul(normal, w.k),
                tf.matmul(normal, w.v),
            )
        )
        selected = _rows(tf.matmul(_probabilities(q, k, exact), v))
        x += _affine(selected, w.out, w.out_bias)
        mlp_normal, mlp_deviation = standardise(tf.cast(x, exact))
        mlp_normal = tf.cast(mlp_normal, dtype)
        hidden = _affine(mlp_normal, w.widen, w.widen_bias)
        x += _affine(gelu(hidden), w.narrow, w.narrow_bias)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            upstream = tf.reshape(upstream, [-1, upstream.shape[-1]])
            # The MLP.
            (before,) = _anew(upstream, hidden)
            activated, slope = gelu_and_slope(before)
            narrow_slopes = _slopes(activated, upstream)
            d_hidden = self._back(upstream, "narrow", w) * slope
            widen_slopes = _slopes(mlp_normal, d_hidden)
            d_normal = self._back(d_hidden, "widen", w)
            upstream += _norm_slope(d_normal, *_anew(d_normal, mlp_normal, mlp_deviation))
            # The attention.
            out_slopes = _slopes(selected, upstream)
            d_selected = self._back(upstream, "out", w)
            parts = self._attend_slopes(q, k, v, selected, d_selected, exact)
            d_q, d_k, d_v = map(_rows, parts)
            slopes = (
                *_slopes(normal, d_q),
                tf.matmul(normal, d_k, transpose_a=True),
                tf.matmul(normal, d_v, transpose_a=True),
            )
            d_normal = self._back(d_q, "q", w) + self._back(d_k, "k", w) + self._back(d_v, "v", w)
            upstream += _norm_slope(d_normal, *_anew(d_normal, normal, deviation))
            upstream = tf.reshape(upstream, shape)
            return upstream, *slopes, *out_slopes, *widen_slopes, *narrow_slopes

        return tf.reshape(x, shape), gradient

    def _attend_slopes(
        self,
        q: tf.Tensor,
        k: tf.Tensor,
        v: tf.Tensor,
        selected: tf.Tensor,
        upstream: tf.Tensor,
        exact: tf.DType,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Gradients to q, scaled, k and v, heads first like them."""
        batch, _, count, _ = tf.unstack(tf.shape(q))
        shape = (batch, count)
        # Of the softmax: the mean of the slopes, from the outputs [N, e] and not from [N, M].
        (again,) = _anew(upstream, selected)
        mean = tf.reshape(
            tf.cast(upstream, exact) * tf.cast(again, exact), [*shape, self.heads, v.shape[-1]]
        )
        mean = tf.transpose(tf.reduce_sum(mean, -1, keepdims=True), [0, 2, 1, 3])
        upstream = self._heads_first(upstream, shape)
        probabilities = _probabilities(*_anew(upstream, q, k), exact)
        slopes = tf.matmul(upstream, v, transpose_b=True) - tf.cast(mean, v.dtype)
        slopes *= probabilities
        return (
            tf.matmul(slopes, k),
            tf.matmul(slopes, q, transpose_a=True),
            tf.matmul(probabilities, upstream, transpose_a=True),
        )

    def _heads_first(self, x: tf.Tensor, shape: tf.Tensor) -> tf.Tensor:
        """[B N, h d] -> [B, h, N, d], of which `shape` begins with B, N."""
        size = x.shape[-1] // self.heads
        x = tf.transpose(tf.reshape(x, [shape[0], shape[1], self.heads, size]), [0, 2, 1, 3])
        return tf.ensure_shape(x, [None, self.heads, None, size])

    def _back(self, upstream: tf.Tensor, name: str, weights: Weights) -> tf.Tensor:
        """``upstream @ kernel^T`` of the weight of this name."""
        if upstream.dtype.size < 4:  # oneDNN's half precision packs either as quickly.
            return tf.matmul(upstream, getattr(weights, name), transpose_b=True)
        return tf.matmul(upstream, self.turned[name])


def _behind(norm: LayerNorm, linear: Linear, exact: tf.DType) -> tuple[tf.Tensor, tf.Tensor]:
    """Kernel and bias of a linear layer that reads what `norm` gives, as of one without."""
    gamma, beta = tf.cast(norm.gamma, exact), tf.cast(norm.beta, exact)
    kernel, bias = tf.cast(linear.kernel, exact), tf.cast(linear.bias, exact)
    return gamma[:, None] * kernel, tf.linalg.matvec(kernel, beta, transpose_a=True) + bias


def _transposed(kernel: tf.Tensor) -> tf.Tensor:
    """[in, out] -> [out, in], between reshapes: else TensorFlow makes it a flag of the product."""
    inputs, outputs = kernel.shape
    turned = tf.transpose(tf.reshape(kernel, [1, inputs, outputs]), [0, 2, 1])
    return tf.reshape(turned, [outputs, inputs])


def _anew(upstream: tf.Tensor, *kept: tf.Tensor) -> list[tf.Tensor]:
    """`kept` as it is, from when `upstream` is there.

    What is computed of it isn't what was computed of it before: else TensorFlow would find the two
    to be the same, and hold the first until the second is due. Nor is it computed before it is
    needed, as it would be if it were ready: a copy in float32, for instance, of half precision.
    """
    with tf.control_dependencies([upstream]):
        return [tf.identity(tensor) for tensor in kept]


def _affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)  # Which TensorFlow fuses.


def _slopes(x: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients to the kernel and the bias of `_affine`."""
    # A product takes half the time of a sum over rows, and sums in float32 whatever it gives.
    summed = tf.matmul(tf.ones_like(upstream[:, :1]), upstream, transpose_a=True)
    return tf.matmul(x, upstream, transpose_a=True), summed[0]


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
