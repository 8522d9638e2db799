"""The whole model against DeepMind's modules, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_perceiver.model import perceiver
from tf_perceiver.model.byte_array import ByteArray, Segment


def tiny(**trunk):
    return perceiver.build(
        {
            "inputs": {
                "kind": "pixels",
                "channels": 1,
                "positions": {"bands": 3, "max_resolution": (8, 8)},
            },
            "trunk": {
                "num_latents": 4,
                "latent_channels": 8,
                "cross_attends": 2,
                "self_attends_per_block": 1,
                "self_heads": 2,
                **trunk,
            },
        },
        outputs=3,
    )


@pytest.mark.parametrize("attention", ["plain", "structured"])
def test_a_permuted_image_with_permuted_positions_gives_the_same_logits(attention):
    model = tiny(attention=attention)
    head = model.named_weights()["head.logits.kernel"]
    head.assign(tf.random.stateless_normal(head.shape, [1, 2]))
    image = np.random.default_rng(0).normal(size=(2, 6, 7, 1)).astype(np.float32)
    inputs = model.preprocessor({"image": image})
    (segment,) = inputs.segments
    order = np.random.default_rng(1).permutation(42)
    permuted = ByteArray(
        (
            Segment(
                tf.gather(segment.content, order, axis=1), tf.gather(segment.positions, order)
            ),
        )
    )
    logits = model.decoder(model.encoder(inputs)).numpy()
    assert np.ptp(logits) > 0.1
    np.testing.assert_allclose(model.decoder(model.encoder(permuted)), logits, atol=1e-5)
    # Without their positions the pixels are not the same picture.
    moved = np.reshape(image.reshape(2, 42, 1)[:, order], image.shape)
    assert np.max(np.abs(model({"image": moved}) - logits)) > 1e-3


def test_a_permuted_cloud_gives_the_same_logits():
    tf.keras.utils.set_random_seed(1)
    model = perceiver.build(
        {
            "inputs": {"kind": "points", "positions": {"bands": 4, "max_resolution": (8, 8, 8)}},
            "trunk": {
                "num_latents": 4,
                "latent_channels": 8,
                "cross_attends": 2,
                "self_attends_per_block": 1,
                "self_heads": 2,
            },
        },
        outputs=5,
    )
    head = model.named_weights()["head.logits.kernel"]
    head.assign(tf.random.normal(head.shape))
    points = np.random.default_rng(0).uniform(-1, 1, (2, 50, 3)).astype(np.float32)
    order = np.random.default_rng(1).permutation(50)
    logits = model({"points": points}).numpy()
    assert np.ptp(logits) > 0.1
    np.testing.assert_allclose(model({"points": points[:, order]}), logits, rtol=1e-4, atol=1e-5)


def test_first_cross_attention_is_a_distribution_over_the_inputs():
    model = tiny()
    image = np.random.default_rng(0).normal(size=(2, 5, 7, 1)).astype(np.float32)
    attention = model.first_cross_attention({"image": image})
    assert attention.shape == (2, 1, 4, 35)
    assert model.input_grid({"image": image}) == (5, 7)
    np.testing.assert_allclose(tf.reduce_sum(attention, -1), np.ones((2, 1, 4)), rtol=1e-5)


def test_every_variable_has_its_full_neutral_name():
    names = set(tiny().named_weights())
    assert len(names) == 55
    assert {"latents.table", "enc.cross.1.attn.q.kernel", "enc.self.0.0.mlp.fc2.bias"} <= names
    assert "enc.self.1.0.ln.gamma" not in names  # The paper's plan shares the blocks.


def test_a_new_model_is_indifferent_between_the_classes():
    image = np.ones((1, 4, 4, 1), np.float32)
    np.testing.assert_array_equal(tiny()({"image": image}), np.zeros((1, 3)))


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64"])
def test_other_precisions_agree_with_float32(policy):
    image = np.random.default_rng(0).normal(size=(2, 6, 6, 1)).astype(np.float32)
    tf.keras.utils.set_random_seed(0)  # The bound is for these weights.
    single = tiny()
    weights = single.named_weights()
    weights["head.logits.kernel"].assign(tf.random.stateless_normal([8, 3], [1, 2]))
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        other = tiny()
        for name, variable in other.named_weights().items():
            variable.assign(tf.cast(weights[name], variable.dtype))
        logits = other({"image": tf.cast(image, "float64" if policy == "float64" else "float32")})
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert logits.dtype == (tf.float64 if policy == "float64" else tf.float32)
    tolerance = 1e-5 if policy == "float64" else 0.05
    assert reference.relative_error(logits, single({"image": image}).numpy()) < tolerance


def test_a_misspelt_section_is_named():
    with pytest.raises(ValueError, match=r"no field \['trnk'\]"):
        perceiver.build({"inputs": {}, "trnk": {}}, 3)
