"""Picture and sound of one clip: both begin at the same moment of the record.

The sections `video` and `audio` of the config are those of the modalities of these names, and so
are the functions. Around a shorter record there are held frames and silence.

Every random number is drawn statelessly from the seed that the caller gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines import audio, video

FEATURES = {**video.FEATURES, **audio.FEATURES}
"""What the records must hold: frames, and sound that begins with them."""


def check(cfg: Any) -> None:
    """Checks `config.data.audio_video` before any work is done.

    Args:
        cfg: the `data.audio_video` section of a config.

    Raises:
        ValueError: as of either modality; a share of dropout outside [0, 1); another number of
            clips in evaluation for picture and sound.
    """
    video.check(cfg.video)
    audio.check(cfg.audio)
    for name in ("video_dropout", "audio_dropout"):
        if not 0 <= cfg[name] < 1:
            raise ValueError(f"config.data.audio_video.{name}={cfg[name]} is not in [0, 1)")
    if cfg.video.eval_clips != cfg.audio.eval_clips:
        raise ValueError(
            f"config.data.audio_video: video.eval_clips={cfg.video.eval_clips} and "
            f"audio.eval_clips={cfg.audio.eval_clips} are of the same clips; give one number"
        )


def shape(cfg: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of one prepared clip, by name of the model's input."""
    return {"audio": audio.shape(cfg.audio), "video": video.shape(cfg.video)}


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Takes a clip at a random time and augments picture and sound; sometimes leaves one out.

    Video dropout (Perceiver, ICML 2021, section 4.2) makes the whole picture zero in a share of the
    examples, so that the model learns to listen too. Never are both left out.

    Args:
        fields: "frames": string `[n]`, JPEGs; "audio": int16 `[m]`.
        cfg: the `data.audio_video` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Returns:
        "video" and "audio", as of the modalities of these names.
    """
    time_seed, video_seed, audio_seed, *drop_seeds = tf.unstack(
        tf.random.experimental.stateless_split(seed, 5)
    )
    frames = fields["frames"]
    offset = video.train_offset(tf.size(frames), cfg.video, time_seed)
    clip = video.augmented(video.taken(frames, offset, cfg.video), cfg.video, video_seed)
    sound = audio.augmented(heard(fields, offset, cfg), cfg.audio, audio_seed)
    seen, listened = (
        tf.random.stateless_uniform([], one) >= share
        for one, share in zip(drop_seeds, (cfg.video_dropout, cfg.audio_dropout), strict=True)
    )
    listened |= ~seen
    sound *= tf.cast(listened, sound.dtype)
    return {"video": clip * tf.cast(seen, clip.dtype), "audio": sound}


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Takes the clip, or the clips, that evaluation and serving see and hear.

    Args:
        fields: "frames": string `[n]`, JPEGs; "audio": int16 `[m]`, or float32, full scale being 1.
        cfg: the `data.audio_video` section of a config.

    Returns:
        "video" and "audio", as of the modalities of these names.
    """
    offsets = video.eval_offsets(tf.size(fields["frames"]), cfg.video)
    sounds = [
        audio.represented(heard(fields, offsets[i], cfg), cfg.audio)
        for i in range(cfg.video.eval_clips)
    ]
    sound = sounds[0] if len(sounds) == 1 else tf.stack(sounds)
    return {**video.prepare_eval(fields, cfg.video), "audio": sound}


def shown(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """What people look at and what is behind the sound, of the clip of `prepare_eval`.

    Returns:
        "video": float32 `[frames, height, width, 3]` in [0, 1]; "audio": float32 `[samples]`.
    """
    offsets = video.eval_offsets(tf.size(fields["frames"]), cfg.video)
    offset = offsets[cfg.video.eval_clips // 2]
    return {"video": video.shown(fields, cfg.video), "audio": heard(fields, offset, cfg)}


def heard(fields: Mapping[str, tf.Tensor], offset: tf.Tensor, cfg: Any) -> tf.Tensor:
    """float32 `[samples]` from where the frame number `offset` begins.

    Args:
        fields: "audio": int16 or float32 `[m]`.
        offset: int32, negative for silence before the record.
        cfg: a section with the sections `video` and `audio`.
    """
    # In whole numbers: float32 can't count the samples of some minutes.
    first = tf.cast(offset, tf.int64) * cfg.audio.sample_rate // cfg.video.fps
    return audio.clip_at(fields["audio"], cfg.audio.samples, tf.cast(first, tf.int32))
