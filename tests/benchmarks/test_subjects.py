"""What is measured is the model, by the path that was asked for, with the right count of FLOPs."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import subjects
from tf_perceiver import presets


def test_a_config_differs_in_its_paths_alone():
    for attention in subjects.ATTENTIONS:
        config = subjects.config_of("io_flow", attention)
        assert config["trunk"].pop("attention") == attention
        assert config["decoder"].pop("attention") == attention
        original = presets.io_flow()
        original["trunk"].pop("attention")
        original["decoder"].pop("attention", None)
        assert config == original
    assert subjects.config_of("io_imagenet_fourier", "plain")["decoder"]["attention"] == "plain"
    averaging = subjects.config_of("imagenet", "plain").get("decoder", {})
    assert "attention" not in averaging
    assert not subjects.config_of("imagenet", "plain")["trunk"].get("recompute")
    assert subjects.config_of("imagenet", "plain", recompute=True)["trunk"]["recompute"] is True


def test_what_does_not_exist_is_named():
    with pytest.raises(ValueError, match="no preset 'imagenot'; there are imagenet,"):
        subjects.config_of("imagenot", "plain")
    with pytest.raises(ValueError, match="attention='folded' is none of plain, structured"):
        subjects.config_of("imagenet", "folded")


def test_both_paths_of_a_preset_have_the_same_work_and_a_step_changes_the_weights():
    plain, structured = (
        subjects.of_preset("imagenet", path, 2, small=True) for path in subjects.ATTENTIONS
    )
    assert plain.flops == structured.flops
    assert plain.parameters == structured.parameters
    assert [plain.work(m) / plain.flops for m in subjects.MEASURES] == [1, 3, 3]
    before = structured.calls["forward"]().numpy()
    assert before.shape == (2, 1000)
    gradients = structured.calls["forward_backward"]()
    assert sum(int(tf.size(g)) for g in gradients) == structured.parameters
    # The head doesn't stay at zero: else nothing would flow through it.
    assert sum(bool(tf.reduce_any(g != 0)) for g in gradients) > len(gradients) / 2
    structured.calls["train_step"]()
    assert np.max(np.abs(structured.calls["forward"]().numpy() - before)) > 0


def test_a_batch_of_two_is_twice_the_work():
    one, two = (subjects.latent_transformer(16, 32, 2, 3, 4, batch_size=b) for b in (1, 2))
    # Per layer and repetition: four projections, the MLP's two, two products with the attention's.
    assert one.flops == 3 * 4 * (6 * 2 * 16 * 32 * 32 + 2 * 2 * 16 * 16 * 32)
    assert two.flops == 2 * one.flops
    assert two.calls["forward"]().shape == (2, 16, 32)
    assert len(two.calls["forward_backward"]()) == 3 * 16 + 1


def test_a_cross_attend_alone_is_one_reading_of_the_inputs():
    subject = subjects.cross_attend_of("imagenet", "plain", 1, small=True)
    inputs, channels, latents, width = 256, 3 + 2 * 9, 8, 32
    expected = 4 * inputs * channels * channels + 4 * latents * inputs * channels
    expected += 2 * latents * width * channels * 2 + 4 * latents * width * width
    assert subject.flops == expected
    assert subject.calls["forward"]().shape == (1, latents, width)


def test_the_forward_pass_of_both_paths_is_the_same():
    outputs = []
    for path in subjects.ATTENTIONS:
        tf.keras.utils.set_random_seed(3)
        subject = subjects.cross_attend_of("audioset_raw_video", path, 2, small=True)
        outputs.append(subject.calls["forward"]().numpy())
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-5)


def test_squared_outputs_sum_the_means():
    task = subjects.SquaredOutputs()
    outputs = {"a": tf.constant([[1.0, 3.0], [0.0, 0.0]]), "b": tf.constant([[[2.0]], [[1.0]]])}
    np.testing.assert_allclose(task.loss(outputs, {}, training=True), [5 + 4, 0 + 1])
