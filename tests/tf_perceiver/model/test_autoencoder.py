"""What is reconstructed: samples of the queries, all of them, and what went in beside it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tiny_models

from tf_perceiver.model import perceiver
from tf_perceiver.model.autoencoder import Autoencoder

GRID, PATCHES = (4, 8, 8), 8


def model_and_batch(**decoder):
    config, batch = tiny_models.preset("io_kinetics_autoencoder")
    config["decoder"].update(decoder)
    model = perceiver.build(config, tiny_models.CLASSES, Autoencoder)
    like, _ = tiny_models.build("io_kinetics_autoencoder")
    for name, variable in like.named_weights().items():
        model.named_weights()[name].assign(variable)
    return model, batch


@pytest.mark.parametrize("attention", ["structured", "plain"])
def test_a_sample_is_a_part_of_the_whole_for_each_example_its_own(attention):
    model, batch = model_and_batch(attention=attention)
    whole = model(batch)
    draw = np.random.default_rng(0)
    image = draw.integers(0, np.prod(GRID), (2, 9)).astype(np.int32)
    audio = draw.integers(0, PATCHES, (2, 3)).astype(np.int32)
    some = model({**batch, "image_indices": image, "audio_indices": audio}, training=True)
    pixels = tf.reshape(whole["image"], [2, -1, 3])
    expected = tf.gather(pixels, image, batch_dims=1)
    np.testing.assert_allclose(some["image"], expected, atol=2e-5)
    heard = tf.reshape(whole["audio"], [2, PATCHES, -1])
    expected = tf.reshape(tf.gather(heard, audio, batch_dims=1), [2, -1])
    np.testing.assert_allclose(some["audio"], expected, atol=2e-5)
    np.testing.assert_allclose(some["label"], whole["label"], atol=2e-5)
    # One sample for all examples is the same as that sample for each.
    shared = {"image_indices": image[0], "audio_indices": audio[0]}
    each = {name: np.stack([indices] * 2) for name, indices in shared.items()}
    once, twice = model({**batch, **shared}), model({**batch, **each})
    for name in once:
        np.testing.assert_allclose(once[name], twice[name], atol=1e-6)


def test_without_samples_places_the_whole_reaches_the_far_end():
    model, batch = model_and_batch(sampled=False)
    indices = {"image_indices": np.array([0, 255], np.int32), "audio_indices": np.array([0])}
    whole, some = model(batch), model({**batch, **indices})
    pixels = tf.reshape(whole["image"], [2, -1, 3]).numpy()
    np.testing.assert_allclose(some["image"][:, 0], pixels[:, 0], atol=2e-5)
    assert np.abs(some["image"][:, 1] - pixels[:, 255]).max() > 1e-2


def test_what_was_read_stands_beside_the_whole_alone():
    model, batch = model_and_batch()
    whole = model(batch)
    np.testing.assert_array_equal(whole["seen"], batch["image"])
    np.testing.assert_array_equal(whole["heard"], batch["audio"])
    some = model({**batch, "image_indices": np.array([3]), "audio_indices": np.array([1])})
    assert sorted(some) == ["audio", "image", "label"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.zeros((2, 4, 8, 16, 3), "f4")}, r"dims=\(4, 8, 8\), .* of \(4, 8, 16\)"),
        ({"audio": np.zeros((2, 128), "f4")}, "audio.samples=64, the pipeline gives clips of 128"),
    ],
    ids=["image", "audio"],
)
def test_clips_of_another_size_than_the_decoder_s_are_named(change, message):
    model, batch = model_and_batch()
    with pytest.raises(ValueError, match=message):
        model({**batch, **change})


def test_a_hidden_label_is_not_read():
    model, batch = model_and_batch()
    other = {**batch, "label": np.roll(batch["label"], 1, axis=1)}

    def difference(hidden):
        masked = {"label_masked": np.full((2, 1), hidden)}
        one, two = (model({**fields, **masked})["label"] for fields in (batch, other))
        return float(tf.reduce_max(tf.abs(one - two)))

    assert difference(True) == 0
    assert difference(False) > 1e-4
