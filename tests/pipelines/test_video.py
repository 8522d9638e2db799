"""Clips of frames: their place in time, their window, and that the seed alone decides."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from configs import feeds
from pipelines import video

RAW = {"mean": (0.0,) * 3, "std": (1 / 255,) * 3}  # Prepared values are the pixels' own.
STILL = {
    "train_crop": "none", "eval_crop": 1.0, "flip": False,
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
}  # fmt: skip


def config(frames: int = 4, size: tuple[int, int] = (4, 4), **fields):
    return feeds.videos(frames, size, 4, **{**RAW, **STILL, **fields}).video


def jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG", quality=100, subsampling=0)
    return file.getvalue()


def numbered(count: int, step: int = 4) -> tf.Tensor:
    """Frame k is grey of the value k * step."""
    return tf.constant([jpeg(np.full((8, 8, 3), step * k)) for k in range(count)])


def numbers(clip: tf.Tensor, step: int = 4) -> np.ndarray:
    """Which frames of `numbered` a clip has."""
    return np.round(clip.numpy().mean(axis=(-3, -2, -1)) / step).astype(int)


def seed(number: int) -> tf.Tensor:
    return tf.constant([3, number], tf.int64)


def train(frames: tf.Tensor, cfg, number: int = 0) -> tf.Tensor:
    return video.prepare_train({"frames": frames}, cfg, seed(number))["video"]


def evaluated(frames: tf.Tensor, cfg) -> tf.Tensor:
    return video.prepare_eval({"frames": frames}, cfg)["video"]


@settings(max_examples=30)
@given(count=st.integers(1, 40), frames=st.integers(1, 12), stride=st.integers(1, 3))
def test_evaluation_takes_the_middle_and_holds_the_ends(count, frames, stride):
    clip = evaluated(numbered(count), config(frames, stride=stride))
    assert clip.shape == (frames, 4, 4, 3)
    room = count - ((frames - 1) * stride + 1)
    first = int(np.round(room / 2))
    expected = np.clip(first + stride * np.arange(frames), 0, count - 1)
    np.testing.assert_array_equal(numbers(clip), expected)


@settings(max_examples=30)
@given(count=st.integers(1, 40), frames=st.integers(1, 12), number=st.integers(0, 2**31))
def test_training_takes_consecutive_frames_of_any_place(count, frames, number):
    found = numbers(train(numbered(count), config(frames), number))
    steps = np.diff(found)
    assert set(steps) <= {0, 1}
    assert len(set(found)) == min(count, frames)


def test_training_draws_every_place_and_jitter_those_near_the_place():
    frames = numbered(10)
    drawn = {numbers(train(frames, config(4), i))[0] for i in range(80)}
    assert drawn == set(range(7))
    near = config(4, place=0.0, jitter=0.5)
    drawn = [numbers(train(frames, near, i))[0] for i in range(80)]
    assert set(drawn) == {0, 1, 2}  # Up to a quarter of 6: 1.5, rounded.
    assert numbers(evaluated(frames, near))[0] == 0
    assert numbers(evaluated(frames, config(4, place=1.0)))[0] == 6


def test_several_clips_are_spread_from_the_first_frame_to_the_last():
    clips = evaluated(numbered(50), config(8, eval_clips=16))
    assert clips.shape == (16, 8, 4, 4, 3)
    firsts = numbers(clips)[:, 0]
    np.testing.assert_array_equal(firsts, np.round(np.linspace(0, 42, 16)))
    assert numbers(clips)[-1, -1] == 49
    short = numbers(evaluated(numbered(3), config(8, eval_clips=4)))
    assert (short == short[0]).all()
    np.testing.assert_array_equal(short[0], [0, 0, 0, 1, 2, 2, 2, 2])


def test_what_is_shown_is_the_clip_of_evaluation():
    frames = numbered(50)
    cfg = config(8, mean=(0.5,) * 3, std=(0.25,) * 3)
    shown = video.shown({"frames": frames}, cfg)
    np.testing.assert_allclose((shown - 0.5) / 0.25, evaluated(frames, cfg), atol=1e-5)
    several = video.shown({"frames": frames}, config(8, eval_clips=5))
    assert numbers(255 * several)[0] == 21


def gradient(height: int, width: int) -> np.ndarray:
    """Rows rise in red, columns in green."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y * 3, x * 3, np.full_like(y, 9)], axis=-1)


