"""Features of clips from .npz and .h5 files, and what is wrong with some."""

from __future__ import annotations

import io

import h5py
import numpy as np
import pytest

from pipelines.readers import Rejected, clip_features

WIDTHS = {"audio": 3, "video": 2}


def archive(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def pack(**arrays) -> io.BytesIO:
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        for name, values in arrays.items():
            made.create_dataset(name, data=values)
    file.seek(0)
    return file


def test_rows_and_single_vectors_are_read_in_any_type():
    rows = np.arange(6.0).reshape(2, 3)
    data = archive(audio=rows, video=np.array([7, 8], np.uint8))
    found = clip_features.read(data, "a.npz", WIDTHS)
    assert {name: values.dtype for name, values in found.items()} == {
        "audio": np.float32, "video": np.float32,
    }  # fmt: skip
    np.testing.assert_array_equal(found["audio"], rows)
    np.testing.assert_array_equal(found["video"], [[7, 8]])


GOOD = {"audio": np.ones((2, 3)), "video": np.ones((1, 2))}


@pytest.mark.parametrize(
    ("data", "reason", "message"),
    [
        (b"", "unreadable-features", "a.npz has no bytes"),
        (b"nothing", "unreadable-features", "a.npz is no .npz of arrays"),
        (archive(**GOOD)[:-60], "unreadable-features", "a.npz is no .npz of arrays"),
        (archive(audio=np.ones((2, 3))), "missing-features", "a.npz has no array 'video'"),
        (archive(**GOOD | {"audio": np.ones((0, 3))}), "missing-features", "audio has no rows"),
        (archive(**GOOD | {"audio": np.ones((2, 4))}), "wrong-width", "rows of 4 numbers, not 3"),
        (archive(**GOOD | {"video": np.ones(5)}), "wrong-width", "rows of 5 numbers, not 2"),
        (archive(**GOOD | {"video": np.ones((1, 1, 2))}), "wrong-width", r"shape \(1, 1, 2\)"),
        (archive(**GOOD | {"video": np.array([1, np.nan])}), "not-finite", "video holds NaN"),
        (archive(**GOOD | {"video": np.array([1, 1e300])}), "not-finite", "video holds NaN"),
        (archive(**GOOD | {"video": np.array(["a", "b"])}), "unreadable-features", "is of <U1"),
        (
            archive(**GOOD | {"video": np.array([None, {}])}),
            "unreadable-features",
            "no .npz of arrays .*allow_pickle=False",
        ),
    ],
    ids=range(12),
)
def test_what_is_wrong_with_an_archive_is_named(data, reason, message):
    with pytest.raises(Rejected, match=message) as caught:
        clip_features.read(data, "a.npz", WIDTHS)
    assert caught.value.reason == reason
    assert "\n" not in caught.value.detail


def test_a_clip_of_a_pack_is_found_by_its_place():
    values = np.arange(12.0).reshape(2, 2, 3)
    file = pack(data=values, video_urls=np.array([b"/some/v_a.avi", b"-x.y_0"], "S80"))
    assert clip_features.read_names(file, "c.h5") == ["v_a", "-x.y_0"]
    file.seek(0)
    np.testing.assert_array_equal(clip_features.read_clip(file, 1, "c.h5", 3), values[1])


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (io.BytesIO(b"nothing"), "c.h5 is no HDF5 of features"),
        (pack(data=np.ones((1, 3))), "c.h5 has no video_urls"),
        (pack(data=np.ones((1, 3)), video_urls=[b"a", b"b"]), "c.h5: 2 names for 1 clips"),
        ("nowhere/c.h5", "c.h5: no such file"),
    ],
    ids=["text", "nameless", "more names", "none"],
)
def test_what_is_no_pack_is_named(file, message):
    with pytest.raises(Rejected, match=message):
        clip_features.read_names(file, "c.h5")


def test_a_row_of_a_pack_is_checked():
    file = pack(data=[[1.0, np.inf, 2.0]], video_urls=[b"a"])
    with pytest.raises(Rejected, match="a: c.h5 holds NaN or infinity"):
        clip_features.read_clip(file, 0, "a: c.h5", 3)
    with pytest.raises(Rejected, match="rows of 3 numbers, not 4"):
        clip_features.read_clip(file, 0, "a: c.h5", 4)
