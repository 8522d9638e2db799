"""ImageNet, ILSVRC 2012: 1,281,167 training pictures, 1,000 classes.

`paper` is the paper's best model: 8 cross-attends, 78.0 % top-1 in the paper. The paper does not
state batch size, weight decay and clipping; those here are its successor's (Perceiver IO).
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds
from tf_perceiver import presets

VARIANTS = ("paper", "small", "tiny")


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `small` is for two CPU cores, `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    config = base.classification(f"imagenet:{variant}", presets.imagenet())
    if variant == "paper":
        config.data = feeds.images((224, 224), 1024)
        config.data.eval_split = "val"
        config.optimizer.schedule = "step"
        config.optimizer.boundaries = (84 / 120, 102 / 120, 114 / 120)
        config.train.epochs = 120.0
        config.train.checkpoint_every = 1000
        config.train.eval_every = 5000
        return config
    tiny = variant == "tiny"
    size = 32 if tiny else 64
    config.model.inputs.positions = {"bands": 4 if tiny else 16, "max_resolution": (size, size)}
    config.model.trunk.update(
        num_latents=8 if tiny else 64,
        latent_channels=16 if tiny else 192,
        cross_attends=2,
        self_attends_per_block=1 if tiny else 3,
        self_heads=2 if tiny else 4,
    )
    # The paper's shifts and cut-outs are in pixels of a full picture, so RandAugment fits here
    # too: it comes before the resize.
    config.data = feeds.images((size, size), 8 if tiny else 64)
    config.data.eval_split = "val"
    base.pace(config, tiny, epochs=10.0)
    return config
