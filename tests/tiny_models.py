"""Every preset at a size for tests, with a batch that it reads; and layers that none has."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from configs import avca, tcga_brca
from tf_perceiver import presets
from tf_perceiver.model import perceiver, postprocessors
from tf_perceiver.model.prototypes import PrototypePerceiver

CLASSES = 5
BATCH = 2
# By field, wherever it stands. Positions are cut apart below, for they depend on the input's axes.
SIZES = {
    "num_latents": 5,
    "latent_channels": 16,
    "cross_attends": 2,
    "blocks": 2,
    "self_attends_per_block": 1,
    "cross_heads": 2,
    "self_heads": 2,
    "qk_channels": 8,
    "v_channels": 12,
    "heads": 2,
    "bands": 2,
    "patch": 4,
    "samples_per_patch": 8,
    "samples": 64,
    "vocabulary": 20,
    "length": 12,
    "width": 12,
    "query_channels": 16,
    "label_channels": 10,
    "classes": CLASSES,
    "project": 6,
    "chunk": 7,
}
RESOLUTIONS = {1: (8,), 2: (8, 8), 3: (4, 8, 8)}


def shrunk(fields: Mapping[str, Any]) -> dict[str, Any]:
    """``config.model`` with every size replaced, its structure kept."""
    small: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Mapping):
            small[key] = shrunk(value)
        elif key in ("max_resolution", "index_dims"):
            small[key] = RESOLUTIONS[len(value)]
        elif key in ("cross_attends", "blocks", "self_attends_per_block", "cross_heads", "chunk"):
            small[key] = min(value, SIZES[key])
        elif key == "channels" and fields.get("kind") == "learned":
            small[key] = 6
        elif key == "outputs":
            small[key] = 6 if fields.get("kind") == "conv1x1" else 8
        else:
            small[key] = SIZES.get(key, value)
    return small


def preset(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(``config.model``, batch) of a tiny preset; the batch is float32 and the same every time."""
    config = shrunk(presets.PRESETS[name].model())
    draw = np.random.default_rng(zlib.crc32(name.encode()))

    def values(*shape: int) -> np.ndarray:
        return draw.uniform(-1, 1, (BATCH, *shape)).astype(np.float32)

    def of(inputs: Mapping[str, Any]) -> np.ndarray:
        match inputs["kind"]:
            case "points":
                return values(11, 3)
            case "waveform":
                return values(64)
            case "text":
                return draw.integers(0, SIZES["vocabulary"], (BATCH, 9))
            case "one_hot":
                return np.eye(CLASSES, dtype=np.float32)[draw.integers(0, CLASSES, BATCH)]
            case "frame_pair":
                return values(2, 8, 8, 3)
            case "conv":
                return values(16, 16, 3)
        axes = inputs["positions"].get("index_dims") or inputs["positions"]["max_resolution"]
        return values(*RESOLUTIONS[len(axes)], inputs.get("channels", 3))

    inputs = config["inputs"]
    if inputs["kind"] == "multimodal":
        return config, {name: of(part) for name, part in inputs["modalities"].items()}
    default = {"points": "points", "waveform": "audio", "text": "text"}.get(inputs["kind"], "image")
    modality = inputs.get("modality", default)
    batch = {modality: of(inputs)}
    if modality == "text":  # One text is shorter; the mask goes into encoder and decoder.
        batch["text_mask"] = np.arange(9) < np.array([[9], [6]])
    return config, batch


