"""Values in groups that have nothing in common but that they are a group: genes, for instance."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.byte_array import Segment
from tf_perceiver.model.linear import fan_in_normal
from tf_perceiver.model.positions import LearnedPositions
from tf_perceiver.model.preprocessors.base import Preprocessor


class Groups(Preprocessor):
    """An input a group: its values, projected by a kernel of the group's own, and its embedding.

    The same place in two groups means two different things, so no kernel is shared. The learned
    embedding of the group, ``pre.<modality>.pos.table``, is added.

    Args:
      tokens: G, the number of groups. width: W, of the largest; the others are padded with zeros.
      project: channels of an input. ``pre.<modality>.group_proj.kernel`` is [G * W, project], the
        groups one below the other.
    """

    def __init__(self, *, tokens: int, width: int, project: int, modality: str = "omics") -> None:
        super().__init__(modality)
        self.tokens, self.width, self.channels = tokens, width, project
        self.kernel = self.add_weight(
            name=f"{self.name}.group_proj.kernel",
            shape=(tokens * width, project),
            initializer=fan_in_normal(width),
        )
        self.embeddings = LearnedPositions(f"{self.name}.pos", (tokens,), project)

    def segment(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Segment:
        """{"omics": [B, G, W]} -> G inputs.

        Raises:
          ValueError: another number of groups, or another width, than the model's.
        """
        values = self.take(batch, 3)
        if tuple(values.shape[1:]) != (self.tokens, self.width):
            raise ValueError(
                f"{self.modality} has {values.shape[1]} groups of {values.shape[2]} values, the "
                f"model was built for {self.tokens} of {self.width}"
            )
        kernel = tf.reshape(tf.cast(self.kernel, values.dtype), [self.tokens, self.width, -1])
        content = tf.einsum("bgw,gwc->bgc", values, kernel)
        return Segment(content, self.embeddings.grid((self.tokens,)), (self.tokens,), added=True)
