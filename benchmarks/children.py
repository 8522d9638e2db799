"""Functions that run in processes of their own, each the first to touch TensorFlow's devices.

Children are forked from a parent that has imported everything and computed nothing: that takes a
tenth of a second, where an interpreter would take ten, and every child starts with the same memory.
What of the libraries' files the parent had in memory the child hasn't, though, until it uses it: a
quarter of a gigabyte of TensorFlow's code, which isn't the model's. Where that counts, a child is
an interpreter of its own.
"""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable
from typing import Any


def run(function: Callable[..., Any], *arguments: Any, fresh: bool = False) -> Any:
    """`function(*arguments)` in a child; its result must pickle.

    Args:
      fresh: an interpreter of its own, not a fork; function and arguments must pickle too.

    Raises:
      ValueError: the function raised one; its message.
      MemoryError: the child was killed, as the kernel does when memory runs out.
      RuntimeError: the function raised anything else; its traceback.
    """
    context = multiprocessing.get_context("spawn" if fresh else "fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, function, arguments))
    child.start()
    theirs.close()
    try:
        kind, value = ours.recv()
    except EOFError:
        child.join()
        raise MemoryError(
            f"a process of {function.__name__}{arguments} ended with {child.exitcode}; "
            "was there memory enough?"
        ) from None
    child.join()
    if kind == "value":
        return value
    raise (ValueError if kind == "mistake" else RuntimeError)(value)


def _work(connection: Any, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    try:
        answer = ("value", function(*arguments))
    except ValueError as error:
        answer = ("mistake", str(error))
    except Exception:
        answer = ("failure", traceback.format_exc())
    connection.send(answer)
    connection.close()
