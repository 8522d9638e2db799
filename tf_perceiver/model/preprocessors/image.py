"""Pictures and videos: single pixels, patches, a 1x1 convolution or a convolutional stem.

Reference: Perceiver IO (ICLR 2022) appendix H; DeepMind ``io_processors.py``, ImagePreprocessor.
All take [B, H, W, C] or, as a video, [B, T, H, W, C], by the number of axes of the positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from tf_perceiver.model import patches
from tf_perceiver.model.linear import Linear, fan_in_normal
from tf_perceiver.model.normalisation import BatchNorm
from tf_perceiver.model.preprocessors.base import GridPreprocessor


class Image(GridPreprocessor):
    """What the kinds below have in common.

    Args:
      channels: of the picture.
      modality: key of the batch.
      further: see `GridPreprocessor`.
    """

    def __init__(
        self, *, content_channels: int, channels: int, modality: str, **further
    ) -> None:
        super().__init__(modality, content_channels, **further)
        self.image_channels = channels

    def take_image(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The pictures or videos.

        Raises:
          ValueError: none in the batch, or another rank or channel count than the model's.
        """
        image = self.take(batch, 4, 5)
        if image.shape[-1] != self.image_channels:
            raise ValueError(
                f"{self.modality} has {image.shape[-1]} channels, the model was built for "
                f"{self.image_channels}"
            )
        return image


class Pixels(Image):
    """Every pixel, or every `stride`-th one, is an input. The paper's way.

    Args:
      stride: of rows and columns. frame_stride: of frames.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        stride: int = 1,
        frame_stride: int = 1,
        modality: str = "image",
        **further,
    ) -> None:
        super().__init__(
            content_channels=channels, channels=channels, modality=modality, **further
        )
        self.stride, self.frame_stride = stride, frame_stride

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """[B, (T,) H, W, C]."""
        return strided(self.take_image(batch), self.stride, self.frame_stride)


class Patches(Image):
    """Patches of pixels, flattened in the order (frame, row, column, channel).

    Args:
      patch: side of a patch. frames: of a patch; where it takes in all of a video's, the positions
        have no time axis.
      project: channels to project a patch to, ``pre.<modality>.patch_proj``; 0 for none.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        patch: int = 4,
        frames: int = 1,
        project: int = 0,
        modality: str = "image",
        **further,
    ) -> None:
        width = channels * patch**2 * frames
        super().__init__(
            content_channels=project or width, channels=channels, modality=modality, **further
        )
        self.patch, self.frames = patch, frames
        self.projection = None
        if project:
            name = f"{self.name}.patch_proj"
            self.projection = Linear(name, width, project, fan_in_normal(width))

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """[B, (T / t,) H / p, W / p, C]."""
        x = patches.space_to_depth(self.take_image(batch), self.patch, self.frames)
        if x.shape.rank == 5 and x.shape[1] == 1:
            x = tf.squeeze(x, 1)
        return x if self.projection is None else self.projection(x)


class Conv1x1(Image):
    """A linear of every `stride`-th pixel, ``pre.<modality>.conv1x1.kernel`` [1, 1, C, outputs]."""

    def __init__(
        self,
        *,
        channels: int = 3,
        outputs: int = 64,
        stride: int = 1,
        frame_stride: int = 1,
        modality: str = "image",
        **further,
    ) -> None:
        super().__init__(content_channels=outputs, channels=channels, modality=modality, **further)
        self.stride, self.frame_stride = stride, frame_stride
        name = f"{self.name}.conv1x1"
        self.kernel = self.add_weight(
            name=f"{name}.kernel",
            shape=(1, 1, channels, outputs),
            initializer=fan_in_normal(channels),
        )
        self.bias = self.add_weight(name=f"{name}.bias", shape=(outputs,), initializer="zeros")

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """[B, (T,) H, W, outputs]."""
        x = strided(self.take_image(batch), self.stride, self.frame_stride)
        return tf.tensordot(x, tf.cast(self.kernel[0, 0], x.dtype), 1) + tf.cast(self.bias, x.dtype)


class ConvStem(Image):
    """7x7 convolution of stride 2, batch norm, ReLU, 3x3 max pooling of stride 2; perhaps again.

    Both are padded as TensorFlow's and XLA's SAME (an even side: 2 before and 3 after). Hugging
    Face's stem pads otherwise and gives other numbers.

    Args:
      outputs: channels. downsample: 4, 16, ...: a factor of 4 for each layer.
      batch_norm: whether there is one.

    Raises:
      ValueError: `downsample` is no power of 4.
    """

    def __init__(
        self,
        *,
        channels: int = 3,
        outputs: int = 64,
        downsample: int = 4,
        batch_norm: bool = True,
        modality: str = "image",
        **further,
    ) -> None:
        super().__init__(content_channels=outputs, channels=channels, modality=modality, **further)
        layers = 0
        while 4**layers < downsample:
            layers += 1
        if downsample < 4 or 4**layers != downsample:
            raise ValueError(
                f"{self.name}: the stem's downsample={downsample} is no power of 4 above 1"
            )
        self.kernels, self.norms = [], []
        for i in range(layers):
            suffix, width = f"_{i}" if i else "", outputs if i else channels
            self.kernels.append(
                self.add_weight(
                    name=f"{self.name}.conv7x7{suffix}.kernel",
                    shape=(7, 7, width, outputs),
                    initializer=fan_in_normal(49 * width),
                )
            )
            if batch_norm:
                self.norms.append(BatchNorm(f"{self.name}.bn{suffix}", outputs))

    def content(self, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """[B, (T,) H / downsample, W / downsample, outputs], rounded up."""
        x = self.take_image(batch)
        video = x.shape.rank == 5
        frames = x.shape[1]
        if video:  # Frame by frame.
            x = tf.reshape(x, tf.concat([[tf.shape(x)[0] * frames], x.shape[2:]], 0))
        for i, kernel in enumerate(self.kernels):
            x = tf.nn.conv2d(x, tf.cast(kernel, x.dtype), 2, "SAME")
            if self.norms:
                x = self.norms[i](x, training=training)
            x = tf.nn.max_pool2d(tf.nn.relu(x), 3, 2, "SAME")
        if video:
            x = tf.reshape(x, tf.concat([[-1, frames], x.shape[1:]], 0))
        return x


def strided(image: tf.Tensor, stride: int, frame_stride: int) -> tf.Tensor:
    """Every `stride`-th row and column, and every `frame_stride`-th frame of a video."""
    if image.shape.rank == 5:
        return image[:, ::frame_stride, ::stride, ::stride]
    return image[:, ::stride, ::stride]
