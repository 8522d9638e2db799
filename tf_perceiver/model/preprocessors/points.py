"""Point clouds. Reference: Perceiver (ICML 2021) section 4.3 and its appendix."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.byte_array import Segment
from tf_perceiver.model.positions import Fourier
from tf_perceiver.model.preprocessors.base import Preprocessor


class Points(Preprocessor):
    """The positions of the points are the inputs: Fourier features and raw, without content.

    Args:
      positions: fields of `Fourier` with three axes. The paper's ModelNet40 model has 64 bands up
        to a frequency of 1120, which is a max_resolution of 2240.
    """

    def __init__(self, *, positions: Mapping, modality: str = "points") -> None:
        super().__init__(modality)
        fields = dict(positions)
        if fields.pop("kind", "fourier") != "fourier":
            raise ValueError(f"{self.name}: points have no grid for a table; use kind='fourier'")
        self.positions = Fourier(**fields)
        self.channels = self.positions.channels

    def segment(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Segment:
        """{"points": [B, M, d]} -> M inputs."""
        return Segment(None, self.positions.encode(self.take(batch, 3)))
