"""The mean of a train step keeps what a float32 would lose, however it is compiled."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_perceiver.tasks.compensated_mean import CompensatedMean, without_float64

UPDATES = 3000


def batches() -> tuple[np.ndarray, np.ndarray]:
    """Values of very different sizes, and weights that come to far more than 2^24."""
    random = np.random.default_rng(0)
    values = (10.0 ** random.uniform(-4, 3, (UPDATES, 4))).astype(np.float32)
    return values, random.integers(0, 2**20, (UPDATES, 4)).astype(np.float32)


def summed(metric: tf.keras.metrics.Metric, values, weights, jit_compile: bool) -> float:
    @tf.function(jit_compile=jit_compile)
    def count(values, weights):
        for i in tf.range(UPDATES):
            metric.update_state(values[i], weights[i])

    count(values, weights)
    return float(metric.result())


@pytest.mark.parametrize("jit_compile", [False, True])
def test_many_batches_lose_no_more_than_one(jit_compile):
    values, weights = batches()
    sums = [(float(np.sum(v * w)), float(np.sum(w))) for v, w in zip(values, weights, strict=True)]
    total, count = (math.fsum(column) for column in zip(*sums, strict=True))
    assert count > 2**30
    found = summed(CompensatedMean("epe"), values, weights, jit_compile)
    assert found == pytest.approx(total / count, rel=2e-7)
    # Keras's own mean in float32 doesn't get there, or the test shows nothing.
    plain = summed(tf.keras.metrics.Mean(), values, weights, jit_compile)
    assert abs(plain / (total / count) - 1) > 1e-6


def test_ones_are_counted_past_the_last_whole_number_of_float32():
    metric = CompensatedMean("accuracy")
    metric.update_state(1.0, 2.0**24)
    for value in (1.0, 0.0, 1.0, 1.0, 1.0):
        metric.update_state(value)
    total, lost, count, lost_of_count = (int(variable) for variable in metric.variables)
    assert (total + lost, count + lost_of_count) == (2**24 + 4, 2**24 + 5)


def test_nothing_is_zero_and_what_was_counted_can_be_forgotten():
    metric = CompensatedMean("epe")
    assert float(metric.result()) == 0
    metric.update_state([1.0, 5.0])
    assert float(metric.result()) == 3
    metric.reset_states()
    assert float(metric.result()) == 0


def test_only_float64_is_replaced():
    loss, epe = tf.keras.metrics.Mean("loss"), tf.keras.metrics.Mean("epe", tf.float64)
    found = without_float64({"loss": loss, "epe": epe})
    assert found["loss"] is loss
    assert isinstance(found["epe"], CompensatedMean)
    assert found["epe"].name == "epe"
    with pytest.raises(ValueError, match="metric 'hits': a Sum in float64 can't be part of a"):
        without_float64({"hits": tf.keras.metrics.Sum("hits", tf.float64)})
