"""The latent transformer's fast path against the plain layer: outputs, gradients, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import peak
from tf_perceiver.model.attention import SelfAttention
from tf_perceiver.model.latent import LatentLayer


def build(dtype, channels=8, seed=0, **fields):
    """A layer none of whose weights is zero or one."""
    tf.keras.mixed_precision.set_global_policy(dtype)
    try:
        layer = SelfAttention("s", channels, **fields)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return layer


def run(layer, x, upstream, repeats=1, fast=True, recompute=False):
    """Outputs, and gradients to x and to every weight by name."""
    variables = {v.name: v for v in layer.trainable_variables}
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        call = LatentLayer(layer, repeats) if fast else layer
        for _ in range(repeats):
            y = call(y, recompute) if fast else call(y)
        loss = tf.reduce_sum(tf.cast(y, upstream.dtype) * upstream)
    gradients = tape.gradient(loss, {"x": x, **variables})
    return y, gradients


def assert_equal(ours, theirs, tolerance):
    (y, gradients), (expected, slopes) = ours, theirs
    assert float(tf.reduce_max(tf.abs(y - expected))) < tolerance * float(
        tf.reduce_max(tf.abs(expected))
    )
    largest = max(float(tf.reduce_max(tf.abs(slope))) for slope in slopes.values())
    assert not np.any(gradients["s.attn.k.bias:0"])  # Exactly; the plain layer has rounding's.
    for name, slope in slopes.items():
        if name == "s.attn.k.bias:0":
            assert float(tf.reduce_max(tf.abs(slope))) < tolerance * largest
            continue
        scale = max(float(tf.reduce_max(tf.abs(slope))), 1e-3 * largest)
        assert float(tf.reduce_max(tf.abs(gradients[name] - slope))) < tolerance * scale, name


@settings(max_examples=20)
@given(
    batch=st.integers(1, 3),
    latents=st.integers(1, 7),
    heads=st.integers(1, 3),
    widening=st.integers(1, 2),
    widths=st.sampled_from([None, (4, 4), (2, 6)]),
    repeats=st.integers(1, 3),
    recompute=st.booleans(),
)
def test_it_equals_the_plain_layer(batch, latents, heads, widening, widths, repeats, recompute):
    inner = {}
    if widths is not None:
        inner = {"qk_channels": widths[0] * heads, "v_channels": widths[1] * heads}
    layer = build("float64", 4 * heads, heads=heads, widening=widening, **inner)
    rng = np.random.default_rng(1)
    x, upstream = (tf.constant(rng.normal(size=(batch, latents, 4 * heads))) for _ in range(2))
    assert_equal(
        run(layer, x, upstream, repeats, recompute=recompute),
        run(layer, x, upstream, repeats, fast=False),
        1e-12,
    )


@pytest.mark.parametrize("jit", [False, True])
def test_in_single_precision_and_a_graph(jit):
    layer = build("float32", 32, heads=4)
    rng = np.random.default_rng(2)
    x, upstream = (tf.constant(rng.normal(size=(2, 16, 32)), tf.float32) for _ in range(2))
    fast = tf.function(lambda x: run(layer, x, upstream, 2), jit_compile=jit)
    assert_equal(fast(x), run(layer, x, upstream, 2, fast=False), 1e-5)


def test_in_half_precision_it_is_as_near_to_the_truth_as_the_plain_layer():
    rng = np.random.default_rng(3)
    ratios = []
    for seed in range(4):
        truth, half = (
            build(dtype, 64, seed, heads=4) for dtype in ("float32", "mixed_bfloat16")
        )
        x, upstream = (tf.constant(rng.normal(size=(2, 32, 64)), tf.float32) for _ in range(2))
        expected = run(truth, x, upstream, fast=False)
        errors = []
        for fast in (True, False):
            found = run(half, tf.cast(x, tf.bfloat16), upstream, fast=fast)
            pairs = zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True)
            errors.append(
                [float(tf.norm(tf.cast(a, tf.float32) - b) / tf.norm(b)) for a, b in pairs]
            )
        ratios.append(np.mean(errors[0]) / np.mean(errors[1]))
    assert np.mean(ratios) < 1.2


def test_gradients_of_a_repeated_layer_are_not_held_one_by_one():
    repeats, channels = 24, 640
    layer = build("float32", channels, heads=1)
    x = tf.zeros((1, 4, channels))
    gradients = tf.function(lambda: run(layer, x, x, repeats)[1])
    gradients.get_concrete_function()
    with peak.watching() as watched:
        before = peak.resident()
        gradients()
    weights = 4 * sum(tf.size(variable).numpy() for variable in layer.trainable_variables)
    assert watched.bytes - before < 0.9 * repeats * weights
