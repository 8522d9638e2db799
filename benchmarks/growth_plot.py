"""The picture of `benchmarks.growth`: time and memory over the number of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.ticker import FuncFormatter, NullFormatter

from tf_perceiver.report import style

COLOURS = {"plain": style.VERMILION, "structured": style.BLUE}


def figure(rows: Sequence[Mapping[str, Any]]) -> style.Figure:
    """Two panels with logarithmic axes, a line for each path.

    Args:
      rows: with "inputs", "attention", "seconds", "peak_bytes" and "batch_bytes", by rising inputs.
    """
    made = style.figure(10.0, 4.2, layout="constrained")
    left, right = made.subplots(1, 2)
    for path, colour in COLOURS.items():
        of_path = [row for row in rows if row["attention"] == path]
        inputs = [row["inputs"] for row in of_path]
        for axes, values in (
            (left, [row["seconds"] for row in of_path]),
            (right, [row["peak_bytes"] / 2**20 for row in of_path]),
        ):
            axes.plot(inputs, values, "o-", color=colour, markersize=4.5, linewidth=1.5)
            if of_path:
                axes.annotate(
                    path,
                    (inputs[-1], values[-1]),
                    xytext=(6, 0),
                    textcoords="offset points",
                    va="center",
                    fontsize=9,
                    color=colour,
                )
    structured = [row for row in rows if row["attention"] == "structured"]
    inputs = [row["inputs"] for row in structured]
    last = structured[-1]
    left.plot(
        inputs,
        [last["seconds"] * n / last["inputs"] for n in inputs],
        ":",
        color=style.FAINT,
        label="proportional to M",
    )
    right.plot(
        inputs,
        [row["batch_bytes"] / 2**20 for row in structured],
        ":",
        color=style.FAINT,
        label="the batch itself",
    )
    for axes, label in (
        (left, "forward + backward, seconds"),
        (right, "peak memory above the process\nwithout a model, MiB"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlim(inputs[0] / 1.2, inputs[-1] * 2.6)
        axes.set_xlabel("inputs M", color=style.INK)
        axes.set_ylabel(label, color=style.INK)
        axes.xaxis.set_major_formatter(FuncFormatter(_count))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.6)
        axes.legend(loc="upper left", fontsize=8, frameon=False)
        style.quiet(axes)
    return made


def _count(value: float, _: int) -> str:
    """1k, 10k, 100k."""
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
