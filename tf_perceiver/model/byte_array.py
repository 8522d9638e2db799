"""The byte array: the paper's name for what a Perceiver reads.

One segment a modality. Content, positions, padding and mask tokens stay apart until somebody asks
for the dense array: positions of a grid are the same for every example and need not be copied
over the batch, a padding vector is the same for every input of its segment.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tf_perceiver.model.positions import FourierGrid


@dataclasses.dataclass(frozen=True)
class Segment:
    """The inputs of one modality.

    Attributes:
      content: [B, M, C] values without positions (pixels, patches, embeddings), or None where the
        positions are all there is (point clouds).
      positions: [M, P] shared by the batch (tables, or a `FourierGrid`, which stays apart by axis),
        or [B, M, P] per example (points), or None (labels).
      grid: shape of the grid that M enumerates in row-major order, or None (points).
      added: positions are added to the content (C = P) instead of following it.
      pad: [1, p], learned; follows content and positions in every input, up to the common width of
        several modalities.
      token: [1, C + P + p], learned; stands in for the inputs that `masked` names.
      masked: bool [B, M], True = replaced by `token`; or None.
      learned: whether weights had a part in content or positions. Where they had none, structured
        attention makes no gradient to either.
    """

    content: tf.Tensor | None
    positions: tf.Tensor | FourierGrid | None
    grid: tuple[int, ...] | None = None
    added: bool = False
    pad: tf.Tensor | None = None
    token: tf.Tensor | None = None
    masked: tf.Tensor | None = None
    learned: bool = True

    def __post_init__(self) -> None:
        if self.content is None and self.positions is None:
            raise ValueError("a segment without content and positions has no inputs")
        if self.added and (
            self.content is None
            or self.positions is None
            or self.content.shape[-1] != self.positions.shape[-1]
        ):
            shapes = [None if t is None else tuple(t.shape) for t in (self.content, self.positions)]
            raise ValueError(
                f"positions can be added to content of the same width only: {shapes[1]} to "
                f"{shapes[0]}; use combine='concat', or project them"
            )

    @property
    def channels(self) -> int:
        """Width of the dense array."""
        parts = [t.shape[-1] for t in (self.content, self.positions) if t is not None]
        return (parts[0] if self.added else sum(parts)) + (
            0 if self.pad is None else self.pad.shape[-1]
        )

    @property
    def length(self) -> int | None:
        """M, where it is known statically."""
        return (self.content if self.positions is None else self.positions).shape[-2]

    def dense(self, dtype: tf.DType | str = tf.float32) -> tf.Tensor:
        """[B, M, C + P + p]: content, then positions, then padding, as DeepMind concatenates."""
        positions = None if self.positions is None else tf.cast(self.positions, dtype)
        content = None if self.content is None else tf.cast(self.content, dtype)
        if content is None:
            parts = [positions]
        elif positions is None:
            parts = [content]
        elif self.added:
            parts = [content + positions]
        else:
            parts = [content, _over_batch(positions, content)]
        if self.pad is not None:
            pad = tf.cast(self.pad, dtype)
            width = parts[0][..., :1]
            parts.append(tf.zeros_like(width) + pad)  # Broadcast to [B, M, p].
        dense = parts[0] if len(parts) == 1 else tf.concat(parts, -1)
        if self.masked is not None:
            dense = tf.where(self.masked[..., None], tf.cast(self.token, dtype), dense)
        return dense


@dataclasses.dataclass(frozen=True)
class ByteArray:
    """Inputs of one batch: segments of the same width, one after the other.

    Attributes:
      segments: in the order in which the inputs follow each other.
      mask: bool [B, M] over all segments, True = may be attended to; None where all may.
    """

    segments: tuple[Segment, ...]
    mask: tf.Tensor | None = None

    def __post_init__(self) -> None:
        widths = {segment.channels for segment in self.segments}
        if len(widths) != 1:
            raise ValueError(f"segments of different widths {sorted(widths)} can't be one array")
        if self.mask is None:
            return
        length = self.length
        shape = self.mask.shape
        if shape.rank != 2 or None not in (length, shape[1]) and length != shape[1]:
            raise ValueError(f"the mask of {length} inputs has shape {shape}; [B, {length}] is due")

    @property
    def channels(self) -> int:
        """Width of the dense array."""
        return self.segments[0].channels

    @property
    def length(self) -> int | None:
        """M, where it is known statically."""
        lengths = [segment.length for segment in self.segments]
        return None if None in lengths else sum(lengths)

    @property
    def grid(self) -> tuple[int, ...] | None:
        """The grid that M enumerates, where the array is one segment and has one."""
        return self.segments[0].grid if len(self.segments) == 1 else None

    def batch_size(self) -> tuple[tf.Tensor, int | None]:
        """B as a tensor, and as a number where it is known statically."""
        arrays = [self.mask] if self.mask is not None else []
        for segment in self.segments:
            arrays += [x for x in (segment.content, segment.masked) if x is not None]
            arrays += [segment.positions] if segment.content is None else []
        known = {x.shape[0] for x in arrays} - {None}
        return tf.shape(arrays[0])[0], max(known, default=None)

    def dense(self, dtype: tf.DType | str = tf.float32) -> tf.Tensor:
        """[B, M, C]."""
        parts = [segment.dense(dtype) for segment in self.segments]
        return parts[0] if len(parts) == 1 else tf.concat(parts, 1)


def _over_batch(positions: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Positions [M, P] repeated for every example of `content`; [B, M, P] as they are."""
    if positions.shape.rank == 3:
        return positions
    shape = tf.concat([tf.shape(content)[:1], tf.shape(positions)], 0)
    return tf.broadcast_to(positions[None], shape)
