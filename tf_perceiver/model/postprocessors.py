"""From decoded vectors to values. Reference: DeepMind ``io_processors.py``, post-processors."""

from __future__ import annotations

import tensorflow as tf

from tf_perceiver.model import patches
from tf_perceiver.model.linear import Linear, fan_in_normal


def projection(name: str, inputs: int, outputs: int) -> Linear:
    """The linear ``<name>.proj`` of a modality's post-processor."""
    return Linear(f"{name}.proj", inputs, outputs, fan_in_normal(inputs))


def waveform(decoded: tf.Tensor) -> tf.Tensor:
    """Patches of samples [B, Q, samples] -> [B, Q samples]."""
    return tf.reshape(decoded, [tf.shape(decoded)[0], decoded.shape[1] * decoded.shape[2]])


class TiedText(tf.keras.layers.Layer):
    """Logits by the embedding that the tokens came in with, and a bias: ``post.text.bias``."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__(name="post.text")
        self.bias = self.add_weight(
            name="post.text.bias", shape=(vocabulary,), initializer="zeros"
        )

    def call(self, decoded: tf.Tensor, table: tf.Tensor) -> tf.Tensor:
        """[B, L, width], [vocabulary, width] -> logits [B, L, vocabulary]."""
        return tf.einsum("blw,vw->blv", decoded, tf.cast(table, decoded.dtype)) + self.bias


class UnpatchedImage(tf.keras.layers.Layer):
    """Decoded patches on a grid to pixels: by rearranging, a linear, or transposed convolutions.

    Args:
      kind: "patches" (rearranges), "conv1x1" (a linear, ``<name>.proj``), "conv" (pictures alone:
        two transposed convolutions 4x4 of stride 2, of 2 n and n channels, ReLU between).
      inputs: channels. outputs: n channels of "conv1x1" and "conv".
      spatial, temporal: upsampling of "patches".

    Raises:
      ValueError: an unknown kind.
    """

    KINDS = ("patches", "conv1x1", "conv")

    def __init__(
        self,
        name: str,
        kind: str,
        inputs: int,
        *,
        outputs: int = 3,
        spatial: int = 1,
        temporal: int = 1,
    ) -> None:
        super().__init__(name=name)
        if kind not in self.KINDS:
            raise ValueError(f"{name}: kind={kind!r} is none of {', '.join(self.KINDS)}")
        self.kind, self.spatial, self.temporal = kind, spatial, temporal
        self.projection = projection(name, inputs, outputs) if kind == "conv1x1" else None
        self.kernels, self.biases = [], []
        if kind == "conv":
            for i, (width, wide) in enumerate([(inputs, 2 * outputs), (2 * outputs, outputs)]):
                self.kernels.append(
                    self.add_weight(
                        name=f"{name}.up_{i}.kernel",
                        # TensorFlow's order for transposed convolutions: outputs before inputs.
                        shape=(4, 4, wide, width),
                        initializer=fan_in_normal(16 * width),
                    )
                )
                self.biases.append(
                    self.add_weight(name=f"{name}.up_{i}.bias", shape=(wide,), initializer="zeros")
                )

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[B, (T,) H, W, C] -> [B, (T',) H', W', C']."""
        if self.kind == "patches":
            return patches.depth_to_space(x, self.spatial, self.temporal)
        if self.kind == "conv1x1":
            return self.projection(x)
        for i, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            x = tf.nn.relu(x) if i else x
            shape = [tf.shape(x)[0], 2 * x.shape[1], 2 * x.shape[2], kernel.shape[2]]
            x = tf.nn.conv2d_transpose(x, kernel, shape, 2, "SAME") + bias
        return x
