"""The picture of `benchmarks.memory`: a bar for every measurement, paths one below the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import report
from tf_perceiver.report import style

COLOURS = {"plain": style.VERMILION, "structured": style.BLUE}


def figure(rows: Sequence[Mapping[str, Any]]) -> style.Figure:
    """Peak memory in GiB.

    Args:
      rows: with "title", "attention" and "peak_bytes", those of a title beside each other.
    """
    titles = list(dict.fromkeys(row["title"] for row in rows))
    made = style.figure(8.5, 1.2 + 0.6 * len(titles), layout="constrained")
    axes = made.add_subplot()
    longest = max(row["peak_bytes"] for row in rows) / 2**30
    for index, title in enumerate(titles):
        bars = [row for row in rows if row["title"] == title]
        for i, row in enumerate(bars):
            place = index + (i - (len(bars) - 1) / 2) * 0.38
            size = row["peak_bytes"] / 2**30
            axes.barh(place, size, height=0.34, color=COLOURS[row["attention"]], linewidth=0)
            text = report.gibibytes(row["peak_bytes"])
            axes.text(
                size + longest / 100, place, text, va="center", fontsize=8, color=style.INK
            )
    for path, colour in COLOURS.items():
        if any(row["attention"] == path for row in rows):
            axes.barh(0, 0, color=colour, label=path)
    axes.set_yticks(range(len(titles)), [style.plain(title) for title in titles], fontsize=8)
    axes.set_ylim(len(titles) - 0.4, -0.6)
    axes.set_xlim(0, longest * 1.15)
    axes.set_xlabel("peak memory above the process without a model, GiB", color=style.INK)
    axes.grid(axis="x", color=style.FAINT, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)
    made.legend(loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    style.quiet(axes)
    return made
