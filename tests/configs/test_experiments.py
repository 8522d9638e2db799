"""Every experiment and variant loads, and everything it describes can be built."""

from __future__ import annotations

import importlib
import pathlib

import pytest
import tensorflow as tf

from benchmarks.batches import LABELS, described
from pipelines import autoencoding
from pipelines.preparation import MODALITIES
from pipelines.readers.variables import LAYOUTS
from tf_perceiver import tasks
from tf_perceiver.training import optimizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROOMS = {"__init__", "base", "feeds", "small"}  # What the experiments are made of.
NAMES = sorted(
    path.stem for path in (ROOT / "configs").glob("*.py") if path.stem not in ROOMS
)
CASES = [
    (name, variant)
    for name in NAMES
    for variant in importlib.import_module(f"configs.{name}").VARIANTS
]
PAPER = {
    "audioset", "esc50", "flow", "glue", "imagenet", "kinetics", "modelnet40", "permuted_imagenet",
    "text_mlm",
}  # fmt: skip
NOT_SMALL = {"audioset"}  # Its media come from elsewhere.


def inputs_of(config):
    """Zeros as the pipeline gives them."""
    modality, section = config.data.modality, config.data[config.data.modality]
    shapes = MODALITIES[modality].shape(section)
    if not isinstance(shapes, dict):
        shapes = {"image" if modality == "flow" else modality: shapes}
    dtype = tf.int32 if modality == "text" else tf.float32
    inputs = {name: tf.zeros((2, *shape), dtype) for name, shape in shapes.items()}
    if modality == "series":
        inputs["series_variable"] = tf.zeros((2, section.length), tf.int32)
        inputs["series_mask"] = tf.ones((2, section.length), tf.bool)
    if modality == "autoencoding":
        inputs["label"] = tf.zeros((2, 10))
    if modality in ("clip_features", "omics_patches"):
        for name, (length, _) in shapes.items():
            inputs[f"{name}_mask"] = tf.ones((2, length), tf.bool)
    return inputs


def outputs_of(config):
    """The shape that is due, without the batch, or those by name."""
    match config.task.name:
        case "flow":
            return (*config.data.flow.size, 2)
        case "masked_lm":
            return (config.data.text.length, 262)
        case "survival":
            return (1,)
        case "autoencoding":
            clip = autoencoding.shape(config.data.autoencoding)
            return {**clip, "label": (10,), "seen": clip["image"], "heard": clip["audio"]}
    return (LABELS.get(config.task.name, 10),)


def load(name, variant):
    return importlib.import_module(f"configs.{name}").get_config(variant)


def test_every_experiment_has_its_variants():
    assert {"digits", "cifar10", "tiny_imagenet", "imagenet", "modelnet40"} <= set(NAMES)
    assert {"fsdd", "esc50", "speech_commands"} <= set(NAMES)
    assert {"physionet2012", "mimic3_mortality"} <= set(NAMES)
    for name in NAMES:
        expected = {"tiny"} if name in NOT_SMALL else {"tiny", "small"}
        expected |= {"paper"} if name in PAPER else set()
        expected |= {"overfit"} if name == "flow" else set()
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
        task = tasks.build(config.task, described(10, config.task.name))
        model = task.build_model(config.model)
        optimizer.build(config.optimizer, 100, config.data.batch_size)
        MODALITIES[config.data.modality].check(config.data[config.data.modality])
        if variant.startswith("paper"):
            return  # Tracing 48 layers on 50,176 pixels takes longer than it tells.
        found, due = model(inputs_of(config)), outputs_of(config)
        if not isinstance(due, dict):
            found, due = {"": found}, {"": due}
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        assert shapes == {name: (2, *shape) for name, shape in due.items()}


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
    kinetics = load("kinetics", "paper")
    assert kinetics.model.trunk.num_latents == 784
    assert load("kinetics", "paper_392").model.trunk.num_latents == 392
    assert load("kinetics", "paper_196").model.trunk.num_latents == 196
    assert (kinetics.data.batch_size, kinetics.optimizer.learning_rate) == (1024, 1e-3)
    clips = kinetics.data.autoencoding
    assert (clips.image_queries, clips.audio_queries, clips.label_mask_share) == (512, 512, 0.5)
    assert (clips.audio.samples, clips.audio_patch, clips.video.fps) == (30_720, 16, 25)
    assert (clips.video.frames, clips.video.size) == (16, (224, 224))
    task = kinetics.task
    assert (task.image_weight, task.audio_weight, task.label_weight) == (0.03, 1.0, 1e-4)


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
