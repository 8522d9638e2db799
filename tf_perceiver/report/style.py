"""How the report's pictures look: colours, and the way from a Figure to PNG bytes.

Figures are made by matplotlib's object interface, so nothing here touches pyplot's global state, a
display or the caller's own figures. Colours are Okabe and Ito's, maps are Blues and viridis: all of
them can be told apart with any colour vision.
"""

from __future__ import annotations

import io

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 160
BLUE, VERMILION, INK, FAINT = "#0072B2", "#D55E00", "#24292f", "#8b949e"
_LABEL_CHARACTERS = 18  # As many fit beside a matrix.


def png(figure: Figure) -> bytes:
    """The figure as a PNG file's bytes; the same bytes for the same drawing."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def figure(width: float, height: float, **options: str) -> Figure:
    """An empty figure of `width` x `height` inches that belongs to no window."""
    made = Figure(figsize=(width, height), dpi=DPI, **options)
    FigureCanvasAgg(made)
    return made


def quiet(axes: Axes, frame: bool = False) -> None:
    """Takes away the lines that say nothing: the right and the upper one, or none with `frame`."""
    for side, spine in axes.spines.items():
        spine.set_visible(frame or side in ("left", "bottom"))
        spine.set_color(FAINT)
    axes.tick_params(colors=INK, length=2.5, width=0.6)


def shorten(label: str, most: int = _LABEL_CHARACTERS) -> str:
    """A label cut to so many characters, with an ellipsis where something was cut off."""
    if len(label) <= most:
        return label
    return label[: most - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def plain(text: str) -> str:
    """Text as it is: two dollar signs in a label would otherwise start a formula."""
    return text.replace("$", r"\$")
