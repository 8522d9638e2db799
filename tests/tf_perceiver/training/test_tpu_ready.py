"""A TPU compiles the train step whole: static shapes, no float64, nothing that asks the host.

No TPU is here. What TensorFlow lowers to HLO for the CPU is the same program up to the compiler's
back end, so what a TPU would refuse is looked for there.
"""

from __future__ import annotations

import importlib
import pathlib
import re
from collections.abc import Iterable

import orbit
import pytest
import tensorflow as tf
import tiny_models

from benchmarks import batches, experiment, subjects
from configs import base
from tf_perceiver import presets
from tf_perceiver.model import structured
from tf_perceiver.training import loop, optimizer

EXPERIMENTS = sorted(
    path.stem
    for path in (pathlib.Path(__file__).parents[3] / "configs").glob("*.py")
    if hasattr(importlib.import_module(f"configs.{path.stem}"), "VARIANTS")
)

# One of each kind of input, of decoder and of task; `make soak` has all.
QUICK_PRESETS = {"io_imagenet_conv"}
QUICK_EXPERIMENTS = {
    "audioset", "avca", "modelnet40", "permuted_imagenet", "physionet2012", "tcga_brca",
}  # fmt: skip

# What has a size that is known when it runs, leaves the device, or isn't the device's own. A
# set-dimension-size of a whole dimension is what tf.ensure_shape becomes; any other shows as "<=".
FORBIDDEN = {
    "infeed", "outfeed", "send", "recv", "send-done", "recv-done", "custom-call",
    "get-dimension-size", "dynamic-reshape",
}  # fmt: skip


def cases(names: Iterable[str], quick: set[str]) -> list:
    """The names, those that aren't quick for `make soak` alone."""
    marks = {name: () if name in quick else pytest.mark.soak for name in names}
    return [pytest.param(name, marks=mark) for name, mark in marks.items()]


def faults(hlo: str) -> set[str]:
    """What a TPU couldn't take of a program, in HLO's text."""
    found = {op for op in re.findall(r"\s([a-z][\w-]*)\(", hlo) if op in FORBIDDEN}
    found |= set(re.findall(r"\b(f64|c128)\[", hlo))
    return found | ({"dynamic shape"} if re.search(r"\[[^\]\s]*<=", hlo) else set())


def lowered(function, *arguments) -> str:
    compiled = tf.function(function, jit_compile=True)
    return compiled.experimental_get_compiler_ir(*arguments)(stage="hlo")


def lowered_step(trainer: loop.Trainer, batch: dict[str, tf.Tensor]) -> str:
    """HLO of the whole step, from the batch to the updated weights, slots and metrics."""
    trainer.optimizer._create_all_weights(trainer.model.trainable_variables)
    return lowered(lambda batch: trainer.train_step(iter([batch])), batch)


@pytest.fixture(autouse=True)
def structured_however_small(monkeypatch):
    """Tiny models would take the plain path."""
    monkeypatch.setattr(structured, "pays", lambda *_: True)
    monkeypatch.setattr(structured, "pays_for_answers", lambda *_: True)


@pytest.mark.parametrize("name", cases(presets.PRESETS, QUICK_PRESETS))
def test_the_step_of_every_preset_compiles_for_a_tpu(name):
    model, batch = tiny_models.build(name)
    settings = base.classification(name, {}).optimizer
    trainer = loop.Trainer(
        tf.distribute.get_strategy(),
        model,
        subjects.SquaredOutputs(),
        optimizer.build(settings, 1000, tiny_models.BATCH),
        orbit.utils.create_global_step(),
        batch_size=tiny_models.BATCH,
        clip_norm=settings.clip_norm,
    )
    hlo = lowered_step(trainer, {key: tf.constant(value) for key, value in batch.items()})
    assert not faults(hlo)
    # Weights, their slots and the step all come back.
    assert hlo.count("parameter(") > 3 * len(model.trainable_variables)


@pytest.mark.parametrize("name", cases(EXPERIMENTS, QUICK_EXPERIMENTS))
def test_the_step_of_every_task_compiles_for_a_tpu(name):
    config = importlib.import_module(f"configs.{name}").get_config("tiny")
    info = batches.described(10, config.task.name)
    trainer = experiment.trainer(config, info)
    batch = batches.of_data(config.data, len(info.labels), config.data.batch_size)
    assert not faults(lowered_step(trainer, batch))


@pytest.mark.soak
def test_dropout_compiles_for_a_tpu():
    config = importlib.import_module("configs.digits").get_config("tiny")
    with config.unlocked():
        config.model.trunk.dropout = 0.1
    info = batches.described(10, config.task.name)
    trainer = experiment.trainer(config, info)
    trainer.dropout_seed = 0
    batch = batches.of_data(config.data, len(info.labels), config.data.batch_size)
    hlo = lowered_step(trainer, batch)
    assert not faults(hlo)
    assert "xor(" in hlo  # Of the random numbers.


@pytest.mark.parametrize(
    ("function", "fault"),
    [
        (lambda x: tf.cast(tf.cast(x, tf.float64) * 2, tf.float32), "f64"),
        (lambda x: tf.boolean_mask(x, x > 0), "dynamic shape"),
        (lambda x: tf.where(x > 0)[:, 0], "dynamic shape"),
    ],
)
def test_what_a_tpu_refuses_is_seen(function, fault):
    assert fault in faults(lowered(function, tf.constant([1.0, -2.0, 3.0])))
