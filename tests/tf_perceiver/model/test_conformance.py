"""Every preset, and so every layer, through what users do with models: save, export, compile."""

from __future__ import annotations

import importlib
import json
import pkgutil
import shutil
import zlib

import numpy as np
import pytest
import tensorflow as tf
import tiny_models

import tf_perceiver.model
from tf_perceiver.model import structured

# Abstract, bases of others, and whole models around a model, which have tests of their own.
NOT_ALONE = {
    "Preprocessor", "GridPreprocessor", "Image", "ClipPerceiver", "TiledPerceiver", "Autoencoder",
}  # fmt: skip


@pytest.fixture(autouse=True)
def structured_however_small(monkeypatch):
    """The tiny models would take the plain path."""
    monkeypatch.setattr(structured, "pays", lambda *_: True)
    monkeypatch.setattr(structured, "pays_for_answers", lambda *_: True)


@pytest.fixture
def policy():
    """Sets a precision policy for one test."""
    yield tf.keras.mixed_precision.set_global_policy
    tf.keras.mixed_precision.set_global_policy("float32")


def outputs_and_gradients(model, batch, jit_compile=None):
    """The model's outputs and its gradients by name, from one graph."""
    weights = {n: v for n, v in model.named_weights().items() if v.trainable}

    @tf.function(jit_compile=jit_compile)
    def run(batch):
        with tf.GradientTape() as tape:
            outputs = model(batch)
            value = tiny_models.loss(outputs)
        return outputs, tape.gradient(value, weights)

    return run(batch)


def close(ours, theirs, tolerance):
    """Whether two structures agree, relative to the largest number of the second."""
    ours, theirs = ([np.asarray(x, np.float64) for x in tf.nest.flatten(s)] for s in (ours, theirs))
    scale = max(np.max(np.abs(x)) for x in theirs)
    worst = max(np.max(np.abs(a - b)) for a, b in zip(ours, theirs, strict=True))
    assert worst <= tolerance * scale, (worst, scale)


def test_the_tiny_models_have_every_public_layer():
    public = set()
    for module in pkgutil.walk_packages(tf_perceiver.model.__path__, "tf_perceiver.model."):
        for name, value in vars(importlib.import_module(module.name)).items():
            ours = isinstance(value, type) and value.__module__ == module.name
            if ours and issubclass(value, tf.keras.layers.Layer) and not name.startswith("_"):
                public.add(name)
    found = set()
    for name in tiny_models.NAMES:
        model, _ = tiny_models.build(name)
        found |= {type(layer).__name__ for layer in model.submodules}
        found.add(type(model).__name__)
    assert public - found == NOT_ALONE


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_xla_and_checkpoints_and_saved_models_change_nothing(name, tmp_path):
    model, batch = tiny_models.build(name)
    outputs, gradients = outputs_and_gradients(model, batch)
    assert all(np.all(np.isfinite(x)) for x in tf.nest.flatten([outputs, gradients]))

    close(outputs_and_gradients(model, batch, jit_compile=True), (outputs, gradients), 2e-5)

    checkpoint = tf.train.Checkpoint(model=model).save(str(tmp_path / "checkpoint"))
    for variable in model.variables:
        variable.assign(tf.zeros_like(variable))
    tf.train.Checkpoint(model=model).restore(checkpoint).assert_consumed()
    close(model(batch), outputs, 1e-6)

    specification = {
        key: tf.TensorSpec([None, *value.shape[1:]], tf.as_dtype(value.dtype), name=key)
        for key, value in batch.items()
    }
    module = tf.Module()
    module.variables_ = list(model.variables)
    module.answer = tf.function(lambda batch: model(batch), input_signature=[specification])
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    close(loaded.answer({key: tf.constant(value) for key, value in batch.items()}), outputs, 1e-5)


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_mixed_bfloat16_is_near_float32(name, policy):
    model, batch = tiny_models.build(name)
    outputs, gradients = outputs_and_gradients(model, batch)
    policy("mixed_bfloat16")
    mixed, _ = tiny_models.build(name)
    assert all(v.dtype == tf.float32 for v in mixed.variables)
    mixed_outputs, mixed_gradients = outputs_and_gradients(mixed, batch)
    close(mixed_outputs, outputs, 0.1)
    assert all(np.all(np.isfinite(tf.cast(g, tf.float32))) for g in mixed_gradients.values())


@pytest.mark.parametrize("name", tiny_models.NAMES)
def test_gradients_are_the_slopes_of_the_loss(name, policy):
    policy("float64")
    model, batch = tiny_models.build(name)
    batch = {k: tf.cast(v, tf.float64) if v.dtype.kind == "f" else v for k, v in batch.items()}
    _, gradients = outputs_and_gradients(model, batch)
    value = tf.function(lambda: tiny_models.loss(model(batch)))
    weights = model.named_weights()
    largest = max(float(tf.norm(tf.convert_to_tensor(g))) for g in gradients.values())
    step = 1e-4
    for variable_name, gradient in gradients.items():
        variable = weights[variable_name]
        draw = np.random.default_rng(zlib.crc32(variable_name.encode()) + 1)
        direction = draw.normal(size=variable.shape)
        direction /= np.linalg.norm(direction)
        start = variable.numpy()
        values = []
        # Five points: the error is of the step's fourth power.
        for shift in (-2, -1, 1, 2):
            variable.assign(start + shift * step * direction)
            values.append(float(value()))
        variable.assign(start)
        slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        ours = float(tf.reduce_sum(tf.convert_to_tensor(gradient) * direction))
        assert abs(ours - slope) < 1e-6 * max(abs(slope), 1e-2 * largest), variable_name


def test_two_replicas_agree_with_one(command, checkout, tmp_path):
    for module in ("mirrored.py", "tiny_models.py"):  # Away from the folders of tests.
        shutil.copy(checkout / "tests" / module, tmp_path)
    ended = command("mirrored", *tiny_models.NAMES, cwd=tmp_path, timeout=300).check()
    errors = json.loads(ended.stdout.splitlines()[-1])
    assert errors.keys() == set(tiny_models.NAMES)
    for name, error in errors.items():
        assert error["outputs"] < 1e-5, name
        assert error["gradients"] < 1e-4, name
