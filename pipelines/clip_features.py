"""Features of clips: rows of sound and rows of picture, normalised, of fixed size with a mask.

All numbers of a modality are normalised by one mean and one deviation, those of the training split.
`pipelines.rows` says which rows of a long clip the model reads.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines import rows
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
    return {f"{modality}_scale": rows.scale(*totals[modality]) for modality in MODALITIES}


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
        found, mask = _prepare(fields, cfg, modality, seeds[i])
        found = rows.noisy(found, mask, cfg.noise, seeds[2 + i])
        prepared |= {modality: found, f"{modality}_mask": mask}
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
        found, mask = _prepare(fields, cfg, modality, None)
        prepared |= {modality: found, f"{modality}_mask": mask}
    return prepared


def _prepare(
    fields: Mapping[str, tf.Tensor], cfg: Any, modality: str, seed: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    values, width = fields[f"{modality}_features"], cfg[f"{modality}_width"]
    found, mask = rows.fixed(values, width, cfg[f"{modality}_length"], seed, modality)
    with tf.control_dependencies(
        [tf.debugging.Assert(mask[0], [f"a clip without features of {modality}"])]
    ):
        return rows.normalised(found, mask, cfg[f"{modality}_scale"], cfg.clip), mask
