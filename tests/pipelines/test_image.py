"""Pictures: windows, resize, flip, pad, rotation and normalisation, each against NumPy."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from PIL import Image

from pipelines import image


def _prepare_train(raw, cfg, seed):
    return image.prepare_train({"image": raw}, cfg, seed)["image"]


def _prepare_eval(raw, cfg):
    return image.prepare_eval({"image": raw}, cfg)["image"]


def _config(**fields) -> ConfigDict:
    """A config whose prepared values are the pixel values themselves."""
    defaults = {
        "size": (8, 8),
        "channels": 3,
        "train_crop": "none",
        "pad": 0,
        "crop_area": (0.08, 1.0),
        "rotate_degrees": 0.0,
        "flip": False,
        "randaugment_layers": 0,
        "randaugment_magnitude": 5,
        "eval_crop": 1.0,
        "mean": (0.0, 0.0, 0.0),
        "std": (1 / 255, 1 / 255, 1 / 255),
    }
    return ConfigDict({**defaults, **fields})


def _encode(pixels: np.ndarray, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def _coordinates(height: int, width: int) -> np.ndarray:
    """Pixel (y, x) holds (y, x, 7): uint8 [height, width, 3]."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y, x, np.full_like(y, 7)], axis=-1).astype(np.uint8)


def _noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 997 + width).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


def _train(data: bytes, cfg: ConfigDict, count: int) -> np.ndarray:
    """`count` training versions of one picture, seeds [5, 0], [5, 1], ..."""
    versions = tf.data.Dataset.range(count).map(
        lambda number: _prepare_train(tf.constant(data), cfg, tf.stack([5, number])),
        num_parallel_calls=2,
    )
    return versions.batch(count).get_single_element().numpy()


def _bicubic(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Keys' cubic convolution, a = -0.5, pixel centres at half, weights renormalised at borders."""

    def matrix(old: int, new: int) -> np.ndarray:
        centre = (np.arange(new) + 0.5) * old / new - 0.5
        distance = np.abs(centre[:, None] - np.arange(old)[None])
        near = 1.5 * distance**3 - 2.5 * distance**2 + 1
        far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
        weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
        return weights / weights.sum(axis=1, keepdims=True)

    rows, columns = matrix(pixels.shape[0], height), matrix(pixels.shape[1], width)
    return np.einsum("ij,kl,jlc->ikc", rows, columns, pixels.astype(np.float64))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(9, 70), width=st.integers(9, 70), share=st.sampled_from([0.5, 0.875, 1]))
def test_evaluation_crops_the_centre_square(height, width, share):
    side = int(share * min(height, width))
    top, left = (height - side + 1) // 2, (width - side + 1) // 2
    pixels = _coordinates(height, width)

    prepared = _prepare_eval(
        tf.constant(_encode(pixels)),
        _config(size=(side, side), train_crop="inception", eval_crop=float(share)),
    )

    np.testing.assert_array_equal(prepared, pixels[top : top + side, left : left + side])


@pytest.mark.parametrize("train_crop", ["pad", "none"])
def test_evaluation_resizes_the_whole_picture_where_training_does(train_crop):
    pixels = _coordinates(8, 20)
    cfg = _config(size=(8, 20), train_crop=train_crop)
    np.testing.assert_array_equal(_prepare_eval(tf.constant(_encode(pixels)), cfg), pixels)
    cfg.eval_crop = 0.5
    cfg.size = (4, 4)
    np.testing.assert_array_equal(
        _prepare_eval(tf.constant(_encode(pixels)), cfg), pixels[2:6, 8:12]
    )


@pytest.mark.parametrize("size", [(5, 9), (16, 16), (40, 23)])
def test_resize_is_bicubic_without_antialias(size):
    pixels = _noise(16, 16)
    prepared = _prepare_eval(tf.constant(_encode(pixels)), _config(size=size)).numpy()

    expected = _bicubic(pixels, *size)
    np.testing.assert_allclose(prepared, expected, atol=0.3)  # TensorFlow tabulates the kernel
    pillow = np.asarray(Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC))
    if size[0] < 16:
        assert np.abs(pillow - expected).mean() > 5  # Pillow's antialiases


def test_resize_does_not_clamp():
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:, 4:] = 255
    prepared = _prepare_eval(tf.constant(_encode(pixels)), _config(size=(32, 32))).numpy()
    assert prepared.min() < -10
    assert prepared.max() > 265


@pytest.mark.parametrize("subsampling", [0, 2])
def test_a_window_of_a_jpeg_is_that_window_of_the_whole(subsampling):
    smooth = np.asarray(Image.fromarray(_noise(9, 12)).resize((131, 97)))
    data = _encode(smooth, "JPEG", quality=85, subsampling=subsampling)
    whole = image.decode(tf.constant(data), 3).numpy()
    side = int(0.875 * 97)
    top, left = (97 - side + 1) // 2, (131 - side + 1) // 2

    prepared = _prepare_eval(
        tf.constant(data), _config(size=(side, side), train_crop="inception", eval_crop=0.875)
    )

    window = whole[top : top + side, left : left + side]
    # At the border, subsampled colours are interpolated without the neighbours outside.
    border = 1 if subsampling else 0
    inner = slice(border, side - border)
    np.testing.assert_array_equal(prepared[inner, inner], window[inner, inner])
    # An independent decoder, up to the precision of the inverse cosine transform.
    assert np.abs(whole.astype(int) - np.asarray(Image.open(io.BytesIO(data)))).mean() < 3


