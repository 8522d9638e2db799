"""Molecular profiles: one token a group of genes, each value normalised by the training patients'.

A record holds the values of all groups one after the other, NaN where something was not measured;
the dataset's description says which columns are a group, and sums from which the mean and the
deviation of every column follow. Expression has outliers of many thousands of deviations, so values
pass through asinh first.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.records import DatasetInfo, Feature

FEATURES = {"omics": Feature("float32", (None,))}
"""What the records of a dataset of molecular profiles must hold."""

_CONSTANT = 1e-6  # A deviation below this is rounding: the column says nothing.


def check(cfg: Any) -> None:
    """Checks `config.data.omics` before any work is done.

    Args:
        cfg: the `data.omics` section of a config.

    Raises:
        ValueError: `tokens` or `width` below 1, a `clip` that isn't above 0, a share outside
            [0, 1), or a negative `noise`.
    """
    for name in ("tokens", "width"):
        if cfg[name] < 1:
            raise ValueError(f"config.data.omics.{name}={cfg[name]} must be at least 1")
    if not cfg.clip > 0:
        raise ValueError(f"config.data.omics.clip={cfg.clip} must be greater than 0")
    for name in ("feature_dropout", "group_dropout"):
        if not 0 <= cfg[name] < 1:
            raise ValueError(f"config.data.omics.{name}={cfg[name]} is not in [0, 1)")
    if cfg.noise < 0:
        raise ValueError(f"config.data.omics.noise={cfg.noise} can't be negative")


def shape(cfg: Any) -> tuple[int, int]:
    """Shape (tokens, width) of one prepared profile."""
    return (cfg.tokens, cfg.width)


def statistics(info: DatasetInfo) -> dict[str, tuple]:
    """What a dataset's description says of its groups and of its training patients.

    Args:
        info: with the property "groups", {name: columns}, and the totals "count", "sum" and
            "squares" of asinh(value), by column, of the split "train".

    Returns:
        "sizes": of the groups; "mean" and "std": of asinh(value), by column. A column that is
        constant, or was never measured, has a deviation of 1.

    Raises:
        ValueError: the description has none of this.
    """
    groups = info.properties.get("groups")
    totals = info.statistics.get("train", {}).get("totals")
    if not groups or not totals:
        raise ValueError(
            f"dataset {info.name!r} doesn't say its groups of genes and their sums; write it again "
            "with beam_preprocess.run"
        )
    count = np.maximum(totals["count"], 1)
    mean = np.asarray(totals["sum"]) / count
    std = np.sqrt(np.maximum(np.asarray(totals["squares"]) / count - mean**2, 0))
    std = np.where(std < _CONSTANT, 1.0, std)
    sizes = tuple(len(columns) for columns in groups.values())
    return {"sizes": sizes, "mean": tuple(mean.tolist()), "std": tuple(std.tolist())}


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Normalises a profile, adds noise to it and leaves values and whole groups out.

    Args:
        fields: "omics": float32 `[n]`, NaN for what is missing.
        cfg: the `data.omics` section of a config, with `statistics`.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        As `prepare_eval`. A value stays with a probability of 1 - `feature_dropout` and is then
        divided by it; a group is masked with one of `group_dropout`, but never all of them.
    """
    noise_seed, value_seed, group_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    values, measured = _tokens(fields["omics"], cfg)
    if cfg.noise:
        values += cfg.noise * tf.random.stateless_normal(values.shape, noise_seed)
    if cfg.feature_dropout:
        draw = tf.random.stateless_uniform(values.shape, value_seed)
        values = tf.where(draw < cfg.feature_dropout, 0.0, values / (1 - cfg.feature_dropout))
    mask = tf.reduce_any(measured, axis=1)
    if cfg.group_dropout:
        draw = tf.random.stateless_uniform(mask.shape, group_seed)
        left = mask & (draw >= cfg.group_dropout)
        mask = tf.where(tf.reduce_any(left), left, mask)
    return {"omics": tf.where(measured, values, 0.0), "omics_mask": mask}


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Normalises a profile, as evaluation and serving see it.

    Args:
        fields: "omics": float32 `[n]`, NaN for what is missing.
        cfg: the `data.omics` section of a config, with `statistics`.

    Returns:
        "omics": float32 `[tokens, width]`, in deviations from the mean, in [-clip, clip]; 0 where
        nothing was measured and behind a group's last value. "omics_mask": bool `[tokens]`, False
        for groups of which nothing was measured.
    """
    values, measured = _tokens(fields["omics"], cfg)
    return {"omics": tf.where(measured, values, 0.0), "omics_mask": tf.reduce_any(measured, axis=1)}


def _tokens(values: tf.Tensor, cfg: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Normalised values float32 `[tokens, width]`, and which of them were measured, bool."""
    if (found := (len(cfg.sizes), max(cfg.sizes))) != (cfg.tokens, cfg.width):
        raise ValueError(
            f"the records have {found[0]} groups of at most {found[1]} genes; config.data.omics has"
            f" tokens={cfg.tokens} and width={cfg.width}: set these, in config.model.inputs too"
        )
    total = sum(cfg.sizes)
    places = np.full((cfg.tokens, cfg.width), total)  # One behind the last: not measured.
    for token, size in enumerate(cfg.sizes):
        start = sum(cfg.sizes[:token])
        places[token, :size] = np.arange(start, start + size)
    mean, std = (np.asarray(cfg[name], np.float32) for name in ("mean", "std"))
    given = tf.debugging.assert_equal(
        tf.size(values), total, f"a profile of another length than the {total} values it must have"
    )
    with tf.control_dependencies([given]):
        values = tf.ensure_shape(tf.identity(values), [total])
    normalised = tf.clip_by_value((tf.asinh(values) - mean) / std, -cfg.clip, cfg.clip)
    tokens = tf.gather(tf.concat([normalised, [math.nan]], 0), tf.constant(places))
    return tokens, tf.math.is_finite(tokens)
