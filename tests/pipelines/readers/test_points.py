"""The reader of clouds and meshes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.readers import Rejected, points

# Two triangles of areas 0.5 and 4.5, in the planes z = 0 and z = 1.
MESH = "OFF\n6 2 0\n0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 1\n0 3 1\n3 0 1 2\n3 3 4 5\n"


def npy(array) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(array) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, cloud=array)
    return buffer.getvalue()


def cloud(n: int = 32, columns: int = 3, dtype=np.float32) -> np.ndarray:
    return np.random.default_rng(5).normal(size=(n, columns)).astype(dtype)


def test_mesh_is_sampled_on_its_surface_in_proportion_to_area():
    sampled = points.read(MESH.encode(), "m.off", 4000, seed=1)
    assert sampled.shape == (4000, 3)
    assert sampled.dtype == np.float32
    small = sampled[sampled[:, 2] < 0.5]
    large = sampled[sampled[:, 2] >= 0.5]
    assert 340 < len(small) < 460  # A tenth; 3 standard deviations are 57.
    for part, side in ((small, 1), (large, 3)):
        assert (part[:, :2] >= -1e-6).all()
        assert (part[:, 0] + part[:, 1] <= side + 1e-5).all()
        # The centroid of a triangle: uniform over it, not crowded at its corners.
        np.testing.assert_allclose(part[:, :2].mean(0), side / 3, atol=0.06 * side)


def test_header_without_line_break_reads_the_same():
    # As some files of ModelNet40 have it.
    malformed = MESH.replace("OFF\n6 2 0", "OFF6 2 0").encode()
    expected = points.read(MESH.encode(), "m.off", 100, seed=3)
    np.testing.assert_array_equal(points.read(malformed, "m.off", 100, seed=3), expected)


def with_columns(columns: str) -> str:
    """The mesh with something behind the coordinates of every vertex."""
    lines = MESH.splitlines()
    return "\n".join([*lines[:2], *(f"{line} {columns}" for line in lines[2:8]), *lines[8:]])


@pytest.mark.parametrize(
    "text",
    [
        MESH.replace("OFF", "\ufeff# by hand\n\nOFF # a mesh", 1).replace("\n", "  # here\n\n"),
        MESH.replace("\n", "\r\n"),
        MESH.replace(" ", "\t").replace("OFF", "off"),
        MESH.replace("3 0 1 2", "3 0 1 2 255 0 0").replace("3 3 4 5", "3 3 4 5 0.1 0.2 0.3 1"),
        with_columns("255 0 0 255").replace("OFF", "COFF"),
        with_columns("0 0 1").replace("OFF", "NOFF"),
        with_columns("0.5 0.5").replace("OFF", "STOFF"),
        MESH.replace("6 2 0", "6 2"),
    ],
    ids=["comments", "crlf", "tabs", "face-colours", "colours", "normals", "textures", "no-edges"],
)
def test_a_mesh_is_the_same_however_it_is_written(text):
    expected = points.read(MESH.encode(), "m.off", 100, seed=3)
    np.testing.assert_array_equal(points.read(text.encode(), "m.off", 100, seed=3), expected)


def test_a_square_is_sampled_as_its_two_triangles():
    square = b"OFF\n4 1 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"
    halves = square.replace(b"4 1 0", b"4 2 0").replace(b"4 0 1 2 3", b"3 0 1 2\n3 2 3 0")
    sampled = [points.read(data, "m.off", 4000, seed=0) for data in (square, halves)]
    for one in sampled:
        np.testing.assert_allclose(one.mean(0), [0.5, 0.5, 0], atol=0.02)


def test_sampling_depends_on_the_seed_alone():
    first = points.read(MESH.encode(), "m.off", 64, seed=2**64 - 1)
    np.random.random(7)
    np.testing.assert_array_equal(points.read(MESH.encode(), "m.off", 64, seed=2**64 - 1), first)
    assert not np.array_equal(points.read(MESH.encode(), "m.off", 64, seed=2), first)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32])
def test_clouds_keep_their_points(dtype):
    given_cloud = (cloud() * 10).astype(dtype)
    read = points.read(npy(given_cloud), "a.npy", 2048, seed=0)
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read, given_cloud.astype(np.float32))


def test_a_byte_order_mark_is_no_number():
    text = "\ufeff" + "\n".join(" ".join(map(repr, row)) for row in cloud().tolist())
    np.testing.assert_array_equal(points.read(text.encode(), "a.xyz", 10_000, 0), cloud())


@pytest.mark.parametrize("separator", [",", " ", ", "])
def test_text_clouds_drop_normals(separator):
    given_cloud = cloud(20, 6, np.float64)
    lines = "\n".join(separator.join(map(repr, row.tolist())) for row in given_cloud)
    read = points.read(lines.encode(), "a.txt", 2048, seed=0)
    np.testing.assert_array_equal(read, given_cloud[:, :3].astype(np.float32))


def written(separator: str, mark: str) -> bytes:
    """A cloud as text, with a decimal mark."""
    lines = [separator.join(f"{value:.3f}" for value in row) for row in cloud(20).tolist()]
    return "\n".join(lines).replace(".", mark).encode()


@pytest.mark.parametrize("separator", [" ", "\t", "   "])
def test_decimal_commas_are_rejected(separator):
    message = "not-a-cloud: a.xyz, line 1: blanks separate the numbers, and commas stand within"
    with pytest.raises(Rejected, match=message):
        points.read(written(separator, ","), "a.xyz", 64, seed=0)


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", " , ", " ,"])
def test_commas_that_separate_are_no_decimal_commas(separator):
    text = b"# x, y,z by hand\n  " + written(separator, ".") + b"  # 0,1 2\n"
    read = points.read(text, "a.txt", 64, seed=0)
    np.testing.assert_allclose(read, cloud(20), atol=5e-4)


@given(n=st.integers(16, 60), limit=st.integers(16, 60), seed=st.integers(0, 2**64 - 1))
def test_larger_clouds_are_reduced_to_distinct_points_of_theirs(n, limit, seed):
    given_cloud = np.arange(3 * n, dtype=np.float32).reshape(n, 3)
    kept = points.check(given_cloud, "a", limit, seed)
    rows = kept[:, 0] / 3
    assert len(kept) == min(n, limit)
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(kept, given_cloud[rows.astype(int)])


def test_reads_paths_too(tmp_path):
    (tmp_path / "a.npy").write_bytes(npy(cloud()))
    np.testing.assert_array_equal(points.read(tmp_path / "a.npy", "a.npy", 2048, seed=0), cloud())


def beyond_memory() -> bytes:
    return npy(cloud()).replace(b"(32, 3), }            ", b"(99999999999999, 3), }")


def with_nan() -> np.ndarray:
    broken = cloud()
    broken[3, 1] = np.nan
    return broken


@pytest.mark.parametrize(
    ("data", "name", "reason"),
    [
        (b"", "a.npy", "empty-file"),
        (b"hello", "a.npy", "not-a-cloud"),
        (npy(cloud())[:200], "a.npy", "not-a-cloud"),
        (npy(np.array([{"a": 1}], object)), "a.npy", "not-a-cloud"),
        (npy(cloud().T), "a.npy", "not-a-cloud"),
        (npy(cloud()[None]), "a.npy", "not-a-cloud"),
        (npy(cloud().astype(str)), "a.npy", "not-a-cloud"),
        (npz(cloud()), "a.npy", "not-a-cloud"),
        (npy(cloud()).replace(b"{'d", b"{{{"), "a.npy", "not-a-cloud"),
        (beyond_memory(), "a.npy", "not-a-cloud"),
        (npy(cloud(15)), "a.npy", "too-few-points"),
        (npy(with_nan()), "a.npy", "not-finite"),
        (npy(cloud(dtype=np.float64) * 1e300), "a.npy", "not-finite"),
        (b"once upon a time", "a.txt", "not-a-cloud"),
        (b"1 2 3\n4 5\n", "a.txt", "not-a-cloud"),
        (b"\xff\xfe\x00", "a.txt", "not-a-cloud"),
        (b"\n\n", "a.txt", "not-a-cloud"),
        (b"solid", "a.off", "not-a-mesh"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n", "a.off", "truncated-mesh"),
        (MESH.replace("3 3 4 5\n", "").encode(), "a.off", "truncated-mesh"),
        (MESH.replace("3 3 4 5\n", "3 3 4").encode(), "a.off", "truncated-mesh"),
        (b"OFF BINARY\n\0\0", "a.off", "not-a-mesh"),
        (MESH.replace("OFF", "4OFF").encode(), "a.off", "not-a-mesh"),
        (b"OFF", "a.off", "not-a-mesh"),
        (MESH.replace("3 3 4 5", "3 3 4 9").encode(), "a.off", "not-a-mesh"),
        (MESH.replace("3 0 1\n0 3", "nan 0 1\n0 3").encode(), "a.off", "not-finite"),
        (b"OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n", "a.off", "no-surface"),
        (b"OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n", "a.off", "no-surface"),
        (b"data", "a.ply", "unknown-format"),
    ],
)
def test_bad_files_are_rejected_by_reason(data, name, reason):
    with pytest.raises(Rejected) as caught:
        points.read(data, name, 64, seed=0)
    assert caught.value.reason == reason
    assert name in caught.value.detail
    assert "\n" not in caught.value.detail
