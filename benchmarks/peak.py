"""Resident memory of this process, from Linux's own counters; needs the standard library alone.

The interpreter of the other implementations imports this too, so that both sides are measured by
the same lines.
"""

from __future__ import annotations

import contextlib
import ctypes
import pathlib
import resource
import threading
from collections.abc import Iterator

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR_REFS = pathlib.Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # see proc(5)
SAMPLING_SECONDS = 0.002
RUNS = 3  # of which the peak is taken: the first compiles, allocators have their highest later


def _field(name: str) -> int:
    """A size of /proc/self/status in bytes."""
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no {name}: memory is measured on Linux alone")


def resident() -> int:
    """Resident set size now, bytes."""
    return _field("VmRSS")


def baseline() -> int:
    """`resident` without what was freed: that would be used again without being counted."""
    with contextlib.suppress(OSError, AttributeError):  # Of glibc alone.
        ctypes.CDLL(None).malloc_trim(0)
    return resident()


def reset() -> bool:
    """Sets the kernel's peak counter to the present size; False where that isn't allowed."""
    try:
        _CLEAR_REFS.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True


class Peak:
    """What `watching` fills in when its block ends: `bytes`, the peak resident set size."""

    def __init__(self) -> None:
        self.bytes = 0


@contextlib.contextmanager
def watching() -> Iterator[Peak]:
    """Measures the peak resident set size of a block.

    By the kernel's counter; where that can't be reset, by a thread that samples, or by the
    lifetime's peak if the block has raised it.
    """
    peak = Peak()
    if reset():
        yield peak
        peak.bytes = _field("VmHWM")
        return
    before = _lifetime()
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLING_SECONDS):
            peak.bytes = max(peak.bytes, resident())

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    yield peak
    ended.set()
    thread.join()
    after = _lifetime()
    peak.bytes = after if after > before else max(peak.bytes, resident())


def _lifetime() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
