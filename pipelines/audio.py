"""Sound: a clip of fixed length from a waveform, as samples or as a log-mel spectrogram.

Training takes the clip at a random time and evaluation the middle one; a shorter waveform gets
silence around it. Resampling is done where records are written, so everything here is at one rate
and in TensorFlow's own operations: the served graph runs the same functions.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines import spectrogram
from pipelines.records import Feature

FEATURES = {"audio": Feature("int16", (None,))}
"""What the records of a dataset of sound must hold."""

REPRESENTATIONS = ("waveform", "mel")

_FULL_SCALE = 32768.0


def check(cfg: Any) -> None:
    """Checks `config.data.audio` before any work is done.

    Args:
        cfg: the `data.audio` section of a config.

    Raises:
        ValueError: an unknown `representation`; a length, a range of frequencies or a mask outside
            its bounds.
    """
    if cfg.representation not in REPRESENTATIONS:
        raise ValueError(
            f"config.data.audio.representation={cfg.representation!r} is unknown: "
            f"choose one of {', '.join(REPRESENTATIONS)}"
        )
    for name in ("sample_rate", "samples", "eval_clips"):
        if cfg.get(name, 1) < 1:
            raise ValueError(f"config.data.audio.{name}={cfg[name]} must be at least 1")
    if cfg.gain_db < 0:
        raise ValueError(
            f"config.data.audio.gain_db={cfg.gain_db} can't be negative; 0 switches it off"
        )
    if cfg.representation == "mel":
        _check_mel(cfg)


def _check_mel(cfg: Any) -> None:
    mel = cfg.mel
    for name in ("window", "hop", "bins"):
        if mel[name] < 1:
            raise ValueError(f"config.data.audio.mel.{name}={mel[name]} must be at least 1")
    if not 0 <= mel.low < mel.high <= cfg.sample_rate / 2:
        raise ValueError(
            f"config.data.audio.mel: low={mel.low} and high={mel.high} must be "
            f"0 <= low < high <= {cfg.sample_rate / 2:g}, half the sample rate"
        )
    if mel.floor < -100:
        raise ValueError(f"config.data.audio.mel.floor={mel.floor} must be at least -100 dB")
    if mel.std <= 0:
        raise ValueError(f"config.data.audio.mel.std={mel.std} must be greater than 0")
    frames, bins, _ = shape(cfg)
    for name, length in (("time", frames), ("frequency", bins)):
        count, width = cfg[f"{name}_masks"], cfg[f"{name}_mask_width"]
        if count < 0 or not 0 <= width <= length:
            raise ValueError(
                f"config.data.audio: {name}_masks={count} must be at least 0 and "
                f"{name}_mask_width={width} from 0 to {length}"
            )


def shape(cfg: Any) -> tuple[int, ...]:
    """Shape of one prepared clip: (samples,), or (frames, bins, 1)."""
    if cfg.representation == "waveform":
        return (cfg.samples,)
    return (-(-cfg.samples // cfg.mel.hop), cfg.mel.bins, 1)


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Takes a clip at a random time, changes its loudness and, of a spectrogram, masks bands.

    Args:
        fields: "audio": int16 `[n]`, n >= 1, at `cfg.sample_rate`; or float32, full scale being 1.
        cfg: the `data.audio` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        "audio": float32 `[samples]` in [-1, 1] but for the gain, or `[frames, bins, 1]`,
        normalised.
    """
    waveform = fields["audio"]
    time_seed, *look_seeds = tf.unstack(tf.random.experimental.stateless_split(seed, 4))
    # The room is negative where the waveform is shorter: then it is the silence around it.
    room = tf.size(waveform) - cfg.samples
    offset = tf.random.stateless_uniform(
        [], time_seed, tf.minimum(room, 0), tf.maximum(room, 0) + 1, tf.int32
    )
    return {"audio": _augmented(clip_at(waveform, cfg.samples, offset), cfg, look_seeds)}


def augmented(clip: tf.Tensor, cfg: Any, seed: tf.Tensor) -> tf.Tensor:
    """Changes a clip's loudness and, of a spectrogram, masks bands.

    Args:
        clip: float32 `[samples]`.
        cfg: the `data.audio` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        float32 `[samples]`, or `[frames, bins, 1]`, normalised.
    """
    return _augmented(clip, cfg, tf.unstack(tf.random.experimental.stateless_split(seed, 3)))


