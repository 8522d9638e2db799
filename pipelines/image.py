"""Pictures: from JPEG or PNG bytes to normalised pixels, augmented for training or as served.

Every picture goes through the same stages in the same order, those that the config switches off
left out: window of the encoded picture, flip, RandAugment on uint8, bicubic resize without
antialias or clamping (so values leave [0, 255]), rotation, pad and crop, normalisation. That is
the order of DeepMind's ImageNet recipe (deepmind-research, perceiver/train/dataset.py), with the
two stages of small pictures, rotation and pad-and-crop, put in. At the very end the pixels of every
picture may be put into another order, one for all: permuted ImageNet.

Every random number is drawn statelessly from the seed that the caller gives: the same seed gives
the same picture, whatever the thread, the order or `tf.random.set_seed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines import randaugment
from pipelines.records import Feature

FEATURES = {"image": Feature("bytes", ())}
"""What the records of an image dataset must hold."""

TRAIN_CROPS = ("inception", "pad", "none")

# Inception crops as Szegedy et al. (2015) draw them and DeepMind's ImageNet recipe has them.
_MIN_OBJECT_COVERED = 0.1
_ASPECT_RATIOS = (3 / 4, 4 / 3)
_CROP_ATTEMPTS = 10


def check(cfg: Any) -> None:
    """Checks `config.data.image` before any work is done.

    Args:
        cfg: the `data.image` section of a config.

    Raises:
        ValueError: an unknown `train_crop`; mean or std of another length than `channels`; a std of
            0; a share or range outside its bounds; RandAugment on other than 3 channels.
    """
    if cfg.train_crop not in TRAIN_CROPS:
        raise ValueError(
            f"config.data.image.train_crop={cfg.train_crop!r} is unknown: "
            f"choose one of {', '.join(TRAIN_CROPS)}"
        )
    for name in ("mean", "std"):
        values = cfg[name]
        if len(values) != cfg.channels:
            raise ValueError(
                f"config.data.image.{name} has {len(values)} values for channels={cfg.channels}: "
                "give one value a channel"
            )
    if min(cfg.std) <= 0:
        raise ValueError(f"config.data.image.std={tuple(cfg.std)} must be greater than 0")
    if not 0 < cfg.eval_crop <= 1:
        raise ValueError(
            f"config.data.image.eval_crop={cfg.eval_crop} must lie in (0, 1]: "
            "it is the share of the short side that evaluation keeps"
        )
    low, high = cfg.crop_area
    if not 0 < low <= high <= 1:
        raise ValueError(
            f"config.data.image.crop_area={tuple(cfg.crop_area)} must be (low, high) "
            "with 0 < low <= high <= 1"
        )
    if cfg.pad < 0 or cfg.rotate_degrees < 0 or cfg.randaugment_layers < 0:
        raise ValueError(
            "config.data.image: pad, rotate_degrees and randaugment_layers can't be negative; "
            "0 switches them off"
        )
    if cfg.randaugment_layers and cfg.channels != 3:
        raise ValueError(
            f"config.data.image: RandAugment needs 3 channels and channels={cfg.channels}: "
            "set randaugment_layers=0"
        )
    if not 0 <= cfg.randaugment_magnitude <= randaugment.MAX_MAGNITUDE:
        raise ValueError(
            f"config.data.image.randaugment_magnitude={cfg.randaugment_magnitude} "
            f"must lie in [0, {randaugment.MAX_MAGNITUDE}]"
        )
    if cfg.get("permutation_seed", 0) < 0:
        raise ValueError(
            f"config.data.image.permutation_seed={cfg.permutation_seed} can't be negative; "
            "0 leaves the pixels in their order"
        )


def shape(cfg: Any) -> tuple[int, int, int]:
    """Shape (height, width, channels) of one prepared picture."""
    return (*cfg.size, cfg.channels)


def permutation(cfg: Any) -> np.ndarray | None:
    """The order that the pixels of every picture are put into, after all else was done to it.

    It depends on `cfg.permutation_seed` and `cfg.size` alone, so that training, evaluation and the
    served model have the same one, in every process. Positions are attached to the permuted pixels:
    learned ones, the paper's permuted ImageNet (Perceiver, ICML 2021, section 4), have then to find
    out what is near to what; Fourier ones tell it wrongly. (The paper's Fourier models are permuted
    after positions are attached, which changes nothing.)

    Args:
        cfg: the `data.image` section of a config.

    Returns:
        int64 `[height * width]`: the pixel that comes first, the one that comes second, ...,
        counted row by row; None where `permutation_seed` is 0 or there is no such field.
    """
    seed = cfg.get("permutation_seed", 0)
    if not seed:
        return None
    # Sorting SeedSequence's numbers, since it promises them for every version of NumPy.
    keys = np.random.SeedSequence(seed).generate_state(math.prod(cfg["size"]), np.uint64)
    return np.argsort(keys, kind="stable")


def decode(image_bytes: tf.Tensor, channels: int) -> tf.Tensor:
    """Decodes a whole JPEG or PNG.

    Args:
        image_bytes: string scalar, the encoded picture.
        channels: 1 or 3; the picture is converted.

    Returns:
        uint8 `[H, W, channels]`.
    """
    image = tf.io.decode_image(image_bytes, channels, expand_animations=False)
    image.set_shape([None, None, channels])
    return image


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Decodes, augments, resizes and normalises one picture for training.

    Args:
        fields: "image": string scalar, JPEG or PNG.
        cfg: the `data.image` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        "image": float32 `[height, width, channels]`.
    """
    image_bytes = fields["image"]
    window_seed, flip_seed, randaugment_seed, rotate_seed, pad_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, 5)
    )
    if cfg.train_crop == "inception":
        image = _decode_window(
            image_bytes, cfg.channels, lambda size: inception_window(size, cfg, window_seed)
        )
    else:
        image = decode(image_bytes, cfg.channels)
    if cfg.flip:
        image = tf.image.stateless_random_flip_left_right(image, flip_seed)
    if cfg.randaugment_layers:
        image = randaugment.randaugment(
            image, cfg.randaugment_layers, cfg.randaugment_magnitude, randaugment_seed
        )
    image = _resize(image, cfg)
    if cfg.rotate_degrees:
        image = _rotate(image, cfg.rotate_degrees, rotate_seed)
    if cfg.train_crop == "pad" and cfg.pad:
        image = _pad_and_crop(image, cfg.pad, pad_seed)
    return {"image": _permute(_normalise(image, cfg), cfg)}


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Decodes, crops, resizes and normalises one picture as evaluation and serving see it.

    The centre square of `cfg.eval_crop` of the short side is resized to `cfg.size`; with
    `eval_crop=1.0` and a `train_crop` other than "inception", the whole picture is. Only
    TensorFlow's own operations: it works in `tf.map_fn` and in a SavedModel.

    Args:
        fields: "image": string scalar, JPEG or PNG.
        cfg: the `data.image` section of a config.

    Returns:
        "image": float32 `[height, width, channels]`.
    """
    image_bytes = fields["image"]
    if cfg.train_crop != "inception" and cfg.eval_crop == 1.0:
        image = decode(image_bytes, cfg.channels)
    else:
        image = _decode_window(
            image_bytes, cfg.channels, lambda size: centre_window(size, cfg.eval_crop)
        )
    return {"image": _permute(_normalise(_resize(image, cfg), cfg), cfg)}


def _decode_window(
    image_bytes: tf.Tensor, channels: int, choose: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Decodes the window that `choose(int32 [H, W, C]) -> int32 [y, x, h, w]` selects.

    The size of a JPEG is in its header and a window of it is decoded alone, in about half the
    time; other formats are decoded whole.
    """

    def jpeg() -> tf.Tensor:
        window = choose(tf.io.extract_jpeg_shape(image_bytes))
        return tf.io.decode_and_crop_jpeg(image_bytes, window, channels)

    def other() -> tf.Tensor:
        image = decode(image_bytes, channels)
        top, left, height, width = tf.unstack(choose(tf.shape(image)))
        return image[top : top + height, left : left + width]

    image = tf.cond(tf.io.is_jpeg(image_bytes), jpeg, other)
    image.set_shape([None, None, channels])
    return image


