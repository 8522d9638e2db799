"""ESC-50: clips of five seconds at 44.1 kHz, 50 classes of environmental sound, five folds.

`paper` is the paper's model of AudioSet's raw sound: 480 patches of 128 samples at 48 kHz; `small`
hears the whole clip as a log-mel spectrogram. Neither was trained by us. Records of another fold:
--test_fold in preprocessing.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds, small
from tf_perceiver import presets

VARIANTS = ("paper", "small", "tiny")
SAMPLE_RATE = 48_000


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    if variant == "paper":
        config = base.classification(f"esc50:{variant}", presets.audioset_raw())
        config.data = feeds.sounds(SAMPLE_RATE, 61_440, 512)
        config.data.shuffle_buffer = 1024  # A record has half a megabyte.
        config.train.epochs = 100.0
        return config
    tiny = variant == "tiny"
    config = base.classification(
        f"esc50:{variant}",
        small.small_spectrograms(tiny, frames=240, bins=64, bands=6, latents=48, channels=192),
    )
    config.data = feeds.sounds(
        SAMPLE_RATE,
        5 * SAMPLE_RATE,
        8 if tiny else 32,
        mel={"window": 2048, "hop": 1000, "bins": 64},
        gain_db=6.0,
        time_masks=2,
        time_mask_width=24,
        frequency_masks=2,
        frequency_mask_width=8,
    )
    config.data.shuffle_buffer = 1024  # A record has half a megabyte.
    base.pace(config, tiny, epochs=60.0)
    if not tiny:
        config.task.label_smoothing = 0.1
    return config
