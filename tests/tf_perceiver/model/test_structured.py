"""The folded cross-attention equals the plain one: outputs and every gradient."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_perceiver.model.attention import CrossAttention
from tf_perceiver.model.structured import folded_cross_attention, prefers_folding


def run(
    path,
    dtype,
    *,
    batch,
    latents,
    inputs,
    heads,
    head_size,
    value_size,
    channels,
    residual,
    masked="no",
):
    """Output and {name: gradient} of a layer with seeded weights, by the "plain" or folded path."""
    tf.keras.mixed_precision.set_global_policy(dtype)
    try:
        layer = CrossAttention(
            "c",
            6,
            channels,
            heads=heads,
            qk_channels=heads * head_size,
            v_channels=heads * value_size,
            query_residual=residual,
        )
        rng = np.random.default_rng(batch * 1000 + latents * 100 + inputs)
        for variable in layer.trainable_variables:
            variable.assign(rng.normal(size=variable.shape) * 0.5)
        queries = tf.constant(rng.normal(size=(batch, latents, 6)), dtype)
        x = tf.constant(rng.normal(size=(batch, inputs, channels)), dtype)
        weights = rng.normal(size=(batch, latents, 6))
        mask = None
        if masked != "no":  # Of the inputs alone or of pairs; the first row sees nothing.
            keep = rng.uniform(size=(batch, 1 if masked == "inputs" else latents, inputs)) < 0.7
            keep[0, 0] = False
            mask = tf.constant(keep)
        with tf.GradientTape() as tape:
            tape.watch((queries, x))
            if path == "plain":
                y = layer(queries, x, mask)
            else:
                y = folded_cross_attention(layer, queries, layer.kv_ln.normalise(x), mask)
            loss = tf.reduce_sum(y * tf.cast(weights, dtype))
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    sources = {"queries": queries, "inputs": x, **{v.name: v for v in layer.trainable_variables}}
    gradients = tape.gradient(loss, list(sources.values()))
    assert all(gradient is not None for gradient in gradients)
    return y.numpy(), {n: g.numpy() for n, g in zip(sources, gradients, strict=True)}


SHAPES = {
    "batch": st.integers(1, 3),
    "latents": st.integers(1, 5),
    "inputs": st.integers(1, 9),
    "heads": st.integers(1, 3),
    "head_size": st.integers(1, 4),
    "value_size": st.integers(1, 4),
    "channels": st.integers(2, 7),
    "residual": st.booleans(),
    "masked": st.sampled_from(["no", "inputs", "pairs"]),
}


@settings(max_examples=15)
@given(shape=st.fixed_dictionaries(SHAPES))
def test_folded_equals_plain_in_float64(shape):
    plain, plain_gradients = run("plain", "float64", **shape)
    folded, folded_gradients = run("folded", "float64", **shape)
    np.testing.assert_array_equal(folded_gradients["c.attn.k.bias:0"], 0)
    assert reference.relative_error(folded, plain) < 1e-12
    errors = reference.gradient_errors(folded_gradients, plain_gradients)
    assert max(errors.values()) < 1e-11, errors


@pytest.mark.parametrize("heads", [1, 2])
def test_folded_is_no_further_from_the_truth_than_plain_in_float32(heads):
    shape = {
        "batch": 2,
        "latents": 8,
        "inputs": 300,
        "heads": heads,
        "head_size": 8,
        "value_size": 5,
        "channels": 16,
        "residual": True,
    }
    truth, true_gradients = run("plain", "float64", **shape)
    errors = {}
    for path in ("plain", "folded"):
        output, gradients = run(path, "float32", **shape)
        errors[path] = max(reference.gradient_errors(gradients, true_gradients).values())
        assert reference.relative_error(output, truth) < 1e-5
    assert errors["folded"] < max(1.2 * errors["plain"], 1e-5), errors


def test_the_count_folds_wide_inputs_of_one_head_and_not_many_heads():
    assert prefers_folding(50_176, 512, CrossAttention("c", 1024, 261)) is True
    assert prefers_folding(None, 512, CrossAttention("c", 1024, 261)) is True
    many_heads = CrossAttention("c", 1024, 256, heads=8, qk_channels=256)
    assert prefers_folding(2048, 512, many_heads) is False
