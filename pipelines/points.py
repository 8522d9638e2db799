"""Point clouds: subset, augment and normalise.

The recipe is the Perceiver's for ModelNet40 (Perceiver, ICML 2021, section on point clouds): centre
the cloud, in training scale every point by its own factor in [0.99, 1.01], then normalise to zero
mean and the unit cube. "Unit cube" here: the centred cloud is divided by its largest absolute
coordinate, so that values lie in [-1, 1]; one factor for the three axes, hence shapes keep their
proportions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines.records import Feature

FEATURES = {"points": Feature("float32", (None, 3))}
"""What the records of a dataset of point clouds must hold."""

# Evaluation takes the same subset of a cloud every time, and serving takes that of evaluation.
_EVAL_SEED = (20210304, 2103)


def check(cfg: Any) -> None:
    """Checks `config.data.points` before any work is done.

    Args:
        cfg: the `data.points` section of a config.

    Raises:
        ValueError: `num_points` below 1, a `scale` that isn't 0 < low <= high, or a negative
            `translate`.
    """
    if cfg.num_points < 1:
        raise ValueError(f"config.data.points.num_points={cfg.num_points} must be at least 1")
    low, high = cfg.scale
    if not 0 < low <= high:
        raise ValueError(
            f"config.data.points.scale={tuple(cfg.scale)} must be (low, high) with 0 < low <= high"
        )
    if cfg.translate < 0:
        raise ValueError(
            f"config.data.points.translate={cfg.translate} can't be negative; 0 switches it off"
        )


def shape(cfg: Any) -> tuple[int, int]:
    """Shape (points, 3) of one prepared cloud."""
    return (cfg.num_points, 3)


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Takes a random subset of a cloud, augments and normalises it.

    Scaling acts about the centre, so the cloud is centred first; a translation would be undone by
    the normalisation, so it comes last, in units of the cube's half side.

    Args:
        fields: "points": float32 `[n, 3]`, n >= 1.
        cfg: the `data.points` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        "points": float32 `[num_points, 3]`; where the cloud has fewer points, all of them and some
        again.
    """
    order_seed, scale_seed, rotate_seed, translate_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, 4)
    )
    points = _centre(_subset(fields["points"], cfg.num_points, order_seed))
    low, high = cfg.scale
    if low != 1 or high != 1:
        points *= tf.random.stateless_uniform([cfg.num_points, 1], scale_seed, low, high)
    if cfg.rotate:
        points = _rotate(points, rotate_seed)
    points = _unit_cube(_centre(points))
    if cfg.translate:
        points += tf.random.stateless_uniform([3], translate_seed, -cfg.translate, cfg.translate)
    return {"points": points}


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Takes a fixed subset of a cloud and normalises it, as evaluation and serving see it.

    The subset is drawn by one fixed permutation, the same for every cloud of n points: files are
    often sorted (by part, scan line or farthest-point order), and the first `num_points` of them
    would be a part of the shape. Only TensorFlow's own operations.

    Args:
        fields: "points": float32 `[n, 3]`, n >= 1.
        cfg: the `data.points` section of a config.

    Returns:
        "points": float32 `[num_points, 3]`.
    """
    seed = tf.constant(_EVAL_SEED, tf.int64)
    return {"points": _unit_cube(_centre(_subset(fields["points"], cfg.num_points, seed)))}


def _subset(points: tf.Tensor, num_points: int, seed: tf.Tensor) -> tf.Tensor:
    """The first `num_points` of a random permutation, repeated from its start where it is short."""
    count = tf.shape(points)[0]
    with tf.control_dependencies(
        [tf.debugging.assert_positive(count, "a point cloud without points: give at least one")]
    ):
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed)
    return tf.gather(points, tf.gather(order, tf.range(num_points) % count))


def _centre(points: tf.Tensor) -> tf.Tensor:
    """Subtracts the mean point."""
    return points - tf.reduce_mean(points, axis=0, keepdims=True)


def _unit_cube(points: tf.Tensor) -> tf.Tensor:
    """Divides by the largest absolute coordinate; a cloud of one place stays at the origin."""
    return tf.math.divide_no_nan(points, tf.reduce_max(tf.abs(points)))


def _rotate(points: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turns by a random angle about z, the up axis of ModelNet's aligned meshes."""
    angle = tf.random.stateless_uniform([], seed, 0.0, 2 * math.pi)
    cos, sin = tf.cos(angle), tf.sin(angle)
    x, y, z = tf.unstack(points, axis=1)
    return tf.stack([cos * x - sin * y, sin * x + cos * y, z], axis=1)
