"""Normalised inputs in parts, and queries and sums in the channels of these parts.

A segment's inputs are ``x = [content, positions, pad]`` and normalised ``x^ = (x - mean) * scale``,
where ``scale`` is 1 / std, or 0 for inputs that a mask token replaces. For a query in input
channels ``q^`` the logit is

    x^ . q^ = (content - mean) * scale . q^_content  +  scale * (position . q^_position)
              + scale * (pad . q^_pad)  -  mean * scale * sum(q^_position, q^_pad)
              + replaced * (token^ . q^)

so that an input needs channels for its content and a few numbers more. Where positions are a
Fourier grid, ``position . q^_position`` is a sum over the axes: it needs no channels of the input,
but a number for every row and every column (see blocks.py). Other positions are treated as content
is. Sums of x^ over inputs, weighted, are had from the sums over the same channels.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_perceiver.model.attention import MASKED_LOGIT
from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.linear import LAYER_NORM_EPSILON, normalise
from tf_perceiver.model.positions import FourierGrid


@dataclasses.dataclass(frozen=True)
class Channels:
    """Queries, or weighted sums, of R rows (heads x latents) in the channels of a segment's parts.

    Attributes:
      wide: [B, R, W], of content and of positions that don't separate; None where there are none.
      thin: [B, R, k], of the further numbers of an input, see `Factors.thin_names`; None for none.
      outer: [B, R, O], a number for every row of the grid; None where it doesn't separate.
      inner: [B, R, I], the same for its columns.
    """

    wide: tf.Tensor | None = None
    thin: tf.Tensor | None = None
    outer: tf.Tensor | None = None
    inner: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Factors:
    """The normalised inputs of a segment.

    Attributes:
      content: [B, M, c] or None. positions: [1 or B, M, P], such that don't separate, or None.
      grid: positions that do, or None.
      pad: [1, p] or None. token: [1, C], normalised, or None.
      mean: [B, M, 1]. scale: [B, M, 1]; B is 1 where the examples share all of the segment.
      replaced: [B, M, 1], 1 where the token stands in for the input and 0 elsewhere, or None.
      refused: [B, M, 1], `MASKED_LOGIT` for inputs that nobody may look at, else 0; or None.
      learned: see `Segment`.
    """

    content: tf.Tensor | None
    positions: tf.Tensor | None
    grid: FourierGrid | None
    pad: tf.Tensor | None
    token: tf.Tensor | None
    mean: tf.Tensor
    scale: tf.Tensor
    replaced: tf.Tensor | None
    refused: tf.Tensor | None
    learned: bool = True

    @property
    def inputs(self) -> int | None:
        """M, where it is known statically."""
        return self.mean.shape[1]

    @property
    def rows_and_columns(self) -> tuple[int, int] | None:
        """The grid as two axes: all but the last, and the last."""
        return None if self.grid is None else _two_axes(self.grid)

    @property
    def width(self) -> int:
        """W, the channels of content and of positions that don't separate."""
        return sum(t.shape[-1] for t in (self.content, self.positions) if t is not None)

    @property
    def thin_names(self) -> tuple[str, ...]:
        """The further numbers of an input that a query has a channel for."""
        names = []
        if self.grid is None and self.pad is not None:
            names.append("scale")
        if self.grid is not None or self.pad is not None:
            names.append("mean")
        return (*names, "token") if self.token is not None else tuple(names)

    def project(self, queries: tf.Tensor) -> Channels:
        """Queries in input channels [B, R, C] -> the same in the channels of the parts."""
        content, positions, pad = self._split(queries)
        wide, thin, outer, inner = [], {}, None, None
        if content is not None:
            wide.append(content)
        if positions is not None and self.grid is None:
            wide.append(positions)
        uncentred = None if pad is None else tf.reduce_sum(pad, -1, keepdims=True)
        along_pad = None if pad is None else _along(pad, self.pad)
        if self.grid is not None:
            summed = tf.reduce_sum(positions, -1, keepdims=True)
            uncentred = summed if uncentred is None else summed + uncentred
            outer, inner = self._over_axes(positions)
            if along_pad is not None:
                outer += along_pad
        elif along_pad is not None:
            thin["scale"] = along_pad
        if uncentred is not None:
            thin["mean"] = -uncentred
        if self.token is not None:
            thin["token"] = _along(queries, self.token)
        return Channels(
            tf.concat(wide, -1) if wide else None,
            tf.concat([thin[name] for name in self.thin_names], -1) if thin else None,
            outer,
            inner,
        )

    def sums(self, channels: Channels) -> tf.Tensor:
        """Sums in the channels of the parts -> sums of the normalised inputs, [B, R, C]."""
        parts = []
        thin = {}
        if channels.thin is not None:
            names = self.thin_names
            thin = dict(zip(names, tf.split(channels.thin, len(names), -1), strict=True))
        if channels.wide is not None:
            parts.append(channels.wide)
        scale = thin.get("scale")
        if self.grid is not None:
            parts.append(self._features(channels) - thin["mean"])
            scale = tf.reduce_sum(channels.outer, -1, keepdims=True)
        if self.pad is not None:
            parts.append(scale * self.pad - thin["mean"])
        whole = parts[0] if len(parts) == 1 else tf.concat(parts, -1)
        return whole if self.token is None else whole + thin["token"] * self.token

    def cut(self, start: tf.Tensor, count: int) -> Factors:
        """The inputs start .. start + count - 1; of a grid, whole rows."""
        fields = {}
        for name in ("content", "positions", "mean", "scale", "replaced", "refused"):
            tensor = getattr(self, name)
            if tensor is not None:
                shape = tf.shape(tensor)
                piece = tf.slice(tensor, [0, start, 0], [shape[0], count, shape[2]])
                static = [tensor.shape[0], count, tensor.shape[2]]
                fields[name] = tf.ensure_shape(piece, static)
        return dataclasses.replace(self, **fields)

    def _split(self, queries: tf.Tensor) -> list[tf.Tensor | None]:
        """[B, R, C] -> what of it meets content, positions and pad."""
        positions = self.positions if self.grid is None else self.grid
        of_input = (self.content, positions, self.pad)
        sizes = [0 if part is None else part.shape[-1] for part in of_input]
        parts = tf.split(queries, sizes, -1)
        return [part if size else None for part, size in zip(parts, sizes, strict=True)]

    def _over_axes(self, queries: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """[B, R, P] -> [B, R, O], [B, R, I]: the product with every row's and column's features."""
        products = [
            tf.matmul(part, tf.constant(features, part.dtype), transpose_b=True)
            for part, features in zip(
                self.grid.encoding.by_axis(queries), self.grid.axes(), strict=True
            )
        ]
        *leading, inner = products
        outer = leading[0]
        for product in leading[1:]:
            outer = outer[..., None] + product[..., None, :]
            outer = tf.reshape(outer, [*_shape(outer)[:2], outer.shape[2] * outer.shape[3]])
        return outer, inner

    def _features(self, channels: Channels) -> tf.Tensor:
        """[B, R, O], [B, R, I] -> [B, R, P]: sums of the positions' features."""
        *sizes, _ = self.grid.index_dims
        outer = tf.reshape(channels.outer, [*_shape(channels.outer)[:2], *sizes])
        axes = range(2, 2 + len(sizes))
        by_axis = [tf.reduce_sum(outer, [a for a in axes if a != axis]) for axis in axes]
        sums = [
            tf.matmul(part, tf.constant(features, part.dtype))
            for part, features in zip([*by_axis, channels.inner], self.grid.axes(), strict=True)
        ]
        return tf.concat(self.grid.encoding.by_kind(sums), -1)


def of_array(array: ByteArray, dtype: tf.DType) -> list[Factors]:
    """The factors of every segment of a byte array, in `dtype`."""
    masks = [None] * len(array.segments)
    if array.mask is not None:
        lengths = [segment.length for segment in array.segments]
        masks = tf.split(array.mask, lengths, 1) if len(lengths) > 1 else [array.mask]
    return [
        of_segment(segment, dtype, mask)
        for segment, mask in zip(array.segments, masks, strict=True)
    ]


def of_segment(
    segment: Segment, dtype: tf.DType, mask: tf.Tensor | None = None
) -> Factors:
    """A segment's factors; nothing of the size of its dense form is made.

    Args:
      segment: M inputs of C channels.
      dtype: of everything.
      mask: bool [B, M], True = may be looked at, or None.
    """
    content = None if segment.content is None else tf.cast(segment.content, dtype)
    positions, grid = segment.positions, None
    if separates(segment):
        positions, grid = None, segment.positions
    elif positions is not None:
        positions = tf.cast(tf.convert_to_tensor(positions), dtype)
        positions = positions[None] if positions.shape.rank == 2 else positions
        if segment.added:
            content, positions = content + positions, None
    pad = None if segment.pad is None else tf.cast(segment.pad, dtype)

    mean, deviation = _statistics(content, positions, grid, pad, segment.channels, dtype)
    token = replaced = refused = None
    if mask is not None:
        refused = tf.where(mask, tf.zeros([], dtype), tf.constant(MASKED_LOGIT, dtype))[..., None]
    if segment.masked is not None:
        token = normalise(tf.cast(segment.token, dtype))
        replaced = tf.cast(segment.masked, dtype)[..., None]
        deviation *= 1 - replaced
    return Factors(
        content,
        positions,
        grid,
        pad,
        token,
        mean,
        deviation,
        replaced,
        refused,
        segment.learned,
    )


def width(segment: Segment) -> int:
    """`Factors.width` of a segment, without its factors."""
    channels = 0 if segment.content is None else segment.content.shape[-1]
    if segment.positions is not None and not segment.added and not separates(segment):
        channels += segment.positions.shape[-1]
    return channels


def separates(segment: Segment) -> bool:
    """Whether the positions of a segment fall apart into rows and columns.

    A single axis doesn't: it would need a number for every input where its features are fewer.
    """
    grid = segment.positions
    return (
        isinstance(grid, FourierGrid)
        and not segment.added
        and len(grid.index_dims) > 1
        and min(_two_axes(grid)) > 1
    )


def _two_axes(grid: FourierGrid) -> tuple[int, int]:
    return grid.shape[0] // grid.index_dims[-1], grid.index_dims[-1]


def _statistics(
    content: tf.Tensor | None,
    positions: tf.Tensor | None,
    grid: FourierGrid | None,
    pad: tf.Tensor | None,
    channels: int,
    dtype: tf.DType,
) -> tuple[tf.Tensor, tf.Tensor]:
    """(mean, 1 / std) of every input over its channels, [B, M, 1], from those of the parts.

    Deviations are summed about the part's own mean and moved to the whole's: no large squares are
    subtracted from each other.
    """
    parts = []  # (number of channels, their sum, sum of squares about their mean)
    for part in (content, positions, None if pad is None else pad[None]):
        if part is not None:
            mean = tf.reduce_mean(part, -1, keepdims=True)
            about = tf.reduce_sum(tf.square(part - mean), -1, keepdims=True)
            parts.append((part.shape[-1], mean, about))
    if grid is not None:
        width = grid.shape[1]
        total, squares = (_over_grid(grid, power, dtype) for power in (1, 2))
        parts.append((width, total / width, squares - tf.square(total) / width))
    mean = sum(size * part for size, part, _ in parts) / channels
    about = sum(square + size * tf.square(part - mean) for size, part, square in parts)
    variance = about / channels
    return mean, tf.math.rsqrt(variance + LAYER_NORM_EPSILON)


def _over_grid(grid: FourierGrid, power: int, dtype: tf.DType) -> tf.Tensor:
    """[1, M, 1]: the sum of the features of every element, to a power."""
    total = tf.zeros([], dtype)
    for features in grid.axes():
        summed = tf.constant((features.astype("float64") ** power).sum(1), dtype)
        total = total[..., None] + summed
    return tf.reshape(total, [1, -1, 1])


def _along(queries: tf.Tensor, row: tf.Tensor) -> tf.Tensor:
    """[B, R, C] . [1, C] -> [B, R, 1]."""
    return tf.reduce_sum(queries * row, -1, keepdims=True)


def _shape(x: tf.Tensor) -> list[tf.Tensor]:
    return tf.unstack(tf.shape(x))
