"""Videos of real encoders: pictures and sound on one clock, or rejected with the reason."""

from __future__ import annotations

import io
import struct

import av
import clips
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.readers import Rejected, video

RATE = 16_000
FPS = clips.FPS


def read(data: bytes, **options) -> video.Clip:
    options = {"fps": FPS, "size": 32, "sample_rate": RATE} | options
    return video.read(data, "a.mp4", **options)


def pixels(clip: video.Clip) -> np.ndarray:
    """uint8 `[frames, height, width, 3]`."""
    return np.stack([np.asarray(Image.open(io.BytesIO(frame))) for frame in clip.frames])


def flash_seconds(clip: video.Clip, fps: int = FPS) -> tuple[float, float]:
    """When the flash begins and ends."""
    white = np.flatnonzero(pixels(clip).mean(axis=(1, 2, 3)) > 150)
    assert (np.diff(white) == 1).all()
    return white[0] / fps, (white[-1] + 1) / fps


def beep_seconds(clip: video.Clip, rate: int = RATE) -> tuple[float, float]:
    """When the beep begins and ends."""
    loud = np.flatnonzero(np.abs(clip.audio) > 0.2 * 32768)
    return loud[0] / rate, loud[-1] / rate


@pytest.mark.parametrize("kind", clips.KINDS)
@pytest.mark.parametrize(("fps", "rate"), [(25, 16_000), (10, 48_000)])
def test_flash_and_beep_come_when_they_should(kind, fps, rate):
    clip = read(clips.encoded(kind), fps=fps, sample_rate=rate)
    assert len(clip.audio) == round(len(clip.frames) * rate / fps)
    assert clip.audio_present
    # MP3 in AVI: its delay of 25 ms isn't told by the file, and moves the pictures by a frame.
    late = 0.04 if kind.startswith("avi") else 0
    for seen, heard, expected in zip(
        flash_seconds(clip, fps), beep_seconds(clip, rate), clips.FLASH, strict=True
    ):
        assert seen == pytest.approx(expected + late / 2, abs=late / 2 + 0.5 / fps)
        assert heard == pytest.approx(expected + late / 2, abs=late / 2 + 0.01)


@pytest.mark.parametrize("kind", [kind for kind in clips.KINDS if kind[:3] not in ("avi", "mpe")])
def test_a_variable_frame_rate_keeps_its_times(kind):
    clip = read(clips.encoded(kind, clips.irregular()))
    assert flash_seconds(clip) == clips.FLASH
    assert beep_seconds(clip) == pytest.approx(clips.BEEP, abs=0.01)
    assert len(clip.frames) == pytest.approx(75, abs=1)


def test_a_clock_that_starts_late_is_no_cut():
    times = 100 + clips.regular()
    data = clips.encoded("matroska, h264, opus", times, silent=True, flash=(101.2, 101.36))
    clip = read(data)
    assert flash_seconds(clip) == clips.FLASH
    assert len(clip.frames) == 75


@pytest.mark.parametrize("kind", [kind for kind in clips.KINDS if kind[:3] != "avi"])
def test_a_sound_that_starts_late_begins_with_silence(kind):
    # An AVI has no place for when a track starts.
    clip = read(clips.encoded(kind, sound_start=0.6))
    assert flash_seconds(clip) == clips.FLASH
    assert beep_seconds(clip) == pytest.approx(clips.BEEP, abs=0.01)
    assert np.abs(clip.audio[: int(0.5 * RATE)]).max() < 100


def test_a_sound_that_starts_much_earlier_shows_the_first_picture_meanwhile():
    clip = read(clips.encoded("matroska, h264, opus", clips.regular()[20:]))
    assert flash_seconds(clip) == clips.FLASH
    assert beep_seconds(clip) == pytest.approx(clips.BEEP, abs=0.01)
    shown = pixels(clip)
    assert (shown[:20] == shown[0]).all()


def test_a_sound_that_ends_early_ends_with_silence_and_one_that_ends_late_keeps_the_picture():
    short = read(clips.encoded(sound=clips.tone(RATE, 1.5)))
    assert (len(short.frames), len(short.audio)) == (75, 48_000)
    assert np.abs(short.audio[int(1.7 * RATE) :]).max() == 0
    long = read(clips.encoded(times=clips.regular(1.28)))
    assert len(long.frames) == pytest.approx(75, abs=2)
    assert beep_seconds(long) == pytest.approx(clips.BEEP, abs=0.01)
    assert long.frames[-1] == long.frames[32]


