"""Clips and their reconstructions: frames above frames, waveform above waveform."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tf_perceiver.report import sounds, style

COLUMNS = 8  # Frames that are drawn of a clip.
_GAP = 2  # White pixels between the two lines of frames.


def chosen(count: int) -> np.ndarray:
    """int [n]: up to `COLUMNS` of `count` frames, evenly spaced, from the first to the last."""
    return np.linspace(0, count - 1, min(COLUMNS, count)).round().astype(int)


def strip(original: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """A clip's frames side by side, the original ones above the reconstructed ones.

    Args:
      original, frames: float32 [T, H, W, 3] in [0, 1].

    Returns:
      uint8 [2 H + gap, n W, 3].
    """
    places = chosen(len(original))
    upper, lower = (np.concatenate(list(clip[places]), 1) for clip in (original, frames))
    gap = np.ones((_GAP, *upper.shape[1:]))
    return np.round(255 * np.clip(np.concatenate([upper, gap, lower]), 0, 1)).astype(np.uint8)


def write(folder: Path, stem: str, answer: dict[str, np.ndarray], rate: int) -> tuple[Path, Path]:
    """Writes STEM_reconstruction.png, see `strip`, and STEM_reconstruction.wav.

    Args:
      folder: made where there is none. stem: of the files' names.
      answer: "frames", "original_frames" [T, H, W, 3]; "waveform" [n] in [-1, 1].
      rate: of the sound, in Hz.

    Returns:
      The picture's and the sound's path.
    """
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    picture, sound = (folder / f"{stem}_reconstruction{end}" for end in (".png", ".wav"))
    Image.fromarray(strip(answer["original_frames"], answer["frames"])).save(picture)
    # Into memory first: libsndfile opens a path by its own rules.
    file = io.BytesIO()
    soundfile.write(file, answer["waveform"], rate, format="WAV", subtype="PCM_16")
    sound.write_bytes(file.getvalue())
    return picture, sound


def draw(answers: Sequence[dict[str, np.ndarray]], titles: Sequence[str]) -> Figure:
    """Each clip's frames as `strip` has them, and below them both waveforms, to one scale.

    Args:
      answers: of clips, as for `write`, with "original_waveform" [n].
      titles: of each.
    """
    figure = style.figure(9.0, 2.9 * len(answers), layout="constrained")
    axes = figure.subplots(2 * len(answers), 1, squeeze=False, height_ratios=[2, 1] * len(answers))
    for i, (answer, title) in enumerate(zip(answers, titles, strict=True)):
        seen, heard = axes[2 * i, 0], axes[2 * i + 1, 0]
        seen.imshow(strip(answer["original_frames"], answer["frames"]), interpolation="nearest")
        seen.set_title(style.plain(title), fontsize=8, loc="left", color=style.INK)
        peak = max(float(np.abs(answer["original_waveform"]).max()), 1e-9)
        for middle, name, color in (
            (0.5, "original_waveform", style.BLUE),
            (-0.5, "waveform", style.VERMILION),
        ):
            # Both by the original's peak, so that one that is too quiet looks so.
            wave = np.clip(answer[name] / peak, -1, 1)
            half = 0.45 * float(np.abs(wave).max())
            sounds.draw_waveform(heard, wave, color, place=(middle, half))
        heard.set(xlim=(0, 1), ylim=(-1, 1))
        for one in (seen, heard):
            one.set_xticks([])
            one.set_yticks([])
            style.quiet(one, frame=True)
    return figure
