"""Sound as raw samples.

Reference: Perceiver (ICML 2021) section 4.2; DeepMind ``io_processors.py``, AudioPreprocessor.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.preprocessors.base import GridPreprocessor


class Waveform(GridPreprocessor):
    """Patches of samples; positions have one axis, time.

    Args:
      samples_per_patch: of an input; 128 in the paper's AudioSet model.
      further: see `GridPreprocessor`.
    """

    def __init__(
        self, *, samples_per_patch: int = 96, modality: str = "audio", **further
    ) -> None:
        super().__init__(modality, samples_per_patch, **further)
        self.samples_per_patch = samples_per_patch

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """{"audio": [B, samples] or [B, samples, 1]} -> [B, samples / patch, patch].

        Raises:
          ValueError: the patch doesn't divide the number of samples, or there are more channels.
        """
        audio = self.take(batch, 2, 3)
        if audio.shape.rank == 3 and audio.shape[-1] != 1:
            raise ValueError(f"{self.modality} has {audio.shape[-1]} channels, one is read")
        samples = audio.shape[1]
        if samples % self.samples_per_patch:
            raise ValueError(
                f"{samples} samples can't be cut into patches of {self.samples_per_patch}"
            )
        patches = samples // self.samples_per_patch
        return tf.reshape(audio, [tf.shape(audio)[0], patches, self.samples_per_patch])
