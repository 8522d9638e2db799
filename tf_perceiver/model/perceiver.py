"""The whole model: preprocessor, trunk, head."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model import preprocessors
from tf_perceiver.model.decoder import AverageHead
from tf_perceiver.model.encoder import Encoder


class Perceiver(tf.keras.Model):
    """The original Perceiver: repeated cross-attends, averaged latents, one linear head.

    Reference: Perceiver: General Perception with Iterative Attention, ICML 2021.

    Args:
      inputs: fields of a preprocessor, see `preprocessors.build`.
      trunk: fields of `Encoder`.
      outputs: number of classes.
    """

    def __init__(self, *, inputs: Mapping, trunk: Mapping, outputs: int) -> None:
        # No autocasting of the batch: points rounded to bfloat16 would lose the high bands.
        super().__init__(name="perceiver", autocast=False)
        self.preprocessor = preprocessors.build(inputs)
        self.encoder = Encoder(self.preprocessor.channels, **trunk)
        self.head = AverageHead(self.encoder.latents.shape[1], outputs)
        self.built = True  # Every variable exists; Keras needs no first call to count them.

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Batch of the modality, e.g. {"image": [B, H, W, 3]} -> logits float32 [B, classes].

        Keys that the modality doesn't read (labels, weights) are ignored. `training` makes no
        difference to a model without dropout; it is here because Keras passes it.
        """
        del training
        logits = self.head(self.encoder(self.preprocessor(batch)))
        return logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32)

    def first_cross_attention(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """float32 [B, h, N, M]: the first cross-attend's attention over the inputs."""
        return self.encoder.first_cross_attention(self.preprocessor(batch))

    def input_grid(self, batch: Mapping[str, tf.Tensor]) -> tuple[int, ...] | None:
        """The (rows, columns) that M enumerates, or None for points."""
        return self.preprocessor(batch).grid

    def named_weights(self) -> dict[str, tf.Variable]:
        """{neutral name: variable}; importing a checkpoint is a renaming."""
        weights = {v.name.removesuffix(":0"): v for v in self.weights}
        if len(weights) != len(self.weights):
            raise ValueError("two variables of the model have the same name")
        return weights


def build(config: Mapping, outputs: int) -> Perceiver:
    """Builds the model of ``config.model``: {"inputs": {...}, "trunk": {...}}."""
    unknown = set(config) - {"inputs", "trunk"}
    if unknown:
        raise ValueError(f"config.model has no field {sorted(unknown)}; it has inputs and trunk")
    return Perceiver(inputs=config["inputs"], trunk=config["trunk"], outputs=outputs)
