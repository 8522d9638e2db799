"""Linear, layer norm and MLP against NumPy; initialisers against their stated spread."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_perceiver.model import linear


def test_gelu_is_the_tanh_form():
    golden = reference.Golden("units")
    x = golden["inputs/gelu_x"]
    mlp = linear.MLP("m", 1)
    mlp.fc1.kernel.assign([[1.0]])
    mlp.fc2.kernel.assign([[1.0]])
    ours = mlp(x[:, None])[:, 0].numpy()
    np.testing.assert_allclose(ours, golden["outputs/gelu_deepmind_tanh"], atol=1e-6)
    assert np.max(np.abs(ours - golden["outputs/gelu_exact"])) > 1e-4


@pytest.mark.parametrize(
    ("ours", "plain"),
    [
        (linear.gelu, lambda x: tf.nn.gelu(x, approximate=True)),
        (
            linear.normalise,
            lambda x: (x - tf.reduce_mean(x, -1, keepdims=True))
            / tf.sqrt(tf.math.reduce_variance(x, -1, keepdims=True) + 1e-5),
        ),
    ],
)
def test_the_gradients_written_out_are_those_of_the_formula(ours, plain):
    draw = np.random.default_rng(0)
    x, upstream = (tf.constant(draw.normal(size=(3, 5, 8)) * 3) for _ in range(2))
    results = []
    for function in (ours, plain):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        results.append((y, tape.gradient(y, x, output_gradients=upstream)))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)  # TensorFlow's constant is rounded.


def test_layer_norm_equals_numpy_with_the_papers_epsilon():
    x = np.random.default_rng(0).normal(3, 1e-2, (2, 5, 7)).astype(np.float32)
    norm = linear.LayerNorm("n", 7)
    norm.gamma.assign(np.arange(7.0))
    norm.beta.assign(np.ones(7))
    wide = x.astype(np.float64)
    variance = wide.var(-1, keepdims=True)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-5)
    np.testing.assert_allclose(norm(x), expected * np.arange(7) + 1, rtol=1e-3, atol=1e-4)


def test_layer_norm_keeps_its_statistics_in_float32_under_bfloat16():
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        norm = linear.LayerNorm("n", 64)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    x = tf.cast(tf.random.stateless_normal([4, 64], [0, 1]) + 100, tf.bfloat16)
    y = norm(x)
    assert y.dtype == tf.bfloat16
    wide = tf.cast(x, tf.float64).numpy()
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    # Only the rounding of the result is left: half a unit of bfloat16's 8 bits.
    np.testing.assert_allclose(tf.cast(y, tf.float64), expected, rtol=2**-8, atol=2**-8)


def test_linear_is_one_product_over_the_last_axis():
    layer = linear.Linear("l", 3, 2)
    layer.bias.assign([1.0, -1.0])
    x = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    expected = x @ layer.kernel.numpy() + [1.0, -1.0]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-6)


def test_initialisers_have_their_spread():
    tf.keras.utils.set_random_seed(0)
    scaled = linear.variance_scaling()([400, 300]).numpy()
    assert abs(scaled.std() * 20 - 1) < 0.01  # 1 / sqrt(400), correction included.
    table = linear.truncated_normal()([500, 200]).numpy()
    assert np.abs(table).max() <= 0.04
    assert abs(table.std() / 0.0176 - 1) < 0.01  # Cut at two sigma and not corrected.
