"""Autoencoding of video: picture, sound and label through the latents and back.

Reference: Perceiver IO (ICLR 2022), section 4.3. Outputs and targets are frames in [0, 1] and
samples in [-1, 1].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from tf_perceiver.model import autoencoder, perceiver
from tf_perceiver.tasks.task import Batch, Metrics, Task

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

Outputs = Mapping[str, tf.Tensor]

# What is between the smallest and the largest value: the peak that a PSNR is relative to.
PEAKS = {"image": 1.0, "audio": 2.0}
LEAST_ERROR = 1e-10  # Of the peak squared: PSNR ends at 100 dB, as silence may reach it.


class Autoencoding(Task):
    """Frames, sound and label of each clip, found again.

    Training asks for a sample of the pixels and of the patches of sound, evaluation for everything.

    Metrics are means over the clips: "loss"; "video_psnr" and "audio_psnr" of each clip's
    reconstruction, in dB, cut to the range of its values, the peaks being 1 and 2, 100 dB at most;
    "accuracy" (top-1) of those whose label was hidden, which in evaluation are all. In training the
    first three are of the sample. In float64, in a train step in float32.

    Args:
      info: the dataset's description.
      image_weight, audio_weight: of the mean absolute errors in the loss.
      label_weight: of the label's cross-entropy.

    Raises:
      ValueError: fewer than two labels, or a weight that is negative.
    """

    shown = ("video_psnr", "audio_psnr", "accuracy")

    def __init__(
        self,
        info: DatasetInfo,
        *,
        image_weight: float = 0.03,
        audio_weight: float = 1.0,
        label_weight: float = 1e-4,
    ) -> None:
        super().__init__(info)
        self.weights = {"image": image_weight, "audio": audio_weight, "label": label_weight}
        if len(info.labels) < 2:
            raise ValueError(
                f"the dataset has {len(info.labels)} label; autoencoding needs two or more"
            )
        for name, weight in self.weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"config.task.{name}_weight={weight} must be 0 or more")

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model``; where its label has 0 classes, as many as the dataset.

        Raises:
          ValueError: another decoder, or inputs without image, audio and label.
        """
        if (kind := config.get("decoder", {}).get("kind")) != "autoencoding":
            raise ValueError(
                f"config.model.decoder.kind={kind!r}: the task autoencoding needs 'autoencoding'"
            )
        modalities = config["inputs"].get("modalities", {})
        if set(modalities) != {"audio", "image", "label"}:
            raise ValueError(
                f"config.model.inputs.modalities={sorted(modalities)}: the task autoencoding needs "
                "audio, image and label"
            )
        classes = len(self.info.labels)
        found = modalities["label"]["classes"]
        if found not in (0, classes):
            raise ValueError(
                f"config.model.inputs.modalities.label.classes={found}, dataset "
                f"{self.info.name!r} has {classes} labels; set the field to 0"
            )
        label = {**modalities["label"], "classes": classes}
        inputs = {**config["inputs"], "modalities": {**modalities, "label": label}}
        config = {**config, "inputs": inputs}
        return perceiver.build(config, classes, autoencoder.Autoencoder)

    def loss(self, outputs: Outputs, batch: Batch, training: bool) -> tf.Tensor:
        """[B]: weighted sum of the mean absolute errors and of the cross-entropy, in nats.

        Args:
          outputs: of the model: "image", "audio", and "label", logits [B, classes].
          batch: "label" float [B, classes], one-hot; what the others are held against: see
            `targets`.
          training: makes no difference.

        Raises:
          ValueError: as `targets`.
        """
        del training
        labels = tf.cast(batch["label"], outputs["label"].dtype)
        entropy = tf.nn.softmax_cross_entropy_with_logits(labels, outputs["label"])
        total = self.weights["label"] * entropy
        for name, (found, true) in targets(outputs, batch).items():
            total += self.weights[name] * tf.reduce_mean(tf.abs(found - true), -1)
        return total

    def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
        """The four means."""
        names = ("loss", "video_psnr", "audio_psnr", "accuracy")
        return {name: tf.keras.metrics.Mean(name, tf.float64) for name in names}

    def update_metrics(
        self, metrics: Metrics, outputs: Outputs, batch: Batch, losses: tf.Tensor
    ) -> None:
        """Counts the clips of a batch in."""
        super().update_metrics(metrics, outputs, batch, losses)
        dtype = metrics["accuracy"].dtype
        weight = tf.cast(batch.get("weight", tf.ones_like(losses)), dtype)
        pairs = targets(outputs, batch)
        metrics["video_psnr"].update_state(psnr("image", *pairs["image"], dtype), weight)
        metrics["audio_psnr"].update_state(psnr("audio", *pairs["audio"], dtype), weight)
        right = tf.equal(tf.argmax(outputs["label"], -1), tf.argmax(batch["label"], -1))
        hidden = tf.cast(batch["label_masked"][:, 0], dtype)
        metrics["accuracy"].update_state(tf.cast(right, dtype), weight * hidden)

    def answers(self, outputs: Outputs) -> dict[str, tf.Tensor]:
        """What became of a clip, beside what it was.

        Returns:
          "frames" float32 [B, T, H, W, 3] in [0, 1] and "waveform" float32 [B, samples] in [-1, 1],
          reconstructed; "original_frames" and "original_waveform", the clip that the model read;
          and the label: see `Task.named`.
        """
        return {
            "frames": within("image", outputs["image"]),
            "waveform": within("audio", outputs["audio"]),
            "original_frames": outputs["seen"],
            "original_waveform": outputs["heard"],
            **self.named(tf.nn.softmax(tf.cast(outputs["label"], tf.float32))),
        }


