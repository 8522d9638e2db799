"""Videos of real encoders with a flash and a beep at known times, for tests of the clock."""

from __future__ import annotations

import fractions
import io
from collections.abc import Sequence

import av
import numpy as np

FPS = 25
SECONDS = 3.0
SIDE = 64  # Pixels of the height; the width is half as much more.
FLASH = (1.2, 1.36)  # Seconds from and to which the picture is white.
BEEP = (1.2, 1.36)
HERTZ = 1000

# By name: container, codec of the pictures, codec of the sound, its rate.
KINDS = {
    "mp4, h264, aac": ("mp4", "libx264", "aac", 16_000),
    "matroska, h264, opus": ("matroska", "libx264", "libopus", 48_000),
    "webm, vp8, opus": ("webm", "libvpx", "libopus", 48_000),
    "avi, mpeg4, mp3": ("avi", "mpeg4", "libmp3lame", 44_100),
    "mpeg, mpeg1, mp2": ("mpeg", "mpeg1video", "mp2", 44_100),
}


def regular(seconds: float = SECONDS, fps: int = FPS) -> np.ndarray:
    """Times of pictures at an even rate."""
    return np.arange(round(seconds * fps)) / fps


def irregular(seconds: float = SECONDS, seed: int = 0) -> np.ndarray:
    """Times of pictures that come after 10 to 90 ms; one comes when the flash begins and ends."""
    draw = np.random.default_rng(seed)
    times = np.cumsum(draw.integers(10, 90, 200)) / 1000
    return np.unique(np.r_[0, times[times < seconds - 0.05], FLASH])


def picture(time: float, flash: Sequence[float] = FLASH, side: int = SIDE) -> np.ndarray:
    """uint8 `[side, 3 side / 2, 3]`: white while the flash lasts, else dark with a bright edge."""
    pixels = np.full((side, side * 3 // 2, 3), 255 if flash[0] <= time < flash[1] else 20, np.uint8)
    pixels[:, : side // 8] = 200  # So that a flip is seen.
    return pixels


def tone(rate: int, seconds: float = SECONDS, beep: Sequence[float] = BEEP) -> np.ndarray:
    """float32 `[n]`: silence but for the beep."""
    times = np.arange(round(seconds * rate)) / rate
    beeps = (times >= beep[0]) & (times < beep[1])
    return (0.7 * np.sin(2 * np.pi * HERTZ * times) * beeps).astype(np.float32)


def encoded(
    kind: str = "mp4, h264, aac",
    times: np.ndarray | None = None,
    *,
    sound: np.ndarray | None = None,
    sound_start: float = 0.0,
    silent: bool = False,
    flash: Sequence[float] = FLASH,
    side: int = SIDE,
) -> bytes:
    """A clip.

    Args:
      kind: one of `KINDS`.
      times: of the pictures in seconds; by default regular ones.
      sound: float32 `[n]` at the kind's rate; by default the tone.
      sound_start: seconds at which the sound begins; its beep stays where it is.
      silent: whether there is no audio track.
      flash: see `picture`. side: of the pictures.
    """
    container_name, video_codec, audio_codec, rate = KINDS[kind]
    times = regular() if times is None else times
    file = io.BytesIO()
    with av.open(file, "w", format=container_name) as container:
        video = container.add_stream(video_codec, rate=FPS)
        video.height, video.width, video.pix_fmt = side, side * 3 // 2, "yuv420p"
        video.codec_context.time_base = fractions.Fraction(1, FPS)
        if not np.allclose(times * FPS, np.round(times * FPS)):
            video.codec_context.time_base = fractions.Fraction(1, 1000)
        base = video.codec_context.time_base
        audio = None
        if not silent:
            audio = container.add_stream(audio_codec, rate=rate)
            audio.layout = "mono"
        for time in times:
            frame = av.VideoFrame.from_ndarray(picture(time, flash, side), format="rgb24")
            frame.pts, frame.time_base = round(float(time) / base), base
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            samples = tone(rate) if sound is None else sound
            samples = samples[round(sound_start * rate) :]
            converter = av.AudioResampler(
                format=audio.codec_context.format, layout="mono", rate=rate,
                frame_size=audio.codec_context.frame_size or 1024,
            )  # fmt: skip
            frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
            frame.sample_rate = rate
            frame.pts, frame.time_base = round(sound_start * rate), fractions.Fraction(1, rate)
            for converted in [*converter.resample(frame), *converter.resample(None)]:
                container.mux(audio.encode(converted))
            container.mux(audio.encode(None))
    return file.getvalue()
