"""Any number of labels an example: a sigmoid for each, mean average precision over the classes.

Reference: Perceiver (ICML 2021), section 4.2: trained on one clip of an example, evaluated on the
mean of the scores of several that overlap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from tf_perceiver.model import clips, perceiver
from tf_perceiver.tasks import class_ranking as ranking
from tf_perceiver.tasks.task import Batch, Task

if TYPE_CHECKING:
    import numpy as np

    from pipelines.records import DatasetInfo


class AudioSet(Task):
    """Which of the dataset's labels an example has.

    Outputs are logits, [B, classes] of one clip of each example, or [B, clips, classes].

    Args:
      info: the dataset's description.

    Raises:
      ValueError: the dataset has no labels.
    """

    shown = ("loss", "mean_average_precision")

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(info)
        if not info.labels:
            raise ValueError(f"dataset {info.name!r} has no labels, config.task needs some")

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model``, for one clip or for several of each example."""
        return perceiver.build(config, len(self.info.labels), clips.ClipPerceiver)

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """Sigmoid cross-entropy of each example, in nats, the mean over classes and clips.

        Args:
          outputs: logits. batch: "label" float [B, classes], 1 for every label of the example.
          training: makes no difference.
        """
        del training
        labels = tf.cast(batch["label"], outputs.dtype)
        if outputs.shape.rank == 3:
            labels = tf.broadcast_to(labels[:, None], tf.shape(outputs))
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels, outputs)
        return tf.reduce_mean(losses, axis=list(range(1, outputs.shape.rank)))

    def kept(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """Scores and labels of every example, [B, classes]."""
        return {"scores": scores(outputs), "labels": tf.cast(batch["label"], tf.bool)}

    def whole(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means over the classes: of the average precision, and of the area under the ROC curve.

        Classes that no example of the split has count in neither.
        """
        return {f"mean_{name}": ranking.mean(found) for name, found in self.by_class(kept).items()}

    def by_class(self, kept: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Average precision and area under the ROC curve, float64 [classes]; NaN: no positive."""
        found, labels = kept["scores"], kept["labels"]
        return {
            "average_precision": ranking.average_precisions(found, labels),
            "auc": ranking.areas(found, labels),
        }

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Task.named`; the probabilities are of each label, and don't add up to one."""
        return self.named(scores(outputs))


def scores(outputs: tf.Tensor) -> tf.Tensor:
    """The probability of every label, the mean over clips: float32 [B, classes]."""
    probabilities = tf.sigmoid(tf.cast(outputs, tf.float32))
    return tf.reduce_mean(probabilities, axis=1) if outputs.shape.rank == 3 else probabilities
