"""GRID: which of four commands a sentence begins with, seen on the lips, heard, or both.

`small`, `small_video`, `small_audio`:
  python -m tf_perceiver.train --config=configs/grid.py:small --data=DIR --workdir=DIR
  data      800 clips of speaker s1, preprocessed with --sample_rate=16000; five folds by a hash of
            the sentence, one as test: --test_fold=1 to 5. Region and length were chosen on fold 1
  hardware  2 cores of an AMD EPYC (AVX-512), no GPU, one or two other trainings beside it
  time      a fold: both 8 to 10 minutes, picture 6 to 10, sound 2 to 5 (fold 1: 38)
  accuracy  in % of the test clips of folds 1 to 5, one seed each:
    both      86.6, 87.8, 81.6, 88.3, 94.8: mean 87.8, deviation 4.7
    picture   64.0, 58.5, 67.4, 75.2, 46.1: mean 62.2, deviation 10.9
    sound     86.0, 88.4, 88.4, 86.9, 86.4: mean 87.2, deviation 1.2
  logistic regression on the principal components of the same inputs (benchmarks.linear):
    both      86.0, 89.8, 82.1, 82.8, 84.4: mean 85.0, deviation 3.1
    picture   58.5, 65.3, 61.6, 62.1, 57.8: mean 61.1, deviation 3.0
    sound     77.4, 83.7, 76.8, 74.5, 76.0: mean 77.7, deviation 3.5
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds, small

VARIANTS = ("small", "small_audio", "small_video", "tiny", "tiny_audio", "tiny_video")
SAMPLE_RATE = 16_000
FPS = 25
# Of 75 frames the first 40: in 99 % of the sentences the command ends before.
FRAMES = 40
# The mouth of a speaker who sits in the middle of the picture, and where it may move to.
MOUTH = (0.57, 0.24, 0.34, 0.34)
# What moves is seen at a side of 12 pixels too: on fold 1 the picture's model reached 64 % with it,
# and 46 % in as many steps with patches of 8 x 8 of a wider mouth of 48 x 64.
SIDE = 12
HOP = SAMPLE_RATE // 50


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; the `tiny` ones take seconds and learn little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant.startswith("tiny")
    size, _, read = variant.partition("_")
    batch_size = 8 if tiny else 32
    frames = 8 if tiny else FRAMES
    video = feeds.videos(
        frames, (SIDE, SIDE), batch_size, fps=FPS,
        stride=5 if tiny else 1,
        place=0.0,
        jitter=0.25,
        region=MOUTH,
        train_crop="shift",
        eval_crop=0.875,
        brightness=0.1,
        contrast=0.2,
        saturation=0.2,
        hue=0.0,
        std=(0.15, 0.15, 0.15),
    )  # fmt: skip
    samples = FRAMES * SAMPLE_RATE // FPS if read != "audio" else 72 * SAMPLE_RATE // FPS
    audio = feeds.sounds(
        SAMPLE_RATE,
        samples,
        batch_size,
        mel={"window": 800, "hop": HOP, "bins": 48, "floor": -60.0, "mean": -35.0, "std": 25.0},
        gain_db=6.0,
        time_masks=2,
        time_mask_width=8,
        frequency_masks=2,
        frequency_mask_width=6,
    )
    inputs: dict[str, Any] = {
        "audio": heard(samples, 4 if tiny else 6),
        "video": seen(frames, 4 if tiny else 6),
    }
    if read:
        model, data = inputs[read], {"audio": audio, "video": video}[read]
    else:
        # 6, so that three heads divide the width.
        model = {"kind": "multimodal", "min_padding": 6, "modalities": inputs}
        for part in inputs.values():
            del part["modality"]
        data = feeds.seen_and_heard(video, audio)
    trunk = small.small_pixels(
        tiny, size=8, bands=1, latents=32, channels=128, self_attends=3, cross_attends=3,
        cross_heads=1 if tiny else 3,
    )["trunk"]  # fmt: skip
    config = base.classification(f"grid:{variant}", {"inputs": model, "trunk": trunk})
    config.data = data
    base.pace(config, tiny, epochs={"": 45.0, "audio": 80.0, "video": 60.0}[read])
    if not tiny:
        config.task.label_smoothing = 0.1
        config.optimizer.learning_rate = 4e-3
        config.optimizer.constant_fraction = 0.0
        config.train.log_every = 40
        config.train.checkpoint_every = config.train.eval_every = 400
    return config


def heard(samples: int, bands: int) -> dict[str, Any]:
    """Patches of 4 x 4 values of a spectrogram of 48 bins."""
    return {
        "kind": "patches",
        "modality": "audio",
        "channels": 1,
        "patch": 4,
        "positions": {"bands": bands, "max_resolution": (samples // HOP // 4, 12)},
    }


def seen(frames: int, bands: int) -> dict[str, Any]:
    """The mouth in two frames, all of it, is one input: only their order is to be told apart."""
    return {
        "kind": "patches",
        "modality": "video",
        "channels": 3,
        "patch": SIDE,
        "frames": 2,
        "positions": {"bands": bands, "max_resolution": (frames // 2, 1, 1)},
    }
