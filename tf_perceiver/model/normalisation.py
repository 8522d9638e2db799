"""Batch norm, which the convolutional stem alone uses."""

from __future__ import annotations

import tensorflow as tf

EPSILON = 1e-5
DECAY = 0.9


class BatchNorm(tf.keras.layers.Layer):
    """Batch norm over all axes but the last, with scale and offset, epsilon 1e-5, decay 0.9.

    Our own because the published arrays are [1, 1, 1, C] and their names ours; Keras' layer has [C]
    under a prefix of its own. In training the statistics are the replica's own, as in the
    reference, and the averages of the replicas are what evaluation uses.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(name=name, autocast=False)
        shape = (1, 1, 1, channels)
        self.gamma = self.add_weight(name=f"{name}.gamma", shape=shape, initializer="ones")
        self.beta = self.add_weight(name=f"{name}.beta", shape=shape, initializer="zeros")
        average = {
            "shape": shape,
            "trainable": False,
            "synchronization": tf.VariableSynchronization.ON_READ,
            "aggregation": tf.VariableAggregation.MEAN,
        }
        self.moving_mean = self.add_weight(
            name=f"{name}.moving_mean", initializer="zeros", **average
        )
        self.moving_var = self.add_weight(name=f"{name}.moving_var", initializer="ones", **average)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[..., C] -> [..., C]; in training, the averages move towards the batch's statistics."""
        if training:
            mean, variance = tf.nn.moments(x, list(range(x.shape.rank - 1)))
            for average, value in ((self.moving_mean, mean), (self.moving_var, variance)):
                value = tf.reshape(tf.cast(value, average.dtype), average.shape)
                average.assign_sub((1 - DECAY) * (tf.convert_to_tensor(average) - value))
        else:
            mean, variance = (tf.cast(v, x.dtype)[0, 0, 0] for v in self._averages())
        gamma, beta = (tf.cast(v, x.dtype)[0, 0, 0] for v in (self.gamma, self.beta))
        return (x - mean) * (tf.math.rsqrt(variance + EPSILON) * gamma) + beta

    def _averages(self) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_var)
