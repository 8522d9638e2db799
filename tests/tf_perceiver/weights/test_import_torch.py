"""Hugging Face's state dicts: files, layouts, prefixes."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import numpy as tensors

from tf_perceiver.weights import import_torch

ARRAYS = {"perceiver.a.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}
COUNT = {"perceiver.bn.num_batches_tracked": np.array(3)}


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_both_formats_are_read_without_counts(tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    if suffix == "npz":
        np.savez(path, **ARRAYS, **COUNT)
    else:
        tensors.save_file(ARRAYS | COUNT, path)
    read = import_torch.read(path)
    assert read.keys() == ARRAYS.keys()
    np.testing.assert_array_equal(read["perceiver.a.weight"], ARRAYS["perceiver.a.weight"])


def test_a_file_of_torch_save_is_told_what_to_do(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    with pytest.raises(ValueError, match="saved again by safetensors.torch.save_file"):
        import_torch.read(path)


def test_arrays_of_objects_in_an_npz_are_not_unpickled(tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, a=np.array([{"an": "object"}], object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        import_torch.read(path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x10\0\0\0\0\0\0\0{}", b"PK\x03\x04 cut"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.safetensors is (no .npz and no|a damaged)"):
        import_torch.read(path)


def test_bfloat16_is_told_what_to_do(tmp_path):
    header = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(ValueError, match="type that NumPy lacks .*; save it as float32"):
        import_torch.read(path)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.booleans())
def test_a_linear_computes_the_same_in_both_layouts(sizes, square):
    out, inputs = sizes[0], sizes[0] if square else sizes[-1] + 1
    weight = np.random.default_rng(0).normal(size=(out, inputs))
    x = np.random.default_rng(1).normal(size=(3, inputs))
    ours = import_torch.layout(weight, "enc.cross.0.attn.q.kernel")
    np.testing.assert_allclose(x @ ours, np.einsum("bi,oi->bo", x, weight))


def test_a_convolution_reads_the_same_pixels_in_both_layouts():
    honest = np.arange(2 * 3 * 7 * 7).reshape(2, 3, 7, 7)  # [out, in, rows, columns]
    ours = import_torch.layout(honest, "pre.image.conv7x7.kernel", hf_swapped_conv=False)
    assert ours.shape == (7, 7, 3, 2)
    for out, channel, row, column in [(0, 1, 2, 5), (1, 2, 6, 0)]:
        assert ours[row, column, channel, out] == honest[out, channel, row, column]


def test_the_converter_s_reversal_of_axes_is_undone():
    original = np.arange(7 * 7 * 3 * 2).reshape(7, 7, 3, 2)  # [rows, columns, in, out]
    published = original.transpose()
    name = "pre.image.conv7x7.kernel"
    np.testing.assert_array_equal(import_torch.layout(published, name), original)
    turned = import_torch.layout(published, name, hf_swapped_conv=False)
    np.testing.assert_array_equal(turned, original.transpose(1, 0, 2, 3))


@pytest.mark.parametrize("hf_swapped_conv", [True, False])
def test_a_1x1_convolution_has_no_rows_to_swap(hf_swapped_conv):
    original = np.arange(6).reshape(1, 1, 3, 2)
    ours = import_torch.layout(original.T, "pre.image.conv1x1.kernel", hf_swapped_conv)
    np.testing.assert_array_equal(ours, original)


@pytest.mark.parametrize("name", ["latents.table", "pre.mm.audio.pad", "pre.text.pos.table"])
def test_tables_and_paddings_stay(name):
    table = np.arange(6).reshape(2, 3)
    assert import_torch.layout(table, name) is table


def test_batch_norm_gets_its_axes():
    for leaf in ("gamma", "beta", "moving_mean", "moving_var"):
        ours = import_torch.layout(np.arange(4), f"pre.image.bn.{leaf}")
        assert ours.shape == (1, 1, 1, 4)
        assert ours.ravel().tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("prefix", ["perceiver.", ""])
def test_the_task_model_s_prefix_may_be_there_or_not(prefix):
    arrays = {
        f"{prefix}embeddings.latents": np.zeros((2, 3)),
        "embedding_decoder.bias": np.zeros(5),
        f"{prefix}pooler.weight": np.zeros((1, 2)),
    }
    ours = import_torch.to_neutral(arrays, ["latents.table", "post.text.bias"], "text")
    assert list(ours) == ["latents.table", "post.text.bias", f"{prefix}pooler.weight"]
    assert ours[f"{prefix}pooler.weight"].shape == (1, 2)


def test_an_array_with_and_without_the_prefix_is_refused():
    arrays = {name: np.zeros(1) for name in ("perceiver.embeddings.latents", "embeddings.latents")}
    with pytest.raises(ValueError, match="with and without 'perceiver.'"):
        import_torch.to_neutral(arrays, ["latents.table"], "text")
