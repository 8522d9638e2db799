"""ModelNet40 in the forms it is passed around in, and any shapes laid out like it."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes, read_text
from pipelines import records
from pipelines.readers import Rejected, points

FEATURES = {
    "points": records.Feature("float32", (None, 3)),
    "label": records.Feature("int64"),
    "key": records.Feature("bytes"),
}
PACK_SUFFIXES = frozenset({".npz", ".h5", ".hdf5"})
SHAPE_NAMES = ("shape_names.txt", "modelnet40_shape_names.txt")


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the shapes of an input folder: of packs at its top where it has any, else of its tree.

    Raises:
      InputError: none of the layouts, packs or trees of two kinds, a pack without labels.
    """
    del options  # They count once a shape is read.
    files = manifest.list_files(root)
    packs = [path for path in files if "/" not in path and _suffix(path) in PACK_SUFFIXES]
    if packs:
        return _list_packs(root, files, packs)
    kinds = {_suffix(path) for path in files if "/" in path} & points.SUFFIXES
    if len(kinds) > 1:
        raise manifest.InputError(
            f"--input={root}: shapes in {' and '.join(sorted(kinds))}, which may be the same ones "
            "twice; keep one kind"
        )
    return manifest.tree_items(files, kinds or points.SUFFIXES, "shapes", root)


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Reads one shape.

    Returns:
      {"points": xyz, float32 `[n, 3]`, in the file's own units}.

    Raises:
      Rejected: as `pipelines.readers.points.read`.
    """
    seed = manifest.item_seed(options.seed, item.key)
    if item.index is None:
        data = read_bytes(root, item.path)
        return {"points": points.read(data, item.path, options.num_points, seed)}
    cloud = _pack_points(root, item.path)[item.index]
    return {"points": points.check(cloud, item.key, options.num_points, seed)}


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Number of points."""
    return {"points": len(fields["points"])}


def _list_packs(root: str, files: list[str], packs: list[str]) -> manifest.Listing:
    kinds = sorted({_suffix(path) for path in packs})
    if len(kinds) > 1:
        raise manifest.InputError(
            f"--input={root}: packs in {' and '.join(kinds)}, which may be the same shapes twice; "
            "keep one kind"
        )
    items = []
    for path in packs:
        labels, names = _pack_labels(root, path, files)
        tokens = re.split(r"[^a-z]+", os.path.splitext(path)[0].lower())
        splits = {manifest.SPLIT_NAMES[token] for token in tokens if token in manifest.SPLIT_NAMES}
        if len(splits) > 1:
            raise manifest.InputError(
                f"--input={root}: the name of {path} says {' and '.join(sorted(splits))}; keep one"
            )
        split = splits.pop() if splits else None
        for index, label in enumerate(labels.tolist()):
            if not 0 <= label < len(names):
                raise manifest.InputError(
                    f"{manifest.join(root, path)}: entry {index} has label {label}, "
                    f"there are {len(names)} class names"
                )
            items.append(manifest.Item(f"{path}#{index}", path, names[label], split, index))
    aside = len(files) - len(packs)
    notes = [f"{aside:,} files beside the packs were left aside"] if aside else []
    return manifest.Listing(items, notes)


def _pack_labels(root: str, path: str, files: list[str]) -> tuple[np.ndarray, list[str]]:
    """Labels `[n]` and class names of a pack."""
    where = manifest.join(root, path)
    with _open_pack(root, path) as pack:
        fields = ("points", "label", "classes") if _suffix(path) == ".npz" else ("data", "label")
        missing = [field for field in fields if field not in pack]
        if missing:
            raise manifest.InputError(
                f"{where}: no {' and no '.join(missing)} in the pack; it has {', '.join(pack)}"
            )
        labels = np.asarray(pack["label"][:]).reshape(-1)
        names = [str(name) for name in pack["classes"]] if "classes" in fields else None
    if labels.dtype.kind not in "iu":
        raise manifest.InputError(f"{where}: labels are {labels.dtype}, expected integers")
    if names is None:
        beside = next((name for name in SHAPE_NAMES if name in files), None)
        if beside is None:
            raise manifest.InputError(
                f"{where}: no {SHAPE_NAMES[0]} beside it; put one class name a line there, "
                "in the order of the labels"
            )
        names = read_text(root, beside).split()
    return labels, names


@functools.lru_cache(maxsize=2)
def _pack_points(root: str, path: str) -> np.ndarray:
    """Points of a pack, `[n, m, 3]`. A shard takes items from all over a pack: keep it open."""
    try:
        with _open_pack(root, path) as pack:
            return np.asarray(pack["points" if _suffix(path) == ".npz" else "data"][:])
    except manifest.InputError as error:
        raise Rejected("unreadable-pack", str(error)) from None


@contextlib.contextmanager
def _open_pack(root: str, path: str) -> Iterator[Any]:
    where = manifest.join(root, path)
    # A local path is opened by name, so that listing reads the labels and not the points.
    source = where if "://" not in where else io.BytesIO(read_bytes(root, path))
    try:
        if _suffix(path) == ".npz":
            with np.load(source, allow_pickle=False) as pack:
                yield pack
        else:
            import h5py

            with h5py.File(source, "r") as pack:
                yield pack
    except manifest.InputError:
        raise
    except Exception as error:  # zipfile, zlib, NumPy and h5py: each raises its own kinds.
        text = " ".join(str(error).split())
        raise manifest.InputError(f"{where}: not a readable pack ({text})") from None


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


DATASET = Dataset(
    summary="ModelNet40 or other shapes as meshes, point clouds or packs",
    layouts=(
        "CLASS/train|test/*.off, train|test/CLASS/*.off, or CLASS/*.off with --splits=...",
        "the same trees of .npy [n, 3] or .txt/.xyz (a point a line, more columns are normals)",
        "*train*.npz, *test*.npz: points [n, m, 3], label [n], classes [c]",
        "*train*.h5, *test*.h5: data [n, m, 3], label [n]; shape_names.txt beside",
    ),
    features=FEATURES,
    options=("seed", "num_points"),
    list_items=list_items,
    read_item=read_item,
    measure=measure,
)
