"""Position encodings: Fourier features of grids and of per-example points, and learned tables.

Reference: Perceiver (ICML 2021) section 3.2 and appendix D; DeepMind ``position_encoding.py``.
Channel order: raw positions x_1..x_d, then all sines (x_1's bands, x_2's, ...), then all cosines.
Everything is computed in float32 at least: the high bands do not survive bfloat16.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_perceiver.model.linear import Linear, fan_in_normal, truncated_normal


def evenly_spaced(start: float, stop: float, count: int) -> np.ndarray:
    """`count` numbers from `start` to `stop`, both included, as the reference's compiler rounds.

    Interpolates between the ends, with a float32 reciprocal and a fused last addition. NumPy's
    linspace differs by one unit in the last place, which the highest bands, at hundreds of
    radians, turn into 3e-5 of a feature.

    Returns:
      float32 [count]; one number alone is `start`.
    """
    if count == 1:
        return np.array([start], np.float32)
    index = np.arange(count, dtype=np.float32)
    reciprocal = np.float32(1) / np.float32(count - 1)
    below = np.float32(start) * (1 - index * reciprocal)
    # float64 holds the product exactly, so that the sum is rounded once.
    above = index.astype(np.float64) * np.float64(np.float32(stop) * reciprocal)
    spaced = (above + below).astype(np.float32)
    spaced[-1] = stop
    return spaced


def linear_positions(index_dims: Sequence[int]) -> np.ndarray:
    """Positions of a grid in [-1, 1], both ends included, row-major.

    Returns:
      float32 [prod(index_dims), d]. A dimension of size 1 gives -1.
    """
    axes = [evenly_spaced(-1.0, 1.0, n) for n in index_dims]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))


def subsampled_positions(indices: tf.Tensor, index_dims: Sequence[int]) -> tf.Tensor:
    """Positions of chosen elements of a grid, as the reference's subsampled decoder has them.

    Index i of n lies at -1 + 2 i / n: it is divided by n where the whole grid divides by n - 1, and
    never reaches 1. A checkpoint trained with subsampled queries expects exactly this.

    Args:
      indices: int32 or int64 [..., Q], row-major. index_dims: size of the grid.

    Returns:
      float32 [..., Q, d].
    """
    coordinates = tf.cast(tf.stack(unravelled(indices, index_dims), -1), tf.float32)
    return -1.0 + 2.0 * coordinates / tf.constant(list(index_dims), tf.float32)


def unravelled(indices: tf.Tensor, index_dims: Sequence[int]) -> list[tf.Tensor]:
    """Coordinates of row-major indices, one tensor an axis (XLA has no tf.unravel_index)."""
    coordinates = []
    for size in reversed(index_dims):
        coordinates.append(indices % size)
        indices //= size
    return coordinates[::-1]


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

    def check(self, index_dims: Sequence[int]) -> None:
        """Holds a grid against the axes of this encoding.

        Raises:
          ValueError: the grid has another number of axes than max_resolution.
        """
        if len(index_dims) != self.dimensions:
            raise ValueError(
                f"a grid of {len(index_dims)} axes {tuple(index_dims)} needs as many resolutions, "
                f"max_resolution is {self.max_resolution}"
            )

    def frequencies(self) -> np.ndarray:
        """float32 [d, K], in half turns per unit of position."""
        return np.stack(
            [evenly_spaced(1.0, r / 2, self.bands) for r in self.max_resolution]
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

    def grid(self, index_dims: Sequence[int], sampled: bool = False) -> np.ndarray:
        """Encodes a whole grid, once, as a constant.

        Args:
          index_dims: size of the grid, d numbers.
          sampled: see `axis`.

        Returns:
          float32 [prod(index_dims), P], row-major.

        Raises:
          ValueError: the grid has another number of axes than max_resolution.
        """
        self.check(index_dims)
        axes = [self.axis(a, size, sampled) for a, size in enumerate(index_dims)]
        indices = np.indices(tuple(index_dims)).reshape(len(axes), -1)
        parts = [axis[index] for axis, index in zip(axes, indices, strict=True)]
        return np.concatenate(self.by_kind(parts), -1)

    def axis(self, a: int, size: int, sampled: bool = False) -> np.ndarray:
        """What axis `a` of a grid contributes: float32 [size, P / d], raw, sines, cosines.

        Args:
          a: number of the axis. size: of the grid along it.
          sampled: whether its elements lie where `subsampled_positions` has them.
        """
        positions = evenly_spaced(-1.0, 1.0, size)
        if sampled:
            positions = -1 + 2 * np.arange(size, dtype=np.float32) / np.float32(size)
        # This order of products rounds as the reference does; at 112 turns it shows in the result.
        angles = np.float32(np.pi) * (positions[:, None] * self.frequencies()[a])
        parts = [positions[:, None]] if self.raw else []
        parts.append(np.sin(angles))
        if not self.sine_only:
            parts.append(np.cos(angles))
        return np.concatenate(parts, -1)

    def by_kind(self, axes: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Arrays [..., P / d] of every axis -> slices in the order of an encoded position."""
        widths = [1] * self.raw + [self.bands] * (1 if self.sine_only else 2)
        ends = np.cumsum(widths).tolist()
        kinds = zip([0, *ends], ends, strict=False)
        return [axis[..., start:end] for start, end in kinds for axis in axes]

    def by_axis(self, encoded: tf.Tensor) -> list[tf.Tensor]:
        """The inverse: [..., P] -> [..., P / d] of every axis."""
        d, k = self.dimensions, self.bands
        widths = [1] * (d * self.raw) + [k] * (d if self.sine_only else 2 * d)
        slices = tf.split(encoded, widths, -1)
        return [tf.concat(slices[a::d], -1) for a in range(d)]


