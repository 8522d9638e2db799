"""Random batches of full size: for a preset's model, or as a config's input pipeline gives them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines.records import DatasetInfo

POINTS = 2048  # of a cloud, as in the paper
SAMPLED = 512  # pixels, and patches of sound, that an autoencoder is asked for in training
CLASSIFIERS = ("average", "classification")


def of_data(data: Mapping[str, Any], classes: int, batch_size: int) -> dict[str, tf.Tensor]:
    """A batch as `pipelines.input_pipeline.train_stream` gives it, of random numbers.

    Args:
      data: `config.data`.
      classes: number of labels.
      batch_size: B.

    Returns:
      {"image": [B, H, W, C] or "points": [B, n, 3], "label": [B, classes]}, all float32.
    """
    if data["modality"] == "image":
        shape = (*data["image"]["size"], data["image"]["channels"])
    else:
        shape = (data["points"]["num_points"], 3)
    inputs = tf.random.stateless_normal((batch_size, *shape), seed=(0, 0))
    return {data["modality"]: inputs, "label": one_hot(classes, batch_size)}


def described(classes: int) -> DatasetInfo:
    """A dataset of so many labels, and nothing else."""
    return DatasetInfo("random", {}, tuple(map(str, range(classes))), {})


def one_hot(classes: int, batch_size: int) -> tf.Tensor:
    """Random labels, float32 [B, classes]."""
    labels = tf.random.stateless_uniform((batch_size,), seed=(0, 1), maxval=classes, dtype=tf.int32)
    return tf.one_hot(labels, classes)


def of_model(model: Mapping[str, Any], classes: int, batch_size: int) -> dict[str, tf.Tensor]:
    """A batch that a model of this config reads, labelled if it classifies.

    Args:
      model: ``config.model``. classes: number of labels. batch_size: B.

    Returns:
      {modality: float32 [B, ...] in [-1, 1], or int32 tokens}; "label"; and "image_indices" and
      "audio_indices", the sample that an autoencoder is asked for.
    """
    inputs, decoder = model["inputs"], model.get("decoder", {"kind": "average"})
    if inputs["kind"] == "multimodal":
        parts = {name: {"modality": name, **part} for name, part in inputs["modalities"].items()}
    else:
        parts = {modality_of(inputs): inputs}
    shapes = {name: shape_of(part) for name, part in parts.items()}
    if decoder["kind"] == "autoencoding":  # Its sound's positions are spread over the samples.
        shapes["audio"] = (decoder["audio"]["samples"],)
    batch = {
        name: _values(part, (batch_size, *shapes[name]), seed)
        for seed, (name, part) in enumerate(parts.items())
    }
    if decoder["kind"] in CLASSIFIERS:
        batch["label"] = one_hot(classes, batch_size)
    elif decoder["kind"] == "autoencoding":
        for seed, (name, (asked, count)) in enumerate(sampled(decoder).items()):
            batch[f"{name}_indices"] = tf.random.stateless_uniform(
                (asked,), seed=(2, seed), maxval=count, dtype=tf.int32
            )
    return batch


def sampled(decoder: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """{modality: (queries that an autoencoder is asked for in training, all that there are)}."""
    audio = decoder["audio"]
    counts = {
        "image": math.prod(decoder["image"]["index_dims"]),
        "audio": audio["samples"] // audio["samples_per_patch"],
    }
    return {name: (min(SAMPLED, count), count) for name, count in counts.items()}


def modality_of(inputs: Mapping[str, Any]) -> str:
    """The key of the batch that a preprocessor of this config reads."""
    defaults = {"points": "points", "waveform": "audio", "text": "text", "one_hot": "label"}
    return inputs.get("modality", defaults.get(inputs["kind"], "image"))


def shape_of(inputs: Mapping[str, Any]) -> tuple[int, ...]:
    """Shape of one example of a modality, without the batch.

    Args:
      inputs: fields of a preprocessor; a grid is as large as the resolution of its positions.
    """
    channels = inputs.get("channels", 3)
    match inputs["kind"]:
        case "points":
            return (POINTS, 3)
        case "text":
            return (inputs["length"],)
        case "one_hot":
            return (inputs["classes"],)
    positions = inputs["positions"]
    axes = tuple(positions.get("index_dims") or positions["max_resolution"])
    match inputs["kind"]:
        case "waveform":
            return (axes[0] * inputs["samples_per_patch"],)
        case "frame_pair":
            return (2, *axes, channels)
        case "patches":
            side, frames = inputs["patch"], inputs.get("frames", 1)
        case "conv":
            side, frames = inputs["downsample"], 1
        case _:
            side, frames = inputs.get("stride", 1), inputs.get("frame_stride", 1)
    *time, rows, columns = axes
    return (*(frames * n for n in time), side * rows, side * columns, channels)


def _values(inputs: Mapping[str, Any], shape: tuple[int, ...], seed: int) -> tf.Tensor:
    if inputs["kind"] == "text":
        return tf.random.stateless_uniform(
            shape, seed=(1, seed), maxval=inputs["vocabulary"], dtype=tf.int32
        )
    if inputs["kind"] == "one_hot":
        return one_hot(inputs["classes"], shape[0])
    return tf.random.stateless_uniform(shape, seed=(1, seed), minval=-1.0, maxval=1.0)
