"""Published models by name: what goes into ``config.model``.

Reference: Perceiver (ICML 2021), section 4 and appendix; the numbers and where they were read are
in each docstring.
"""

from __future__ import annotations

from typing import Any


def imagenet() -> dict[str, Any]:
    """The best ImageNet model: 224 x 224 pixels, Fourier positions, 8 cross-attends.

    512 latents of 1024 channels, 8 x (1 cross-attend, 6 self-attends of 8 heads); cross-attends
    1 to 7 share their weights, and so do all blocks: 44,912,254 parameters with 1,000 classes.
    """
    return {
        "inputs": {
            "kind": "pixels",
            "channels": 3,
            "patch": 1,
            "positions": {"bands": 64, "max_resolution": (224, 224)},
        },
        "trunk": {
            "num_latents": 512,
            "latent_channels": 1024,
            "cross_attends": 8,
            "self_attends_per_block": 6,
            "cross_heads": 1,
            "self_heads": 8,
            "sharing": "paper",
            "arrangement": "interleaved",
            "attention": "structured",
        },
    }


def modelnet40() -> dict[str, Any]:
    """The point-cloud model: 2 x (1 cross-attend, 6 self-attends), frequencies up to 1,120.

    The paper gives the maximum *frequency*, 1120, ten times ImageNet's; max_resolution is twice
    that. Whether its two blocks share weights is not stated; here they do, as on ImageNet.
    """
    return {
        "inputs": {
            "kind": "points",
            "positions": {"bands": 64, "max_resolution": (2240, 2240, 2240)},
        },
        "trunk": {
            "num_latents": 512,
            "latent_channels": 1024,
            "cross_attends": 2,
            "self_attends_per_block": 6,
            "cross_heads": 1,
            "self_heads": 8,
            "sharing": "paper",
            "arrangement": "interleaved",
            "attention": "structured",
        },
    }
