"""Sounds of real encoders, damaged where decoders don't notice: rejected, and only those."""

from __future__ import annotations

import fractions
import io
import struct

import av
import numpy as np
import pytest
import soundfile

from pipelines.readers import Rejected, audio

RATE = 48_000
BEEPS = [0.5, 1.5, 2.5, 3.5]  # When they begin, in s.
SECONDS = 4


def beeps(rate: int = RATE) -> np.ndarray:
    """Faint noise with a beep in each second: int16 [n]."""
    times = np.arange(SECONDS * rate) / rate
    samples = 0.6 * np.sin(2 * np.pi * 1000 * times) * (np.abs(times % 1 - 0.55) <= 0.05)
    samples += np.random.default_rng(0).normal(size=len(samples)) / 1000
    return np.rint(32767 * samples).astype(np.int16)


def encoded(kind: str, subtype: str, rate: int = RATE, endian: str = "FILE") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, beeps(rate), rate, format=kind, subtype=subtype, endian=endian)
    return file.getvalue()


def by_ffmpeg(
    kind: str, codec: str, rate: int = RATE, options: dict[str, str] | None = None
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        wanted = stream.codec_context.format
        converter = av.AudioResampler(wanted, "mono", rate, frame_size=4096)
        frame = av.AudioFrame.from_ndarray(beeps(rate)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, fractions.Fraction(1, rate)
        for converted in [*converter.resample(frame), *converter.resample(None)]:
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return file.getvalue()


def begins(waveform: np.ndarray, rate: int) -> list[float]:
    """Seconds at which beeps begin."""
    loud = np.flatnonzero(np.abs(waveform) > 0.3) / rate
    return loud[np.diff(loud, prepend=-1) > 0.2].tolist()


def check_beeps(content: bytes, rate: int = RATE, exact: bool = True) -> None:
    decoded, found = audio.decode(content, "a")
    assert found == rate
    assert begins(decoded, rate) == pytest.approx(BEEPS, abs=0.005)
    if exact:
        np.testing.assert_array_equal(np.rint(decoded * 32768), beeps(rate))
    else:
        assert len(decoded) / rate == pytest.approx(SECONDS, abs=0.02)


def reject(content: bytes, message: str) -> None:
    with pytest.raises(Rejected, match=f"^{message}") as caught:
        audio.decode(content, "a")
    assert "\n" not in caught.value.detail


def pages(content: bytes) -> list[bytes]:
    """An Ogg file's pages."""
    found, place = [], 0
    while place < len(content):
        lengths = content[place + 27 :][: content[place + 26]]
        size = 27 + len(lengths) + sum(lengths)
        found.append(content[place : place + size])
        place += size
    return found


OGG = {
    "vorbis": lambda: encoded("OGG", "VORBIS"),
    "opus": lambda: encoded("OGG", "OPUS"),
    "opus by ffmpeg": lambda: by_ffmpeg("ogg", "libopus"),
    "flac by ffmpeg": lambda: by_ffmpeg("ogg", "flac"),
}


@pytest.mark.parametrize("name", OGG)
def test_an_ogg_file_with_any_page_damaged_or_missing_is_rejected(name):
    content = OGG[name]()
    check_beeps(content, exact="flac" in name)
    whole = pages(content)
    assert len(whole) > 3
    for index, page in enumerate(whole):
        before, behind = b"".join(whole[:index]), b"".join(whole[index + 1 :])
        for place in (18, 24, len(page) // 2, len(page) - 1):  # Its number, its checksum, its data.
            damaged = bytearray(page)
            damaged[place] ^= 1
            reject(before + damaged + behind, f"corrupt-sound: a: its page at byte {len(before):,}")
        if behind:
            reject(before + b"\0" * len(page) + behind, "corrupt-sound: a")
        if before and behind:
            reject(before + behind, f"corrupt-sound: a: a page is missing at byte {len(before):,}")
        if before:
            reject(before, "truncated-sound: a: its last page is missing")
            reject(before + page[:-1], "truncated-sound: a: its last page is missing")


def test_a_chain_of_ogg_sounds_is_whole():
    content = encoded("OGG", "VORBIS")
    decoded, rate = audio.decode(content + content, "a.ogg")
    expected = BEEPS + [SECONDS + second for second in BEEPS]
    assert begins(decoded, rate) == pytest.approx(expected, abs=0.02)
    cut = b"".join(pages(content)[:-1])
    reject(cut + content, f"corrupt-sound: a: a page is missing at byte {len(cut):,}")
    reject(content + cut, "truncated-sound: a")


def test_a_tag_behind_an_ogg_file_does_no_harm():
    check_beeps(encoded("OGG", "VORBIS") + b"TAG" + bytes(125), exact=False)


def mp3(rate: int) -> bytes:
    """Frames alone, as they are joined."""
    return by_ffmpeg("mp3", "libmp3lame", rate, {"write_xing": "0", "id3v2_version": "0"})


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (mp3(44_100), mp3(48_000)),
        (mp3(22_050), mp3(44_100)),
        (by_ffmpeg("adts", "aac", 16_000), by_ffmpeg("adts", "aac", 48_000)),
    ],
)
def test_a_rate_that_changes_on_the_way_is_rejected(first, then):
    reject(first + then, "corrupt-sound: a: its sample rate changes on the way")
    reject(then + first, "corrupt-sound: a: its sample rate changes on the way")
    decoded, rate = audio.decode(first + first, "a")
    expected = BEEPS + [SECONDS + second for second in BEEPS]
    assert begins(decoded, rate) == pytest.approx(expected, abs=0.3)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def with_samples(samples: bytes, size: int, behind: bytes) -> bytes:
    """A WAV file that says `size` of its samples."""
    start = encoded("WAV", "PCM_16")[12:36] + b"data" + struct.pack("<I", size)
    content = b"WAVE" + start + samples + behind
    return b"RIFF" + struct.pack("<I", len(content)) + content


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
@pytest.mark.parametrize(
    "behind",
    [
        b"",
        chunk(b"LIST", b"INFO" + chunk(b"ISFT", b"Lavf61.7.100\0\0")),
        chunk(b"bext", b"A" * 603) + chunk(b"id3 ", bytes(20)),
        chunk(b"bext", b"A" * 603)[:-1],
    ],
)
def test_chunks_behind_no_samples_are_no_sound(size, behind):
    reject(with_samples(b"", size, behind), "no-samples: a: its sound is empty")


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_streamed_samples_are_sound_whatever_they_are(size):
    check_beeps(with_samples(beeps().astype("<i2").tobytes(), size, b""))
    silence, _ = audio.decode(with_samples(bytes(2000), size, b""), "a")
    np.testing.assert_array_equal(silence, np.zeros(1000))


def test_chunks_behind_no_samples_of_core_audio_are_no_sound():
    file = io.BytesIO()
    soundfile.write(file, np.zeros(0), RATE, format="CAF", subtype="PCM_16")
    information = b"info" + struct.pack(">q", 600) + b"x" * 600
    reject(file.getvalue() + information, "no-samples: a: its sound is empty")


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32"])
def test_a_wav_with_big_numbers_first_is_read(subtype):
    content = encoded("WAV", subtype, endian="BIG")
    assert content.startswith(b"RIFX")
    check_beeps(content)
    reject(content[: len(content) * 97 // 100], "truncated-sound: a has")
    place = content.index(b"data") + 4
    streamed = content[:place] + bytes(4) + content[place + 4 :]  # FFmpeg would make noise of it.
    reject(streamed, "corrupt-sound: a is no RIFX file that libsndfile knows")


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
@pytest.mark.parametrize("subtype", ["ALAC_16", "ALAC_24", "PCM_16"])
def test_core_audio_is_whole(subtype, rate):
    content = encoded("CAF", subtype, rate)
    check_beeps(content, rate)
    for share in (0.1, 0.5, 0.97):
        reject(content[: int(share * len(content))], "(truncated|corrupt)-sound: a")


def test_core_audio_that_libsndfile_cannot_read_is_read():
    for codec in ("alac", "flac"):
        content = by_ffmpeg("caf", codec)
        with pytest.raises(soundfile.LibsndfileError):
            soundfile.read(io.BytesIO(content))
        check_beeps(content, exact=False)  # Of FFmpeg's own ALAC it loses some of the last samples.
        reject(content[: len(content) // 2], "(truncated|corrupt)-sound: a")


def streamed_flac(subtype: str) -> bytes:
    """Its header says no number of samples and no checksum, as behind a pipe."""
    content = bytearray(encoded("FLAC", subtype))
    content[21] &= 0xF0
    content[22:42] = bytes(20)
    return bytes(content)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24"])
def test_a_streamed_flac_is_read(subtype):
    check_beeps(streamed_flac(subtype))


def test_a_damaged_or_cut_streamed_flac_is_rejected():
    content = streamed_flac("PCM_16")
    start = content.index(b"\xff\xf8")  # Its first frame.
    for place in np.random.default_rng(0).integers(start, len(content), 30):
        damaged = bytearray(content)
        damaged[place] ^= 4
        reject(bytes(damaged), "corrupt-sound: a")
        reject(content[:place], "corrupt-sound: a")


@pytest.mark.parametrize(
    "content",
    [encoded("RF64", "PCM_16"), by_ffmpeg("wav", "pcm_s16le", options={"rf64": "always"})],
)
def test_a_wav_with_sizes_of_64_bits_that_lacks_its_end_is_rejected(content):
    assert content.startswith(b"RF64")
    check_beeps(content)
    check_beeps(b"BW64" + content[4:])
    check_beeps(content + chunk(b"LIST", b"INFO"))
    for lacking in (1, 100, len(content) * 3 // 100):
        reject(content[:-lacking], "truncated-sound: a has")
