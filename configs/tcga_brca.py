"""TCGA-BRCA: survival of 956 patients with breast cancer from their molecular profiles, 5 folds.

`small`: python -m tf_perceiver.train --config=configs/tcga_brca.py:small --data=DIR --workdir=DIR
  data      the folds that come with the table: --test_fold=1 to 5 of beam_preprocess
  hardware  2 cores of an AMD EPYC (AVX-512), no GPU, other work beside it
  time      a minute a fold
  c-index   0.621, 0.556, 0.533, 0.677, 0.527: 0.583 on average, deviation 0.065, one seed each

`small_bags` reads the features of the patients' whole slides as well:
  data      --dataset=tcga_brca --test_fold=1 --bags=FOLDER --patch_width=1024
  For features of another width --config.data.omics_patches.patches.patch_width=N.
  Not trained by us on published features, which could not be fetched where this was written.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds

VARIANTS = ("small", "small_bags", "tiny", "tiny_bags")
TOKENS, WIDTH = 27, 247  # Groups that the table and its signatures give, and the largest of them.
PATCH_WIDTH = 1024  # Of a ResNet-50's third block, as the literature's bags have it.


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny, bags = variant.startswith("tiny"), variant.endswith("_bags")
    project, patches = (16, 8) if tiny else (32, 256)
    groups = {
        "kind": "groups",
        "tokens": TOKENS,
        "width": WIDTH,
        "project": project,
        "modality": "omics",
    }
    model = {
        "inputs": _with_patches(groups, patches) if bags else groups,
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
    batch_size = 32 if tiny else 64 if bags else 256
    config.data = feeds.profiles(
        TOKENS, WIDTH, batch_size, noise=0.2, feature_dropout=0.5, group_dropout=0.2
    )
    if bags:
        config.data = feeds.slides(config.data, patches, PATCH_WIDTH, noise=0.2, dropout=0.1)
        width = config.data.omics_patches.patches.get_ref("patch_width")
        config.model.inputs.modalities.patches.width = width  # So that one flag sets both.
    base.pace(config, tiny, epochs=60.0)
    if not tiny:
        config.optimizer.learning_rate = 2e-3
        config.optimizer.constant_fraction = 0.0
        config.train.log_every = 10
        config.train.checkpoint_every = config.train.eval_every = 30
    return config


def _with_patches(groups: dict[str, Any], length: int) -> dict[str, Any]:
    """The preprocessor of profiles beside so many patches."""
    patches = {
        "kind": "rows",
        "width": PATCH_WIDTH,
        "project": groups["project"],
        # Where a patch comes in its bag, which is about where it lies on its slide.
        "positions": {"bands": 2, "max_resolution": (length,)},
    }
    return {
        "kind": "multimodal",
        "min_padding": 2,
        "modalities": {"omics": groups, "patches": patches},
    }
