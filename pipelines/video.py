"""Video: a clip of fixed length from the frames of a record, augmented the same in every frame.

Training takes the clip at a random time and evaluation the middle one, or several that overlap and
whose answers a task averages; around shorter records the first and last frame are held. Frames were
brought to one rate where records were written.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines import image
from pipelines.records import Feature

FEATURES = {"frames": Feature("bytes", (None,))}
"""What the records of a dataset of video must hold: JPEGs of one size."""

TRAIN_CROPS = ("inception", "shift", "none")

_CHANNELS = 3


def check(cfg: Any) -> None:
    """Checks `config.data.video` before any work is done.

    Args:
        cfg: the `data.video` section of a config.

    Raises:
        ValueError: an unknown `train_crop`; a number outside its bounds.
    """
    if cfg.train_crop not in TRAIN_CROPS:
        raise ValueError(
            f"config.data.video.train_crop={cfg.train_crop!r} is unknown: "
            f"choose one of {', '.join(TRAIN_CROPS)}"
        )
    for name in ("fps", "frames", "stride", "eval_clips"):
        if cfg[name] < 1:
            raise ValueError(f"config.data.video.{name}={cfg[name]} must be at least 1")
    for name in ("place", "jitter"):
        if not 0 <= cfg[name] <= 1:
            raise ValueError(f"config.data.video.{name}={cfg[name]} must lie in [0, 1]")
    if not 0 < cfg.eval_crop <= 1:
        raise ValueError(f"config.data.video.eval_crop={cfg.eval_crop} must lie in (0, 1]")
    top, left, height, width = cfg.region
    if min(top, left) < 0 or min(height, width) <= 0 or max(top + height, left + width) > 1:
        raise ValueError(
            f"config.data.video.region={tuple(cfg.region)} must be (top, left, height, width), "
            "shares of the picture, and lie inside of it"
        )
    low, high = cfg.crop_area
    if not 0 < low <= high <= 1:
        raise ValueError(
            f"config.data.video.crop_area={tuple(cfg.crop_area)} must be (low, high) "
            "with 0 < low <= high <= 1"
        )
    for name, most in (("brightness", 1), ("contrast", 1), ("saturation", 1), ("hue", 0.5)):
        if not 0 <= cfg[name] <= most:
            raise ValueError(f"config.data.video.{name}={cfg[name]} must lie in [0, {most}]")
    if len(cfg.mean) != _CHANNELS or len(cfg.std) != _CHANNELS or min(cfg.std) <= 0:
        raise ValueError(
            f"config.data.video: mean={tuple(cfg.mean)} and std={tuple(cfg.std)} need "
            f"{_CHANNELS} values each, std above 0"
        )


def shape(cfg: Any) -> tuple[int, int, int, int]:
    """Shape (frames, height, width, channels) of one prepared clip."""
    return (cfg.frames, *cfg.size, _CHANNELS)


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Takes a clip at a random time; crops, flips and recolours it, all its frames alike.

    Args:
        fields: "frames": string `[n]`, n >= 1, JPEGs at `cfg.fps` a second.
        cfg: the `data.video` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        "video": float32 `[frames, height, width, 3]`, normalised.
    """
    time_seed, look_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
    offset = train_offset(tf.size(fields["frames"]), cfg, time_seed)
    return {"video": augmented(taken(fields["frames"], offset, cfg), cfg, look_seed)}


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Takes the clip, or the clips, that evaluation and serving see.

    The centre window of `cfg.eval_crop` of the region is resized to `cfg.size`. Only TensorFlow's
    own operations: it works in `tf.map_fn` and in a SavedModel.

    Args:
        fields: as for `prepare_train`.
        cfg: the `data.video` section of a config.

    Returns:
        "video": float32 `[frames, height, width, 3]`, normalised; with `eval_clips` above 1,
        `[clips, frames, height, width, 3]`.
    """
    frames = fields["frames"]
    offsets = eval_offsets(tf.size(frames), cfg)
    if cfg.eval_clips == 1:
        return {"video": _normalised(_seen(taken(frames, offsets[0], cfg), cfg), cfg)}
    # Clips overlap: every frame is decoded once.
    pixels = _normalised(_seen(frames, cfg), cfg)
    clips = [taken(pixels, offsets[i], cfg) for i in range(cfg.eval_clips)]
    return {"video": tf.stack(clips)}


def shown(fields: Mapping[str, tf.Tensor], cfg: Any) -> tf.Tensor:
    """What people look at: the clip of `prepare_eval`, the middle one of several.

    Returns:
        float32 `[frames, height, width, 3]` in [0, 1].
    """
    frames = fields["frames"]
    offset = eval_offsets(tf.size(frames), cfg)[cfg.eval_clips // 2]
    return _seen(taken(frames, offset, cfg), cfg) / 255


def train_offset(count: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """The first frame of a clip for training, int32; negative where the record is shorter.

    With place 0.5 and jitter 1 it may lie anywhere; in general from place - jitter / 2 to
    place + jitter / 2, shares of the room that the clip has in the record.

    Args:
        count: int32, frames of the record.
        cfg: the `data.video` section of a config.
        seed: int64 `[2]`.
    """
    room = tf.cast(count - _span(cfg), tf.float32)
    low, high = max(cfg.place - cfg.jitter / 2, 0), min(cfg.place + cfg.jitter / 2, 1)
    ends = tf.cast(tf.round(tf.stack([low * room, high * room])), tf.int32)
    return tf.random.stateless_uniform(
        [], seed, tf.reduce_min(ends), tf.reduce_max(ends) + 1, tf.int32
    )


def eval_offsets(count: tf.Tensor, cfg: Any) -> tf.Tensor:
    """The first frames of the clips for evaluation, int32 `[eval_clips]`.

    One clip lies at `cfg.place` (0.5: in the middle), several are spread over all of the record; of
    a record that is shorter than a clip they are all the same.
    """
    with tf.control_dependencies(
        [tf.debugging.assert_positive(count, "a video without frames: write some")]
    ):
        room = tf.cast(count - _span(cfg), tf.float32)
    if cfg.eval_clips == 1:
        return tf.cast(tf.round([cfg.place * room]), tf.int32)
    spread = tf.linspace(0.0, room, cfg.eval_clips)
    middle = tf.fill([cfg.eval_clips], room / 2)
    return tf.cast(tf.round(tf.where(room < 0, middle, spread)), tf.int32)


def taken(frames: tf.Tensor, offset: tf.Tensor, cfg: Any) -> tf.Tensor:
    """The frames of a clip, `[frames, ...]`; before the first and after the last these are held."""
    places = offset + tf.range(cfg.frames) * cfg.stride
    return tf.gather(frames, tf.clip_by_value(places, 0, tf.shape(frames)[0] - 1))


def augmented(frames: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """JPEGs, string `[frames]`, to an augmented clip, float32 `[frames, height, width, 3]`."""
    window_seed, flip_seed, *color_seeds = tf.unstack(
        tf.random.experimental.stateless_split(seed, 6)
    )
    size = tf.io.extract_jpeg_shape(frames[0])
    window = _train_window(_region(size, cfg), cfg, window_seed)
    clip = _resized(frames, window, cfg)
    if cfg.flip:
        flip = tf.random.stateless_uniform([], flip_seed) < 0.5
        clip = tf.cond(flip, lambda: tf.reverse(clip, [2]), lambda: clip)
    return _normalised(_recoloured(clip, cfg, color_seeds), cfg)


def _span(cfg: Any) -> int:
    """Frames of a record from the first to the last of a clip."""
    return (cfg.frames - 1) * cfg.stride + 1


def _region(size: tf.Tensor, cfg: Any) -> tf.Tensor:
    """`cfg.region` of a picture of `size`, int32 `[y, x, height, width]`."""
    sides = tf.cast(tf.stack([size[0], size[1], size[0], size[1]]), tf.float32)
    window = tf.cast(tf.round(sides * tf.constant(tuple(cfg.region), tf.float32)), tf.int32)
    place = tf.minimum(window[:2], size[:2] - 1)
    return tf.concat([place, tf.clip_by_value(window[2:], 1, size[:2] - place)], 0)


def _train_window(region: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """A window inside of the region, int32 `[y, x, height, width]`."""
    if cfg.train_crop == "inception":
        size = tf.concat([region[2:], [_CHANNELS]], 0)
        window = image.inception_window(size, cfg, seed)
        return tf.concat([region[:2] + window[:2], window[2:]], 0)
    if cfg.train_crop == "none":
        return _eval_window(region, cfg)
    extent = _extent(region, cfg)
    drawn = tf.random.stateless_uniform([2], seed)
    place = drawn * tf.cast(region[2:] - extent + 1, tf.float32)
    place = tf.minimum(tf.cast(place, tf.int32), region[2:] - extent)
    return tf.concat([region[:2] + place, extent], 0)


def _eval_window(region: tf.Tensor, cfg: Any) -> tf.Tensor:
    """The centre window of the region."""
    extent = _extent(region, cfg)
    return tf.concat([region[:2] + (region[2:] - extent + 1) // 2, extent], 0)


def _extent(region: tf.Tensor, cfg: Any) -> tf.Tensor:
    """Height and width of the largest window of the clip's proportions, times `cfg.eval_crop`."""
    height, width = cfg.size
    sides = tf.cast(region[2:], tf.float32)
    scale = cfg.eval_crop * tf.minimum(sides[0] / height, sides[1] / width)
    extent = tf.round(scale * tf.constant([height, width], tf.float32))
    return tf.maximum(tf.cast(extent, tf.int32), 1)


