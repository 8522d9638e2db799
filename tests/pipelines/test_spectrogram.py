"""The log-mel spectrogram against NumPy, and the masks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from pipelines import spectrogram


def reference(
    waveform: np.ndarray, rate: int, window: int, hop: int, bins: int, low: float, high: float,
    floor: float,
) -> np.ndarray:  # fmt: skip
    """float64 [frames, bins], written from the definition; a loop for every frame and triangle."""

    def mel(hertz: float) -> float:
        return 1127 * np.log(1 + hertz / 700)

    points = 2 ** int(np.ceil(np.log2(window)))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    padded = np.concatenate([waveform.astype(np.float64), np.zeros(window)])
    corners = np.linspace(mel(low), mel(high), bins + 2)
    rows = []
    for start in range(0, len(waveform), hop):
        magnitudes = np.abs(np.fft.rfft(hann * padded[start : start + window], points))
        row = []
        for left, middle, right in zip(corners, corners[1:], corners[2:], strict=False):
            total = 0.0
            for k in range(1, len(magnitudes)):  # Without the constant, as HTK.
                place = mel(k * rate / points)
                rise, fall = (place - left) / (middle - left), (right - place) / (right - middle)
                total += max(0.0, min(rise, fall)) * magnitudes[k]
            row.append(max(20 * np.log10(max(total, 1e-5)), floor))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    ("samples", "rate", "window", "hop", "bins", "low", "high", "floor"),
    [
        (1000, 8_000, 200, 80, 20, 0.0, 4000.0, -100.0),
        (1001, 16_000, 256, 100, 16, 125.0, 7500.0, -50.0),
        (90, 48_000, 128, 64, 8, 20.0, 20_000.0, -100.0),
    ],
)
def test_values_are_the_definition_s(samples, rate, window, hop, bins, low, high, floor):
    noise = np.random.default_rng(samples).normal(size=samples).astype(np.float32) * 0.1
    noise[: samples // 3] = 0
    computed = spectrogram.log_mel(
        tf.constant(noise), rate, window=window, hop=hop, bins=bins, low=low, high=high, floor=floor
    )
    expected = reference(noise, rate, window, hop, bins, low, high, floor)
    assert computed.shape == expected.shape
    np.testing.assert_allclose(computed, expected, atol=2e-3)


def test_a_tone_is_loudest_in_its_bin():
    times = np.arange(8000) / 8000
    for hertz in (300, 1000, 2500):
        tone = tf.constant(np.sin(2 * np.pi * hertz * times), tf.float32)
        mel = spectrogram.log_mel(
            tone, 8000, window=400, hop=100, bins=40, low=0.0, high=4000.0, floor=-100.0
        )
        centres = 700 * (np.exp(np.linspace(0, np.log(1 + 4000 / 700), 42)[1:-1]) - 1)
        loudest = centres[np.argmax(mel.numpy()[20])]
        assert abs(loudest - hertz) < 0.06 * hertz + 30


@pytest.mark.parametrize("floor", [-100.0, -40.0])
def test_silence_is_the_floor(floor):
    mel = spectrogram.log_mel(
        tf.zeros(500), 8000, window=100, hop=50, bins=10, low=0.0, high=4000.0, floor=floor
    )
    np.testing.assert_allclose(mel, floor, atol=1e-4)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_is_one_band_of_the_mean_at_every_place_and_width(axis):
    values = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    length, seen = values.shape[axis], set()
    for number in range(400):
        seed = tf.constant([3, number], tf.int64)
        masked = spectrogram.mask(tf.constant(values), axis, 1, 4, seed).numpy()
        changed = (masked != values).all(axis=1 - axis)
        kept = np.compress(~changed, masked, axis)
        np.testing.assert_array_equal(kept, np.compress(~changed, values, axis))
        np.testing.assert_allclose(np.compress(changed, masked, axis), values.mean(), rtol=1e-4)
        places = np.flatnonzero(changed)
        assert len(places) <= 4
        assert len(places) == 0 or np.ptp(places) == len(places) - 1
        seen.add((len(places), places[0] if len(places) else -1))
    assert {width for width, _ in seen} == {0, 1, 2, 3, 4}
    assert {start for width, start in seen if width == 4} == set(range(length - 3))


def test_several_masks_may_be_asked_for_and_the_seed_decides():
    values = tf.constant(np.random.default_rng(0).normal(size=(40, 9)), tf.float32)
    seeds = [tf.constant([3, number], tf.int64) for number in (0, 0, 1)]
    first, same, other = (spectrogram.mask(values, 0, 3, 5, seed).numpy() for seed in seeds)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
