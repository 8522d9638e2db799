"""Tokens (text as bytes) and labels. Reference: Perceiver IO (ICLR 2022) section 4.1."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.byte_array import Segment
from tf_perceiver.model.linear import rows, truncated_normal
from tf_perceiver.model.positions import LearnedPositions
from tf_perceiver.model.preprocessors.base import Preprocessor


class Text(Preprocessor):
    """Embeddings of tokens with learned positions added: ``pre.text.embed``, ``pre.text.pos``.

    ``batch["text_mask"]``, bool [B, L], says which tokens may be read.

    Args:
      vocabulary: number of token ids. length: L, the longest text. width: of an embedding.
    """

    def __init__(
        self, *, vocabulary: int = 262, length: int = 2048, width: int = 768, modality: str = "text"
    ) -> None:
        super().__init__(modality)
        self.vocabulary, self.channels = vocabulary, width
        self.embedding = self.add_weight(
            name=f"{self.name}.embed.table",
            shape=(vocabulary, width),
            initializer=truncated_normal(),
        )
        self.positions = LearnedPositions(f"{self.name}.pos", (length,), width)

    def segment(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Segment:
        """{"text": int [B, L']} -> L' inputs, L' <= L.

        Raises:
          ValueError: a longer text than the table of positions.
        """
        tokens = self.take(batch, 2)
        length = tokens.shape[1]
        table = tf.convert_to_tensor(self.positions.table)
        if length is None or length > table.shape[0]:
            raise ValueError(
                f"{self.modality} has {length} tokens, the model was built for at most "
                f"{table.shape[0]}"
            )
        content = rows(tf.convert_to_tensor(self.embedding), tokens)
        return Segment(content, table[:length], (length,), added=True)


class OneHot(Preprocessor):
    """A label as one input: its one-hot vector, without position.

    Args:
      classes: length of the vector.
    """

    def __init__(self, *, classes: int, modality: str = "label") -> None:
        super().__init__(modality)
        self.channels = classes

    def segment(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> Segment:
        """{"label": [B, classes]} -> one input."""
        label = self.take(batch, 2)
        if label.shape[1] != self.channels:
            raise ValueError(
                f"{self.modality} has {label.shape[1]} classes, the model {self.channels}"
            )
        return Segment(label[:, None], None)
