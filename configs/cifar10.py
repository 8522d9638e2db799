"""CIFAR-10: 50,000 training pictures of 32 x 32 pixels, 10 classes."""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base

VARIANTS = ("small", "tiny")


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    config = base.classification(
        f"cifar10:{variant}",
        base.small_pixels(tiny, size=32, bands=10, latents=32, channels=192, self_attends=3),
    )
    config.data = base.images(
        (32, 32),
        32 if tiny else 64,
        mean=(0.491, 0.482, 0.447),
        std=(0.247, 0.243, 0.262),
        train_crop="pad",
        randaugment_layers=0,
        eval_crop=1.0,
    )
    base.pace(config, tiny, epochs=10.0)
    return config