def test_without_sound_there_is_silence_unless_sound_is_needed():
    clip = read(clips.encoded(silent=True))
    assert not clip.audio_present
    assert (len(clip.frames), len(clip.audio), np.abs(clip.audio).max()) == (75, 48_000, 0)
    with pytest.raises(Rejected, match="no-sound: a.mp4 has no audio track"):
        read(clips.encoded(silent=True), need_sound=True)


def test_silence_is_sound():
    clip = read(clips.encoded(sound=np.zeros(48_000, np.float32)))
    assert clip.audio_present
    assert np.abs(clip.audio).max() < 10


def test_one_picture_lasts_as_long_as_its_sound():
    assert len(read(clips.encoded(times=np.zeros(1), silent=True)).frames) == 1
    clip = read(clips.encoded(times=np.zeros(1)))
    assert len(clip.frames) == pytest.approx(75, abs=1)
    assert len(set(clip.frames)) == 1


FEW = {  # Containers that give the tracks no length of their own.
    "matroska": ("matroska", "libx264", "aac", 48_000),
    "mpegts": ("mpegts", "mpeg2video", "mp2", 48_000),
    "mpeg": ("mpeg", "mpeg2video", "mp2", 48_000),
    "asf": ("asf", "wmv2", "mp2", 48_000),
}


@pytest.mark.parametrize("kind", FEW)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_pictures_with_a_sound_are_no_cut_file(kind, count, monkeypatch):
    monkeypatch.setitem(clips.KINDS, kind, FEW[kind])
    clip = read(clips.encoded(kind, clips.regular()[:count]))
    assert len(clip.frames) == pytest.approx(75, abs=1)
    assert beep_seconds(clip) == pytest.approx(clips.BEEP, abs=0.01)
    assert pixels(clip)[:, :, 20:].max() < 40


@pytest.mark.parametrize("kind", ["matroska", "mpegts", "mpeg"])
def test_a_picture_with_a_sound_that_is_cut_is_rejected(kind, monkeypatch):
    monkeypatch.setitem(clips.KINDS, kind, FEW[kind])
    data = clips.encoded(kind, np.zeros(1))
    for share in np.linspace(0.1, 0.99, 9):
        with pytest.raises(Rejected, match="corrupt-video|truncated-video|no-video"):
            read(data[: int(share * len(data))])


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_short_transport_stream_is_known_as_one(codec, count, monkeypatch):
    monkeypatch.setitem(clips.KINDS, "mpegts", ("mpegts", codec, "mp2", 48_000))
    data = clips.encoded("mpegts", clips.regular()[:count], silent=True)
    clip = read(data, size=64)
    assert len(clip.frames) == count
    assert pixels(clip).shape == (count, 64, 96, 3)
    assert pixels(clip)[:, :, :4].mean() == pytest.approx(200, abs=4)
    with pytest.raises(Rejected, match="truncated-video"):
        read(data[:-100])


