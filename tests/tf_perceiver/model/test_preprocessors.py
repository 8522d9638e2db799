"""Byte arrays of pictures and points, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_perceiver.model import preprocessors
from tf_perceiver.model.positions import Fourier

POSITIONS = {"bands": 2, "max_resolution": (4, 4)}


def test_pixels_come_row_by_row_with_their_positions_behind():
    image = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)
    inputs = preprocessors.build({"kind": "pixels", "positions": POSITIONS})({"image": image})
    dense = inputs.dense().numpy()
    assert inputs.grid == (3, 4)
    assert inputs.length == 12
    assert dense.shape == (2, 12, inputs.channels) == (2, 12, 13)
    np.testing.assert_array_equal(dense[1, 5, :3], image[1, 1, 1])
    np.testing.assert_allclose(dense[0, 5, 3:], Fourier(2, (4, 4)).grid((3, 4))[5], atol=1e-6)


def test_patches_are_flattened_row_column_channel():
    image = np.arange(4 * 6 * 3, dtype=np.float32).reshape(1, 4, 6, 3)
    pixels = preprocessors.build({"kind": "pixels", "patch": 2, "positions": POSITIONS})
    inputs = pixels({"image": image})
    assert inputs.grid == (2, 3)
    assert pixels.channels == inputs.channels == 12 + 10
    np.testing.assert_array_equal(inputs.content[0, 4], image[0, 2:4, 2:4].ravel())


def test_points_are_their_own_positions():
    points = np.random.default_rng(0).uniform(-1, 1, (2, 7, 3)).astype(np.float32)
    config = {"kind": "points", "positions": {"bands": 2, "max_resolution": (4, 4, 4)}}
    inputs = preprocessors.build(config)({"points": points})
    assert inputs.grid is None
    assert inputs.content is None
    np.testing.assert_array_equal(inputs.dense()[..., :3], points)
    sines = np.sin(np.pi * points[..., :1] * [1, 2])
    np.testing.assert_allclose(inputs.dense()[..., 3:5], sines, atol=1e-6)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"points": tf.zeros([1, 2, 3])}, r"the batch has \['points'\], the model reads 'image'"),
        ({"image": tf.zeros([1, 4, 4, 1])}, "image has 1 channels, the model was built for 3"),
        ({"image": tf.zeros([1, 5, 4, 3])}, "a 5x4 image can't be cut into patches of side 2"),
        ({"image": tf.zeros([4, 4, 3])}, "image has rank 3, 4 is needed"),
    ],
)
def test_wrong_batches_are_named(batch, message):
    pixels = preprocessors.build({"kind": "pixels", "patch": 2, "positions": POSITIONS})
    with pytest.raises(ValueError, match=message):
        pixels(batch)


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="kind='voxels' is none of"):
        preprocessors.build({"kind": "voxels", "positions": POSITIONS})
