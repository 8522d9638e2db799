"""Masked language model on bytes: to find out words that were hidden.

Reference: Perceiver IO (ICLR 2022), section 4.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from tf_perceiver.model import perceiver
from tf_perceiver.tasks.task import Batch, Metrics, Task

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

SPECIAL = 6  # Tokens before that of byte 0, as `pipelines.text` numbers them.


class MaskedLM(Task):
    """Softmax cross-entropy on the masked bytes of each text.

    Args:
      info: the dataset's description.
    """

    shown = ("loss", "accuracy", "bits_per_byte")

    def __init__(self, info: DatasetInfo) -> None:
        super().__init__(info)

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model``, whose decoder answers every token.

        Raises:
          ValueError: another decoder, or a vocabulary of other tokens.
        """
        kind = config.get("decoder", {}).get("kind")
        if kind != "text":
            raise ValueError(f"config.task masked_lm needs model.decoder.kind='text', not {kind!r}")
        if (vocabulary := config["inputs"].get("vocabulary")) != SPECIAL + 256:
            raise ValueError(
                f"config.model.inputs.vocabulary={vocabulary}: masked_lm has {SPECIAL + 256} "
                f"tokens, {SPECIAL} special ones and 256 bytes"
            )
        return perceiver.build(config, 0)

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """[B]: mean over a text's masked bytes, in nats; 0 where none is masked.

        Args:
          outputs: logits [B, L, 262].
          batch: "target" int [B, L], the tokens; "masked" bool [B, L].
          training: makes no difference.
        """
        del training
        masked = tf.cast(batch["masked"], outputs.dtype)
        total = tf.reduce_sum(masked * _nats(outputs, batch), -1)
        return total / tf.maximum(tf.reduce_sum(masked, -1), 1)

    def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
        """The mean loss of a text; accuracy and bits of a masked byte, over all of them.

        In float64, which counts every byte of any split; in a train step in float32.
        """
        return {
            **super().metrics(),
            "accuracy": tf.keras.metrics.Mean("accuracy", tf.float64),
            "bits_per_byte": tf.keras.metrics.Mean("bits_per_byte", tf.float64),
        }

    def update_metrics(
        self, metrics: Metrics, outputs: tf.Tensor, batch: Batch, losses: tf.Tensor
    ) -> None:
        """Counts a batch in, every masked byte once."""
        super().update_metrics(metrics, outputs, batch, losses)
        dtype = metrics["accuracy"].dtype
        weight = tf.cast(batch["masked"], dtype)
        if "weight" in batch:
            weight *= tf.cast(batch["weight"], dtype)[:, None]
        right = tf.equal(SPECIAL + _bytes(outputs), tf.cast(batch["target"], tf.int32))
        bits = tf.cast(_nats(outputs, batch), dtype) / math.log(2)
        metrics["accuracy"].update_state(tf.cast(right, dtype), weight)
        metrics["bits_per_byte"].update_state(bits, weight)

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """What it takes every byte of the text for, masked or not.

        Returns:
          "bytes": int32 [B, L], the most probable byte of each place, and "scores": float32 [B, L],
          its probability. The place is that of the text in which each `[MASK]` is one byte.
        """
        probabilities = tf.nn.softmax(tf.cast(outputs, tf.float32))
        return {
            "bytes": _bytes(outputs),
            "scores": tf.reduce_max(probabilities[..., SPECIAL:], -1),
        }


def _nats(outputs: tf.Tensor, batch: Batch) -> tf.Tensor:
    return tf.nn.sparse_softmax_cross_entropy_with_logits(batch["target"], outputs)


def _bytes(outputs: tf.Tensor) -> tf.Tensor:
    """int32 [B, L]: the most probable byte; special tokens are no answer."""
    return tf.argmax(outputs[..., SPECIAL:], -1, tf.int32)
