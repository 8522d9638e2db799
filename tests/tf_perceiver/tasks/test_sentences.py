"""GLUE's metrics against their definitions, on random cases with ties and on constant answers."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from pipelines.records import DatasetInfo
from tf_perceiver import tasks

PAIRS = DatasetInfo("pairs", {}, ("different", "same"), {})
THREE = DatasetInfo("three", {}, ("a", "b", "c"), {})
SCORES = DatasetInfo("scores", {}, (), {})


def outputs(answers: np.ndarray, classes: int) -> tf.Tensor:
    return tf.constant(3.0 * np.eye(classes, dtype=np.float32)[answers])


def whole(task, outputs, batch) -> dict[str, float]:
    kept = task.kept(outputs, batch)
    return task.whole({name: part.numpy() for name, part in kept.items()})


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=40))
def test_f1_and_matthews_of_two_labels(rows):
    truth, answer = np.array(rows).T
    task = tasks.build({"name": "sentences"}, PAIRS)
    batch = {"label": tf.one_hot(truth, 2)}
    found = whole(task, outputs(answer, 2), batch)
    hits, misses, false = (
        int(((truth == t) & (answer == a)).sum()) for t, a in ((1, 1), (1, 0), (0, 1))
    )
    none = int(((truth == 0) & (answer == 0)).sum())
    f1 = 2 * hits / (2 * hits + misses + false) if hits else 0.0
    assert found["f1"] == pytest.approx(f1, abs=1e-9)
    product = (hits + false) * (hits + misses) * (none + false) * (none + misses)
    matthews = (hits * none - false * misses) / product**0.5 if product else 0.0
    assert found["matthews"] == pytest.approx(matthews, abs=1e-9)


def test_three_labels_have_no_f1():
    task = tasks.build({"name": "sentences"}, THREE)
    found = whole(task, outputs(np.array([0, 1, 2]), 3), {"label": tf.eye(3)})
    assert found == {"matthews": pytest.approx(1.0)}
    assert set(task.metrics()) == {"loss", "accuracy"}


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-3, 3)), min_size=2, max_size=30))
def test_correlations_with_ties(rows):
    truth, answer = np.array(rows, np.float64).T
    task = tasks.build({"name": "similarity"}, SCORES)
    found = whole(task, tf.constant(answer[:, None], tf.float32), {"score": tf.constant(truth)})
    if np.ptp(truth) == 0 or np.ptp(answer) == 0:
        assert found == {"pearson": 0.0, "spearman": 0.0}
        return

    def correlation(a, b):
        a, b = a - a.mean(), b - b.mean()
        return (a @ b) / np.sqrt((a @ a) * (b @ b))

    assert found["pearson"] == pytest.approx(correlation(truth, answer), abs=1e-9)
    expected = correlation(rankdata(truth), rankdata(answer))
    assert found["spearman"] == pytest.approx(expected, abs=1e-9)


def test_a_score_is_learned_by_its_square_error():
    task = tasks.build({"name": "similarity"}, SCORES)
    logits, batch = tf.constant([[1.0], [4.5]]), {"score": tf.constant([3.0, 4.0])}
    np.testing.assert_allclose(task.loss(logits, batch, True), [4.0, 0.25])
    np.testing.assert_allclose(task.answers(logits)["score"], [1.0, 4.5])
