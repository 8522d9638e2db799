"""One label an example: softmax cross-entropy, top-1 and top-5."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model import perceiver

TOP_5_FROM_CLASSES = 20  # With fewer classes, the top five say little.


class Classification:
    """Classification into `num_classes`.

    Args:
      num_classes: number of labels of the dataset.
      label_smoothing: s; targets become (1 - s) y + s / classes, in training only.

    Raises:
      ValueError: smoothing outside [0, 1), or fewer than two classes.
    """

    def __init__(self, num_classes: int, *, label_smoothing: float = 0.0) -> None:
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"config.task.label_smoothing={label_smoothing} is not in [0, 1)")
        if num_classes < 2:
            raise ValueError(f"the dataset has {num_classes} label; classification needs two")
        self.num_classes, self.label_smoothing = num_classes, label_smoothing

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model`` with an output for every class."""
        return perceiver.build(config, self.num_classes)

    def loss(
        self, logits: tf.Tensor, batch: Mapping[str, tf.Tensor], training: bool
    ) -> tf.Tensor:
        """Cross-entropy of each example.

        Args:
          logits: [B, classes]. batch: "label" float [B, classes], one-hot or mixed.
          training: whether labels are smoothed.

        Returns:
          [B], in nats.
        """
        labels = tf.cast(batch["label"], logits.dtype)
        if training and self.label_smoothing:
            labels = (1 - self.label_smoothing) * labels + self.label_smoothing / self.num_classes
        return tf.nn.softmax_cross_entropy_with_logits(labels, logits)

    def metrics(self) -> dict[str, tf.keras.metrics.Mean]:
        """Fresh streaming means by name, to be created under the strategy's scope."""
        names = ["loss", "accuracy"]
        if self.num_classes >= TOP_5_FROM_CLASSES:
            names.append("top5_accuracy")
        return {name: tf.keras.metrics.Mean(name) for name in names}

    def update_metrics(
        self,
        metrics: Mapping[str, tf.keras.metrics.Mean],
        logits: tf.Tensor,
        batch: Mapping[str, tf.Tensor],
        losses: tf.Tensor,
    ) -> None:
        """Counts a batch in; "weight" [B], where the batch has it, is 0 for padding."""
        weight = batch.get("weight")
        target = tf.argmax(batch["label"], -1)
        metrics["loss"].update_state(losses, weight)
        right = tf.equal(tf.argmax(logits, -1), target)
        metrics["accuracy"].update_state(tf.cast(right, tf.float32), weight)
        if "top5_accuracy" in metrics:
            right = tf.math.in_top_k(target, tf.cast(logits, tf.float32), 5)
            metrics["top5_accuracy"].update_state(tf.cast(right, tf.float32), weight)
