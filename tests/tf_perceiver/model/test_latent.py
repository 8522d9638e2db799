"""The latent transformer's fast path against the plain layer: outputs, gradients, what is kept."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import peak
from tf_perceiver.model.attention import SelfAttention
from tf_perceiver.model.latent import LatentBlock


def build(dtype, channels=8, seed=0, name="s", **fields):
    """A layer none of whose weights is zero or one."""
    tf.keras.mixed_precision.set_global_policy(dtype)
    try:
        layer = SelfAttention(name, channels, **fields)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    rng = np.random.default_rng(seed)
    for variable in layer.trainable_variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return layer


def run(layers, x, upstream, repeats=1, fast=True, recompute=False, calls=1, keeps=False):
    """Outputs, and gradients to x and to every weight by name."""
    variables = {v.name: v for layer in layers for v in layer.trainable_variables}
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = x
        if fast:
            block = LatentBlock(layers, calls, keeps=keeps)
            for _ in range(calls):
                y = block(y, repeats, recompute)
        else:
            for layer in layers * repeats * calls:
                y = layer(y)
        loss = tf.reduce_sum(tf.cast(y, upstream.dtype) * upstream)
    gradients = tape.gradient(loss, {"x": x, **variables})
    return y, gradients


def assert_equal(ours, theirs, tolerance):
    (y, gradients), (expected, slopes) = ours, theirs
    assert float(tf.reduce_max(tf.abs(y - expected))) < tolerance * float(
        tf.reduce_max(tf.abs(expected))
    )
    largest = max(float(tf.reduce_max(tf.abs(slope))) for slope in slopes.values())
    for name, slope in slopes.items():
        if name.endswith(".attn.k.bias:0"):
            assert not np.any(gradients[name])  # Exactly; the plain layer has rounding's.
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
    layers=st.integers(1, 2),
    repeats=st.integers(1, 2),
    calls=st.integers(1, 3),
    recompute=st.booleans(),
    keeps=st.booleans(),
)
def test_it_equals_the_plain_layers(
    batch, latents, heads, widening, widths, layers, repeats, calls, recompute, keeps
):
    inner = {}
    if widths is not None:
        inner = {"qk_channels": widths[0] * heads, "v_channels": widths[1] * heads}
    layers = [
        build("float64", 4 * heads, i, f"s{i}", heads=heads, widening=widening, **inner)
        for i in range(layers)
    ]
    rng = np.random.default_rng(1)
    x, upstream = (tf.constant(rng.normal(size=(batch, latents, 4 * heads))) for _ in range(2))
    assert_equal(
        run(layers, x, upstream, repeats, recompute=recompute, calls=calls, keeps=keeps),
        run(layers, x, upstream, repeats, fast=False, calls=calls),
        1e-12,
    )


@pytest.mark.parametrize("jit", [False, True])
def test_in_single_precision_and_a_graph(jit):
    layer = build("float32", 32, heads=4)
    rng = np.random.default_rng(2)
    x, upstream = (tf.constant(rng.normal(size=(2, 16, 32)), tf.float32) for _ in range(2))
    fast = tf.function(lambda x: run([layer], x, upstream, 2, calls=2), jit_compile=jit)
    assert_equal(fast(x), run([layer], x, upstream, 2, fast=False, calls=2), 1e-5)


def test_in_half_precision_it_is_as_near_to_the_truth_as_the_plain_layer():
    rng = np.random.default_rng(3)
    ratios = []
    for seed in range(4):
        truth, half = (
            build(dtype, 64, seed, heads=4) for dtype in ("float32", "mixed_bfloat16")
        )
        x, upstream = (tf.constant(rng.normal(size=(2, 32, 64)), tf.float32) for _ in range(2))
        expected = run([truth], x, upstream, fast=False)
        errors = []
        for fast in (True, False):
            found = run([half], tf.cast(x, tf.bfloat16), upstream, fast=fast)
            pairs = zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True)
            errors.append(
                [float(tf.norm(tf.cast(a, tf.float32) - b) / tf.norm(b)) for a, b in pairs]
            )
        ratios.append(np.mean(errors[0]) / np.mean(errors[1]))
    assert np.mean(ratios) < 1.2


@pytest.mark.parametrize(("repeats", "calls"), [(24, 1), (1, 24)])
def test_gradients_of_a_repeated_layer_are_not_held_one_by_one(repeats, calls):
    channels = 640
    layer = build("float32", channels, heads=1)
    x = tf.zeros((1, 4, channels))
    gradients = tf.function(lambda: run([layer], x, x, repeats, calls=calls)[1])
    gradients.get_concrete_function()
    with peak.watching() as watched:
        before = peak.resident()
        gradients()
    weights = 4 * sum(tf.size(variable).numpy() for variable in layer.trainable_variables)
    assert watched.bytes - before < 0.9 * 24 * weights


@pytest.mark.parametrize(
    ("dtype", "keeps", "times"),
    [("float32", False, 2), ("float32", True, 1), ("bfloat16", False, 2), ("bfloat16", True, 1)],
)
def test_probabilities_are_computed_twice_or_kept(dtype, keeps, times):
    layer = build("mixed_bfloat16" if dtype == "bfloat16" else dtype, 8, heads=1)
    x = tf.zeros((1, 4, 8), dtype)
    upstream = tf.zeros((1, 4, 8))
    traced = tf.function(lambda: run([layer], x, upstream, keeps=keeps)[1])
    graph = traced.get_concrete_function().graph.as_graph_def()
    ops = [node.op for function in graph.library.function for node in function.node_def]
    assert ops.count("Softmax") == times


@pytest.mark.parametrize(
    ("policy", "dtype"), [("float32", tf.float32), ("mixed_bfloat16", tf.bfloat16)]
)
def test_keeping_probabilities_changes_no_bit(policy, dtype):
    layers = [build(policy, 32, i, f"s{i}", heads=4) for i in range(2)]
    rng = np.random.default_rng(3)
    x, upstream = (tf.constant(rng.normal(size=(2, 16, 32)), tf.float32) for _ in range(2))
    x = tf.cast(x, dtype)
    computed, kept = (
        tf.function(lambda x, keeps=keeps: run(layers, x, upstream, 2, keeps=keeps))(x)
        for keeps in (False, True)
    )
    tf.nest.map_structure(np.testing.assert_array_equal, kept, computed)


def test_a_repeated_layer_is_called_and_not_written_out():
    layer = build("float32", 8, heads=1)
    x = tf.zeros((1, 4, 8))
    traced = tf.function(lambda: run([layer], x, x, 6)[1]).get_concrete_function()
    called = [
        op.get_attr("f").name
        for op in traced.graph.get_operations()
        if op.type.endswith("PartitionedCall")
    ]
    # Its weights, which are folded once, and six repetitions, forward and backward.
    assert len(called) == 2 + 2 * 6
    # Going backward, the last one has no later gradients to add to its own.
    assert len(set(called)) == 2 + 3
