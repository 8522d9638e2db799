"""Batches of full size fit the models that they are for."""

from __future__ import annotations

import dataclasses
import importlib
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import batches, quick, subjects
from pipelines import autoencoding, preparation, records, targets, text
from pipelines.preparation import MODALITIES
from tf_perceiver import presets
from tf_perceiver.model import perceiver

# What the published models read, without the batch.
SHAPES = {
    "imagenet": {"image": (224, 224, 3)},
    "imagenet_learned": {"image": (224, 224, 3)},
    "modelnet40": {"points": (2048, 3)},
    "audioset_raw": {"audio": (61_440,)},
    "audioset_mel": {"audio": (80, 60, 1)},
    "audioset_raw_video": {"audio": (61_440,), "video": (32, 224, 224, 3)},
    "io_imagenet_conv": {"image": (224, 224, 3)},
    "io_flow": {"image": (2, 368, 496, 3)},
    "io_kinetics_autoencoder": {
        "audio": (30_720,),
        "image": (16, 224, 224, 3),
        "label": (700,),
    },
    "io_language_bytes": {"text": (2048,)},
}


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_the_published_ones(name):
    with tf.Graph().as_default():
        batch = batches.of_model(presets.PRESETS[name].model(), 700, 1)
    assert {key: tuple(batch[key].shape[1:]) for key in SHAPES[name]} == SHAPES[name]
    assert set(batch) - set(SHAPES[name]) <= {"label", "image_indices", "audio_indices"}


@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_batch_gives_the_published_number_of_inputs_and_queries(name):
    preset = presets.PRESETS[name]
    with tf.Graph().as_default():  # Shapes alone, so that full size costs nothing.
        model = perceiver.build(preset.model(), preset.outputs)
        batch = batches.of_model(preset.model(), preset.outputs, 1)
        assert model.preprocessor(batch).length == preset.inputs
    queries = subjects.queries_of(preset.model(), preset.inputs)
    assert queries == preset.queries


def test_values_are_spread_and_the_same_every_time():
    config = presets.PRESETS["imagenet"].model()
    first, second = (batches.of_model(config, 7, 2) for _ in range(2))
    np.testing.assert_array_equal(first["image"], second["image"])
    assert -1 <= np.min(first["image"]) < -0.9
    assert 0.9 < np.max(first["image"]) <= 1
    assert abs(np.mean(first["image"])) < 0.01
    assert np.any(first["image"][0] != first["image"][1])
    np.testing.assert_array_equal(np.sum(first["label"], 1), [1, 1])
    assert first["label"].shape == (2, 7)


def test_tokens_are_in_the_vocabulary():
    batch = batches.of_model(presets.PRESETS["io_language_bytes"].model(), 0, 3)
    assert batch["text"].dtype == tf.int32
    assert 0 <= np.min(batch["text"]) < np.max(batch["text"]) < 262
    assert "label" not in batch


def test_an_autoencoder_is_asked_for_a_sample():
    batch = batches.of_model(presets.PRESETS["io_kinetics_autoencoder"].model(), 700, 1)
    assert batch["image_indices"].shape == batch["audio_indices"].shape == (512,)
    assert 700_000 < np.max(batch["image_indices"]) < 16 * 224 * 224
    assert np.max(batch["audio_indices"]) < 1920


def test_a_small_model_reads_as_many_axes():
    small = quick.shrunk(presets.PRESETS["audioset_raw_video"].model())
    parts = small["inputs"]["modalities"]
    assert batches.shape_of(parts["video"]) == (4, 64, 64, 3)
    assert small["trunk"]["num_latents"] == 8
    assert small["trunk"]["sharing"] == "none"


TINY = sorted(
    path.stem
    for path in (pathlib.Path(__file__).parents[2] / "configs").glob("*.py")
    if hasattr(importlib.import_module(f"configs.{path.stem}"), "VARIANTS")
)


def described_in_full(config):
    """A dataset of the config's schema, with statistics for whatever normalises by them."""
    info, data = batches.described(10, config.task.name), config.data
    module, target = MODALITIES[data.modality], targets.TARGETS[data.get("target", "label")]
    totals, properties = {}, {}
    match data.modality:
        case "series":
            totals = dict.fromkeys(("count", "sum", "squares"), [4.0] * data.series.variables)
            properties = {"layout": data.series.layout}
        case "omics":
            columns = data.omics.tokens * data.omics.width
            totals = dict.fromkeys(("count", "sum", "squares"), [4.0] * columns)
            group = ["gene"] * data.omics.width
            properties = {"groups": {str(token): group for token in range(data.omics.tokens)}}
        case "clip_features":
            totals = dict.fromkeys(("audio", "video"), (4.0, 4.0, 8.0))
    return dataclasses.replace(
        info,
        features={**module.FEATURES, **target.features},
        statistics={"train": {"totals": totals}},
        properties=properties,
        fingerprint="",
    )


@pytest.mark.parametrize("name", TINY)
def test_a_batch_of_data_is_what_the_pipeline_gives(name):
    config = importlib.import_module(f"configs.{name}").get_config("tiny")
    info = described_in_full(config)
    preparing = preparation.of(info, config.data)
    parse = records.parser(preparing.features)
    traced = tf.function(lambda record, seed: preparing.train(parse(record), seed))
    one = traced.get_concrete_function(
        tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int64)
    ).structured_outputs

    batch = batches.of_data(config.data, len(info.labels), 3)

    expected = {key: (value.dtype, (3, *value.shape)) for key, value in one.items()}
    assert {key: (value.dtype, tuple(value.shape)) for key, value in batch.items()} == expected
    again = batches.of_data(config.data, len(info.labels), 3)
    for key, value in batch.items():
        np.testing.assert_array_equal(value, again[key], err_msg=key)


def test_masked_places_are_empty_and_the_others_within_bounds():
    def of(name):
        config = importlib.import_module(f"configs.{name}").get_config("tiny")
        batch = batches.of_data(config.data, 10, 64)
        return config.data, {key: value.numpy() for key, value in batch.items()}

    data, stays = of("physionet2012")
    mask = stays["series_mask"]
    assert not np.any(stays["series"][~mask])
    assert not np.any(stays["series_variable"][~mask])
    assert set(np.unique(stays["series_variable"])) == set(range(data.series.variables))
    assert np.all(np.abs(stays["series"][..., 0]) <= 1)
    assert mask.sum(1).min() >= data.series.length / 2
    assert len(set(mask.sum(1))) > 5
    _, texts = of("text_mlm")
    hidden = texts["masked"]
    assert np.all(texts["text"][hidden] == text.MASK)
    np.testing.assert_array_equal(texts["text"][~hidden], texts["target"][~hidden])
    np.testing.assert_array_equal(texts["text"] != text.PAD, texts["text_mask"])
    assert texts["target"].max() == text.VOCABULARY - 1
    data, clips = of("kinetics")
    for name, count in autoencoding.counts(data.autoencoding).items():
        indices = clips[f"{name}_indices"]
        assert np.all(np.diff(indices) >= 0)
        assert 0 <= indices.min() < indices.max() < count
    _, profiles = of("tcga_brca")
    assert profiles["time"].min() > 0
    assert set(profiles["event"]) == {0.0, 1.0}
