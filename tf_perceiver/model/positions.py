"""Position encodings: Fourier features of grids and of per-example points.

Reference: Perceiver (ICML 2021) section 3.2 and appendix D; DeepMind ``position_encoding.py``.
Channel order: raw positions x_1..x_d, then all sines (x_1's bands, x_2's, ...), then all cosines.
Everything is computed in float32 at least: the high bands do not survive bfloat16.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


def linear_positions(index_dims: Sequence[int]) -> np.ndarray:
    """Positions of a grid in [-1, 1], both ends included, row-major.

    Returns:
      float32 [prod(index_dims), d]. A dimension of size 1 gives -1.
    """
    axes = [np.linspace(-1.0, 1.0, n, dtype=np.float32) for n in index_dims]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


@dataclasses.dataclass(frozen=True)
class Fourier:
    """Fourier features with linearly spaced frequencies 1 .. max_resolution / 2.

    Attributes:
      bands: K, frequencies a dimension.
      max_resolution: one number a dimension; twice the highest frequency (Nyquist). It doesn't
        follow the size of the grid: a model keeps its bands when the input changes.
      raw: whether the positions themselves come first.
      sine_only: leave out the cosines.
    """

    bands: int
    max_resolution: tuple[float, ...]
    raw: bool = True
    sine_only: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "max_resolution", tuple(self.max_resolution))
        if self.bands < 1:
            raise ValueError(f"positions.bands={self.bands}: at least 1 is needed")

    @property
    def dimensions(self) -> int:
        """d, the number of position axes."""
        return len(self.max_resolution)

    @property
    def channels(self) -> int:
        """P, the width of an encoded position: d (2K + 1) where nothing is left out."""
        waves = 1 if self.sine_only else 2
        return self.dimensions * (waves * self.bands + int(self.raw))

    def frequencies(self) -> np.ndarray:
        """float32 [d, K], in half turns per unit of position."""
        return np.stack(
            [np.linspace(1.0, r / 2, self.bands, dtype=np.float32) for r in self.max_resolution]
        )

    def encode(self, positions: tf.Tensor) -> tf.Tensor:
        """Encodes positions, for instance of points, as they come.

        Args:
          positions: [..., d], float32 or float64.

        Returns:
          [..., P] in the dtype of the positions.

        Raises:
          ValueError: the last axis isn't d long.
        """
        positions = tf.convert_to_tensor(positions)
        if positions.shape[-1] != self.dimensions:
            raise ValueError(
                f"positions have {positions.shape[-1]} axes, max_resolution has "
                f"{self.dimensions}: {self.max_resolution}"
            )
        frequencies = tf.constant(self.frequencies(), positions.dtype)
        angles = np.pi * (positions[..., None] * frequencies)
        angles = tf.reshape(
            angles, tf.concat([tf.shape(positions)[:-1], [self.dimensions * self.bands]], 0)
        )
        parts = [positions] if self.raw else []
        parts.append(tf.sin(angles))
        if not self.sine_only:
            parts.append(tf.cos(angles))
        features = tf.concat(parts, -1)
        return tf.ensure_shape(features, positions.shape[:-1] + [self.channels])

    def grid(self, index_dims: Sequence[int]) -> np.ndarray:
        """Encodes a whole grid, once, as a constant.

        Args:
          index_dims: size of the grid, d numbers.

        Returns:
          float32 [prod(index_dims), P], row-major.

        Raises:
          ValueError: the grid has another number of axes than max_resolution.
        """
        if len(index_dims) != self.dimensions:
            raise ValueError(
                f"a grid of {len(index_dims)} axes {tuple(index_dims)} needs as many resolutions, "
                f"max_resolution is {self.max_resolution}"
            )
        positions = linear_positions(index_dims)
        # This order of products rounds as the reference does; at 112 turns it shows in the result.
        angles = np.float32(np.pi) * (positions[:, :, None] * self.frequencies())
        angles = angles.reshape(len(positions), -1)
        parts = [positions] if self.raw else []
        parts.append(np.sin(angles))
        if not self.sine_only:
            parts.append(np.cos(angles))
        return np.concatenate(parts, -1)
