"""Every experiment and variant loads, and everything it describes can be built."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib

import pytest
import tensorflow as tf

from benchmarks.batches import described, modality_of
from pipelines.preparation import MODALITIES
from pipelines.readers.variables import LAYOUTS
from tf_perceiver import tasks
from tf_perceiver.training import optimizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in ("__init__", "base")
)
CASES = [
    (name, variant)
    for name in NAMES
    for variant in importlib.import_module(f"configs.{name}").VARIANTS
]
PAPER = {"esc50", "imagenet", "modelnet40", "permuted_imagenet", "glue", "text_mlm"}


# By task, where the model answers with something else than the ten labels.
OUTPUTS = {"mortality": 2, "survival": 1}


def dataset(task):
    """A dataset of ten labels, or of ten deaths, one a month."""
    info = described(2 if task == "mortality" else 10)
    if task == "survival":
        totals = {"events": [1.0] * 10, "censored": [0.0] * 10}
        info = dataclasses.replace(info, statistics={"train": {"totals": totals}})
    return info
PAPER = {"esc50", "flow", "imagenet", "modelnet40"}
PAPER = {"audioset", "esc50", "imagenet", "modelnet40"}
NOT_SMALL = {"audioset"}  # Its media come from elsewhere.


def load(name, variant):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def test_every_experiment_has_its_variants():
    assert {"digits", "cifar10", "tiny_imagenet", "imagenet", "modelnet40"} <= set(NAMES)
    assert {"fsdd", "esc50", "speech_commands"} <= set(NAMES)
    assert {"physionet2012", "mimic3_mortality"} <= set(NAMES)
    for name in NAMES:
        expected = {"tiny", "small"} | ({"paper"} if name in PAPER else set())
        expected |= {"overfit"} if name == "flow" else set()
        assert {variant for n, variant in CASES if n == name} == expected
        expected = {"tiny"} if name in NOT_SMALL else {"tiny", "small"}
        expected |= {"paper"} if name in PAPER else set()
        found = {variant for n, variant in CASES if n == name}
        # Where a model can read one of several inputs alone, that is a variant of its own.
        assert {variant.partition("_")[0] for variant in found} == expected
        assert expected <= found


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_everything_in_it_can_be_built(name, variant):
    config = load(name, variant)
    assert config.name == f"{name}:{variant}"
    assert config.model.trunk.attention == "structured"  # There, so that a flag can change it.
    with tf.Graph().as_default():  # The paper's models without their numbers.
        task = tasks.build(config.task, dataset(config.task.name))
        model = task.build_model(config.model)
        optimizer.build(config.optimizer, 100, config.data.batch_size)
        if variant.startswith("paper"):
            return  # Tracing 48 layers on 50,176 pixels takes longer than it tells.
        modality = config.data.modality
        module, section = MODALITIES[modality], config.data[modality]
        module.check(section)
        inputs = {modality: tf.zeros((2, *module.shape(section)))}
        if modality == "series":
            inputs["series_variable"] = tf.zeros((2, section.length), tf.int32)
            inputs["series_mask"] = tf.ones((2, section.length), tf.bool)
        assert model(inputs).shape == (2, OUTPUTS.get(config.task.name, 10))
        dtype = tf.int32 if modality == "text" else tf.float32
        logits = model({modality: tf.zeros((2, *module.shape(section)), dtype)})
        places = module.shape(section) if config.task.name == "masked_lm" else ()
        assert logits.shape == (2, *places, 262 if places else 10)
        shape = module.shape(section)
        outputs = model({modality_of(config.model.inputs): tf.zeros((2, *shape))})
        assert outputs.shape == ((2, *shape[1:3], 2) if modality == "flow" else (2, 10))
        shapes = module.shape(section)
        shapes = shapes if isinstance(shapes, dict) else {modality: shapes}
        logits = model({name: tf.zeros((2, *shape)) for name, shape in shapes.items()})
        assert logits.shape == (2, 10)


@pytest.mark.parametrize("name", NAMES)
def test_a_misspelt_variant_is_named(name):
    with pytest.raises(ValueError, match="variant 'smal' is none of"):
        load(name, "smal")


def test_the_paper_variants_have_the_papers_numbers():
    imagenet = load("imagenet", "paper")
    assert imagenet.optimizer.learning_rate == 4e-3
    assert imagenet.optimizer.schedule == "step"
    assert imagenet.train.epochs == 120
    assert [120 * b for b in imagenet.optimizer.boundaries] == pytest.approx([84, 102, 114])
    assert (imagenet.data.image.randaugment_layers, imagenet.data.image.size) == (4, (224, 224))
    flow = load("flow", "paper")
    assert (flow.optimizer.learning_rate, flow.optimizer.schedule) == (4e-4, "cosine")
    assert (flow.data.batch_size, flow.data.flow.size, flow.train.epochs) == (512, (368, 496), 480)
    modelnet = load("modelnet40", "paper")
    assert (modelnet.optimizer.learning_rate, modelnet.optimizer.schedule) == (1e-3, "constant")
    assert (modelnet.data.batch_size, modelnet.data.points.num_points) == (512, 2048)


@pytest.mark.parametrize(
    ("name", "layout"), [("physionet2012", "physionet2012"), ("mimic3_mortality", "mimic3")]
)
def test_experiments_on_stays_fit_their_records(name, layout):
    config = load(name, "small")
    variables = LAYOUTS[layout].variables
    assert config.data.series.layout == layout
    assert config.data.series.variables == config.model.inputs.variables == len(variables)
    assert config.data.series.hours == LAYOUTS[layout].hours
    assert config.data.series.limit == config.model.inputs.limit
