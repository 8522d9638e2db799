"""What a decoder asks: output queries of learned tables, of Fourier grids, of the input itself.

Reference: Perceiver IO (ICLR 2022) section 3.2; DeepMind ``perceiver.py``, decoder classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf

from tf_perceiver.model.byte_array import Segment
from tf_perceiver.model.linear import rows, truncated_normal
from tf_perceiver.model.positions import (
    Fourier,
    FourierGrid,
    linear_positions,
    subsampled_positions,
    unravelled,
)


class TableQueries(tf.keras.layers.Layer):
    """A learned vector for every output: ``<name>.table`` [Q, channels]."""

    def __init__(self, name: str, count: int, channels: int, scale: float = 0.02) -> None:
        super().__init__(name=name, autocast=False)
        self.count, self.channels = count, channels
        self.table = self.add_weight(
            name=f"{name}.table", shape=(count, channels), initializer=truncated_normal(scale)
        )

    def rows(self, indices: tf.Tensor) -> tf.Tensor:
        """int [Q'] -> [Q', channels]."""
        return rows(tf.convert_to_tensor(self.table), indices)

    def chosen(self, indices: tf.Tensor) -> tf.Tensor:
        """The same as `rows`."""
        return self.rows(indices)


class GridQueries:
    """Fourier features of the positions of a grid of outputs, made where they are needed.

    Args:
      positions: their encoding. index_dims: the grid.
      sampled: whether all of them lie where a sample does, see `subsampled_positions`: what has
        learned from samples alone knows no other places.
    """

    def __init__(
        self, positions: Fourier, index_dims: Sequence[int], sampled: bool = False
    ) -> None:
        if len(index_dims) != positions.dimensions:
            raise ValueError(
                f"queries on a grid of {len(index_dims)} axes {tuple(index_dims)} need as many "
                f"resolutions, max_resolution is {positions.max_resolution}"
            )
        self.positions, self.index_dims, self.sampled = positions, tuple(index_dims), sampled
        self.count, self.channels = math.prod(self.index_dims), positions.channels

    def segment(self, pad: tf.Tensor) -> Segment:
        """All queries, padded, as a segment whose positions stay apart by axis."""
        grid = FourierGrid(self.positions, self.index_dims, self.sampled)
        return Segment(None, grid, self.index_dims, pad=pad)

    def rows(self, indices: tf.Tensor) -> tf.Tensor:
        """int [Q'], elements of the whole grid -> [Q', channels]."""
        if self.sampled:
            return self.chosen(indices)
        coordinates = unravelled(indices, self.index_dims)
        axes = (tf.constant(linear_positions((size,))[:, 0]) for size in self.index_dims)
        places = [tf.gather(axis, i) for axis, i in zip(axes, coordinates, strict=True)]
        return self.positions.encode(tf.stack(places, -1))

    def chosen(self, indices: tf.Tensor) -> tf.Tensor:
        """int [..., Q'], a sample of the grid -> [..., Q', channels]; `subsampled_positions`."""
        return self.positions.encode(subsampled_positions(indices, self.index_dims))
