"""What dropout leaves out, and that nothing but its key decides it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_perceiver.model import dropout, perceiver
from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.encoder import Encoder

TRUNK = {
    "num_latents": 4,
    "latent_channels": 8,
    "cross_attends": 2,
    "self_attends_per_block": 1,
    "self_heads": 2,
    "dropout": 0.25,
}


def test_a_share_is_left_out_and_the_sum_stays():
    before, added = tf.ones([100, 1000]), tf.random.stateless_normal([100, 1000], [1, 2]) + 3
    change = (dropout.residual(before, before + added, 0.25, dropout.key(0)) - before).numpy()
    kept = change != 0
    assert kept.mean() == pytest.approx(0.75, abs=0.005)
    np.testing.assert_allclose(change[kept], added.numpy()[kept] / 0.75, rtol=1e-5)
    assert change.mean() == pytest.approx(float(tf.reduce_mean(added)), rel=0.01)


def test_every_number_of_a_key_counts_and_its_place_too():
    numbers = [(0, 1, 2), (1, 0, 2), (0, 2, 1), (0, 1), (3, 1, 2), (0, 1, 2**40)]
    keys = {tuple(dropout.key(*each).numpy()) for each in numbers}
    assert len(keys) == len(numbers)
    assert tuple(dropout.key(0, 1, tf.Variable(2)).numpy()) in keys


def encoded(encoder, key):
    content = tf.random.stateless_normal([3, 20, 5], [0, 1])
    return encoder(ByteArray((Segment(content, None),)), dropout_key=key).numpy()


def test_the_trunk_leaves_out_by_its_key_alone():
    encoder = Encoder(5, **TRUNK)
    whole = Encoder(5, **TRUNK | {"dropout": 0.0})
    whole.set_weights(encoder.get_weights())
    key = dropout.key(0, 7)
    np.testing.assert_array_equal(encoded(encoder, key), encoded(encoder, key))
    assert (encoded(encoder, key) != encoded(encoder, dropout.key(0, 8))).mean() > 0.5
    np.testing.assert_array_equal(encoded(encoder, None), encoded(whole, None))
    np.testing.assert_array_equal(encoded(whole, key), encoded(whole, None))


def test_only_training_drops_and_needs_a_key():
    inputs = {"kind": "pixels", "channels": 1, "positions": {"bands": 2, "max_resolution": (4, 4)}}
    model = perceiver.build({"inputs": inputs, "trunk": TRUNK}, 3)
    model.decoder.logits.kernel.assign(tf.random.stateless_normal([8, 3], [5, 6]))
    batch = {"image": tf.random.stateless_normal([2, 4, 4, 1], [3, 4])}
    with pytest.raises(ValueError, match="dropout needs batch.'dropout_key'"):
        model(batch, training=True)
    dropped = model(batch | {dropout.KEY: dropout.key(1)}, training=True)
    assert np.abs(dropped - model(batch)).max() > 1e-4


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_impossible_share_is_named(share):
    with pytest.raises(ValueError, match=rf"model.trunk.dropout={share} is not in \[0, 1\)"):
        Encoder(5, **TRUNK | {"dropout": share})
