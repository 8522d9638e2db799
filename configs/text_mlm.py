"""Masked language model on UTF-8 bytes: 15 % of the words are hidden, their bytes to be found out.

`paper` is Perceiver IO's model of bytes, 201 M parameters, and its training on 500,000 batches of
2,048 texts; the paper's text is C4 and Wikipedia.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from configs import base, feeds
from tf_perceiver import presets

VARIANTS = ("paper", "small", "tiny")
MASK_SHARE = 0.15


def model(variant: str) -> dict[str, Any]:
    """``config.model``; GLUE's has the same inputs and trunk."""
    fields = presets.io_language_bytes()
    if variant == "paper":
        return fields
    tiny = variant == "tiny"
    length, width, heads = (64, 16, 2) if tiny else (256, 128, 4)
    channels = 16 if tiny else 192
    fields["inputs"].update(length=length, width=width)
    fields["trunk"].update(
        num_latents=8 if tiny else 64,
        latent_channels=channels,
        self_attends_per_block=1 if tiny else 6,
        self_heads=heads,
        cross_heads=heads,
        qk_channels=width,
        v_channels=channels,
    )
    fields["decoder"].update(length=length, heads=heads, qk_channels=width, v_channels=width)
    return fields


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `small` is for two CPU cores, `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    config = base.classification(f"text_mlm:{variant}", model(variant))
    config.task = ConfigDict({"name": "masked_lm"})
    config.optimizer.schedule = "cosine"
    config.optimizer.learning_rate = 1.25e-3
    config.optimizer.warmup_steps = 1000
    config.optimizer.weight_decay = 0.01
    length = config.model.inputs.length
    if variant == "paper":
        config.data = feeds.texts(length, 2048, mask_share=MASK_SHARE)
        config.train.steps = 500_000
        config.train.eval_every = 10_000
        return config
    tiny = variant == "tiny"
    config.data = feeds.texts(length, 8 if tiny else 32, mask_share=MASK_SHARE)
    base.pace(config, tiny, epochs=10.0)
    config.optimizer.learning_rate = 4e-3
    config.optimizer.warmup_steps = 5 if tiny else 200
    if not tiny:
        config.train.checkpoint_every = config.train.eval_every = 500
    return config
