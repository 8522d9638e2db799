"""Rows of numbers of a fixed count; `test_clip_features` and `test_omics_patches` see their use."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pipelines import rows

SEED = tf.constant([3, 5], tf.int64)


@pytest.mark.parametrize("seed", [None, SEED])
@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 2)])
def test_without_rows_all_is_padding(shape, seed):
    values = tf.fill(shape, np.float32(np.nan))
    found, mask = rows.fixed(values, 2, 3, seed, "toys")
    assert found.numpy().tolist() == [[0, 0]] * 3
    assert mask.numpy().tolist() == [False] * 3


def test_rows_are_drawn_from_even_stretches_by_the_seed_alone():
    values = tf.range(40, dtype=tf.float32)
    drawn = []
    for seed in range(100):
        found, mask = rows.fixed(values, 1, 4, tf.constant([0, seed], tf.int64), "toys")
        assert mask.numpy().all()
        drawn.append(found[:, 0].numpy())
    drawn = np.array(drawn)
    assert (drawn // 10 == np.arange(4)).all()
    assert all(len(set(column)) == 10 for column in drawn.T)
    again, _ = rows.fixed(values, 1, 4, tf.constant([0, 99], tf.int64), "toys")
    np.testing.assert_array_equal(again[:, 0], drawn[-1])


def test_numbers_are_deviations_and_padding_stays_zero():
    values = np.random.default_rng(0).normal(4, 2, (50, 2)).astype(np.float32)
    moments = rows.scale(values.size, values.sum(), (values.astype(float) ** 2).sum())
    assert moments == pytest.approx((values.mean(), values.std()), rel=1e-5)
    found, mask = rows.fixed(tf.constant(values[:2]), 2, 3, None, "toys")
    found = rows.normalised(found, mask, moments, 0.5)
    expected = np.clip((values[:2] - values.mean()) / values.std(), -0.5, 0.5)
    np.testing.assert_allclose(found, [*expected, [0, 0]], rtol=1e-4)
    noise = rows.noisy(found, mask, 0.1, SEED) - found
    assert noise[:2].numpy().all()
    assert not noise[2].numpy().any()
    assert rows.noisy(found, mask, 0.0, SEED) is found
    assert rows.scale(3, 6, 12) == (2, 1)  # All are 2.
