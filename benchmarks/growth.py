"""How a cross-attend's time and memory grow with its inputs: `python -m benchmarks.growth`.

ImageNet's cross-attend (512 latents of 1,024 channels, Fourier positions, its MLP) forward and
backward over square pictures of 1 thousand to 200 thousand pixels, plainly and structured. Times
are medians of interleaved runs in one process, memory is a process of its own for every point.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import tensorflow as tf
from absl import flags

from benchmarks import (
    children,
    footprint,
    growth_plot,
    machine,
    quick,
    report,
    subjects,
    timing,
)

SIDES = (32, 64, 100, 160, 224, 316, 448)  # pixels; M is the square
QUICK_SIDES = (8, 16)
LARGE = 10_000  # inputs from which on growth is judged: below, the queries' side counts
MEASURE = "forward_backward"
MARGIN = 0.6  # of the free memory that the plain path may take

Point = tuple[int, str]  # side, attention


def subject_of(side: int, attention: str, small: bool = False) -> subjects.Subject:
    """ImageNet's cross-attend over side x side pixels."""
    model = subjects.config_of("imagenet", attention)
    model = quick.shrunk(model) if small else model
    positions = {**model["inputs"]["positions"], "max_resolution": (side, side)}
    model["inputs"] = {**model["inputs"], "positions": positions}
    return subjects.cross_attend(model, f"{side} x {side}", 1)


def plain_bytes(inputs: int, latents: int = 512, channels: int = 261) -> int:
    """About what the plain path holds at its peak, float32, going backward.

    Logits, probabilities, their gradients and copies of them; and as many arrays of the inputs'.
    """
    return 4 * (6 * latents * inputs + 10 * inputs * channels)


def _times(
    points: Sequence[Point], rounds: int, seconds: float, small: bool
) -> dict[Point, list[float]]:
    tf.get_logger().setLevel("ERROR")
    made = {point: subject_of(*point, small) for point in points}
    calls = {str(point): subject.calls[MEASURE] for point, subject in made.items()}
    times = timing.interleaved(calls, rounds, seconds)
    return {point: times[str(point)] for point in points}


def _memory(point: Point, small: bool) -> dict[str, int]:
    return footprint.peak_of(functools.partial(subject_of, *point, small), MEASURE)


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the structured rows of at least `LARGE` inputs say; empty with fewer than two of them.

    Returns:
      "inputs_ratio": largest M over smallest; "time_ratio": the same of the seconds;
      "time_per_input_ratio": 1 where time is linear; "bytes_per_input": what one input more takes
      at the peak, and "bytes_per_input_beyond": without the bytes of the batch itself.
    """
    judged = [
        row for row in rows if row["attention"] == "structured" and row["inputs"] >= LARGE
    ]
    if len(judged) < 2:
        return {}
    first, last = judged[0], judged[-1]
    more = last["inputs"] - first["inputs"]
    inputs, time = (last[key] / first[key] for key in ("inputs", "seconds"))
    peak, batch = (last[key] - first[key] for key in ("peak_bytes", "batch_bytes"))
    return {
        "inputs_ratio": inputs,
        "time_ratio": time,
        "time_per_input_ratio": time / inputs,
        "bytes_per_input": peak / more,
        "bytes_per_input_beyond": (peak - batch) / more,
    }


def show(rows: Sequence[Mapping[str, Any]], found: Mapping[str, float]) -> None:
    """Prints the table."""
    by_inputs: dict[int, dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        by_inputs.setdefault(row["inputs"], {})[row["attention"]] = row
    shown = []
    for inputs, paths in by_inputs.items():
        plain, row = paths.get("plain"), paths["structured"]
        shown.append(
            (
                f"{inputs:,}",
                "–" if plain is None else report.seconds(plain["seconds"]),
                report.seconds(row["seconds"]),
                report.ratio(row["seconds"], plain and plain["seconds"]),
                f"{row['seconds'] / inputs * 1e9:.0f} ns",
                "–" if plain is None else report.gibibytes(plain["peak_bytes"]),
                report.gibibytes(row["peak_bytes"]),
                report.gibibytes(row["batch_bytes"]),
            )
        )
    caption = ""
    if found:
        caption = (
            f"From {LARGE:,} inputs on: {found['inputs_ratio']:.1f} times the inputs take "
            f"{found['time_ratio']:.1f} times the time, and each input more takes "
            f"{found['bytes_per_input_beyond']:.0f} bytes beside its own in the batch."
        )
    header = ("M", "plain", "structured", "ratio", "an input", "plain", "structured", "the batch")
    report.show("A cross-attend, forward + backward: time and peak memory", header, shown, caption)


def define_flags() -> None:
    """The command's flags."""
    flags.DEFINE_list("side", None, f"Of the pictures; by default {', '.join(map(str, SIDES))}.")
    flags.DEFINE_integer("rounds", 5, "Turns at most.", lower_bound=1)
    flags.DEFINE_float("seconds", 60.0, "No round begins after these.", lower_bound=0.0)
    flags.DEFINE_bool("quick", False, "Models of toy size, one round: to see that it works.")
    flags.DEFINE_string("output", f"{report.FOLDER}/growth.json", "JSON; a .png beside it.")


def main(argv: list[str]) -> None:
    """Measures, prints, writes.

    Raises:
      ValueError: a side that is no number of pixels.
    """
    del argv
    asked = flags.FLAGS
    small, rounds = asked.quick, 1 if asked.quick else asked.rounds
    try:
        sides = [int(side) for side in asked.side or (QUICK_SIDES if small else SIDES)]
    except ValueError as error:
        raise ValueError(f"--side={','.join(asked.side)} is no list of numbers") from error
    free = MARGIN * psutil.virtual_memory().available
    points = [
        (side, path)
        for side in sides
        for path in subjects.ATTENTIONS
        if path == "structured" or plain_bytes(side**2) < free
    ]
    times = children.run(_times, points, rounds, asked.seconds, small)
    rows = [
        {
            "inputs": side**2,
            "attention": path,
            "seconds": timing.median(times[side, path]),
            "times": times[side, path],
            **children.run(_memory, (side, path), small),
        }
        for side, path in points
    ]
    found = summary(rows)
    show(rows, found)
    output = Path(asked.output)
    record = {"machine": machine.describe(), "quick": small, "summary": found, "rows": rows}
    report.write(output, record)
    report.draw(output.with_suffix(".png"), growth_plot.figure(rows))
    print(f"{output} and {output.with_suffix('.png')} written")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
