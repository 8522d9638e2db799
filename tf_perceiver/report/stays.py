"""Stays as people read them: a row a variable, hours from left to right, colour for the value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tf_perceiver.report import style

RANGE = 2.0  # Deviations from the mean to the ends of the colours.


def drawn(
    shown: Sequence[tuple[Mapping[str, np.ndarray], str]], names: Sequence[str], hours: float
) -> Figure:
    """Draws stays side by side, on the same rows.

    Args:
      shown: (inputs of the model, title) of each: "series" float32 [M, 2], time in [-1, 1] and
        normalised value; "series_variable" int [M]; "series_mask" bool [M].
      names: of the variables.
      hours: of observation.
    """
    rows = sorted({int(v) for one, _ in shown for v in one["series_variable"][one["series_mask"]]})
    places = {variable: row for row, variable in enumerate(rows)}
    figure = style.figure(1.6 + 1.25 * len(shown), 1.1 + 0.15 * len(rows), layout="constrained")
    panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, (one, title) in zip(panels, shown, strict=True):
        real = one["series_mask"]
        time = (one["series"][real, 0] + 1) / 2 * hours
        row = [places[int(variable)] for variable in one["series_variable"][real]]
        dots = axes.scatter(
            time, row, c=one["series"][real, 1], cmap="coolwarm", vmin=-RANGE, vmax=RANGE, s=5,
            linewidths=0,
        )  # fmt: skip
        axes.set_title(style.plain(title), fontsize=6.5, color=style.INK)
        axes.set(xlim=(-0.02 * hours, 1.02 * hours), xticks=[0, hours / 2, hours])
        axes.tick_params(labelsize=6.5)
        axes.set_facecolor("#f6f8fa")
        style.quiet(axes)
    panels[0].set_yticks(range(len(rows)), [style.plain(names[v]) for v in rows], fontsize=6.5)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    panels[len(panels) // 2].set_xlabel("hours", color=style.INK, fontsize=8)
    bar = figure.colorbar(dots, ax=list(panels), shrink=0.5, aspect=30, ticks=[-2, -1, 0, 1, 2])
    bar.set_label("deviations from the mean", color=style.INK, fontsize=7)
    bar.ax.tick_params(labelsize=6.5)
    bar.outline.set_visible(False)
    return figure
