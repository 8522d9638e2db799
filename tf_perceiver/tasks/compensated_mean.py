"""Means for the train step, which has no float64 on a TPU.

A float32 counts to 2^24 and then stands still, which pixels and bytes reach between two lines of a
log. So a sum is two float32: the sum itself, and what its roundings have lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf


def without_float64(
    metrics: Mapping[str, tf.keras.metrics.Metric],
) -> dict[str, tf.keras.metrics.Metric]:
    """The metrics, those in float64 replaced by a `CompensatedMean` of the same name.

    Where Keras itself computes in float64, as a comparison may want it, they stay.

    Args:
      metrics: streaming ones; to be called under the strategy's scope.

    Raises:
      ValueError: one in float64 that isn't a mean.
    """
    found = {}
    for name, metric in metrics.items():
        if metric.dtype != tf.float64 or tf.keras.backend.floatx() == "float64":
            found[name] = metric
        elif type(metric) is tf.keras.metrics.Mean:
            found[name] = CompensatedMean(name)
        else:
            raise ValueError(
                f"metric {name!r}: a {type(metric).__name__} in float64 can't be part of a train "
                "step; make it a mean, or of float32"
            )
    return found


class CompensatedMean(tf.keras.metrics.Metric):
    """Weighted mean of all that was counted in, 0 where nothing was.

    Batches are summed in float32, and these sums without further loss: however many there are, the
    relative error stays that of one batch. A batch whose weights are 0 or 1 is counted exactly up
    to 2^24 of them. On several replicas their sums meet in float32, once.

    Reference: Neumaier's variant of Kahan's summation (1974), with Knuth's TwoSum.

    Args:
      name: of the metric.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name, tf.float32)
        self._total, self._lost_of_total, self._count, self._lost_of_count = (
            self.add_weight(part, initializer="zeros")
            for part in ("total", "lost_of_total", "count", "lost_of_count")
        )

    def update_state(self, values: tf.Tensor, sample_weight: tf.Tensor | None = None) -> None:
        """Counts values in.

        Args:
          values: [...]; cast to float32.
          sample_weight: of the same shape; 1 unless told.
        """
        values = tf.cast(values, tf.float32)
        weight = tf.ones_like(values) if sample_weight is None else sample_weight
        weight = tf.cast(weight, tf.float32)
        _add(self._total, self._lost_of_total, tf.reduce_sum(values * weight))
        _add(self._count, self._lost_of_count, tf.reduce_sum(weight))

    def result(self) -> tf.Tensor:
        """float32 scalar."""
        return tf.math.divide_no_nan(
            self._total + self._lost_of_total, self._count + self._lost_of_count
        )


def _add(total: tf.Variable, lost: tf.Variable, value: tf.Tensor) -> None:
    before = tf.convert_to_tensor(total)
    after = before + value
    # What each of the two has in their sum; the rest is lost, and is a float32 itself.
    share = after - before
    missing = (before - (after - share)) + (value - share)
    total.assign(after)
    lost.assign_add(missing)