def test_the_region_and_the_window_are_where_they_should_be():
    frames = tf.constant([jpeg(gradient(40, 80))] * 2)
    cfg = config(2, (10, 20), region=(0.5, 0.25, 0.25, 0.25))
    clip = evaluated(frames, cfg).numpy()
    np.testing.assert_allclose(clip[0, ..., :2], gradient(40, 80)[20:30, 20:40, :2], atol=5)
    cfg = config(2, (8, 8), region=(0.0, 0.0, 1.0, 1.0), eval_crop=0.5)
    clip = evaluated(frames, cfg).numpy()  # 20 x 20 in the middle, averaged.
    assert clip[0, :, :, 0].mean() == pytest.approx(3 * 19.5, abs=2)
    assert clip[0, :, :, 1].mean() == pytest.approx(3 * 39.5, abs=2)


@pytest.mark.parametrize("crop", video.TRAIN_CROPS)
def test_all_frames_of_a_clip_get_the_same_window_flip_and_colour(crop):
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3))
    frames = tf.constant([jpeg(np.kron(picture, np.ones((2, 2, 1))))] * 3)
    cfg = config(
        3, (8, 8), train_crop=crop, eval_crop=0.75, flip=True, brightness=0.2, contrast=0.5,
        saturation=0.5, hue=0.1,
    )  # fmt: skip
    first, again, other = (train(frames, cfg, i).numpy() for i in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 10
    np.testing.assert_array_equal(first[0], first[1])
    np.testing.assert_array_equal(first[0], first[2])
    assert first.min() >= 0
    assert first.max() <= 255.01


def test_shifted_windows_reach_both_ends_of_the_region():
    frames = tf.constant([jpeg(gradient(40, 80))])
    cfg = config(1, (8, 16), train_crop="shift", eval_crop=0.75, region=(0.5, 0.5, 0.5, 0.5))
    corners = np.array([train(frames, cfg, i).numpy()[0, 0, 0, :2] / 3 for i in range(60)])
    assert corners.min(axis=0) == pytest.approx([20.4, 40.4], abs=1.2)
    assert corners.max(axis=0) == pytest.approx([25.4, 50.4], abs=1.2)


def test_a_flip_is_one():
    frames = tf.constant([jpeg(gradient(8, 8))])
    flipped = config(1, (8, 8), flip=True)
    plain = evaluated(frames, flipped).numpy()
    seen = [train(frames, flipped, i).numpy() for i in range(20)]
    same = sum(np.allclose(one, plain) for one in seen)
    mirrored = sum(np.allclose(one, plain[:, :, ::-1]) for one in seen)
    assert same + mirrored == 20
    assert min(same, mirrored) > 3


def test_large_pictures_are_averaged_and_not_picked_from():
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    frames = tf.constant([jpeg(np.repeat(board[..., None], 3, axis=2))])
    clip = evaluated(frames, config(1, (8, 8))).numpy()
    np.testing.assert_allclose(clip[:, 1:-1, 1:-1], 127.5, atol=6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train_crop": "pad"}, "train_crop='pad' is unknown: choose one of inception, shift"),
        ({"stride": 0}, "video.stride=0 must be at least 1"),
        ({"eval_clips": 0}, "video.eval_clips=0 must be at least 1"),
        ({"place": 1.5}, r"video.place=1.5 must lie in \[0, 1\]"),
        ({"eval_crop": 0.0}, "video.eval_crop=0.0 must lie in"),
        ({"region": (0.5, 0, 0.6, 1)}, "region=.* must be .* and lie inside of it"),
        ({"crop_area": (0.5, 0.2)}, "crop_area=.* must be"),
        ({"hue": 0.7}, r"video.hue=0.7 must lie in \[0, 0.5\]"),
        ({"std": (1.0, 1.0, 0.0)}, "std above 0"),
    ],
)
def test_a_config_out_of_range_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        video.check(config(**fields))


def test_no_frames_are_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="a video without frames"):
        evaluated(tf.constant([], tf.string), config())
