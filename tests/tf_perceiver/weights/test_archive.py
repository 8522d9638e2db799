"""The npz of neutral names: checked, written, loaded; all or nothing."""

from __future__ import annotations

import numpy as np
import pytest
import reference

from tf_perceiver.weights import archive

CASE = "io_image_conv_bn"


@pytest.fixture
def model(tiny):
    """A model with random weights."""
    return reference.build(tiny(CASE).golden.meta).model


def values(model) -> dict[str, np.ndarray]:
    return {name: variable.numpy() for name, variable in model.named_weights().items()}


def test_shapes_are_the_model_s(model, tiny):
    shapes = archive.shapes_of(tiny(CASE).fields, tiny(CASE).outputs)
    assert shapes == {name: value.shape for name, value in values(model).items()}


def test_every_array_is_loaded(tmp_path, model, tiny):
    path = tmp_path / "weights.npz"
    archive.save(path, tiny(CASE).arrays)
    archive.load(model, path)
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, tiny(CASE).arrays[name])


def test_halves_and_doubles_are_taken(model, tiny):
    arrays = {
        name: array.astype(np.float16 if i % 2 else np.float64)
        for i, (name, array) in enumerate(tiny(CASE).arrays.items())
    }
    archive.assign(model, arrays, "test")
    for name, value in values(model).items():
        np.testing.assert_array_equal(value, arrays[name].astype(np.float32))


def test_all_that_does_not_fit_is_listed_and_nothing_loaded(tmp_path, model, tiny):
    before = values(model)
    arrays = dict(tiny(CASE).arrays)
    del arrays["dec.out.bias"], arrays["latents.table"]
    arrays["left.over"] = np.zeros((2, 1))
    arrays["another"] = np.zeros(3)
    arrays["dec.out.kernel"] = arrays["dec.out.kernel"].T
    arrays["dec.query.table"] = np.zeros((2, 32))
    arrays["pre.image.bn.gamma"] = np.ones((1, 1, 1, 16), np.int32)
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="weights.npz doesn't hold") as raised:
        archive.load(model, path)
    assert str(raised.value) == (
        f"{path} doesn't hold this model's weights. "
        "missing: dec.out.bias (10,), latents.table (7, 32); "
        "not in the model: another (3,), left.over (2, 1); "
        "of another shape: dec.out.kernel (10, 32) where the model has (32, 10), "
        "dec.query.table (2, 32) where the model has (1, 32); "
        "no floating-point numbers: pre.image.bn.gamma int32"
    )
    after = values(model)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_the_same_arrays_make_the_same_bytes(tmp_path, monkeypatch):
    arrays = {"b": np.ones((2, 2)), "a": np.zeros(3)}
    archive.save(tmp_path / "one.npz", arrays)
    monkeypatch.setattr("time.time", lambda: 2e9)
    archive.save(tmp_path / "two.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["one.npz", "two.npz"]
    read = archive.read(tmp_path / "one.npz")
    assert list(read) == ["a", "b"]
    assert read["b"].dtype == np.float32


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "weights.npz"
    archive.save(path, {"a": np.ones(2)})

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="disk full"):
        archive.save(path, {"a": np.zeros(2)})
    assert list(tmp_path.iterdir()) == [path]
    assert archive.read(path)["a"].tolist() == [1, 1]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder .*nowhere of a.npz doesn't exist"):
        archive.save(tmp_path / "nowhere" / "a.npz", {})


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04cut", b"\x93NUMPY\x01\0"])
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="weights.npz is no whole .npz of weights"):
        archive.read(path)


def test_one_array_alone_and_objects_are_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    for name in ("one.npy", "objects.npz"):
        with pytest.raises(ValueError, match="is no whole .npz of weights"):
            archive.read(tmp_path / name)
