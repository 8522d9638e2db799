"""Sounds in the report: what is where in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from tf_perceiver.report import pictures, sounds, style
from tf_perceiver.report.pictures import Sample

RATE = 8_000


def beep(start: float, stop: float, hertz: float) -> np.ndarray:
    """float32 [8000]: a second of silence with a tone from `start` to `stop`."""
    times = np.arange(RATE) / RATE
    inside = (times >= start) & (times < stop)
    return (0.3 * np.sin(2 * np.pi * hertz * times) * inside).astype(np.float32)


def sample(waveform: np.ndarray) -> Sample:
    return Sample(waveform, {"audio": waveform}, "cat", "cat", 0.9, 0.9)


@pytest.mark.parametrize("hertz", [300, 1000, 3000])
def test_a_beep_is_at_its_time_and_pitch(hertz):
    shown = sounds.spectrogram(beep(0.25, 0.5, hertz), RATE)
    rows, columns = shown.shape
    row, column = np.unravel_index(np.argmax(shown), shown.shape)
    assert 0.25 < column / columns < 0.5
    mel = 2595 * np.log10(1 + hertz / 700)
    assert row / (rows - 1) == pytest.approx(mel / (2595 * np.log10(1 + 4000 / 700)), abs=0.02)
    loud = np.flatnonzero(shown[row] > -20) / columns
    assert loud.min() == pytest.approx(0.25, abs=0.03)
    assert loud.max() == pytest.approx(0.5, abs=0.03)
    assert shown.max() == 0


def test_waveform_and_spectrogram_share_their_time():
    (axes,) = pictures.samples([sample(beep(0.25, 0.5, 1000))], rate=RATE).axes
    (image,) = axes.images
    assert tuple(image.get_extent()) == (0, 1, 0, 0.64)
    outline = axes.collections[0].get_paths()[0].vertices
    high = outline[outline[:, 1] > outline[:, 1].max() - 0.02, 0]
    assert 0.24 < high.min() < high.max() < 0.51
    assert outline[:, 1].max() < 1
    assert outline[:, 1].min() > 0.64


@pytest.mark.parametrize("grid", [(4, 5), (20,)])
def test_attention_is_drawn_over_time(grid):
    weight = np.zeros(grid, np.float32)
    weight[1] = 1 / weight[1].size
    waveform = beep(0, 1, 500)
    figure = pictures.attention([waveform], [weight.reshape(1, -1)], ["all"], grid, RATE)
    bars = figure.axes[1].patches[0].get_data()
    assert np.argmax(bars.values) == 1
    np.testing.assert_allclose(bars.edges, np.linspace(0, 1, grid[0] + 1))
    if len(grid) == 2:  # Frequencies upwards.
        shown = figure.axes[1].images[0]
        np.testing.assert_allclose(shown.get_array(), weight.T)
        assert shown.origin == "lower"


def test_silence_can_be_drawn():
    figure = pictures.samples([sample(np.zeros(RATE, np.float32))], rate=RATE)
    assert style.png(figure).startswith(b"\x89PNG")


def test_the_legend_says_how_long_and_how_high():
    assert "1.5 s from left to right, 0 to 4 kHz upwards" in sounds.legend(12_000, RATE)
    assert "0 to 16 kHz" in sounds.legend(48_000, 48_000)
