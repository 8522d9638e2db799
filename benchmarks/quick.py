"""A preset's model with every size cut down, its structure kept: what `--quick` measures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Upper bounds by field, wherever it stands.
BOUNDS = {
    "num_latents": 8,
    "latent_channels": 32,
    "cross_attends": 2,
    "blocks": 2,
    "self_attends_per_block": 1,
    "cross_heads": 2,
    "self_heads": 2,
    "heads": 2,
    "qk_channels": 16,
    "v_channels": 32,
    "bands": 4,
    "samples": 256,
    "samples_per_patch": 16,
    "vocabulary": 32,
    "length": 16,
    "width": 32,
    "query_channels": 32,
    "label_channels": 16,
    "chunk": 100,
}
GRIDS = {1: (16,), 2: (16, 16), 3: (2, 8, 8)}  # by the number of axes


def shrunk(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``config.model`` of seconds instead of minutes."""
    small: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping):
            small[key] = shrunk(value)
        elif key in ("max_resolution", "index_dims"):
            small[key] = GRIDS[len(value)]
        elif key in BOUNDS:
            small[key] = min(value, BOUNDS[key])
        else:
            small[key] = value
    return small
