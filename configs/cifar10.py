"""CIFAR-10."""

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
        {
            "inputs": {
                "kind": "pixels",
                "channels": 3,
                "patch": 1,
                "positions": {"bands": 4 if tiny else 10, "max_resolution": (32, 32)},
            },
            "trunk": {
                "num_latents": 8 if tiny else 64,
                "latent_channels": 16 if tiny else 128,
                "cross_attends": 2,
                "self_attends_per_block": 1 if tiny else 4,
                "cross_heads": 1,
                "self_heads": 2 if tiny else 4,
                "sharing": "paper",
                "arrangement": "interleaved",
            },
        },
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
    config.train.epochs = 10.0
    config.train.steps = 20 if tiny else 0
    config.train.log_every = 5 if tiny else 50
    return config
