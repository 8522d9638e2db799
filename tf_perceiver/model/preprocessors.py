"""From a batch's arrays to the byte array, one function object a modality.

Reference: Perceiver (ICML 2021) section 4 and appendix; DeepMind ``io_processors.py``.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.byte_array import ByteArray
from tf_perceiver.model.positions import Fourier


class Pixels:
    """Every pixel, or every patch of pixels, is one input; positions are Fourier features.

    Args:
      positions: two axes, (row, column).
      channels: of the picture.
      patch: side of the square patches; 1 is the paper's way. A patch is flattened in the order
        (row, column, channel), channel fastest.
    """

    modality = "image"

    def __init__(self, positions: Fourier, *, channels: int = 3, patch: int = 1) -> None:
        self.positions, self.image_channels, self.patch = positions, channels, patch

    @property
    def channels(self) -> int:
        """Width of the byte array's dense form."""
        return self.image_channels * self.patch**2 + self.positions.channels

    def __call__(self, batch: Mapping[str, tf.Tensor]) -> ByteArray:
        """{"image": [B, H, W, C]} -> byte array of H W / patch^2 inputs.

        Raises:
          ValueError: no image in the batch, another channel count, or sides that the patch
            doesn't divide.
        """
        image = _take(batch, self.modality, 4)
        height, width, channels = image.shape[1:]
        if channels != self.image_channels:
            raise ValueError(
                f"image has {channels} channels, the model was built for {self.image_channels}"
            )
        if height % self.patch or width % self.patch:
            raise ValueError(
                f"a {height}x{width} image can't be cut into patches of side {self.patch}"
            )
        if self.patch > 1:
            image = tf.nn.space_to_depth(image, self.patch)
        grid = (height // self.patch, width // self.patch)
        content = tf.reshape(image, [-1, grid[0] * grid[1], image.shape[-1]])
        return ByteArray(content, tf.constant(self.positions.grid(grid)), grid)


class Points:
    """A point cloud: the positions of the points are the inputs, Fourier features and raw.

    Args:
      positions: three axes. The paper's ModelNet40 model has 64 bands up to a frequency of 1120,
        which is a max_resolution of 2240.
    """

    modality = "points"

    def __init__(self, positions: Fourier) -> None:
        self.positions = positions

    @property
    def channels(self) -> int:
        """Width of the byte array's dense form."""
        return self.positions.channels

    def __call__(self, batch: Mapping[str, tf.Tensor]) -> ByteArray:
        """{"points": [B, M, 3]} -> byte array of M inputs without content.

        Raises:
          ValueError: no points in the batch, or another number of axes.
        """
        points = _take(batch, self.modality, 3)
        return ByteArray(None, self.positions.encode(points))


def _take(batch: Mapping[str, tf.Tensor], modality: str, rank: int) -> tf.Tensor:
    if modality not in batch:
        raise ValueError(f"the batch has {sorted(batch)}, the model reads {modality!r}")
    array = tf.convert_to_tensor(batch[modality])
    if array.shape.rank != rank:
        raise ValueError(f"{modality} has rank {array.shape.rank}, {rank} is needed: {array.shape}")
    return array


PREPROCESSORS = {"pixels": Pixels, "points": Points}


def build(config: Mapping) -> Pixels | Points:
    """Builds a preprocessor from ``{"kind": ..., "positions": {...}, ...}``.

    Raises:
      ValueError: an unknown kind.
    """
    fields = dict(config)
    kind = fields.pop("kind")
    if kind not in PREPROCESSORS:
        raise ValueError(f"model.inputs.kind={kind!r} is none of {sorted(PREPROCESSORS)}")
    return PREPROCESSORS[kind](Fourier(**fields.pop("positions")), **fields)
