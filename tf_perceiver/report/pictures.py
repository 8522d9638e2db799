"""The report's pictures of examples: what the model answered, and where it looked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from tf_perceiver.report import sounds, style, videos

# The view on point clouds: from the front, to the right, a little from above; in degrees.
_ELEVATION, _AZIMUTH = 22, -60
_TOWARDS_EYE = np.array([0.46, -0.80, 0.37])
_BELOW = 14  # Characters of a label that fit below a picture, in bold and with a share.
_SCATTER = {"edgecolors": "none", "depthshade": False}


@dataclasses.dataclass(frozen=True)
class Sample:
    """An example and the model's answer.

    Attributes:
      array: what people see: image float32 [H, W, C] in [0, 1], points float32 [n, 3], the samples
        of a sound float32 [n], a video float32 [T, H, W, 3], or a video and its sound by name.
      input: what the model read, by name.
      truth: name of the true class.
      answer: name of the most probable class.
      score: probability of `answer`, in [0, 1].
      truth_score: probability of `truth`.
    """

    array: np.ndarray | Mapping[str, np.ndarray]
    input: Mapping[str, np.ndarray]
    truth: str
    answer: str
    score: float
    truth_score: float

    @property
    def right(self) -> bool:
        """Whether the answer is the truth."""
        return self.truth == self.answer


def samples(chosen: Sequence[Sample], columns: int = 6, rate: int = 0) -> Figure:
    """Draws examples with the model's answers; wrong ones tell the truth below.

    Args:
      chosen: at least one, all of one kind.
      columns: samples in a row.
      rate: of sounds, in Hz.
    """
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    figure = style.figure(1.75 * columns, 2.08 * rows)
    for index, sample in enumerate(chosen):
        axes = _cell(figure, rows, columns, index, sample.array, below=0.18)
        draw_input(axes, sample.array, rate)
        color = style.BLUE if sample.right else style.VERMILION
        mark = "\N{CHECK MARK}" if sample.right else "\N{BALLOT X}"
        name = style.plain(style.shorten(sample.answer, _BELOW))
        caption = f"{mark} {name} ({100 * sample.score:.0f} %)"
        _caption(axes, caption, color, line=0, weight="bold")
        if not sample.right:
            name = style.plain(style.shorten(sample.truth, _BELOW))
            truth = f"is {name} ({100 * sample.truth_score:.0f} %)"
            _caption(axes, truth, style.INK, line=1)
    return figure


def attention(
    arrays: Sequence[np.ndarray],
    maps: Sequence[np.ndarray],
    titles: Sequence[str],
    grid: tuple[int, ...] | None,
    rate: int = 0,
) -> Figure:
    """Draws where the first cross-attend looks: a row an example, a column a latent.

    Each map has its own scale, from no attention to the map's maximum. Colours follow the square
    root, else latents that look mostly at one place would be all dark. Below a map stands its
    maximum in multiples of the attention that every input would get if all got the same.

    Args:
      arrays: S examples, as in `Sample.array`.
      maps: S arrays float32 [K, M], each row a distribution over the M inputs.
      titles: K names of the maps.
      grid: what M enumerates: (rows, columns) of pictures, (times,) or (times, frequencies) of
        sounds, (times, rows, columns) of videos, None where inputs are points.
      rate: of sounds, in Hz.
    """
    rows, columns = len(arrays), 1 + len(titles)
    figure = style.figure(1.55 * columns, 1.8 * rows + 0.3)
    for row, (array, weights) in enumerate(zip(arrays, maps, strict=True)):
        axes = _cell(figure, rows, columns, row * columns, array, below=0.12, head=0.3)
        draw_input(axes, array, rate)
        if row == 0:
            axes.set_title("input", fontsize=9, color=style.INK)
        for column, (weight, title) in enumerate(zip(weights, titles, strict=True)):
            index = row * columns + column + 1
            axes = _cell(figure, rows, columns, index, array, below=0.12, head=0.3)
            if grid is None:
                _cloud(axes, array, np.sqrt(weight / weight.max()), "viridis")
            elif array.ndim == 1:
                sounds.draw_attention(axes, array, weight, grid)
            elif array.ndim == 4:
                videos.draw_attention(axes, array, weight, grid)
            else:
                axes.imshow(
                    weight.reshape(grid), cmap="viridis", interpolation="nearest",
                    norm=PowerNorm(0.5, 0, weight.max()),
                    extent=(0, array.shape[1], array.shape[0], 0),
                )  # fmt: skip
            if row == 0:
                axes.set_title(style.plain(title), fontsize=9, color=style.INK)
            maximum = f"max {weight.max() * weight.size:.3g} \N{MULTIPLICATION SIGN}"
            _caption(axes, maximum, style.FAINT)
    return figure


def draw_input(axes: Axes, array: np.ndarray | Mapping[str, np.ndarray], rate: int = 0) -> None:
    """Draws one example as people see it; see `Sample.array`. `rate` is a sound's, in Hz."""
    if isinstance(array, Mapping):
        videos.draw(axes, array["video"], array["audio"])
    elif array.ndim == 4:
        videos.draw(axes, array)
    elif array.ndim == 1:
        sounds.draw(axes, array, rate)
    elif array.ndim == 2:
        # Nearer is darker; the darkest third of the map would hide the difference.
        depth = array @ _TOWARDS_EYE
        near = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-6)
        _cloud(axes, array, 0.35 + 0.6 * near, "Blues")
    elif array.shape[-1] == 1:
        axes.imshow(array[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    else:
        axes.imshow(np.clip(array[..., :3], 0, 1), interpolation="nearest")


def _cell(
    figure: Figure, rows: int, columns: int, index: int,
    array: np.ndarray | Mapping[str, np.ndarray], *, below: float, head: float = 0.0,
) -> Axes:  # fmt: skip
    """Axes for one picture of a grid, without ticks; `below` is the share kept for captions.

    Placed by hand: an automatic layout moves the cells by the widths of their captions.
    """
    width, height = figure.get_size_inches()
    cell_height = (height - head) / rows
    row, column = divmod(index, columns)
    left = (column + 0.04) / columns
    bottom = (height - head - (row + 1) * cell_height + below * cell_height) / height
    box = (left, bottom, 0.92 / columns, (1 - below - 0.03) * cell_height / height)
    if not isinstance(array, Mapping) and array.ndim == 2:
        axes = figure.add_axes(box, projection="3d")
        axes.set_axis_off()
    else:
        axes = figure.add_axes(box)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    return axes


def _cloud(axes: Axes, points: np.ndarray, values: np.ndarray, colors: str) -> None:
    """Scatters points [n, 3], the third axis up, coloured by values [n] in [0, 1]."""
    centre = (points.max(axis=0) + points.min(axis=0)) / 2
    radius = max(float(np.ptp(points, axis=0).max()) / 2, 1e-6)
    size = float(np.clip(3000 / len(points), 0.6, 8)) * (0.6 + 1.2 * values)
    x, y, z = points.T
    axes.scatter(x, y, z, c=values, cmap=colors, vmin=0, vmax=1, s=size, **_SCATTER)
    axes.set(**{
        f"{axis}lim": (c - radius, c + radius) for axis, c in zip("xyz", centre, strict=True)
    })  # fmt: skip
    axes.set_box_aspect((1, 1, 1), zoom=1.25)
    axes.view_init(elev=_ELEVATION, azim=_AZIMUTH)


def _caption(axes: Axes, text: str, color: str, line: int = 0, weight: str = "normal") -> None:
    """A centred line of text below a cell, on the same height in every cell of a row."""
    axes.annotate(
        text, (0.5, 0.0), xycoords="axes fraction", xytext=(0, -11 - 9.5 * line),
        textcoords="offset points", ha="center", va="baseline",
        fontsize=7.5, color=color, fontweight=weight,
    )  # fmt: skip
