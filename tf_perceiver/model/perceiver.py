"""The whole model: preprocessor, trunk, decoder."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model import decoder as decoders
from tf_perceiver.model import dropout, preprocessors
from tf_perceiver.model.encoder import Encoder

DECODERS = ("average", "classification", "text", "flow", "autoencoding")


class Perceiver(tf.keras.Model):
    """The original Perceiver or Perceiver IO, by its trunk and its decoder.

    References: Perceiver: General Perception with Iterative Attention, ICML 2021 (repeated
    cross-attends, "average" decoder). Perceiver IO, ICLR 2022 (one cross-attend, the others).

    Args:
      inputs: fields of a preprocessor, see `preprocessors.build`.
      trunk: fields of `Encoder`.
      decoder: {"kind": one of `DECODERS`, its fields}.
      outputs: number of classes, for the decoders that classify.
    """

    def __init__(
        self,
        *,
        inputs: Mapping,
        trunk: Mapping,
        outputs: int,
        decoder: Mapping | None = None,
    ) -> None:
        # No autocasting of the batch: points rounded to bfloat16 would lose the high bands.
        super().__init__(name="perceiver", autocast=False)
        self.preprocessor = preprocessors.build(inputs)
        self.encoder = Encoder(self.preprocessor.channels, **trunk)
        self.decoder = build_decoder(
            {"kind": "average"} if decoder is None else decoder,
            self.preprocessor,
            self.encoder.latents.shape[1],
            outputs,
        )
        self.built = True  # Every variable exists; Keras needs no first call to count them.

    def call(
        self, batch: Mapping[str, tf.Tensor], training: bool = False
    ) -> tf.Tensor | dict[str, tf.Tensor]:
        """Batch of the modality, e.g. {"image": [B, H, W, 3]} -> outputs in float32.

        Logits [B, classes], or what the decoder gives. Keys that the modality doesn't read (labels,
        weights) are ignored. `training` matters to batch norm, to what is kept for a gradient, and
        to the trunk's dropout where it has one: then the batch needs a key, see `dropout.key`.
        """
        inputs = self.preprocessor(batch, training=training)
        key = dropout.key_of(batch) if training and self.encoder.dropout else None
        latents = self.encoder(inputs, dropout_key=key, training=training)
        outputs = self.decoder(latents, inputs, batch)
        return tf.nest.map_structure(
            lambda x: x if x.dtype == tf.float64 else tf.cast(x, tf.float32), outputs
        )

    def first_cross_attention(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """float32 [B, h, N, M]: the first cross-attend's attention over the inputs."""
        return self.encoder.first_cross_attention(self.preprocessor(batch))

    def input_grid(self, batch: Mapping[str, tf.Tensor]) -> tuple[int, ...] | None:
        """The (rows, columns) that M enumerates, or None for points."""
        return self.preprocessor(batch).grid

    def named_weights(self) -> dict[str, tf.Variable]:
        """{neutral name: variable}; importing a checkpoint is a renaming."""
        weights = {v.name.removesuffix(":0"): v for v in self.weights}
        if len(weights) != len(self.weights):
            raise ValueError("two variables of the model have the same name")
        return weights


def build_decoder(
    config: Mapping, preprocessor: tf.keras.layers.Layer, latent_channels: int, outputs: int
) -> tf.keras.layers.Layer:
    """Builds the decoder of ``config.model.decoder``.

    Args:
      config: {"kind": ..., its fields}.
      preprocessor: of the same model; the text decoder takes its embedding from it.
      latent_channels: D. outputs: number of classes.

    Raises:
      ValueError: an unknown kind, fields that the kind doesn't have, or a kind that doesn't fit the
        preprocessor.
    """
    fields = dict(config)
    kind = fields.pop("kind")
    try:
        match kind:
            case "average":
                return decoders.AverageHead(latent_channels, outputs, **fields)
            case "classification":
                return decoders.ClassificationDecoder(latent_channels, outputs, **fields)
            case "text":
                if not isinstance(preprocessor, preprocessors.Text):
                    raise ValueError("model.decoder.kind='text' needs model.inputs.kind='text'")
                return decoders.TextDecoder(latent_channels, preprocessor.embedding, **fields)
            case "flow":
                return decoders.FlowDecoder(latent_channels, preprocessor.channels, **fields)
            case "autoencoding":
                return decoders.AutoencodingDecoder(latent_channels, classes=outputs, **fields)
    except TypeError as error:
        raise ValueError(f"model.decoder of kind {kind!r}: {error}") from error
    raise ValueError(f"model.decoder.kind={kind!r} is none of {', '.join(DECODERS)}")


def build(config: Mapping, outputs: int, kind: type[Perceiver] = Perceiver, **further) -> Perceiver:
    """Builds the model of ``config.model``: {"inputs", "trunk" and, if it has one, "decoder"}.

    Args:
      config: the fields. outputs: number of classes.
      kind: `Perceiver` or a subclass of it. further: arguments of its own.

    Raises:
      ValueError: fields that there are not, or what the parts raise.
    """
    unknown = set(config) - {"inputs", "trunk", "decoder"}
    if unknown:
        raise ValueError(
            f"config.model has no field {sorted(unknown)}; it has inputs, trunk and decoder"
        )
    return kind(
        inputs=config["inputs"],
        trunk=config["trunk"],
        decoder=config.get("decoder"),
        outputs=outputs,
        **further,
    )
