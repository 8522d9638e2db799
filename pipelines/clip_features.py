"""Features of clips: rows of sound and rows of picture, normalised, of fixed size with a mask.

All numbers of a modality are normalised by one mean and one deviation, those of the training split.
A clip with more rows than the model reads gives evenly spaced ones in evaluation, and in training
one from each of as many even stretches; a shorter one is padded, which the mask tells.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.records import DatasetInfo, Feature

FEATURES = {
    "audio_features": Feature("float32", (None,)),
    "video_features": Feature("float32", (None,)),
}
"""What the records must hold: rows one after the other."""

MODALITIES = ("audio", "video")


def check(cfg: Any) -> None:
    """Checks `config.data.clip_features` before any work is done.

    Args:
        cfg: the `data.clip_features` section of a config.

    Raises:
        ValueError: a width or length below 1, a clip that isn't above 0, negative noise, a share of
            dropout outside [0, 1).
    """
    for name in (f"{modality}_{size}" for modality in MODALITIES for size in ("width", "length")):
        if cfg[name] < 1:
            raise ValueError(f"config.data.clip_features.{name}={cfg[name]} must be at least 1")
    if not cfg.clip > 0:
        raise ValueError(f"config.data.clip_features.clip={cfg.clip} must be greater than 0")
    if cfg.noise < 0:
        raise ValueError(f"config.data.clip_features.noise={cfg.noise} can't be negative")
    for modality in MODALITIES:
        if not 0 <= (share := cfg[f"{modality}_dropout"]) < 1:
            raise ValueError(
                f"config.data.clip_features.{modality}_dropout={share} is not in [0, 1)"
            )


def shape(cfg: Any) -> dict[str, tuple[int, int]]:
    """Shapes (rows, width) of one prepared clip, by name of the model's input."""
    return {name: (cfg[f"{name}_length"], cfg[f"{name}_width"]) for name in MODALITIES}


def statistics(info: DatasetInfo) -> dict[str, tuple[float, float]]:
    """Mean and deviation of all numbers of a modality in the training split.

    Args:
        info: whose statistics of "train" have the totals "audio" and "video": count, sum, squares.

    Returns:
        "audio_scale", "video_scale": (mean, deviation); a deviation of 1 where all are one number.

    Raises:
        ValueError: the description has none of this.
    """
    totals = info.statistics.get("train", {}).get("totals", {})
    if missing := [modality for modality in MODALITIES if modality not in totals]:
        raise ValueError(
            f"dataset {info.name!r} has no totals of {missing[0]}; write it again with "
            "beam_preprocess.run"
        )
    found = {}
    for modality in MODALITIES:
        count, total, squares = totals[modality]
        mean = total / count
        std = float(np.sqrt(max(squares / count - mean**2, 0.0)))
        found[f"{modality}_scale"] = (mean, std if std > 1e-6 * max(abs(mean), 1e-6) else 1.0)
    return found


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Draws rows, adds noise, and sometimes leaves sound or picture out, never both.

    Args:
        fields: as of `prepare_eval`.
        cfg: the `data.clip_features` section of a config, with `statistics`.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        As `prepare_eval`.
    """
    seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 6))
    prepared = {}
    for i, modality in enumerate(MODALITIES):
        rows, mask = _prepare(fields, cfg, modality, seeds[i])
        if cfg.noise:
            noise = tf.random.stateless_normal(rows.shape, seeds[2 + i])
            rows += cfg.noise * noise * tf.cast(mask, rows.dtype)[:, None]
        prepared |= {modality: rows, f"{modality}_mask": mask}
    heard = tf.random.stateless_uniform([], seeds[4]) >= cfg.audio_dropout
    seen = tf.random.stateless_uniform([], seeds[5]) >= cfg.video_dropout
    prepared["audio_mask"] &= heard | ~seen  # Where both were to go, both stay.
    prepared["video_mask"] &= seen | ~heard
    return prepared


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """The rows as evaluation and serving see them.

    Args:
        fields: "audio_features" and "video_features", float32, `[rows, width]` or these one after
            the other; rows of nothing but NaN are padding, as a batch of several clips needs it.
        cfg: the `data.clip_features` section of a config, with `statistics`.

    Returns:
        "audio" and "video": float32 `[length, width]`, in deviations from the mean, in
        [-clip, clip], 0 behind the last row. "audio_mask" and "video_mask": bool `[length]`, False
        there.
    """
    prepared = {}
    for modality in MODALITIES:
        rows, mask = _prepare(fields, cfg, modality, None)
        prepared |= {modality: rows, f"{modality}_mask": mask}
    return prepared


def _prepare(
    fields: Mapping[str, tf.Tensor], cfg: Any, modality: str, seed: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    length, width = cfg[f"{modality}_length"], cfg[f"{modality}_width"]
    values = fields[f"{modality}_features"]
    last = tf.shape(values)[-1]
    fits = tf.equal(last, width) if values.shape.rank == 2 else tf.equal(last % width, 0)
    with tf.control_dependencies(
        [tf.debugging.Assert(fits, [f"features of {modality} of another width than {width}"])]
    ):
        rows = tf.reshape(values, [-1, width])
    rows = tf.boolean_mask(rows, ~tf.reduce_all(tf.math.is_nan(rows), axis=1))
    count = tf.shape(rows)[0]
    with tf.control_dependencies(
        [
            tf.debugging.assert_positive(count, f"a clip without features of {modality}"),
            tf.debugging.assert_all_finite(rows, f"a feature of {modality} is NaN or infinite"),
        ]
    ):
        rows = tf.gather(rows, _places(count, length, seed))
    mean, std = cfg[f"{modality}_scale"]
    rows = tf.clip_by_value((rows - mean) / std, -cfg.clip, cfg.clip)
    rows = tf.pad(rows, [[0, tf.maximum(length - count, 0)], [0, 0]])
    return tf.ensure_shape(rows, [length, width]), tf.range(length) < count


def _places(count: tf.Tensor, length: int, seed: tf.Tensor | None) -> tf.Tensor:
    """int32: all rows of up to `length`, else one of each of `length` even stretches."""
    middle = tf.fill([length], 0.5)
    inside = middle if seed is None else tf.random.stateless_uniform([length], seed)
    stretch = tf.cast(count, tf.float32) / length
    drawn = tf.cast((tf.range(length, dtype=tf.float32) + inside) * stretch, tf.int32)
    return tf.where(count > length, tf.minimum(drawn, count - 1), tf.range(length))[
        : tf.minimum(count, length)
    ]
