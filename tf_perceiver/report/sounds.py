"""Sounds as people read them: the waveform above, its spectrogram below, on one axis of time."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm

from tf_perceiver.report import style

RANGE_DB = 70.0  # From white, and everything quieter, to the loudest place of the clip.
_HIGHEST = 16_000.0  # Hz; above it there is little to see.
_COLUMNS, _ROWS = 160, 80  # Of a drawn spectrogram.
_SPECTROGRAM = (0.0, 1.0, 0.0, 0.64)  # Left, right, bottom and top in the axes,
_WAVEFORM = (0.84, 0.15)  # and the waveform's middle and half its height.


def draw(axes: Axes, waveform: np.ndarray, rate: int) -> None:
    """Draws a clip's waveform, scaled to its own peak, and its spectrogram.

    Args:
      axes: without ticks.
      waveform: float32 [n].
      rate: in Hz.
    """
    shown = spectrogram(waveform, rate)
    axes.imshow(
        shown, cmap="Blues", vmin=-RANGE_DB, vmax=0, extent=_SPECTROGRAM, origin="lower",
        aspect="auto", interpolation="bilinear",
    )  # fmt: skip
    draw_waveform(axes, waveform, style.BLUE)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def draw_attention(
    axes: Axes, waveform: np.ndarray, weight: np.ndarray, grid: tuple[int, ...]
) -> None:
    """Draws how much a latent takes from each place of a clip.

    Over time and frequency a map, as of a picture, and above it the sum over the frequencies; over
    time alone the sum is everything, above the waveform.

    Args:
      axes: without ticks.
      waveform: float32 [n].
      weight: float32 [M], a distribution.
      grid: what M enumerates: (times,) or (times, frequencies).
    """
    weight = weight.reshape(grid)
    over_time = weight if weight.ndim == 1 else weight.sum(axis=1)
    if weight.ndim == 2:
        axes.imshow(
            weight.T, cmap="viridis", norm=PowerNorm(0.5, 0, weight.max()), extent=_SPECTROGRAM,
            origin="lower", aspect="auto", interpolation="nearest",
        )  # fmt: skip
        bottom, height = _WAVEFORM[0] - _WAVEFORM[1], 2 * _WAVEFORM[1]
    else:
        draw_waveform(axes, waveform, style.FAINT)
        bottom, height = 0.0, _SPECTROGRAM[3]
    edges = np.linspace(0, 1, len(over_time) + 1)
    axes.stairs(
        bottom + height * over_time / over_time.max(), edges, baseline=bottom, fill=True,
        color=style.VERMILION,
    )  # fmt: skip
    axes.set(xlim=(0, 1), ylim=(0, 1))


def spectrogram(waveform: np.ndarray, rate: int) -> np.ndarray:
    """A clip's spectrogram for the eye.

    Args:
      waveform: float32 [n].
      rate: in Hz.

    Returns:
      float64 [rows, columns]: dB below the loudest of them, the lowest frequency first; rows are
      evenly spaced on the mel scale from 0 to half the rate, or to 16 kHz. All -inf for silence.
    """
    window = int(2 ** np.ceil(np.log2(max(0.03 * rate, 16))))
    padded = np.pad(waveform, window // 2)
    starts = np.linspace(0, len(padded) - window, _COLUMNS).round().astype(int)
    frames = np.stack([padded[start : start + window] for start in starts]) * np.hanning(window)
    spectra = np.abs(np.fft.rfft(frames, 4 * window))
    top = 2595 * np.log10(1 + min(rate / 2, _HIGHEST) / 700)
    frequencies = 700 * (10 ** (np.linspace(0, top, _ROWS) / 2595) - 1)
    rows = np.round(frequencies * 4 * window / rate).astype(int)
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitudes = spectra[:, rows].T
        decibels = 20 * np.log10(magnitudes / magnitudes.max())
    return np.nan_to_num(decibels, nan=-np.inf, neginf=-np.inf)


def legend(samples: int, rate: int) -> str:
    """How to read the pictures of clips of so many samples, in a sentence."""
    high = min(rate / 2, _HIGHEST) / 1000
    return (
        f"Above the waveform, scaled to its own peak, below the spectrogram: {samples / rate:.3g} "
        f"s from left to right, 0 to {high:.3g} kHz upwards on the mel scale, {RANGE_DB:.0f} dB "
        "from white to dark."
    )


def draw_waveform(
    axes: Axes, waveform: np.ndarray, color: str, *,
    place: tuple[float, float] = _WAVEFORM, width: float = 1.0,
) -> None:  # fmt: skip
    """Draws the least and the largest sample of each of some hundred stretches, filled between.

    Args:
      axes: without ticks.
      waveform: float32 [n], drawn scaled to its own peak.
      color: of it.
      place: its middle and half its height, in data coordinates.
      width: from 0 to this, in data coordinates.
    """
    middle, half = place
    count = min(4 * _COLUMNS, len(waveform))
    scaled = waveform / max(float(np.abs(waveform).max()), 1e-9)
    # Of one length but for a sample; `array_split` has all the longer pieces first.
    starts = np.arange(count) * len(waveform) // count
    low, high = np.minimum.reduceat(scaled, starts), np.maximum.reduceat(scaled, starts)
    places = np.linspace(0, width, count)
    axes.plot([0, width], [middle, middle], color=color, linewidth=0.3)
    axes.fill_between(places, middle + half * low, middle + half * high, color=color, linewidth=0.3)
