"""Videos as people read them: a few frames of a clip in the order of time, its sound below them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from tf_perceiver.report import sounds, style

COLUMNS, ROWS = 2, 2  # Frames that are drawn, line by line.
_BELOW = 0.28  # Height of the sound, or of time, in heights of all frames.


def draw(axes: Axes, frames: np.ndarray, waveform: np.ndarray | None = None) -> None:
    """Draws evenly spaced frames, and the waveform of their sound scaled to its own peak.

    Args:
      axes: without ticks.
      frames: float32 [T, H, W, 3] in [0, 1].
      waveform: float32 [n], or None.
    """
    picture = mosaic(frames)
    height, width = picture.shape[:2]
    axes.imshow(picture, extent=(0, width, 0, height), interpolation="nearest")
    if waveform is not None:
        place = (-_BELOW * height / 2, 0.9 * _BELOW * height / 2)
        sounds.draw_waveform(axes, waveform, style.BLUE, place=place, width=width)
    axes.set(xlim=(0, width), ylim=(0 if waveform is None else -_BELOW * height, height))


def draw_attention(
    axes: Axes, frames: np.ndarray, weight: np.ndarray, grid: tuple[int, ...]
) -> None:
    """Draws how much a latent takes from each place of a clip, and below it from each time.

    Args:
      axes: without ticks.
      frames: float32 [T, H, W, 3].
      weight: float32 [M], a distribution.
      grid: what M enumerates: (times, rows, columns).
    """
    weight = weight.reshape(grid)
    over_time, over_place = weight.sum(axis=(1, 2)), weight.sum(axis=0)
    height, width = frames.shape[1:3]
    axes.imshow(
        over_place, cmap="viridis", norm=PowerNorm(0.5, 0, over_place.max()),
        extent=(0, width, 0, height), interpolation="nearest",
    )  # fmt: skip
    low = -_BELOW * height
    edges = np.linspace(0, width, len(over_time) + 1)
    axes.stairs(
        low * (1 - 0.9 * over_time / over_time.max()), edges, baseline=low, fill=True,
        color=style.VERMILION,
    )  # fmt: skip
    axes.set(xlim=(0, width), ylim=(low, height))


def mosaic(frames: np.ndarray) -> np.ndarray:
    """Evenly spaced frames side by side and line by line: [rows H, columns W, 3] in [0, 1].

    The first and the last are among them; of fewer frames than there is room for, some come twice.
    """
    places = np.linspace(0, len(frames) - 1, ROWS * COLUMNS).round().astype(int)
    chosen = np.clip(frames[places], 0, 1)
    height, width, channels = chosen.shape[1:]
    lines = chosen.reshape(ROWS, COLUMNS, height, width, channels).transpose(0, 2, 1, 3, 4)
    return lines.reshape(ROWS * height, COLUMNS * width, channels)


def legend(data: Mapping[str, Any]) -> str:
    """How to read the pictures of clips, in a sentence; `data` is `config.data`."""
    both = data["modality"] == "audio_video"
    cfg = data["audio_video"]["video"] if both else data["video"]
    seconds = cfg["frames"] * cfg["stride"] / cfg["fps"]
    text = f"{ROWS * COLUMNS} of {cfg['frames']} frames from {seconds:.3g} s, line by line"
    if not both:
        return text + "."
    heard = data["audio_video"]["audio"]
    seconds = heard["samples"] / heard["sample_rate"]
    return f"{text}; below them {seconds:.3g} s of sound, scaled to its own peak."
