"""RandAugment as DeepMind's ImageNet recipe applies it, every random number drawn statelessly."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

# RandAugment's constants in DeepMind's ImageNet recipe (perceiver/train/autoaugment.py).
OPERATIONS = (
    "AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "Color", "Contrast",
    "Brightness", "Sharpness", "ShearX", "ShearY", "TranslateX", "TranslateY", "Cutout",
    "SolarizeAdd",
)  # fmt: skip
MAX_MAGNITUDE = 10
_CUTOUT_CONST = 40
_TRANSLATE_CONST = 100
_FILL = 128


def randaugment(image: tf.Tensor, layers: int, magnitude: float, seed: tf.Tensor) -> tf.Tensor:
    """RandAugment (arXiv 1909.13719) as DeepMind's ImageNet recipe applies it.

    In each layer one of the 16 `OPERATIONS`, drawn uniformly, is applied; the sign of a rotation,
    shear or translation and the place of a cutout are drawn too. Translations and cutouts are in
    pixels and made for ImageNet: at magnitude 5, 50 pixels and a square of 40, which leave nothing
    of a 32-pixel picture.

    tf-models-official's own `RandAugment` draws from the global generator (operation,
    probability, sign, cutout place), skips a layer once in 17 times, and reflects the border where
    the paper's code fills with grey 128. So only its deterministic image functions are used here.

    Args:
        image: uint8 `[H, W, 3]`.
        layers: number of operations applied one after another.
        magnitude: strength in [0, 10]. At 5 the factor of Color, Contrast, Brightness and
            Sharpness is exactly 1, which leaves the picture as it is; so it does in the paper's.
        seed: int64 `[2]`.

    Returns:
        uint8 `[H, W, 3]`.
    """
    choice_seed, place_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    choices = tf.random.stateless_uniform(
        [layers], choice_seed, maxval=len(OPERATIONS), dtype=tf.int32
    )
    draws = tf.random.stateless_uniform([layers, 3], place_seed)
    for layer in range(layers):
        sign = tf.where(draws[layer, 0] < 0.5, -1.0, 1.0)
        operations = operations_at(image, magnitude, sign, draws[layer, 1:])
        image = tf.switch_case(choices[layer], [operations[name] for name in OPERATIONS])
        image.set_shape([None, None, 3])
    return image


def operations_at(
    image: tf.Tensor, magnitude: float, sign: tf.Tensor, place: tf.Tensor
) -> dict[str, Callable[[], tf.Tensor]]:
    """The 16 operations at one magnitude, each ready to be applied to `image`.

    Args:
        image: uint8 `[H, W, 3]`.
        magnitude: strength in [0, 10].
        sign: float32 scalar, -1 or 1.
        place: float32 `[2]` in [0, 1), the cutout's centre as shares of height and width.

    Returns:
        Operation name -> function without arguments that returns uint8 `[H, W, 3]`.
    """
    from official.vision.ops import augment  # 3 s to import, wanted by few configs

    level = magnitude / MAX_MAGNITUDE
    enhance = 1.8 * level + 0.1
    shear = sign * 0.3 * level
    shift = sign * _TRANSLATE_CONST * level
    threshold = int(256 * level)

    def warp(transform: list | tf.Tensor) -> tf.Tensor:
        return augment.transform(image, transform, fill_mode="constant", fill_value=float(_FILL))

    def turn() -> tf.Tensor:
        return warp(rotation(sign * math.radians(30 * level), tf.shape(image)))

    return {
        "AutoContrast": lambda: augment.autocontrast(image),
        "Equalize": lambda: augment.equalize(image),
        "Invert": lambda: augment.invert(image),
        "Rotate": turn,
        "Posterize": lambda: augment.posterize(image, int(4 * level)),
        # At magnitude 10 the threshold is 256, which uint8 can't hold: no pixel reaches it.
        "Solarize": lambda: augment.solarize(image, threshold) if threshold < 256 else image,
        "Color": lambda: augment.color(image, enhance),
        "Contrast": lambda: augment.contrast(image, enhance),
        "Brightness": lambda: augment.brightness(image, enhance),
        "Sharpness": lambda: augment.sharpness(image, enhance),
        "ShearX": lambda: warp([1.0, shear, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]),
        "ShearY": lambda: warp([1.0, 0.0, 0.0, shear, 1.0, 0.0, 0.0, 0.0]),
        "TranslateX": lambda: warp([1.0, 0.0, shift, 0.0, 1.0, 0.0, 0.0, 0.0]),
        "TranslateY": lambda: warp([1.0, 0.0, 0.0, 0.0, 1.0, shift, 0.0, 0.0]),
        "Cutout": lambda: _cutout(image, int(_CUTOUT_CONST * level), place),
        "SolarizeAdd": lambda: augment.solarize_add(image, int(110 * level)),
    }


def _cutout(image: tf.Tensor, half: int, place: tf.Tensor) -> tf.Tensor:
    """Greys the square of side 2 * half round a centre, clipped at the border."""
    size = tf.shape(image)[:2]
    centre = tf.cast(place * tf.cast(size, tf.float32), tf.int32)

    def inside(axis: int) -> tf.Tensor:
        index = tf.range(size[axis])
        return (index >= centre[axis] - half) & (index < centre[axis] + half)

    mask = inside(0)[:, None] & inside(1)[None, :]
    return tf.where(mask[:, :, None], tf.constant(_FILL, image.dtype), image)


def rotation(radians: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Projective transform, float32 `[8]`, that turns a picture `[H, W, ...]` about its centre."""
    cos, sin = tf.cos(radians), tf.sin(radians)
    middle = (tf.cast(size[:2], tf.float32) - 1) / 2
    y, x = middle[0], middle[1]
    zero = tf.zeros([])
    return tf.stack([cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y, zero, zero])
