"""Losses and metrics against NumPy, padding left out."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pipelines.records import DatasetInfo
from tf_perceiver import tasks

LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.5], [9.0, 0.0, 0.0]], np.float32)
LABELS = np.eye(3, dtype=np.float32)


def info(classes):
    return DatasetInfo("toy", {}, tuple(f"class {i}" for i in range(classes)), {})


def cross_entropy(labels):
    log_probabilities = LOGITS - np.log(np.exp(LOGITS).sum(-1, keepdims=True))
    return -(labels * log_probabilities).sum(-1)


def test_smoothing_is_for_training_alone():
    task = tasks.build({"name": "classification", "label_smoothing": 0.3}, info(3))
    batch = {"label": tf.constant(LABELS)}
    smoothed = 0.7 * LABELS + 0.1
    np.testing.assert_allclose(task.loss(LOGITS, batch, True), cross_entropy(smoothed), rtol=1e-5)
    np.testing.assert_allclose(task.loss(LOGITS, batch, False), cross_entropy(LABELS), rtol=1e-5)


def test_metrics_leave_padding_out():
    task = tasks.build({"name": "classification"}, info(3))
    metrics = task.metrics()
    batch = {"label": tf.constant(LABELS), "weight": tf.constant([1.0, 1.0, 0.0])}
    losses = task.loss(LOGITS, batch, False)
    task.update_metrics(metrics, tf.constant(LOGITS), batch, losses)
    assert float(metrics["accuracy"].result()) == 1.0  # The third, padding, would be wrong.
    expected = cross_entropy(LABELS)[:2].mean()
    assert float(metrics["loss"].result()) == pytest.approx(expected, rel=1e-5)
    assert "top5_accuracy" not in metrics


def test_top_five_counts_the_five_highest():
    task = tasks.build({"name": "classification"}, info(40))
    metrics = task.metrics()
    logits = tf.range(40.0)[None] * tf.ones([3, 1])
    batch = {"label": tf.one_hot([39, 35, 34], 40)}
    task.update_metrics(metrics, logits, batch, task.loss(logits, batch, False))
    assert float(metrics["accuracy"].result()) == pytest.approx(1 / 3)
    assert float(metrics["top5_accuracy"].result()) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("config", "classes", "message"),
    [
        ({"name": "clasification"}, 3, "name='clasification' is none of"),
        ({"name": "classification", "label_smoothing": 1.0}, 3, "label_smoothing=1.0"),
        ({"name": "classification"}, 1, "1 label"),
    ],
)
def test_wrong_tasks_are_named(config, classes, message):
    with pytest.raises(ValueError, match=message):
        tasks.build(config, info(classes))
