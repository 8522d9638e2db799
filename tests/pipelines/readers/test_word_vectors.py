"""Word vectors from pickled dicts in .npy files, and pickles that ask for more."""

from __future__ import annotations

import io
import os
import pathlib
import pickle
import tarfile

import numpy as np
import pytest

from pipelines.readers import Rejected, word_vectors


def saved(content) -> bytes:
    file = io.BytesIO()
    np.save(file, content)
    return file.getvalue()


def pickled(content, protocol=3) -> bytes:
    """An .npy whose pickle is of this content."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "|O", "fortran_order": False, "shape": ()}
    )
    return file.getvalue() + pickle.dumps(content, protocol)


class Bomb:
    """Would make a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<f2"])
def test_what_numpy_saved_is_read(dtype):
    drawn = np.random.default_rng(0).normal(size=(3, 5)).astype(dtype)
    names = ["air horn", "bird chirping", "naïve"]
    found = word_vectors.read(saved(dict(zip(names, drawn, strict=True))), "v.npy")
    assert list(found) == names
    for name, expected in zip(names, drawn, strict=True):
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], expected.astype(np.float32))


def test_numpy_2s_names_and_the_order_of_columns_are_known():
    data = saved({"a": np.array([1.0, 2.0])})
    renamed = data.replace(b"cnumpy.core.multiarray\n", b"cnumpy._core.multiarray\n")
    assert renamed != data
    assert word_vectors.read(renamed, "v.npy")["a"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda root: pickled({"a": Bomb(str(root / "made"))}), "this holds io.open"),
        (lambda root: pickled(np.array({"a": Bomb(str(root / "made"))})), "this holds io.open"),
        (lambda root: pickled({"a": os.system}), r"this holds (posix|nt).system"),
        (lambda root: saved({"a": np.array([None])}), "this holds an array of objects"),
        (lambda root: saved({"a": np.array(["x"])}), "this holds elements of type 'U1'"),
        (lambda root: saved({"a": np.zeros(2, [("x", "f4")])}), "this holds elements of type"),
        (lambda root: saved({"a": np.arange(3)}), "this holds elements of type 'i8'"),
        (lambda root: saved({"a": [1.0]}), "'a' has no vector"),
        (lambda root: saved({"a": np.ones((2, 2))}), "'a' has no vector"),
        (lambda root: saved({1: np.ones(2)}), "'1' has no vector"),
        (lambda root: saved({}), "no dict of vectors"),
        (lambda root: saved(np.ones(3)), "this holds a plain array of shape"),
        (lambda root: pickled([1, 2]), "no dict of vectors"),
        (lambda root: saved({"a": np.ones(2)})[:-40], "no file of np.save"),
        (lambda root: b"", "no file of np.save"),
        (lambda root: b"PK\3\4", "no file of np.save"),
        (lambda root: saved({"a": np.ones(2), "b": np.ones(3)}), "vectors of 2 and 3 numbers"),
        (lambda root: saved({"a": np.array([1, np.nan])}), "'a' is zero, NaN or infinite"),
        (lambda root: saved({"a": np.zeros(2)}), "'a' is zero, NaN or infinite"),
        (lambda root: saved({"a": np.array([1e300, 1])}), "'a' is zero, NaN or infinite"),
    ],
    ids=range(20),
)
def test_what_is_no_dict_of_vectors_is_refused_and_nothing_is_run(tmp_path, content, message):
    with pytest.raises(Rejected, match=message) as caught:
        word_vectors.read(content(tmp_path), "v.npy")
    assert caught.value.detail.startswith("v.npy: ")
    assert "\n" not in caught.value.detail
    assert not (tmp_path / "made").exists()


def test_the_published_vectors():
    data = pathlib.Path(os.environ.get("PERCEIVER_DATA") or "../shared/data")
    archive = data / "AVCA.tar.xz"
    if not archive.exists():
        pytest.skip(f"no {archive}; PERCEIVER_DATA names the folder that has it")
    counts = {}
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            if member.name.endswith("_normed.npy"):
                found = word_vectors.read(packed.extractfile(member).read(), member.name)
                counts[member.name.rpartition("/")[2]] = len(found)
                lengths = np.linalg.norm(list(found.values()), axis=1)
                np.testing.assert_allclose(lengths, 1, atol=1e-5)
                assert {len(vector) for vector in found.values()} == {300}
    assert counts == {
        "word_embeddings_activity_normed.npy": 200,
        "word_embeddings_ucf_normed.npy": 101,
        "word_embeddings_vggsound_normed.npy": 309,
    }
