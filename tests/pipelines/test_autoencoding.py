"""Clips to be reconstructed: in time, in range, and what is drawn of them."""

from __future__ import annotations

import clips
import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.datasets import grid
from configs import feeds
from pipelines import autoencoding, preparation
from pipelines.readers import video
from pipelines.records import DatasetInfo, encode, parser

RATE, FPS, PATCH = 16_000, 25, 16
STILL = {
    "train_crop": "none", "eval_crop": 1.0, "flip": False,
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
}  # fmt: skip


def config(frames: int = 50, **fields):
    """Two seconds of 16 x 24 pixels and of sound."""
    seen = feeds.videos(frames, (16, 24), 4, **STILL)
    heard = feeds.sounds(RATE, frames * RATE // FPS, 4)
    return feeds.clips(
        seen, heard, **{"audio_patch": PATCH, "image_queries": 80, "audio_queries": 40, **fields}
    )


def info(**properties) -> DatasetInfo:
    return DatasetInfo("toy", grid.FEATURES, ("a", "b", "c"), {}, properties=properties)


@pytest.fixture(scope="module")
def record() -> dict[str, tf.Tensor]:
    """A clip of three seconds, written and parsed again; flash and beep from 1.2 to 1.36 s."""
    clip = video.read_whole(
        clips.encoded(), "a.mp4", fps=FPS, size=32, sample_rate=RATE, min_frames=16
    )
    example = {**grid.fields_of(clip), "label": 1, "key": b"a"}
    return parser(grid.FEATURES)(tf.constant(encode(example, grid.FEATURES)))


def test_evaluation_has_one_moment_in_both_and_hides_the_label(record):
    prepared = preparation.of(info(), config()).evaluation(record)
    assert sorted(prepared) == ["audio", "image", "label", "label_masked"]
    image, audio = prepared["image"].numpy(), prepared["audio"].numpy()
    start = round((len(record["frames"]) - 50) / 2) / FPS
    white = np.flatnonzero(image[:, :, 6:].mean(axis=(1, 2, 3)) > 0.5) / FPS
    loud = np.flatnonzero(np.abs(audio) > 0.2) / RATE
    for found in (white, loud):
        assert found[0] == pytest.approx(clips.FLASH[0] - start, abs=0.04)
        assert found[-1] == pytest.approx(clips.FLASH[1] - start, abs=0.05)
    assert image.min() >= 0
    assert image.max() == pytest.approx(1, abs=0.02)  # Of a picture, not of what is normalised.
    assert 0.5 < np.abs(audio).max() <= 1
    np.testing.assert_array_equal(prepared["label"], [0, 1, 0])  # To hold the answer against.
    np.testing.assert_array_equal(prepared["label_masked"], [True])
    served = preparation.of(info(), config()).inputs(record)
    np.testing.assert_array_equal(served["label"], [0, 0, 0])


def test_training_asks_for_a_sample_of_the_very_clip(record):
    preparing = preparation.of(info(), config())
    train = tf.function(lambda seed: preparing.train(record, seed))
    shares, starts = [], set()
    for seed in range(40):
        one = train(tf.constant([7, seed], tf.int64))
        image, audio = one["image"].numpy(), one["audio"].numpy()
        indices = one["image_indices"].numpy()
        np.testing.assert_array_equal(one["image_target"], image.reshape(-1, 3)[indices])
        places = one["audio_indices"].numpy()
        np.testing.assert_array_equal(one["audio_target"], audio.reshape(-1, PATCH)[places])
        white = np.flatnonzero(image[:, :, 6:].mean(axis=(1, 2, 3)) > 0.5) / FPS
        loud = np.flatnonzero(np.abs(audio) > 0.2) / RATE
        assert white[0] == pytest.approx(loud[0], abs=0.04)  # Wherever the clip begins.
        starts.add(white[0])
        shares.append(bool(one["label_masked"][0]))
        np.testing.assert_array_equal(one["label"], [0, 1, 0])
    assert len(starts) > 5
    assert np.mean(shares) == pytest.approx(0.5, abs=0.25)
    again = train(tf.constant([7, 39], tf.int64))
    for name, value in again.items():
        np.testing.assert_array_equal(value, one[name])


@pytest.mark.parametrize(("share", "hidden"), [(0.0, False), (1.0, True)])
def test_labels_are_hidden_never_or_always(record, share, hidden):
    preparing = preparation.of(info(), config(label_mask_share=share))
    for seed in range(3):
        found = preparing.train(record, tf.constant([seed, 0], tf.int64))["label_masked"]
        np.testing.assert_array_equal(found, [hidden])


@pytest.mark.parametrize(("queries", "count"), [(5, 10), (4, 7), (6, 6), (1, 3)])
def test_every_element_is_as_probable_as_any_other(queries, count):
    draw = tf.function(lambda seed: autoencoding.spread(queries, count, seed))
    found = np.array([draw(tf.constant([3, seed])).numpy() for seed in range(400)])
    assert found.shape == (400, queries)
    assert (np.diff(found, axis=1) >= 0).all()
    shares = np.bincount(found.ravel(), minlength=count) / 400
    assert len(shares) == count
    # Five deviations of a share, and of none where every element is always taken.
    assert np.abs(shares - queries / count).max() <= (0 if queries == count else 0.125)


def test_two_keys_draw_different_samples():
    one, two = (autoencoding.spread(50, 5000, tf.constant([0, key])).numpy() for key in (1, 2))
    assert (one != two).mean() > 0.9
    assert (one // 100 == two // 100).all()  # One of each stretch of a hundred.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"video.eval_clips": 3}, r"video.eval_clips=3 and audio.eval_clips=1 must be 1"),
        ({"video.std": (0.5, 0.5, 0.5)}, r"std=\(0.5, 0.5, 0.5\) must be"),
        ({"audio.gain_db": 6.0}, "gain_db=6.0 must be 'waveform' and 0"),
        ({"audio.samples": 160}, "50 frames at 25 a second are not .* set audio.samples=32000"),
        ({"audio_patch": 7}, "audio.samples=32000 aren't whole patches of audio_patch=7"),
        ({"label_mask_share": 1.5}, r"label_mask_share=1.5 is not in \[0, 1\]"),
        ({"image_queries": 0}, r"image_queries=0 must lie in \[1, 19200\]"),
        ({"audio_queries": 3000}, r"audio_queries=3000 must lie in \[1, 2000\]"),
    ],
    ids=lambda it: it if isinstance(it, str) else next(iter(it)),
)
def test_a_config_out_of_range_is_named(change, message):
    cfg = config().autoencoding
    for path, value in change.items():
        section, _, name = path.rpartition(".")
        (cfg[section] if section else cfg)[name] = value
    with pytest.raises(ValueError, match=message):
        autoencoding.check(cfg)


def test_records_that_are_too_short_and_a_dataset_without_labels_are_named(record):
    preparing = preparation.of(info(min_frames=16), config())
    with pytest.raises(ValueError, match="50 frames, the records have 16 or more; .*frames=50"):
        preparing.inputs(record)
    unlabelled = DatasetInfo("toy", grid.FEATURES, (), {})
    with pytest.raises(ValueError, match="dataset 'toy' has 0 labels, two are needed"):
        preparation.of(unlabelled, config())
