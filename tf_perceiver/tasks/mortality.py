"""Who dies in hospital: two classes, with AUROC and AUPRC over the whole split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from tf_perceiver.tasks import ranking
from tf_perceiver.tasks.task import Batch, Task

if TYPE_CHECKING:
    import numpy as np

    from pipelines.records import DatasetInfo


class Mortality(Task):
    """Ranks examples by the probability of the second of two labels.

    Args:
      info: the dataset's description.
      label_smoothing: s; targets become (1 - s) y + s / 2, in training only.
      resamples: draws of the bootstrap behind the intervals; 0 for none.

    Raises:
      ValueError: another number of labels than two, smoothing outside [0, 1), negative resamples.
    """

    shown = ("loss", "auroc", "auprc")

    def __init__(
        self, info: DatasetInfo, *, label_smoothing: float = 0.0, resamples: int = 1000
    ) -> None:
        super().__init__(info)
        if len(info.labels) != 2:
            raise ValueError(f"mortality has two labels, dataset {info.name!r} {len(info.labels)}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"config.task.label_smoothing={label_smoothing} is not in [0, 1)")
        if resamples < 0:
            raise ValueError(f"config.task.resamples={resamples} can't be negative; 0 draws none")
        self.label_smoothing, self.resamples = label_smoothing, resamples

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """Cross-entropy of each example, in nats, with smoothed labels in training.

        Args:
          outputs: logits [B, 2]. batch: "label" float [B, 2], one-hot.
          training: whether labels are smoothed.
        """
        labels = tf.cast(batch["label"], outputs.dtype)
        if training and self.label_smoothing:
            labels = (1 - self.label_smoothing) * labels + self.label_smoothing / 2
        return tf.nn.softmax_cross_entropy_with_logits(labels, outputs)

    def kept(self, outputs: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """The log-odds: they rank as the probabilities do, and don't run into 1."""
        return {"score": outputs[:, 1] - outputs[:, 0], "positive": batch["label"][:, 1] > 0.5}

    def whole(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        """AUROC, AUPRC and the ends of their 95 % intervals; see `ranking`."""
        return ranking.with_intervals(kept["score"], kept["positive"], self.resamples)

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """See `Task.named`."""
        return self.named(tf.nn.softmax(tf.cast(outputs, tf.float32)))
