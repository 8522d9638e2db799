"""Builds our models from the goldens' descriptions, and compares with what they hold.

A golden is an npz with ``meta_json`` (what the reference was configured with), ``params/<name>``,
``inputs/<name>``, ``outputs/<name>`` and ``grads/<name>``, the names being our neutral ones.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from tf_perceiver.model import perceiver

GOLDENS = pathlib.Path(__file__).resolve().parent / "goldens"


class Golden:
    """One npz of tests/goldens."""

    def __init__(self, case: str) -> None:
        with np.load(GOLDENS / f"{case}.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.meta = json.loads(str(self.arrays.pop("meta_json")))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays under ``<prefix>/``, without it."""
        prefix += "/"
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}


def build(meta: dict[str, Any], attention: str = "structured") -> perceiver.Perceiver:
    """Our model for a golden's ``meta_json``.

    Raises:
      ValueError: a kind of model that isn't built yet.
    """
    config = meta["config"]
    if config["kind"] != "v1_classifier":
        raise ValueError(f"no model of kind {config['kind']!r} yet")
    preprocessor, trunk = config["preprocessor"], config["trunk"]
    fourier = preprocessor["fourier_position_encoding_kwargs"]
    return perceiver.build(
        {
            "inputs": {
                "kind": preprocessor["prep_type"],
                "positions": {
                    "bands": fourier["num_bands"],
                    "max_resolution": fourier["max_resolution"],
                    "raw": fourier["concat_pos"],
                    "sine_only": fourier["sine_only"],
                },
            },
            "trunk": {
                "num_latents": trunk["n_latents"],
                "latent_channels": trunk["channels"],
                "cross_attends": trunk["iterations"],
                "self_attends_per_block": trunk["self_per_block"],
                "cross_heads": trunk["cross_heads"],
                "self_heads": trunk["self_heads"],
                "sharing": trunk["sharing"],
                "attention": attention,
            },
        },
        config["num_classes"],
    )


def load_weights(model: tf.keras.Model, arrays: dict[str, np.ndarray]) -> None:
    """Assigns every variable; the names must be the same on both sides."""
    weights = model.named_weights()
    assert weights.keys() == arrays.keys()
    for name, variable in weights.items():
        variable.assign(arrays[name])


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max |a - b| / max |b|."""
    return float(np.max(np.abs(np.asarray(ours) - theirs)) / np.max(np.abs(theirs)))


def gradient_errors(
    ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]
) -> dict[str, float]:
    """max |a - b| / max(max |b|, 1e-3 of the case's largest) of each gradient.

    The floor is for the key bias, whose true gradient is zero: a softmax ignores it.
    """
    floor = 1e-3 * max(np.max(np.abs(b)) for b in theirs.values())
    return {
        name: float(np.max(np.abs(ours[name] - b)) / max(np.max(np.abs(b)), floor))
        for name, b in theirs.items()
    }