@settings(max_examples=12)
@given(st.floats(0, 2), st.floats(0.2, 1))
def test_a_stretch_of_a_clip_is_what_the_whole_clip_has_there(start, length):
    whole, part = WHOLE, read(CLIP, start=start, end=start + length)
    first = round(start * FPS)
    assert part.frames == whole.frames[first : first + len(part.frames)]
    assert len(part.frames) == pytest.approx(length * FPS, abs=1)
    expected = whole.audio[first * RATE // FPS :][: len(part.audio)]
    np.testing.assert_array_equal(part.audio, expected)


CLIP = clips.encoded()
WHOLE = read(CLIP)


@pytest.mark.parametrize(
    ("size", "expected"), [(32, (32, 48)), (64, (64, 96)), (200, (64, 96)), (9, (9, 14))]
)
def test_the_short_side_is_scaled_down_and_never_up(size, expected):
    shown = pixels(read(CLIP, size=size))
    assert shown.shape[1:3] == expected
    edge = shown[0, :, : max(expected[1] // 16, 1)].mean()
    assert edge == pytest.approx(200, abs=25)
    assert shown[0, :, expected[1] // 2 :].mean() == pytest.approx(20, abs=4)


def test_the_same_file_gives_the_same_bytes():
    again = read(CLIP)
    assert again.frames == WHOLE.frames
    np.testing.assert_array_equal(again.audio, WHOLE.audio)


def pcm(samples: np.ndarray) -> bytes:
    """A video with a sound of floats."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        audio = container.add_stream("pcm_f32le", rate=RATE)
        audio.layout = "mono"
        for time in clips.regular(1.0):
            frame = av.VideoFrame.from_ndarray(clips.picture(time), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return file.getvalue()


def cover() -> bytes:
    """An MP3 with a picture on its cover."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as container:
        audio = container.add_stream("libmp3lame", rate=44_100)
        audio.layout = "mono"
        picture = container.add_stream("mjpeg", rate=1)
        picture.height, picture.width, picture.pix_fmt = 64, 96, "yuvj420p"
        picture.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(clips.picture(0.0), format="rgb24")
        container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        frame = av.AudioFrame.from_ndarray(clips.tone(44_100)[None], format="fltp", layout="mono")
        frame.sample_rate = 44_100
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return file.getvalue()


def sound_alone() -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, clips.tone(RATE), RATE, format="WAV")
    return file.getvalue()


def no_pictures() -> bytes:
    """A file whose video track is empty."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        audio = container.add_stream("pcm_f32le", rate=RATE)
        audio.layout = "mono"
        frame = av.AudioFrame.from_ndarray(clips.tone(RATE)[None], format="flt", layout="mono")
        frame.sample_rate = RATE
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))
    return file.getvalue()


BAD = {
    "empty": (lambda: b"", "empty-file"),
    "text": (lambda: b"no video" * 100, "corrupt-video"),
    "sound alone": (sound_alone, "no-video"),
    "sound with a cover": (cover, "no-video"),
    "no pictures": (no_pictures, "no-frames"),
    "NaN": (lambda: pcm(np.full(RATE, np.nan, np.float32)), "not-finite"),
    "loud": (lambda: pcm(np.full(RATE, 100, np.float32)), "out-of-range"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_good_is_rejected_with_the_reason(name):
    make, reason = BAD[name]
    with pytest.raises(Rejected) as error:
        read(make())
    assert error.value.reason == reason
    assert "\n" not in error.value.detail


def turned(data: bytes, matrix: tuple[int, int, int, int]) -> bytes:
    """An MP4 whose pictures are to be shown turned, as a phone's that is held upright."""
    a, b, c, d = (number << 16 for number in matrix)
    place = data.index(b"tkhd") + 44
    return data[:place] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30) + data[place + 36 :]


@pytest.mark.parametrize(
    ("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)]
)
def test_pictures_are_turned_as_they_are_shown(matrix, turns):
    expected = np.rot90(pixels(WHOLE)[0], turns)  # A bright edge on the left.
    shown = pixels(read(turned(CLIP, matrix)))[0]
    assert shown.shape == expected.shape
    np.testing.assert_allclose(shown, expected.astype(float), atol=12)


def quarters(colours: str, size: tuple[int, int] = (96, 64)) -> np.ndarray:
    """A picture of four colours: top left, top right, bottom left and bottom right."""
    palette = {"R": (200, 0, 0), "G": (0, 200, 0), "B": (0, 0, 200), "W": (200, 200, 200)}
    small = np.array([palette[colour] for colour in colours], np.uint8).reshape(2, 2, 3)
    return np.asarray(Image.fromarray(small).resize(size, Image.Resampling.NEAREST))


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ((1, 0, 0, 1), "RGBW"),
        ((0, 1, -1, 0), "BRWG"),
        ((-1, 0, 0, -1), "WBGR"),
        ((0, -1, 1, 0), "GWRB"),
        ((-1, 0, 0, 1), "GRWB"),
        ((1, 0, 0, -1), "BWRG"),
        ((0, 1, 1, 0), "RBGW"),
        ((0, -1, -1, 0), "WGBR"),
    ],
)
def test_pictures_are_mirrored_as_they_are_shown(matrix, expected, monkeypatch):
    monkeypatch.setattr(clips, "picture", lambda *args: quarters("RGBW"))
    data = turned(clips.encoded(times=clips.regular()[:2], silent=True), matrix)
    shown = pixels(read(data, size=64))[0].astype(float)
    height, width = shown.shape[:2]
    assert (height, width) == ((64, 96) if matrix[0] else (96, 64))
    wrong = np.abs(shown - quarters(expected, (width, height))).mean()
    assert wrong < 12  # Colours have half of the resolution.


def test_what_is_behind_the_boxes_of_an_mp4_doesnt_matter():
    assert read(CLIP + b"http trailer that is no box").frames == WHOLE.frames
    assert read(CLIP + b"\0" * 99).frames == WHOLE.frames


@pytest.mark.parametrize("kind", ["mpeg, mpeg1, mp2", "mpegts"])
def test_files_that_were_joined_are_rejected(kind, monkeypatch):
    monkeypatch.setitem(clips.KINDS, "mpegts", ("mpegts", "mpeg2video", "mp2", 44_100))
    once = clips.encoded(kind, clips.regular(1.0))
    with pytest.raises(Rejected, match=r"several-videos: a.mp4: its time jumps back from \d.\d\d"):
        read(once + once)


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size"),
    [
        ("libx264", "yuv420p10le", (96, 64)),
        ("libx265", "yuv420p10le", (96, 64)),
        ("libvpx-vp9", "yuv420p", (95, 63)),
        ("ffv1", "yuv444p", (95, 63)),
    ],
)
def test_depths_and_sizes_of_pictures(codec, pixel_format, size):
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=FPS)
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        if codec == "libx265":
            stream.options = {"x265-params": "log-level=none"}
        for time in clips.regular(1.6):
            picture = np.asarray(Image.fromarray(clips.picture(time)).resize(size))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    clip = read(file.getvalue(), size=64)
    assert pixels(clip).shape == (40, *size[::-1], 3)
    assert flash_seconds(clip) == clips.FLASH
    assert pixels(clip)[0, :, 30:].mean() == pytest.approx(20, abs=4)


