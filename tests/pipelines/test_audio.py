"""Clips: their place in time, their values, and that the seed alone decides."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from configs import feeds
from pipelines import audio, input_pipeline
from pipelines.records import DatasetInfo, Feature, Shard, Split

RATE = 8_000


def _prepare_train(raw, cfg, seed):
    return audio.prepare_train({"audio": raw}, cfg, seed)["audio"]


def _prepare_eval(raw, cfg):
    return audio.prepare_eval({"audio": raw}, cfg)["audio"]


def config(samples: int = 100, mel: dict | None = None, **fields):
    return feeds.sounds(RATE, samples, 4, mel=mel, **fields).audio


def counted(count: int) -> np.ndarray:
    """int16 [count]: 1, 2, 3, ..., so that a sample says where it came from."""
    return np.arange(1, count + 1, dtype=np.int16)


def seed(number: int) -> tf.Tensor:
    return tf.constant([7, number], tf.int64)


@given(count=st.integers(1, 300), samples=st.integers(1, 200))
def test_evaluation_takes_the_middle_or_pads_both_sides_alike(count, samples):
    clip = _prepare_eval(tf.constant(counted(count)), config(samples)).numpy() * 32768
    if count >= samples:
        first = (count - samples) // 2 + 1
        np.testing.assert_array_equal(clip, np.arange(first, first + samples))
    else:
        kept = np.flatnonzero(clip)
        np.testing.assert_array_equal(clip[kept], counted(count))
        before, after = kept[0], samples - 1 - kept[-1]
        assert 0 <= before - after <= 1
        assert kept[-1] - kept[0] == count - 1


@given(count=st.integers(1, 300), samples=st.integers(1, 200), clips=st.integers(2, 5))
def test_several_clips_are_spread_from_the_first_sample_to_the_last(count, samples, clips):
    found = _prepare_eval(tf.constant(counted(count)), config(samples, eval_clips=clips))
    found = np.round(found.numpy() * 32768)
    assert found.shape == (clips, samples)
    if count < samples:  # As one clip is.
        one = _prepare_eval(tf.constant(counted(count)), config(samples)).numpy() * 32768
        np.testing.assert_array_equal(found, np.tile(one, (clips, 1)))
        return
    firsts = np.round(np.linspace(0, count - samples, clips))
    np.testing.assert_array_equal(found[:, 0] - 1, firsts)
    np.testing.assert_array_equal(np.diff(found), 1)


@given(count=st.integers(1, 300), samples=st.integers(1, 200), number=st.integers(0, 2**31))
def test_training_takes_consecutive_samples_or_all_of_them(count, samples, number):
    waveform, cfg = tf.constant(counted(count)), config(samples)
    clip = _prepare_train(waveform, cfg, seed(number)).numpy() * 32768
    kept = np.flatnonzero(clip)
    assert len(clip) == samples
    assert len(kept) == min(count, samples)
    np.testing.assert_array_equal(np.diff(clip[kept]), 1)
    np.testing.assert_array_equal(np.diff(kept), 1)
    if count < samples:
        assert clip[kept[0]] == 1
    again = _prepare_train(waveform, cfg, seed(number)).numpy() * 32768
    np.testing.assert_array_equal(clip, again)


@pytest.mark.parametrize(("count", "samples"), [(8, 5), (5, 8)])
def test_every_place_in_time_is_as_likely(count, samples):
    cfg = config(samples)

    def place(number: tf.Tensor) -> tf.Tensor:
        clip = _prepare_train(tf.constant(counted(count)), cfg, tf.stack([number, number]))
        first = tf.argmax(tf.cast(clip > 0, tf.int32))
        return first * 100 + tf.cast(tf.round(clip[first] * 32768), tf.int64)

    places = tf.map_fn(place, tf.range(2000, dtype=tf.int64)).numpy()
    values, counts = np.unique(places, return_counts=True)
    assert len(values) == 4
    np.testing.assert_allclose(counts / 2000, 0.25, atol=0.04)


def test_the_gain_stays_in_its_bounds_and_is_spread_over_them():
    loud = tf.fill([100], tf.constant(10_000, tf.int16))
    gains = [
        20 * np.log10(_prepare_train(loud, config(gain_db=6.0), seed(i))[0] * 3.2768)
        for i in range(200)
    ]
    assert -6 <= min(gains) < -5
    assert 5 < max(gains) <= 6


def test_integers_and_floats_give_the_same():
    waveform = np.random.default_rng(0).integers(-(2**15), 2**15, 1000).astype(np.int16)
    for cfg in (config(500), config(500, mel={"hop": 50})):
        exact = _prepare_eval(tf.constant(waveform), cfg)
        floats = _prepare_eval(tf.constant(waveform / 32768, tf.float32), cfg)
        np.testing.assert_array_equal(exact, floats)
        assert exact.shape == audio.shape(cfg)


def test_what_is_shown_is_what_is_prepared():
    waveform = tf.constant(counted(300))
    cfg = config(100)
    np.testing.assert_array_equal(
        audio.shown({"audio": waveform}, cfg), _prepare_eval(waveform, cfg)
    )
    mel = config(100, mel={"hop": 50})
    np.testing.assert_array_equal(
        audio.shown({"audio": waveform}, mel), audio.shown({"audio": waveform}, cfg)
    )


def test_no_samples_are_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="a sound without samples"):
        _prepare_eval(tf.zeros(0, tf.int16), config())


def test_masks_come_with_training_alone_and_hide_the_set_number_of_frames_and_bins():
    fields = {"mel": {"hop": 25, "window": 64, "bins": 20}, "time_masks": 1, "time_mask_width": 8}
    cfg = config(1000, **fields, frequency_masks=1, frequency_mask_width=5)
    noise = tf.constant(np.random.default_rng(0).integers(-9000, 9000, 1000).astype(np.int16))
    clear = _prepare_eval(noise, cfg).numpy()[..., 0]
    hidden = []
    for number in range(60):
        masked = _prepare_train(noise, cfg, seed(number)).numpy()[..., 0]
        changed = masked != clear
        frames, bins = changed.all(axis=1), changed.all(axis=0)
        np.testing.assert_array_equal(changed, frames[:, None] | bins[None, :])
        hidden.append((frames.sum(), bins.sum()))
    assert max(frames for frames, _ in hidden) == 8
    assert max(bins for _, bins in hidden) == 5
    assert min(min(pair) for pair in hidden) == 0


MEL = {"bins": 20}


@pytest.mark.parametrize(
    ("fields", "change", "message"),
    [
        ({}, {"representation": "mfcc"}, "representation='mfcc' is unknown: choose one of wave"),
        ({}, {"samples": 0}, "samples=0 must be at least 1"),
        ({}, {"gain_db": -1.0}, "gain_db=-1.0 can't be negative"),
        ({"mel": MEL}, {"mel.hop": 0}, "mel.hop=0 must be at least 1"),
        ({"mel": MEL}, {"mel.high": 5000.0}, "0 <= low < high <= 4000, half the sample rate"),
        ({"mel": MEL}, {"mel.std": 0.0}, "mel.std=0.0 must be greater than 0"),
        ({"mel": MEL}, {"mel.floor": -101.0}, "mel.floor=-101.0 must be at least -100 dB"),
        ({"mel": MEL}, {"frequency_mask_width": 21}, "frequency_mask_width=21 from 0 to 20"),
        ({"mel": MEL}, {"time_masks": -1}, "time_masks=-1 must be at least 0"),
    ],
)
def test_a_config_out_of_range_is_named(fields, change, message):
    cfg = config(1000, **fields)
    audio.check(cfg)
    cfg.update_from_flattened_dict(change)
    with pytest.raises(ValueError, match=message):
        audio.check(cfg)


def test_records_of_another_rate_are_named(tmp_path):
    features = {"audio": Feature("int16", (None,)), "label": Feature("int64")}
    splits = {"train": Split("train", (Shard("a", 1, 1, "0"),))}
    info = DatasetInfo("words", features, ("a",), splits, properties={"sample_rate": 16_000})
    with pytest.raises(
        ValueError,
        match="config.data.audio.sample_rate=8000, the records of 'words' have 16000: write them "
        "again with --sample_rate=8000, or set the field to 16000",
    ):
        input_pipeline.train_stream(
            info, str(tmp_path), feeds.sounds(RATE, 100, 4), seed=0, replica_batch=4
        )
