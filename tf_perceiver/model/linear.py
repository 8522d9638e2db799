"""The small layers that everything is made of: linear, layer norm, MLP; and their initialisers.

Every variable is created in ``__init__`` under its full neutral name, for instance
``enc.cross.0.attn.q.kernel``, so that Keras adds no prefix of its own and importing a checkpoint
is a renaming.
"""

from __future__ import annotations

import math

import tensorflow as tf

# The paper's epsilon. Keras' default is 1e-3.
LAYER_NORM_EPSILON = 1e-5
_GELU, _CUBIC = math.sqrt(2 / math.pi), 0.044715  # Of GELU's tanh form.


def variance_scaling() -> tf.keras.initializers.Initializer:
    """Truncated normal of variance 1 / fan-in, with the correction for the cut at two sigma.

    For the q, k, v, o and MLP kernels. Correct on 2-D kernels only: on Keras' 3-D attention
    kernels the same initialiser would count the fan-in as C * heads.
    """
    return tf.keras.initializers.VarianceScaling(1.0, "fan_in", "truncated_normal")


def truncated_normal(stddev: float = 0.02) -> tf.keras.initializers.Initializer:
    """Normal of the given sigma cut at two sigma, *without* correction: latents, tables, pads."""
    return tf.keras.initializers.TruncatedNormal(stddev=stddev)


def fan_in_normal(inputs: int) -> tf.keras.initializers.Initializer:
    """Truncated normal of sigma 1 / sqrt(fan-in), without correction: linears outside attention.

    For output projections, projections of positions and patches, post-processors and convolutions,
    where `inputs` counts the kernel's window too.
    """
    return truncated_normal(inputs**-0.5)


def statistics_dtype(dtype: tf.DType | str) -> tf.DType:
    """The dtype for sums, softmax and layer norm: never below float32, float64 stays float64."""
    dtype = tf.as_dtype(dtype)
    return tf.float32 if dtype.size < 4 else dtype


@tf.custom_gradient
def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU in DeepMind's tanh form: ``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``.

    In float32 at least, given in the dtype of x: on a CPU half precision takes longer, and its tanh
    would leave nothing of the gate where it is nearly shut. The gradient keeps nothing but x.
    """
    value, slope = gelu_and_slope(x)
    return value, lambda upstream: upstream * slope


def gelu_and_slope(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`gelu` of x and its derivative there, for a gradient that needs both and has none itself."""
    dtype = x.dtype
    x = tf.cast(x, statistics_dtype(dtype))
    square = tf.square(x)
    tanh = tf.tanh(x * (_GELU + _GELU * _CUBIC * square))
    gate = 0.5 + 0.5 * tanh
    inner = x * (0.5 * _GELU + 1.5 * _GELU * _CUBIC * square)
    slope = gate + tf.raw_ops.TanhGrad(y=tanh, dy=inner)  # inner (1 - tanh^2), as one operation.
    return tf.cast(x * gate, dtype), tf.cast(slope, dtype)


@tf.custom_gradient
def normalise(x: tf.Tensor) -> tf.Tensor:
    """(x - mean) / sqrt(variance + eps) over the last axis, in the dtype of x.

    The gradient needs the result and the deviation alone; what automatic differentiation would
    make of the formula takes twice the passes over x.
    """
    normalised, scale = standardise(x)
    return normalised, lambda upstream: standardise_slope(upstream, normalised, scale)


def standardise(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """What `normalise` gives, and 1 / sqrt(variance + eps) [..., 1]."""
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), -1, keepdims=True)
    scale = tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
    return centred * scale, scale


