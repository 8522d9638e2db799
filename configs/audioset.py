"""AudioSet: two million clips of ten seconds, 527 labels, by raw sound, spectrogram, picture, both.

`paper` (raw sound and picture), `paper_mel_video`, `paper_raw`, `paper_mel`, `paper_video`:
  python -m tf_perceiver.train --config=configs/audioset.py:paper --data=DIR --workdir=DIR
  data      preprocessed with --sample_rate=48000 --fps=25 --frame_size=256
  paper     mean average precision 43.5 with both (raw), 43.2 (mel), 38.3, 38.4, 25.8 alone
  The batch, the learning rate and what divides a spectrogram's 4,800 values into times and bands
  are not stated; they are ImageNet's and 80 x 60 here. Not trained by us.
`tiny` and so on: the same on a few small frames, in seconds; --sample_rate=16000.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds, small
from tf_perceiver import presets

INPUTS = ("", "mel_video", "raw", "mel", "video")
VARIANTS = tuple(f"{size}_{inputs}".rstrip("_") for size in ("paper", "tiny") for inputs in INPUTS)
FPS = 25
CLIPS = 16  # That overlap, in evaluation.


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment, by what the model reads; without a word behind it, raw sound and picture."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    size, _, inputs = variant.partition("_")
    tiny = size == "tiny"
    model = tiny_model(inputs) if tiny else paper_model(inputs)
    config = base.classification(f"audioset:{variant}", model)
    config.task = ConfigDict({"name": "audioset"})
    seen, heard = video(tiny), audio(tiny, "mel" in inputs)
    if inputs in ("", "mel_video"):
        config.data = feeds.seen_and_heard(seen, heard)
    else:
        config.data = seen if inputs == "video" else heard
    config.data.target = "labels"
    # So many clips of each example go through the model at once.
    config.data.eval_batch_size = 4 if tiny else 32
    config.train.epochs = 100.0
    if tiny:
        base.pace(config, tiny, epochs=1.0)
    return config


def video(tiny: bool) -> ConfigDict:
    """32 frames at 25 a second, crops, flips and colours."""
    frames, side = (4, (16, 16)) if tiny else (presets.AUDIOSET_FRAMES, (224, 224))
    batch_size, clips = (4, 3) if tiny else (512, CLIPS)
    return feeds.videos(frames, side, batch_size, fps=FPS, eval_clips=clips)


def audio(tiny: bool, mel: bool) -> ConfigDict:
    """1.28 s, as the frames: raw samples, or a spectrogram of 60 bands under SpecAugment."""
    rate = 16_000 if tiny else 48_000
    frames = 4 if tiny else presets.AUDIOSET_FRAMES
    samples = frames * rate // FPS
    further: dict[str, Any] = {"eval_clips": 3 if tiny else CLIPS}
    if mel:
        hop = samples // (16 if tiny else 80)
        further["mel"] = {"window": 2 * hop, "hop": hop, "bins": 12 if tiny else 60}
        # The paper names SpecAugment without its widths.
        further.update(time_masks=2, frequency_masks=2)
        further.update(time_mask_width=2 if tiny else 10, frequency_mask_width=2 if tiny else 8)
    return feeds.sounds(rate, samples, 4 if tiny else 512, **further)


def paper_model(inputs: str) -> dict[str, Any]:
    """The preset: two cross-attends and twice eight self-attends, nothing shared."""
    return getattr(presets, f"audioset_{inputs or 'raw_video'}")()


def tiny_model(inputs: str) -> dict[str, Any]:
    """A preset's structure at the size of tests."""
    model = paper_model(inputs)
    trunk = small.small_pixels(
        True, size=8, bands=4, latents=8, channels=16, self_attends=1, cross_attends=2
    )["trunk"]
    model["trunk"] = {**trunk, "sharing": "none"}
    raw, mel = (2_560 // 128,), (16, 12)
    parts = model["inputs"].get("modalities", {"": model["inputs"]})
    for part in parts.values():
        part["positions"]["bands"] = 4
        resolution = {"waveform": raw, "pixels": mel, "patches": (2, 2, 2)}[part["kind"]]
        part["positions"]["max_resolution"] = resolution
    return model
