"""Conversion end to end: the goldens' weights as both kinds of checkpoint, and the command."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import reference
from safetensors import numpy as tensors

from tf_perceiver.weights import archive, convert, names

TOLERANCE = 2e-5
MODULE = "tf_perceiver.weights.convert"
VIDEO = "io_kinetics_autoencoder"  # The smallest of the six: 19.9 million parameters.
CASES = sorted(path.stem for path in reference.GOLDENS.glob("io_*.npz"))


def deepmind_file(golden, path) -> None:
    tree = {"params": golden.params, "state": golden.state} if golden.state else golden.params
    path.write_bytes(pickle.dumps(tree))


def safetensors_file(golden, path) -> None:
    tensors.save_file(golden.state_dict(), path)


@pytest.mark.parametrize("write", [deepmind_file, safetensors_file])
@pytest.mark.parametrize("case", CASES)
def test_an_imported_model_computes_what_the_reference_did(case, write, tiny, tmp_path):
    golden = tiny(case)
    write(golden, tmp_path / "checkpoint")
    arrays = convert.convert(tmp_path / "checkpoint", golden.fields, golden.outputs)
    assert arrays.keys() == golden.arrays.keys()
    archive.save(tmp_path / "weights.npz", arrays)
    model = reference.build(golden.golden.meta)
    archive.load(model.model, tmp_path / "weights.npz")
    for name, variable in model.named_weights().items():
        np.testing.assert_array_equal(variable, golden.arrays[name], err_msg=name)
    ours = model(golden.golden.group("inputs"))
    expected = golden.golden.group("outputs")
    errors = {name: reference.relative_error(ours[name], expected[name]) for name in expected}
    assert len(errors) >= 3
    assert max(errors.values()) < TOLERANCE, errors


def test_params_with_an_empty_state_are_the_same(tiny, tmp_path):
    golden = tiny("io_image_fourier_pixels")
    (tmp_path / "it").write_bytes(pickle.dumps({"params": golden.params, "state": {}}))
    arrays = convert.convert(tmp_path / "it", golden.fields, golden.outputs)
    for name, array in golden.arrays.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_an_npz_of_hugging_face_s_names_is_read_too(tiny, tmp_path):
    golden = tiny("io_mlm_bytes")
    np.savez(tmp_path / "hf.npz", **golden.state_dict())
    arrays = convert.convert(tmp_path / "hf.npz", golden.fields, golden.outputs)
    for name, array in golden.arrays.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_an_honest_stem_is_read_by_its_flag(tiny, tmp_path):
    golden = tiny("io_image_conv_bn")
    name = "pre.image.conv7x7.kernel"
    state_dict = golden.state_dict()
    honest = np.ascontiguousarray(golden.arrays[name].transpose(3, 2, 0, 1))
    state_dict[names.torch_key(name, golden.kind)] = honest
    tensors.save_file(state_dict, tmp_path / "it")
    taken = {
        swapped: convert.convert(tmp_path / "it", golden.fields, golden.outputs, swapped)[name]
        for swapped in (False, True)
    }
    np.testing.assert_array_equal(taken[False], golden.arrays[name])
    np.testing.assert_array_equal(taken[True], golden.arrays[name].transpose(1, 0, 2, 3))


def test_another_model_s_checkpoint_is_refused_with_every_name(tiny, tmp_path):
    golden, other = tiny("io_optical_flow"), tiny("io_image_fourier_pixels")
    deepmind_file(golden, tmp_path / "flow")
    with pytest.raises(ValueError, match="flow doesn't hold this model's weights") as raised:
        convert.convert(tmp_path / "flow", other.fields, other.outputs)
    message = str(raised.value)
    assert "missing: dec.cross.attn.k.bias (32,), " in message
    assert "image_preprocessor/patches_linear/w (54, 16)" in message
    assert "enc.cross.0.kv_ln.gamma (34,) where the model has (29,)" in message


def test_a_header_that_begins_like_a_pickle_is_none(tiny, tmp_path):
    # A safetensors file begins with its header's length: here 0x...80.
    header = b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}'.ljust(0x480)
    (tmp_path / "it").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert not convert.is_pickle(tmp_path / "it")
    for protocol in (2, 3, 4, 5):
        (tmp_path / "it").write_bytes(pickle.dumps(tiny(CASES[0]).params, protocol))
        assert convert.is_pickle(tmp_path / "it")


def test_notes_say_what_differs_at_hugging_face():
    assert convert.notes("io_flow", True) == [convert.GELU_NOTE]
    assert "[out, in, columns, rows]" in convert.notes("io_imagenet_conv", True)[1]
    assert "[out, in, rows, columns]" in convert.notes("io_imagenet_conv", False)[1]
    assert "query_residual" in convert.notes("io_imagenet_learned", True)[1]


def full_tree(shapes) -> dict:
    """Halves, each array filled with its own number."""
    tree: dict = {}
    for i, (path, shape) in enumerate(shapes.items()):
        module, _, parameter = path.rpartition("/")
        tree.setdefault(module, {})[parameter] = np.full(shape, i, np.float16)
    return tree


def test_the_command_converts_a_full_size_file(command, published, tmp_path):
    paths = published[VIDEO]
    source, output = tmp_path / "video.pystate", tmp_path / "video.npz"
    source.write_bytes(pickle.dumps(full_tree(paths)))
    flags = [f"--source={source}", f"--preset={VIDEO}", f"--output={output}"]
    result = command(MODULE, *flags).check()
    assert result.stdout == f"{output}: 183 arrays, 19,858,855 numbers, of {VIDEO}\n"
    assert sorted(os.listdir(tmp_path)) == ["video.npz", "video.pystate"]
    numbers = {path: i for i, path in enumerate(paths)}
    with np.load(output) as arrays:
        assert len(arrays.files) == 183
        for name in arrays.files:
            path = names.haiku_path(name, "autoencoding")
            assert arrays[name].shape == paths[path]
            assert arrays[name].dtype == np.float32
            assert arrays[name].flat[-1] == numbers[path]


def test_the_command_converts_a_full_size_state_dict(command, model_shapes, tmp_path):
    shapes = model_shapes(VIDEO)
    source, output = tmp_path / "model.safetensors", tmp_path / "video.npz"
    state_dict = {}
    for i, (name, shape) in enumerate(shapes.items()):
        shape = shape[::-1] if name.endswith(".kernel") else shape
        state_dict[names.torch_key(name, "autoencoding")] = np.full(shape, i, np.float16)
    tensors.save_file(state_dict, source)
    flags = [f"--source={source}", f"--preset={VIDEO}", f"--output={output}"]
    lines = command(MODULE, *flags).check().stdout.splitlines()
    assert lines[0] == convert.GELU_NOTE
    assert len(lines) == 2
    assert lines[1].endswith(f"183 arrays, 19,858,855 numbers, of {VIDEO}")
    with np.load(output) as arrays:
        for i, (name, shape) in enumerate(shapes.items()):
            assert arrays[name].shape == shape
            assert arrays[name].flat[0] == i


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"source": None}, "--source is missing; see --help"),
        ({"output": None}, "--output is missing; see --help"),
        ({"preset": "imagenet"}, "--preset=imagenet is no model of a published checkpoint; use"),
        ({"preset": "io_flow_light"}, "use one of io_imagenet_learned, io_imagenet_fourier, "),
        ({"source": "absent.pystate"}, "No such file or directory: "),
        ({"source": "evil.pystate"}, "asks for posix.system, which a checkpoint of arrays"),
        ({"source": "text"}, "text is no .npz and no safetensors file"),
    ],
)
def test_the_command_says_what_is_wrong_in_a_line(command, tmp_path, changed, message):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/canary",)

    (tmp_path / "evil.pystate").write_bytes(pickle.dumps({"params": Evil()}))
    (tmp_path / "text").write_text("no checkpoint at all")
    values = {"source": "evil.pystate", "preset": "io_flow", "output": "out.npz"} | changed
    flags = [
        f"--{name}={value if name == 'preset' else tmp_path / value}"
        for name, value in values.items()
        if value is not None
    ]
    result = command(MODULE, *flags)
    assert result.returncode == 2
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert sorted(os.listdir(tmp_path)) == ["evil.pystate", "text"]
