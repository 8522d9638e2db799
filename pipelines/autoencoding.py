"""A clip of picture and sound to be reconstructed, with its label, which is hidden now and then.

The sections `video` and `audio` of the config are those of the modalities of these names. Values
stay what they are: pixels in [0, 1], samples in [-1, 1].

In training a model is asked for a sample of the pixels and of the patches of sound, in evaluation
for all of them (Perceiver IO, ICLR 2022, section 4.3). Which ones, and whose label is hidden, is
drawn here, statelessly from the seed that the caller gives: the model draws nothing. In evaluation
and serving every label is hidden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from pipelines import audio, audio_video, video
from pipelines.records import DatasetInfo

FEATURES = audio_video.FEATURES
"""What the records must hold: frames, and sound that begins with them."""


def check(cfg: Any) -> None:
    """Checks `config.data.autoencoding` before any work is done.

    Args:
        cfg: the `data.autoencoding` section of a config.

    Raises:
        ValueError: as of either modality; several clips in evaluation; values that are scaled;
            picture and sound of different lengths; more queries than there are answers.
    """
    video.check(cfg.video)
    audio.check(cfg.audio)
    if (cfg.video.eval_clips, cfg.audio.eval_clips) != (1, 1):
        raise ValueError(
            f"config.data.autoencoding: video.eval_clips={cfg.video.eval_clips} and "
            f"audio.eval_clips={cfg.audio.eval_clips} must be 1: reconstructions have no mean"
        )
    if any(cfg.video.mean) or any(std != 1 for std in cfg.video.std):
        raise ValueError(
            f"config.data.autoencoding.video: mean={tuple(cfg.video.mean)} and "
            f"std={tuple(cfg.video.std)} must be (0, 0, 0) and (1, 1, 1): pixels stay in [0, 1]"
        )
    if cfg.audio.representation != "waveform" or cfg.audio.gain_db:
        raise ValueError(
            f"config.data.autoencoding.audio: representation={cfg.audio.representation!r} and "
            f"gain_db={cfg.audio.gain_db} must be 'waveform' and 0: samples stay in [-1, 1]"
        )
    frames = cfg.video.frames * cfg.video.stride
    if cfg.audio.samples * cfg.video.fps != frames * cfg.audio.sample_rate:
        raise ValueError(
            f"config.data.autoencoding: {frames} frames at {cfg.video.fps} a second are not as "
            f"long as {cfg.audio.samples} samples at {cfg.audio.sample_rate}; set audio.samples="
            f"{frames * cfg.audio.sample_rate // cfg.video.fps}"
        )
    if not 0 <= cfg.label_mask_share <= 1:
        raise ValueError(
            f"config.data.autoencoding.label_mask_share={cfg.label_mask_share} is not in [0, 1]"
        )
    if cfg.audio_patch < 1 or cfg.audio.samples % cfg.audio_patch:
        raise ValueError(
            f"config.data.autoencoding: audio.samples={cfg.audio.samples} aren't whole patches of "
            f"audio_patch={cfg.audio_patch}"
        )
    for name, most in counts(cfg).items():
        if not 1 <= cfg[f"{name}_queries"] <= most:
            raise ValueError(
                f"config.data.autoencoding.{name}_queries={cfg[f'{name}_queries']} must lie in "
                f"[1, {most}]"
            )


def counts(cfg: Any) -> dict[str, int]:
    """How many pixels and patches of sound a clip has: {"image": ..., "audio": ...}."""
    return {
        "image": cfg.video.frames * math.prod(cfg.video.size),
        "audio": cfg.audio.samples // cfg.audio_patch,
    }


def statistics(info: DatasetInfo) -> dict[str, Any]:
    """How many labels there are, and how many frames every record has at least.

    Raises:
        ValueError: fewer than two labels.
    """
    if len(info.labels) < 2:
        raise ValueError(f"dataset {info.name!r} has {len(info.labels)} labels, two are needed")
    return {"classes": len(info.labels), "min_frames": info.properties.get("min_frames")}


def shape(cfg: Any) -> dict[str, tuple[int, ...]]:
    """Shapes of one prepared clip, by name of the model's input, the label left out."""
    return {"audio": audio.shape(cfg.audio), "image": video.shape(cfg.video)}


