"""Parts of a graph that are made once and called, however often they occur in it.

A model of 48 alike layers is a graph of tens of thousands of operations if every layer is written
out, and TensorFlow needs a gigabyte and most of a minute to make, optimise and keep it. Called
functions are optimised once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf


def call(function: Callable[..., Any], *tensors: Any, **fixed: Any) -> Any:
    """``function(*tensors, **fixed)``; in a graph, by a call.

    What is called holds its arguments and what it returned until it has ended, and control
    dependencies reach no further than its ends.

    Args:
      function: of the module's level, for calls are told apart by it; of tensors alone.
      tensors: nested as one likes.
      fixed: hashable.
    """
    if tf.executing_eagerly():
        return function(*tensors, **fixed)
    return _compiled(function, tuple(sorted(fixed.items())))(*tensors)


def called(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which in a graph is called; for a local function that reads tensors around it.

    A tape has what it needs for the gradient, as if the function was written out. Arguments that
    aren't tensors are told apart by their identity.
    """
    compiled = _noinline(function)
    return lambda *args: (function if tf.executing_eagerly() else compiled)(*args)


@functools.cache
def _compiled(function: Callable[..., Any], fixed: tuple[tuple[str, Any], ...]) -> Any:
    return _noinline(functools.partial(function, **dict(fixed)))


def _noinline(function: Callable[..., Any]) -> Any:
    return tf.function(function, autograph=False, experimental_attributes={"_noinline": True})
