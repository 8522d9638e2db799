"""scikit-learn's handwritten digits, 8 x 8 pixels: what `make demo` trains."""

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
        f"digits:{variant}",
        {
            "inputs": {
                "kind": "pixels",
                "channels": 1,
                "patch": 1,
                "positions": {"bands": 4, "max_resolution": (8, 8)},
            },
            "trunk": {
                "num_latents": 8 if tiny else 32,
                "latent_channels": 16 if tiny else 96,
                "cross_attends": 2 if tiny else 3,
                "self_attends_per_block": 1 if tiny else 2,
                "cross_heads": 1,
                "self_heads": 2 if tiny else 4,
                "sharing": "paper",
                "arrangement": "interleaved",
            },
        },
    )
    config.data = base.images(
        (8, 8),
        32 if tiny else 128,
        channels=1,
        mean=(0.306,),
        std=(0.376,),
        train_crop="pad",
        pad=1,
        rotate_degrees=10.0,
        flip=False,
        randaugment_layers=0,
        eval_crop=1.0,
    )
    config.train.steps = 20 if tiny else 1500
    config.train.log_every = 5 if tiny else 50
    config.train.checkpoint_every = 10 if tiny else 500
    config.train.eval_every = 10 if tiny else 500
    return config
