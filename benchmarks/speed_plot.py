"""The picture of `benchmarks.speed`: structured against plain, and both against the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import report, subjects
from tf_perceiver.report import style

Row = Mapping[str, Any]

def figure(pairs: Sequence[tuple[Row | None, Row]]) -> style.Figure:
    """Two panels that share their rows.

    Left: seconds of the structured path as a share of the plain one's. Right: useful FLOP/s as a
    share of the machine's best matrix product.

    Args:
      pairs: (plain row or None, row) as `benchmarks.speed.pairs` gives them.
    """
    made = style.figure(10.0, 1.3 + 0.34 * len(pairs), layout="constrained")
    left, right = made.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    places = _places(pairs)
    for place, (plain, row) in zip(places, pairs, strict=True):
        share = 1.0
        if plain is not None:
            share = row["seconds"] / plain["seconds"]
            left.barh(place, 1.0, height=0.72, color=style.FAINT, alpha=0.25, linewidth=0)
            text = f"{report.seconds(plain['seconds'])} → {report.seconds(row['seconds'])}"
            text = f"{share:.2f}   {text}"
            right.plot(
                plain["share_of_matmul"], place, "o", color=style.VERMILION, markersize=5, zorder=3
            )
            right.plot(
                [plain["share_of_matmul"], row["share_of_matmul"]],
                [place, place],
                color=style.FAINT,
                linewidth=1,
            )
            left.barh(place, share, height=0.72, color=style.BLUE, linewidth=0)
        else:
            text = report.seconds(row["seconds"])
        left.text(
            max(share, 1.0) + 0.02 if plain is not None else 0.02,
            place,
            text,
            va="center",
            fontsize=8,
            color=style.INK,
        )
        colour = style.VERMILION if row["attention"] == "plain" else style.BLUE
        right.plot(row["share_of_matmul"], place, "o", color=colour, markersize=5, zorder=3)
    left.set_yticks(places, [_label(row) for _, row in pairs], fontsize=8)
    left.set_ylim(max(places) + 0.6, -0.6)
    left.set_xlim(0, 1.75)
    left.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    left.set_xlabel("time, as a share of the plain path's", color=style.INK)
    right.axvline(1.0, color=style.FAINT, linewidth=1)
    right.set_xlim(left=0)
    label = "useful FLOP/s, as a share of the\nmachine's best matrix product"
    right.set_xlabel(label, color=style.INK)
    right.plot([], [], "o", color=style.VERMILION, markersize=5, label="plain")
    right.plot([], [], "o", color=style.BLUE, markersize=5, label="structured, or the only one")
    handles, labels = right.get_legend_handles_labels()
    made.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=8, frameon=False)
    for axes in (left, right):
        axes.grid(axis="x", color=style.FAINT, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        style.quiet(axes)
    return made


def _places(pairs: Sequence[tuple[Row | None, Row]]) -> list[float]:
    """A row each, with a gap before every new name."""
    places, place = [], 0.0
    for i, (_, row) in enumerate(pairs):
        if i and row["name"] != pairs[i - 1][1]["name"]:
            place += 0.5
        places.append(place)
        place += 1
    return places


def _label(row: Row) -> str:
    return style.plain(f"{row['name']}, {subjects.MEASURES[row['measure']]}")
