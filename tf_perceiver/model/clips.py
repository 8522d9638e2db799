"""Several clips of one example, each read on its own."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.perceiver import Perceiver
from tf_perceiver.model.preprocessors import Multimodal, Preprocessor, Waveform


class ClipPerceiver(Perceiver):
    """A Perceiver that takes an axis of clips behind the batch's, where its inputs have one."""

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Logits [B, classes], or [B, clips, classes] where every input is [B, clips, ...].

        Raises:
          ValueError: some inputs have clips and others not, or another number of them.
        """
        parts = _preprocessors(self.preprocessor)
        arrays = {name: tf.convert_to_tensor(batch[name]) for name in parts if name in batch}
        clips = {
            array.shape[1] if array.shape.rank == _rank(parts[name]) + 1 else None
            for name, array in arrays.items()
        }
        if len(clips) != 1:
            if arrays:
                shapes = {name: tuple(array.shape) for name, array in arrays.items()}
                raise ValueError(f"inputs of different numbers of clips: {shapes}")
            return super().call(batch, training)  # Which says what is missing.
        (count,) = clips
        if count is None:
            return super().call(batch, training)
        folded = {
            name: tf.reshape(array, tf.concat([[-1], tf.shape(array)[2:]], 0))
            for name, array in arrays.items()
        }
        for name, array in arrays.items():
            folded[name].set_shape([None, *array.shape[2:]])
        outputs = super().call(folded, training)
        return tf.reshape(outputs, [-1, count, outputs.shape[-1]])


def _preprocessors(preprocessor: Preprocessor | Multimodal) -> dict[str, Preprocessor]:
    """By key of the batch."""
    if isinstance(preprocessor, Multimodal):
        return dict(zip(preprocessor.names, preprocessor.modalities, strict=True))
    return {preprocessor.modality: preprocessor}


def _rank(preprocessor: Preprocessor) -> int:
    """Axes of a batch of one clip each: the example's, its grid's, the channels'."""
    if isinstance(preprocessor, Waveform):
        return 2
    return preprocessor.positions.dimensions + 2
