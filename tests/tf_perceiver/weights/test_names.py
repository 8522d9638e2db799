"""The table of names, against the names that DeepMind's code gave and those of the two papers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference

from tf_perceiver import presets
from tf_perceiver.weights import import_haiku, import_torch, names

CASES = sorted(path.stem for path in reference.GOLDENS.glob("io_*.npz"))
# As published; the averages of batch norm are no parameters.
PARAMETERS = {
    "io_imagenet_learned": 62_255_848,
    "io_imagenet_fourier": 48_440_627,
    "io_imagenet_conv": 48_646_522 + 2 * 64,
    "io_flow": 41_057_134,
    "io_language_bytes": 201_108_230,
}


def kind_of(preset: str) -> str:
    return presets.PRESETS[preset].model()["decoder"]["kind"]


@pytest.mark.parametrize("case", CASES)
def test_paths_are_those_of_deepmind_s_code(case, tiny):
    golden = tiny(case)
    meta = golden.golden.meta
    paths = meta["haiku_names"] | {
        name: path
        for name, path in (meta.get("haiku_state_names") or {}).items()
        if not name.endswith((".counter", ".hidden"))
    }
    assert len(paths) == len(golden.arrays) > 70
    assert {name: names.haiku_path(name, golden.kind) for name in golden.arrays} == paths


@pytest.mark.parametrize("preset", names.CHECKPOINTS)
def test_names_of_a_preset_are_one_to_one(preset, model_shapes):
    wanted = model_shapes(preset)
    for table in (names.haiku_paths, names.torch_keys):
        found = table(wanted, kind_of(preset))
        assert list(found.values()) == list(wanted)


@pytest.mark.parametrize("preset", names.CHECKPOINTS)
def test_a_published_file_has_exactly_the_arrays_of_its_preset(preset, published, model_shapes):
    paths = published[preset]
    if preset in PARAMETERS:
        assert sum(math.prod(shape) for shape in paths.values()) == PARAMETERS[preset]
    # A number for each array, repeated without memory: values tell where each one went.
    numbers = {path: float(i) for i, path in enumerate(paths)}
    arrays = {p: np.broadcast_to(np.float32(numbers[p]), shape) for p, shape in paths.items()}
    shapes = model_shapes(preset)
    ours = import_haiku.to_neutral(arrays, shapes, kind_of(preset))
    assert {name: array.shape for name, array in ours.items()} == shapes
    for name, array in ours.items():
        assert array.flat[0] == numbers[names.haiku_path(name, kind_of(preset))]


@pytest.mark.parametrize("preset", names.CHECKPOINTS)
def test_a_full_state_dict_has_exactly_the_arrays_of_its_preset(preset, model_shapes):
    shapes, kind = model_shapes(preset), kind_of(preset)
    keys = {name: names.torch_key(name, kind) for name in shapes}
    arrays = {}
    for i, (name, shape) in enumerate(shapes.items()):
        shape = shape[3:] if ".bn." in name else shape
        transposed = shape[::-1] if name.endswith("kernel") else shape
        arrays[keys[name]] = np.broadcast_to(np.float32(i), transposed)
    ours = import_torch.to_neutral(arrays, shapes, kind)
    assert {name: array.shape for name, array in ours.items()} == shapes
    assert [array.flat[0] for array in (ours[name] for name in shapes)] == list(range(len(shapes)))


P = "perceiver."


@pytest.mark.parametrize(
    ("kind", "name", "key"),
    [
        ("classification", "latents.table", P + "embeddings.latents"),
        (
            "classification",
            "enc.cross.0.q_ln.gamma",
            P + "encoder.cross_attention.attention.self.layernorm1.weight",
        ),
        (
            "classification",
            "enc.cross.0.kv_ln.beta",
            P + "encoder.cross_attention.attention.self.layernorm2.bias",
        ),
        (
            "classification",
            "enc.self.0.5.ln.gamma",
            P + "encoder.self_attends.5.attention.self.layernorm1.weight",
        ),
        (
            "classification",
            "enc.self.0.0.mlp_ln.gamma",
            P + "encoder.self_attends.0.layernorm.weight",
        ),
        (
            "flow",
            "enc.self.0.23.attn.o.kernel",
            P + "encoder.self_attends.23.attention.output.dense.weight",
        ),
        ("flow", "enc.self.0.1.mlp.fc2.bias", P + "encoder.self_attends.1.mlp.dense2.bias"),
        ("flow", "pre.image.patch_proj.kernel", P + "input_preprocessor.conv_after_patches.weight"),
        ("flow", "dec.out.bias", P + "decoder.decoder.final_layer.bias"),
        (
            "classification",
            "dec.query.table",
            P + "decoder.decoder.output_position_encodings.position_embeddings",
        ),
        (
            "autoencoding",
            "dec.query.table",
            P + "decoder.modalities.label.decoder.output_position_encodings.position_embeddings",
        ),
        (
            "autoencoding",
            "dec.cross.mlp.fc1.kernel",
            P + "decoder.decoder.decoding_cross_attention.mlp.dense1.weight",
        ),
        ("autoencoding", "dec.mm.image.pad", P + "decoder.padding.image"),
        ("autoencoding", "pre.mm.audio.pad", P + "input_preprocessor.padding.audio"),
        ("autoencoding", "pre.mm.label.mask", P + "input_preprocessor.mask.label"),
        (
            "autoencoding",
            "post.image.proj.kernel",
            P + "output_postprocessor.modalities.image.classifier.weight",
        ),
        (
            "text",
            "dec.cross.attn.v.kernel",
            P + "decoder.decoding_cross_attention.attention.self.value.weight",
        ),
        (
            "text",
            "dec.query.table",
            P + "decoder.output_position_encodings.position_embeddings",
        ),
        ("text", "pre.text.embed.table", P + "input_preprocessor.embeddings.weight"),
        ("text", "pre.text.pos.table", P + "input_preprocessor.position_embeddings.weight"),
        ("text", "post.text.bias", "embedding_decoder.bias"),
    ],
)
def test_keys_are_those_of_hugging_face(kind, name, key):
    assert names.torch_key(name, kind) == key


@pytest.mark.parametrize(
    "name",
    ["enc.cross.1.q_ln.gamma", "enc.self.1.0.ln.gamma", "enc.self.0.0.kv_ln.gamma", "head.logits"],
)
def test_what_no_checkpoint_has_is_said(name):
    with pytest.raises(ValueError, match=f"no published checkpoint has an array '{name}'"):
        names.haiku_path(name, "classification")


def test_a_decoder_without_a_checkpoint_is_said():
    with pytest.raises(ValueError, match="decoder of kind 'average'; .* classification, flow, "):
        names.torch_key("latents.table", "average")