class Upsampler(tf.keras.Model):
    """The post-processors of pictures that no preset has, behind a linear that makes a grid."""

    def __init__(self) -> None:
        super().__init__(name="upsampler", autocast=False)
        self.layers_by_kind = [
            postprocessors.UnpatchedImage("post.a", "patches", 12, spatial=2),
            postprocessors.UnpatchedImage("post.b", "conv1x1", 3, outputs=4),
            postprocessors.UnpatchedImage("post.c", "conv", 4, outputs=3),
        ]
        self.built = True

    def call(self, batch: Mapping[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """[B, 3, 3, 12] -> [B, 24, 24, 3]."""
        del training
        x = tf.cast(batch["decoded"], self.compute_dtype)
        for layer in self.layers_by_kind:
            x = layer(x)
        return x

    named_weights = perceiver.Perceiver.named_weights


def stays() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(``config.model``, batch) of irregular series, one of them shorter than the other."""
    config = {
        "inputs": {
            "kind": "series",
            "variables": 3,
            "width": 6,
            "knots": 3,
            "positions": {"bands": 2, "max_resolution": (8,)},
        },
        "trunk": {
            "num_latents": 5,
            "latent_channels": 16,
            "cross_attends": 2,
            "self_attends_per_block": 1,
            "self_heads": 2,
        },
    }
    draw = np.random.default_rng(0)
    batch = {
        "series": (draw.uniform(-1, 1, (BATCH, 9, 2)) * [1, 4]).astype(np.float32),
        "series_variable": draw.integers(0, 3, (BATCH, 9)).astype(np.int32),
        "series_mask": np.arange(9) < np.array([[9], [6]]),
    }
    return config, batch


def survival() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(``config.model``, batch) of `configs/tcga_brca.py:tiny`, groups of genes with a mask."""
    config = shrunk(tcga_brca.get_config("tiny").model.to_dict())
    config["inputs"].update(tokens=3, width=4)
    values = np.random.default_rng(0).normal(size=(BATCH, 3, 4)).astype(np.float32)
    return config, {"omics": values, "omics_mask": np.arange(3) < np.array([[3], [2]])}


def zero_shot() -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """(``config.model``, batch) of `configs/avca.py:tiny`, rows of two modalities with masks."""
    config = shrunk(avca.get_config("tiny").model.to_dict())
    draw, batch = np.random.default_rng(0), {}
    for name, rows in (("audio", 4), ("video", 3)):
        batch[name] = draw.normal(size=(BATCH, rows, SIZES["width"])).astype(np.float32)
        batch[f"{name}_mask"] = np.arange(rows) < np.array([[rows], [rows - 2]])
    return config, batch


OTHERS = {"stays": stays, "survival": survival, "zero_shot": zero_shot}


def build(name: str) -> tuple[tf.keras.Model, dict[str, np.ndarray]]:
    """A tiny model, none of whose weights is zero or one, and a batch for it."""
    if name == "upsampler":
        batch = {"decoded": np.random.default_rng(0).normal(size=(BATCH, 3, 3, 12)).astype("f4")}
        model = Upsampler()
    else:
        config, batch = OTHERS[name]() if name in OTHERS else preset(name)
        further: dict[str, Any] = {}
        if name == "zero_shot":
            points = np.random.default_rng(1).normal(size=(7, CLASSES))
            further = {"kind": PrototypePerceiver, "prototypes": points, "scale": 2.0}
        model = perceiver.build(config, CLASSES, **further)
    for variable_name, variable in model.named_weights().items():
        draw = np.random.default_rng(zlib.crc32(variable_name.encode()))
        noise = draw.normal(size=variable.shape) * 0.2
        # Norms and moving variances stay about one, everything else is about its usual size.
        about = 1.0 if variable_name.endswith(("gamma", "moving_var")) else 0.0
        if variable_name.endswith("kernel"):
            noise *= 5 / np.prod(variable.shape[:-1]) ** 0.5
        variable.assign(np.abs(about + noise) if about else noise)
    return model, batch


def loss(outputs: tf.Tensor | Mapping[str, tf.Tensor]) -> tf.Tensor:
    """A scalar that depends on every output, each with a weight of its own."""
    total = tf.constant(0.0, tf.nest.flatten(outputs)[0].dtype)
    for i, output in enumerate(tf.nest.flatten(outputs)):
        weights = tf.cos(tf.range(tf.size(output), dtype=tf.float32) + i)
        total += tf.reduce_sum(tf.reshape(output, [-1]) * tf.cast(weights, output.dtype))
    return total / BATCH


NAMES = [*presets.PRESETS, *OTHERS, "upsampler"]
