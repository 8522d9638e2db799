"""What all datasets of optical flow have in common: two frames, a flow file, perhaps a mask."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from pipelines import records
from pipelines.readers import Rejected, flow, image

FEATURES = {
    "frames": records.Feature("bytes", (2,)),
    "flow": records.Feature("bytes"),
    "valid": records.Feature("bytes"),
    "key": records.Feature("bytes"),
}


@dataclasses.dataclass(frozen=True)
class Files:
    """Where the parts of a pair are, relative to the input folder.

    Attributes:
      frames: of the first and the second frame.
      flow: candidates of the flow file; the first one that is there counts.
      invalid: of a picture that isn't black where the flow is wrong; it counts where it is there.
    """

    frames: tuple[str, str]
    flow: tuple[str, ...]
    invalid: str | None = None


def dataset(
    summary: str,
    layouts: tuple[str, ...],
    list_items: Callable[[str, ReadOptions], manifest.Listing],
    files: Callable[[manifest.Item], Files],
) -> Dataset:
    """A dataset of pairs of frames with flow files.

    Args:
      summary, layouts, list_items: see `Dataset`.
      files: of a listed item.
    """

    def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
        del options
        return read_pair(root, files(item))

    return Dataset(
        summary=summary,
        layouts=layouts,
        features=FEATURES,
        list_items=list_items,
        read_item=read_item,
        measure=measure,
        check_record=check_record,
    )


def read_pair(root: str, files: Files) -> dict[str, Any]:
    """Reads and checks a pair.

    Args:
      root: input folder.
      files: below it.

    Returns:
      The fields of `pipelines.readers.flow.encode_record`.

    Raises:
      Rejected: a file that isn't there, or as `flow.check_frames` and `flow.read`; a frame that is
        turned by its EXIF; flow or mask of another size than the frames; a mask under which no flow
        is left.
    """
    contents = [_read(root, path, "frame") for path in files.frames]
    frames, size = flow.check_frames(contents, files.frames)
    for path, content in zip(files.frames, contents, strict=True):
        if image.is_turned(content):
            raise Rejected(
                "turned-frame",
                f"{path}: its EXIF turns it, and nothing says whether the flow was made before or "
                "after; store it upright, without an orientation",
            )
    path, data = _first(root, files.flow)
    values, valid = flow.read(data, path)
    _check_size(path, values, files.frames[0], size)
    mask = _content(root, files.invalid) if files.invalid else None
    if mask is not None:
        wrong = image.read(mask, files.invalid).any(-1)
        _check_size(files.invalid, wrong, files.frames[0], size)
        valid = valid & ~wrong
        if not valid.any():
            raise Rejected("no-known-flow", f"{files.invalid} leaves no pixel of {path}")
    return flow.encode_record(frames, np.where(valid[..., None], values, 0), valid)


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Height, width, pixels whose flow is known, and the largest displacement, rounded up."""
    values = np.frombuffer(fields["flow"], "<f4").reshape(-1, 2).astype(np.float64)
    height, width = image.size(fields["frames"][0])
    known = np.asarray(Image.open(io.BytesIO(fields["valid"]))) > 0
    return {
        "height": height,
        "width": width,
        "known_pixels": int(known.sum()),
        "largest_displacement": math.ceil(np.hypot(*values.T).max()),
    }


def check_record(fields: dict[str, Any], where: str) -> None:
    """Looks at a written record again; see `pipelines.readers.flow.decode_record`."""
    flow.decode_record(fields, where)


def _first(root: str, paths: tuple[str, ...]) -> tuple[str, bytes]:
    """The first of the files that is there: its path and content."""
    for path in paths[:-1]:
        if (data := _content(root, path)) is not None:
            return path, data
    return paths[-1], _read(root, paths[-1], "flow")


def _read(root: str, path: str, what: str) -> bytes:
    data = _content(root, path)
    if data is None:
        raise Rejected(f"missing-{what}", f"{path} isn't there")
    return data


def _content(root: str, path: str) -> bytes | None:
    try:
        return read_bytes(root, path)
    except FileNotFoundError:
        return None


def _check_size(path: str, array: np.ndarray, frame: str, size: tuple[int, int]) -> None:
    if array.shape[:2] != size:
        height, width = array.shape[:2]
        raise Rejected(
            "flow-of-another-size",
            f"{path} has {width} x {height} pixels, {frame} {size[1]} x {size[0]}",
        )