def test_values_are_normalised_by_channel():
    pixels = _noise(8, 8)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    prepared = _prepare_eval(tf.constant(_encode(pixels)), _config(mean=mean, std=std))
    np.testing.assert_allclose(prepared, (pixels / 255 - mean) / std, atol=1e-5)


def test_grey_pictures_have_one_channel():
    pixels = _noise(8, 8)[..., 0]
    cfg = _config(channels=1, mean=(0.0,), std=(1 / 255,))
    prepared = _prepare_eval(tf.constant(_encode(pixels)), cfg)
    np.testing.assert_array_equal(prepared, pixels[..., None])


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_flip_mirrors_half_of_the_pictures(form):
    pixels = np.repeat(np.repeat(_noise(1, 2), 8, axis=0), 4, axis=1)
    plain = image.decode(tf.constant(_encode(pixels, form)), 3).numpy().astype(np.float32)

    versions = _train(_encode(pixels, form), _config(flip=True), 200)

    mirrored = [np.array_equal(version, plain[:, ::-1]) for version in versions]
    kept = [np.array_equal(version, plain) for version in versions]
    assert sum(mirrored) + sum(kept) == 200
    assert 70 < sum(mirrored) < 130


def test_pad_and_crop_takes_every_window_of_the_black_padded_picture():
    pixels = 1 + _coordinates(8, 8)
    padded = np.pad(pixels, [(1, 1), (1, 1), (0, 0)])
    windows = {
        (top, left): padded[top : top + 8, left : left + 8] for top in range(3) for left in range(3)
    }

    versions = _train(_encode(pixels), _config(train_crop="pad", pad=1), 300)

    found = [
        [place for place, window in windows.items() if np.array_equal(version, window)]
        for version in versions
    ]
    assert all(len(places) == 1 for places in found)
    counts = [sum(places == [place] for places in found) for place in windows]
    assert min(counts) > 12  # 33 expected, standard deviation 5.4


@pytest.mark.parametrize(("height", "width"), [(200, 120), (90, 250)])
def test_inception_windows_have_the_papers_areas_and_aspects(height, width):
    cfg = _config(train_crop="inception", crop_area=(0.2, 0.9))

    versions = _train(_encode(_coordinates(height, width)), cfg, 300)

    # Each prepared picture holds the coordinates that its window had. A resized ramp is a ramp, up
    # to the border; its slope gives the window's extent and its value the window's start.
    windows = []
    for axis in (0, 1):
        ramp = versions[..., axis].mean(axis=2 - axis)
        extent = 8 * (ramp[:, 5] - ramp[:, 2]) / 3
        start = ramp[:, 2] - (2.5 * extent / 8 - 0.5)
        windows.append((start, extent))
    (top, tall), (left, wide) = windows
    assert min(top.min(), left.min()) > -0.1
    assert (top + tall).max() < height + 0.1
    assert (left + wide).max() < width + 0.1
    # The sampler rounds sides to whole pixels.
    area = tall * wide / (height * width)
    assert 0.19 < area.min() < 0.25
    assert area.max() < 0.91
    aspect = wide / tall
    assert 0.72 < aspect.min() < 0.78
    assert 1.28 < aspect.max() < 1.37


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_failed_inception_crop_is_the_centre_crop(form):
    data = _encode(_noise(20, 100), form)
    cfg = _config(train_crop="inception", crop_area=(1.0, 1.0), eval_crop=0.875)

    versions = _train(data, cfg, 3)

    centre = _prepare_eval(tf.constant(data), cfg)
    np.testing.assert_array_equal(versions, np.stack([centre] * 3))


def test_rotation_turns_about_the_centre_within_the_bound():
    pixels = np.zeros((33, 33, 3), np.uint8)
    pixels[15:18, 26:29] = 240  # a spot 11 pixels to the right of the centre
    cfg = _config(size=(33, 33), rotate_degrees=30.0)

    versions = _train(_encode(pixels), cfg, 200)[..., 0].astype(np.float64)

    y, x = np.mgrid[-16:17, -16:17]
    mass = versions.sum(axis=(1, 2))
    cy = (versions * y).sum(axis=(1, 2)) / mass
    cx = (versions * x).sum(axis=(1, 2)) / mass
    np.testing.assert_allclose(mass, 240 * 9, rtol=0.1)
    np.testing.assert_allclose(np.hypot(cy, cx), 11, atol=0.2)
    degrees = np.degrees(np.arctan2(cy, cx))
    assert -30.5 < degrees.min() < -24
    assert 24 < degrees.max() < 30.5
    np.testing.assert_allclose(degrees.mean(), 0, atol=5)


