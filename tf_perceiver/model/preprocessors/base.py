"""What preprocessors have in common: taking a modality out of the batch, attaching positions."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.positions import GridPositions

COMBINATIONS = ("concat", "add")


class Preprocessor(tf.keras.layers.Layer):
    """From a batch's array to a byte array of one segment.

    Attributes:
      modality: key of the batch.
      channels: width of the byte array's dense form.
    """

    channels: int

    def __init__(self, modality: str) -> None:
        # No autocasting: values and positions stay in the batch's own dtype.
        super().__init__(name=f"pre.{modality}", autocast=False)
        self.modality = modality

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> ByteArray:
        """The batch's byte array; its mask is ``batch["<modality>_mask"]``, bool [B, M], if any."""
        mask = batch.get(f"{self.modality}_mask")
        mask = None if mask is None else tf.cast(mask, tf.bool)
        segment = self.segment(batch, training)
        learned = segment.learned and bool(self.trainable_variables)
        return ByteArray((dataclasses.replace(segment, learned=learned),), mask)

    def segment(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Segment:
        """The modality's inputs."""
        raise NotImplementedError

    def take(self, batch: Mapping[str, tf.Tensor], *ranks: int) -> tf.Tensor:
        """The modality's array.

        Raises:
          ValueError: the batch has none, or its rank is none of `ranks`.
        """
        if self.modality not in batch:
            raise ValueError(f"the batch has {sorted(batch)}, the model reads {self.modality!r}")
        array = tf.convert_to_tensor(batch[self.modality])
        if array.shape.rank not in ranks:
            wanted = " or ".join(map(str, ranks))
            raise ValueError(
                f"{self.modality} has rank {array.shape.rank}, {wanted} is needed: {array.shape}"
            )
        return array


class GridPreprocessor(Preprocessor):
    """Content on a grid, with positions behind it or added to it.

    Args:
      modality: key of the batch; the names of variables begin with ``pre.<modality>``.
      content_channels: width of the content of an input.
      positions: fields of `GridPositions`.
      combine: "concat" or "add".

    Raises:
      ValueError: an unknown `combine`, or widths that can't be added.
    """

    def __init__(
        self,
        modality: str,
        content_channels: int,
        positions: Mapping,
        combine: str = "concat",
    ) -> None:
        super().__init__(modality)
        if combine not in COMBINATIONS:
            raise ValueError(f"{self.name}: combine={combine!r} is none of {COMBINATIONS}")
        self.positions = GridPositions(f"{self.name}.pos", **positions)
        self.combine = combine
        width = self.positions.channels
        if combine == "add" and width != content_channels:
            raise ValueError(
                f"{self.name}: positions of {width} channels can't be added to content of "
                f"{content_channels}; set positions.project={content_channels}"
            )
        self.content_channels = content_channels
        self.channels = content_channels + (width if combine == "concat" else 0)

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """[B, *grid, C]."""
        raise NotImplementedError

    def segment(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Segment:
        """The modality's inputs, the grid being enumerated in row-major order."""
        content = self.content(batch, training)
        grid = tuple(content.shape[1:-1])
        shape = [tf.shape(content)[0], math.prod(grid), content.shape[-1]]
        content = tf.reshape(content, shape)
        return Segment(content, self.positions.grid(grid), grid, added=self.combine == "add")
