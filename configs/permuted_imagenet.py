"""Permuted ImageNet: the pixels of all pictures in one other order, and no knowledge of places.

`paper` is the paper's model with learned positions, a table of 128 channels and one cross-attend:
70.9 % top-1 in the paper, with the pixels in their order or not. Its training is ImageNet's. The
other variants are for pictures of Tiny ImageNet's size, 64 x 64.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, imagenet, tiny_imagenet
from tf_perceiver import presets

VARIANTS = ("paper", "small", "tiny")
PERMUTATION_SEED = 1


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `small` is for two CPU cores, `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    if variant == "paper":
        config = imagenet.get_config("paper")
        config.model = presets.imagenet_learned()
    else:
        config = tiny_imagenet.get_config(variant)
        tiny = variant == "tiny"
        config.model.inputs.positions = {
            "kind": "learned",
            "index_dims": config.data.image.size,
            "channels": 4 if tiny else 32,
            "scale": 1.0,
        }
        config.model.trunk.update(cross_attends=1, blocks=1 if tiny else 2)
    config.name = f"permuted_imagenet:{variant}"
    config.data.image.permutation_seed = PERMUTATION_SEED
    return config
