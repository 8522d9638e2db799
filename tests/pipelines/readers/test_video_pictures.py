"""Videos of real encoders whose pixels aren't square, or whose lines are of two moments."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from pipelines.readers import Rejected, video
from pipelines.readers.video_pictures import Pictures

HEIGHT, WIDTH, FPS = 64, 96, 25


def encoded(
    picture: Callable[[int], np.ndarray],
    aspect: Fraction = Fraction(1),
    *,
    container: str = "mp4",
    interlaced: bool = False,
) -> bytes:
    """Ten pictures, uint8 `[HEIGHT, WIDTH, 3]` each, given by their number."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        options = {"x264-params": "interlaced=1:bff=1"} if interlaced else {}
        stream = output.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(picture(number), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def decoded(data: bytes, size: int = 512) -> list[np.ndarray]:
    clip = video.read(data, "clip", fps=FPS, size=size, sample_rate=16_000)
    return [np.asarray(Image.open(io.BytesIO(frame)).convert("L"), int) for frame in clip.frames]


def square(number: int) -> np.ndarray:
    """A bright square of 32 pixels a side, in the middle."""
    del number
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[16:48, 32:64] = 255
    return pixels


@pytest.mark.parametrize("container", ["mp4", "matroska"])
@pytest.mark.parametrize(
    ("aspect", "size", "shape", "bright"),
    [
        (Fraction(2), 512, (64, 192), (32, 64)),
        (Fraction(1, 2), 512, (128, 96), (64, 32)),
        (Fraction(16, 15), 512, (64, 102), (32, 34)),
        (Fraction(2), 32, (32, 96), (16, 32)),
        (Fraction(1, 2), 48, (64, 48), (32, 16)),
    ],
)
def test_pixels_become_square(container, aspect, size, shape, bright):
    picture = decoded(encoded(square, aspect, container=container), size)[5]
    assert picture.shape == shape
    found = picture > 128
    assert (found.any(1).sum(), found.any(0).sum()) == pytest.approx(bright, abs=1)


def test_pixels_too_wide_to_be_true_are_named():
    frame = av.VideoFrame.from_ndarray(square(0), format="rgb24")
    with pytest.raises(Rejected, match="96 x 64 pixels, to be shown as 9600 x 64$") as caught:
        Pictures(512, Fraction(100)).add(frame, 0.04, "clip")
    assert caught.value.reason == "odd-size"


def moving(number: int) -> np.ndarray:
    """A bright bar that goes 6 pixels a picture; even lines are half a picture later."""
    pixels = np.full((HEIGHT, WIDTH, 3), 20, np.uint8)
    for late in range(2):
        left = 10 + 6 * number + 3 * late
        pixels[1 - late :: 2, left : left + 12] = 220
    return pixels


def edges(lines: np.ndarray) -> np.ndarray:
    """Where a bar begins, of every line but those at the border."""
    return (lines[4:-4] > 120).argmax(axis=1)


def test_the_lines_of_an_interlaced_picture_are_of_one_moment():
    pictures = decoded(encoded(moving, interlaced=True))
    assert len(pictures) == 10
    for number, picture in enumerate(pictures):
        np.testing.assert_allclose(edges(picture), 10 + 6 * number, atol=1)


def test_only_what_is_called_interlaced_is_touched():
    picture = decoded(encoded(moving))[5]
    assert edges(picture[1::2]).mean() == pytest.approx(40, abs=1)
    assert edges(picture[0::2]).mean() == pytest.approx(43, abs=1)
