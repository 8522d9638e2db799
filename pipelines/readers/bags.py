"""Bags of patch features: what a network said of the patches of a whole slide, a row each.

One `.npy` a slide or a patient, `[patches, width]`, as multiple-instance learning on whole slides
(Ilse et al., ICML 2018) publishes them, named for the `slide_id` or the `case_id` of the table.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipelines.readers import Rejected

SUFFIX = ".npy"


def by_name(paths: Iterable[str]) -> dict[str, str]:
    """Name of a slide or patient, in lower case -> the path of its bag; other files are left aside.

    Raises:
      Rejected: two bags of one name.
    """
    found: dict[str, str] = {}
    for path in paths:
        stem, suffix = posixpath.splitext(posixpath.basename(path))
        if suffix.lower() == SUFFIX and (other := found.setdefault(stem.lower(), path)) != path:
            raise Rejected("several-bags", f"{other} and {path} are bags of one name")
    return found


def of_patient(patient: str, slides: Sequence[str], found: Mapping[str, str]) -> list[str]:
    """The paths of a patient's bags: those of the slides or, if there are none, its own.

    Args:
      patient: its `case_id`.
      slides: their `slide_id`, with or without the ending of a slide's file, such as .svs.
      found: of `by_name`.
    """
    paths = []
    for slide in dict.fromkeys(slides):
        names = (slide.lower(), posixpath.splitext(slide)[0].lower())
        paths += [found[name] for name in names if name in found][:1]
    return paths or [path for path in [found.get(patient.lower())] if path]


def read(data: bytes, name: str, width: int) -> np.ndarray:
    """A bag from its file, float32 `[patches, width]`.

    Args:
      data: content of the file.
      name: file name, for the message.
      width: of a row.

    Raises:
      Rejected: no array of numbers in it, a file cut short, another shape or width, no patches,
        NaN or infinity.
    """
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    try:
        bag = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python, and raises what that raises.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Rejected("not-a-bag", f"{name}: no .npy array ({reason})") from None
    if not isinstance(bag, np.ndarray):
        bag.close()
        raise Rejected("not-a-bag", f"{name}: an archive of arrays, one array is read")
    if bag.ndim != 2 or bag.dtype.kind not in "fiu":
        raise Rejected(
            "not-a-bag", f"{name}: {bag.dtype} array of shape {bag.shape}, due is [patches, width]"
        )
    if not len(bag):
        raise Rejected("empty-bag", f"{name} has no patches")
    if bag.shape[1] != width:
        raise Rejected("wrong-width", f"{name} has patches of {bag.shape[1]} numbers, not {width}")
    with np.errstate(over="ignore"):  # To infinity, which is refused.
        return check(bag.astype(np.float32), name)


def check(bag: np.ndarray, where: str) -> np.ndarray:
    """Checks the numbers of a bag; returns it.

    Raises:
      Rejected: NaN or infinity.
    """
    if not np.isfinite(bag).all():
        raise Rejected("not-finite", f"{where} holds NaN or infinity")
    return bag


def chosen(bag: np.ndarray, most: int, seed: int, patient: str) -> np.ndarray:
    """Of more than `most` patches a random choice, each as likely as another, in their order.

    The choice is a function of the seed, the patient's name and the number of patches.

    Args:
      bag: `[patches, width]`, of all slides of the patient.

    Returns:
      `[min(patches, most), width]`.
    """
    if len(bag) <= most:
        return bag
    draw = np.random.default_rng([seed, *patient.encode()])
    return bag[np.sort(draw.choice(len(bag), most, replace=False))]
