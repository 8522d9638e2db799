"""The table of names: ours, DeepMind's (Haiku) and Hugging Face's (PyTorch), for every array.

Haiku numbers modules of one class in order of creation: the first has no suffix, then come ``_1``
and ``_2``. A Haiku path here is "module path/parameter", as in a tree {module path: {parameter:
array}} with both levels joined. A key of Hugging Face is that of a whole task model's state dict.

The names differ by the *kind* of checkpoint, which is the kind of its model's decoder:
``config.model.decoder.kind``.

References: DeepMind ``perceiver.py`` and ``io_processors.py``; Hugging Face transformers,
``models/perceiver`` with its converter script.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a checkpoint's names depend on.

    Attributes:
      encoder, decoder: Haiku's modules of the trunk and of the decoder's cross-attention.
      query: Haiku's module of the decoder's learned query.
      torch_decoder: Hugging Face's module of the decoder's cross-attention.
      torch_query: Hugging Face's module whose ``position_embeddings`` are the learned query.
    """

    encoder: str
    decoder: str
    query: str
    torch_decoder: str
    torch_query: str


# Preset: (DeepMind's file under storage.googleapis.com/perceiver_io/, Hugging Face's repository).
# The weights' licence is CC BY 4.0. The files of ImageNet are {"params", "state"}, the others bare
# parameters.
CHECKPOINTS = {
    "io_imagenet_learned": (
        "imagenet_learned_position_encoding.pystate",
        "deepmind/vision-perceiver-learned",
    ),
    "io_imagenet_fourier": (
        "imagenet_fourier_position_encoding.pystate",
        "deepmind/vision-perceiver-fourier",
    ),
    "io_imagenet_conv": (
        "imagenet_conv_preprocessing.pystate",
        "deepmind/vision-perceiver-conv",
    ),
    "io_flow": ("optical_flow_checkpoint.pystate", "deepmind/optical-flow-perceiver"),
    "io_kinetics_autoencoder": (
        "video_autoencoding_checkpoint.pystate",
        "deepmind/multimodal-perceiver",
    ),
    "io_language_bytes": ("language_perceiver_io_bytes.pickle", "deepmind/language-perceiver"),
}

_CLASSIFICATION = "classification_decoder/~/basic_decoder"
KINDS = {
    "classification": Kind(
        "perceiver_encoder",
        _CLASSIFICATION,
        _CLASSIFICATION,
        "decoder.decoder",
        "decoder.decoder",
    ),
    "flow": Kind(  # Its query is the input: no table.
        "perceiver_encoder",
        "flow_decoder/~/basic_decoder",
        "flow_decoder/~/basic_decoder",
        "decoder.decoder",
        "decoder.decoder",
    ),
    "autoencoding": Kind(  # The label's query belongs to the label's own decoder.
        "encoder",
        "multimodal_decoder/~/basic_decoder",
        _CLASSIFICATION,
        "decoder.decoder",
        "decoder.modalities.label.decoder",
    ),
    "text": Kind("perceiver_encoder", "basic_decoder", "basic_decoder", "decoder", "decoder"),
}

# Layers with a kernel and a bias, or a scale and an offset; the last part of the name follows
# `LEAVES`. {...} are the attributes of `Kind`, * is any one part of our name.
_STEM = "image_preprocessor/~/conv2_d_downsample/~"
_NETWORK = "image_preprocessor/~_build_network_inputs"
LAYERS = {
    "enc.cross.0": ("{encoder}/~/cross_attention", "encoder.cross_attention"),
    "enc.self.0.*": ("{encoder}/~/self_attention*", "encoder.self_attends.*"),
    "dec.cross": ("{decoder}/cross_attention", "{torch_decoder}.decoding_cross_attention"),
    "dec.out": ("{decoder}/output", "{torch_decoder}.final_layer"),
    "pre.image.conv1x1": ("image_preprocessor/~/conv2_d", "input_preprocessor.convnet_1x1"),
    "pre.image.pos_proj": (
        f"{_NETWORK}/position_encoding_projector/linear",
        "input_preprocessor.positions_projection",
    ),
    "pre.image.conv7x7": (f"{_STEM}/conv", "input_preprocessor.convnet.conv"),
    "pre.image.bn": (f"{_STEM}/batchnorm", "input_preprocessor.convnet.batchnorm"),
    "pre.image.patch_proj": (
        "image_preprocessor/patches_linear",
        "input_preprocessor.conv_after_patches",
    ),
    "post.audio.proj": (
        "audio_postprocessor/linear",
        "output_postprocessor.modalities.audio.classifier",
    ),
    "post.image.proj": (
        "projection_postprocessor/linear",
        "output_postprocessor.modalities.image.classifier",
    ),
    "post.label.proj": (
        "classification_postprocessor/linear",
        "output_postprocessor.modalities.label.classifier",
    ),
}

# Within a cross-attend or a self-attend.
_ATTENTION = {
    "attn.q": ("attention/linear", "attention.self.query"),
    "attn.k": ("attention/linear_1", "attention.self.key"),
    "attn.v": ("attention/linear_2", "attention.self.value"),
    "attn.o": ("attention/linear_3", "attention.output.dense"),
    "mlp.fc1": ("mlp/linear", "mlp.dense1"),
    "mlp.fc2": ("mlp/linear_1", "mlp.dense2"),
}
CROSS = {
    "q_ln": ("layer_norm", "attention.self.layernorm1"),
    "kv_ln": ("layer_norm_1", "attention.self.layernorm2"),
    "mlp_ln": ("layer_norm_2", "layernorm"),
    **_ATTENTION,
}
SELF = {
    "ln": ("layer_norm", "attention.self.layernorm1"),
    "mlp_ln": ("layer_norm_1", "layernorm"),
    **_ATTENTION,
}
WITHIN = {"enc.cross.0": CROSS, "enc.self.0.*": SELF, "dec.cross": CROSS}