@dataclasses.dataclass(frozen=True)
class FourierGrid:
    """Positions of a whole grid, which stay apart by axis until somebody asks for the array.

    Where a tensor is due, as in ``tf.gather(grid, i)``, it turns into the dense array.

    Attributes:
      encoding: their features. index_dims: size of the grid.
      sampled: whether its elements lie where `subsampled_positions` has them.
    """

    encoding: Fourier
    index_dims: tuple[int, ...]
    sampled: bool = False

    @property
    def shape(self) -> tf.TensorShape:
        """[M, P] of the dense array."""
        return tf.TensorShape([math.prod(self.index_dims), self.encoding.channels])

    def axes(self) -> list[np.ndarray]:
        """float32 [n_a, P / d] for every axis."""
        axis = self.encoding.axis
        return [axis(a, size, self.sampled) for a, size in enumerate(self.index_dims)]

    def dense(self, dtype: tf.DType | str | None = None) -> tf.Tensor:
        """[M, P], row-major."""
        grid = self.encoding.grid(self.index_dims, self.sampled)
        return tf.cast(tf.constant(grid), dtype or tf.float32)


def _to_tensor(grid: FourierGrid, dtype=None, name=None, as_ref=False) -> tf.Tensor:
    del name, as_ref
    return grid.dense(dtype)


tf.register_tensor_conversion_function(FourierGrid, _to_tensor)


