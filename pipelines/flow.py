"""Pairs of frames and the flow between them: what moves the one moves the other.

Training takes a window of both frames, flipped, scaled, stretched and turned, with the flow turned
and scaled along; then colours are changed and pieces of the second frame erased. Frames of a config
that resamples nothing stay as they are to the bit. Evaluation sees whole frames, padded or cut to
one size; what is asked of a served model has any size.

Every random number is drawn statelessly from the seed that the caller gives.

References: Perceiver IO (ICLR 2022) appendix I; the augmentations are those that FlowNet
(Dosovitskiy et al., 2015) introduced and RAFT (Teed and Deng, 2020) has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from pipelines.records import Feature

FEATURES = {
    "frames": Feature("bytes", (2,)),
    "flow": Feature("bytes"),
    "valid": Feature("bytes"),
}
"""What the records of pairs of frames must hold; see `pipelines.readers.flow.encode_record`."""

CROPS = ("random", "centre")

# Pixels. Where the flow of neighbours differs by more, they belong to two surfaces, and a mean of
# them would be the motion of neither.
_ONE_SURFACE = 1.0
_RANGES = ("brightness", "contrast", "saturation", "hue")
_SHARES = ("flip", "flip_vertical", "asymmetric", "erase")


def check(cfg: Any) -> None:
    """Checks `config.data.flow` before any work is done.

    Args:
        cfg: the `data.flow` section of a config.

    Raises:
        ValueError: an unknown `crop`, or a value outside its bounds.
    """
    if cfg.crop not in CROPS:
        raise ValueError(
            f"config.data.flow.crop={cfg.crop!r} is unknown: choose one of {', '.join(CROPS)}"
        )
    for name in ("size", "eval_size"):
        if len(cfg[name]) != 2 or min(cfg[name]) < 1:
            raise ValueError(
                f"config.data.flow.{name}={tuple(cfg[name])} must be (height, width), at least 1"
            )
    for name, least in (("scale", 0.0), ("erase_size", 0)):
        low, high = cfg[name]
        if not least < low <= high:
            raise ValueError(
                f"config.data.flow.{name}={tuple(cfg[name])} must be (low, high) "
                "with 0 < low <= high"
            )
    for name in _SHARES:
        if not 0 <= cfg[name] <= 1:
            raise ValueError(f"config.data.flow.{name}={cfg[name]} must be a probability in [0, 1]")
    for name in _RANGES:
        if not 0 <= cfg[name] <= (0.5 if name == "hue" else 1):
            raise ValueError(
                f"config.data.flow.{name}={cfg[name]} must lie in [0, "
                f"{'0.5' if name == 'hue' else '1'}]; 0 switches it off"
            )
    if cfg.rotate_degrees < 0 or cfg.stretch < 0:
        raise ValueError(
            f"config.data.flow: rotate_degrees={cfg.rotate_degrees} and stretch={cfg.stretch} "
            "can't be negative; 0 switches them off"
        )


def shape(cfg: Any) -> tuple[int, int, int, int]:
    """Shape (2, height, width, 3) of one pair that is trained on."""
    return (2, *cfg.size, 3)


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Augments a pair and its flow together.

    Args:
        fields: "frames": strings `[2]`, JPEG or PNG; "flow" and "valid": as in `decode_flow`.
        cfg: the `data.flow` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        "image": float32 `[2, height, width, 3]` in [-1, 1]; "flow": float32 `[height, width, 2]`,
        in pixels of it, 0 where it isn't valid; "valid": float32 `[height, width]`, 1 or 0.
    """
    window_seed, colour_seed, erase_seed = tf.unstack(
        tf.random.experimental.stateless_split(seed, 3)
    )
    frames = tf.cast(decode_frames(fields["frames"]), tf.float32)
    flow, valid = decode_flow(fields["flow"], fields["valid"])
    resamples = tuple(cfg.scale) != (1.0, 1.0) or cfg.stretch or cfg.rotate_degrees
    window = resampled if resamples else cropped
    frames, flow, valid = window(frames, flow, valid, cfg, window_seed)
    frames = recoloured(frames, cfg, colour_seed)
    if cfg.erase:
        frames = erased(frames, cfg, erase_seed)
    return _example(frames, flow, valid)


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """A pair as evaluation and serving see it.

    With its flow, both are brought to `cfg.eval_size`: of larger frames the middle is taken,
    smaller ones get their last rows and columns repeated, where the flow isn't valid. Without, as a
    served model gets it, the pair keeps its size. Only TensorFlow's own operations.

    Args:
        fields: "frames", and where it is evaluated "flow" and "valid", as for `prepare_train`.
        cfg: the `data.flow` section of a config.

    Returns:
        As `prepare_train`; without flow, "image" alone, `[2, H, W, 3]`.
    """
    frames = tf.cast(decode_frames(fields["frames"]), tf.float32)
    if "flow" not in fields:
        return {"image": _normalise(frames)}
    flow, valid = decode_flow(fields["flow"], fields["valid"])
    height, width = cfg.eval_size
    space = tf.shape(flow)[:2] - [height, width]
    start = tf.maximum(space, 0) // 2
    return _example(*_window(frames, flow, valid, start, (height, width)))


