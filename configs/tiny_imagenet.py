"""Tiny ImageNet: 64 x 64 pictures, 200 classes in the original; classes come from the records."""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds, small

VARIANTS = ("small", "tiny")


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    config = base.classification(
        f"tiny_imagenet:{variant}",
        small.small_pixels(tiny, size=64, bands=16, latents=48, channels=192, self_attends=3),
    )
    # No RandAugment: its shifts of 50 pixels are made for pictures several times this size.
    config.data = feeds.images((64, 64), 16 if tiny else 64, randaugment_layers=0)
    config.data.image.crop_area = (0.35, 1.0)
    config.data.image.eval_crop = 1.0
    config.data.eval_split = "val"
    base.pace(config, tiny, epochs=30.0)
    return config
