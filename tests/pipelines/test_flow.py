"""Pairs of frames: after any augmentation the flow still says where every pixel went."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from configs import feeds
from pipelines import flow, preparation
from pipelines.readers import flow as flow_files
from pipelines.records import DatasetInfo

PLAIN = {
    "scale": (1.0, 1.0), "stretch": 0.0, "flip": 0.0, "flip_vertical": 0.0, "brightness": 0.0,
    "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "erase": 0.0,
}  # fmt: skip
HEIGHT, WIDTH = 60, 84


def config(size=(24, 32), eval_size=(60, 84), **fields):
    return feeds.frame_pairs(size, eval_size, 2, **{**PLAIN, **fields}).flow


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def coded(height=HEIGHT, width=WIDTH) -> np.ndarray:
    """Pixels that say where they are, so that places of any window can be read off."""
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x, 4 * y, 128 + 0 * x], -1).astype(np.uint8)


def read_places(frame: np.ndarray) -> np.ndarray:
    """(x, y) in the original frame of what a prepared frame of `coded` shows."""
    pixels = (frame.astype(np.float64) + 1) * 127.5
    return pixels[..., :2] / (3, 4)


# x -> x + L x + t: bilinear interpolation of it is exact, and so is its transformation.
LINEAR = np.array([[0.05, -0.08], [0.06, -0.04]])
SHIFT = np.array([1.5, -2.25])


def linear_flow(places: np.ndarray) -> np.ndarray:
    return places @ LINEAR.T + SHIFT


def pair(valid: np.ndarray | None = None, height=HEIGHT, width=WIDTH) -> dict[str, tf.Tensor]:
    y, x = np.mgrid[:height, :width]
    field = linear_flow(np.stack([x, y], -1).astype(np.float64)).astype(np.float32)
    valid = np.ones((height, width), bool) if valid is None else valid
    frames = [png(coded(height, width))] * 2
    fields = flow_files.encode_record(frames, field, valid)
    return {name: tf.constant(value) for name, value in fields.items()}


def seed(number: int) -> tf.Tensor:
    return tf.constant([5, number], tf.int64)


def where_things_went(example) -> tuple[np.ndarray, np.ndarray]:
    """(where the flow says that the window's pixels went, where they went), in the window's pixels.

    Both frames are coded alike, so the window's own code gives the map to the original, which is
    affine; the original's flow and the map back then say where a pixel must end.
    """
    places = read_places(example["image"][0].numpy())
    h, w = places.shape[:2]
    y, x = np.mgrid[:h, :w].astype(np.float64)
    window = np.stack([x, y, np.ones_like(x)], -1)
    (to_original, residues, _, _) = np.linalg.lstsq(
        window.reshape(-1, 3), places.reshape(-1, 2), rcond=None
    )
    np.testing.assert_allclose(window @ to_original, places, atol=0.02)
    moved = places + linear_flow(places)
    back = (moved - to_original[2]) @ np.linalg.inv(to_original[:2])
    return window[..., :2] + example["flow"].numpy(), back


@settings(max_examples=60)
@given(
    number=st.integers(0, 2**31),
    low=st.sampled_from([0.5, 0.8, 1.0]),
    high=st.sampled_from([1.0, 1.7, 3.0]),
    stretch=st.sampled_from([0.0, 0.4]),
    degrees=st.sampled_from([0.0, 20.0, 180.0]),
    flip=st.sampled_from([0.0, 1.0]),
    down=st.sampled_from([0.0, 1.0]),
    crop=st.sampled_from(flow.CROPS),
)
def test_the_flow_moves_with_the_frames(number, low, high, stretch, degrees, flip, down, crop):
    cfg = config(
        scale=(low, high), stretch=stretch, rotate_degrees=degrees, flip=flip, flip_vertical=down,
        crop=crop,
    )  # fmt: skip
    example = flow.prepare_train(pair(), cfg, seed(number))
    assert example["image"].shape == flow.shape(cfg)
    assert tf.reduce_all(example["valid"] == 1)
    said, true = where_things_went(example)
    np.testing.assert_allclose(said, true, atol=0.03)
    again = flow.prepare_train(pair(), cfg, seed(number))
    for name, value in example.items():
        np.testing.assert_array_equal(value, again[name])


@given(number=st.integers(0, 2**31), flip=st.sampled_from([0.0, 1.0]))
def test_without_resampling_every_value_stays(number, flip):
    cfg = config(flip=flip, flip_vertical=1 - flip)
    example = flow.prepare_train(pair(), cfg, seed(number))
    places = read_places(example["image"][1].numpy())
    x, y = np.moveaxis(np.rint(places).astype(int), -1, 0)
    assert (np.diff(x, axis=1) == (-1 if flip else 1)).all()
    assert (np.diff(y, axis=0) == (1 if flip else -1)).all()
    np.testing.assert_allclose(places, np.stack([x, y], -1), atol=1e-4)
    expected = linear_flow(np.stack([x, y], -1).astype(np.float64)).astype(np.float32)
    sign = (-1, 1) if flip else (1, -1)
    np.testing.assert_array_equal(example["flow"], expected * np.float32(sign))


def test_windows_are_everywhere_or_in_the_middle():
    starts = {
        crop: {
            tuple(np.rint(read_places(example["image"][0].numpy())[0, 0]).astype(int))
            for i in range(60)
            for example in [flow.prepare_train(pair(), config((55, 80), crop=crop), seed(i))]
        }
        for crop in flow.CROPS
    }
    assert starts["centre"] == {(2, 2)}
    assert {x for x, _ in starts["random"]} == set(range(5))
    assert {y for _, y in starts["random"]} == set(range(6))


def test_frames_smaller_than_the_window_are_padded_or_scaled_up():
    small = pair(height=20, width=40)
    example = flow.prepare_train(small, config(), seed(0))
    np.testing.assert_array_equal(example["valid"], np.arange(24)[:, None] < 20 + np.zeros(32))
    np.testing.assert_array_equal(example["image"][:, 23], example["image"][:, 19])
    example = flow.prepare_train(small, config(scale=(0.5, 0.9)), seed(0))
    said, true = where_things_went(example)
    np.testing.assert_allclose(said, true, atol=0.03)
    # From first to last row: 19 original steps on 23.
    places = read_places(example["image"][0].numpy())
    assert places[-1, 0, 1] - places[0, 0, 1] == pytest.approx(19, abs=0.1)


@pytest.mark.parametrize("fields", [{}, {"rotate_degrees": 30.0}, {"scale": (2.0, 2.0)}])
def test_what_isnt_valid_stays_so(fields):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    valid = (x // 6 + y // 6) % 2 == 0
    example = flow.prepare_train(pair(valid), config(**fields), seed(1))
    places = read_places(example["image"][0].numpy())
    column, row = np.moveaxis(np.rint(places).astype(int), -1, 0)
    known = example["valid"].numpy() == 1
    sure = (np.abs(places - np.rint(places)) < 0.4).all(-1)  # Halves may go either way.
    np.testing.assert_array_equal(known[sure], valid[row, column][sure])
    np.testing.assert_array_equal(example["flow"].numpy()[~known], 0)
    # Beside the invalid ones it is the nearest pixel's, half a pixel away at most.
    said, true = where_things_went(example)
    scale = 2 if "scale" in fields else 1
    np.testing.assert_allclose(said[known], true[known], atol=0.03 + scale * 0.14 / 2)


def test_no_motion_is_made_up_between_two_surfaces():
    field = np.zeros((8, 8, 2), np.float32)
    field[:, 4:] = 10.0
    places = np.stack(np.meshgrid(np.linspace(0, 7, 71), np.linspace(0, 7, 71)), -1)
    found, valid = flow.flow_at(
        tf.constant(field), tf.ones([8, 8], tf.bool), tf.constant(places, tf.float32)
    )
    assert set(np.unique(np.round(found, 4))) == {0.0, 10.0}
    assert tf.reduce_all(valid)


def test_evaluation_pads_and_cuts_and_serving_keeps_the_size():
    fields = pair()
    example = flow.prepare_eval(fields, config(eval_size=(70, 80)))
    assert example["image"].shape == (2, 70, 80, 3)
    places = np.rint(read_places(example["image"][0].numpy())).astype(int)
    np.testing.assert_array_equal(places[0, :, 0], np.arange(2, 82))
    np.testing.assert_array_equal(places[:, 0, 1], np.minimum(np.arange(70), 59))
    np.testing.assert_array_equal(example["valid"], np.arange(70)[:, None] < 60 + np.zeros(80))
    np.testing.assert_array_equal(example["flow"][60:], 0)
    expected = linear_flow(places[:60].astype(np.float64)).astype(np.float32)
    np.testing.assert_array_equal(example["flow"][:60], expected)
    served = flow.prepare_eval({"frames": fields["frames"]}, config(eval_size=(70, 80)))
    assert list(served) == ["image"]
    np.testing.assert_array_equal(served["image"][1], np.float32(coded()) / np.float32(255) * 2 - 1)


def test_frames_of_two_sizes_are_refused():
    frames = tf.constant([png(coded()), png(coded(50, 50))])
    with pytest.raises(tf.errors.InvalidArgumentError, match="different sizes"):
        flow.prepare_eval({"frames": frames}, config())


def noise() -> tf.Tensor:
    pixels = np.random.default_rng(0).uniform(0, 255, (1, 24, 32, 3))
    return tf.constant(np.repeat(pixels, 2, 0), tf.float32)


def test_colours_change_of_both_alike_or_of_each():
    cfg = config(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.16)
    cfg.asymmetric = 0.0
    drawn = [flow.recoloured(noise(), cfg, seed(i)).numpy() for i in range(20)]
    for frames in drawn:
        np.testing.assert_array_equal(frames[0], frames[1])
        assert frames.min() >= 0
        assert frames.max() <= 255
    assert np.std([frames.mean() for frames in drawn]) > 10
    cfg.asymmetric = 1.0
    drawn = [flow.recoloured(noise(), cfg, seed(i)).numpy() for i in range(20)]
    assert all(np.abs(frames[0] - frames[1]).max() > 1 for frames in drawn)


@pytest.mark.parametrize(
    ("name", "value"), [("brightness", 0.5), ("contrast", 0.5), ("saturation", 1.0)]
)
def test_a_factor_does_what_it_is_called(name, value):
    frames = noise() / 4 + 90  # Far from both ends: nothing is cut.
    cfg = config(**{name: value})
    for i in range(5):
        changed = flow.recoloured(frames, cfg, seed(i)).numpy()[0]
        before = frames.numpy()[0]
        grey = before @ [0.2989, 0.587, 0.114]
        fixed = {"brightness": 0 * before, "contrast": 0 * before + grey.mean()}.get(
            name, grey[..., None] + 0 * before
        )
        factors = (changed - fixed) / (before - fixed + 1e-9)
        kept = np.abs(before - fixed) > 5
        assert np.ptp(factors[kept]) < 1e-3 * 5
        assert 1 - value <= np.median(factors[kept]) <= 1 + value


def test_the_eraser_covers_rectangles_of_the_second_frame_alone():
    cfg = config(erase=0.5, erase_size=(5, 9))
    shares = []
    for i in range(80):
        frames = flow.erased(noise(), cfg, seed(i)).numpy()
        np.testing.assert_array_equal(frames[0], noise()[0])
        covered = (frames[1] != frames[0]).any(-1)
        np.testing.assert_allclose(
            frames[1][covered], frames[0].mean((0, 1))[None].repeat(covered.sum(), 0), rtol=1e-4
        )
        shares.append(covered.sum())
    assert 0.3 < np.mean(np.array(shares) > 0) < 0.7
    assert max(shares) <= 2 * 81
    assert max(shares) > 81  # Two of them.


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"crop": "corner"}, "crop='corner' is unknown"),
        ({"size": (24,)}, r"size=\(24,\) must be \(height, width\)"),
        ({"scale": (2.0, 1.0)}, r"scale=\(2.0, 1.0\) must be"),
        ({"scale": (0.0, 1.0)}, r"scale=\(0.0, 1.0\) must be"),
        ({"flip": 1.5}, "flip=1.5 must be a probability"),
        ({"hue": 0.7}, r"hue=0.7 must lie in \[0, 0.5\]"),
        ({"contrast": -0.1}, "contrast=-0.1 must lie"),
        ({"rotate_degrees": -1.0}, "can't be negative"),
    ],
)
def test_a_bad_field_is_named(changed, message):
    cfg = config()
    with cfg.ignore_type():
        cfg.update(changed)
    with pytest.raises(ValueError, match=message):
        flow.check(cfg)


def test_a_dataset_of_pairs_fits_and_another_is_named():
    data = feeds.frame_pairs((24, 32), (60, 84), 2)
    info = DatasetInfo("pairs", flow.FEATURES, (), {})
    assert set(preparation.of(info, data).features) == {"frames", "flow", "valid"}
    with pytest.raises(ValueError, match="flow needs the feature 'frames'"):
        preparation.of(DatasetInfo("none", {}, (), {}), data)
    with pytest.raises(ValueError, match="data.flow has no field"):
        feeds.frame_pairs((24, 32), (60, 84), 2, colour=1.0)
