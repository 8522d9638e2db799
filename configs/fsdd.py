"""Free Spoken Digit Dataset: ten digits by six speakers, 2,700 recordings to train on, 300 to test.

`small`: python -m tf_perceiver.train --config=configs/fsdd.py:small --data=DIR --workdir=DIR
  data      official split, preprocessed with --sample_rate=8000, the recordings' own
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("small", "tiny")
SAMPLE_RATE = 8000


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    # A second of sound is 64 frames.
    model = base.small_spectrograms(tiny, frames=64, bins=48, bands=6, latents=32, channels=128)
    config = base.classification(f"fsdd:{variant}", model)
    config.data = base.sounds(
        SAMPLE_RATE,
        SAMPLE_RATE,
        32 if tiny else 64,
        mel={"window": 400, "hop": 125, "bins": 48, "floor": -50.0, "mean": -25.0, "std": 25.0},
        gain_db=6.0,
        time_masks=2,
        time_mask_width=8,
        frequency_masks=2,
        frequency_mask_width=6,
    )
    base.pace(config, tiny, epochs=40.0)
    if not tiny:
        config.task.label_smoothing = 0.1
        config.optimizer.constant_fraction = 0.0
    return config
