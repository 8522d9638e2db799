"""Shapes in every form they are passed around in."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from beam_preprocess.datasets import modelnet40
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError, Item
from pipelines.readers import Rejected

CLOUDS = np.random.default_rng(1).normal(size=(4, 20, 3)).astype(np.float16)
LABELS = np.array([1, 0, 1, 1], np.uint8)
NAMES = np.array(["bed", "sofa"])
MESH = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


def read(root, item: Item, **options) -> np.ndarray:
    return modelnet40.read_item(str(root), item, ReadOptions(**options))["points"]


def rows(root):
    items = modelnet40.list_items(str(root), ReadOptions()).items
    return [(i.key, i.label, i.split, i.index) for i in items]


def write_npz(path, **changes) -> None:
    np.savez(path, **{"points": CLOUDS, "label": LABELS, "classes": NAMES, **changes})


def test_npz_packs(tmp_path):
    write_npz(tmp_path / "shapes_train_f16.npz")
    write_npz(tmp_path / "shapes_test_f16.npz", points=CLOUDS[:1], label=LABELS[:1])
    assert rows(tmp_path) == [
        ("shapes_test_f16.npz#0", "sofa", "test", 0),
        ("shapes_train_f16.npz#0", "sofa", "train", 0),
        ("shapes_train_f16.npz#1", "bed", "train", 1),
        ("shapes_train_f16.npz#2", "sofa", "train", 2),
        ("shapes_train_f16.npz#3", "sofa", "train", 3),
    ]
    item = modelnet40.list_items(str(tmp_path), ReadOptions()).items[3]
    np.testing.assert_array_equal(read(tmp_path, item), CLOUDS[2].astype(np.float32))
    assert len(read(tmp_path, item, num_points=16)) == 16


def test_h5_packs_take_their_names_from_the_file_beside(tmp_path):
    for name, part in (("ply_data_train0.h5", slice(0, 3)), ("ply_data_test0.h5", slice(3, 4))):
        with h5py.File(tmp_path / name, "w") as pack:
            pack["data"] = CLOUDS[part].astype(np.float32)
            pack["label"] = LABELS[part, None]
    with pytest.raises(InputError, match=r"no shape_names.txt beside it"):
        modelnet40.list_items(str(tmp_path), ReadOptions())
    (tmp_path / "shape_names.txt").write_text("bed\nsofa\n")
    assert rows(tmp_path) == [
        ("ply_data_test0.h5#0", "sofa", "test", 0),
        ("ply_data_train0.h5#0", "sofa", "train", 0),
        ("ply_data_train0.h5#1", "bed", "train", 1),
        ("ply_data_train0.h5#2", "sofa", "train", 2),
    ]
    item = modelnet40.list_items(str(tmp_path), ReadOptions()).items[2]
    np.testing.assert_array_equal(read(tmp_path, item), CLOUDS[1].astype(np.float32))


def test_pack_without_a_split_in_its_name_has_none(tmp_path):
    write_npz(tmp_path / "shapes.npz")
    assert {split for _, _, split, _ in rows(tmp_path)} == {None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": np.array([0, 1, 2, 0])}, r"entry 2 has label 2, there are 2 class names"),
        ({"label": LABELS.astype(float)}, "labels are float64, expected integers"),
        ({"classes": np.array(["a", None], object)}, "not a readable pack .*allow_pickle"),
    ],
)
def test_bad_packs_are_named(tmp_path, changes, message):
    write_npz(tmp_path / "train.npz", **changes)
    with pytest.raises(InputError, match=message) as caught:
        modelnet40.list_items(str(tmp_path), ReadOptions())
    assert "train.npz" in str(caught.value)


def test_other_pack_mistakes(tmp_path):
    np.savez(tmp_path / "train.npz", points=CLOUDS, labels=LABELS)
    with pytest.raises(InputError, match="no label and no classes in the pack; it has points, lab"):
        modelnet40.list_items(str(tmp_path), ReadOptions())
    (tmp_path / "train.npz").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match="train.npz: not a readable pack"):
        modelnet40.list_items(str(tmp_path), ReadOptions())
    (tmp_path / "train.h5").touch()
    with pytest.raises(InputError, match=r"packs in \.h5 and \.npz"):
        modelnet40.list_items(str(tmp_path), ReadOptions())
    (tmp_path / "train.h5").unlink()
    (tmp_path / "train.npz").rename(tmp_path / "train_and_test.npz")
    write_npz(tmp_path / "train_and_test.npz")
    with pytest.raises(InputError, match="says test and train"):
        modelnet40.list_items(str(tmp_path), ReadOptions())


def test_tree_of_meshes(tmp_path):
    for split, name in (("train", "bed_1.off"), ("test", "bed_2.off")):
        (tmp_path / "bed" / split).mkdir(parents=True)
        (tmp_path / "bed" / split / name).write_text(MESH)
    assert rows(tmp_path) == [
        ("bed/test/bed_2.off", "bed", "test", None),
        ("bed/train/bed_1.off", "bed", "train", None),
    ]
    first, second = modelnet40.list_items(str(tmp_path), ReadOptions()).items
    sampled = read(tmp_path, first, num_points=50)
    assert sampled.shape == (50, 3)
    np.testing.assert_array_equal(read(tmp_path, first, num_points=50), sampled)
    # The same mesh under another key, or with another seed, is sampled anew.
    assert not np.array_equal(read(tmp_path, second, num_points=50), sampled)
    assert not np.array_equal(read(tmp_path, first, num_points=50, seed=1), sampled)


def test_trees_of_two_kinds_are_refused(tmp_path):
    (tmp_path / "bed").mkdir()
    (tmp_path / "bed" / "1.off").write_text(MESH)
    np.save(tmp_path / "bed" / "1.npy", CLOUDS[0])
    with pytest.raises(InputError, match=r"shapes in \.npy and \.off, which may be the same"):
        modelnet40.list_items(str(tmp_path), ReadOptions())


def test_bad_cloud_in_a_pack_is_rejected_by_its_key(tmp_path):
    broken = CLOUDS.copy()
    broken[2, 0, 0] = np.inf
    write_npz(tmp_path / "train.npz", points=broken)
    item = modelnet40.list_items(str(tmp_path), ReadOptions()).items[2]
    with pytest.raises(Rejected, match=r"not-finite: train.npz#2"):
        read(tmp_path, item)
