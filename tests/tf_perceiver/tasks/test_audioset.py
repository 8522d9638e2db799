"""Many labels: the loss, the mean over clips, and metrics of the whole against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pipelines.records import DatasetInfo
from tf_perceiver import tasks

LABELS = ("Speech", "Dog", "Beep")
TRUNK = {
    "num_latents": 4, "latent_channels": 8, "cross_attends": 2, "self_attends_per_block": 1,
    "cross_heads": 1, "self_heads": 2, "sharing": "none", "arrangement": "interleaved",
}  # fmt: skip
AUDIO = {
    "kind": "waveform",
    "samples_per_patch": 4,
    "positions": {"bands": 2, "max_resolution": (4,)},
}
VIDEO = {
    "kind": "patches", "patch": 4, "frames": 2,
    "positions": {"bands": 2, "max_resolution": (2, 2, 2)},
}  # fmt: skip
MEL = {
    "kind": "pixels", "channels": 1, "modality": "audio",
    "positions": {"bands": 2, "max_resolution": (3, 5)},
}  # fmt: skip


def task():
    return tasks.build({"name": "audioset"}, DatasetInfo("toy", {}, LABELS, {}))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_loss_is_the_mean_cross_entropy_over_classes_and_clips():
    draw = np.random.default_rng(0)
    logits = draw.normal(size=(4, 5, 3)).astype(np.float32)
    labels = draw.integers(0, 2, (4, 3)).astype(np.float32)
    p, y = sigmoid(logits.astype(np.float64)), labels[:, None]
    expected = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    found = task().loss(tf.constant(logits), {"label": tf.constant(labels)}, False)
    np.testing.assert_allclose(found, expected.mean(axis=(1, 2)), rtol=1e-5)
    found = task().loss(tf.constant(logits[:, 0]), {"label": tf.constant(labels)}, True)
    np.testing.assert_allclose(found, expected[:, 0].mean(axis=1), rtol=1e-5)


def test_scores_are_the_mean_of_the_clips_probabilities():
    logits = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    labels = np.eye(4, 3, dtype=np.float32)
    expected = sigmoid(logits).mean(axis=1)
    kept = task().kept(tf.constant(logits), {"label": tf.constant(labels)})
    np.testing.assert_allclose(kept["scores"], expected, rtol=1e-5)
    answers = task().answers(tf.constant(logits))
    np.testing.assert_allclose(answers["probabilities"], expected, rtol=1e-5)
    assert [name.decode() for name in answers["label"].numpy()] == [
        LABELS[i] for i in expected.argmax(axis=1)
    ]


def test_metrics_of_the_whole():
    scores = np.array([[0.9, 0.1, 0.3], [0.8, 0.4, 0.3], [0.1, 0.7, 0.2]], np.float32)
    labels = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0]], bool)
    found = task().whole({"scores": scores, "labels": labels})
    first = (1 + 2 / 3) / 2  # Positives at the first and third place.
    assert found["mean_average_precision"] == pytest.approx((first + 1) / 2, abs=1e-12)
    assert found["mean_auc"] == pytest.approx((0.5 + 1) / 2, abs=1e-12)


@pytest.mark.parametrize("inputs", ["audio", "mel", "video", "both"])
def test_clips_are_read_one_by_one(inputs):
    draw = np.random.default_rng(0)
    shapes = {"audio": (16,), "video": (4, 8, 8, 3)}
    config = {"audio": {**AUDIO, "modality": "audio"}, "video": {**VIDEO, "modality": "video"}}
    if inputs == "mel":
        shapes["audio"], fields = (3, 5, 1), MEL
    elif inputs == "both":
        fields = {"kind": "multimodal", "modalities": {"audio": AUDIO, "video": VIDEO}}
    else:
        fields = config[inputs]
    model = task().build_model({"inputs": fields, "trunk": TRUNK})
    read = ("audio", "video") if inputs == "both" else ("audio",) if inputs == "mel" else (inputs,)
    batch = {name: draw.normal(size=(2, 3, *shapes[name])).astype(np.float32) for name in read}
    together = model({**batch, "label": tf.zeros([2, 3])}, training=False)
    assert together.shape == (2, 3, 3)
    for clip in range(3):
        alone = model({name: field[:, clip] for name, field in batch.items()}, training=False)
        np.testing.assert_allclose(together[:, clip], alone, atol=1e-5)
    traced = tf.function(
        lambda fields: model(fields, training=False),
        input_signature=[
            {name: tf.TensorSpec([None, *field.shape[1:]]) for name, field in batch.items()}
        ],
    )
    np.testing.assert_allclose(
        traced({name: tf.constant(field) for name, field in batch.items()}), together, atol=1e-5
    )
    names = set(model.named_weights())
    assert "latents.table" in names


def test_clips_of_some_inputs_alone_are_an_error():
    fields = {"kind": "multimodal", "modalities": {"audio": AUDIO, "video": VIDEO}}
    model = task().build_model({"inputs": fields, "trunk": TRUNK})
    batch = {"audio": tf.zeros([2, 3, 16]), "video": tf.zeros([2, 4, 8, 8, 3])}
    with pytest.raises(ValueError, match="inputs of different numbers of clips"):
        model(batch, training=False)


def test_a_dataset_without_labels_is_refused():
    with pytest.raises(ValueError, match="dataset 'toy' has no labels"):
        tasks.build({"name": "audioset"}, DatasetInfo("toy", {}, (), {}))