class LearnedPositions(tf.keras.layers.Layer):
    """A table with a row for every element of a grid.

    Args:
      name: of the variable is ``<name>.table``.
      index_dims: the grid that the table was made for.
      channels: width of a row.
      scale: sigma of the truncated normal that it starts from.
    """

    def __init__(
        self, name: str, index_dims: Sequence[int], channels: int, scale: float = 0.02
    ) -> None:
        super().__init__(name=name, autocast=False)
        self.index_dims, self.channels = tuple(index_dims), channels
        self.table = self.add_weight(
            name=f"{name}.table",
            shape=(math.prod(self.index_dims), channels),
            initializer=truncated_normal(scale),
        )

    @property
    def dimensions(self) -> int:
        """Number of axes of the grid."""
        return len(self.index_dims)

    def grid(self, index_dims: Sequence[int]) -> tf.Tensor:
        """[prod(index_dims), channels]; another grid than the table's is interpolated to.

        Bicubic along every axis, as Hugging Face does for pictures (`cubic_interpolation`).

        Raises:
          ValueError: another number of axes.
        """
        index_dims = tuple(index_dims)
        if len(index_dims) != self.dimensions:
            raise ValueError(
                f"{self.name}: a grid of {len(index_dims)} axes {index_dims} can't be read from a "
                f"table of {self.dimensions} axes {self.index_dims}"
            )
        if index_dims == self.index_dims:
            return tf.convert_to_tensor(self.table)
        table = tf.reshape(self.table, [*self.index_dims, self.channels])
        for axis, (old, new) in enumerate(zip(self.index_dims, index_dims, strict=True)):
            if old != new:
                weights = tf.constant(cubic_interpolation(old, new), table.dtype)
                table = tf.tensordot(weights, table, [[1], [axis]])  # The new axis comes first.
                order = [*range(1, axis + 1), 0, *range(axis + 1, len(index_dims) + 1)]
                table = tf.transpose(table, order)
        return tf.reshape(table, [-1, self.channels])


def cubic_interpolation(old: int, new: int) -> np.ndarray:
    """Weights that resize an axis by cubic convolution: a = -0.75, pixel centres, edges repeated.

    The kernel of Keys (1981) with PyTorch's a, for align_corners=False and without antialiasing.

    Returns:
      float32 [new, old]; rows sum to 1.
    """
    a = -0.75
    centres = (np.arange(new) + 0.5) * old / new - 0.5
    first = np.floor(centres).astype(int)
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        distance = np.abs(centres - (first + tap))
        near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
        far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
        at = np.clip(first + tap, 0, old - 1)
        np.add.at(weights, (np.arange(new), at), np.where(distance <= 1, near, far))
    return weights.astype(np.float32)


class GridPositions(tf.keras.layers.Layer):
    """Positions of a grid by either encoding, with an optional projection after it.

    Args:
      name: prefix of the variable names: ``<name>.table``, ``<name>_proj.kernel``.
      kind: "fourier" (then `fields` are `Fourier`'s) or "learned" (`LearnedPositions`').
      project: channels to project to; 0 for no projection.

    Raises:
      ValueError: an unknown kind or field.
    """

    def __init__(self, name: str, *, kind: str = "fourier", project: int = 0, **fields) -> None:
        super().__init__(name=name, autocast=False)
        if kind not in ("fourier", "learned"):
            raise ValueError(f"{name}: positions.kind={kind!r} is neither 'fourier' nor 'learned'")
        try:
            self.encoding = (
                Fourier(**fields) if kind == "fourier" else LearnedPositions(name, **fields)
            )
        except TypeError as error:
            raise ValueError(f"{name}: positions of kind {kind!r}: {error}") from error
        self.projection = None
        if project:
            width = self.encoding.channels
            self.projection = Linear(f"{name}_proj", width, project, fan_in_normal(width))

    @property
    def channels(self) -> int:
        """P, the width of an encoded position."""
        return self.projection.outputs if self.projection else self.encoding.channels

    @property
    def dimensions(self) -> int:
        """Number of axes of the grids that can be encoded."""
        return self.encoding.dimensions

    def grid(self, index_dims: Sequence[int]) -> tf.Tensor | FourierGrid:
        """[prod(index_dims), P], row-major, the same for every example.

        Raises:
          ValueError: the encoding has another number of axes.
        """
        if self.projection is None and isinstance(self.encoding, Fourier):
            self.encoding.check(index_dims)
            return FourierGrid(self.encoding, tuple(index_dims))
        encoded = tf.convert_to_tensor(self.encoding.grid(index_dims))
        return encoded if self.projection is None else self.projection(encoded)
