"""Pictures of a video as they are meant to be seen: whole, of square pixels and upright."""

from __future__ import annotations

import bisect
import io
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from pipelines.readers import Rejected, audio

JPEG_QUALITY = 92
MAX_SIDE = 8192  # Pixels of a picture; anything larger is a damaged header.

# A picture that comes a little before the one that it follows replaces it; one that comes much
# before it begins another recording.
_JUMP_SECONDS = 0.5


class Pictures:
    """Pictures and their times; encoded when they are asked for, each once.

    Args:
      size: pixels of the short side at most.
      aspect: of a pixel, its width divided by its height; None where the file doesn't say.
    """

    def __init__(self, size: int, aspect: Fraction | None) -> None:
        self.times: list[float] = []
        self.end = 0.0
        self._size = size
        self._aspect = aspect or Fraction(1)
        self._pixels: tuple[int, int] | None = None
        self._encoded: list[bytes] = []

    def add(self, frame: object, lasting: float, name: str) -> None:
        """Takes a decoded picture; one that isn't later than the one before replaces it.

        Args:
          frame: of PyAV; where it has no time, it follows the one before.
          lasting: seconds that it is to be seen for, where it doesn't say so.
          name: of the file, for messages.

        Raises:
          Rejected: another recording begins, a side above `MAX_SIDE`, a video that is too long.
        """
        time = self.end if frame.pts is None else float(frame.pts * frame.time_base)
        if frame.duration:
            lasting = float(frame.duration * frame.time_base)
        if self.times and time < self.times[-1] - _JUMP_SECONDS:
            raise Rejected(
                "several-videos",
                f"{name}: its time jumps back from {self.times[-1]:.2f} to {time:.2f} s, as where "
                "files were joined; cut it there",
            )
        if self._pixels is None:
            width, height = self._shown_size(frame, name)
            scale = min(self._size / min(width, height), 1.0)
            self._pixels = (max(round(width * scale), 1), max(round(height * scale), 1))
        picture = frame.to_image()
        if picture.size != self._pixels:
            from PIL import Image

            picture = picture.resize(self._pixels, Image.Resampling.BICUBIC)
        turn = _turn(frame)
        if turn is not None:  # One of Pillow's turns is 0.
            picture = picture.transpose(turn)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
        while self.times and self.times[-1] >= time:
            self.times.pop()
            self._encoded.pop()
        self.times.append(time)
        self._encoded.append(file.getvalue())
        self.end = time + lasting
        if self.end - self.times[0] > audio.MAX_SECONDS:
            raise Rejected(
                "too-long", f"{name} has more than {audio.MAX_SECONDS} s; cut it into clips"
            )

    def shown(self, times: np.ndarray) -> list[bytes]:
        """What is to be seen at those times; the first picture before its own."""
        places = [max(bisect.bisect_right(self.times, time) - 1, 0) for time in times]
        return [self._encoded[place] for place in places]

    def _shown_size(self, frame: object, name: str) -> tuple[int, int]:
        """Width and height in square pixels: one side is stretched, so that no line is lost."""
        width, height = frame.width, frame.height
        if self._aspect > 1:
            width = round(width * self._aspect)
        else:
            height = round(height / self._aspect)
        if not 0 < min(width, height) <= max(width, height) <= MAX_SIDE:
            stored = f"{frame.width} x {frame.height} pixels"
            shown = "" if self._aspect == 1 else f", to be shown as {width} x {height}"
            raise Rejected("odd-size", f"{name} has pictures of {stored}{shown}")
        return width, height


class Deinterlacer:
    """Makes whole pictures of interlaced ones, whose even and odd lines are of two moments.

    FFmpeg's bwdif keeps the lines of the first moment and finds the others between their neighbours
    in space and time. Pictures that no encoder called interlaced pass as they are.
    """

    def __init__(self) -> None:
        self._graph = None
        self._layout: tuple[int, int, str] | None = None

    def whole(self, frame: object) -> Iterator[object]:
        """Takes a decoded picture, and gives those that are whole by now, in their order."""
        layout = (frame.width, frame.height, frame.format.name)
        if layout != self._layout:
            yield from self.rest()
        if self._graph is None:
            if not frame.interlaced_frame:
                yield frame
                return
            self._graph, self._layout = _bwdif(frame), layout
        self._graph.vpush(frame)
        yield from self._ready()

    def rest(self) -> Iterator[object]:
        """Gives what waited for the next picture, when none comes any more."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()
            self._graph = None

    def _ready(self) -> Iterator[object]:
        import av

        while True:
            try:
                yield self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return


def _bwdif(frame: object) -> object:
    import av

    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            # A raw stream's pictures may have no time, and so no base of it.
            time_base=frame.time_base or Fraction(1, 25),
        ),
        graph.add("bwdif", "mode=send_frame:deint=interlaced"),
        graph.add("buffersink"),
    ).configure()
    return graph


def _turn(frame: object) -> object | None:
    """What makes a picture upright, as Pillow's `transpose` takes it: phones are held anyhow."""
    from PIL.Image import Transpose

    turns = {1: Transpose.ROTATE_90, 2: Transpose.ROTATE_180, 3: Transpose.ROTATE_270}
    if _is_mirrored(frame):
        turns = {
            0: Transpose.FLIP_TOP_BOTTOM,
            1: Transpose.TRANSVERSE,
            2: Transpose.FLIP_LEFT_RIGHT,
            3: Transpose.TRANSPOSE,
        }
    return turns.get(round(frame.rotation / 90) % 4)


def _is_mirrored(frame: object) -> bool:
    """Whether a picture is to be shown mirrored, which its angle doesn't tell."""
    try:
        matrix = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV has no name for some of what may lie beside it.
        return False
    if matrix is None:
        return False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    return a * d < b * c
