"""Picture and sound of one moment, from files of real encoders to the tokens of the model."""

from __future__ import annotations

import clips
import numpy as np
import pytest
import tensorflow as tf

from beam_preprocess.datasets import grid
from beam_preprocess.datasets.dataset import ReadOptions
from configs import feeds
from pipelines import audio_video, preparation
from pipelines.records import DatasetInfo, encode, parser
from tf_perceiver.model import preprocessors

RATE, FPS = 16_000, 25
STILL = {
    "train_crop": "none", "eval_crop": 1.0, "flip": False,
    "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0,
}  # fmt: skip


def config(frames: int = 50, mel: dict | None = None, seconds: float = 2.0, **fields):
    """Two seconds of picture, 16 x 24 pixels, and of sound."""
    clips_fields = {name: fields.pop(name) for name in ("eval_clips",) if name in fields}
    dropout = {name: fields.pop(name) for name in list(fields) if name.endswith("dropout")}
    video = feeds.videos(frames, (16, 24), 4, **{**STILL, **clips_fields, **fields})
    audio = feeds.sounds(RATE, round(seconds * RATE), 4, mel=mel, **clips_fields)
    return feeds.seen_and_heard(video, audio, **{"video_dropout": 0.0, **dropout})


def info() -> DatasetInfo:
    properties = {"fps": FPS, "frame_size": 32, "sample_rate": RATE}
    return DatasetInfo("grid", grid.FEATURES, ("a", "b"), {}, properties=properties)


def record(data: bytes) -> dict[str, tf.Tensor]:
    """The fields of a file's record, written and parsed again."""
    options = ReadOptions(sample_rate=RATE, frame_size=32, fps=FPS)
    fields = grid.read_clip(data, "a.mp4", options, need_sound=False)
    example = {**fields, "label": 1, "key": b"a"}
    return parser(grid.FEATURES)(tf.constant(encode(example, grid.FEATURES)))


def tokens(batch: dict[str, tf.Tensor], mel: bool) -> tuple[np.ndarray, np.ndarray]:
    """(brightness of every video token [T, rows, columns], loudness of every audio token [T])."""
    video = {"kind": "patches", "patch": 8, "frames": 2, "positions": {"bands": 2,
             "max_resolution": (25, 2, 3)}}  # fmt: skip
    audio = {"kind": "waveform", "samples_per_patch": 160, "positions": {"bands": 2,
             "max_resolution": (200,)}}  # fmt: skip
    if mel:
        audio = {"kind": "patches", "channels": 1, "patch": 4, "positions": {"bands": 2,
                 "max_resolution": (25, 4)}}  # fmt: skip
    built = preprocessors.build(
        {"kind": "multimodal", "min_padding": 2, "modalities": {"audio": audio, "video": video}}
    )
    heard, seen = built(batch).segments  # In the order of their names.
    loudness = tf.reduce_mean(tf.square(heard.content) if not mel else heard.content, -1)[0]
    if mel:
        loudness = tf.reduce_max(tf.reshape(loudness, heard.grid), -1)
    brightness = tf.reshape(tf.reduce_mean(seen.content, -1)[0], seen.grid)
    assert heard.length + seen.length == built(batch).length
    return brightness.numpy(), loudness.numpy()


