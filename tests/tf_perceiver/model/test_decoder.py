"""Decoders: chunks, masks, what the parts refuse."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tiny_models

from tf_perceiver.model import perceiver, structured
from tf_perceiver.model.decoder import Decoding, in_chunks
from tf_perceiver.model.positions import Fourier
from tf_perceiver.model.queries import GridQueries


@pytest.mark.parametrize("chunk", [0, 1, 3, 5, 10, 11])
def test_chunks_are_the_whole_in_order(chunk):
    table = tf.constant(np.arange(40.0, dtype=np.float32).reshape(2, 10, 2))
    asked = []

    def rows(indices):
        asked.append(indices.shape[0])
        return tf.gather(table, indices, axis=1)

    np.testing.assert_array_equal(in_chunks(rows, 10, chunk, 2, tf.float32), table)
    assert max(asked) == (chunk if 0 < chunk < 10 else 10)


def test_flow_is_the_same_in_chunks_and_in_pixels():
    model, batch = tiny_models.build("io_flow")
    whole = model(batch).numpy()
    assert whole.shape == (2, 8, 8, 2)
    model.decoder.chunk = 7
    np.testing.assert_allclose(model(batch), whole, atol=1e-6 * np.max(np.abs(whole)))
    model.decoder.scale = 1.0
    np.testing.assert_allclose(model(batch) * 20.0, whole, rtol=1e-3)


def test_a_query_that_is_not_asked_sees_no_latent():
    decoding = Decoding(4, 6, 3)
    draw = np.random.default_rng(0)
    queries = draw.normal(size=(2, 5, 4)).astype(np.float32)
    latents = draw.normal(size=(2, 3, 6)).astype(np.float32)
    mask = np.array([[1, 1, 0, 1, 0]] * 2, bool)
    some = decoding(queries, latents, mask).numpy()
    all_of_them = decoding(queries, latents).numpy()
    np.testing.assert_allclose(some[:, mask[0]], all_of_them[:, mask[0]], atol=1e-6)
    # Of the others only biases are left, whatever was asked.
    np.testing.assert_allclose(some[:, 2], some[:, 4], atol=1e-6)


def test_one_query_makes_no_key_and_no_value(monkeypatch):
    monkeypatch.setattr(structured, "SMALL", 0)
    model, batch = tiny_models.build("io_imagenet_fourier")
    monkeypatch.setattr(model.decoder.decoding.cross.attn.k, "call", None)  # Not to be called.
    logits = model(batch).numpy()
    monkeypatch.undo()
    model.decoder.decoding.attention = "plain"
    np.testing.assert_allclose(model(batch), logits, atol=1e-5 * np.max(np.abs(logits)))


def test_grid_queries_are_made_where_they_are_asked():
    positions = Fourier(3, (4, 4, 6))
    queries = GridQueries(positions, (2, 3, 4))
    whole = positions.grid((2, 3, 4))
    np.testing.assert_allclose(queries.rows(tf.range(24)), whole, atol=1e-5)
    np.testing.assert_allclose(queries.rows(tf.constant([23, 7])), whole[[23, 7]], atol=1e-5)
    first = queries.chosen(tf.constant([0]))[0]
    np.testing.assert_allclose(first, whole[0], atol=1e-5)
    assert np.max(np.abs(queries.chosen(tf.constant([23])) - whole[23])) > 0.1
    with pytest.raises(ValueError, match="queries on a grid of 2 axes"):
        GridQueries(positions, (2, 3))


@pytest.mark.parametrize(
    ("decoder", "message"),
    [
        ({"kind": "mean"}, "kind='mean' is none of average, "),
        ({"kind": "text"}, "needs model.inputs.kind='text'"),
        ({"kind": "classification", "residual": True}, "of kind 'classification': .*residual"),
        ({"kind": "classification", "heads": 3}, "dec.cross.attn: qk_channels=16 can't be split"),
    ],
)
def test_impossible_decoders_are_named(decoder, message):
    config, _ = tiny_models.preset("imagenet")
    with pytest.raises(ValueError, match=message):
        perceiver.build({**config, "decoder": decoder}, 5)