def inception_window(size: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """A random box of the picture, int32 `[y, x, h, w]`; the centre square where none was found."""
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        size,
        bounding_boxes=tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
        seed=seed,
        min_object_covered=_MIN_OBJECT_COVERED,
        aspect_ratio_range=_ASPECT_RATIOS,
        area_range=tuple(cfg.crop_area),
        max_attempts=_CROP_ATTEMPTS,
        use_image_if_no_bounding_boxes=True,
    )
    window = tf.concat([begin[:2], extent[:2]], axis=0)
    # The sampler says that it failed by returning the whole picture.
    failed = tf.reduce_all(tf.equal(extent[:2], size[:2]))
    return tf.where(failed, centre_window(size, cfg.eval_crop), window)


def centre_window(size: tf.Tensor, share: float) -> tf.Tensor:
    """The centre square of `share` of the short side, int32 `[y, x, h, w]`."""
    short = tf.cast(tf.minimum(size[0], size[1]), tf.float32)
    side = tf.maximum(tf.cast(share * short, tf.int32), 1)
    return tf.stack([(size[0] - side + 1) // 2, (size[1] - side + 1) // 2, side, side])


def _resize(image: tf.Tensor, cfg: Any) -> tf.Tensor:
    """Bicubic resize (Keys, a = -0.5) to float32 `[height, width, C]`."""
    return tf.cast(tf.image.resize(image, tuple(cfg.size), "bicubic"), tf.float32)


def _rotate(image: tf.Tensor, degrees: float, seed: tf.Tensor) -> tf.Tensor:
    """Turns by a random angle within ±`degrees`, bilinear, black outside the picture."""
    bound = math.radians(degrees)
    angle = tf.random.stateless_uniform([], seed, -bound, bound)
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=randaugment.rotation(angle, tf.shape(image))[None],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[0]
    return tf.ensure_shape(turned, image.shape)


def _pad_and_crop(image: tf.Tensor, pad: int, seed: tf.Tensor) -> tf.Tensor:
    """Pads with black on every side and crops back to the size at a random place."""
    height, width, channels = image.shape
    padded = tf.pad(image, [[pad, pad], [pad, pad], [0, 0]])
    offset = tf.random.stateless_uniform([2], seed, maxval=2 * pad + 1, dtype=tf.int32)
    return tf.slice(padded, [offset[0], offset[1], 0], [height, width, channels])


def _normalise(image: tf.Tensor, cfg: Any) -> tf.Tensor:
    """Maps [0, 255] to (value / 255 - mean) / std, a channel at a time."""
    mean = tf.constant(tuple(cfg.mean), tf.float32)
    std = tf.constant(tuple(cfg.std), tf.float32)
    return (image - 255.0 * mean) / (255.0 * std)


def _permute(image: tf.Tensor, cfg: Any) -> tf.Tensor:
    """Puts the pixels into the order of `permutation`, if there is one."""
    order = permutation(cfg)
    if order is None:
        return image
    pixels = tf.reshape(image, [-1, cfg.channels])
    return tf.reshape(tf.gather(pixels, order.astype(np.int32)), shape(cfg))
