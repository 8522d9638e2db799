"""One label an example: softmax cross-entropy, top-1 and top-5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from tf_perceiver.tasks.task import Batch, Metrics, Task

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

TOP_5_FROM_CLASSES = 20  # With fewer classes, the top five say little.


class Classification(Task):
    """Classification into the dataset's labels.

    Args:
      info: the dataset's description.
      label_smoothing: s; targets become (1 - s) y + s / classes, in training only.

    Raises:
      ValueError: smoothing outside [0, 1), or fewer than two classes.
    """

    shown = ("loss", "accuracy")

    def __init__(self, info: DatasetInfo, *, label_smoothing: float = 0.0) -> None:
        super().__init__(info)
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"config.task.label_smoothing={label_smoothing} is not in [0, 1)")
        self.num_classes, self.label_smoothing = len(info.labels), label_smoothing
        if self.num_classes < 2:
            raise ValueError(f"the dataset has {self.num_classes} label; classification needs two")

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """Cross-entropy of each example, in nats, with smoothed labels in training.

        Args:
          outputs: logits [B, classes]. batch: "label" float [B, classes], one-hot or mixed.
          training: whether labels are smoothed.
        """
        labels = tf.cast(batch["label"], outputs.dtype)
        if training and self.label_smoothing:
            labels = (1 - self.label_smoothing) * labels + self.label_smoothing / self.num_classes
        return tf.nn.softmax_cross_entropy_with_logits(labels, outputs)

    def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
        """Means of loss and accuracy; with many classes, of top-5 accuracy too."""
        names = ["loss", "accuracy"]
        if self.num_classes >= TOP_5_FROM_CLASSES:
            names.append("top5_accuracy")
        return {name: tf.keras.metrics.Mean(name) for name in names}

    def update_metrics(
        self, metrics: Metrics, outputs: tf.Tensor, batch: Batch, losses: tf.Tensor
    ) -> None:
        """Counts a batch in; of a mixed label, the larger part is the truth."""
        super().update_metrics(metrics, outputs, batch, losses)
        weight = batch.get("weight")
        target = tf.argmax(batch["label"], -1)
        right = tf.equal(tf.argmax(outputs, -1), target)
        metrics["accuracy"].update_state(tf.cast(right, tf.float32), weight)
        if "top5_accuracy" in metrics:
            right = tf.math.in_top_k(target, tf.cast(outputs, tf.float32), 5)
            metrics["top5_accuracy"].update_state(tf.cast(right, tf.float32), weight)

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Task.named`."""
        return self.named(tf.nn.softmax(tf.cast(outputs, tf.float32)))
