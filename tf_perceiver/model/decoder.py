"""From latents to outputs. Reference: Perceiver (ICML 2021) appendix C."""

from __future__ import annotations

import tensorflow as tf

from tf_perceiver.model.linear import Linear


class AverageHead(tf.keras.layers.Layer):
    """The original Perceiver's head: mean over the latents, then one linear, started at zero.

    Args:
      channels: D.
      outputs: number of classes.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(name="head")
        self.logits = Linear("head.logits", channels, outputs, initializer="zeros")

    def call(self, latents: tf.Tensor) -> tf.Tensor:
        """[B, N, D] -> logits [B, classes]."""
        return self.logits(tf.reduce_mean(latents, 1))
