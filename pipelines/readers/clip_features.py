"""Features of clips, as networks for sound and for pictures gave them: files to checked arrays.

Two layouts: one .npz a clip, with the arrays `audio` and `video`; and the AVCA benchmarks' own, a
pair of .h5 files a class, with `data`, a row or several a clip, and `video_urls`, the clips' names.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from pipelines.readers import Rejected

SUFFIXES = frozenset({".npz"})
MODALITIES = ("audio", "video")
_VIDEO_SUFFIXES = frozenset({".avi", ".mkv", ".mp4", ".webm"})


def read(data: bytes, name: str, widths: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The features of a clip from its .npz.

    Args:
      data: content of the file.
      name: file name, for the message.
      widths: of a row, {"audio": Da, "video": Dv}.

    Returns:
      "audio": float32 [Ta, Da]; "video": float32 [Tv, Dv]; a single vector is one row.

    Raises:
      Rejected: no such archive, an array that is missing, and as `check`.
    """
    if not data:
        raise Rejected("unreadable-features", f"{name} has no bytes")
    found = {}
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            for modality in MODALITIES:
                if modality in archive:
                    found[modality] = archive[modality]
    except Exception as error:  # zipfile, zlib and NumPy: each raises its own kinds.
        reason = " ".join(str(error).split())[:100]
        raise Rejected("unreadable-features", f"{name} is no .npz of arrays ({reason})") from None
    for modality in MODALITIES:
        if modality not in found:
            raise Rejected("missing-features", f"{name} has no array {modality!r}")
    return {
        modality: check(found[modality], f"{name}: {modality}", widths[modality])
        for modality in MODALITIES
    }


def check(values: Any, where: str, width: int) -> np.ndarray:
    """Checks features; returns them as float32 [T, width], T >= 1.

    Args:
      values: [T, width] or [width], of any kind of number.
      where: says what they are, for the message.
      width: of a row.

    Raises:
      Rejected: no numbers or none at all, another width, NaN or infinity.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise Rejected("unreadable-features", f"{where} is of {array.dtype}, not numbers")
    if array.ndim not in (1, 2):
        raise Rejected(
            "wrong-width", f"{where} has shape {array.shape}; [rows, {width}] or [{width}] is due"
        )
    if array.ndim == 1:
        array = array[None]
    if not array.size:
        raise Rejected("missing-features", f"{where} has no rows")
    if array.shape[1] != width:
        raise Rejected("wrong-width", f"{where} has rows of {array.shape[1]} numbers, not {width}")
    with np.errstate(over="ignore"):  # To infinity, which is refused.
        rows = array.astype(np.float32)
    if not np.isfinite(rows).all():
        raise Rejected("not-finite", f"{where} holds NaN or infinity")
    return rows


def read_names(file: BinaryIO | str, name: str) -> list[str]:
    """The clips of one of the benchmark's .h5 files, in its order.

    Args:
      file: the file or its path. name: its name, for the message.

    Raises:
      Rejected: no such file, or other than one name for each clip.
    """
    with _opened(file, name) as pack:
        urls = [clip_name(_text(url)) for url in pack["video_urls"][()]]
        if len(urls) != pack["data"].shape[0]:
            clips = pack["data"].shape[0]
            raise Rejected("unreadable-features", f"{name}: {len(urls)} names for {clips} clips")
    return urls


def read_clip(file: BinaryIO | str, index: int, where: str, width: int) -> np.ndarray:
    """One clip of such a file: float32 [T, width].

    Args:
      file: the file or its path.
      index: of the clip.
      where: names file and clip in messages.
      width: of a row.

    Raises:
      Rejected: no such file, and as `check`.
    """
    with _opened(file, where) as pack:
        return check(pack["data"][index], where, width)


def clip_name(name: str) -> str:
    """A clip's name without folders and a video's suffix, as the lists of splits have it."""
    name = name.replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in _VIDEO_SUFFIXES else name


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


@contextlib.contextmanager
def _opened(file: BinaryIO | str, name: str) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(file, "r") as pack:
            missing = [field for field in ("data", "video_urls") if field not in pack]
            if missing:
                raise Rejected("unreadable-features", f"{name} has no {' and no '.join(missing)}")
            yield pack
    except Rejected:
        raise
    except FileNotFoundError:
        raise Rejected("missing-features", f"{name}: no such file") from None
    except Exception as error:  # h5py raises many kinds for what is damaged.
        reason = " ".join(str(error).split())[:100]
        raise Rejected("unreadable-features", f"{name} is no HDF5 of features ({reason})") from None
