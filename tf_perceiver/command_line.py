"""What every command does around its main: quiet TensorFlow, turn expected errors into one line."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Sequence

# Before TensorFlow is imported, else it has no effect. Level 2 still prints three "Unable to
# register" errors of CUDA libraries at every start; what really fails is raised.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Notices of Google's client libraries that Beam brings, and of tensorflow-addons' retirement.
warnings.filterwarnings("ignore", category=FutureWarning, module="google")
warnings.filterwarnings("ignore", module="tensorflow_addons")

from absl import app, flags, logging  # noqa: E402

USAGE_ERROR = 2
INTERRUPTED = 130

# Of glibc's malloc.h: from which size on a block is mapped on its own, from which on free memory at
# the heap's end goes back to the system, and how many heaps there are for threads to choose from.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_NEVER = 2**30


def keep_freed_memory() -> None:
    """Lets the C library keep what TensorFlow frees, instead of giving it back after every use.

    A step's tensors come and go by the gigabyte, and the system hands out every page anew, zeroed:
    a tenth of a large model's time on a CPU. So that little of it is kept, there is a heap for each
    processor, and not for each thread. Without glibc there is nothing to do.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, _NEVER)
        libc.mallopt(_M_ARENA_MAX, os.cpu_count() or 1)


keep_freed_memory()


def run(main: Callable[[list[str]], int | None], *, positional: bool = False) -> None:
    """Parses the flags, runs `main`, exits with what it returns.

    ValueError and OSError are what our code raises for mistakes in flags, files and folders: they
    become one line on stderr and exit code 2. Anything else is a bug and keeps its traceback.

    ^C where nothing is to be saved ends it without a word, with the code that shells give it.

    Args:
      main: gets argv without the flags.
      positional: whether words that aren't flags are meant (files to predict from).
    """
    logging.set_verbosity(logging.WARNING)

    def parse(argv: Sequence[str]) -> list[str]:
        try:
            return flags.FLAGS(argv)
        except flags.Error as error:
            _fail(error)
        # ml_collections' ways of saying that a config file, a variant or a key doesn't exist.
        except (AttributeError, KeyError, OSError, TypeError, ValueError, ImportError) as error:
            _fail(error)

    def guarded(argv: list[str]) -> int | None:
        if len(argv) > 1 and not positional:
            _fail(ValueError(f"{argv[1]!r} is not a flag; see --help"))
        try:
            return main(argv)
        except (ValueError, OSError) as error:
            _fail(error)
        except KeyboardInterrupt:
            return INTERRUPTED

    app.run(guarded, flags_parser=parse)


def _fail(error: Exception) -> None:
    message = error.args[0] if isinstance(error, KeyError) and error.args else str(error)
    # ml_collections puts a config file's traceback into its message; the cause is its last line.
    _, traceback, cause = str(message).rpartition("Traceback (most recent call last)")
    if traceback:
        message = cause.strip().splitlines()[-1].partition(": ")[2] or cause
    message = " ".join(str(message).split())
    print(f"error: {message or type(error).__name__}", file=sys.stderr)
    sys.exit(USAGE_ERROR)
