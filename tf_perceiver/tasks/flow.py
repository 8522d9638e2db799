"""Optical flow: where every pixel of the first frame is in the second.

Errors are end-point errors (EPE): the distance in pixels between the true and the found place.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import tensorflow as tf

from tf_perceiver.model import perceiver
from tf_perceiver.model.tiled import TiledPerceiver
from tf_perceiver.tasks.task import Batch, Metrics, Task

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

WITHIN = (1, 3, 5)  # Pixels.
OUTLIER = (3.0, 0.05)  # KITTI's: an error above 3 pixels and above 5 % of the true motion.


class Flow(Task):
    """Flow of pairs of frames, of any size in evaluation.

    Metrics are over all valid pixels of a split, each counted once: "epe"; "zero_epe", that of the
    answer that nothing moves; "within_1px" and so on, the share of pixels whose error is smaller;
    "fl_all", KITTI's share of outliers. In float64, in a train step in float32.

    Args:
      info: the dataset's description.
      tile: (height, width) that the model works at, that of the training's windows.
      overlap: of neighbouring tiles in evaluation, in pixels, at least.
      huber: pixels below which an error counts in the loss by its square (Huber's loss), so that
        what is nearly right leaves the gradient to what is wrong; 0 for the published loss.

    Raises:
      ValueError: a huber that is negative or not finite.
    """

    shown = ("epe", "zero_epe", "fl_all")

    def __init__(
        self,
        info: DatasetInfo,
        *,
        tile: tuple[int, int] = (368, 496),
        overlap: int = 20,
        huber: float = 0.0,
    ) -> None:
        super().__init__(info)
        self.tile, self.overlap, self.huber = tuple(tile), overlap, huber
        if not 0 <= huber < float("inf"):
            raise ValueError(f"config.task.huber={huber} must be pixels, or 0 for plain errors")

    def build_model(self, config: Mapping) -> perceiver.Perceiver:
        """The model of ``config.model``, tile by tile where frames are larger or smaller.

        Raises:
          ValueError: its decoder isn't "flow".
        """
        if (kind := config.get("decoder", {}).get("kind")) != "flow":
            raise ValueError(f"config.model.decoder.kind={kind!r}: the task flow needs 'flow'")
        return perceiver.build(config, 0, TiledPerceiver, tile=self.tile, overlap=self.overlap)

    def loss(self, outputs: tf.Tensor, batch: Batch, training: bool) -> tf.Tensor:
        """Mean error of each example's valid pixels in pixels, Huber's or end-point; 0 for none.

        Args:
          outputs: [B, H, W, 2]. batch: "flow" [B, H, W, 2], "valid" [B, H, W], 1 or 0.
          training: makes no difference.
        """
        del training
        valid = tf.cast(batch["valid"], outputs.dtype)
        errors = length(outputs - tf.cast(batch["flow"], outputs.dtype))
        if self.huber:
            near = tf.minimum(errors, self.huber)  # Slope error / huber up to there, then 1.
            errors = errors - near + tf.square(near) / (2 * self.huber)
        total = tf.reduce_sum(errors * valid, [1, 2])
        return tf.math.divide_no_nan(total, tf.reduce_sum(valid, [1, 2]))

    def metrics(self) -> dict[str, tf.keras.metrics.Metric]:
        """The loss, and means over pixels."""
        names = ["epe", "zero_epe", *(f"within_{n}px" for n in WITHIN), "fl_all"]
        return super().metrics() | {
            name: tf.keras.metrics.Mean(name, dtype=tf.float64) for name in names
        }

    def update_metrics(
        self, metrics: Metrics, outputs: tf.Tensor, batch: Batch, losses: tf.Tensor
    ) -> None:
        """Counts the valid pixels of a batch in."""
        super().update_metrics(metrics, outputs, batch, losses)
        dtype = metrics["epe"].dtype
        weight = tf.cast(batch["valid"], dtype)
        if "weight" in batch:
            weight *= tf.cast(batch["weight"], dtype)[:, None, None]
        flow = tf.cast(batch["flow"], dtype)
        errors, motion = length(tf.cast(outputs, dtype) - flow), length(flow)
        values = {"epe": errors, "zero_epe": motion}
        values |= {f"within_{n}px": tf.cast(errors < n, dtype) for n in WITHIN}
        pixels, share = OUTLIER
        values["fl_all"] = tf.cast((errors > pixels) & (errors > share * motion), dtype)
        for name, value in values.items():
            metrics[name].update_state(value, weight)

    def answers(self, outputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """{"flow": float32 [B, H, W, 2], (x, y) in pixels}."""
        return {"flow": outputs}


def length(vectors: tf.Tensor) -> tf.Tensor:
    """[..., 2] -> [...]: Euclidean; its gradient is 0 at 0, not NaN."""
    squares = tf.reduce_sum(tf.square(vectors), -1)
    nothing = tf.equal(squares, 0)
    return tf.where(nothing, squares, tf.sqrt(tf.where(nothing, tf.ones_like(squares), squares)))
