"""Word vectors of classes, as the AVCA benchmarks ship them: a pickled dict inside a .npy file.

A pickle is a program that may import and call whatever it likes. Here it reaches stand-ins of ours
alone, which make arrays of floats; whatever else it asks for is refused, and nothing is run.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipelines.readers import Rejected

# NumPy 2 calls its inner modules otherwise.
_MAKERS = {"numpy.core.multiarray", "numpy._core.multiarray"}
_FLOATS = ("f2", "f4", "f8")


class _Refused(ValueError):
    """The pickle holds something else than arrays of floats by name."""


class _Dtype:
    """An element type to be, from what numpy.dtype pickles to."""

    def __init__(self, code: Any = None, align: Any = False, copy: Any = True) -> None:
        if code not in (*_FLOATS, "O8"):
            raise _Refused(f"elements of type {code!r}")
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        order, subarray, names, fields = state[1:5]
        if order not in ("<", ">", "|", "=") or (subarray, names, fields) != (None, None, None):
            raise _Refused("a structured element type")
        self.order = order


class _Array:
    """An array to be: the pickle makes an empty one first, then sets shape, type and content."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, column_major, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(shape, tuple):
            raise _Refused("an array without a type")
        if dtype.code == "O8":  # Around the dict, and nowhere else.
            if shape != () or not isinstance(content, list) or len(content) != 1:
                raise _Refused("an array of objects")
            self.value = content[0]
            return
        kind = np.dtype(dtype.code).newbyteorder(dtype.order)
        whole = all(type(size) is int and size >= 0 for size in shape)
        if not whole or not isinstance(content, bytes):
            raise _Refused("an array without a shape")
        if len(content) != math.prod(shape) * kind.itemsize:
            raise _Refused("an array cut short")
        order = "F" if column_major else "C"
        self.value = np.frombuffer(content, kind).reshape(shape, order=order)


class _Class:
    """The array's class, which pickles name and never call."""


def _reconstruct(subtype: Any, shape: Any, code: Any) -> _Array:
    if subtype is not _Class:
        raise _Refused("an array of another class")
    return _Array()


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module in _MAKERS and name == "_reconstruct":
            return _reconstruct
        if module == "numpy" and name in ("ndarray", "dtype"):
            return _Class if name == "ndarray" else _Dtype
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused("a reference to something outside")


def read(data: bytes, name: str) -> dict[str, np.ndarray]:
    """The vectors of such a file, by the name that they were made from.

    Args:
      data: content of the file.
      name: file name, for the message.

    Returns:
      Float32 vectors, all of one length, finite and none of them zero.

    Raises:
      Rejected: not such a file, or a pickle that asks for anything but arrays of floats; vectors of
        different lengths, NaN, infinity, or zero.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = header(stream)
        if shape != () or dtype != np.dtype(object):
            raise _Refused(f"a plain array of shape {shape}")
        outer = _Unpickler(stream).load()
    except _Refused as error:
        raise Rejected(
            "unreadable-vectors",
            f"{name}: a dict of vectors by class name is needed, this holds {error}",
        ) from None
    except Exception as error:  # A damaged pickle may raise anything, so it is one line here.
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise Rejected("unreadable-vectors", f"{name}: no file of np.save ({reason})") from None
    vectors = outer.value if isinstance(outer, _Array) else None
    if not isinstance(vectors, Mapping) or not vectors:
        raise Rejected("unreadable-vectors", f"{name}: no dict of vectors by class name")
    return _checked(vectors, name)


def _checked(vectors: Mapping[Any, Any], name: str) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for key, array in vectors.items():
        vector = array.value if isinstance(array, _Array) else None
        if not isinstance(key, str) or not isinstance(vector, np.ndarray) or vector.ndim != 1:
            raise Rejected("unreadable-vectors", f"{name}: {str(key)[:40]!r} has no vector")
        with np.errstate(over="ignore"):  # To infinity, which is refused.
            found[key] = vector.astype(np.float32)
        if not np.isfinite(found[key]).all() or not found[key].any():
            raise Rejected("not-finite", f"{name}: the vector of {key!r} is zero, NaN or infinite")
    lengths = {len(vector) for vector in found.values()}
    if len(lengths) > 1:
        raise Rejected(
            "unreadable-vectors", f"{name}: vectors of {min(lengths)} and {max(lengths)} numbers"
        )
    return found
