"""Cutting grids into patches and putting them together again.

A patch is flattened in the order (time, row, column, channel), channel fastest, as DeepMind's
``io_processors.py`` does.
"""

from __future__ import annotations

import tensorflow as tf


def space_to_depth(x: tf.Tensor, spatial: int = 1, temporal: int = 1) -> tf.Tensor:
    """Cuts pictures or videos into patches.

    Args:
      x: [B, H, W, C] or [B, T, H, W, C].
      spatial: side of a patch. temporal: frames of a patch; 1 for pictures.

    Returns:
      [B, H / s, W / s, s s C], or [B, T / t, H / s, W / s, t s s C].

    Raises:
      ValueError: another rank, or sides that the patch doesn't divide.
    """
    x = tf.convert_to_tensor(x)
    sizes = _sizes(x, spatial, temporal)
    for size, patch in sizes:
        if size % patch:
            raise ValueError(
                f"{_by(x.shape[1:-1])} can't be cut into patches of {_by(p for _, p in sizes)}"
            )
    shape = [tf.shape(x)[0]]
    for size, patch in sizes:
        shape += [size // patch, patch]
    x = tf.reshape(x, [*shape, x.shape[-1]])
    axes = len(sizes)
    blocks, insides = range(1, 2 * axes, 2), range(2, 2 * axes + 1, 2)
    x = tf.transpose(x, [0, *blocks, *insides, 2 * axes + 1])
    channels = x.shape[-1]
    for _, patch in sizes:
        channels *= patch
    return tf.reshape(x, [shape[0], *(size // patch for size, patch in sizes), channels])


def depth_to_space(x: tf.Tensor, spatial: int = 1, temporal: int = 1) -> tf.Tensor:
    """The inverse of `space_to_depth`.

    Raises:
      ValueError: another rank, or channels that a patch can't be made of.
    """
    x = tf.convert_to_tensor(x)
    patches = [spatial] * (x.shape.rank - 2)
    if x.shape.rank == 5:
        patches[0] = temporal
    elif x.shape.rank != 4 or temporal != 1:
        raise ValueError(f"{_by(x.shape[1:])} is neither a picture nor a video in patches")
    elements = 1
    for patch in patches:
        elements *= patch
    if x.shape[-1] % elements:
        raise ValueError(f"{x.shape[-1]} channels can't make patches of {_by(patches)}")
    sizes, axes, batch = x.shape[1:-1], len(patches), tf.shape(x)[0]
    x = tf.reshape(x, [batch, *sizes, *patches, x.shape[-1] // elements])
    order = [axis for i in range(1, axes + 1) for axis in (i, axes + i)]
    x = tf.transpose(x, [0, *order, 2 * axes + 1])
    wide = [size * patch for size, patch in zip(sizes, patches, strict=True)]
    return tf.reshape(x, [batch, *wide, x.shape[-1]])


def neighbourhoods(x: tf.Tensor, size: int = 3) -> tf.Tensor:
    """The `size` x `size` neighbourhood of every pixel, zeros beyond the border.

    Args:
      x: [B, T, H, W, C].

    Returns:
      [B, T, H, W, size size C], in the order (row, column, channel).
    """
    x = tf.convert_to_tensor(x)
    batch, frames = tf.shape(x)[0], x.shape[1]
    height, width, channels = x.shape[2:]
    x = tf.reshape(x, [batch * frames, height, width, channels])
    margin = size // 2
    x = tf.pad(x, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    # Slices: tf.image.extract_patches has neither a second derivative nor float64 under XLA.
    shifted = [
        x[:, row : row + height, column : column + width]
        for row in range(size)
        for column in range(size)
    ]
    return tf.reshape(tf.concat(shifted, -1), [batch, frames, height, width, size**2 * channels])


def _sizes(x: tf.Tensor, spatial: int, temporal: int) -> list[tuple[int, int]]:
    """(size, patch) of each axis."""
    if x.shape.rank == 4 and temporal == 1:
        return [(size, spatial) for size in x.shape[1:3]]
    if x.shape.rank == 5:
        return [(x.shape[1], temporal), *((size, spatial) for size in x.shape[2:4])]
    raise ValueError(
        f"an array of shape {x.shape} is neither [B, H, W, C] nor [B, T, H, W, C], "
        f"with patches of {temporal} frames"
    )


def _by(sizes) -> str:
    return "x".join(str(size) for size in sizes)
