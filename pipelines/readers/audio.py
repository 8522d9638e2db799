"""Sound: files of any container and codec to a checked mono waveform at one rate.

WAV, FLAC, Ogg Vorbis, AIFF, AU and CAF are read by libsndfile, which is exact about their lengths;
everything else, MP3 inside WAV and the sound of videos among it, by FFmpeg through PyAV.
(libsndfile loses the last sixth of some MP3 files of 11,025 Hz, and keeps Opus's pre-skip.)
soxr resamples.
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np

from pipelines.readers import Rejected, audio_containers

# Extensions by which sound files are found; what is inside decides how they are read.
SUFFIXES = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".avi", ".caf", ".flac", ".m4a", ".mka", ".mkv"}
    | {".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".opus", ".snd", ".wav", ".weba"}
    | {".webm", ".wma"}
)
FULL_SCALE = 32768  # int16 of a sample of 1.0, as in WAV files and in tf.audio.decode_wav.
MAX_SECONDS = 600  # Of one clip: 58 MB at 48 kHz. What is longer is a recording to be cut first.
RATES = (1_000, 768_000)  # Hz; anything outside is a damaged header.
# Of files of floats. Filters overshoot full scale by a little and are clipped; whole numbers that
# were stored as floats would become a square wave.
MAX_PEAK = 8.0

_PIECE = 65_536  # Samples read at once.
_SNDFILE_MAGIC = (b"RIFF", b"RIFX", b"fLaC", b"OggS", b"FORM", b".snd", b"caff")
_ID3_HEADER = 10
_LACKING_SECONDS = 0.25  # A container's own length is rounded to packets; a cut file lacks more.


def read(data: bytes, name: str, sample_rate: int) -> np.ndarray:
    """Decodes a sound, mixes its channels to one and resamples it.

    Args:
      data: content of the file.
      name: file name, for the message.
      sample_rate: of the result, in Hz.

    Returns:
      int16 `[n]`, n >= 1; full scale is 32,768.

    Raises:
      Rejected: an empty file, no sound in it, a corrupt or cut one, no samples, NaN or infinity, a
        peak above `MAX_PEAK`, a rate outside `RATES`, more than `MAX_SECONDS`.
    """
    waveform = at_rate(*decode(data, name), sample_rate)
    if not len(waveform):
        raise Rejected("no-samples", f"{name}: too short for a sample at {sample_rate} Hz")
    return waveform


def at_rate(waveform: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    """Resamples float32 `[n]`, full scale being 1, from `rate` to `sample_rate` Hz.

    Returns:
      int16 `[m]`; m is 0 where there are too few samples for one.
    """
    if rate != sample_rate:
        import soxr

        waveform = soxr.resample(waveform, rate, sample_rate)
    # soxr's own conversion to int16 would add random dither: other bytes every time.
    scaled = np.rint(waveform * FULL_SCALE)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)


def decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Decodes a sound and mixes its channels to one, the mean of them.

    Args:
      data: content of the file.
      name: file name, for the message.

    Returns:
      float32 `[n]`, n >= 1, full scale being 1, and its own rate in Hz.

    Raises:
      Rejected: as `read`.
    """
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    audio_containers.check(data, name)
    decoded = None
    if data.startswith(_SNDFILE_MAGIC) and not _is_for_ffmpeg(data):
        decoded = _by_sndfile(data, name)
    if decoded is None and data.startswith(b"RIFX"):  # FFmpeg takes it for little-endian: noise.
        raise Rejected(
            "corrupt-sound", f"{name} is no RIFX file that libsndfile knows; convert it to WAV"
        )
    waveform, rate = _by_ffmpeg(data, name) if decoded is None else decoded
    check_decoded(waveform, rate, name)
    return waveform, rate


def check_decoded(waveform: np.ndarray, rate: int, name: str) -> None:
    """Checks what a decoder gave: float32 `[n]`, full scale being 1, and its rate in Hz.

    Raises:
      Rejected: no samples, a rate outside `RATES`, NaN or infinity, a peak above `MAX_PEAK`.
    """
    if not len(waveform):
        raise Rejected("no-samples", f"{name}: its sound is empty")
    if not RATES[0] <= rate <= RATES[1]:
        raise Rejected("odd-rate", f"{name} has {rate} samples a second")
    if not np.isfinite(waveform).all():
        raise Rejected("not-finite", f"{name} holds NaN or infinity")
    if (peak := float(np.abs(waveform).max())) > MAX_PEAK:
        raise Rejected("out-of-range", f"{name}: its peak is {peak:g}, floats should stay in ±1")


def check(waveform: np.ndarray, name: str) -> np.ndarray:
    """Checks a waveform of a record.

    Raises:
      Rejected: not int16 `[n]` with n >= 1.
    """
    if waveform.dtype != np.int16 or waveform.ndim != 1 or not len(waveform):
        raise Rejected("no-samples", f"{name}: {waveform.dtype} array of shape {waveform.shape}")
    return waveform


def _is_for_ffmpeg(data: bytes) -> bool:
    """Whether libsndfile would read too much or too little of a file of its own containers."""
    return (
        audio_containers.is_mpeg(data)
        or audio_containers.is_streamed_flac(data)  # Seeks beyond its end.
        or b"OpusHead" in data[:256]
        or audio_containers.is_chained(data)
    )