LEAVES = {
    "kernel": ("w", "weight"),
    "bias": ("b", "bias"),
    "gamma": ("scale", "weight"),
    "beta": ("offset", "bias"),
}

# Single arrays: whole names.
ARRAYS = {
    "latents.table": (
        "{encoder}/~/trainable_position_encoding/pos_embs",
        "embeddings.latents",
    ),
    "dec.query.table": (
        "{query}/~/trainable_position_encoding/pos_embs",
        "{torch_query}.output_position_encodings.position_embeddings",
    ),
    "dec.mm.*.pad": (
        "multimodal_decoder/~decoder_query/*_padding/pos_embs",
        "decoder.padding.*",
    ),
    "pre.mm.*.pad": (
        "multimodal_preprocessor/*_padding/pos_embs",
        "input_preprocessor.padding.*",
    ),
    "pre.mm.*.mask": (
        "multimodal_preprocessor/*_mask_token/pos_embs",
        "input_preprocessor.mask.*",
    ),
    "pre.image.pos.table": (
        f"{_NETWORK}/trainable_position_encoding/pos_embs",
        "input_preprocessor.position_embeddings.position_embeddings",
    ),
    # Of the state, not of the parameters.
    "pre.image.bn.moving_mean": (
        f"{_STEM}/batchnorm/~/mean_ema/average",
        "input_preprocessor.convnet.batchnorm.running_mean",
    ),
    "pre.image.bn.moving_var": (
        f"{_STEM}/batchnorm/~/var_ema/average",
        "input_preprocessor.convnet.batchnorm.running_var",
    ),
    "pre.text.embed.table": ("embed/embeddings", "input_preprocessor.embeddings.weight"),
    "pre.text.pos.table": (
        "trainable_position_encoding/pos_embs",
        "input_preprocessor.position_embeddings.weight",
    ),
    "post.text.bias": ("embedding_decoder/bias", "embedding_decoder.bias"),
}

# Hugging Face's task models hold everything in this attribute, but for the text decoder's bias.
TORCH_PREFIX = "perceiver."
_WITHOUT_PREFIX = ("post.text.bias",)


def haiku_path(name: str, kind: str) -> str:
    """DeepMind's path of one of our arrays, e.g. "encoder/~/cross_attention/mlp/linear/w".

    Args:
      name: neutral name, as in `Perceiver.named_weights`, e.g. "enc.cross.0.mlp.fc1.kernel".
      kind: one of `KINDS`.

    Raises:
      ValueError: an unknown kind, or an array that no published checkpoint has.
    """
    (haiku, _), star, inner, leaf = _row(name, kind)
    # Of repeated modules, the first has no suffix.
    number = ("" if star == "0" else f"_{star}") if star.isdecimal() else star
    haiku = haiku.replace("*", number)
    return "/".join(part[0] for part in ((haiku,), inner, leaf) if part[0])


def torch_key(name: str, kind: str) -> str:
    """Hugging Face's key of one of our arrays; arguments and errors are those of `haiku_path`."""
    (_, torch), star, inner, leaf = _row(name, kind)
    torch = torch.replace("*", star)
    key = ".".join(part[-1] for part in ((torch,), inner, leaf) if part[-1])
    return key if name in _WITHOUT_PREFIX else TORCH_PREFIX + key


def haiku_paths(names: Iterable[str], kind: str) -> dict[str, str]:
    """{path in DeepMind's tree: neutral name}. Raises what `haiku_path` raises."""
    return {haiku_path(name, kind): name for name in names}


def torch_keys(names: Iterable[str], kind: str) -> dict[str, str]:
    """{key of Hugging Face's state dict: neutral name}. Raises what `haiku_path` raises."""
    return {torch_key(name, kind): name for name in names}


_Pair = tuple[str, str]
_NOTHING: _Pair = ("", "")


def _row(name: str, kind: str) -> tuple[_Pair, str, _Pair, _Pair]:
    """The pairs (Haiku, Hugging Face) of the array's layer, * in its name, inner part and leaf."""
    if kind not in KINDS:
        raise ValueError(
            f"no published checkpoint has a decoder of kind {kind!r}; those that have one: "
            f"{', '.join(KINDS)}"
        )
    prefixes = dataclasses.asdict(KINDS[kind])
    for pattern, pair in ARRAYS.items():
        if found := _matches(pattern, name):
            return _filled(pair, prefixes), *found, _NOTHING, _NOTHING
    layer, _, leaf = name.rpartition(".")
    for pattern, pair in LAYERS.items():
        for inner, inner_pair in WITHIN.get(pattern, {"": _NOTHING}).items():
            found = _matches(f"{pattern}.{inner}".rstrip("."), layer)
            if found and leaf in LEAVES:
                return _filled(pair, prefixes), *found, inner_pair, LEAVES[leaf]
    raise ValueError(f"no published checkpoint has an array {name!r}")


def _matches(pattern: str, name: str) -> tuple[str] | None:
    """(what stands for *, or "",) if the name is of the pattern, else None."""
    found = re.fullmatch(re.escape(pattern).replace(r"\*", "([^.]+)"), name)
    return (found.group(1) if found.groups() else "",) if found else None


def _filled(pair: _Pair, prefixes: Mapping[str, str]) -> _Pair:
    return pair[0].format(**prefixes), pair[1].format(**prefixes)
