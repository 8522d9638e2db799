"""The train step's arithmetic: batches, micro-batches, clipping, and what isn't finite."""

from __future__ import annotations

import json
import shutil

import numpy as np
import orbit
import pytest
import tensorflow as tf

from configs import base
from pipelines.records import DatasetInfo
from tf_perceiver.model import perceiver
from tf_perceiver.tasks import Classification
from tf_perceiver.training import loop, optimizer
from tf_perceiver.training.averages import Averages
from tf_perceiver.training.guard import LOSS

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


def make(batches, config=CONFIG, optimizer=None, **fields):
    """A trainer of a model with weights far from zero; its stream is these batches."""
    strategy = tf.distribute.get_strategy()
    tf.keras.utils.set_random_seed(3)
    model = perceiver.build(config, CLASSES)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape) * 0.3)
    whole = {name: np.concatenate([each[name] for each in batches]) for name in batches[0]}
    dataset = tf.data.Dataset.from_tensor_slices(whole).batch(BATCH, drop_remainder=True)
    fields.setdefault("clip_norm", 0.0)
    return loop.Trainer(
        strategy,
        model,
        Classification(DatasetInfo("toy", {}, tuple("abc"), {})),
        optimizer or Descent(1.0),
        orbit.utils.create_global_step(),
        batch_size=BATCH,
        dataset=strategy.distribute_datasets_from_function(lambda context: dataset),
        **fields,
    )


def weights_of(trainer):
    return {name: v.numpy() for name, v in trainer.model.named_weights().items()}


def train(trainer, steps):
    """What the steps say of themselves, but for the time."""
    metrics = trainer.train(tf.constant(steps))
    assert 0 <= metrics.pop("input_wait") < 1
    return metrics


def trained(**fields):
    """Weights before and after one step of plain gradient descent on one batch, and metrics."""
    trainer = make([batch()], **fields)
    before = weights_of(trainer)
    metrics = train(trainer, 1)
    assert int(trainer.global_step.numpy()) == 1
    return before, weights_of(trainer), metrics


class Descent:
    """Plain gradient descent with the face of our optimizers."""

    def __init__(self, rate):
        self.iterations = tf.Variable(0, dtype=tf.int64)
        self.rate = rate

    def apply_if(self, applied, grads_and_vars, factor):
        for gradient, variable in grads_and_vars:
            variable.assign_sub(tf.where(applied, self.rate * factor * gradient, 0.0))
        self.iterations.assign_add(tf.cast(applied, tf.int64))

    def learning_rate(self, step):
        return self.rate


def test_one_step_is_the_gradient_of_the_mean_loss():
    before, after, metrics = trained()
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
    before, free, metrics = trained()
    _, clipped, _ = trained(clip_norm=metrics["grad_norm"] / 2)
    for name in before:
        expected = (free[name] - before[name]) / 2
        np.testing.assert_allclose(clipped[name] - before[name], expected, atol=1e-5)


def test_accumulated_micro_batches_are_the_whole_batch():
    before, whole, metrics = trained()
    _, cut, same = trained(accumulate=4)
    for name in before:
        np.testing.assert_allclose(cut[name], whole[name], atol=1e-5, err_msg=name)
    assert same == pytest.approx(metrics, rel=1e-5)


def test_dropout_is_a_function_of_salt_and_step():
    config = {**CONFIG, "trunk": {**CONFIG["trunk"], "dropout": 0.5}}
    trainer = make([batch()] * 4, config, Descent(0.0), dropout_seed=1, accumulate=2)

    def loss(salt, step):
        trainer.guard.salt.assign(salt)
        trainer.global_step.assign(step)
        return train(trainer, 1)["loss"]

    first = loss(0, 5)
    assert len({first, loss(0, 6), loss(1, 5)}) == 3
    assert loss(0, 5) == first


def test_micro_batches_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ValueError, match="accumulate=3 doesn't divide the 8 examples"):
        trained(accumulate=3)


def poisoned(name="image"):
    """A batch one of whose numbers is NaN."""
    bad = batch()
    bad[name][5].flat[0] = np.nan
    return bad


CONVOLVED = {
    **CONFIG,
    "inputs": {
        "kind": "conv",
        "channels": 1,
        "outputs": 4,
        "downsample": 4,
        "positions": {"bands": 2, "max_resolution": (1, 1)},
    },
}


@pytest.mark.parametrize(("kind", "parts", "name"), [("adamw", 1, "label"), ("lamb", 2, "image")])
def test_a_batch_that_is_not_finite_leaves_no_trace(kind, parts, name):
    settings = base.classification("toy", {}).optimizer
    settings.name = kind

    def run(*batches):
        built = optimizer.build(settings, 10, BATCH)
        trainer = make(batches, CONVOLVED, built, accumulate=parts)
        averages = trainer.averages = Averages(trainer.model.named_weights(), 0.9)
        metrics = train(trainer, len(batches))
        state = {"slots": built.weights, "averages": averages.variables}
        kept = tf.nest.map_structure(lambda variable: variable.numpy(), state)
        return trainer, metrics, (weights_of(trainer), kept)

    good, metrics, expected = run(batch(), batch())
    assert any(name.endswith("moving_mean") for name in expected[0])
    assert good.guard.trouble() is None
    trainer, same, found = run(batch(), poisoned(name), batch())
    tf.nest.map_structure(np.testing.assert_array_equal, found, expected)
    assert same == metrics
    assert int(trainer.global_step) == 3
    assert int(trainer.optimizer.iterations) == 2
    trouble = trainer.guard.trouble()
    assert (trouble.step, trouble.skipped, trouble.good_step) == (2, 1, None)
    assert LOSS in trouble.offending
    assert "head.logits.kernel" in trouble.offending


def test_a_loop_without_an_update_has_no_means():
    trainer = make([poisoned(), poisoned()])
    before = weights_of(trainer)
    assert train(trainer, 2) == {"learning_rate": 1.0}
    tf.nest.map_structure(np.testing.assert_array_equal, weights_of(trainer), before)
    assert trainer.guard.trouble().skipped == 2


def test_devices_and_micro_batches_give_the_whole_batchs_update(command, checkout, tmp_path):
    shutil.copy(checkout / "tests" / "same_update.py", tmp_path)
    ended = command("same_update", cwd=tmp_path).check()
    errors = json.loads(ended.stdout.splitlines()[-1])
    assert {case: error < 1e-10 for case, error in errors["float64"].items()} == {
        "two devices": True, "two accumulated": True, "two devices, two accumulated": True,
    }  # fmt: skip
    assert max(errors["float32"].values()) < 5e-5


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