def _seen(frames: tf.Tensor, cfg: Any) -> tf.Tensor:
    """JPEGs, string `[n]`, as evaluation sees them: float32 `[n, height, width, 3]` up to 255."""
    size = tf.io.extract_jpeg_shape(frames[0])
    return _resized(frames, _eval_window(_region(size, cfg), cfg), cfg)


def _resized(frames: tf.Tensor, window: tf.Tensor, cfg: Any) -> tf.Tensor:
    """That window of every frame, float32 `[n, height, width, 3]` in [0, 255]."""
    pixels = tf.map_fn(
        lambda frame: tf.io.decode_and_crop_jpeg(frame, window, _CHANNELS),
        frames,
        fn_output_signature=tf.TensorSpec([None, None, _CHANNELS], tf.uint8),
    )
    # Averages where it scales down: a small picture of a large one would flicker.
    clip = tf.image.resize(pixels, tuple(cfg.size), "bilinear", antialias=True)
    return tf.ensure_shape(clip, [frames.shape[0], *cfg.size, _CHANNELS])


def _recoloured(clip: tf.Tensor, cfg: Any, seeds: list[tf.Tensor]) -> tf.Tensor:
    """Changes brightness, saturation, hue and contrast, the same in all frames, within [0, 255]."""
    brightness, saturation, hue, contrast = seeds
    clip = clip / 255
    if cfg.brightness:
        clip = tf.image.stateless_random_brightness(clip, cfg.brightness, brightness)
    if cfg.saturation:
        clip = tf.image.stateless_random_saturation(
            clip, 1 - cfg.saturation, 1 + cfg.saturation, saturation
        )
    if cfg.hue:
        clip = tf.image.stateless_random_hue(clip, cfg.hue, hue)
    if cfg.contrast:
        factor = tf.random.stateless_uniform([], contrast, 1 - cfg.contrast, 1 + cfg.contrast)
        mean = tf.reduce_mean(clip, axis=(0, 1, 2))  # Of all frames: each on its own would flicker.
        clip = (clip - mean) * factor + mean
    return 255 * tf.clip_by_value(clip, 0, 1)


def _normalised(clip: tf.Tensor, cfg: Any) -> tf.Tensor:
    """Maps [0, 255] to (value / 255 - mean) / std, a channel at a time."""
    mean = tf.constant(tuple(cfg.mean), tf.float32)
    std = tf.constant(tuple(cfg.std), tf.float32)
    return (clip - 255 * mean) / (255 * std)
