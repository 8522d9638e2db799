"""The plain attention against DeepMind's arrays and an independent NumPy definition."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_perceiver.model import attention


def numpy_attend(q, k, v, mask=None):
    """[B, N, h, d], [B, M, h, d], [B, M, h, e] in float64, head by head and row by row."""
    out = np.zeros((*q.shape[:2], v.shape[2], v.shape[3]))
    for b, n, h in np.ndindex(*q.shape[:3]):
        keep = np.ones(k.shape[1], bool) if mask is None else mask[b, n].astype(bool)
        if not keep.any():
            continue
        logits = k[b, keep, h] @ q[b, n, h] / np.sqrt(q.shape[-1])
        weights = np.exp(logits - logits.max())
        out[b, n, h] = weights / weights.sum() @ v[b, keep, h]
    return out.reshape(*q.shape[:2], -1)


@pytest.mark.parametrize("case", ["attend", "attend_masked"])
def test_attend_equals_the_reference(case):
    golden = reference.Golden("units")
    q, k, v = (golden[f"inputs/{name}"] for name in "qkv")
    mask = golden["inputs/attention_mask"] if case == "attend_masked" else None
    ours = attention.attend(q, k, v, mask)
    np.testing.assert_allclose(ours, golden[f"outputs/{case}"], rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(ours, numpy_attend(q, k, v, mask), rtol=1e-4, atol=1e-6)


def test_rows_without_a_key_are_exactly_zero():
    rng = np.random.default_rng(0)
    q, k = rng.normal(size=(2, 1, 3, 2, 4)).astype(np.float32)
    v = rng.normal(size=(1, 3, 2, 4)).astype(np.float32)
    mask = np.ones((1, 3, 3), bool)
    mask[0, 1] = False
    ours = attention.attend(q, k, v, mask).numpy()
    np.testing.assert_array_equal(ours[0, 1], np.zeros(8))
    np.testing.assert_allclose(ours, numpy_attend(q, k, v, mask), rtol=1e-5, atol=1e-6)


def test_cross_attention_is_as_wide_inside_as_its_inputs():
    layer = attention.CrossAttention("c", 8, 5)
    assert layer.attn.q.kernel.shape == (8, 5)
    assert layer.attn.v.kernel.shape == (5, 5)
    assert layer.attn.o.kernel.shape == (5, 8)
    assert attention.CrossAttention("c", 8, 5, shape_for_attn="q").attn.k.kernel.shape == (5, 8)
    explicit = attention.CrossAttention("c", 8, 5, heads=2, qk_channels=4, v_channels=6)
    assert explicit.attn.k.kernel.shape == (5, 4)
    assert explicit.attn.v.kernel.shape == (5, 6)


def test_query_residual_adds_the_unnormalised_query():
    with_residual = attention.CrossAttention("c", 4, 3)
    without = attention.CrossAttention("c", 4, 3, query_residual=False)
    without.set_weights(with_residual.get_weights())
    for layer in (with_residual, without):
        layer.mlp.fc2.kernel.assign(tf.zeros([4, 4]))  # Leaves the MLP's residual alone.
    q = 10 * tf.random.stateless_normal([1, 2, 4], [0, 1])
    x = tf.random.stateless_normal([1, 6, 3], [2, 3])
    np.testing.assert_allclose(with_residual(q, x), without(q, x) + q, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"heads": 3}, r"qk_channels=8 can't be split into heads=3"),
        ({"heads": 4, "v_channels": 6}, r"v_channels=6 can't be split into heads=4"),
    ],
)
def test_heads_that_do_not_divide_are_named(fields, message):
    with pytest.raises(ValueError, match=message):
        attention.Attention("a", 8, 8, **fields)


def test_unknown_shape_for_attn_is_named():
    with pytest.raises(ValueError, match="shape_for_attn='x'"):
        attention.CrossAttention("c", 4, 4, shape_for_attn="x")


@pytest.mark.parametrize(
    ("shape", "dtype"), [((2, 3, 4), bool), ((3, 5), bool), ((2, 4, 5), bool), ((2, 3, 5), "f4")]
)
def test_a_mask_of_another_shape_is_named_with_the_numbers(shape, dtype):
    q, k = tf.zeros([2, 3, 1, 4]), tf.zeros([2, 5, 1, 4])
    with pytest.raises(ValueError, match=r"bool \[B, 3, 5\] is due, for 3 queries and 5 keys"):
        attention.attend(q, k, k, np.ones(shape, dtype))
