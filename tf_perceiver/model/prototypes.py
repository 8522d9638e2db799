"""Classes as fixed points: a Perceiver that maps into their space, and the distances to them.

A class needs no example then, only its point, such as the word vector of its name.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tf_perceiver.model.perceiver import Perceiver

_SMALLEST = 1e-12  # Of a squared distance: the root's slope at 0 is infinite.


class PrototypePerceiver(Perceiver):
    """A Perceiver whose outputs are a point, scored by minus its distances to prototypes.

    Args:
      prototypes: [classes, outputs], constants of the graph and none of the weights.
      scale: of the space: distances are multiplied by it.
      further: see `Perceiver`.
    """

    def __init__(self, *, prototypes: np.ndarray, scale: float, **further) -> None:
        super().__init__(**further)
        # An array, lest Keras take it for something to be saved with the weights.
        self.prototypes, self.scale = np.asarray(prototypes, np.float32), scale

    def embed(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Batch -> points, float32 [B, outputs]."""
        return super().call(batch, training)

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Batch -> float32 [B, classes]: minus the scaled Euclidean distance to each prototype."""
        return -self.scale * distances(self.embed(batch, training), self.prototypes)


def distances(points: tf.Tensor, prototypes: np.ndarray) -> tf.Tensor:
    """[B, W], [C, W] -> Euclidean distances [B, C], at least 1e-6."""
    fixed = tf.constant(prototypes, points.dtype)
    squares = tf.reduce_sum(tf.square(points), 1, keepdims=True)
    squares += tf.reduce_sum(tf.square(fixed), 1)[None]
    squares -= 2 * tf.matmul(points, fixed, transpose_b=True)
    return tf.sqrt(tf.maximum(squares, _SMALLEST))
