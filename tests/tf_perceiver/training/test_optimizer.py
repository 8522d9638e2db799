"""Schedules, LAMB and AdamW against DeepMind's trajectories; which variables are decayed."""

from __future__ import annotations

import decimal
import re
from decimal import Decimal

import numpy as np
import pytest
import reference
import tensorflow as tf

from configs import base
from tf_perceiver.training import optimizer


@pytest.fixture(scope="module")
def golden():
    return reference.Golden("optimizer")


def test_schedules_lamb_and_adamw_follow_the_reference(golden):
    ours = reference.build(golden.meta)(golden.group("inputs"))
    expected = golden.group("outputs")
    # Schedules; two optimizers, with and without decay of positions, 6 steps, 7 tensors.
    assert len(expected) == 3 + 2 * 2 * 6 * 7
    for name, values in expected.items():
        np.testing.assert_allclose(ours[name], values, rtol=0, atol=1e-6, err_msg=name)


def test_adamws_epsilon_is_added_to_the_corrected_moment():
    config = base.classification("test", {}).optimizer
    config.update(name="adamw", schedule="constant", learning_rate=1.0, epsilon=0.5)
    config.update(weight_decay=0.0)
    weight, gradient = tf.Variable([1.0]), tf.constant([0.5])
    optimizer.build(config, 10, 32).apply_gradients([(gradient, weight)])
    # Both corrected moments are the gradient's after one step: 1 - 0.5 / (0.5 + 0.5).
    np.testing.assert_allclose(weight, [0.5], atol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "lamb"])
def test_an_update_that_is_left_out_leaves_everything_to_the_bit(name):
    config = base.classification("test", {}).optimizer
    config.name = name

    def updated(*gradients):
        built = optimizer.build(config, 10, 32)
        variables = [tf.Variable([0.3, -0.7], name="a.kernel"), tf.Variable(0.1, name="a.bias")]
        for gradient in gradients:
            value = tf.constant([gradient, 0.3]), tf.constant(0.2)
            applied = tf.constant(bool(np.isfinite(gradient)))
            factor = tf.constant(0.5 if applied else np.nan)
            built.apply_if(applied, zip(value, variables, strict=True), factor)
        return [v.numpy() for v in (*variables, *built.weights)]

    expected = updated(0.5, 0.1)
    found = updated(np.inf, 0.5, np.nan, 0.1, -np.inf)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_constant_stays_and_warms_up():
    schedule = optimizer.Schedule("constant", 0.5, 10, warmup_steps=4)
    assert [float(schedule(s)) for s in (0, 1, 4, 10**6)] == [0, 0.125, 0.5, 0.5]


TOTAL = 1_000_000
PI = Decimal("3.1415926535897932384626433832795028841972")


def cosine(angle: Decimal) -> Decimal:
    """By its Taylor series, for angles up to pi."""
    total, term = Decimal(0), Decimal(1)
    for k in range(1, 60, 2):
        total, term = total + term, -term * angle * angle / (k * (k + 1))
    return total


@pytest.mark.parametrize("kind", optimizer.Schedule.KINDS)
@pytest.mark.parametrize("warmup", [0, 1000])
def test_the_rate_is_exact_to_the_last_bit_of_float32(kind, warmup):
    """Against decimals of 40 digits, near the ends, at the boundaries and in between."""
    peak = 4e-3
    schedule = optimizer.Schedule(kind, peak, TOTAL, warmup_steps=warmup)
    steps = [0, 1, 7, 999, 1000, 1001, 499_999, 500_000, 500_001, 750_003, 949_999, 950_000]
    steps += [TOTAL - 1000, TOTAL - 7, TOTAL - 2, TOTAL - 1, TOTAL, TOTAL + 1, 2 * TOTAL]
    with decimal.localcontext(prec=40):
        for step in steps:
            rate = Decimal(peak)
            if kind == "step":
                passed = sum(step >= int(share * TOTAL) for share in (0.5, 0.8, 0.95))
                rate *= Decimal("0.1") ** passed
            elif kind != "constant":
                start = TOTAL // 2 if kind == "constant_cosine" else warmup
                part = min(max(Decimal(step - start) / (TOTAL - start), Decimal(0)), Decimal(1))
                rate *= (1 + cosine(PI * part)) / 2 if part < 1 else 0  # Not 1e-40.
            if warmup:
                rate *= min(Decimal(step) / warmup, Decimal(1))
            assert float(schedule(step)) == float(np.float32(float(rate))), step


def test_a_schedule_is_made_again_from_its_config():
    schedule = optimizer.Schedule("cosine", 0.5, 40, warmup_steps=10, boundaries=[0.1])
    again = optimizer.Schedule(**schedule.get_config())
    assert again.get_config() == schedule.get_config()
    assert [float(again(s)) for s in range(41)] == [float(schedule(s)) for s in range(41)]


def test_an_unknown_schedule_is_named():
    with pytest.raises(ValueError, match="schedule='cosin' is none of"):
        optimizer.Schedule("cosin", 1.0, 10)


@pytest.mark.parametrize(
    ("name", "decayed"),
    [
        ("enc.cross.0.attn.q.kernel:0", True),
        ("enc.cross.0.attn.q.bias:0", False),
        ("enc.cross.0.attn.q.bias/replica_1:0", False),
        ("enc.self.0.1.ln.gamma:0", False),
        ("enc.self.0.1.mlp_ln.beta/replica_3:0", False),
        ("latents.table:0", True),
    ],
)
def test_biases_and_norms_are_not_decayed_on_any_replica(name, decayed):
    assert any(re.search(p, name) for p in optimizer.NOT_DECAYED) is not decayed


def test_an_unknown_optimizer_is_named():
    config = base.classification("test", {}).optimizer
    config.name = "sgd"
    with pytest.raises(ValueError, match=r"name='sgd' is none of \['adamw', 'lamb'\]"):
        optimizer.build(config, 10, 32)
