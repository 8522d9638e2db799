"""Flow as people look at it: the colour wheel of Baker et al., and frames beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_perceiver.report import style

# Of the wheel: where each pure colour stands on it, out of 55 steps.
_PLACES = (0, 15, 21, 25, 36, 49, 55)
_COLOURS = np.array(
    [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], float
)
_BEYOND = 0.75  # How dark a motion gets that is longer than the largest.
_COLUMNS = ("first frame", "second frame", "true flow", "found flow", "error")


@dataclasses.dataclass(frozen=True)
class Example:
    """A pair and its answer.

    Attributes:
      frames: float [2, H, W, 3] in [0, 1].
      true, found: float [H, W, 2], in pixels.
      valid: bool [H, W], where the true one is known.
    """

    frames: np.ndarray
    true: np.ndarray
    found: np.ndarray
    valid: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """[H, W]: end-point errors in pixels, NaN where the truth isn't known."""
        distance = np.linalg.norm(self.found.astype(np.float64) - self.true, axis=-1)
        return np.where(self.valid, distance, np.nan)


def colours(
    flow: np.ndarray, valid: np.ndarray | None = None, largest: float | None = None
) -> np.ndarray:
    """A flow in the usual colours: hue for its direction, saturation for its length.

    Args:
      flow: [H, W, 2], (x, y) in pixels.
      valid: bool [H, W]; what isn't is black. None: everything is.
      largest: length that gets the full colour; None: the flow's own.

    Returns:
      uint8 [H, W, 3].

    Reference: Baker et al., A Database and Evaluation Methodology for Optical Flow, ICCV 2007.
    """
    lengths = np.linalg.norm(flow.astype(np.float64), axis=-1)
    known = np.ones(lengths.shape, bool) if valid is None else valid
    if largest is None:
        largest = float(lengths[known].max(initial=0))
    radius = lengths / max(largest, 1e-9)
    place = (np.arctan2(-flow[..., 1], -flow[..., 0]) / np.pi + 1) / 2 * (_PLACES[-1] - 1)
    pure = np.stack([np.interp(place, _PLACES, _COLOURS[:, c]) for c in range(3)], -1)
    radius = radius[..., None]
    colour = np.where(radius <= 1, 1 - radius * (1 - pure), _BEYOND * pure)
    return np.where(known[..., None], np.floor(255 * colour), 0).astype(np.uint8)


def wheel(side: int = 151) -> np.ndarray:
    """uint8 [side, side, 3]: the colours of all directions and lengths, white outside the disc."""
    axis = np.linspace(-1, 1, side)
    flow = np.stack(np.meshgrid(axis, axis), -1)
    inside = np.linalg.norm(flow, axis=-1) <= 1
    return np.where(inside[..., None], colours(flow, largest=1.0), 255).astype(np.uint8)


def draw(examples: Sequence[Example]) -> Figure:
    """A row an example: both frames, the true and the found flow in one scale, the error."""
    height, width = examples[0].valid.shape
    cell = 2.0
    row = cell * height / width + 0.32
    figure = style.figure(cell * len(_COLUMNS), row * len(examples) + 0.2)
    total = figure.get_size_inches()[1]
    for number, example in enumerate(examples):
        largest = float(np.linalg.norm(example.true[example.valid], axis=-1).max(initial=0))
        scale = max(largest, 1.0)  # Or nothing that moves would make noise look like much.
        error = example.error
        shown = (
            np.clip(example.frames[0], 0, 1),
            np.clip(example.frames[1], 0, 1),
            colours(example.true, example.valid, scale),
            colours(example.found, largest=scale),
            error,
        )
        notes = (
            "", "", f"up to {largest:.1f} px", "", f"mean {np.nanmean(error):.2f} px",
        )  # fmt: skip
        for column, (picture, note) in enumerate(zip(shown, notes, strict=True)):
            box = (
                (column + 0.02) / len(_COLUMNS),
                (total - 0.2 - row * (number + 1) + 0.22) / total,
                0.96 / len(_COLUMNS),
                (row - 0.28) / total,
            )
            axes = figure.add_axes(box)
            _draw(axes, picture, max(float(np.nanmax(error)), 1e-9))
            if not number:
                axes.set_title(_COLUMNS[column], fontsize=8, color=style.INK)
            axes.annotate(
                note, (0.5, 0), xycoords="axes fraction", xytext=(0, -10),
                textcoords="offset points", ha="center", fontsize=7, color=style.FAINT,
            )  # fmt: skip
    return figure


def draw_wheel() -> Figure:
    """The legend of `colours`."""
    figure = style.figure(1.6, 1.6)
    axes = figure.add_axes((0.05, 0.05, 0.9, 0.9))
    axes.imshow(wheel())
    axes.set_axis_off()
    return figure


def _draw(axes: Axes, picture: np.ndarray, largest: float) -> None:
    if picture.ndim == 2:
        axes.set_facecolor("black")  # Where the truth isn't known.
        axes.imshow(picture, cmap="viridis", vmin=0, vmax=largest, interpolation="nearest")
    else:
        axes.imshow(picture, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():  # What doesn't move is as white as the page.
        spine.set(color=style.FAINT, linewidth=0.4)
