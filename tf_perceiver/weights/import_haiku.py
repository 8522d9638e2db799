"""DeepMind's pickled checkpoints, read without executing anything that they name.

A pickle is a program that may import and call whatever it likes. Here every name that it asks for
is looked up in `ALLOWED`, and what it gets is a stand-in of ours: no function of NumPy or of any
other module is within its reach. Checkpoints of Haiku are mappings of its own classes, which become
plain dicts here, and hold NumPy's arrays, or JAX's, which pickle by way of NumPy's.
"""

from __future__ import annotations

import math
import os
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tf_perceiver.weights import names

# The element types of weights and counters. No object ("O"), no structured type, no string.
ELEMENTS = ("f2", "f4", "f8", "i4", "i8", "u4", "u8")
# Each moving average keeps these two beside its "average"; they matter to training alone.
EMA_ONLY = ("hidden", "counter")


class RefusedPickle(ValueError):
    """The pickle asks for something that a checkpoint of arrays doesn't need."""


class _StandIn:
    """What a name in the pickle becomes: it can be called, and nothing can be set on it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise RefusedPickle("the pickle sets attributes of a function")


class _Dtype:
    """An element type, from the arguments and the state that numpy.dtype pickles to."""

    __slots__ = ("dtype",)

    def __init__(self, code: Any, align: Any = False, copy: Any = True) -> None:
        if not isinstance(code, str) or code not in ELEMENTS:
            raise RefusedPickle(f"the pickle has elements of type {code!r}, not numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        order, subarray, labels, fields = state[1:5]
        if order not in ("<", ">", "|", "=") or (subarray, labels, fields) != (None,) * 3:
            raise RefusedPickle("the pickle has a structured element type, not numbers")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """An array to be: NumPy's pickles make an empty one first, then set shape, type and bytes."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, column_major, data = state
        if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
            raise RefusedPickle("the pickle has an array of objects, not of numbers")
        self.value = _from_bytes(shape, dtype.dtype, data, "F" if column_major else "C")


def _from_bytes(shape: Any, dtype: np.dtype, data: bytes, order: str) -> np.ndarray:
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise RefusedPickle(f"the pickle has an array of shape {shape!r}")
    if len(data) != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of shape {shape} has {len(data)} bytes of {dtype}")
    return np.frombuffer(data, dtype).reshape(shape, order=order)


_NDARRAY = _StandIn(lambda *arguments: _refuse("numpy.ndarray is called"))


def _refuse(what: str) -> None:
    raise RefusedPickle(f"the pickle is no checkpoint of arrays: {what}")


def _reconstruct(subtype: Any, shape: Any, code: Any) -> _Array:
    if subtype is not _NDARRAY:
        _refuse("an array of another class than numpy.ndarray")
    return _Array()


_RECONSTRUCT = _StandIn(_reconstruct)


def _jax_array(function: Any, arguments: Any, state: Any, aval_state: Any = None) -> _Array:
    """JAX pickles the function, arguments and state of the NumPy array that it would be."""
    if function is not _RECONSTRUCT:
        _refuse("a JAX array that isn't made from a NumPy array")
    array = _reconstruct(*arguments)
    array.__setstate__(state)
    return array


def _scalar(dtype: Any, data: Any) -> np.ndarray:
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes):
        _refuse("a scalar that is no number")
    return _from_bytes((), dtype.dtype, data, "C")


def _latin1(text: Any, encoding: Any) -> bytes:
    """Protocol 2 has no bytes: it spells them as text, and asks for _codecs.encode."""
    if not isinstance(text, str) or encoding != "latin1":
        _refuse("bytes in another encoding than latin1")
    return text.encode("latin1")


def _mapping(content: Any = ()) -> dict:
    return dict(content)


_DTYPE, _SCALAR, _MAPPING = _StandIn(_Dtype), _StandIn(_scalar), _StandIn(_mapping)
_JAX_ARRAY = _StandIn(_jax_array)
_HAIKU = "haiku._src.data_structures"
ALLOWED = {
    ("numpy", "ndarray"): _NDARRAY,
    ("numpy", "dtype"): _DTYPE,
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("_codecs", "encode"): _StandIn(_latin1),
    ("collections", "OrderedDict"): _MAPPING,
    (_HAIKU, "FlatMapping"): _MAPPING,
    (_HAIKU, "FlatMap"): _MAPPING,
    (_HAIKU, "frozendict"): _MAPPING,
    ("jax._src.array", "_reconstruct_array"): _JAX_ARRAY,
    ("jax._src.device_array", "reconstruct_device_array"): _JAX_ARRAY,
}


class _Unpickler(pickle.Unpickler):
    """Knows the names of `ALLOWED` and no others; dotted ones are whole, never looked into."""

    def find_class(self, module: str, name: str) -> _StandIn:
        """The stand-in of a name.

        Raises:
          RefusedPickle: any other name.
        """
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise RefusedPickle(
                f"the pickle asks for {module}.{name}, which a checkpoint of arrays doesn't "
                "need; nothing of it was executed"
            ) from None


def read(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a checkpoint: {"params", "state"} trees, or the parameters' tree alone.

    Args:
      path: of the pickle.

    Returns:
      {"module path/parameter": array}, of parameters and state; without what the moving averages
      keep for training (`EMA_ONLY`).

    Raises:
      RefusedPickle: it asks for anything but arrays and mappings.
      ValueError: it is damaged, or holds something else than arrays in two levels.
      OSError: it can't be read.
    """
    with open(path, "rb") as file:
        try:
            tree = _Unpickler(file).load()
        except RefusedPickle as error:
            raise RefusedPickle(f"{path}: {error}") from None
        except OSError:
            raise
        except Exception as error:  # A damaged pickle can fail in any way.
            raise ValueError(
                f"{path} is not a whole pickle of arrays ({type(error).__name__}: {error}); "
                "fetch it again"
            ) from error
    if not isinstance(tree, dict):
        raise ValueError(f"{path} holds a {type(tree).__name__}, not a mapping of arrays")
    trees = [tree]
    if "params" in tree:
        if further := sorted(map(str, tree.keys() - {"params", "state"})):
            raise ValueError(f"{path} has {', '.join(further)} beside params and state")
        trees = [tree["params"], tree.get("state") or {}]
    return {name: array for part in trees for name, array in _flat(part, path).items()}


def _flat(tree: Any, path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """{module: {parameter: array}} -> {"module/parameter": array}."""
    if not isinstance(tree, dict) or not all(isinstance(it, dict) for it in tree.values()):
        raise ValueError(f"{path} is no tree of modules with parameters")
    arrays = {}
    for module, parameters in tree.items():
        for parameter, leaf in parameters.items():
            value = leaf.value if isinstance(leaf, _Array) else leaf
            if not isinstance(value, np.ndarray):
                raise ValueError(f"{path}: {module}/{parameter} is no array")
            if not (str(module).endswith("_ema") and parameter in EMA_ONLY):
                arrays[f"{module}/{parameter}"] = value
    return arrays


def to_neutral(
    arrays: Mapping[str, np.ndarray], wanted: Iterable[str], kind: str
) -> dict[str, np.ndarray]:
    """Our names for a checkpoint's arrays, which have our layout already.

    Args:
      arrays: by path, from `read`.
      wanted: the model's neutral names.
      kind: one of `names.KINDS`.

    Returns:
      {neutral name: array}; what no wanted name stands for keeps its own.
    """
    known = names.haiku_paths(wanted, kind)
    return {known.get(path, path): array for path, array in arrays.items()}
