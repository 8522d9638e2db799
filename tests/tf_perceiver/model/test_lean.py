"""Layers that keep less: outputs and gradients of those one after the other."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_perceiver.model import lean
from tf_perceiver.model.linear import MLP, LayerNorm, statistics_dtype


def build(dtype, channels, widening, seed=0):
    """A norm and an MLP none of whose weights is zero or one."""
    tf.keras.mixed_precision.set_global_policy(dtype)
    try:
        norm, mlp = LayerNorm("ln", channels), MLP("mlp", channels, widening)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    rng = np.random.default_rng(seed)
    variables = norm.trainable_variables + mlp.trainable_variables
    for variable in variables:
        variable.assign_add(0.3 * rng.normal(size=variable.shape))
    return norm, mlp, variables


def run(function, x, upstream, variables):
    """Outputs, and gradients to x and to every weight."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = function(x)
        loss = tf.reduce_sum(tf.cast(y, upstream.dtype) * upstream)
    return [y, *tape.gradient(loss, [x, *variables])]


def errors(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        a, b = (tf.cast(value, statistics_dtype(b.dtype)) for value in (a, b))
        yield float(tf.reduce_max(tf.abs(a - b)) / tf.reduce_max(tf.abs(b)))


@settings(max_examples=20)
@given(
    leading=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    channels=st.integers(2, 9),
    widening=st.integers(1, 3),
)
def test_it_equals_the_layers_one_after_the_other(leading, channels, widening):
    norm, mlp, variables = build("float64", channels, widening)
    rng = np.random.default_rng(1)
    x, upstream = (tf.constant(rng.normal(size=(*leading, channels))) for _ in range(2))
    found = run(lambda x: lean.mlp(norm, mlp, x), x, upstream, variables)
    expected = run(lambda x: mlp(norm(x)), x, upstream, variables)
    assert max(errors(found, expected)) < 1e-12


def test_in_half_precision_it_is_as_near_to_the_truth():
    rng = np.random.default_rng(2)
    ratios = []
    for seed in range(4):
        x, upstream = (tf.constant(rng.normal(size=(2, 64, 48)), tf.float32) for _ in range(2))
        norm, mlp, variables = build("float32", 48, 1, seed)
        truth = run(lambda x, norm=norm, mlp=mlp: mlp(norm(x)), x, upstream, variables)
        norm, mlp, variables = build("mixed_bfloat16", 48, 1, seed)
        half = tf.cast(x, tf.bfloat16)
        found = run(lambda x, norm=norm, mlp=mlp: lean.mlp(norm, mlp, x), half, upstream, variables)
        plain = run(lambda x, norm=norm, mlp=mlp: mlp(norm(x)), half, upstream, variables)
        ratios.append(np.mean(list(errors(found, truth))) / np.mean(list(errors(plain, truth))))
    assert np.mean(ratios) < 1.2