def decode_frames(frames: tf.Tensor) -> tf.Tensor:
    """Strings `[2]`, JPEG or PNG -> uint8 `[2, H, W, 3]`; an error where they differ in size."""
    first, second = (
        tf.ensure_shape(tf.io.decode_image(frames[i], 3, expand_animations=False), [None, None, 3])
        for i in range(2)
    )
    message = "the two frames have different sizes: give two of one size"
    with tf.control_dependencies(
        [tf.debugging.assert_equal(tf.shape(first), tf.shape(second), message)]
    ):
        return tf.stack([first, second])


def decode_flow(flow: tf.Tensor, valid: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The flow of a record.

    Args:
        flow: string scalar, float32 values (x, y), little end first.
        valid: string scalar, a grey PNG, not black where the flow is known.

    Returns:
        float32 `[H, W, 2]` and bool `[H, W]`.
    """
    mask = tf.io.decode_png(valid, 1)[..., 0] > 0
    values = tf.io.decode_raw(flow, tf.float32, little_endian=True)
    return tf.reshape(values, tf.concat([tf.shape(mask), [2]], 0)), mask


def cropped(
    frames: tf.Tensor, flow: tf.Tensor, valid: tf.Tensor, cfg: Any, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A window of `cfg.size`, perhaps flipped; no value is changed but a sign of the flow.

    Args:
        frames: `[2, H, W, 3]`. flow: `[H, W, 2]`. valid: bool `[H, W]`.
        cfg: the `data.flow` section of a config.
        seed: int64 `[2]`.

    Returns:
        The three, of the window's size. Smaller frames are padded as in `prepare_eval`.
    """
    place_seed, flip_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    space = tf.maximum(tf.shape(flow)[:2] - tuple(cfg.size), 0)
    if cfg.crop == "centre":
        start = space // 2
    else:
        seeds = tf.unstack(tf.random.experimental.stateless_split(place_seed, 2))
        start = tf.stack(
            [tf.random.stateless_uniform([], seeds[i], 0, space[i] + 1, tf.int32) for i in range(2)]
        )
    frames, flow, valid = _window(frames, flow, valid, start, tuple(cfg.size))
    across, down = tf.unstack(_flips(cfg, flip_seed))
    for turned, axis, sign in ((across < 0, 1, (-1.0, 1.0)), (down < 0, 0, (1.0, -1.0))):
        frames = tf.where(turned, tf.reverse(frames, [axis + 1]), frames)
        flow = tf.where(turned, tf.reverse(flow, [axis]) * sign, flow)
        valid = tf.where(turned, tf.reverse(valid, [axis]), valid)
    return frames, flow, valid


def resampled(
    frames: tf.Tensor, flow: tf.Tensor, valid: tf.Tensor, cfg: Any, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A window of `cfg.size`, scaled, stretched, turned and perhaps flipped, bilinear.

    It lies inside the frames: where it wouldn't, it is scaled up until it does.

    Args, Returns: as `cropped`. Flow is interpolated on one surface, and is that of the nearest
        pixel where its neighbours aren't valid or differ by more than a pixel.
    """
    scale_seed, flip_seed, place_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    size = tf.cast(tf.shape(flow)[:2][::-1], tf.float32)  # (x, y), as all below.
    window = tf.constant(tuple(cfg.size)[::-1], tf.float32)
    bounds = [math.log2(bound) for bound in cfg.scale]
    uniform = tf.random.stateless_uniform([3], scale_seed)
    scale = tf.pow(2.0, bounds[0] + (bounds[1] - bounds[0]) * uniform[0])
    stretch = cfg.stretch / 2 * (2 * uniform[1] - 1)
    scales = scale * tf.pow(2.0, tf.stack([stretch, -stretch]))
    angle = math.radians(cfg.rotate_degrees) * (2 * uniform[2] - 1)
    turn = tf.stack([[tf.cos(angle), -tf.sin(angle)], [tf.sin(angle), tf.cos(angle)]])
    # From a place of the window, seen from its middle, to one of the frame.
    matrix = turn * _flips(cfg, flip_seed) / scales
    reach = tf.linalg.matvec(tf.abs(matrix), (window - 1) / 2)
    shrink = tf.minimum(1.0, tf.reduce_min((size - 1) / (2 * tf.maximum(reach, 1e-6))))
    matrix, reach = matrix * shrink, reach * shrink
    place = tf.constant([0.5, 0.5])
    if cfg.crop == "random":
        place = tf.random.stateless_uniform([2], place_seed)
    middle = reach + place * tf.maximum(size - 1 - 2 * reach, 0)
    origin = middle - tf.linalg.matvec(matrix, (window - 1) / 2)
    frames = tf.raw_ops.ImageProjectiveTransformV3(
        images=frames,
        transforms=tf.concat([matrix[0], origin[:1], matrix[1], origin[1:], [0.0, 0.0]], 0)[None],
        output_shape=tuple(cfg.size),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="NEAREST",
    )
    frames = tf.ensure_shape(frames, shape(cfg))
    x, y = tf.meshgrid(tf.range(window[0]), tf.range(window[1]))
    places = tf.linalg.matvec(matrix, tf.stack([x, y], -1)) + origin
    flow, valid = flow_at(flow, valid, tf.clip_by_value(places, 0.0, size - 1))
    return frames, tf.linalg.matvec(tf.linalg.inv(matrix), flow), valid


def flow_at(flow: tf.Tensor, valid: tf.Tensor, places: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Flow between pixels.

    Args:
        flow: float32 `[H, W, 2]`. valid: bool `[H, W]`.
        places: float32 `[h, w, 2]`, (x, y) inside the frame.

    Returns:
        float32 `[h, w, 2]` and bool `[h, w]`, as `resampled` says.
    """
    last = tf.shape(valid)[::-1] - 1
    low = tf.clip_by_value(tf.cast(tf.floor(places), tf.int32), 0, last)
    high = tf.minimum(low + 1, last)
    share = places - tf.cast(low, tf.float32)  # Of the upper neighbour.
    values, known, weights = [], [], []
    for x, of_x in ((low[..., 0], 1 - share[..., 0]), (high[..., 0], share[..., 0])):
        for y, of_y in ((low[..., 1], 1 - share[..., 1]), (high[..., 1], share[..., 1])):
            corner = tf.stack([y, x], -1)
            values.append(tf.gather_nd(flow, corner))
            known.append(tf.gather_nd(valid, corner))
            weights.append(of_x * of_y)
    values, known, weights = tf.stack(values), tf.stack(known), tf.stack(weights)
    mean = tf.reduce_sum(values * weights[..., None], 0)
    nearest = tf.cast(tf.round(places), tf.int32)[..., ::-1]
    counts = weights > 0
    spread = tf.reduce_max(tf.reduce_max(values, 0) - tf.reduce_min(values, 0), -1)
    one_surface = tf.reduce_all(known | ~counts, 0) & (spread <= _ONE_SURFACE)
    found = tf.where(one_surface[..., None], mean, tf.gather_nd(flow, nearest))
    return found, one_surface | tf.gather_nd(valid, nearest)


def recoloured(frames: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """Changes brightness, contrast, saturation and hue, mostly of both frames alike.

    Args:
        frames: float32 `[2, h, w, 3]` in [0, 255].
        cfg: the `data.flow` section of a config. Factors are drawn from 1 ± the field, hue is
            turned by up to ± the field, in turns; with the probability `asymmetric` each frame gets
            its own.
        seed: int64 `[2]`.

    Returns:
        The same shape and range.
    """
    if not any(cfg[name] for name in _RANGES):
        return frames
    own_seed, draw_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    draws = tf.random.stateless_uniform([2, len(_RANGES)], draw_seed, -1.0, 1.0)
    own = tf.random.stateless_uniform([], own_seed) < cfg.asymmetric
    draws = tf.stack([draws[0], tf.where(own, draws[1], draws[0])])
    brightness, contrast, saturation, hue = (
        cfg[name] * draws[:, i, None, None, None] for i, name in enumerate(_RANGES)
    )
    frames = _clip(frames * (1 + brightness))
    grey = tf.image.rgb_to_grayscale(frames)
    mean = tf.reduce_mean(grey, [1, 2, 3], keepdims=True)
    frames = _clip(mean + (1 + contrast) * (frames - mean))
    grey = tf.image.rgb_to_grayscale(frames)
    frames = _clip(grey + (1 + saturation) * (frames - grey))
    if cfg.hue:
        turned = [tf.image.adjust_hue(frames[i] / 255, tf.squeeze(hue[i])) for i in range(2)]
        frames = _clip(255 * tf.stack(turned))
    return frames


def erased(frames: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """With the probability `cfg.erase`, covers one or two rectangles of the second frame.

    They get its mean colour, as if something had come in front; the flow stays what it is.

    Args:
        frames: float32 `[2, h, w, 3]`.
        cfg: the `data.flow` section of a config; sides are `erase_size` pixels, (low, high).
        seed: int64 `[2]`.
    """
    choice_seed, place_seed, size_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 3))
    height, width = cfg.size
    choices = tf.random.stateless_uniform([2], choice_seed)
    happens = tf.stack([choices[0] < cfg.erase, (choices[0] < cfg.erase) & (choices[1] < 0.5)])
    low, high = cfg.erase_size
    sides = tf.random.stateless_uniform([2, 2], size_seed, low, high + 1, tf.int32)
    starts = tf.random.stateless_uniform([2, 2], place_seed) * [height, width]
    starts = tf.cast(starts, tf.int32)
    ends = starts + sides
    rows, columns = tf.range(height)[None, :, None], tf.range(width)[None, None, :]

    def inside(places: tf.Tensor, axis: int) -> tf.Tensor:
        start, end = (edge[:, axis, None, None] for edge in (starts, ends))
        return (places >= start) & (places < end)

    covered = inside(rows, 0) & inside(columns, 1) & happens[:, None, None]
    mean = tf.reduce_mean(frames[1], [0, 1])
    second = tf.where(tf.reduce_any(covered, 0)[..., None], mean, frames[1])
    return tf.stack([frames[0], second])


def _flips(cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """(x, y): -1 where that axis is turned round, else 1."""
    draws = tf.random.stateless_uniform([2], seed)
    return tf.where(draws < tf.constant([cfg.flip, cfg.flip_vertical]), -1.0, 1.0)


def _window(
    frames: tf.Tensor, flow: tf.Tensor, valid: tf.Tensor, start: tf.Tensor, size: Sequence[int]
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Rows and columns from `start` on; past the end the last ones again, not valid."""
    limits = tf.unstack(tf.shape(valid))
    rows, columns = (start[i] + tf.range(size[i]) for i in range(2))
    inside = (rows < limits[0])[:, None] & (columns < limits[1])
    rows, columns = tf.minimum(rows, limits[0] - 1), tf.minimum(columns, limits[1] - 1)

    def cut(array: tf.Tensor, axis: int) -> tf.Tensor:
        return tf.gather(tf.gather(array, rows, axis=axis), columns, axis=axis + 1)

    return cut(frames, 1), cut(flow, 0), cut(valid, 0) & inside


def _example(frames: tf.Tensor, flow: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
    return {
        "image": _normalise(frames),
        "flow": tf.where(valid[..., None], flow, 0.0),
        "valid": tf.cast(valid, tf.float32),
    }


def _normalise(frames: tf.Tensor) -> tf.Tensor:
    """[0, 255] -> [-1, 1], as the published model has it."""
    return frames / 255 * 2 - 1


def _clip(frames: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(frames, 0.0, 255.0)
