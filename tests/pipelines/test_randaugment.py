"""RandAugment's operations against Pillow and NumPy, and the draw that chooses among them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from pipelines import randaugment


def _picture(height: int = 37, width: int = 45) -> np.ndarray:
    """A smooth picture with some noise, different in each channel: uint8 [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width] / [[[height]], [[width]]]
    smooth = np.stack([40 + 150 * x, 20 + 200 * y, 60 + 90 * (x * y)], axis=-1)
    noise = np.random.default_rng(0).normal(0, 8, smooth.shape)
    return np.clip(smooth + noise, 0, 255).astype(np.uint8)


def _apply(name: str, magnitude: float, sign: float = 1.0, place=(0.5, 0.5)) -> np.ndarray:
    operations = randaugment.operations_at(
        tf.constant(_picture()), magnitude, tf.constant(sign), tf.constant(place, tf.float32)
    )
    return operations[name]().numpy()


def _nearest(picture: np.ndarray, row, column) -> np.ndarray:
    """picture[row(y, x), column(y, x)], grey 128 outside."""
    height, width, _ = picture.shape
    y, x = np.mgrid[0:height, 0:width]
    rows, columns = np.rint(row(y, x)).astype(int), np.rint(column(y, x)).astype(int)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    picked = picture[rows.clip(0, height - 1), columns.clip(0, width - 1)]
    return np.where(inside[..., None], picked, 128)


POINTWISE = {
    "AutoContrast": (8, lambda pil: ImageOps.autocontrast(pil), 1),
    "Equalize": (8, lambda pil: ImageOps.equalize(pil), 0),
    "Invert": (8, lambda pil: ImageOps.invert(pil), 0),
    "Posterize": (5, lambda pil: ImageOps.posterize(pil, 2), 0),
    "Solarize": (5, lambda pil: ImageOps.solarize(pil, 128), 0),
    "Color": (8, lambda pil: ImageEnhance.Color(pil).enhance(1.54), 2),
    "Brightness": (2, lambda pil: ImageEnhance.Brightness(pil).enhance(0.46), 1),
    "Sharpness": (8, lambda pil: ImageEnhance.Sharpness(pil).enhance(1.54), 1),
}


@pytest.mark.parametrize("name", POINTWISE)
def test_pointwise_operations_equal_pillows(name):
    magnitude, reference, tolerance = POINTWISE[name]
    expected = np.asarray(reference(Image.fromarray(_picture()))).astype(int)

    assert np.abs(_apply(name, magnitude).astype(int) - expected).max() <= tolerance


def test_solarize_add_brightens_what_is_dark():
    picture = _picture().astype(int)
    expected = np.where(picture < 128, np.minimum(picture + 55, 255), picture)
    np.testing.assert_array_equal(_apply("SolarizeAdd", 5), expected)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize(
    ("name", "row", "column"),
    [
        ("ShearX", lambda y, x, s: y, lambda y, x, s: x + s * 0.21 * y),
        ("ShearY", lambda y, x, s: y + s * 0.21 * x, lambda y, x, s: x),
        ("TranslateX", lambda y, x, s: y, lambda y, x, s: x + s * 10),
        ("TranslateY", lambda y, x, s: y + s * 10, lambda y, x, s: x),
    ],
)
def test_warps_move_pixels_and_fill_with_grey(name, row, column, sign):
    magnitude = 1 if name.startswith("Translate") else 7
    expected = _nearest(_picture(), lambda y, x: row(y, x, sign), lambda y, x: column(y, x, sign))

    result = _apply(name, magnitude, sign)

    np.testing.assert_array_equal(result, expected)
    assert (expected == 128).all(axis=-1).any()


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_rotate_turns_about_the_centre_and_fills_with_grey(sign):
    picture = _picture()
    angle = sign * math.radians(15)
    cy, cx = (picture.shape[0] - 1) / 2, (picture.shape[1] - 1) / 2
    expected = _nearest(
        picture,
        lambda y, x: cy + (x - cx) * math.sin(angle) + (y - cy) * math.cos(angle),
        lambda y, x: cx + (x - cx) * math.cos(angle) - (y - cy) * math.sin(angle),
    )

    assert (_apply("Rotate", 5, sign) == expected).all(axis=-1).mean() > 0.99