CASES = {
    **{kind: (kind, {}) for kind in clips.KINDS},
    "variable frame rate": ("matroska, h264, opus", {"times": clips.irregular()}),
    "late sound": ("mp4, h264, aac", {"sound_start": 0.8}),
    "late sound, webm": ("webm, vp8, opus", {"sound_start": 0.8}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mel", [False, True])
def test_flash_and_beep_fall_into_the_right_tokens(case, mel):
    kind, options = CASES[case]
    bands = {"window": 640, "hop": 320, "bins": 16, "mean": 0.0, "std": 1.0} if mel else None
    data = config(mel=bands, seconds=2.0)
    prepared = preparation.of(info(), data).evaluation(record(clips.encoded(kind, **options)))
    batch = {name: value[None] for name, value in prepared.items()}
    brightness, loudness = tokens(batch, mel)
    # The clip of 50 frames lies in the middle of the record's: of 75 from 0.48 s on.
    count = len(record(clips.encoded(kind, **options))["frames"])
    start = round((count - 50) / 2) / FPS
    late = 0.04 if kind.startswith("avi") else 0.0  # A frame; see the reader's tests.
    begin, end = clips.FLASH[0] - start, clips.FLASH[1] - start
    middles = (np.arange(50) + 0.5) / FPS
    white = (begin + late < middles) & (middles < end + late)
    seen = brightness[:, :, 1:].mean(axis=(1, 2))
    # A token is as bright as many of its two frames are white.
    shares = white.reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose((seen - seen.min()) / np.ptp(seen), shares, atol=0.05)
    loud = np.flatnonzero(loudness > (loudness.max() + np.median(loudness)) / 2)
    assert loud.tolist() == list(range(loud[0], loud[-1] + 1))
    if mel:  # Tokens of 80 ms, to which a window of 40 ms may lend the beep's end.
        assert loud[0] == int((begin + late / 2) / 0.08 + 1e-6)
        assert 0 <= loud[-1] - int((end + late / 2) / 0.08 - 1e-6) <= 1
    else:  # Of 10 ms, in which the beep begins and ends.
        assert 0 <= loud[0] - round(begin / 0.01) <= late / 0.01
        assert 0 <= loud[-1] + 1 - round(end / 0.01) <= late / 0.01
    np.testing.assert_array_equal(prepared["label"], [0, 1])


def moments(count: int) -> dict[str, tf.Tensor]:
    """A record whose frames and samples say when they are, in frames."""
    import io

    from PIL import Image

    frames = []
    for k in range(count):
        file = io.BytesIO()
        Image.new("RGB", (24, 16), (2 * k,) * 3).save(file, "JPEG", quality=100)
        frames.append(file.getvalue())
    samples = np.arange(count * RATE // FPS) * FPS // RATE + 1
    return {"frames": tf.constant(frames), "audio": tf.constant(samples, tf.int16)}


def when(prepared: dict[str, tf.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """The frame's number of every frame and of every frame's first sample."""
    pixels = (prepared["video"].numpy() * 0.5 + 0.5) * 255
    seen = np.round(pixels.mean(axis=(-3, -2, -1)) / 2).astype(int)
    heard = np.round(prepared["audio"].numpy() * 32768).astype(int)[..., :: RATE // FPS] - 1
    return seen, heard


@pytest.mark.parametrize("number", range(8))
def test_a_clip_for_training_begins_with_the_same_moment(number):
    cfg = config(10, seconds=0.4).audio_video
    seed = tf.constant([1, number], tf.int64)
    seen, heard = when(audio_video.prepare_train(moments(60), cfg, seed))
    np.testing.assert_array_equal(seen, heard)
    np.testing.assert_array_equal(np.diff(seen), 1)
    again = audio_video.prepare_train(moments(60), cfg, seed)
    np.testing.assert_array_equal(when(again)[0], seen)


def test_several_clips_begin_with_the_same_moments():
    cfg = config(10, seconds=0.4, eval_clips=16).audio_video
    prepared = audio_video.prepare_eval(moments(60), cfg)
    assert prepared["video"].shape == (16, 10, 16, 24, 3)
    assert prepared["audio"].shape == (16, 6_400)
    seen, heard = when(prepared)
    np.testing.assert_array_equal(seen, heard)
    assert (seen[0, 0], seen[-1, -1]) == (0, 59)
    shown = audio_video.shown(moments(60), cfg)
    np.testing.assert_allclose(shown["video"], prepared["video"][8] / 2 + 0.5, atol=1e-5)
    np.testing.assert_array_equal(shown["audio"], prepared["audio"][8])


def test_a_short_record_has_held_frames_and_silence_around_it():
    cfg = config(10, seconds=0.4).audio_video
    seen, heard = when(audio_video.prepare_eval(moments(4), cfg))
    np.testing.assert_array_equal(seen, [0, 0, 0, 0, 1, 2, 3, 3, 3, 3])
    np.testing.assert_array_equal(heard, [-1, -1, -1, 0, 1, 2, 3, -1, -1, -1])


def test_dropout_leaves_one_out_and_never_both():
    cfg = config(4, seconds=0.2, video_dropout=0.3, audio_dropout=0.5).audio_video
    fields = moments(10)
    prepare = tf.function(lambda seed: audio_video.prepare_train(fields, cfg, seed))
    zero = []
    for number in range(200):
        prepared = prepare(tf.constant([5, number], tf.int64))
        zero.append([not np.any(prepared[name]) for name in ("video", "audio")])
    zero = np.array(zero)
    assert not zero.all(axis=1).any()
    assert zero[:, 0].mean() == pytest.approx(0.3, abs=0.1)
    assert zero[:, 1].mean() == pytest.approx(0.7 * 0.5, abs=0.1)
    evaluated = audio_video.prepare_eval(fields, cfg)
    assert np.any(evaluated["video"])


def test_rates_other_than_the_records_are_named():
    data = config()
    data.audio_video.audio.sample_rate = 8_000
    with pytest.raises(
        ValueError, match=r"config.data.audio_video.audio.sample_rate=8000, the records of 'grid'"
    ):
        preparation.of(info(), data)
    data = config()
    data.audio_video.video.fps = 10
    with pytest.raises(ValueError, match=r"config.data.audio_video.video.fps=10, the records"):
        preparation.of(info(), data)


def test_a_config_out_of_range_is_named():
    data = config(video_dropout=1.0)
    with pytest.raises(ValueError, match="video_dropout=1.0 is not in"):
        audio_video.check(data.audio_video)
    data = config()
    data.audio_video.video.eval_clips = 4
    with pytest.raises(ValueError, match="eval_clips=4 and audio.eval_clips=1 are of the same"):
        audio_video.check(data.audio_video)
