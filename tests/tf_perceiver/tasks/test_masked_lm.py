"""The masked language model's loss and metrics against NumPy, byte by byte."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pipelines import text
from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.tasks import masked_lm

INFO = DatasetInfo("texts", {}, (), {})
TASK = tasks.build({"name": "masked_lm"}, INFO)


def batch(seed: int, size: int = 4, length: int = 9) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(size, length, 262)).astype(np.float32)
    target = draw.integers(6, 262, (size, length)).astype(np.int32)
    easy = draw.random((size, length)) < 0.5
    np.put_along_axis(logits, target[..., None], np.where(easy, 9.0, 0.0)[..., None], -1)
    masked = draw.random((size, length)) < 0.6
    masked[1] = False
    return logits, {"target": target, "masked": masked}


def nats(logits, target):
    logits = logits.astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -np.take_along_axis(log_probabilities, target[..., None], -1)[..., 0]


def test_tokens_are_the_pipelines():
    assert masked_lm.SPECIAL == text.SPECIAL
    assert masked_lm.SPECIAL + 256 == text.VOCABULARY


def test_the_loss_is_the_mean_over_each_texts_masked_bytes():
    logits, fields = batch(0)
    expected = [
        nats(logits[i], fields["target"][i])[fields["masked"][i]].mean() if i != 1 else 0.0
        for i in range(4)
    ]
    np.testing.assert_allclose(TASK.loss(tf.constant(logits), fields, True), expected, rtol=1e-5)


def test_metrics_count_every_masked_byte_of_the_split_once():
    metrics, bits, right = TASK.metrics(), [], []
    for seed, weight in ((0, [1, 1, 1, 1]), (1, [1, 1, 0, 0]), (2, [0, 0, 0, 1])):
        logits, fields = batch(seed)
        counted = fields["masked"] & (np.array(weight)[:, None] > 0)
        bits.append(nats(logits, fields["target"])[counted] / np.log(2))
        answer = logits[..., 6:].argmax(-1) + 6
        right.append((answer == fields["target"])[counted])
        fields["weight"] = np.array(weight, np.float32)
        outputs = tf.constant(logits)
        TASK.update_metrics(metrics, outputs, fields, TASK.loss(outputs, fields, False))
    assert float(metrics["accuracy"].result()) == np.concatenate(right).mean()
    expected = np.concatenate(bits).mean()
    assert float(metrics["bits_per_byte"].result()) == pytest.approx(expected, rel=1e-6)


def test_a_byte_is_answered_and_never_a_special_token():
    logits = np.zeros((1, 2, 262), np.float32)
    logits[0, :, 3] = 50.0
    logits[0, 0, 6 + ord("a")] = 2.0
    logits[0, 1, 6 + ord("z")] = 49.0
    found = TASK.answers(tf.constant(logits))
    assert bytes(found["bytes"].numpy()[0].tolist()) == b"az"
    assert found["scores"].numpy()[0, 1] == pytest.approx(np.exp(-1) / (1 + np.exp(-1)), rel=1e-3)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"inputs": {}, "trunk": {}}, "needs model.decoder.kind='text', not None"),
        ({"inputs": {"vocabulary": 256}, "decoder": {"kind": "text"}}, "vocabulary=256: masked_lm"),
    ],
)
def test_a_model_that_cannot_do_it_is_named(config, message):
    with pytest.raises(ValueError, match=message):
        TASK.build_model(config)