def test_randaugment_comes_before_the_resize(monkeypatch):
    seen = {}

    def watch(picture, layers, magnitude, seed):
        seen.update(shape=picture.shape.as_list(), dtype=picture.dtype, layers=layers, m=magnitude)
        return 255 - picture

    monkeypatch.setattr(image.randaugment, "randaugment", watch)
    pixels = _noise(8, 8)
    cfg = _config(randaugment_layers=4, randaugment_magnitude=5)

    versions = _train(_encode(pixels), cfg, 1)

    np.testing.assert_array_equal(versions[0], 255 - pixels)
    assert seen == {"shape": [None, None, 3], "dtype": tf.uint8, "layers": 4, "m": 5}


def test_training_is_a_function_of_the_seed_alone():
    cfg = _config(train_crop="inception", flip=True, rotate_degrees=10.0, size=(16, 16))
    data = tf.constant(_encode(_noise(60, 80), "JPEG"))
    tf.random.set_seed(1)
    first = _prepare_train(data, cfg, tf.constant([1, 2], tf.int64))
    tf.random.set_seed(2)

    again = _prepare_train(data, cfg, tf.constant([1, 2], tf.int64))
    other = _prepare_train(data, cfg, tf.constant([1, 3], tf.int64))

    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)


def test_serving_prepares_a_batch_of_any_size_and_format():
    cfg = _config(train_crop="inception", eval_crop=0.875)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(image_bytes):
        return tf.map_fn(
            lambda data: _prepare_eval(data, cfg),
            image_bytes,
            fn_output_signature=tf.TensorSpec(image.shape(cfg), tf.float32),
        )

    pictures = [
        _encode(_noise(30, 40)),
        _encode(_noise(64, 50), "JPEG"),
        _encode(_noise(11, 11)[..., 0]),
        _encode(_noise(1, 1)),
    ]
    for count in (1, 4):
        served = serve(tf.constant(pictures[:count])).numpy()
        for data, row in zip(pictures[:count], served, strict=True):
            np.testing.assert_array_equal(row, _prepare_eval(tf.constant(data), cfg))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_crop": "centre"}, "train_crop='centre' is unknown: choose one of inception, pad"),
        ({"mean": (0.5,)}, "mean has 1 values for channels=3"),
        ({"std": (1.0, 0.0, 1.0)}, "must be greater than 0"),
        ({"eval_crop": 1.2}, r"eval_crop=1.2 must lie in \(0, 1\]"),
        ({"crop_area": (0.5, 0.1)}, r"crop_area=\(0.5, 0.1\)"),
        ({"pad": -1}, "can't be negative"),
        ({"randaugment_magnitude": 11}, r"must lie in \[0, 10\]"),
        (
            {"randaugment_layers": 1, "channels": 1, "mean": (0.0,), "std": (1.0,)},
            "RandAugment needs 3 channels and channels=1: set randaugment_layers=0",
        ),
    ],
)
def test_bad_config_is_an_error(fields, message):
    with pytest.raises(ValueError, match=message):
        image.check(_config(**fields))


def test_a_good_config_passes():
    image.check(_config())
    image.check(_config(train_crop="inception", randaugment_layers=4, eval_crop=0.875))


def test_one_permutation_for_every_picture_in_training_and_evaluation():
    cfg = _config(channels=3, size=(6, 5), permutation_seed=3)
    order = image.permutation(cfg)
    assert sorted(order) == list(range(30))
    assert np.count_nonzero(order == np.arange(30)) < 5
    for seed, data in enumerate((_coordinates(6, 5), _noise(6, 5))):
        expected = data.reshape(30, 3)[order].reshape(6, 5, 3)
        np.testing.assert_allclose(_prepare_eval(_encode(data), cfg), expected, atol=1e-4)
        trained = _prepare_train(_encode(data), cfg, tf.constant([5, seed], tf.int64))
        np.testing.assert_allclose(trained, expected, atol=1e-4)


def test_pixels_are_permuted_after_augmentation():
    plain = _config(train_crop="pad", pad=2, flip=True, std=(0.5, 0.25, 0.1))
    permuted = _config(**{**plain, "permutation_seed": 1})
    data, order = _encode(_noise(8, 8)), image.permutation(permuted)
    expected = _train(data, plain, 4).reshape(4, 64, 3)[:, order].reshape(4, 8, 8, 3)
    np.testing.assert_array_equal(_train(data, permuted, 4), expected)


def test_a_permutation_is_that_of_its_seed_in_every_process_and_version():
    assert image.permutation(_config()) is None
    first, second = (
        image.permutation(_config(size=(2, 3), permutation_seed=seed)) for seed in (1, 2)
    )
    assert first.tolist() == [2, 0, 5, 1, 4, 3]
    assert second.tolist() != first.tolist()


def test_a_negative_permutation_seed_is_refused():
    with pytest.raises(ValueError, match="permutation_seed=-1 can't be negative"):
        image.check(_config(permutation_seed=-1))
