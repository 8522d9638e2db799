"""The whole model against DeepMind's modules, and its invariances."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_perceiver import presets
from tf_perceiver.model import perceiver


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
def test_original_perceiver_equals_the_reference(attention):
    golden = reference.Golden("v1_image_share_paper")
    model = reference.build(golden.meta, attention)
    reference.load_weights(model, golden.group("params"))
    batch = {"image": golden["inputs/images"]}
    with tf.GradientTape() as tape:
        logits = model(batch)
        labels = golden.meta["config"]["labels"]
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        loss = tf.reduce_mean(losses)
    weights = model.named_weights()
    gradients = dict(zip(weights, tape.gradient(loss, list(weights.values())), strict=True))
    inputs = model.preprocessor(batch)
    assert reference.relative_error(inputs.dense(), golden["outputs/encoder_inputs"]) < 2e-5
    assert reference.relative_error(model.encoder(inputs), golden["outputs/latents"]) < 2e-5
    assert reference.relative_error(logits, golden["outputs/logits"]) < 2e-5
    assert float(loss) == pytest.approx(float(golden["outputs/loss"]), rel=2e-5)
    errors = reference.gradient_errors(
        {name: gradient.numpy() for name, gradient in gradients.items()}, golden.group("grads")
    )
    assert max(errors.values()) < 2e-5, errors


def test_imagenet_preset_has_the_papers_parameter_count():
    with tf.Graph().as_default():  # Counts without making 45 M numbers.
        model = perceiver.build(presets.imagenet(), outputs=1000)
        assert model.count_params() == 44_912_254


def test_one_shared_cross_attend_has_its_count():
    config = presets.imagenet()
    config["trunk"].update(sharing="all")
    with tf.Graph().as_default():
        assert perceiver.build(config, outputs=1000).count_params() == 42_135_859


def test_modelnet_preset_has_the_count_of_a_shared_trunk():
    with tf.Graph().as_default():
        model = perceiver.build(presets.modelnet40(), outputs=40)
        assert model.preprocessor.channels == 387
        assert round(model.count_params() / 1e6, 1) == 44.8


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
