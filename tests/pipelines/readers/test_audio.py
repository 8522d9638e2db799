"""Sounds of real encoders: decoded to what was encoded, or rejected with the reason."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
import soundfile

from pipelines.readers import Rejected, audio

RATE = 16_000
SECONDS = 1.5
CLICK = 0.75  # When the loudest sample is.


def waveform(rate: int = RATE) -> np.ndarray:
    """A quiet tone of 440 Hz with a click: float32 [n]."""
    times = np.arange(int(SECONDS * rate)) / rate
    samples = 0.2 * np.sin(2 * np.pi * 440 * times)
    samples[int(CLICK * rate)] = 0.9
    return samples.astype(np.float32)


def encoded(samples: np.ndarray, kind: str, subtype: str, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def by_ffmpeg(
    samples: np.ndarray, kind: str, codec: str, rate: int = RATE, qscale: bool = False
) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.codec_context.qscale = qscale
        converter = av.AudioResampler(format=stream.codec_context.format, layout="mono", rate=rate)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = RATE
        for converted in [*converter.resample(frame), *converter.resample(None)]:
            container.mux(stream.encode(converted))
        container.mux(stream.encode(None))
    return file.getvalue()


def mp3_in_wav(rate: int = RATE) -> bytes:
    """MP3 frames in a RIFF container, as phones and sound libraries make them."""
    frames = by_ffmpeg(waveform(), "mp3", "libmp3lame", rate)
    # The second byte says MPEG-2.5, 2 or 1; what is before the first frame is a tag.
    frames = frames[frames.index(b"\xff" + {11_025: b"\xe3", 16_000: b"\xf3"}.get(rate, b"\xfb")) :]
    layout = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate, 4000, 1, 0, 12, 1, 2, 576, 1, 0)
    chunks = b"fmt " + struct.pack("<I", len(layout)) + layout
    chunks += b"data" + struct.pack("<I", len(frames)) + frames
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


# (content, tolerance of samples) for what keeps samples; lossy codecs are compared by their click.
EXACT = [
    ("WAV", "PCM_U8", 1 / 127),
    ("WAV", "PCM_16", 2**-15),
    ("WAV", "PCM_24", 2**-23),
    ("WAV", "PCM_32", 2**-23),
    ("WAV", "FLOAT", 0),
    ("WAV", "DOUBLE", 0),
    ("WAV", "ALAW", 0.03),
    ("WAV", "ULAW", 0.03),
    ("WAVEX", "PCM_24", 2**-23),
    ("RF64", "PCM_16", 2**-15),
    ("FLAC", "PCM_16", 2**-15),
    ("FLAC", "PCM_24", 2**-23),
    ("AIFF", "PCM_16", 2**-15),
    ("AU", "PCM_16", 2**-15),
    ("CAF", "PCM_16", 2**-15),
    ("W64", "PCM_16", 2**-15),
]
LOSSY = {
    "vorbis": lambda: encoded(waveform(), "OGG", "VORBIS"),
    "opus in ogg": lambda: by_ffmpeg(waveform(), "ogg", "libopus", 48_000),
    "opus in webm": lambda: by_ffmpeg(waveform(), "webm", "libopus", 48_000),
    "mp3": lambda: by_ffmpeg(waveform(), "mp3", "libmp3lame"),
    "mp3 by libsndfile": lambda: encoded(waveform(), "MP3", "MPEG_LAYER_III"),
    "aac in matroska": lambda: by_ffmpeg(waveform(), "matroska", "aac"),
}


@pytest.mark.parametrize(("kind", "subtype", "tolerance"), EXACT)
def test_samples_come_back(kind, subtype, tolerance):
    decoded, rate = audio.decode(encoded(waveform(), kind, subtype), "a")
    assert (rate, decoded.dtype) == (RATE, np.float32)
    np.testing.assert_allclose(decoded, waveform(), atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", LOSSY)
def test_lossy_codecs_keep_their_time(name):
    decoded, rate = audio.decode(LOSSY[name](), name)
    assert len(decoded) / rate == pytest.approx(SECONDS, abs=0.08)
    click = np.argmax(np.abs(np.diff(decoded, 2))) + 1
    assert click / rate == pytest.approx(CLICK, abs=0.002)


@pytest.mark.parametrize("rate", [11_025, 16_000, 44_100])
def test_mp3_in_wav_is_whole(rate):
    decoded, found = audio.decode(mp3_in_wav(rate), "a.wav")
    assert found == rate
    # Without the encoder's own header nothing says how long its delay was.
    assert len(decoded) / rate == pytest.approx(SECONDS, abs=0.25)
    assert len(decoded) / rate >= SECONDS


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_channels_are_averaged(kind):
    left, right = waveform(), np.roll(waveform(), 100) / 2
    both = np.stack([left, right, left], axis=1)
    decoded, _ = audio.decode(encoded(both, kind, None), "a")
    np.testing.assert_allclose(decoded, both.mean(axis=1), atol=2**-15)


def test_what_has_the_rate_already_is_kept_to_the_bit():
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 1000, np.int16)
    read = audio.read(encoded(samples, "WAV", "PCM_16"), "a.wav", RATE)
    assert read.dtype == np.int16
    np.testing.assert_array_equal(read, samples)


@pytest.mark.parametrize("source", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_resampling_keeps_pitch_loudness_and_time(source):
    times = np.arange(source) / source
    tone = (0.5 * np.sin(2 * np.pi * 1000 * times)).astype(np.float32)
    read = audio.read(encoded(tone, "WAV", "FLOAT", source), "a.wav", RATE)
    assert len(read) == RATE
    expected = 0.5 * 32768 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    np.testing.assert_allclose(read[500:-500], expected[500:-500], atol=40)
    np.testing.assert_array_equal(
        read, audio.read(encoded(tone, "WAV", "FLOAT", source), "a.wav", RATE)
    )


def test_silence_and_a_single_sample_are_sounds():
    assert not audio.read(encoded(np.zeros(100), "WAV", "PCM_16"), "a.wav", RATE).any()
    assert audio.read(encoded(np.ones(1) / 2, "WAV", "PCM_16"), "a", RATE).tolist() == [16384]


def test_floats_a_little_over_full_scale_are_clipped():
    read = audio.read(encoded(np.array([1.5, -1.5, 0.5]), "WAV", "FLOAT"), "a.wav", RATE)
    assert read.tolist() == [32767, -32768, 16384]


def test_the_sound_of_a_video_is_read():
    decoded, rate = audio.decode(clip(sound=True), "a.mp4")
    assert rate == RATE
    assert len(decoded) / rate == pytest.approx(SECONDS, abs=0.15)


def clip(sound: bool) -> bytes:
    """An MP4 of ten frames, with the waveform as its sound or without."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        video = container.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        track = container.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for index in range(10):
            picture = np.full((32, 32, 3), 20 * index, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(video.encode(None))
        if track:
            frame = av.AudioFrame.from_ndarray(waveform()[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux(track.encode(frame))
            container.mux(track.encode(None))
    return file.getvalue()


def nan() -> bytes:
    return encoded(np.array([0.1, np.nan, 0.2]), "WAV", "FLOAT")


def of_rate(rate: int) -> bytes:
    content = bytearray(encoded(waveform(), "WAV", "PCM_16"))
    struct.pack_into("<I", content, 24, rate)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty-file"),
        (b"not a sound, but words " * 99, "corrupt-sound"),
        (b"RIFF", "corrupt-sound"),
        (b"OggS", "truncated-sound"),
        (clip(sound=False), "no-sound"),
        (encoded(np.zeros(0), "WAV", "PCM_16"), "no-samples"),
        (nan(), "not-finite"),
        (encoded(np.array([0.1, np.inf]), "WAV", "DOUBLE"), "not-finite"),
        (encoded(1000 * waveform(), "WAV", "FLOAT"), "out-of-range"),
        (of_rate(10), "odd-rate"),
        (encoded(np.zeros(601 * 1000), "WAV", "PCM_U8", 1000), "too-long"),
        (by_ffmpeg(np.zeros(601 * RATE, np.float32), "mp3", "libmp3lame"), "too-long"),
    ],
)
def test_what_is_no_good_is_rejected_with_the_reason(content, reason):
    with pytest.raises(Rejected) as caught:
        audio.read(content, "folder/a.wav", 8_000)
    assert caught.value.reason == reason
    assert caught.value.detail.startswith("folder/a.wav")
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize("share", [0.3, 0.6])
@pytest.mark.parametrize(
    "content",
    [
        *(encoded(waveform(), kind, subtype) for kind, subtype, _ in EXACT if kind in
          ("WAV", "WAVEX", "FLAC", "AIFF", "AU", "RF64", "CAF", "W64")),
        *(make() for make in LOSSY.values()),
        mp3_in_wav(),
        clip(sound=True),
    ],
)  # fmt: skip
def test_a_cut_file_is_rejected(content, share):
    with pytest.raises(Rejected, match="truncated-sound|corrupt-sound"):
        audio.decode(content[: int(share * len(content))], "a")


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_streamed_wav_says_no_length_and_is_read(size):
    content = bytearray(encoded(waveform(), "WAV", "PCM_16"))
    struct.pack_into("<I", content, content.index(b"data") + 4, size)
    decoded, _ = audio.decode(bytes(content), "a.wav")
    np.testing.assert_allclose(decoded, waveform(), atol=2**-15)


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def test_chunks_before_and_behind_the_samples_dont_matter():
    plain = encoded(waveform(), "WAV", "PCM_16")
    content = plain[:12] + chunk(b"JUNK", b"x" * 27) + plain[12:] + chunk(b"LIST", b"INFO") + b"x"
    decoded, _ = audio.decode(content, "a.wav")
    np.testing.assert_allclose(decoded, waveform(), atol=2**-15)
    with pytest.raises(Rejected, match="corrupt-sound: a.wav has two chunks of samples"):
        audio.decode(plain + chunk(b"LIST", b"odd") + chunk(b"data", plain[44:]), "a.wav")


def test_sounds_that_were_joined_are_read_one_after_the_other():
    once = encoded(waveform(), "OGG", "VORBIS")
    decoded, rate = audio.decode(once + once, "a.ogg")
    assert len(decoded) / rate == pytest.approx(2 * SECONDS, abs=0.1)
    loud = np.flatnonzero(np.abs(decoded) > 0.6) / rate
    assert loud[[0, -1]] == pytest.approx([CLICK, CLICK + SECONDS], abs=0.08)


def tagged(frames: bytes, size: int) -> bytes:
    """An MP3 behind an ID3 tag, as large as that of a picture of the cover."""
    digits = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + digits + bytes(size) + frames


@pytest.mark.parametrize("size", [500, 300_000])
def test_a_cut_mp3_is_rejected_behind_a_tag_of_any_size(size):
    content = by_ffmpeg(waveform(), "mp3", "libmp3lame")
    frames = content[content.index(b"\xff\xf3") :]
    decoded, rate = audio.decode(tagged(frames, size), "a.mp3")
    assert len(decoded) / rate == pytest.approx(SECONDS, abs=0.08)
    with pytest.raises(Rejected, match="truncated-sound: a.mp3 has"):
        audio.decode(tagged(frames[: len(frames) // 2], size), "a.mp3")


@pytest.mark.parametrize("array", [np.zeros(0, np.int16), np.zeros(3), np.zeros((3, 1), np.int16)])
def test_a_record_s_waveform_is_checked(array):
    with pytest.raises(Rejected, match="no-samples: a: "):
        audio.check(array, "a")
    good = np.zeros(3, np.int16)
    assert audio.check(good, "a") is good


def test_mp3_of_varying_bit_rate_without_a_length_is_read():
    """Silence first: by its bit rate the whole would be thought several times as long."""
    noise = np.random.default_rng(0).normal(size=5 * RATE).astype(np.float32) / 4
    content = by_ffmpeg(
        np.concatenate([np.zeros(RATE, np.float32), noise]), "mp3", "libmp3lame", RATE, qscale=True
    )
    frames = content[content.index(b"\xff\xf3") :]
    frames = frames[frames.index(b"\xff\xf3", 4) :]  # The first one holds the length.
    assert b"Xing" not in frames
    decoded, rate = audio.decode(frames, "a.mp3")
    assert len(decoded) / rate == pytest.approx(6, abs=0.25)
