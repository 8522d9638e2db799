"""Several modalities in one byte array.

Reference: Perceiver (ICML 2021) section 4.2; DeepMind ``io_processors.py``, MultimodalPreprocessor.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.linear import depending_on, truncated_normal
from tf_perceiver.model.preprocessors.base import Preprocessor


class Multimodal(tf.keras.layers.Layer):
    """Modalities one after the other, in the order of their names, at a common width.

    Each is padded behind its positions with a learned vector of its own, ``pre.mm.<modality>.pad``,
    which tells the modalities apart. With mask tokens, ``pre.mm.<modality>.mask`` can stand in for
    any input.

    Args:
      modalities: a preprocessor each.
      min_padding: channels that the widest modality is padded with.
      mask_probabilities: {modality: share of its inputs replaced by its mask token}, or None for no
        tokens. A share between 0 and 1 is drawn by the input pipeline, which names the inputs in
        ``batch["<modality>_masked"]``, bool [B, M]; that wins over 0 and 1 too.
    """

    def __init__(
        self,
        modalities: Mapping[str, Preprocessor],
        *,
        min_padding: int = 2,
        mask_probabilities: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(name="pre.mm", autocast=False)
        self.names = sorted(modalities)
        self.modalities = [modalities[name] for name in self.names]
        self.channels = max(m.channels for m in self.modalities) + min_padding
        self.mask_probabilities = None if mask_probabilities is None else dict(mask_probabilities)
        if mask_probabilities is not None and sorted(mask_probabilities) != self.names:
            raise ValueError(
                f"model.inputs.mask_probabilities names {sorted(mask_probabilities)}, the "
                f"modalities are {self.names}"
            )
        self.pads, self.tokens = [], []
        for name, preprocessor in zip(self.names, self.modalities, strict=True):
            own = self.channels - preprocessor.channels
            self.pads.append(self._row(f"pre.mm.{name}.pad", own))
            if mask_probabilities is not None:
                self.tokens.append(self._row(f"pre.mm.{name}.mask", self.channels))

    def _row(self, name: str, width: int) -> tf.Variable:
        return self.add_weight(name=name, shape=(1, width), initializer=truncated_normal())

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> ByteArray:
        """The batch's byte array; ``batch["<modality>_mask"]`` says which inputs may be read."""
        segments, masks = [], []
        for i, (name, preprocessor) in enumerate(zip(self.names, self.modalities, strict=True)):
            array = preprocessor(batch, training=training)
            (bare,) = array.segments
            pad, token, masked = tf.convert_to_tensor(self.pads[i]), None, None
            if self.tokens:
                token = tf.convert_to_tensor(self.tokens[i])
                masked = self._masked(name, batch, bare)
                if masked is None:  # A token that is never used has a gradient all the same: zero.
                    pad = depending_on(pad, token)
            segments.append(
                Segment(
                    bare.content,
                    bare.positions,
                    bare.grid,
                    bare.added,
                    pad=pad,
                    token=token,
                    masked=masked,
                    learned=bare.learned,
                )
            )
            masks.append(array.mask)
        return ByteArray(tuple(segments), _joined_mask(masks, segments, batch, self.names))

    def _masked(
        self, name: str, batch: Mapping[str, tf.Tensor], segment: Segment
    ) -> tf.Tensor | None:
        """bool [B, M], or None where nothing is replaced."""
        if f"{name}_masked" in batch:
            return tf.cast(batch[f"{name}_masked"], tf.bool)
        share = self.mask_probabilities[name]
        if share <= 0:
            return None
        if share < 1:
            raise ValueError(
                f"model.inputs.mask_probabilities.{name}={share} is drawn by the pipeline, and the "
                f"batch has no {name}_masked"
            )
        return tf.fill([tf.shape(batch[name])[0], segment.length], True)


def _joined_mask(masks, segments, batch, names) -> tf.Tensor | None:
    """bool [B, M] of all segments, where any of them has a mask."""
    if all(mask is None for mask in masks):
        return None
    batch_size = tf.shape(batch[names[0]])[0]
    parts = [
        tf.fill([batch_size, segment.length], True) if mask is None else mask
        for mask, segment in zip(masks, segments, strict=True)
    ]
    return tf.concat(parts, 1)
