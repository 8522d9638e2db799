"""Features of clips: normalised, chosen, padded, and what training changes."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from ml_collections import ConfigDict

from pipelines import clip_features, preparation
from pipelines.records import DatasetInfo, Feature

TOTALS = {"audio": [10.0, 20.0, 130.0], "video": [4.0, 4.0, 4.0]}  # Means 2 and 1, deviations 3, 0.


def info(totals=TOTALS, **properties) -> DatasetInfo:
    features = {
        "audio_features": Feature("float32", (None,)),
        "video_features": Feature("float32", (None,)),
        "label": Feature("int64"),
    }
    return DatasetInfo(
        "toy", features, ("a", "b"), {}, properties=properties,
        statistics={"train": {"totals": totals}},
    )  # fmt: skip


def data(**fields) -> ConfigDict:
    usual = {
        "stage": 1, "audio_width": 2, "video_width": 1, "audio_length": 4, "video_length": 3,
        "clip": 5.0, "noise": 0.0, "audio_dropout": 0.0, "video_dropout": 0.0,
    }  # fmt: skip
    return ConfigDict({"modality": "clip_features", "clip_features": {**usual, **fields}})


def prepared(audio, video, **fields):
    raw = {"audio_features": tf.constant(audio, tf.float32)}
    raw["video_features"] = tf.constant(video, tf.float32)
    found = preparation.of(info(), data(**fields)).inputs(raw)
    return {name: value.numpy() for name, value in found.items()}


def trained(seed, audio=(1.0,) * 8, video=(2.0, 3.0, 4.0), **fields):
    raw = {
        "audio_features": tf.constant(audio), "video_features": tf.constant(video), "label": 1,
    }  # fmt: skip
    return preparation.of(info(), data(**fields)).train(raw, tf.constant([7, seed], tf.int64))


def many(count, audio=(1.0,) * 8, **fields):
    """What training makes of one clip, by so many seeds: {name: [count, ...]}."""
    preparing = preparation.of(info(), data(**fields))
    raw = {"audio_features": tf.constant(audio), "video_features": tf.constant([2.0, 3.0, 4.0])}
    raw["label"] = tf.constant(1)
    numbers = tf.range(count, dtype=tf.int64)
    seeds = tf.stack([7 * tf.ones_like(numbers), numbers], 1)
    stream = tf.data.Dataset.from_tensor_slices(seeds)
    return next(iter(stream.map(lambda seed: preparing.train(raw, seed)).batch(count)))


def test_rows_are_normalised_and_padded():
    found = prepared([2, 5, -1, 200], [1])
    np.testing.assert_allclose(found["audio"], [[0, 1], [-1, 5], [0, 0], [0, 0]])
    assert found["audio_mask"].tolist() == [True, True, False, False]
    # All training values are one number: only its distance is left.
    np.testing.assert_allclose(found["video"], [[0], [0], [0]])
    assert found["video_mask"].tolist() == [True, False, False]


def test_a_client_may_send_tables_and_pad_them_with_nan():
    flat = prepared([2, 5, 8, 11], [1, 2])
    sent = prepared([[2, 5], [np.nan] * 2, [8, 11], [np.nan] * 2], [[1], [2], [np.nan]])
    for name, value in flat.items():
        np.testing.assert_array_equal(sent[name], value)


@pytest.mark.parametrize(
    ("rows", "kept"), [(3, [0, 1, 2]), (4, [0, 1, 2, 3]), (8, [1, 3, 5, 7]), (6, [0, 2, 3, 5])]
)
def test_longer_clips_give_evenly_spaced_rows(rows, kept):
    audio = np.repeat(np.arange(rows), 2)
    found = prepared(audio, [1], clip=100.0)
    seen = found["audio"][found["audio_mask"]]
    np.testing.assert_allclose(seen, np.repeat((np.array(kept) - 2) / 3, 2).reshape(-1, 2))


def test_training_takes_a_row_of_each_stretch():
    audio = tuple(np.repeat(np.arange(12.0), 2))
    drawn = many(60, audio)["audio"][..., 0].numpy() * 3 + 2
    places = np.round(drawn).astype(int)
    assert (places // 3 == np.arange(4)).all()
    assert all(set(places[:, i]) == {3 * i, 3 * i + 1, 3 * i + 2} for i in range(4))
    alone = trained(0, audio)["audio"][:, 0].numpy() * 3 + 2
    np.testing.assert_allclose(drawn[0], alone, rtol=1e-6)


def test_without_augmentation_training_sees_what_evaluation_sees():
    example, found = trained(0), prepared((1.0,) * 8, (2.0, 3.0, 4.0))
    for name, value in found.items():
        np.testing.assert_array_equal(example[name], value)
    assert example["label"].numpy().tolist() == [0, 1]


def test_noise_leaves_padding_alone():
    noisy = many(200, (2.0,) * 4, noise=0.5)["audio"].numpy()
    assert noisy[:, :2].std() == pytest.approx(0.5, rel=0.1)
    assert not noisy[:, 2:].any()


def test_sound_or_picture_is_left_out_but_never_both():
    examples = many(400, audio_dropout=0.5, video_dropout=0.3)
    heard, seen = (examples[f"{name}_mask"].numpy().any(axis=1) for name in ("audio", "video"))
    assert (heard | seen).all()
    # Where both would go, 0.15 of the time, both stay.
    assert heard.mean() == pytest.approx(0.5 + 0.15, abs=0.07)
    assert seen.mean() == pytest.approx(0.7 + 0.15, abs=0.07)


@pytest.mark.parametrize(
    ("audio", "video", "message"),
    [
        ([1, 2, 3], [1], "features of audio of another width than 2"),
        ([[1, 2, 3, 4]], [1], "features of audio of another width than 2"),
        ([], [1], "a clip without features of audio"),
        ([1, 2], [np.nan], "a clip without features of video"),
        ([1, np.nan], [1], "a feature of audio is NaN or infinite"),
        ([1, 2], [np.inf], "a feature of video is NaN or infinite"),
    ],
)
def test_what_a_client_must_not_send_is_named(audio, video, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        prepared(audio, video)


@pytest.mark.parametrize(
    ("described", "fields", "message"),
    [
        (info(), {"audio_width": 0}, "config.data.clip_features.audio_width=0 must be at least 1"),
        (info(), {"video_length": 0}, "clip_features.video_length=0 must be at least 1"),
        (info(), {"clip": 0.0}, "config.data.clip_features.clip=0.0 must be greater than 0"),
        (info(), {"noise": -0.1}, "config.data.clip_features.noise=-0.1 can't be negative"),
        (info(), {"video_dropout": 1.0}, "clip_features.video_dropout=1.0 is not in"),
        (info(video_width=7), {}, "video_width=1, the records of 'toy' have 7: .* --video_width=1"),
        (info(stage=2), {}, "clip_features.stage=1, the records of 'toy' have 2: .* --stage=1"),
        (info({}), {}, "dataset 'toy' has no totals of audio"),
    ],
)  # fmt: skip
def test_what_is_out_of_range_is_named(described, fields, message):
    with pytest.raises(ValueError, match=message):
        preparation.of(described, data(**fields))


def test_shapes_are_those_of_what_is_prepared():
    section = data().clip_features
    found = prepared([1, 2], [1])
    assert clip_features.shape(section) == {n: found[n].shape for n in ("audio", "video")}
