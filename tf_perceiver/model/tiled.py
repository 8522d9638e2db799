"""Frames of any size through a model of one size: overlapping tiles, blended where they overlap.

Reference: DeepMind's colab of the optical-flow Perceiver. A tile weighs, at each pixel, as much as
the pixel's distance to the tile's nearest edge.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tf_perceiver.model.perceiver import Perceiver


class TiledPerceiver(Perceiver):
    """A model of pairs of frames that answers for any size, a tile at a time.

    Args:
      tile: (height, width) that the model works at; in training the frames must have it.
      overlap: of neighbouring tiles in pixels, at least.
      further: see `Perceiver`.

    Raises:
      ValueError: an overlap that leaves nothing of a tile.
    """

    def __init__(self, *, tile: tuple[int, int], overlap: int, **further) -> None:
        super().__init__(**further)
        self.tile, self.overlap = tuple(tile), overlap
        if not 0 <= overlap < min(self.tile):
            raise ValueError(
                f"config.task: overlap={overlap} must be from 0 to less than tile={self.tile}"
            )

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Frames [B, 2, H, W, C] of any height and width -> float32 flow [B, H, W, 2].

        Raises:
          ValueError: frames of another size than a tile's, in training.
        """
        name = self.preprocessor.modality
        frames = self.preprocessor.take(batch, 5)
        size = tuple(frames.shape[2:4])
        if size == self.tile:
            return super().call(batch, training=training)
        if training:
            raise ValueError(
                f"config.data.flow.size={size} and config.task.tile={self.tile} must be the same"
            )
        whole = super().call
        return in_tiles(
            lambda part: whole({name: part}, training=False), frames, self.tile, self.overlap
        )


def in_tiles(
    function: Callable[[tf.Tensor], tf.Tensor],
    frames: tf.Tensor,
    tile: tuple[int, int],
    overlap: int,
) -> tf.Tensor:
    """The weighted mean of a function's answers on tiles, one after the other.

    Args:
      function: [B, T, h, w, C] of a tile's size -> float32 [B, h, w, 2].
      frames: [B, T, H, W, C], H and W perhaps unknown until then. Where they are less than a
        tile's, their last rows and columns are repeated.
      tile: (h, w). overlap: of neighbouring tiles, at least.

    Returns:
      float32 [B, H, W, 2].
    """
    size = tf.shape(frames)[2:4]
    padded = tf.maximum(size, tile)
    for axis in range(2):
        indices = tf.minimum(tf.range(padded[axis]), size[axis] - 1)
        frames = tf.gather(frames, indices, axis=2 + axis)
    tops, lefts = (starts(padded[axis], tile[axis], overlap) for axis in range(2))
    weight = tf.constant(weights(tile)[..., None])
    shape = tf.concat([tf.shape(frames)[:1], padded, [2]], 0)

    def add(i: tf.Tensor, total: tf.Tensor, weighed: tf.Tensor) -> tuple[tf.Tensor, ...]:
        top, left = tops[i // tf.size(lefts)], lefts[i % tf.size(lefts)]
        part = frames[:, :, top : top + tile[0], left : left + tile[1]]
        part = tf.ensure_shape(part, [*frames.shape[:2], *tile, frames.shape[-1]])
        around = [[top, padded[0] - tile[0] - top], [left, padded[1] - tile[1] - left], [0, 0]]
        total += tf.pad(function(part) * weight, [[0, 0], *around])
        return i + 1, total, weighed + tf.pad(weight, around)

    count = tf.size(tops) * tf.size(lefts)
    _, total, weighed = tf.while_loop(
        lambda i, *_: i < count,
        add,
        (0, tf.zeros(shape), tf.zeros(shape[1:3])[..., None]),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([frames.shape[0], None, None, 2]),
            tf.TensorShape([None, None, 1]),
        ),
        parallel_iterations=1,  # Memory for one tile at a time.
        maximum_iterations=count,
    )
    return (total / weighed)[:, : size[0], : size[1]]


def starts(size: tf.Tensor, tile: int, overlap: int) -> tf.Tensor:
    """int32 [n]: where tiles begin along an axis, as few as cover it; the last ends flush with it.

    Args:
      size: int32 scalar, at least `tile`.
    """
    step = tile - overlap
    count = 1 + tf.maximum(0, -(-(size - tile) // step))
    return tf.minimum(tf.range(count) * step, size - tile)


def weights(tile: tuple[int, int]) -> np.ndarray:
    """float32 [h, w]: distance to the nearest edge, 1 at it, divided by the largest."""
    rows, columns = (np.minimum(np.arange(n) + 1, n - np.arange(n)) for n in tile)
    distance = np.minimum(rows[:, None], columns[None, :])
    return (distance / distance.max()).astype(np.float32)
