"""MixUp and CutMix of two examples, as functions of the example's position in the stream.

MixUp (arXiv 1710.09412) blends two pictures with a ratio from Beta(alpha, alpha); CutMix (arXiv
1905.04899) pastes a box of the second into the first. DeepMind's ImageNet recipe draws twice the
batch and makes half of the outputs with each (perceiver/train/dataset.py); here examples at even
positions are MixUp's and those at odd ones CutMix's.

An example costs two records that way, and most of the time of small pictures is their decoding.
With `both_ways`, each pair of records gives two examples, the first mixed with the second and the
second with the first, each with a ratio and a box of its own: an example costs one record. Its
first record is then the larger part of a MixUp; else half of the pairs would show one record twice
and the other hardly. The blends of one and the other are as likely as before, for Beta(alpha,
alpha) is symmetric and the order of the records is random.

tf-models-official's `MixupAndCutmix` isn't used: it draws from the global generator, mixes an
example with its mirror image in the batch, so that the result depends on how the batch is cut, and
samples its ratio from Gamma(1, rate=alpha) instead of Beta(alpha, alpha).
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def check(cfg: Any) -> None:
    """Checks `config.data.mixing` before any work is done.

    Args:
        cfg: the `data.mixing` section of a config.

    Raises:
        ValueError: a negative `mixup_alpha`.
    """
    if cfg.mixup_alpha < 0:
        raise ValueError(
            f"config.data.mixing.mixup_alpha={cfg.mixup_alpha} can't be negative; 0 switches it off"
        )


def group(cfg: Any | None) -> tuple[int, int]:
    """How many consecutive records are mixed with each other, and how many examples they give.

    Args:
        cfg: the `data.mixing` section of a config, or None where it has none.

    Returns:
        (records, examples): (1, 1) where nothing is mixed, else (2, 1), or (2, 2) for `both_ways`.
    """
    if cfg is None or not (cfg.mixup_alpha or cfg.cutmix):
        return 1, 1
    return 2, 2 if cfg.get("both_ways") else 1  # Workdirs older than the field don't have it.


def mix(
    images: tf.Tensor,
    labels: tf.Tensor,
    cfg: Any,
    position: tf.Tensor,
    seed: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Mixes two examples by what the config switches on and the position chooses.

    Args:
        images: float32 `[2, H, W, C]`, height and width static.
        labels: float32 `[2, num_classes]`.
        cfg: the `data.mixing` section of a config, at least one of its kinds on.
        position: int64 scalar; with both kinds on, even is MixUp and odd is CutMix.
        seed: int64 `[2]`.

    Returns:
        The mixed image float32 `[H, W, C]` and label float32 `[num_classes]`.
    """

    def blend() -> tuple[tf.Tensor, tf.Tensor]:
        both_ways = group(cfg)[1] == 2
        return mixup(images, labels, cfg.mixup_alpha, seed, first_larger=both_ways)

    if not cfg.cutmix:
        return blend()
    if not cfg.mixup_alpha:
        return cutmix(images, labels, seed)
    return tf.cond(position % 2 == 0, blend, lambda: cutmix(images, labels, seed))


def mixup(
    images: tf.Tensor,
    labels: tf.Tensor,
    alpha: float,
    seed: tf.Tensor,
    *,
    first_larger: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends two examples: ratio * first + (1 - ratio) * second, ratio from Beta(alpha, alpha).

    Args:
        images: float32 `[2, H, W, C]`.
        labels: float32 `[2, num_classes]`.
        alpha: both parameters of the Beta distribution, greater than 0.
        seed: int64 `[2]`.
        first_larger: whether a ratio below a half becomes its complement.

    Returns:
        The mixed image float32 `[H, W, C]` and label float32 `[num_classes]`.
    """
    # Beta(a, a) is G1 / (G1 + G2) of two Gamma(a). With a = 0.2 both can underflow to 0.
    gammas = tf.random.stateless_gamma([2], seed, alpha)
    ratio = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    if first_larger:
        ratio = tf.maximum(ratio, 1 - ratio)
    return (
        ratio * images[0] + (1 - ratio) * images[1],
        ratio * labels[0] + (1 - ratio) * labels[1],
    )


def cutmix(images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Pastes a box of the second picture into the first; labels by the area that each really has.

    The box has the picture's proportions, a share of its area drawn uniformly from [0, 1), and a
    centre drawn uniformly; it is clipped at the border, so its true area may be smaller.

    Args:
        images: float32 `[2, H, W, C]`, height and width static.
        labels: float32 `[2, num_classes]`.
        seed: int64 `[2]`.

    Returns:
        The mixed image float32 `[H, W, C]` and label float32 `[num_classes]`.
    """
    _, height, width, _ = images.shape
    area, y, x = tf.unstack(tf.random.stateless_uniform([3], seed))
    side = tf.sqrt(area)

    def inside(centre: tf.Tensor, length: int) -> tf.Tensor:
        half = tf.cast(side * length, tf.int32) // 2
        middle = tf.cast(centre * length, tf.int32)
        index = tf.range(length)
        return (index >= middle - half) & (index < middle + half)

    box = inside(y, height)[:, None] & inside(x, width)[None, :]
    ratio = tf.reduce_mean(tf.cast(box, tf.float32))
    return (
        tf.where(box[:, :, None], images[1], images[0]),
        (1 - ratio) * labels[0] + ratio * labels[1],
    )
