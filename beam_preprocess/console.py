"""The terminal: what libraries say on their own account stays off it."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def quiet_libraries() -> None:
    """Silences start-up chatter of TensorFlow and Google's libraries, here and in worker processes.

    Call it before anything imports them. Errors still show.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # Preprocessing must not hold a GPU.
    os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
    warnings.filterwarnings("ignore", category=FutureWarning)
    # A root handler of our own keeps Beam and absl from adding theirs at a lower level.
    if not logging.getLogger().handlers:
        logging.getLogger().addHandler(logging.StreamHandler())
    logging.getLogger().setLevel(logging.ERROR)


def one_line(text: str) -> str:
    """Text that is one line and UTF-8, whatever a file is called: a name may be any bytes."""
    shown = text.encode(errors="backslashreplace").decode()
    return shown.replace("\r", "\\r").replace("\n", "\\n")


def print_error(error: BaseException | str) -> None:
    """Prints an expected error as one line."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
