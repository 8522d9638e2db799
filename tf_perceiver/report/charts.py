"""The report's charts of numbers: curves, confusion matrix, accuracy by class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from tf_perceiver.report import style

ANNOTATED_CLASSES = 15  # Up to here a confusion matrix has room for its numbers,
LABELLED_CLASSES = 60  # and up to here for its labels.
_PIXEL_CLASSES = 500  # Up to here every class is at least two pixels of the picture.


@dataclasses.dataclass(frozen=True)
class Series:
    """One line of a curve: `values` at `steps`, both [n]; `held_out` for data not trained on."""

    name: str
    steps: np.ndarray
    values: np.ndarray
    held_out: bool = False


def curves(
    series: Sequence[Series], label: str, *, percent: bool = False, logarithmic: bool = False
) -> Figure:
    """Draws measures over training steps.

    Args:
      series: at least one; values that aren't finite leave a gap.
      label: what the values are, with their unit.
      percent: values are shares in [0, 1], shown as percentages.
      logarithmic: logarithmic values; for positive ones only.
    """
    figure = style.figure(5.4, 3.3, layout="constrained")
    axes = figure.add_subplot()
    for one in series:
        values = np.where(np.isfinite(one.values), one.values, np.nan)
        color = style.VERMILION if one.held_out else style.BLUE
        # Evaluations are few: dots show where they were. A single point has no line at all.
        marker = "o" if one.held_out or len(values) == 1 else None
        axes.plot(
            one.steps, values, color=color, marker=marker, markersize=3.5, linewidth=1.4,
            label=style.plain(one.name), zorder=3 if one.held_out else 2,
        )  # fmt: skip
    if percent:
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
    if logarithmic:
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("step", color=style.INK)
    axes.set_ylabel(style.plain(label), color=style.INK)
    axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.6)
    style.quiet(axes)
    if len(series) > 1:
        axes.legend(frameon=False, labelcolor=style.INK, fontsize=9)
    return figure


def confusion_matrix(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draws which class is taken for which, each row in percent of its class.

    With up to `ANNOTATED_CLASSES` the cells carry their numbers, with up to `LABELLED_CLASSES` the
    rows and columns their names. Beyond that it is a heat map; where a class would be thinner than
    a pixel, a cell shows the largest share of a block of classes, so that no confusion vanishes.

    Args:
      counts: int [classes, classes], row: truth, column: answer.
      labels: class names.
    """
    classes = len(labels)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, counts / np.maximum(totals, 1), np.nan)
    side = float(np.clip(2.6 + 0.38 * classes, 5.0, 10.0))
    figure = style.figure(side + 0.7, side, layout="constrained")
    axes = figure.add_subplot()
    block = -(-classes // _PIXEL_CLASSES)
    mesh = axes.imshow(
        _block_maximum(shares, block), interpolation="nearest",
        cmap=colormaps["Blues"].with_extremes(bad="#d9d9d9"),
        # The square root's scale: a confusion of 1 % is seen beside a diagonal of 95 %.
        norm=PowerNorm(0.5, 0, 1), extent=(-0.5, classes - 0.5, classes - 0.5, -0.5),
    )  # fmt: skip
    if classes <= LABELLED_CLASSES:
        size = 9 if classes <= ANNOTATED_CLASSES else 6.5
        names = [style.plain(style.shorten(label)) for label in labels]
        turn = 0 if max(map(len, names)) <= 2 else 90 if classes > ANNOTATED_CLASSES else 45
        anchor = {"ha": "right", "rotation_mode": "anchor"} if turn == 45 else {}
        axes.set_xticks(range(classes), names, fontsize=size, rotation=turn, **anchor)
        axes.set_yticks(range(classes), names, fontsize=size)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    if classes <= ANNOTATED_CLASSES:
        for row, column in np.argwhere(counts > 0):
            share = shares[row, column]
            text = f"{100 * share:.0f}" if share >= 0.01 else "<1"
            color = "white" if share > 0.3 else style.INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=color)
    unit = "" if classes <= LABELLED_CLASSES else " (class number)"
    axes.set_xlabel("answer" + unit, color=style.INK)
    axes.set_ylabel("truth" + unit, color=style.INK)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=30, ticks=[0, 0.01, 0.1, 0.25, 0.5, 1])
    bar.ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    bar.set_label("share of the class", color=style.INK)
    bar.outline.set_visible(False)
    style.quiet(axes, frame=True)
    return figure


def class_accuracy(counts: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draws every class's accuracy, best first, with the 95 % interval its examples allow.

    Args:
      counts: int [classes, classes], row: truth, column: answer. Classes without an example are
        left out.
      labels: class names.
    """
    totals = counts.sum(axis=1)
    kept = np.flatnonzero(totals)
    share = np.diag(counts)[kept] / totals[kept]
    order = np.argsort(-share, kind="stable")
    share, kept = share[order], kept[order]
    low, high = wilson_interval(share, totals[kept])
    position = np.arange(len(kept))
    if len(kept) > LABELLED_CLASSES:
        figure = style.figure(8.0, 3.6, layout="constrained")
        axes = figure.add_subplot()
        axes.fill_between(position + 1, low, high, color=style.BLUE, alpha=0.2, linewidth=0)
        axes.plot(position + 1, share, color=style.BLUE, linewidth=1.5)
        axes.set_xlabel("classes, best first", color=style.INK)
        axes.set_ylabel("accuracy", color=style.INK)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylim(0, 1.02)
    else:
        figure = style.figure(6.4, 0.9 + 0.19 * max(len(kept), 6), layout="constrained")
        axes = figure.add_subplot()
        axes.hlines(position, low, high, color=style.BLUE, alpha=0.35, linewidth=3)
        axes.plot(share, position, "o", color=style.BLUE, markersize=4.5)
        names = [style.plain(f"{style.shorten(labels[i])}  ({totals[i]:,})") for i in kept]
        axes.set_yticks(position, names, fontsize=8)
        axes.set_ylim(len(kept) - 0.4, -0.6)
        axes.set_xlim(0, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("accuracy (examples of the class in brackets)", color=style.INK)
    axes.grid(color=style.FAINT, alpha=0.25, linewidth=0.6)
    style.quiet(axes)
    return figure


def wilson_interval(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % Wilson score interval of a binomial share.

    Args:
      share: [n] in [0, 1].
      count: [n] number of trials, > 0.

    Returns:
      Lower and upper ends, each [n] within [0, 1].
    """
    z2 = 1.959964**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (share * (1 - share) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def _block_maximum(shares: np.ndarray, block: int) -> np.ndarray:
    """The largest value of each block x block cells; NaN only where a whole block is NaN."""
    if block == 1:
        return shares
    fill = -len(shares) % block
    padded = np.pad(np.nan_to_num(shares, nan=-1.0), ((0, fill), (0, fill)), constant_values=-1.0)
    side = len(padded) // block
    largest = padded.reshape(side, block, side, block).max(axis=(1, 3))
    return np.where(largest < 0, np.nan, largest)