def standardise_slope(upstream: tf.Tensor, normalised: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """The gradient to x of `normalise`, from what `standardise` gave."""
    along = tf.reduce_mean(upstream * normalised, -1, keepdims=True)
    about = tf.reduce_mean(upstream, -1, keepdims=True)
    return (upstream - about - normalised * along) * scale


@tf.custom_gradient
def rows(table: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """[V, C], int [...] -> [..., C]: a lookup whose gradient is dense.

    tf.gather's is a tf.IndexedSlices: LAMB treats it otherwise, and its shape depends on the input.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        upstream = tf.reshape(upstream, [-1, table.shape[1]])
        flat = tf.reshape(indices, [-1])
        return tf.math.unsorted_segment_sum(upstream, flat, table.shape[0]), None

    return tf.gather(table, indices), gradient


@tf.custom_gradient
def depending_on(x: tf.Tensor, constant: tf.Tensor) -> tf.Tensor:
    """`x` itself; the gradient to `constant`, on which it doesn't depend, is zeros and not None."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return upstream, tf.zeros_like(constant)

    return tf.identity(x), gradient


class Linear(tf.keras.layers.Layer):
    """``x @ kernel + bias`` on the last axis, as one 2-D matrix product.

    A batched product against a shared kernel would broadcast the kernel, and its gradient would
    be summed over the batch afterwards; folding the leading axes avoids both.

    Args:
      name: prefix of the variable names.
      inputs: channels in.
      outputs: channels out.
      initializer: of the kernel [inputs, outputs]; the bias starts at zero.
    """

    def __init__(
        self,
        name: str,
        inputs: int,
        outputs: int,
        initializer: tf.keras.initializers.Initializer | str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.inputs, self.outputs = inputs, outputs
        if initializer is None:
            initializer = variance_scaling()
        # Never cast by Keras: the faster paths fold them in float32, of which nothing is kept then.
        self.kernel = self.add_weight(
            name=f"{name}.kernel",
            shape=(inputs, outputs),
            initializer=initializer,
            experimental_autocast=False,
        )
        self.bias = self.add_weight(
            name=f"{name}.bias", shape=(outputs,), initializer="zeros", experimental_autocast=False
        )

    def call(self, x: tf.Tensor, biased: bool = True) -> tf.Tensor:
        """[..., inputs] -> [..., outputs]; with or without the bias."""
        leading = tf.shape(x)[:-1]
        y = tf.matmul(tf.reshape(x, [-1, self.inputs]), tf.cast(self.kernel, x.dtype))
        y = y + tf.cast(self.bias, x.dtype) if biased else y
        y = tf.reshape(y, tf.concat([leading, [self.outputs]], 0))
        return tf.ensure_shape(y, x.shape[:-1] + [self.outputs])


class LayerNorm(tf.keras.layers.Layer):
    """Layer norm over the last axis with learned scale and offset, epsilon 1e-5.

    Runs in float32 at least, whatever the compute dtype, and gives the compute dtype back.
    """

    def __init__(self, name: str, channels: int) -> None:
        # No autocasting: the statistics, the scale and the offset stay in the variables' dtype.
        super().__init__(name=name, autocast=False)
        self.channels = channels
        self.gamma = self.add_weight(name=f"{name}.gamma", shape=(channels,), initializer="ones")
        self.beta = self.add_weight(name=f"{name}.beta", shape=(channels,), initializer="zeros")

    def normalise(self, x: tf.Tensor) -> tf.Tensor:
        """[..., C] -> (x - mean) / sqrt(variance + eps), without scale and offset."""
        return normalise(tf.cast(x, statistics_dtype(self.compute_dtype)))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[..., C] -> [..., C]."""
        dtype = statistics_dtype(self.compute_dtype)
        y = self.normalise(x) * tf.cast(self.gamma, dtype) + tf.cast(self.beta, dtype)
        return tf.cast(y, self.compute_dtype)


class MLP(tf.keras.layers.Layer):
    """Linear to ``widening * C``, GELU (tanh form, as DeepMind's), linear back to C.

    The published models have widening 1. Reference: DeepMind ``perceiver.py``, class MLP.
    """

    def __init__(self, name: str, channels: int, widening: int = 1) -> None:
        super().__init__(name=name)
        self.fc1 = Linear(f"{name}.fc1", channels, channels * widening)
        self.fc2 = Linear(f"{name}.fc2", channels * widening, channels)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[..., C] -> [..., C]."""
        return self.fc2(gelu(self.fc1(x)))
