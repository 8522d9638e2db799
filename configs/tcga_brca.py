"""TCGA-BRCA: survival of 956 patients with breast cancer from their molecular profiles, 5 folds."""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds

VARIANTS = ("small", "tiny")
TOKENS, WIDTH = 27, 247  # Groups that the table and its signatures give, and the largest of them.


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    model = {
        "inputs": {
            "kind": "groups",
            "tokens": TOKENS,
            "width": WIDTH,
            "project": 16 if tiny else 32,
            "modality": "omics",
        },
        "trunk": {
            "num_latents": 8,
            "latent_channels": 16 if tiny else 32,
            "cross_attends": 1,
            "self_attends_per_block": 1,
            "cross_heads": 1,
            "self_heads": 2,
            "sharing": "paper",
            "arrangement": "interleaved",
            "attention": "structured",
            "block_size": 0,
            "recompute": False,
        },
    }
    config = base.classification(f"tcga_brca:{variant}", model)
    config.task = ConfigDict({"name": "survival", "likelihood": "cox", "bins": 4, "alpha": 0.0})
    config.data = feeds.profiles(
        TOKENS, WIDTH, 32 if tiny else 256, noise=0.2, feature_dropout=0.5, group_dropout=0.2
    )
    base.pace(config, tiny, epochs=60.0)
    if not tiny:
        config.optimizer.learning_rate = 2e-3
        config.optimizer.constant_fraction = 0.0
        config.train.log_every = 10
        config.train.checkpoint_every = config.train.eval_every = 30
    return config
