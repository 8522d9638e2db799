"""The byte array: the paper's name for what a Perceiver reads.

Content and positions stay apart until somebody asks for the dense array, because positions of a
grid are the same for every example and need not be copied over the batch.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ByteArray:
    """Inputs of one batch.

    Attributes:
      content: [B, M, C] values without positions (pixels, patches), or None where the positions
        are all there is (point clouds).
      positions: [M, P] shared by the batch (grids), or [B, M, P] per example (points).
      grid: shape of the grid that M enumerates in row-major order, or None (points).
    """

    content: tf.Tensor | None
    positions: tf.Tensor
    grid: tuple[int, ...] | None = None

    @property
    def channels(self) -> int:
        """Width of the dense array."""
        content = 0 if self.content is None else self.content.shape[-1]
        return content + self.positions.shape[-1]

    @property
    def length(self) -> int | None:
        """M, where it is known statically."""
        return self.positions.shape[-2]

    def dense(self, dtype: tf.DType | str = tf.float32) -> tf.Tensor:
        """[B, M, C + P]: content first, then positions, as DeepMind concatenates them."""
        positions = tf.cast(self.positions, dtype)
        if self.content is None:
            return positions
        content = tf.cast(self.content, dtype)
        if positions.shape.rank == 2:
            shape = tf.concat([tf.shape(content)[:1], tf.shape(positions)], 0)
            positions = tf.broadcast_to(positions[None], shape)
        return tf.concat([content, positions], -1)
