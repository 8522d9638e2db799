"""Linear layers behind a norm or GELU that keep one array for the backward pass, not two or three.

The same numbers as the layers one after the other. What lies between is cheap to compute again,
and what automatic differentiation would keep of it is as large as the latents, at every reading.
"""

from __future__ import annotations

import tensorflow as tf

from tf_perceiver.model.linear import (
    MLP,
    LayerNorm,
    Linear,
    gelu,
    gelu_and_slope,
    standardise,
    standardise_slope,
    statistics_dtype,
)


def mlp(norm: LayerNorm, layer: MLP, x: tf.Tensor) -> tf.Tensor:
    """``layer(norm(x))``: [..., C] -> [..., C]."""
    return gelu_linear(layer.fc2, norm_linear(norm, layer.fc1, x))


def norm_linear(norm: LayerNorm, linear: Linear, x: tf.Tensor) -> tf.Tensor:
    """``linear(norm(x))``: [..., C] -> [..., K]; keeps what the norm gives before its scale."""
    exact, dtype = statistics_dtype(x.dtype), x.dtype

    @tf.custom_gradient
    def run(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor):
        normal, deviation = standardise(tf.cast(x, exact))
        normal = tf.cast(normal, dtype)

        def scaled(normal: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.cast(normal, exact) * gamma + beta, dtype)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            before, kernel_ = anew(upstream, normal, kernel)
            slopes = affine_slopes(scaled(before), upstream)
            d_scaled = tf.cast(input_slope(upstream, kernel_), exact)
            before = tf.cast(before, exact)
            d_x = standardise_slope(d_scaled * gamma, before, deviation)
            d_gamma = tf.reduce_sum(d_scaled * before, 0)
            return tf.cast(d_x, dtype), d_gamma, tf.reduce_sum(d_scaled, 0), *_as(kernel, slopes)

        return affine(scaled(normal), *_as(normal, (kernel, bias))), gradient

    gamma, beta = tf.cast(norm.gamma, exact), tf.cast(norm.beta, exact)
    weights = map(tf.convert_to_tensor, (linear.kernel, linear.bias))
    return _like(x, run(tf.reshape(x, [-1, linear.inputs]), gamma, beta, *weights))


def gelu_linear(linear: Linear, x: tf.Tensor) -> tf.Tensor:
    """``linear(gelu(x))``: [..., C] -> [..., K]; keeps x."""

    @tf.custom_gradient
    def run(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor):
        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            before, kernel_ = anew(upstream, x, kernel)
            activated, slope = gelu_and_slope(before)
            slopes = affine_slopes(activated, upstream)
            return input_slope(upstream, kernel_) * slope, *_as(kernel, slopes)

        return affine(gelu(x), *_as(x, (kernel, bias))), gradient

    weights = map(tf.convert_to_tensor, (linear.kernel, linear.bias))
    return _like(x, run(tf.reshape(x, [-1, linear.inputs]), *weights))


def affine(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """[N, C] -> [N, K]."""
    return tf.nn.bias_add(tf.matmul(x, kernel), bias)  # Which TensorFlow fuses.


def affine_slopes(x: tf.Tensor, upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradients to the kernel and the bias of `affine`."""
    # A product takes half the time of a sum over rows, and sums in float32 whatever it gives.
    summed = tf.matmul(tf.ones_like(upstream[:, :1]), upstream, transpose_a=True)
    return tf.matmul(x, upstream, transpose_a=True), summed[0]


def input_slope(upstream: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """The gradient to x of `affine`, in the dtype of that to its output."""
    # A product with the kernel turned by a flag takes a quarter longer in float32.
    return tf.einsum("nk,ck->nc", upstream, tf.cast(kernel, upstream.dtype))


def anew(upstream: tf.Tensor, *kept: tf.Tensor) -> list[tf.Tensor]:
    """`kept` as it is, from when `upstream` is there.

    What is computed of it isn't what was computed of it before: else TensorFlow would find the two
    to be the same, and hold the first until the second is due. Nor is it computed before it is
    needed, as it would be if it were ready: a copy in float32, for instance, of half precision.
    """
    with tf.control_dependencies([upstream]):
        return [tf.identity(tensor) for tensor in kept]


def _as(x: tf.Tensor, tensors: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
    """`tensors` in the dtype of x: no copy of weights in half precision is kept."""
    return tuple(tf.cast(tensor, x.dtype) for tensor in tensors)


def _like(x: tf.Tensor, flat: tf.Tensor) -> tf.Tensor:
    """[N, K] -> [..., K], the leading axes being those of x."""
    y = tf.reshape(flat, tf.concat([tf.shape(x)[:-1], [flat.shape[-1]]], 0))
    return tf.ensure_shape(y, x.shape[:-1] + [flat.shape[-1]])
