"""What a task is: how a model is built for it, its loss, its metrics, and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tf_perceiver.model import perceiver

if TYPE_CHECKING:
    import numpy as np

    from pipelines.records import DatasetInfo

Batch = Mapping[str, tf.Tensor]
Metrics = Mapping[str, tf.keras.metrics.Metric]


class Task:
    """The base of every task; a subclass says at least `loss` and `answers`.

    Args:
      info: the dataset's description, for its labels and statistics.

    Attributes:
      shown: names of the metrics that the line of progress has after an evaluation.
    """

    shown: tuple[str, ...] = ("loss",)

    def __init__(self, info: DatasetInfo) -> None:
        self.info = info

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model``, with an output for every label of the dataset."""
        return perceiver.build(config, len(self.info.labels))

    def loss(self, outputs: Any, batch: Batch, training: bool) -> tf.Tensor:
        """[B]: the loss of each example; training divides its sum by the batch's size.

        Args:
          outputs: of the model. batch: what the pipeline gives.
          training: whether it is to be learned from, or reported.
        """
        raise NotImplementedError

    def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
        """Fresh streaming metrics by name, to be created under the strategy's scope."""
        return {"loss": tf.keras.metrics.Mean("loss")}

    def update_metrics(
        self, metrics: Metrics, outputs: Any, batch: Batch, losses: tf.Tensor
    ) -> None:
        """Counts a batch in; "weight" [B], where the batch has it, is 0 for padding."""
        del outputs
        metrics["loss"].update_state(losses, batch.get("weight"))

    def kept(self, outputs: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """What an evaluation keeps of a batch for `whole`, each [B, ...]; nothing by default."""
        del outputs, batch
        return {}

    def whole(self, kept: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Metrics that need the whole split at once.

        Args:
          kept: what `kept` gave, of every example of the split once, in no particular order.
        """
        del kept
        return {}

    def answers(self, outputs: Any) -> dict[str, tf.Tensor]:
        """What a served model says to a batch, each [B, ...]."""
        raise NotImplementedError

    def named(self, probabilities: tf.Tensor) -> dict[str, tf.Tensor]:
        """The answer of a task with labels: "probabilities" [B, classes], "label", "score" [B]."""
        names = tf.constant(self.info.labels, tf.string)
        return {
            "probabilities": probabilities,
            "label": tf.gather(names, tf.argmax(probabilities, axis=-1)),
            "score": tf.reduce_max(probabilities, axis=-1),
        }
