"""Irregular series: measurements as a set of (hour, variable, value), normalised, of fixed size.

Every measurement is one input of the model, so nothing is imputed and nothing is binned. A stay
with more of them than `length` gives a random subset in training and a fixed one in evaluation; a
shorter one is padded, which the mask tells. What describes the stay as a whole is always kept.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.readers.variables import LAYOUTS
from pipelines.records import DatasetInfo, Feature

FEATURES = {
    "hour": Feature("float32", (None,)),
    "variable": Feature("int64", (None,)),
    "value": Feature("float32", (None,)),
}
"""What the records of a dataset of series must hold."""

# Evaluation takes the same subset of a stay every time, and serving takes that of evaluation.
_EVAL_SEED = (2012, 48)
_SMALLEST_STD = 1e-6  # Relative to the mean: what varies less is a constant with rounding errors.


def check(cfg: Any) -> None:
    """Checks `config.data.series` before any work is done.

    Args:
        cfg: the `data.series` section of a config.

    Raises:
        ValueError: a count or a bound that isn't positive, `drop` or `hide` outside [0, 1).
    """
    for name in ("length", "variables"):
        if cfg[name] < 1:
            raise ValueError(f"config.data.series.{name}={cfg[name]} must be at least 1")
    for name in ("hours", "limit"):
        if cfg[name] <= 0:
            raise ValueError(f"config.data.series.{name}={cfg[name]} must be greater than 0")
    for name in ("drop", "hide"):
        if not 0 <= cfg[name] < 1:
            raise ValueError(
                f"config.data.series.{name}={cfg[name]} must be in [0, 1); 0 keeps them all"
            )


def shape(cfg: Any) -> tuple[int, int]:
    """Shape (measurements, 2) of one prepared stay."""
    return (cfg.length, 2)


def statistics(info: DatasetInfo) -> dict[str, tuple]:
    """What values are normalised by: mean and deviation of every variable in the training split.

    Args:
        info: whose statistics of "train" have the totals "count", "sum" and "squares", and whose
            property "layout" says which variables are looked at by their logarithm.

    Returns:
        "mean", "std", "offset": a float for every variable, of the logarithm where `offset` isn't
        0; a variable that training never sees has mean 0 and deviation 1. "descriptor": a bool.

    Raises:
        ValueError: records without these.
    """
    layout = LAYOUTS.get(info.properties.get("layout"))
    totals = info.statistics.get("train", {}).get("totals")
    if layout is None or totals is None:
        raise ValueError(
            f"dataset {info.name!r} has no layout of {', '.join(LAYOUTS)}, or no totals of its "
            "training split: write it with beam_preprocess.run"
        )
    count, total, squares = (np.array(totals[name]) for name in ("count", "sum", "squares"))
    mean = total / np.maximum(count, 1)
    std = np.sqrt(np.maximum(squares / np.maximum(count, 1) - mean**2, 0))
    std = np.where(std > _SMALLEST_STD * np.maximum(np.abs(mean), 1), std, 1.0)
    return {
        "mean": tuple(mean.tolist()),
        "std": tuple(std.tolist()),
        "offset": tuple(float(variable.offset) for variable in layout.variables),
        "descriptor": tuple(variable.descriptor for variable in layout.variables),
    }


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """A random subset of the measurements, as large as `cfg.length` allows.

    Each measurement is left out with probability `drop`, and with probability `hide` all those of a
    variable: so no single one of them decides, and none is relied on to be there. What describes
    the stay as a whole stays.

    Args:
        fields: "hour": float32 `[n]`, "variable": int64 `[n]`, "value": float32 `[n]`, n >= 1.
        cfg: the `data.series` section of a config, with `statistics`.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        As `prepare_eval`.
    """
    order_seed, drop_seed, hide_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    fields = {name: fields[name] for name in FEATURES}
    if cfg.drop or cfg.hide:
        variable = fields["variable"]
        kept = tf.random.stateless_uniform([tf.size(variable)], drop_seed) >= cfg.drop
        seen = tf.random.stateless_uniform([cfg.variables], hide_seed) >= cfg.hide
        kept &= tf.gather(seen, variable)
        kept |= _is_descriptor(variable, cfg)
        # Never nothing: then the first stays.
        kept |= ~tf.reduce_any(kept) & (tf.range(tf.size(variable)) == 0)
        fields = {name: tf.boolean_mask(field, kept) for name, field in fields.items()}
    return _prepare(fields, cfg, order_seed)


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """The measurements as evaluation and serving see them: all, or a fixed subset.

    Args:
        fields: "hour": float32 `[n]`, "variable": int64 `[n]`, "value": float32 `[n]`; entries
            with a negative variable are padding, as a batch of several stays needs it.
        cfg: the `data.series` section of a config, with `statistics`.

    Returns:
        "series": float32 `[length, 2]`, the time in [-1, 1] and the normalised value in
        [-limit, limit]; "series_variable": int32 `[length]`; "series_mask": bool `[length]`, False
        for padding. In the record's order.
    """
    return _prepare(fields, cfg, tf.constant(_EVAL_SEED, tf.int64))


def _prepare(fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    real = fields["variable"] >= 0
    hour, variable, value = (tf.boolean_mask(fields[name], real) for name in FEATURES)
    with tf.control_dependencies(
        [
            tf.debugging.assert_positive(tf.size(hour), "a stay without measurements: give some"),
            tf.debugging.assert_less(
                variable, tf.constant(cfg.variables, tf.int64), "a variable of no known number"
            ),
            tf.debugging.assert_all_finite(hour, "an hour is NaN or infinite"),
            tf.debugging.assert_all_finite(value, "a value is NaN or infinite"),
        ]
    ):
        chosen = _subset(variable, cfg, seed)
    hour, variable, value = (tf.gather(x, chosen) for x in (hour, variable, value))
    time = 2 * tf.clip_by_value(hour / cfg.hours, 0.0, 1.0) - 1
    padding = cfg.length - tf.size(chosen)
    series = tf.pad(tf.stack([time, _normalised(variable, value, cfg)], 1), [[0, padding], [0, 0]])
    return {
        "series": tf.ensure_shape(series, shape(cfg)),
        "series_variable": tf.ensure_shape(
            tf.pad(tf.cast(variable, tf.int32), [[0, padding]]), [cfg.length]
        ),
        "series_mask": tf.range(cfg.length) < tf.size(chosen),
    }


def _subset(variable: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """Indices of at most `cfg.length` measurements in rising order, descriptors before others."""
    draw = tf.random.stateless_uniform([tf.size(variable)], seed)
    draw = tf.where(_is_descriptor(variable, cfg), -1.0, draw)
    return tf.sort(tf.argsort(draw, stable=True)[: cfg.length])


def _is_descriptor(variable: tf.Tensor, cfg: Any) -> tf.Tensor:
    # Of padding, whose number is negative, nothing is asked.
    return tf.gather(tf.constant(cfg.descriptor, tf.bool), tf.maximum(variable, 0))


def _normalised(variable: tf.Tensor, value: tf.Tensor, cfg: Any) -> tf.Tensor:
    mean, std, offset = (
        tf.gather(tf.constant(cfg[name], tf.float32), variable)
        for name in ("mean", "std", "offset")
    )
    # A client may send a value that the reader would leave out; its logarithm must exist too.
    logarithm = tf.math.log(tf.maximum(value + offset, 1e-6))
    scaled = (tf.where(offset > 0, logarithm, value) - mean) / std
    return tf.clip_by_value(scaled, -cfg.limit, cfg.limit)
