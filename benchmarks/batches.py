"""Random batches of full size: for a preset's model, or as a config's input pipeline gives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from pipelines import autoencoding, text
from pipelines.preparation import MODALITIES
from pipelines.records import DatasetInfo, pack_floats

POINTS = 2048  # of a cloud, as in the paper
SAMPLED = 512  # pixels, and patches of sound, that an autoencoder is asked for in training
CLASSIFIERS = ("average", "classification")
LABELS = {"mortality": 2, "flow": 0, "masked_lm": 0, "survival": 0}  # by task, where it says so
WORD_VECTOR = 300  # numbers, as AVCA's have


def of_data(data: ConfigDict, classes: int, batch_size: int) -> dict[str, tf.Tensor]:
    """A batch as `pipelines.input_pipeline.train_stream` gives it, of random numbers.

    Args:
      data: `config.data`.
      classes: number of labels.
      batch_size: B.

    Returns:
      The model's inputs, the modality's own targets and those of `data.target`: names, shapes and
      dtypes of the pipeline, numbers such as a model can read, the same ones every time.
    """
    section = data[data.modality]
    shapes = MODALITIES[data.modality].shape(section)
    if not isinstance(shapes, dict):
        shapes = {"image" if data.modality == "flow" else data.modality: shapes}
    batch = {
        name: tf.random.stateless_normal((batch_size, *shape), seed=(0, seed))
        for seed, (name, shape) in enumerate(shapes.items())
    }
    if data.modality in _FURTHER:
        batch |= _FURTHER[data.modality](section, batch_size)
    return batch | _targets(data.get("target", "label"), classes, batch_size)


def _autoencoding_fields(cfg: ConfigDict, batch_size: int) -> dict[str, tf.Tensor]:
    found = {"label_masked": _shares(batch_size, seed=5)[:, None] < cfg.label_mask_share}
    widths = {"image": 3, "audio": cfg.audio_patch}
    for seed, (name, count) in enumerate(autoencoding.counts(cfg).items()):
        queries = cfg[f"{name}_queries"]
        indices = autoencoding.spread(queries, count, tf.constant((6, seed), tf.int64))
        found[f"{name}_indices"] = tf.repeat(indices[None], batch_size, axis=0)
        target = (batch_size, queries, widths[name])
        found[f"{name}_target"] = tf.random.stateless_uniform(target, seed=(7, seed))
    return found


def _clip_feature_fields(cfg: ConfigDict, batch_size: int) -> dict[str, tf.Tensor]:
    return {f"{name}_mask": _mask(batch_size, cfg[f"{name}_length"]) for name in ("audio", "video")}


def _flow_fields(cfg: ConfigDict, batch_size: int) -> dict[str, tf.Tensor]:
    grid = (batch_size, *cfg.size)
    valid = tf.cast(tf.random.stateless_uniform(grid, seed=(5, 1)) < 0.9, tf.float32)
    flow = 5 * tf.random.stateless_normal((*grid, 2), seed=(5, 0)) * valid[..., None]
    return {"flow": flow, "valid": valid}


def _omics_fields(cfg: ConfigDict, batch_size: int) -> dict[str, tf.Tensor]:
    return {"omics_mask": _mask(batch_size, cfg.tokens)}


def _series_fields(cfg: ConfigDict, batch_size: int) -> dict[str, tf.Tensor]:
    measured = (batch_size, cfg.length)
    time = tf.random.stateless_uniform((*measured, 1), seed=(5, 0), minval=-1.0)
    value = tf.random.stateless_normal((*measured, 1), seed=(5, 1))
    mask = _mask(batch_size, cfg.length)
    variable = tf.random.stateless_uniform(measured, (5, 2), 0, cfg.variables, tf.int32)
    return {
        "series": tf.where(mask[..., None], tf.concat([time, value], -1), 0.0),
        "series_variable": tf.where(mask, variable, 0),
        "series_mask": mask,
    }


def _text_fields(cfg: ConfigDict, batch_size: int) -> dict[str, tf.Tensor]:
    shape, mask = (batch_size, cfg.length), _mask(batch_size, cfg.length)
    tokens = tf.random.stateless_uniform(shape, (5, 0), text.SPECIAL, text.VOCABULARY, tf.int32)
    tokens = tf.where(mask, tokens, text.PAD)
    if not cfg.mask_share:
        return {"text": tokens, "text_mask": mask}
    masked = mask & (tf.random.stateless_uniform(shape, seed=(5, 1)) < cfg.mask_share)
    shown = tf.where(masked, text.MASK, tokens)
    return {"text": shown, "text_mask": mask, "target": tokens, "masked": masked}


# What a modality has beside numbers of its inputs' shapes, or in their place.
_FURTHER: dict[str, Callable[[ConfigDict, int], dict[str, tf.Tensor]]] = {
    "autoencoding": _autoencoding_fields,
    "clip_features": _clip_feature_fields,
    "flow": _flow_fields,
    "omics": _omics_fields,
    "series": _series_fields,
    "text": _text_fields,
}


def _targets(kind: str, classes: int, batch_size: int) -> dict[str, tf.Tensor]:
    """What `pipelines.targets` adds."""
    match kind:
        case "label":
            return {"label": one_hot(classes, batch_size)}
        case "labels":
            drawn = tf.random.stateless_uniform((batch_size, classes), seed=(8, 0))
            return {"label": tf.cast(drawn < 2 / classes, tf.float32)}
        case "score":
            return {"score": 5 * _shares(batch_size, seed=8)}
        case "survival":
            event = tf.cast(_shares(batch_size, seed=9) < 0.5, tf.float32)
            return {"time": 10 * _shares(batch_size, seed=8), "event": event}
    return {}


def _shares(batch_size: int, seed: int) -> tf.Tensor:
    """Float32 [B], uniform in [0, 1)."""
    return tf.random.stateless_uniform((batch_size,), seed=(seed, 0))


def _mask(batch_size: int, length: int) -> tf.Tensor:
    """Bool [B, length]: True for the first so many, half of them at the least."""
    most = tf.random.stateless_uniform(
        (batch_size, 1), (4, length), -(-length // 2), length + 1, tf.int32
    )
    return tf.range(length) < most


def described(classes: int, task: str = "classification") -> DatasetInfo:
    """A dataset without records, which says what a task asks of it.

    Args:
      classes: number of labels; the tasks that say it themselves have theirs.
      task: its name. For survival the dataset has deaths to cut the time by; for zero-shot learning
        it has word vectors, and two of its classes are unseen.
    """
    labels = tuple(map(str, range(LABELS.get(task, classes))))
    statistics, properties = {}, {}
    if task == "survival":
        totals = {"events": [1.0] * 10, "censored": [0.0] * 10}
        statistics = {"train": {"totals": totals}}
    elif task == "zero_shot":
        vectors = np.random.default_rng(0).normal(size=(classes, WORD_VECTOR))
        properties = {"word_vectors": pack_floats(vectors), "unseen": list(labels[-2:])}
    return DatasetInfo("random", {}, labels, {}, statistics=statistics, properties=properties)


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
