"""A layer of the latent transformer with a gradient of its own: fewer passes, and half is kept.

The same numbers as `SelfAttention`, of which this is the fast path. What it does otherwise:

- q, k and v come from one matrix product, whose joined kernel is made once for all repetitions of
  a layer;
- a repeated layer's gradients to its weights are summed as they come: each repetition hands the
  weights on to the next, so that backward the sum goes the other way. Automatic differentiation
  would hold all of them until the last is there;
- kept for the backward pass are what the layer norms give, q, k, v, what attention selects and what
  GELU reads: 7 arrays of the latents' size where automatic differentiation keeps 15 and the
  attention's probabilities. Those are computed again, for a fortieth of the layer's work;
- a product with a transposed matrix is formed so that the smaller matrix is the transposed one:
  on a CPU packing it is a fifth of the product's time.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from tf_perceiver.model.attention import SelfAttention
from tf_perceiver.model.linear import gelu, gelu_and_slope, standardise, standardise_slope
from tf_perceiver.model.linear import statistics_dtype as exact_dtype


class Weights(NamedTuple):
    """All weights of a layer in the order of their use; kernels [in, out]."""

    gamma: tf.Tensor
    beta: tf.Tensor
    joined: tf.Tensor  # q, k and v side by side.
    joined_bias: tf.Tensor
    out: tf.Tensor
    out_bias: tf.Tensor
    mlp_gamma: tf.Tensor
    mlp_beta: tf.Tensor
    widen: tf.Tensor
    widen_bias: tf.Tensor
    narrow: tf.Tensor
    narrow_bias: tf.Tensor


class LatentLayer:
    """A `SelfAttention` as a function of the latents, for one forward pass of a model.

    Args:
      layer: whose weights these are, in its compute dtype but for the layer norms'.
      repeats: how often it will be called.
    """

    def __init__(self, layer: SelfAttention, repeats: int = 1) -> None:
        attn = layer.attn
        self._left = repeats
        parts = (attn.q, attn.k, attn.v)
        self.heads, self.widths = attn.heads, [part.outputs for part in parts]
        norms, mlp = (layer.ln, layer.mlp_ln), layer.mlp
        exact = exact_dtype(attn.compute_dtype)
        gamma, beta, mlp_gamma, mlp_beta = (
            tf.cast(weight, exact) for norm in norms for weight in (norm.gamma, norm.beta)
        )
        joined = tf.concat([part.kernel for part in parts], 1)
        joined_bias = tf.concat([part.bias for part in parts], 0)
        linears = [(joined, joined_bias)]
        linears += [(part.kernel, part.bias) for part in (attn.o, mlp.fc1, mlp.fc2)]
        into, out, widen, narrow = (
            [tf.cast(weight, attn.compute_dtype) for weight in linear] for linear in linears
        )
        self.weights = Weights(
            gamma, beta, *into, *out, mlp_gamma, mlp_beta, *widen, *narrow
        )

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
            return d_x, *(one + other for one, other in zip(slopes, later, strict=True))

        return (y, *map(tf.identity, weights)), summed

    def _run(self, x: tf.Tensor, *weights: tf.Tensor):
        """The layer's output, and the gradient to x and to every weight."""
        w, shape = Weights(*weights), tf.shape(x)
        exact, dtype = exact_dtype(x.dtype), x.dtype
        x = tf.reshape(x, [-1, x.shape[-1]])

        normal, deviation = standardise(tf.cast(x, exact))
        q, k, v = self._split(
            _affine(_scaled(normal, w.gamma, w.beta, dtype), w.joined, w.joined_bias), shape
        )
        selected = _rows(tf.matmul(_probabilities(q, k, exact), v))
        x += _affine(selected, w.out, w.out_bias)
        mlp_normal, mlp_deviation = standardise(tf.cast(x, exact))
        hidden = _affine(
            _scaled(mlp_normal, w.mlp_gamma, w.mlp_beta, dtype), w.widen, w.widen_bias
        )
        x += _affine(gelu(hidden), w.narrow, w.narrow_bias)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            upstream = tf.reshape(upstream, [-1, upstream.shape[-1]])
            # The MLP.
            before, read = _anew(upstream, hidden, mlp_normal)
            activated, slope = gelu_and_slope(before)
            d_hidden = _back(upstream, w.narrow) * slope
            d_scaled = tf.cast(_back(d_hidden, w.widen), exact)
            scaled = _scaled(read, w.mlp_gamma, w.mlp_beta, dtype)
            mlp_slopes = (
                *_norm_slopes(d_scaled, mlp_normal),
                *_slopes(scaled, d_hidden),
                *_slopes(activated, upstream),
            )
            d_x = standardise_slope(d_scaled * w.mlp_gamma, mlp_normal, mlp_deviation)
            upstream += tf.cast(d_x, dtype)
            # The attention.
            out_slopes = _slopes(selected, upstream)
            d_selected = _back(upstream, w.out)
            parts = self._attend_slopes(q, k, v, selected, d_selected, exact)
            d_joined = tf.concat([_rows(part) for part in parts], -1)
            d_scaled = tf.cast(_back(d_joined, w.joined), exact)
            scaled = _scaled(_anew(upstream, normal)[0], w.gamma, w.beta, dtype)
            kernel_slope, bias_slope = _slopes(scaled, d_joined)
            slopes = (*_norm_slopes(d_scaled, normal), kernel_slope, self._without_keys(bias_slope))
            d_x = standardise_slope(d_scaled * w.gamma, normal, deviation)
            upstream += tf.cast(d_x, dtype)
            return tf.reshape(upstream, shape), *slopes, *out_slopes, *mlp_slopes

        return tf.reshape(x, shape), gradient

    def _attend_slopes(
        self,
        q: tf.Tensor,
        k: tf.Tensor,
        v: tf.Tensor,
        selected: tf.Tensor,
        upstream: tf.Tensor,
        exact: tf.DType,
    ) -> list[tf.Tensor]:
        """Gradients to the q (before its scale), k and v of `_split`, heads first like them."""
        # Of the softmax: the mean of the slopes, from the outputs [N, e] and not from [N, M].
        mean = self._heads(tf.cast(upstream, exact) * tf.cast(selected, exact), q)
        mean = tf.cast(tf.reduce_sum(mean, -1, keepdims=True), v.dtype)
        mean = tf.transpose(mean, [0, 2, 1, 3])
        upstream = tf.transpose(self._heads(upstream, q), [0, 2, 1, 3])
        probabilities = _probabilities(*_anew(upstream, q, k), exact)
        slopes = probabilities * (tf.matmul(upstream, v, transpose_b=True) - mean)
        return [
            tf.matmul(slopes, k) * _scale(q),
            _turned(tf.matmul(q, slopes, transpose_a=True)),
            _turned(tf.matmul(upstream, probabilities, transpose_a=True)),
        ]

    def _heads(self, x: tf.Tensor, q: tf.Tensor) -> tf.Tensor:
        """[B N, h e] -> [B, N, h, e]."""
        batch, _, count, _ = tf.unstack(tf.shape(q))
        return tf.reshape(x, [batch, count, self.heads, x.shape[-1] // self.heads])

    def _split(self, joined: tf.Tensor, shape: tf.Tensor) -> list[tf.Tensor]:
        """[B N, q k v] -> q, scaled, k and v, each [B, h, N, d]."""
        sizes = [width // self.heads for width in self.widths]
        parts = [
            tf.transpose(tf.reshape(part, [shape[0], shape[1], self.heads, size]), [0, 2, 1, 3])
            for part, size in zip(tf.split(joined, self.widths, -1), sizes, strict=True)
        ]
        q, k, v = (
            tf.ensure_shape(part, [None, self.heads, None, size])
            for part, size in zip(parts, sizes, strict=True)
        )
        return [q * _scale(q), k, v]

    def _without_keys(self, bias_slope: tf.Tensor) -> tf.Tensor:
        """[q k v] with exact zeros for k: softmax doesn't see what all keys have in common."""
        q, k, v = tf.split(bias_slope, self.widths)
        return tf.concat([q, tf.zeros_like(k), v], 0)


def _anew(upstream: tf.Tensor, *kept: tf.Tensor) -> list[tf.Tensor]:
    """`kept` as it is, from when `upstream` is there.

    What is computed of it isn't what was computed of it before: else TensorFlow would find the two
    to be the same, and hold the first until the second is due.
    """
    with tf.control_dependencies([upstream]):
        return [tf.identity(tensor) for tensor in kept]


def _affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)  # Which TensorFlow fuses.


def _back(upstream: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """``upstream @ kernel^T``: the smaller matrix is packed as the transposed one."""
    return tf.transpose(tf.matmul(kernel, upstream, transpose_b=True))


def _slopes(x: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients to the kernel and the bias of `_affine`."""
    return tf.matmul(x, upstream, transpose_a=True), tf.reduce_sum(upstream, 0)


def _scaled(normal: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.cast(normal * gamma + beta, dtype)


def _norm_slopes(upstream: tf.Tensor, normal: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients to gamma and beta."""
    return tf.reduce_sum(upstream * normal, 0), tf.reduce_sum(upstream, 0)


def _scale(q: tf.Tensor) -> float:
    return q.shape[-1] ** -0.5


def _probabilities(q: tf.Tensor, k: tf.Tensor, exact: tf.DType) -> tf.Tensor:
    """Softmax of the logits in `exact`, given in the dtype of q: [B, h, N, N]."""
    logits = tf.matmul(q, k, transpose_b=True)
    return tf.cast(tf.nn.softmax(tf.cast(logits, exact)), q.dtype)


def _turned(x: tf.Tensor) -> tf.Tensor:
    return tf.transpose(x, [0, 1, 3, 2])


def _rows(x: tf.Tensor) -> tf.Tensor:
    """[B, h, N, d] -> [B N, h d]."""
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, x.shape[1] * x.shape[3]])