def prepare_train(
    fields: Mapping[str, tf.Tensor], cfg: Any, seed: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Takes a clip at a random time and draws what is asked of it.

    Args:
        fields: "frames": string `[n]`, JPEGs; "audio": int16 `[m]`.
        cfg: the `data.autoencoding` section of a config.
        seed: int64 `[2]`, the source of every random choice.

    Raises:
        ValueError: the records' shortest have fewer frames than a clip.

    Returns:
        "image": float32 `[frames, height, width, 3]` in [0, 1]; "audio": float32 `[samples]` in
        [-1, 1]; "label_masked": bool `[1]`, True where the label is hidden from the model. For each
        of the two "image_indices" and "audio_indices", int32 `[queries]`, see `spread`, and what is
        there: "image_target", float32 `[queries, 3]`, "audio_target", `[queries, audio_patch]`.
    """
    _check_length(cfg)
    time_seed, look_seed, label_seed, *query_seeds = tf.unstack(
        tf.random.experimental.stateless_split(seed, 5)
    )
    frames = fields["frames"]
    offset = video.train_offset(tf.size(frames), cfg.video, time_seed)
    clip = video.augmented(video.taken(frames, offset, cfg.video), cfg.video, look_seed)
    sound = audio_video.heard(fields, offset, cfg)
    answers = {
        "image": tf.reshape(clip, [-1, clip.shape[-1]]),
        "audio": tf.reshape(sound, [-1, cfg.audio_patch]),
    }
    masked = tf.random.stateless_uniform([1], label_seed) < cfg.label_mask_share
    prepared = {"image": clip, "audio": sound, "label_masked": masked}
    for (name, count), query_seed in zip(counts(cfg).items(), query_seeds, strict=True):
        indices = spread(cfg[f"{name}_queries"], count, query_seed)
        prepared[f"{name}_indices"] = indices
        prepared[f"{name}_target"] = tf.gather(answers[name], indices)
    return prepared


def prepare_eval(fields: Mapping[str, tf.Tensor], cfg: Any) -> dict[str, tf.Tensor]:
    """Takes the clip that evaluation and serving see and hear; its label is hidden.

    Args:
        fields: "frames": string `[n]`, JPEGs; "audio": int16 `[m]`, or float32, full scale being 1.
        cfg: the `data.autoencoding` section of a config, with `statistics`.

    Raises:
        ValueError: as `prepare_train`.

    Returns:
        "image", "audio" and "label_masked" as for training, the last True; "label": float32
        `[classes]`, zeros, in the place of what nobody tells the model.
    """
    _check_length(cfg)
    offset = video.eval_offsets(tf.size(fields["frames"]), cfg.video)[0]
    return {
        "image": video.prepare_eval(fields, cfg.video)["video"],
        "audio": tf.clip_by_value(audio_video.heard(fields, offset, cfg), -1.0, 1.0),
        "label": tf.zeros([cfg.classes]),
        "label_masked": tf.constant([True]),
    }


def spread(queries: int, count: int, seed: tf.Tensor) -> tf.Tensor:
    """A sample of a grid's elements: one from each of `queries` equal stretches of it.

    Every element is as probable as any other, and none is left out for long, so that the mean over
    a sample varies less than over one that was drawn freely.

    Args:
        queries: how many. count: of the grid's elements, at least as many.
        seed: int64 `[2]`.

    Returns:
        int32 `[queries]`, not falling; where stretches are no whole numbers of elements, the one at
        a border may come twice.
    """
    places = tf.random.stateless_uniform([queries], seed, dtype=tf.float64)
    places = (tf.range(queries, dtype=tf.float64) + places) * (count / queries)
    return tf.minimum(tf.cast(places, tf.int32), count - 1)


def _check_length(cfg: Any) -> None:
    frames, least = cfg.video.frames * cfg.video.stride, cfg.get("min_frames")
    if least is not None and least < frames:
        raise ValueError(
            f"config.data.autoencoding.video: a clip has {frames} frames, the records have "
            f"{least} or more; write them again with --min_frames={frames}"
        )
