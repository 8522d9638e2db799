"""Video: files of any container and codec to pictures at one rate, with their sound, on one clock.

FFmpeg decodes both through PyAV. What counts is the time that the file gives each picture and each
sample, never their number: pictures of a variable rate are taken where a player would show them, a
sound that starts late begins with silence, and one that ends early ends with it.
"""

from __future__ import annotations

import dataclasses
import io

import numpy as np

from pipelines.readers import Rejected, audio
from pipelines.readers.video_pictures import Deinterlacer, Pictures

# Extensions by which video files are found; what is inside decides how they are read.
SUFFIXES = frozenset(
    {".3gp", ".asf", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg"}
    | {".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"}
)

# A sound that begins before the first picture by less is the codec's own lead-in: it is cut.
_LEAD_IN_SECONDS = 0.1
# Times are rounded by containers; a sound's samples follow each other unless they say more.
_GAP_SECONDS = 0.05
# A container's own length is rounded too; a cut file lacks more.
_LACKING_SECONDS = 0.25
_ROUNDED_SECONDS = 0.001  # Two of FFmpeg's lengths are the same if they differ by less.
_PACK = b"\0\0\1\xba"  # Begins every pack of an MPEG program stream.
_PACKET, _SYNC = 188, b"G"  # Bytes of a packet of an MPEG transport stream, and its first one.
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")  # An MP4 begins with one of them.
_LATER_BOXES = (b"emsg", b"meta", b"mfra", b"moof", b"pdin", b"sidx", b"styp", b"udta", b"uuid")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # Of Matroska and WebM.
_UNKNOWN_SIZE = 0xFFFFFF00  # Streamed files have such a size, or 0.
_OWN_LENGTHS = ("avi", "mov")  # FFmpeg's containers that give each track its length.


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video's pictures and sound. Picture k and sample k * rate / fps are of the same moment.

    Attributes:
      frames: JPEGs, all of one size, at least one.
      audio: int16 `[round(len(frames) * sample_rate / fps)]`; full scale is 32,768. Silence where
        the file has none.
      audio_present: whether the file has sound, which may be silence all the same.
    """

    frames: list[bytes]
    audio: np.ndarray
    audio_present: bool


def read(
    data: bytes,
    name: str,
    *,
    fps: int,
    size: int,
    sample_rate: int,
    need_sound: bool = False,
    start: float = 0.0,
    end: float | None = None,
) -> Clip:
    """Decodes a video and its first sound.

    The clip begins with the first picture (or with the sound, where that begins 0.1 s before it or
    earlier) and ends with whichever of the two ends last; a picture stays until the next
    one comes. So a single picture lasts as long as its sound, and without one it is one frame.
    Frame k shows what is to be seen in the middle of [k / fps, (k + 1) / fps), upright, in square
    pixels; of interlaced pictures the lines of their first moment.

    Args:
      data: content of the file.
      name: file name, for the message.
      fps: frames a second of the result.
      size: pixels of the short side at most: larger pictures are scaled down, smaller ones stay.
      sample_rate: of the resulting sound, in Hz.
      need_sound: whether a file without sound is rejected.
      start, end: seconds of the clip that are wanted; all to its end where `end` is None.

    Raises:
      Rejected: an empty file, no media file, no video track, no picture in it, a corrupt or cut
        one, several recordings in one, one that ends before `start`, more than
        `audio.MAX_SECONDS`; a sound that `audio.check_decoded` refuses; no sound where it is
        needed.
    """
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    _check_size(data, name)
    pictures, sound = _decode(data, name, size, need_sound, end)
    if not pictures.times:
        raise Rejected("no-frames", f"{name}: no picture of its video track can be decoded")
    lead = pictures.times[0] - (sound.start if sound.samples else pictures.times[0])
    origin = pictures.times[0] - (lead if lead >= _LEAD_IN_SECONDS else 0)
    last = max(pictures.end, sound.end if sound.samples else pictures.end)
    seconds = last - origin
    if seconds > audio.MAX_SECONDS:
        raise Rejected("too-long", f"{name} has {seconds:.0f} s; cut it into clips")
    first, wanted = round(start * fps), max(round(seconds * fps), 1)
    if end is not None:
        wanted = min(wanted, round(end * fps))
    if first >= wanted:
        raise Rejected("too-short", f"{name} has {seconds:.2f} s, wanted from {start:g} s on")
    frames = pictures.shown(origin + (np.arange(first, wanted) + 0.5) / fps)
    waveform = sound.between(
        origin + first / fps, round((wanted - first) * sample_rate / fps), sample_rate, name
    )
    return Clip(frames, waveform, bool(sound.samples))


def read_whole(
    data: bytes, name: str, *, fps: int, size: int, sample_rate: int, min_frames: int
) -> Clip:
    """Decodes a video whose sound and length a clip needs; the arguments are those of `read`.

    Args:
      min_frames: of the result, at `fps` a second.

    Raises:
      Rejected: as `read`; no sound; fewer frames.
    """
    clip = read(data, name, fps=fps, size=size, sample_rate=sample_rate, need_sound=True)
    if len(clip.frames) < min_frames:
        raise Rejected(
            "too-short",
            f"{name} ends after {len(clip.frames)} of a clip's {min_frames} frames at {fps} a "
            "second",
        )
    return clip


def seconds(data: bytes) -> float | None:
    """How long a media file says it is; None where it doesn't, or is none."""
    import av

    try:
        with av.open(io.BytesIO(data), format=_forced(data)) as container:
            return None if container.duration is None else container.duration / av.time_base
    except (av.FFmpegError, ValueError):
        return None


def check(frames: list[bytes], name: str) -> None:
    """Checks the pictures of a record.

    Raises:
      Rejected: none, one that is no whole JPEG, or one of another size than the first.
    """
    from PIL import Image

    if not len(frames):
        raise Rejected("no-frames", f"{name}: no picture")
    sizes = set()
    for number, frame in enumerate(frames):
        try:
            picture = Image.open(io.BytesIO(frame), formats=["JPEG"])
            picture.load()
        except Exception as error:  # Pillow's plugins raise many kinds.
            detail = " ".join(str(error).split())[:100]
            raise Rejected("corrupt-image", f"{name}: frame {number} ({detail})") from None
        sizes.add(picture.size)
    if len(sizes) > 1:
        raise Rejected("mixed-sizes", f"{name}: frames of {sorted(sizes)} pixels")


class _Sound:
    """Pieces of a waveform, placed by their times."""

    def __init__(self) -> None:
        self.start = 0.0
        self.rate = 0
        self.samples = 0
        self._pieces: list[np.ndarray] = []

    @property
    def end(self) -> float:
        """Seconds at which it ends."""
        return self.start + self.samples / self.rate if self.samples else self.start

    def add(self, piece: np.ndarray, rate: int, time: float | None, name: str) -> None:
        """Takes float32 `[n]`, with silence before it where it comes later than it should."""
        if not self.samples:
            self.start, self.rate = (0.0 if time is None else time), rate
        if rate != self.rate:
            raise Rejected("corrupt-sound", f"{name}: its sample rate changes on the way")
        missing = 0.0 if time is None else time - self.end
        if abs(missing) > _GAP_SECONDS:
            if missing > audio.MAX_SECONDS:
                raise Rejected("too-long", f"{name}: its sound has a gap of {missing:.0f} s")
            piece = np.pad(piece, (max(round(missing * rate), 0), 0))
            piece = piece[max(round(-missing * rate), 0) :]  # What was there already.
        self._pieces.append(piece)
        self.samples += len(piece)
        if self.samples > audio.MAX_SECONDS * self.rate:
            raise Rejected(
                "too-long", f"{name} has more than {audio.MAX_SECONDS} s; cut it into clips"
            )

    def between(self, start: float, count: int, rate: int, name: str) -> np.ndarray:
        """int16 `[count]` from `start` seconds on, at `rate`; silence where there is none."""
        result = np.zeros(count, np.int16)
        if not self.samples:
            return result
        waveform = np.concatenate(self._pieces)
        audio.check_decoded(waveform, self.rate, name)
        # Cut and padded in its own rate first: its own samples are the finer or the coarser
        # clock, but resampling moves nothing.
        place = round((self.start - start) * self.rate)
        waveform = waveform[max(-place, 0) :]
        waveform = np.pad(waveform, (max(place, 0), 0))
        found = audio.at_rate(waveform, self.rate, rate)[:count]
        result[: len(found)] = found
        return result


def _decode(
    data: bytes, name: str, size: int, need_sound: bool, end: float | None
) -> tuple[Pictures, _Sound]:
    """Pictures and samples of a file's first two tracks, those after `end` left out.

    Raises:
      Rejected: as `read`.
    """
    import av

    sound, fields = _Sound(), Deinterlacer()
    try:
        with av.open(io.BytesIO(data), format=_forced(data)) as container:
            videos = [stream for stream in container.streams.video if not _is_cover(stream)]
            if not videos:
                raise Rejected("no-video", f"{name} has no video track")
            if need_sound and not container.streams.audio:
                raise Rejected("no-sound", f"{name} has no audio track")
            video, sounds = videos[0], container.streams.audio[:1]
            video.thread_type = "NONE"  # The jobs are parallel already.
            pictures = Pictures(size, video.sample_aspect_ratio)
            converter = av.AudioResampler(format="fltp")
            rate = float(video.average_rate or video.guessed_rate or 25)
            for packet in container.demux(video, *sounds):
                if end is not None and _past(end, pictures, sound if sounds else None):
                    return pictures, sound
                for frame in packet.decode():
                    time = None if frame.pts is None else float(frame.pts * frame.time_base)
                    if frame.is_corrupt:  # FFmpeg fills the rest of a damaged picture in.
                        when = "" if time is None else f" at {time:.2f} s"
                        raise Rejected("corrupt-video", f"{name}: damaged or cut{when}")
                    if packet.stream.type == "video":
                        for whole in fields.whole(frame):
                            pictures.add(whole, 1 / rate, name)
                    else:
                        for converted in converter.resample(frame):
                            piece = converted.to_ndarray().mean(axis=0)
                            sound.add(piece, converted.sample_rate, time, name)
            for whole in fields.rest():
                pictures.add(whole, 1 / rate, name)
            if need_sound and not sound.samples:
                raise Rejected("no-sound", f"{name}: its audio track is empty")
            _check_end(container, video, pictures, sound, name)
    except Rejected:
        raise
    except (av.FFmpegError, ValueError) as error:
        detail = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise Rejected(
            "corrupt-video", f"{name} is damaged, or no video that FFmpeg knows ({detail})"
        ) from None
    return pictures, sound


def _forced(data: bytes) -> str | None:
    """FFmpeg's name of what it takes for something else where it is short, or None."""
    firsts = data[::_PACKET]
    return "mpegts" if len(firsts) > 2 and not firsts.strip(_SYNC) else None


def _past(end: float, pictures: Pictures, sound: _Sound | None) -> bool:
    """Whether everything up to `end` seconds has been decoded."""
    if not pictures.times or pictures.times[-1] < pictures.times[0] + end:
        return False
    return sound is None or sound.end > pictures.times[0] + end


def _check_size(data: bytes, name: str) -> None:
    """Looks for cuts that FFmpeg mends in silence.

    Raises:
      Rejected: a file that ends inside of what its container has announced.
    """
    if data[:4] == b"RIFF":
        said = int.from_bytes(data[4:8], "little") + 8
        expected = said if said < _UNKNOWN_SIZE else 0
    elif data[:4] == _PACK:
        expected = _program_stream_end(data)
    elif data[4:8] in _BOXES:
        expected = _boxes_end(data)
    elif data[:4] == _EBML:
        expected = _segment_end(data)
    elif data[:1] == data[_PACKET : _PACKET + 1] == _SYNC:
        expected = -(-len(data) // _PACKET) * _PACKET
    else:
        return
    if len(data) < expected:
        raise Rejected("truncated-video", f"{name} has {len(data):,} of {expected:,} bytes")


def _program_stream_end(data: bytes) -> int:
    """Where the packets of an MPEG program stream's last pack end."""
    place = data.rindex(_PACK)
    while data[place : place + 3] == _PACK[:3]:
        kind, header = data[place + 3 : place + 4], data[place : place + 14].ljust(14, b"\0")
        if kind == b"\xb9":  # The end of the stream.
            return place + 4
        if kind == b"\xba":  # A pack's header, of MPEG-2 or of MPEG-1.
            place += 14 + header[13] % 8 if header[4] >> 6 == 1 else 12
        else:
            place += 6 + int.from_bytes(header[4:6], "big")
    return place


def _boxes_end(data: bytes) -> int:
    """Where the last box of an MP4 or QuickTime file ends; what is behind it may be anything."""
    place = 0
    while place + 16 <= len(data) and data[place + 4 : place + 8] in (*_BOXES, *_LATER_BOXES):
        size = int.from_bytes(data[place : place + 4], "big")
        if size == 1:
            size = int.from_bytes(data[place + 8 : place + 16], "big")
        if size < 8:  # 0: to the end of the file. Others are none.
            return 0
        place += size
    return place


def _segment_end(data: bytes) -> int:
    """Where the segment of a Matroska file ends, 0 where it doesn't say so."""
    place = data.find(_SEGMENT, 0, 4096) + 4
    if place < 4 or place >= len(data) or not data[place]:
        return 0
    length = 9 - data[place].bit_length()  # Of the number, in bytes; the rest of its bits count.
    bits = 7 * length
    size = int.from_bytes(data[place : place + length], "big") & ((1 << bits) - 1)
    return 0 if size == (1 << bits) - 1 else place + length + size


def _is_cover(stream: object) -> bool:
    """Whether a track is the picture on a record's cover and not a video."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _check_end(
    container: object, video: object, pictures: Pictures, sound: _Sound, name: str
) -> None:
    """Looks for a file that ends before it says it does.

    Raises:
      Rejected: it does.
    """
    import av

    if not pictures.times:
        return
    kind, have = container.format.name, pictures.end - pictures.times[0]
    own = None if video.duration is None else float(video.duration * video.time_base)
    whole = None if container.duration is None else container.duration / av.time_base
    # FFmpeg gives a track without a length the whole file's, as a single picture's; so does ASF.
    if None not in (own, whole) and not kind.startswith(_OWN_LENGTHS):
        own = None if kind == "asf" or abs(own - whole) < _ROUNDED_SECONDS else own
    if own is not None:
        expected = own
    elif whole is not None:
        expected = whole
        starts = [pictures.times[0], *([sound.start] if sound.samples else [])]
        if kind.startswith("matroska"):  # Counts from 0, wherever it begins.
            starts = [0.0]
        have = max(pictures.end, sound.end) - min(starts)
    else:
        return
    longest = max(np.diff([*pictures.times, pictures.end]))
    if have < expected - max(_LACKING_SECONDS, 1.5 * longest):
        raise Rejected("truncated-video", f"{name} has {have:.2f} of {expected:.2f} s")
