"""The train step's arithmetic: batches, replicas and clipping."""

from __future__ import annotations

import json

import numpy as np
import orbit
import pytest
import tensorflow as tf

from pipelines.records import DatasetInfo
from tf_perceiver.model import perceiver
from tf_perceiver.tasks import Classification
from tf_perceiver.training import loop

CLASSES, BATCH = 3, 8
CONFIG = {
    "inputs": {
        "kind": "pixels",
        "channels": 1,
        "positions": {"bands": 2, "max_resolution": (4, 4)},
    },
    "trunk": {
        "num_latents": 4,
        "latent_channels": 8,
        "cross_attends": 2,
        "self_attends_per_block": 1,
        "self_heads": 2,
    },
}


def batch():
    rng = np.random.default_rng(0)
    return {
        "image": rng.normal(size=(BATCH, 4, 4, 1)).astype(np.float32),
        "label": np.eye(CLASSES, dtype=np.float32)[rng.integers(0, CLASSES, BATCH)],
    }


def trained(strategy, clip_norm=0.0, rate=1.0):
    """Model and metrics after one step of plain gradient descent on one batch."""
    with strategy.scope():
        tf.keras.utils.set_random_seed(3)
        model = perceiver.build(CONFIG, CLASSES)
        rng = np.random.default_rng(1)
        for variable in model.trainable_variables:
            variable.assign(rng.normal(size=variable.shape) * 0.3)
        before = {name: v.numpy() for name, v in model.named_weights().items()}
        optimizer = tf.keras.optimizers.legacy.SGD(rate)
        step = orbit.utils.create_global_step()
    replicas = strategy.num_replicas_in_sync
    dataset = tf.data.Dataset.from_tensor_slices(batch()).batch(BATCH // replicas).repeat()
    trainer = loop.Trainer(
        strategy,
        model,
        Classification(DatasetInfo("toy", {}, tuple("abc"), {})),
        optimizer,
        step,
        batch_size=BATCH,
        clip_norm=clip_norm,
        dataset=strategy.distribute_datasets_from_function(lambda context: dataset),
    )
    trainer.optimizer = WithSchedule(optimizer, rate)
    metrics = trainer.train(tf.constant(1))
    assert int(step.numpy()) == 1
    return before, {n: v.numpy() for n, v in model.named_weights().items()}, metrics


class WithSchedule:
    """SGD with the face of an optimizer that has a schedule."""

    def __init__(self, optimizer, rate):
        self.iterations = optimizer.iterations
        self.apply_gradients = optimizer.apply_gradients
        self.learning_rate = lambda step: rate


def test_one_step_is_the_gradient_of_the_mean_loss():
    before, after, metrics = trained(tf.distribute.get_strategy())
    model = perceiver.build(CONFIG, CLASSES)
    for name, variable in model.named_weights().items():
        variable.assign(before[name])
    data = batch()
    with tf.GradientTape() as tape:
        losses = tf.nn.softmax_cross_entropy_with_logits(data["label"], model(data))
        loss = tf.reduce_mean(losses)
    weights = model.named_weights()
    gradients = tape.gradient(loss, list(weights.values()))
    for (name, value), gradient in zip(after.items(), gradients, strict=True):
        np.testing.assert_allclose(value, before[name] - gradient, atol=1e-5, err_msg=name)
    assert metrics["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert metrics["grad_norm"] == pytest.approx(float(tf.linalg.global_norm(gradients)), rel=1e-4)


def test_clipping_scales_the_whole_gradient():
    before, free, metrics = trained(tf.distribute.get_strategy())
    _, clipped, _ = trained(tf.distribute.get_strategy(), clip_norm=metrics["grad_norm"] / 2)
    for name in before:
        expected = (free[name] - before[name]) / 2
        np.testing.assert_allclose(clipped[name] - before[name], expected, atol=1e-5)


# Two replicas with batches of two, five examples and three of padding; the model's output and what
# is kept are the example's number.
KEPT = """
import json
import types
import tensorflow as tf
from tf_perceiver.tasks import Task
from tf_perceiver.training import loop

class Numbers(Task):
    def loss(self, outputs, batch, training):
        return outputs
    def kept(self, outputs, batch):
        return {"number": outputs}
    def whole(self, kept):
        return {"numbers": sorted(kept["number"].tolist())}

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
batch = {"number": tf.range(8.0), "weight": tf.constant([1.0] * 5 + [0.0] * 3)}
dataset = tf.data.Dataset.from_tensor_slices(batch).batch(2)
evaluator = loop.Evaluator(
    strategy,
    lambda batch, training: batch["number"],
    Numbers(types.SimpleNamespace(labels=())),
    lambda: strategy.distribute_datasets_from_function(lambda context: dataset),
    2,
)
print(json.dumps(evaluator.evaluate()))
"""


def test_metrics_of_the_whole_see_every_example_of_all_replicas_once(command, tmp_path):
    (tmp_path / "kept.py").write_text(KEPT)
    ended = command("kept", cwd=tmp_path).check()
    assert json.loads(ended.stdout.splitlines()[-1]) == {
        "examples": 5, "loss": 2.0, "numbers": [0.0, 1.0, 2.0, 3.0, 4.0],
    }  # fmt: skip