def targets(outputs: Outputs, batch: Batch) -> dict[str, tuple[tf.Tensor, tf.Tensor]]:
    """{"image", "audio"}: (what was found, what is true), each [B, n], of a sample or of the whole.

    Args:
      outputs: of the model.
      batch: of a sample "image_target" [B, Q, 3] and "audio_target" [B, P, samples of a patch],
        else "image" [B, T, H, W, 3] and "audio" [B, samples].

    Raises:
      ValueError: numbers of values that differ.
    """
    pairs = {}
    for name in ("image", "audio"):
        found = outputs[name]
        true = tf.cast(batch.get(f"{name}_target", batch[name]), found.dtype)
        found, true = (
            tf.reshape(it, [-1, math.prod(it.shape[1:])]) for it in (found, true)
        )
        if found.shape[1] != true.shape[1]:
            raise ValueError(
                f"{name}: the model answers with {found.shape[1]} values a clip, the pipeline has "
                f"{true.shape[1]}; set config.data.autoencoding.audio_patch and "
                "config.model.decoder.audio.samples_per_patch alike"
            )
        pairs[name] = (found, true)
    return pairs


def within(name: str, values: tf.Tensor) -> tf.Tensor:
    """Cut to the range of "image", [0, 1], or of "audio", [-1, 1]."""
    return tf.clip_by_value(values, 0.0 if name == "image" else -1.0, 1.0)


def psnr(
    name: str, found: tf.Tensor, true: tf.Tensor, dtype: tf.DType | str = tf.float64
) -> tf.Tensor:
    """Peak signal-to-noise ratio of each clip: 10 log10(peak^2 / mean squared error), in dB.

    Args:
      name: "image", whose peak is 1, or "audio", whose peak is 2.
      found, true: [B, n]; what was found is cut to the range of the values first.
      dtype: to compute in.

    Returns:
      [B] of `dtype`, at most 100.
    """
    error = tf.cast(within(name, found), dtype) - tf.cast(true, dtype)
    relative = tf.reduce_mean(tf.square(error), -1) / PEAKS[name] ** 2
    return -10 * tf.math.log(tf.maximum(relative, LEAST_ERROR)) / math.log(10)
