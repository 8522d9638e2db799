"""Video, sound and label to themselves, with what they were beside what became of them."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model.perceiver import Perceiver


class Autoencoder(Perceiver):
    """A Perceiver IO whose outputs are its inputs again, its decoder being of kind "autoencoding".

    Whoever asks for the whole gets the inputs too: only so a client, who sends files of any length
    and size, knows which clip was answered.
    """

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> dict[str, tf.Tensor]:
        """{"image" [B, T, H, W, 3], "audio" [B, samples], "label" [B, classes]} -> its outputs.

        Of a sample (see the decoder) these alone; else also "seen" and "heard", the image and the
        audio that were read.

        Raises:
          ValueError: the image or the audio isn't of the size that the decoder answers with.
        """
        dims, queries = self.decoder.grid, self.decoder.queries["audio"]
        samples = queries.count * self.decoder.post["audio"].outputs
        for name, found, due in (
            ("image.index_dims", tuple(batch["image"].shape[1:4]), tuple(dims)),
            ("audio.samples", batch["audio"].shape[1], samples),
        ):
            if found != due:
                raise ValueError(
                    f"config.model.decoder.{name}={due}, the pipeline gives clips of {found}; "
                    "set config.data.autoencoding and config.model alike"
                )
        outputs = super().call(batch, training)
        if "image_indices" in batch or "audio_indices" in batch:
            return outputs
        return {**outputs, "seen": batch["image"], "heard": batch["audio"]}
