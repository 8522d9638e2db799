"""Pairs of frames for optical flow. Reference: Perceiver IO (ICLR 2022) section 4.2, appendix I."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model import patches
from tf_perceiver.model.linear import Linear, fan_in_normal
from tf_perceiver.model.preprocessors.image import Image

NEIGHBOURHOOD = 3


class FramePair(Image):
    """An input a pixel: its 3x3 neighbourhood in both frames, projected, and its position.

    Args:
      project: channels that the 54 values are projected to, ``pre.image.patch_proj``.
      modality: key of the batch: [B, 2, H, W, 3], in [-1, 1].
    """

    frames = 2

    def __init__(
        self, *, project: int = 64, channels: int = 3, modality: str = "image", **further
    ) -> None:
        super().__init__(content_channels=project, channels=channels, modality=modality, **further)
        width = self.frames * NEIGHBOURHOOD**2 * channels
        self.projection = Linear(f"{self.name}.patch_proj", width, project, fan_in_normal(width))

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """[B, 2, H, W, 3] -> [B, H, W, project].

        Raises:
          ValueError: no pair of frames.
        """
        frames = self.take_image(batch)
        if frames.shape.rank != 5 or frames.shape[1] != self.frames:
            raise ValueError(
                f"{self.modality} has shape {frames.shape}; two frames are due, [B, 2, H, W, C]"
            )
        around = patches.neighbourhoods(frames, NEIGHBOURHOOD)
        return self.projection(tf.squeeze(patches.space_to_depth(around, 1, self.frames), 1))
