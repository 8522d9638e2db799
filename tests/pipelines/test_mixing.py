"""MixUp and CutMix: the pixels, the labels and the areas that they must agree with."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from pipelines import mixing

LABELS = tf.one_hot([1, 3], 5)


def _pair(height: int, width: int) -> np.ndarray:
    """Two pictures `[2, height, width, 3]` that share no value: the second's are negative."""
    values = 1 + np.arange(height * width * 3, dtype=np.float32).reshape(height, width, 3)
    return np.stack([values, -values])


def _over_seeds(function, count: int):
    """Stacked results of `function` for `count` seeds."""
    seeds = tf.data.Dataset.range(count).map(lambda number: tf.stack([7, number]))
    return seeds.map(function).batch(count).get_single_element()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**62)),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
)
def test_cutmix_pastes_a_box_of_the_partner_and_labels_by_its_true_area(seed, height, width):
    pair = _pair(height, width)

    image, label = mixing.cutmix(tf.constant(pair), LABELS, tf.constant(seed, tf.int64))

    from_second = image.numpy()[..., 0] < 0
    np.testing.assert_array_equal(image, np.where(from_second[..., None], pair[1], pair[0]))
    rows, columns = from_second.any(axis=1), from_second.any(axis=0)
    np.testing.assert_array_equal(from_second, np.outer(rows, columns))  # a product of two ...
    for line in (rows, columns):
        assert np.abs(np.diff(line.astype(int), prepend=0, append=0)).sum() in (0, 2)  # ... runs
    area = from_second.mean()
    np.testing.assert_allclose(label, [0, 1 - area, 0, area, 0], atol=1e-6)


def test_cutmix_draws_the_area_uniformly_and_the_box_everywhere():
    pair = tf.constant(_pair(40, 40))

    images, labels = _over_seeds(lambda seed: mixing.cutmix(pair, LABELS, seed), 1500)

    covered = (images.numpy()[..., 0] < 0).mean(axis=0)
    assert covered.min() > 0.08  # corners: rarely, but covered
    assert covered[20, 20] == covered.max() or covered[15:25, 15:25].mean() > covered.mean()
    areas = labels.numpy()[:, 3]
    # Unclipped, the share of the area would be uniform with mean 0.5; clipping makes it smaller:
    # along one axis, a box of side s round a uniform centre keeps s - s^2 / 4, and E over s^2 ~ U.
    sides = np.sqrt(np.random.default_rng(0).random(200_000))
    assert abs(areas.mean() - np.mean((sides - sides**2 / 4) ** 2)) < 0.03


def test_mixup_blends_pixels_and_labels_by_the_same_ratio():
    pair = _pair(3, 4)

    for number in range(20):
        image, label = mixing.mixup(
            tf.constant(pair), LABELS, 1.0, tf.constant([5, number], tf.int64)
        )

        ratio = label.numpy()[1]
        assert 0 <= ratio <= 1
        np.testing.assert_allclose(image, ratio * pair[0] + (1 - ratio) * pair[1], atol=1e-4)
        np.testing.assert_allclose(label, [0, ratio, 0, 1 - ratio, 0], atol=1e-6)


def test_mixup_can_keep_the_first_the_larger_part():
    pair = tf.zeros([2, 1, 1, 1])

    def ratios(first_larger: bool) -> np.ndarray:
        labels = _over_seeds(
            lambda seed: mixing.mixup(pair, LABELS, 0.5, seed, first_larger=first_larger)[1], 200
        )
        np.testing.assert_allclose(labels.numpy().sum(axis=1), 1, atol=1e-6)
        return labels.numpy()[:, 1]

    drawn, folded = ratios(False), ratios(True)
    assert 0.3 < (drawn < 0.5).mean() < 0.7
    np.testing.assert_array_equal(folded, np.maximum(drawn, 1 - drawn))


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_mixup_ratio_follows_the_beta_distribution(alpha):
    pair = tf.zeros([2, 1, 1, 1])

    labels = _over_seeds(lambda seed: mixing.mixup(pair, LABELS, alpha, seed)[1], 3000)

    # The p-value of a true Beta is uniform: below 1e-3 once in a thousand, and the seeds are fixed.
    test = scipy.stats.kstest(labels.numpy()[:, 1], scipy.stats.beta(alpha, alpha).cdf)
    assert test.pvalue > 1e-3


@pytest.mark.parametrize(
    ("mixup_alpha", "cutmix", "position", "expected"),
    [
        (0.2, True, 0, "mixup"),
        (0.2, True, 1, "cutmix"),
        (0.2, True, 2**40 + 1, "cutmix"),
        (0.2, False, 1, "mixup"),
        (0.0, True, 0, "cutmix"),
    ],
)
def test_position_chooses_the_kind(mixup_alpha, cutmix, position, expected):
    cfg = ConfigDict({"mixup_alpha": mixup_alpha, "cutmix": cutmix})
    pair, seed = tf.constant(_pair(8, 8)), tf.constant([3, 4], tf.int64)
    kinds = {
        "mixup": mixing.mixup(pair, LABELS, 0.2, seed),
        "cutmix": mixing.cutmix(pair, LABELS, seed),
    }

    image, label = mixing.mix(pair, LABELS, cfg, tf.constant(position, tf.int64), seed)

    np.testing.assert_array_equal(image, kinds[expected][0])
    np.testing.assert_array_equal(label, kinds[expected][1])
    assert not np.array_equal(kinds["mixup"][0], kinds["cutmix"][0])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"mixup_alpha": 0.0, "cutmix": False}, (1, 1)),
        ({"mixup_alpha": 0.0, "cutmix": False, "both_ways": True}, (1, 1)),
        ({"mixup_alpha": 0.0, "cutmix": True}, (2, 1)),
        ({"mixup_alpha": 0.2, "cutmix": True, "both_ways": False}, (2, 1)),
        ({"mixup_alpha": 0.2, "cutmix": False, "both_ways": True}, (2, 2)),
        ({"mixup_alpha": 0.0, "cutmix": True, "both_ways": True}, (2, 2)),
    ],
)
def test_a_group_is_what_is_mixed_and_what_comes_of_it(fields, expected):
    assert mixing.group(ConfigDict(fields)) == expected


def test_without_a_section_nothing_is_mixed():
    assert mixing.group(None) == (1, 1)


def test_negative_alpha_is_an_error():
    with pytest.raises(ValueError, match="mixup_alpha=-0.5 can't be negative"):
        mixing.check(ConfigDict({"mixup_alpha": -0.5, "cutmix": False}))
