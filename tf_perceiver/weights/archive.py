"""Weights as an .npz of neutral names: checked against a model, written, and loaded into one."""

from __future__ import annotations

import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tf_perceiver.model.perceiver import Perceiver

Shapes = Mapping[str, tuple[int, ...]]


def shapes_of(fields: Mapping[str, Any], outputs: int) -> dict[str, tuple[int, ...]]:
    """{neutral name: shape} of a model's variables, which are never allocated.

    Args:
      fields: ``config.model``. outputs: number of classes.
    """
    import tensorflow as tf

    from tf_perceiver.model import perceiver

    with tf.Graph().as_default():
        model = perceiver.build(fields, outputs)
        return {name: tuple(v.shape) for name, v in model.named_weights().items()}


def check(arrays: Mapping[str, np.ndarray], shapes: Shapes, source: object) -> None:
    """Raises one error for all that doesn't fit.

    Args:
      arrays: {name: array}. shapes: the model's.
      source: where the arrays are from, for the message.

    Raises:
      ValueError: arrays are missing, too many, of another shape, or no floating-point numbers;
        every one is listed.
    """
    missing = [f"{name} {shapes[name]}" for name in sorted(shapes.keys() - arrays.keys())]
    extra = [f"{name} {arrays[name].shape}" for name in sorted(arrays.keys() - shapes.keys())]
    both = sorted(arrays.keys() & shapes.keys())
    misshapen = [
        f"{name} {arrays[name].shape} where the model has {shapes[name]}"
        for name in both
        if arrays[name].shape != tuple(shapes[name])
    ]
    types = [f"{name} {arrays[name].dtype}" for name in both if arrays[name].dtype.kind != "f"]
    found = {
        "missing": missing,
        "not in the model": extra,
        "of another shape": misshapen,
        "no floating-point numbers": types,
    }
    if any(found.values()):
        lists = "; ".join(f"{what}: {', '.join(names)}" for what, names in found.items() if names)
        raise ValueError(f"{source} doesn't hold this model's weights. {lists}")


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Writes the arrays as float32 under their names, sorted: the same arrays, the same bytes.

    A file of that name is replaced once the new one is whole.

    Raises:
      OSError: the folder isn't there, or can't be written.
    """
    path = pathlib.Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} of {path.name} doesn't exist")
    content = {name: np.ascontiguousarray(arrays[name], np.float32) for name in sorted(arrays)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays of an .npz.

    Raises:
      ValueError: it is none. OSError: it can't be read.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (zipfile.BadZipFile, ValueError, TypeError, EOFError) as error:
        raise ValueError(
            f"{path} is no whole .npz of weights ({error}); write it with "
            "python -m tf_perceiver.weights.convert"
        ) from error


def assign(model: Perceiver, arrays: Mapping[str, np.ndarray], source: object) -> None:
    """Assigns every variable of the model, or none.

    Args:
      model: whose `named_weights` get the values. arrays: {neutral name: array}.
      source: where the arrays are from, for the message.

    Raises:
      ValueError: what `check` raises; then nothing is assigned.
    """
    weights = model.named_weights()
    check(arrays, {name: tuple(v.shape) for name, v in weights.items()}, source)
    for name, variable in weights.items():
        variable.assign(np.asarray(arrays[name], variable.dtype.as_numpy_dtype))


def load(model: Perceiver, path: str | os.PathLike[str]) -> None:
    """Assigns the arrays that `save` wrote. Raises what `read` and `assign` raise."""
    assign(model, read(path), path)
