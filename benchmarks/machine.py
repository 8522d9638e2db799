"""The machine: what it is, and how fast it multiplies matrices, by which speeds are judged."""

from __future__ import annotations

import os
import pathlib
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tensorflow as tf

from benchmarks import timing

# [m, k] x [k, n]: a large square product, and the latent transformer's own (q, k and v together;
# one projection) at 512 latents of 1,024 channels.
SHAPES = ((2048, 2048, 2048), (512, 1024, 3072), (512, 1024, 1024))
PREFIX = "matmul "


def matmuls(
    dtype: tf.DType | str, shapes: Sequence[tuple[int, int, int]] = SHAPES
) -> dict[str, Callable[[], object]]:
    """{"matmul 512x1024x3072": a call that multiplies}, to be timed beside what is measured."""

    def product(m: int, k: int, n: int) -> Callable[[], object]:
        a = tf.cast(tf.random.stateless_normal((m, k), seed=(0, 0)), dtype)
        b = tf.cast(tf.random.stateless_normal((k, n), seed=(0, 1)), dtype)
        return lambda: tf.matmul(a, b)

    return {PREFIX + "x".join(map(str, shape)): product(*shape) for shape in shapes}


def rates(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """{"512x1024x3072": FLOP/s} from the times of `matmuls`, by their medians."""
    found = {}
    for name, seconds in times.items():
        if name.startswith(PREFIX):
            m, k, n = map(int, name.removeprefix(PREFIX).split("x"))
            found[name.removeprefix(PREFIX)] = 2 * m * k * n / timing.median(seconds)
    return found


def describe() -> dict[str, Any]:
    """Processor, cores, memory in bytes and versions, for the record that a benchmark writes."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "devices": [device.device_type for device in tf.config.list_physical_devices()],
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
