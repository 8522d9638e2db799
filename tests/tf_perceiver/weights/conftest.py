"""Checkpoints as DeepMind and Hugging Face publish them: of the goldens, and in full size."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference

from tf_perceiver import presets
from tf_perceiver.weights import archive, names

Shapes = dict[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Tiny:
    """A golden, its weights, and the same as checkpoints.

    Attributes:
      fields, outputs: of its model. arrays: {neutral name: array}, the averages included.
      params, state: {module path: {parameter: array}}, under the paths that DeepMind's code gave.
    """

    golden: reference.Golden
    fields: dict[str, Any]
    outputs: int
    arrays: dict[str, np.ndarray]
    params: dict[str, dict[str, np.ndarray]]
    state: dict[str, dict[str, np.ndarray]]

    @property
    def kind(self) -> str:
        """Of the checkpoint."""
        return self.fields["decoder"]["kind"]

    def state_dict(self) -> dict[str, np.ndarray]:
        """What Hugging Face's converter makes of it: every `weight` that is no embedding has its
        axes reversed, batch norm loses those of length 1."""
        converted = {}
        for name, array in self.arrays.items():
            key = names.torch_key(name, self.kind)
            if key.endswith("weight") and "embeddings" not in key:
                array = np.transpose(array)
            if "batchnorm" in key:
                array = np.squeeze(array)
            converted[key] = np.ascontiguousarray(array)
        if self.state:
            key = "perceiver.input_preprocessor.convnet.batchnorm.num_batches_tracked"
            converted[key] = np.array(7)
        return converted


def _tree(paths: dict[str, str], arrays: dict[str, np.ndarray]) -> dict:
    tree: dict[str, dict[str, np.ndarray]] = {}
    for name, path in paths.items():
        module, _, parameter = path.rpartition("/")
        tree.setdefault(module, {})[parameter] = arrays[name]
    return tree


@functools.cache
def _tiny(case: str) -> Tiny:
    golden = reference.Golden(case)
    config = golden.meta["config"]
    fields, outputs = reference.MODELS[config["kind"]](config)
    params, state = golden.group("params"), golden.group("state")
    averages = {k: v for k, v in state.items() if not k.endswith((".counter", ".hidden"))}
    return Tiny(
        golden,
        fields,
        outputs,
        params | averages,
        _tree(golden.meta["haiku_names"], params),
        _tree(golden.meta.get("haiku_state_names") or {}, state),
    )


@pytest.fixture
def tiny() -> Callable[[str], Tiny]:
    """A golden by its name."""
    return _tiny


@functools.cache
def _model_shapes(preset: str) -> Shapes:
    return archive.shapes_of(presets.PRESETS[preset].model(), presets.PRESETS[preset].outputs)


@pytest.fixture
def model_shapes() -> Callable[[str], Shapes]:
    """{neutral name: shape} of a preset's model, in full size."""
    return _model_shapes


def _linear(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}/w": (inputs, outputs), f"{name}/b": (outputs,)}


def _norm(name: str, channels: int) -> Shapes:
    return {f"{name}/scale": (channels,), f"{name}/offset": (channels,)}


def _attends(name: str, queries: int, keys: int, qk: int, v: int, norms: list[int]) -> Shapes:
    shapes = {
        **_linear(f"{name}/attention/linear", queries, qk),
        **_linear(f"{name}/attention/linear_1", keys, qk),
        **_linear(f"{name}/attention/linear_2", keys, v),
        **_linear(f"{name}/attention/linear_3", v, queries),
        **_linear(f"{name}/mlp/linear", queries, queries),
        **_linear(f"{name}/mlp/linear_1", queries, queries),
    }
    for i, channels in enumerate(norms):
        shapes |= _norm(f"{name}/layer_norm_{i}" if i else f"{name}/layer_norm", channels)
    return shapes


def _cross(name: str, queries: int, keys: int, qk: int, v: int) -> Shapes:
    return _attends(f"{name}/cross_attention", queries, keys, qk, v, [queries, keys, queries])