def _by_sndfile(data: bytes, name: str) -> tuple[np.ndarray, int] | None:
    """Waveform and rate; None where libsndfile doesn't know what is inside, or finds no sample.

    Raises:
      Rejected: damaged or cut, or too long.
    """
    import soundfile

    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except soundfile.LibsndfileError:
        return None
    with file:
        pieces = _Pieces(name, file.samplerate)
        try:
            while len(piece := file.read(_PIECE, dtype="float32", always_2d=True)):
                pieces.add(piece.mean(axis=1))
        except soundfile.LibsndfileError as error:
            raise Rejected("corrupt-sound", f"{name} is damaged ({error.error_string})") from None
        expected = file.frames
    waveform = pieces.joined()
    if not len(waveform):
        return None
    if len(waveform) < expected < 2**62:  # Without a count it is the largest number.
        raise Rejected(
            "truncated-sound", f"{name}: {len(waveform):,} of {expected:,} samples can be decoded"
        )
    return waveform, file.samplerate


def _by_ffmpeg(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Waveform and rate of a file's first sound.

    Raises:
      Rejected: no media file, no sound in it, damaged or cut, or too long.
    """
    import av

    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.audio:
                raise Rejected("no-sound", f"{name} has no audio track")
            stream = container.streams.audio[0]
            pieces, rate = None, 0
            for frame in _float_frames(container, stream, name):
                if pieces is None:
                    pieces, rate = _Pieces(name, frame.sample_rate), frame.sample_rate
                pieces.add(frame.to_ndarray().mean(axis=0))
            waveform = np.zeros(0, np.float32) if pieces is None else pieces.joined()
            seconds = None
            if _guesses_length(data, container.format.name):
                pass
            elif stream.duration is not None:
                seconds = float(stream.duration * stream.time_base)
            elif container.duration is not None and len(container.streams) == 1:
                seconds = container.duration / av.time_base
    except Rejected:
        raise
    except (av.FFmpegError, ValueError) as error:  # ValueError: channels that change on the way.
        detail = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise Rejected(
            "corrupt-sound", f"{name} is damaged, or no sound that FFmpeg knows ({detail})"
        ) from None
    if rate and seconds is not None and len(waveform) / rate < seconds - _LACKING_SECONDS:
        raise Rejected(
            "truncated-sound", f"{name} has {len(waveform) / rate:.2f} of {seconds:.2f} s"
        )
    return waveform, rate or RATES[0]


def _guesses_length(data: bytes, container: str) -> bool:
    """Whether FFmpeg divides the file's size by a bit rate, which is wrong where that varies."""
    if container == "mp3":
        start = 0
        if data.startswith(b"ID3"):  # A tag, with a picture it may be; seven bits of a byte count.
            size = data[_ID3_HEADER - 4 : _ID3_HEADER]
            start = _ID3_HEADER + sum(byte << 7 * (3 - place) for place, byte in enumerate(size))
        frames = data[start : start + _PIECE]
        return b"Xing" not in frames and b"Info" not in frames
    # The end of a WAV file has been checked by its chunk.
    return container == "aac" or (data[:4] == b"RIFF" and data[8:12] == b"WAVE")


def _float_frames(container: object, stream: object, name: str) -> Iterator[object]:
    """The stream's frames as planar floats, channels and rate as they are.

    Raises:
      Rejected: another rate on the way; frames of a FLAC file that are damaged or missing. Those
        missing at the end of a streamed one can't be known, unless it is cut within a frame.
    """
    import av

    converter = av.AudioResampler(format="fltp")
    is_flac = container.format.name == "flac"
    if is_flac:  # Otherwise damaged samples would be decoded to noise.
        stream.codec_context.options = {"err_detect": "crccheck+explode"}
    rate = due = 0
    for frame in container.decode(stream):
        rate = rate or frame.sample_rate
        if frame.sample_rate != rate:
            raise Rejected("corrupt-sound", f"{name}: its sample rate changes on the way")
        if is_flac:  # It counts its frames; FFmpeg skips damaged ones, or loses count of them.
            if frame.pts is None or round(frame.pts * frame.time_base * rate) != due:
                raise Rejected(
                    "corrupt-sound", f"{name}: damaged {due / rate:.2f} s from its start"
                )
            due += frame.samples
        yield from converter.resample(frame)
    yield from converter.resample(None)


class _Pieces:
    """Collects a waveform and gives up where it gets too long."""

    def __init__(self, name: str, rate: int) -> None:
        self._name, self._rate = name, rate
        self._pieces: list[np.ndarray] = []
        self._samples = 0

    def add(self, piece: np.ndarray) -> None:
        """Appends samples, float32 `[n]`."""
        self._pieces.append(piece)
        self._samples += len(piece)
        if self._samples > MAX_SECONDS * max(self._rate, RATES[0]):
            raise Rejected(
                "too-long", f"{self._name} has more than {MAX_SECONDS} s; cut it into clips"
            )

    def joined(self) -> np.ndarray:
        """All of it, float32 `[n]`."""
        return np.concatenate([np.zeros(0, np.float32), *self._pieces])
