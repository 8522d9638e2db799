"""Ranking metrics against their definitions, worked out another way, with ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_perceiver.tasks import class_ranking as ranking


def average_precision(scores, labels) -> float:
    """By its definition: for every positive, the precision among all that score no less."""
    precisions = [
        labels[scores >= score].mean() for score, label in zip(scores, labels, strict=True) if label
    ]
    return float(np.mean(precisions)) if precisions else np.nan


def area(scores, labels) -> float:
    """The share of pairs of a positive and a negative in the right order; ties count half."""
    high, low = scores[labels == 1], scores[labels == 0]
    if not len(high) or not len(low):
        return np.nan
    differences = high[:, None] - low[None]
    return float((differences > 0).mean() + (differences == 0).mean() / 2)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1), examples=st.integers(1, 40), classes=st.integers(1, 6),
    levels=st.integers(1, 12), share=st.floats(0, 1),
)  # fmt: skip
def test_they_equal_their_definitions(seed, examples, classes, levels, share):
    draw = np.random.default_rng(seed)
    # Few levels, so that many scores are equal; float32, as models give them.
    scores = (draw.integers(0, levels, (examples, classes)) / levels).astype(np.float32)
    labels = (draw.random((examples, classes)) < share).astype(np.int64)
    for found, definition in (
        (ranking.average_precisions(scores, labels), average_precision),
        (ranking.areas(scores, labels), area),
    ):
        expected = [definition(scores[:, c], labels[:, c]) for c in range(classes)]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_a_perfect_ranking_and_its_reverse():
    labels = np.array([[1], [1], [0], [0]])
    scores = np.array([[0.9], [0.8], [0.2], [0.1]])
    assert ranking.average_precisions(scores, labels)[0] == 1
    assert ranking.areas(scores, labels)[0] == 1
    assert ranking.areas(-scores, labels)[0] == 0
    assert ranking.average_precisions(-scores, labels)[0] == pytest.approx((1 / 3 + 1 / 2) / 2)


def test_classes_without_positives_are_left_out_of_the_mean():
    assert ranking.mean(np.array([0.5, np.nan, 1.0])) == 0.75
    assert np.isnan(ranking.mean(np.array([np.nan])))