def test_rotation_by_a_right_angle_moves_every_pixel():
    square = tf.reshape(tf.range(25.0), [5, 5, 1])
    turned = tf.raw_ops.ImageProjectiveTransformV3(
        images=square[None],
        transforms=randaugment.rotation(tf.constant(math.pi / 2), tf.shape(square))[None],
        output_shape=[5, 5],
        fill_value=-1.0,
        interpolation="NEAREST",
        fill_mode="CONSTANT",
    )
    np.testing.assert_array_equal(turned[0], np.rot90(square.numpy()))


@pytest.mark.parametrize("place", [(0.0, 0.0), (0.5, 0.4), (0.999, 0.999)])
def test_cutout_greys_a_clipped_square(place):
    expected = _picture()
    y, x = int(place[0] * 37), int(place[1] * 45)
    expected[max(y - 8, 0) : y + 8, max(x - 8, 0) : x + 8] = 128

    np.testing.assert_array_equal(_apply("Cutout", 2, place=place), expected)


@pytest.mark.parametrize("name", ["Color", "Contrast", "Brightness", "Sharpness"])
def test_the_papers_magnitude_leaves_four_operations_without_effect(name):
    np.testing.assert_array_equal(_apply(name, 5), _picture())


@pytest.mark.parametrize("magnitude", [0, 5, 10])
def test_every_operation_keeps_shape_and_type_at_every_magnitude(magnitude):
    assert len(randaugment.OPERATIONS) == len(set(randaugment.OPERATIONS)) == 16
    for name in randaugment.OPERATIONS:
        result = _apply(name, magnitude, sign=-1.0)
        assert result.dtype == np.uint8, name
        assert result.shape == (37, 45, 3), name


def test_each_layer_draws_among_all_sixteen_uniformly_with_both_signs(monkeypatch):
    def numbered(image, magnitude, sign, place):
        """Operation i at layer l appends its number to the picture's history, one base-40 digit."""
        history = tf.cast(image, tf.int32)

        def operation(index):
            return lambda: history * 40 + 2 * index + tf.cast(sign > 0, tf.int32)

        return {name: operation(i) for i, name in enumerate(randaugment.OPERATIONS)}

    monkeypatch.setattr(randaugment, "operations_at", numbered)
    histories = (
        tf.data.Dataset.range(1600)
        .map(
            lambda number: randaugment.randaugment(
                tf.zeros([1, 1, 3], tf.int32), 2, 5, tf.stack([1, number])
            )
        )
        .batch(1600)
        .get_single_element()
        .numpy()[:, 0, 0, 0]
    )

    for layer in (histories // 40, histories % 40):
        counts = np.bincount(layer, minlength=32)
        assert counts[:32].min() > 25  # 50 expected, standard deviation 7
        assert counts[:32].max() < 80
    table = np.zeros((16, 16))
    np.add.at(table, (histories // 80, histories % 40 // 2), 1)
    assert (table > 0).mean() > 0.97  # the layers' draws don't follow from each other


def test_the_result_is_a_function_of_the_seed_alone():
    picture, seed = tf.constant(_picture(150, 200)), tf.constant([1, 2], tf.int64)
    tf.random.set_seed(1)
    first = randaugment.randaugment(picture, 4, 7, seed)
    tf.random.set_seed(2)

    np.testing.assert_array_equal(randaugment.randaugment(picture, 4, 7, seed), first)
    assert not np.array_equal(
        randaugment.randaugment(picture, 4, 7, tf.constant([1, 3], tf.int64)), first
    )
