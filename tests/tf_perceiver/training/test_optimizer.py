"""Schedules and LAMB against DeepMind's trajectories; which variables are decayed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import reference
import tensorflow as tf

from configs import base
from tf_perceiver.training import optimizer

# The golden's names -> ours.
NAMES = {
    "lin/w": "lin.kernel",
    "lin/b": "lin.bias",
    "x/layer_norm/scale": "x.ln.gamma",
    "x/layer_norm/offset": "x.ln.beta",
    "lat/pos_embs": "lat.table",
    "zero/w": "zero.kernel",
    "zero/b": "zero.bias",
}


@pytest.fixture(scope="module")
def golden():
    return reference.Golden("optimizer")


@pytest.mark.parametrize(
    ("kind", "array", "fields"),
    [
        ("constant_cosine", "lr_constant_cosine", {}),
        ("step", "lr_steps", {}),
        ("cosine", "lr_cosine", {"warmup_steps": 20}),
    ],
)
def test_schedules_equal_the_reference(golden, kind, array, fields):
    schedule = optimizer.Schedule(kind, 5e-4 * 1024 / 256, 200, **fields)
    expected = golden[f"outputs/{array}"]
    ours = [float(schedule(step)) for step in range(len(expected))]
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-9)


def test_constant_stays_and_warms_up():
    schedule = optimizer.Schedule("constant", 0.5, 10, warmup_steps=4)
    assert [float(schedule(s)) for s in (0, 1, 4, 10**6)] == [0, 0.125, 0.5, 0.5]


def test_an_unknown_schedule_is_named():
    with pytest.raises(ValueError, match="schedule='cosin' is none of"):
        optimizer.Schedule("cosin", 1.0, 10)


@pytest.mark.parametrize("decay_positions", [True, False])
def test_lamb_follows_the_reference(golden, decay_positions):
    config = base.classification("test", {}).optimizer
    config.update(learning_rate=5e-4, scale_by_batch=True, decay_positions=decay_positions)
    lamb = optimizer.build(config, total_steps=8, batch_size=1024)
    variables = {
        name: tf.Variable(golden[f"inputs/p0/{name}"], name=ours) for name, ours in NAMES.items()
    }
    for step in range(6):
        gradients = [tf.constant(golden[f"inputs/g{step}/{name}"]) for name in variables]
        gradients, _ = tf.clip_by_global_norm(gradients, 1.0)  # The golden's; the recipe has 10.
        lamb.apply_gradients(zip(gradients, variables.values(), strict=True))
        for name, variable in variables.items():
            expected = golden[f"outputs/lamb_decaypos{int(decay_positions)}/step{step + 1}/{name}"]
            np.testing.assert_allclose(variable.numpy(), expected, rtol=0, atol=1e-6, err_msg=name)


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
    with pytest.raises(ValueError, match=r"name='sgd' is none of \['lamb'\]"):
        optimizer.build(config, 10, 32)
