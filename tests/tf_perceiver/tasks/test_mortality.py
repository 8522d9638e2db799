"""The loss against NumPy, what an evaluation keeps, and the answer."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pipelines.records import DatasetInfo
from tf_perceiver import tasks

LOGITS = np.array([[2.0, 0.0], [0.0, 1.0], [0.5, 0.25], [0.0, -3.0]], np.float32)
LABELS = np.eye(2, dtype=np.float32)[[0, 1, 1, 0]]


def info(*labels):
    return DatasetInfo("toy", {}, labels, {})


def task(**fields):
    return tasks.build({"name": "mortality", **fields}, info("survived", "died"))


def cross_entropy(labels):
    log_probabilities = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    return -(labels * log_probabilities).sum(-1)


def test_smoothing_is_for_training_alone():
    batch = {"label": tf.constant(LABELS)}
    smoothed = 0.8 * LABELS + 0.1
    mine = task(label_smoothing=0.2)
    np.testing.assert_allclose(mine.loss(LOGITS, batch, True), cross_entropy(smoothed), rtol=1e-5)
    np.testing.assert_allclose(mine.loss(LOGITS, batch, False), cross_entropy(LABELS), rtol=1e-5)


def test_the_whole_split_is_ranked_by_the_odds_of_death():
    mine = task(resamples=100)
    batch = {"label": tf.constant(LABELS)}
    kept = {name: value.numpy() for name, value in mine.kept(tf.constant(LOGITS), batch).items()}
    np.testing.assert_array_equal(kept["score"], [-2, 1, -0.25, -3])
    np.testing.assert_array_equal(kept["positive"], [False, True, True, False])
    found = mine.whole(kept)
    assert (found["auroc"], found["auprc"]) == (1.0, 1.0)
    assert set(mine.shown) <= {*mine.metrics(), *found}
    kept["positive"] = np.array([True, True, False, False])
    assert mine.whole(kept)["auroc"] == pytest.approx(0.75)


def test_certainty_doesn_t_tie_the_scores():
    """As probabilities in float32 both would be 1."""
    logits = tf.constant([[0.0, 40.0], [0.0, 50.0]])
    kept = task().kept(logits, {"label": tf.constant(LABELS[:2])})
    assert kept["score"][0] < kept["score"][1]


def test_the_answer_has_the_probability_of_death():
    answered = task().answers(tf.constant(LOGITS))
    expected = 1 / (1 + np.exp([2, -1, 0.25, 3]))
    np.testing.assert_allclose(answered["probabilities"][:, 1], expected, rtol=1e-5)
    assert answered["label"].numpy().tolist() == [b"survived", b"died", b"survived", b"survived"]


@pytest.mark.parametrize(
    ("labels", "fields", "message"),
    [
        (("a", "b", "c"), {}, "mortality has two labels, dataset 'toy' 3"),
        (("a", "b"), {"label_smoothing": 1.0}, "label_smoothing=1.0 is not in"),
        (("a", "b"), {"resamples": -1}, "resamples=-1 can't be negative"),
    ],
)
def test_what_it_can_t_be(labels, fields, message):
    with pytest.raises(ValueError, match=message):
        tasks.build({"name": "mortality", **fields}, info(*labels))
