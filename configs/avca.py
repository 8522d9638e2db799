"""AVCA's zero-shot benchmarks of UCF, ActivityNet and VGGSound, by C3D's and VGGish's features.

`small`, stage 1, then `small_stage2` with the bias that `tf_perceiver.evaluate` says of stage 1:
  python -m tf_perceiver.train --config=configs/avca.py:small --data=DIR --workdir=DIR
  python -m tf_perceiver.train --config=configs/avca.py:small_stage2 --config.task.bias=B
         --data=DIR --workdir=DIR
  data      --dataset=avca --benchmark=ucf, activitynet or vggsound, --stage=1 or 2; for SeLaVi's
            features (--feature_set=main) --config.data.clip_features.audio_width=512 and
            .video_width=512
  Not trained by us on the published features, which could not be fetched where this was written.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds

VARIANTS = ("small", "small_stage2", "tiny", "tiny_stage2")
WIDTHS = {"audio": 128, "video": 4096}
LENGTHS = {"audio": 16, "video": 16}


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny, stage = variant.startswith("tiny"), 2 if variant.endswith("_stage2") else 1
    model = {
        "inputs": {
            "kind": "multimodal",
            "min_padding": 2,
            "modalities": {name: _rows(name, 16 if tiny else 128) for name in WIDTHS},
        },
        "trunk": {
            "num_latents": 4 if tiny else 16,
            "latent_channels": 16 if tiny else 128,
            "cross_attends": 1,
            "self_attends_per_block": 1 if tiny else 2,
            "cross_heads": 1,
            "self_heads": 2 if tiny else 4,
            "sharing": "paper",
            "arrangement": "interleaved",
            "attention": "structured",
            "block_size": 0,
            "recompute": False,
        },
    }
    config = base.classification(f"avca:{variant}", model)
    config.task = ConfigDict(
        {"name": "zero_shot", "scale": 10.0, "bias": -1.0, "biases": (0.0, 3.0, 16)}
    )
    config.data = feeds.clip_features(
        stage, WIDTHS, LENGTHS, 32 if tiny else 128,
        noise=0.2, audio_dropout=0.1, video_dropout=0.1,
    )  # fmt: skip
    for name, part in config.model.inputs.modalities.items():  # So that one flag sets both.
        part.width = config.data.clip_features.get_ref(f"{name}_width")
    base.pace(config, tiny, epochs=20.0)
    if not tiny:
        config.optimizer.learning_rate = 2e-3
        config.optimizer.constant_fraction = 0.0
        config.train.checkpoint_every = config.train.eval_every = 100
    return config


def _rows(name: str, project: int) -> dict[str, Any]:
    return {
        "kind": "rows",
        "width": WIDTHS[name],
        "project": project,
        "positions": {"bands": 4, "max_resolution": (LENGTHS[name],)},
    }