def _trunk(
    name: str, latents: int, width: int, inputs: int, layers: int, qk: int = 0, v: int = 0
) -> Shapes:
    shapes = _cross(f"{name}/~", width, inputs, qk or inputs, v or inputs)
    for i in range(layers):
        layer = f"{name}/~/self_attention_{i}" if i else f"{name}/~/self_attention"
        shapes |= _attends(layer, width, width, qk or width, v or width, [width, width])
    return {**shapes, f"{name}/~/trainable_position_encoding/pos_embs": (latents, width)}


_CLASSES = "classification_decoder/~/basic_decoder"


def _imagenet(inputs: int) -> Shapes:
    return {
        **_trunk("perceiver_encoder", 512, 1024, inputs, 6),
        **_cross(_CLASSES, 1024, 1024, 1024, 1024),
        **_linear(f"{_CLASSES}/output", 1024, 1000),
        f"{_CLASSES}/~/trainable_position_encoding/pos_embs": (1, 1024),
    }


_STEM = "image_preprocessor/~/conv2_d_downsample/~"
_NETWORK = "image_preprocessor/~_build_network_inputs"
_MIXED = "multimodal_decoder/~/basic_decoder"
_PRE, _QUERY = "multimodal_preprocessor", "multimodal_decoder/~decoder_query"
# Written out from the published files' descriptions; neither our table nor our models are asked.
PUBLISHED: dict[str, Shapes] = {
    "io_imagenet_fourier": _imagenet(261),
    "io_imagenet_learned": {
        **_imagenet(512),
        "image_preprocessor/~/conv2_d/w": (1, 1, 3, 256),
        "image_preprocessor/~/conv2_d/b": (256,),
        f"{_NETWORK}/trainable_position_encoding/pos_embs": (50_176, 256),
        **_linear(f"{_NETWORK}/position_encoding_projector/linear", 256, 256),
    },
    "io_imagenet_conv": {
        **_imagenet(322),
        f"{_STEM}/conv/w": (7, 7, 3, 64),
        f"{_STEM}/batchnorm/scale": (1, 1, 1, 64),
        f"{_STEM}/batchnorm/offset": (1, 1, 1, 64),
        f"{_STEM}/batchnorm/~/mean_ema/average": (1, 1, 1, 64),
        f"{_STEM}/batchnorm/~/var_ema/average": (1, 1, 1, 64),
    },
    "io_flow": {
        **_trunk("perceiver_encoder", 2048, 512, 322, 24),
        **_linear("image_preprocessor/patches_linear", 54, 64),
        **_cross("flow_decoder/~/basic_decoder", 322, 512, 512, 512),
        **_linear("flow_decoder/~/basic_decoder/output", 322, 2),
    },
    "io_kinetics_autoencoder": {
        **_trunk("encoder", 784, 512, 704, 8),
        f"{_PRE}/audio_padding/pos_embs": (1, 303),
        f"{_PRE}/image_padding/pos_embs": (1, 461),
        f"{_PRE}/label_padding/pos_embs": (1, 4),
        **{f"{_PRE}/{m}_mask_token/pos_embs": (1, 704) for m in ("audio", "image", "label")},
        f"{_QUERY}/audio_padding/pos_embs": (1, 641),
        f"{_QUERY}/image_padding/pos_embs": (1, 831),
        f"{_QUERY}/label_padding/pos_embs": (1, 2),
        f"{_CLASSES}/~/trainable_position_encoding/pos_embs": (1, 1024),
        **_cross(_MIXED, 1026, 512, 512, 512),
        **_linear(f"{_MIXED}/output", 1026, 512),
        **_linear("audio_postprocessor/linear", 512, 16),
        **_linear("projection_postprocessor/linear", 512, 3),
        **_linear("classification_postprocessor/linear", 512, 700),
    },
    "io_language_bytes": {
        **_trunk("perceiver_encoder", 256, 1280, 768, 26, qk=256, v=1280),
        "embed/embeddings": (262, 768),
        "trainable_position_encoding/pos_embs": (2048, 768),
        "basic_decoder/~/trainable_position_encoding/pos_embs": (2048, 768),
        **_cross("basic_decoder", 768, 1280, 256, 768),
        "embedding_decoder/bias": (262,),
    },
}


@pytest.fixture
def published() -> dict[str, Shapes]:
    """{preset: {DeepMind's path: shape}} of the six files."""
    return PUBLISHED
