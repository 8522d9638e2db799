"""Sequences of vectors that another network made: features of a clip's seconds, for instance."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.linear import Linear, fan_in_normal
from tf_perceiver.model.preprocessors.base import GridPreprocessor


class Rows(GridPreprocessor):
    """An input a row, projected, ``pre.<modality>.row_proj``; positions have one axis, time.

    ``batch["<modality>_mask"]``, bool [B, T], says which rows are no padding.

    Args:
      width: of a row. project: channels that it is projected to.
      further: see `GridPreprocessor`.
    """

    def __init__(self, *, width: int, project: int, modality: str, **further) -> None:
        super().__init__(modality, project, **further)
        self.width = width
        self.projection = Linear(f"{self.name}.row_proj", width, project, fan_in_normal(width))

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """{modality: [B, T, width]} -> [B, T, project].

        Raises:
          ValueError: rows of another width than the model's.
        """
        rows = self.take(batch, 3)
        if rows.shape[-1] != self.width:
            raise ValueError(
                f"{self.modality} has rows of {rows.shape[-1]} values, the model was built for "
                f"{self.width}"
            )
        return self.projection(rows)
