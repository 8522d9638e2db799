"""ModelNet40 as point clouds: 9,843 shapes to train on, 2,468 to test, 40 classes.

`paper` is the paper's model, 85.7 % in the paper (its best on the test split); not trained by us.

`small`: python -m tf_perceiver.train --config=configs/modelnet40.py:small --data=DIR --workdir=DIR
  data      official split, 1,024 points a shape (9,843 / 2,468)
  hardware  2 cores of an AMD EPYC (AVX-512), no GPU, other work beside it
  time      17 minutes for 24 epochs
  accuracy  84.0 % (top-5 96.6 %), one seed
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds
from tf_perceiver import presets

VARIANTS = ("paper", "small", "tiny")


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    config = base.classification(f"modelnet40:{variant}", presets.modelnet40())
    if variant == "paper":
        config.data = feeds.points(2048, 512)
        config.optimizer.learning_rate = 1e-3
        config.optimizer.schedule = "constant"
        config.train.steps = 50_000
        return config
    tiny = variant == "tiny"
    config.model.inputs.positions = {
        "bands": 4 if tiny else 16,
        "max_resolution": (16, 16, 16) if tiny else (32, 32, 32),
    }
    config.model.trunk.update(
        num_latents=8 if tiny else 64,
        latent_channels=16 if tiny else 128,
        self_attends_per_block=1 if tiny else 4,
        self_heads=2 if tiny else 4,
    )
    config.data = feeds.points(64 if tiny else 1024, 32)
    config.task.label_smoothing = 0.1
    base.pace(config, tiny, epochs=24.0)
    return config
