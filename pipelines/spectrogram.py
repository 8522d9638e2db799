"""Log-mel spectrograms: the one module that tensorflow-io is imported in.

tensorflow-io is at the end of its life. What is used of it are plain TensorFlow operations behind
one function of ours, so the served graph needs nothing of it.
"""

from __future__ import annotations

import tensorflow as tf


def log_mel(
    waveform: tf.Tensor, sample_rate: int, *, window: int, hop: int, bins: int, low: float,
    high: float, floor: float,
) -> tf.Tensor:  # fmt: skip
    """The log-mel spectrogram of one waveform, in decibels.

    Frame t is the magnitude of the Fourier transform of samples `[t * hop, t * hop + window)` under
    a periodic Hann window, zeros behind the end; bin b is the sum of magnitudes weighted by the
    b-th of `bins` triangles, equally spaced on HTK's mel scale from `low` to `high`; the value is
    20 log10 of that, at least `floor`.

    Args:
        waveform: float32 `[samples]`, full scale being 1.
        sample_rate: in Hz.
        window: samples of a frame; its transform has the next power of two.
        hop: samples from frame to frame.
        bins: number of mel bins.
        low: lower edge of the first triangle in Hz.
        high: upper edge of the last one in Hz, at most half the rate.
        floor: least value in dB, that of silence; not below -100, where TensorFlow I/O has its own.

    Returns:
        float32 `[ceil(samples / hop), bins]`, in dB.
    """
    # Imported here: what has no sound doesn't wait for its libraries.
    import tensorflow_io as tfio

    points = 1 << (window - 1).bit_length()
    magnitudes = tfio.audio.spectrogram(waveform, nfft=points, window=window, stride=hop)
    mel = tfio.audio.melscale(magnitudes, rate=sample_rate, mels=bins, fmin=low, fmax=high)
    # No clip is cut relative to its own maximum: 1,000 dB below it lies under any floor.
    return tf.maximum(tfio.audio.dbscale(mel, top_db=1000.0), floor)


def mask(
    spectrogram: tf.Tensor, axis: int, count: int, width: int, seed: tf.Tensor
) -> tf.Tensor:
    """Sets random bands of a spectrogram to its mean: one half of SpecAugment (arXiv 1904.08779).

    Each band is as wide as a uniform draw from 0 to `width` and starts at a uniform place where it
    fits. tensorflow-io's masks aren't used: they draw from the global generator.

    Args:
        spectrogram: float32 `[frames, bins]`.
        axis: 0 masks frames (time), 1 masks bins (frequency).
        count: number of bands, which may overlap.
        width: of a band at most, no more than the axis has.
        seed: int64 `[2]`.

    Returns:
        float32 `[frames, bins]`.
    """
    length = spectrogram.shape[axis]
    draws = tf.random.stateless_uniform([2, count], seed)
    widths = tf.floor(draws[0] * (width + 1))
    starts = tf.floor(draws[1] * (length - widths + 1))
    place = tf.range(length, dtype=tf.float32)[:, None]
    inside = tf.reduce_any((place >= starts) & (place < starts + widths), axis=1)
    inside = inside[:, None] if axis == 0 else inside[None, :]
    return tf.where(inside, tf.reduce_mean(spectrogram), spectrogram)
