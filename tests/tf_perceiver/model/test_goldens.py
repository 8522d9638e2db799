"""Every model against DeepMind's own, from the reference arrays in tests/goldens."""

from __future__ import annotations

import numpy as np
import pytest
import reference
import tensorflow as tf

from tf_perceiver.model import structured

TOLERANCE = 2e-5
CASES = sorted(path.stem for path in reference.GOLDENS.glob("*.npz"))
MODELS = [case for case in CASES if case.startswith(("v1_", "io_"))]


def test_all_ten_goldens_are_here():
    assert len(CASES) == 10
    assert len(MODELS) == 7


@pytest.mark.parametrize("attention", ["plain", "structured"])
@pytest.mark.parametrize("case", MODELS)
def test_model_equals_the_reference(case, attention, monkeypatch):
    if attention == "structured":  # However small the golden is.
        monkeypatch.setattr(structured, "pays", lambda *_: True)
        monkeypatch.setattr(structured, "pays_for_answers", lambda *_: True)
    golden = reference.Golden(case)
    model = reference.build(golden.meta, attention)
    weights = golden.group("params")
    reference.load_weights(model, weights | golden.group("state"))
    with tf.GradientTape() as tape:
        ours = model(golden.group("inputs"))
    expected = golden.group("outputs")
    errors = {name: reference.relative_error(ours[name], expected[name]) for name in expected}
    assert np.max([*errors.values()]) < TOLERANCE, errors
    if not golden.group("grads"):
        return
    variables = {name: model.named_weights()[name] for name in weights}
    gradients = tape.gradient(ours["loss"], variables)
    errors = reference.gradient_errors(
        {name: gradient.numpy() for name, gradient in gradients.items()}, golden.group("grads")
    )
    assert len(errors) == len(weights)
    assert np.max([*errors.values()]) < TOLERANCE, errors


@pytest.mark.parametrize("case", ["units", "post_patches"])
def test_primitives_equal_the_reference(case):
    golden = reference.Golden(case)
    ours = reference.build(golden.meta)(golden.group("inputs"))
    for name, expected in golden.group("outputs").items():
        assert reference.relative_error(ours[name], expected) < TOLERANCE, name
        np.testing.assert_allclose(ours[name], expected, atol=TOLERANCE, err_msg=name)


def test_a_full_decode_is_the_same_in_chunks():
    golden = reference.Golden("io_video_autoencoder_subsampled")
    model = reference.build(golden.meta)
    reference.load_weights(model, golden.group("params"))
    inputs = {k: v for k, v in golden.group("inputs").items() if not k.startswith("sub_")}
    whole = model(inputs)
    assert whole["recon_image"].shape == (2, 2 * 8 * 8, 3)
    assert whole["recon_audio"].shape == (2, 64)
    model.model.decoder.chunk = 7
    decode = tf.function(lambda: model.model(model.batch(inputs)))
    for name, value in decode().items():
        expected = tf.reshape(whole[f"recon_{name}"], value.shape)
        np.testing.assert_allclose(value, expected, atol=1e-5, err_msg=name)


def test_a_learned_table_is_sized_by_the_number_of_parameters():
    meta = reference.Golden("v1_image_share_paper").meta
    meta["config"]["preprocessor"] |= {
        "position_encoding_type": "trainable",
        "trainable_position_encoding_kwargs": {"num_channels": 26, "init_scale": 0.02},
    }
    meta["n_params"] += 7 * 5 * 26  # As wide as the Fourier features, for 7 x 5 pixels.
    model = reference.build(meta)
    table = model.named_weights()["pre.image.pos.table"]
    assert table.shape == (35, 26)
    image = np.random.default_rng(0).normal(size=(2, 7, 5, 3)).astype(np.float32)
    dense = model({"images": image})["encoder_inputs"]
    np.testing.assert_array_equal(dense[1, :, 3:], table)


def test_a_plan_without_a_name_is_told_by_its_weights():
    meta = reference.Golden("v1_image_share_paper").meta
    meta["config"]["trunk"]["sharing"] = "first of each apart"
    meta["haiku_names"] |= {"enc.self.1.0.ln.gamma": "self_1_0/layer_norm/scale"}
    plan = reference.build(meta).model.encoder.plan
    assert (plan.cross, plan.blocks) == ((0, 1, 1), (0, 1, 1))


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match="no model of kind 'v3'; there are io_classifier, "):
        reference.build({"config": {"kind": "v3"}})