def test_floats_come_back():
    clip = read(pcm(clips.tone(RATE, 1.0, (0.2, 0.4))))
    assert beep_seconds(clip) == pytest.approx((0.2, 0.4), abs=0.001)


@pytest.mark.parametrize("kind", clips.KINDS)
def test_a_file_cut_anywhere_is_rejected(kind):
    data = clips.encoded(kind)
    for share in np.linspace(0.02, 0.99, 15):
        cut = int(share * len(data))
        if kind.startswith("mpeg") and not cut % 2048:
            cut -= 1  # Between two packs nothing is missing that was announced.
        with pytest.raises(Rejected) as error:
            read(data[:cut])
        assert error.value.reason in ("corrupt-video", "truncated-video", "no-video"), share


def remuxed(path, **options: str) -> bytes:
    """The pictures of `CLIP`, in the container of a file's name."""
    with av.open(io.BytesIO(CLIP)) as source, av.open(str(path), "w", options=options) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    return path.read_bytes()


def test_a_transport_stream_that_ends_within_a_packet_is_rejected(tmp_path):
    data = remuxed(tmp_path / "a.ts")
    assert len(read(data).frames) == 75
    cut = len(data) // 2 // 188 * 188 + 100
    with pytest.raises(Rejected, match=f"truncated-video: a.mp4 has {cut:,} of {cut + 88:,} bytes"):
        read(data[:cut])


@pytest.mark.parametrize("fast", [False, True])
def test_a_cut_mp4_is_rejected_wherever_its_index_is(fast, tmp_path):
    data = remuxed(tmp_path / "a.mp4", **({"movflags": "faststart"} if fast else {}))
    assert len(read(data).frames) == 75
    with pytest.raises(Rejected, match="corrupt-video|truncated-video"):
        read(data[: int(0.8 * len(data))])


def test_a_stretch_behind_the_end_is_rejected():
    with pytest.raises(Rejected, match=r"too-short: a.mp4 has 3.0. s, wanted from 5 s on"):
        read(CLIP, start=5.0, end=6.0)


def test_a_record_is_checked():
    video.check(WHOLE.frames, "record 0")
    with pytest.raises(Rejected, match="no-frames"):
        video.check([], "record 0")
    with pytest.raises(Rejected, match=r"corrupt-image: record 0: frame 1 "):
        video.check([WHOLE.frames[0], WHOLE.frames[1][:300]], "record 0")
    with pytest.raises(Rejected, match="mixed-sizes"):
        video.check([WHOLE.frames[0], read(CLIP, size=16).frames[0]], "record 0")