def _augmented(clip: tf.Tensor, cfg: Any, seeds: list[tf.Tensor]) -> tf.Tensor:
    gain_seed, frame_seed, bin_seed = seeds
    if cfg.gain_db:
        decibels = tf.random.stateless_uniform([], gain_seed, -cfg.gain_db, cfg.gain_db)
        clip *= tf.pow(10.0, decibels / 20)
    if cfg.representation == "waveform":
        return clip
    mel = _mel(clip, cfg)
    if cfg.time_masks and cfg.time_mask_width:
        mel = spectrogram.mask(mel, 0, cfg.time_masks, cfg.time_mask_width, frame_seed)
    if cfg.frequency_masks and cfg.frequency_mask_width:
        mel = spectrogram.mask(mel, 1, cfg.frequency_masks, cfg.frequency_mask_width, bin_seed)
    return mel[:, :, None]


def represented(clip: tf.Tensor, cfg: Any) -> tf.Tensor:
    """A clip, float32 `[samples]`, as the model gets it: so, or `[frames, bins, 1]`."""
    return clip if cfg.representation == "waveform" else _mel(clip, cfg)[:, :, None]


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Takes the middle clip, as evaluation and serving hear it, or several that overlap.

    Args:
        fields: "audio": int16 `[n]`, n >= 1, at `cfg.sample_rate`; or float32, full scale being 1.
        cfg: the `data.audio` section of a config.

    Returns:
        "audio": float32 `[samples]` in [-1, 1], or `[frames, bins, 1]`, normalised; with
        `eval_clips` above 1, so many of them, spread over the waveform.
    """
    count = cfg.get("eval_clips", 1)
    if count == 1:
        return {"audio": represented(shown(fields, cfg), cfg)}
    waveform = fields["audio"]
    room = tf.size(waveform) - cfg.samples
    # Of a shorter waveform all are the same, with silence around it.
    last = tf.cast(tf.maximum(room, 0), tf.float64)
    spread = tf.cast(tf.round(tf.linspace(tf.zeros([], tf.float64), last, count)), tf.int32)
    offsets = tf.where(room < 0, room // 2, spread)
    clips = [clip_at(waveform, cfg.samples, offsets[i]) for i in range(count)]
    return {"audio": tf.stack([represented(clip, cfg) for clip in clips])}


def shown(fields: Mapping[str, tf.Tensor], cfg: Any) -> tf.Tensor:
    """The samples behind what `prepare_eval` returns, for people to look at.

    Args:
        fields: as for `prepare_eval`.
        cfg: the `data.audio` section of a config.

    Returns:
        float32 `[samples]` in [-1, 1].
    """
    waveform = fields["audio"]
    with tf.control_dependencies(
        [tf.debugging.assert_positive(tf.size(waveform), "a sound without samples: give some")]
    ):
        return clip_at(waveform, cfg.samples, (tf.size(waveform) - cfg.samples) // 2)


def clip_at(waveform: tf.Tensor, samples: int, offset: tf.Tensor) -> tf.Tensor:
    """float32 `[samples]` from `offset` on, which is negative for silence before the waveform."""
    before = tf.clip_by_value(-offset, 0, samples)
    piece = waveform[tf.maximum(offset, 0) :][: samples - before]
    if piece.dtype == tf.int16:
        piece = tf.cast(piece, tf.float32) / _FULL_SCALE
    clip = tf.pad(piece, [[before, samples - before - tf.size(piece)]])
    return tf.ensure_shape(clip, [samples])


def _mel(clip: tf.Tensor, cfg: Any) -> tf.Tensor:
    """Normalised log-mel spectrogram, float32 `[frames, bins]`."""
    mel = cfg.mel
    decibels = spectrogram.log_mel(
        clip, cfg.sample_rate, window=mel.window, hop=mel.hop, bins=mel.bins, low=mel.low,
        high=mel.high, floor=mel.floor,
    )  # fmt: skip
    frames, bins, _ = shape(cfg)
    return (tf.ensure_shape(decibels, [frames, bins]) - mel.mean) / mel.std
