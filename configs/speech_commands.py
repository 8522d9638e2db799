"""Speech Commands: 105,829 words of one second, 35 classes in its second version.

`small` is for two CPU cores; not trained by us. Records: --sample_rate=16000, the recordings' own.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds, small

VARIANTS = ("small", "tiny")
SAMPLE_RATE = 16_000


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    config = base.classification(
        f"speech_commands:{variant}",
        small.small_spectrograms(tiny, frames=64, bins=64, bands=6, latents=48, channels=192),
    )
    config.data = feeds.sounds(
        SAMPLE_RATE,
        SAMPLE_RATE,
        32 if tiny else 128,
        mel={"window": 800, "hop": 250, "bins": 64, "floor": -60.0},
        gain_db=6.0,
        time_masks=2,
        time_mask_width=8,
        frequency_masks=2,
        frequency_mask_width=8,
    )
    base.pace(config, tiny, epochs=12.0)
    return config
