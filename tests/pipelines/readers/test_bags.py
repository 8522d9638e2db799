"""Bags of patch features: whose they are, what is read, what is refused, which patches are kept."""

from __future__ import annotations

import io

import numpy as np
import pytest

from pipelines.readers import Rejected, bags


def saved(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def test_a_bag_is_found_by_slide_and_else_by_patient():
    paths = ["b/P1-DX1.a.npy", "b/x/p1-DX2.NPY", "b/P1.npy", "b/P2.npy", "b/P1-DX3.pt"]
    found = bags.by_name(paths)
    assert found.keys() == {"p1-dx1.a", "p1-dx2", "p1", "p2"}
    slides = ["P1-DX2.svs", "P1-DX1.a.svs", "P1-DX1.a.svs", "P1-DX3.svs"]
    assert bags.of_patient("P1", slides, found) == [paths[1], paths[0]]
    # A name with a point in it, without a slide's ending.
    assert bags.of_patient("P9", ["P1-DX1.a"], found) == [paths[0]]
    assert bags.of_patient("P2", ["P2-DX1.svs"], found) == ["b/P2.npy"]
    assert bags.of_patient("P3", ["P3-DX1.svs"], found) == []


def test_two_bags_of_one_name_are_refused():
    with pytest.raises(Rejected, match="a/S.npy and b/s.npy are bags of one name"):
        bags.by_name(["a/S.npy", "b/s.npy"])


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8", "uint8"])
def test_numbers_of_any_type_become_float32(dtype):
    rows = np.arange(12).reshape(4, 3).astype(dtype)
    found = bags.read(saved(np.asfortranarray(rows)), "s.npy", 3)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.arange(12).reshape(4, 3))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty-file: s has no bytes"),
        (b"PK\3\4", "not-a-bag: s: no .npy array"),
        (saved(np.zeros((2, 3), np.float32))[:-4], "not-a-bag: s: no .npy array"),
        (saved(np.array([{}]), allow_pickle=True), "not-a-bag: s: no .npy array .Object arrays"),
        (saved(np.zeros(3)), r"not-a-bag: s: float64 array of shape \(3,\), due is \[patches, w"),
        (saved(np.zeros((2, 3), bool)), "not-a-bag: s: bool array"),
        (saved(np.zeros((0, 3))), "empty-bag: s has no patches"),
        (saved(np.zeros((2, 4))), "wrong-width: s has patches of 4 numbers, not 3"),
        (saved(np.full((2, 3), np.nan)), "not-finite: s holds NaN or infinity"),
        (saved(np.full((2, 3), 1e99)), "not-finite: s holds NaN or infinity"),
    ],
)
def test_what_is_no_bag_is_refused_with_the_reason(data, message):
    with pytest.raises(Rejected, match=message):
        bags.read(data, "s", 3)


def test_an_archive_of_arrays_is_refused():
    file = io.BytesIO()
    np.savez(file, a=np.zeros((2, 3)))
    with pytest.raises(Rejected, match="not-a-bag: s: an archive of arrays"):
        bags.read(file.getvalue(), "s", 3)


def test_of_many_patches_some_are_kept_by_seed_and_patient():
    bag = np.arange(100, dtype=np.float32)[:, None]
    first = bags.chosen(bag, 10, 0, "P1")[:, 0]
    assert len(set(first)) == 10
    assert (np.diff(first) > 0).all()
    # Stable: what was preprocessed once is preprocessed so again, on any machine.
    assert first.tolist() == [19, 24, 26, 40, 53, 60, 63, 79, 85, 94]
    for other in (bags.chosen(bag, 10, 1, "P1"), bags.chosen(bag, 10, 0, "P2")):
        assert other[:, 0].tolist() != first.tolist()
    assert bags.chosen(bag, 100, 0, "P1") is bag
