"""Autoencoding: the loss and the metrics equal NumPy's over everything, on any replicas."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
import tiny_models

from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.tasks.autoencoding import psnr

INFO = DatasetInfo("toy", {}, ("ant", "bee", "cat"), {})
NAMES = ("loss", "video_psnr", "audio_psnr", "accuracy")


def task(**fields):
    return tasks.build({"name": "autoencoding", **fields}, INFO)


def clips(seed: int, count: int, sample: bool = False):
    """Outputs, and the batch that they are held against."""
    draw = np.random.default_rng(seed)
    image, audio = draw.random((count, 2, 3, 4, 3)), draw.uniform(-1, 1, (count, 12))
    batch = {
        "image": image,
        "audio": audio,
        "label": np.eye(3)[draw.integers(0, 3, count)],
        "label_masked": draw.random((count, 1)) < 0.5,
        "weight": (np.arange(count) < count - 1).astype(float),
    }
    if sample:
        batch["image_target"] = draw.random((count, 5, 3))
        batch["audio_target"] = draw.uniform(-1, 1, (count, 2, 4))
        image, audio = batch["image_target"], batch["audio_target"].reshape(count, 8)
    outputs = {
        "image": image + draw.normal(size=image.shape) * draw.choice([0.01, 0.3], (count, 1, 1)
                 + (1,) * (image.ndim - 3)),
        "audio": audio + draw.normal(size=audio.shape) * draw.choice([0.01, 0.5], (count, 1)),
        "label": draw.normal(size=(count, 3)),
        "seen": batch["image"],
        "heard": batch["audio"],
    }  # fmt: skip
    as_float = {name: np.asarray(it, np.float32) for name, it in batch.items()}
    return {name: np.asarray(it, np.float32) for name, it in outputs.items()}, as_float


def by_numpy(outputs, batch, weights=(0.03, 1.0, 1e-4)):
    """{metric: float64 [B]} of every clip, by the definitions."""
    true = {name: batch.get(f"{name}_target", batch[name]) for name in ("image", "audio")}
    found = {}
    for name, low, peak in (("image", 0, 1), ("audio", -1, 2)):
        one = outputs[name].reshape(len(outputs[name]), -1).astype(np.float64)
        two = true[name].reshape(one.shape).astype(np.float64)
        found[name] = np.abs(one - two).mean(axis=1)
        error = ((np.clip(one, low, 1) - two) ** 2).mean(axis=1)
        found[f"{name}_psnr"] = np.minimum(20 * np.log10(peak) - 10 * np.log10(error), 100)
    logits = outputs["label"].astype(np.float64)
    log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    entropy = -(log * batch["label"]).sum(axis=1)
    return {
        "loss": sum(w * e for w, e in zip(weights, (found["image"], found["audio"], entropy),
                                          strict=True)),
        "video_psnr": found["image_psnr"],
        "audio_psnr": found["audio_psnr"],
        "accuracy": (logits.argmax(axis=1) == batch["label"].argmax(axis=1)).astype(float),
    }  # fmt: skip


@pytest.mark.parametrize("sample", [False, True])
def test_the_loss_weighs_both_errors_and_the_label(sample):
    outputs, batch = clips(0, 4, sample)
    weights = (0.5, 2.0, 0.1)
    built = task(image_weight=0.5, audio_weight=2.0, label_weight=0.1)
    expected = by_numpy(outputs, batch, weights)["loss"]
    np.testing.assert_allclose(built.loss(outputs, batch, sample), expected, rtol=1e-5)
    expected = by_numpy(outputs, batch)["loss"]  # The paper's weights are the defaults.
    np.testing.assert_allclose(task().loss(outputs, batch, sample), expected, rtol=1e-5)


@pytest.mark.parametrize("sample", [False, True])
def test_metrics_are_means_over_clips(sample):
    built, values, hidden = task(), {name: [] for name in NAMES}, []
    metrics = built.metrics()
    for seed in range(5):
        outputs, batch = clips(seed, 4, sample)
        built.update_metrics(metrics, outputs, batch, built.loss(outputs, batch, sample))
        kept = batch["weight"] > 0
        hidden.append(batch["label_masked"][kept, 0] > 0)
        for name, found in by_numpy(outputs, batch).items():
            values[name].append(found[kept])
    values = {name: np.concatenate(found) for name, found in values.items()}
    hidden = np.concatenate(hidden)
    assert 0 < hidden.sum() < len(hidden)
    for name in NAMES:
        expected = values[name][hidden] if name == "accuracy" else values[name]
        # The loss is taken in float32, as training takes it.
        tolerance = 1e-6 if name == "loss" else 1e-9
        assert float(metrics[name].result()) == pytest.approx(expected.mean(), rel=tolerance)


def test_peaks_and_limits():
    ones, zeros = tf.ones([1, 4]), tf.zeros([1, 4])
    assert float(psnr("image", ones, zeros)[0]) == pytest.approx(0)
    assert float(psnr("audio", -ones, ones)[0]) == pytest.approx(0)
    assert float(psnr("audio", zeros, ones)[0]) == pytest.approx(10 * np.log10(4))
    assert float(psnr("image", 7 * ones, ones)[0]) == 100  # Cut to what a pixel can be.
    assert float(psnr("audio", -7 * ones, -ones)[0]) == 100
    assert float(psnr("image", -ones, zeros)[0]) == 100


# Two replicas with batches of two, five clips and three of padding.
REPLICAS = """
import json
import numpy as np
import tensorflow as tf
from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.training import loop

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
batch = dict(np.load("clips.npz"))
dataset = tf.data.Dataset.from_tensor_slices(batch).batch(2)
evaluator = loop.Evaluator(
    strategy,
    lambda batch, training: {n[4:]: batch[n] for n in batch if n.startswith("out_")},
    tasks.build({"name": "autoencoding"}, DatasetInfo("toy", {}, ("ant", "bee", "cat"), {})),
    lambda: strategy.distribute_datasets_from_function(lambda context: dataset),
    2,
)
print(json.dumps(evaluator.evaluate()))
"""


def test_two_replicas_count_every_clip_once(command, tmp_path):
    outputs, batch = clips(1, 8)
    batch["weight"] = (np.arange(8) < 5).astype(np.float32)
    batch["label_masked"] = np.ones((8, 1), np.float32)
    np.savez(tmp_path / "clips.npz", **batch, **{f"out_{n}": it for n, it in outputs.items()})
    (tmp_path / "replicas.py").write_text(REPLICAS)
    row = json.loads(command("replicas", cwd=tmp_path).check().stdout.splitlines()[-1])
    expected = {name: found[:5].mean() for name, found in by_numpy(outputs, batch).items()}
    assert row.pop("examples") == 5
    assert row.pop("loss") == pytest.approx(expected.pop("loss"), rel=1e-6)
    assert row == pytest.approx(expected, rel=1e-9)


def test_answers_stay_within_their_ranges_and_name_the_label():
    outputs, batch = clips(2, 3)
    outputs["image"][0, 0, 0, 0] = [-1, 0.5, 3]
    outputs["audio"][0, :2] = [-3, 2]
    said = task().answers({name: tf.constant(it) for name, it in outputs.items()})
    np.testing.assert_array_equal(said["frames"], np.clip(outputs["image"], 0, 1))
    np.testing.assert_array_equal(said["waveform"], np.clip(outputs["audio"], -1, 1))
    np.testing.assert_array_equal(said["original_frames"], batch["image"])
    np.testing.assert_array_equal(said["original_waveform"], batch["audio"])
    labels = [INFO.labels[i] for i in outputs["label"].argmax(axis=1)]
    assert [label.decode() for label in said["label"].numpy()] == labels
    np.testing.assert_allclose(tf.reduce_sum(said["probabilities"], 1), 1, rtol=1e-6)


def test_the_label_has_as_many_classes_as_the_dataset():
    config, batch = tiny_models.preset("io_kinetics_autoencoder")
    label = config["inputs"]["modalities"]["label"]
    label["classes"] = 0
    batch["label"] = np.eye(3, dtype=np.float32)[:2]
    assert task().build_model(config)(batch)["label"].shape == (2, 3)
    label["classes"] = 5
    with pytest.raises(ValueError, match="label.classes=5, dataset 'toy' has 3 labels"):
        task().build_model(config)


def test_what_does_not_fit_is_named():
    config, _ = tiny_models.preset("io_kinetics_autoencoder")
    with pytest.raises(ValueError, match="decoder.kind='flow': the task autoencoding needs"):
        task().build_model({**config, "decoder": {"kind": "flow"}})
    del config["inputs"]["modalities"]["audio"]
    with pytest.raises(ValueError, match=r"modalities=\['image', 'label'\]: .* needs audio, image"):
        task().build_model(config)
    with pytest.raises(ValueError, match="config.task.audio_weight=-1 must be 0 or more"):
        task(audio_weight=-1)
    with pytest.raises(ValueError, match="the dataset has 1 label"):
        tasks.build({"name": "autoencoding"}, DatasetInfo("toy", {}, ("a",), {}))
    outputs, batch = clips(0, 2, sample=True)
    batch["audio_target"] = batch["audio_target"][:, :, :3]
    with pytest.raises(ValueError, match="audio: the model answers with 8 values a clip, the pipe"):
        task().loss(outputs, batch, True)
