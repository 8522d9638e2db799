"""Reconstructions beside what they were made of, as files and on the report's page."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from PIL import Image

from configs import kinetics
from pipelines.records import DatasetInfo, Shard, Split
from tf_perceiver import tasks
from tf_perceiver.report import autoencoding, reconstructions
from tf_perceiver.report.run import Run

INFO = DatasetInfo(
    "toy", {}, ("ant", "$bee$"),
    {"val": Split("val", (Shard("toy-val.tfrecord-00000-of-00001", 7, 1, "0"),))},
)  # fmt: skip


def clip(frames: int = 4) -> dict[str, np.ndarray]:
    """Frame k is grey of k / 20, its reconstruction 0.5 brighter, one pixel far too bright."""
    grey = np.full((frames, 4, 6, 3), np.arange(frames).reshape(-1, 1, 1, 1) / 20, np.float32)
    brighter = grey + 0.5
    brighter[0, 0, 0] = 7
    sound = np.sin(np.arange(160) / 5).astype(np.float32)
    return {
        "original_frames": grey, "frames": brighter,
        "original_waveform": sound, "waveform": 0.25 * sound,
    }  # fmt: skip


@pytest.mark.parametrize(("count", "shown"), [(4, range(4)), (15, [0, 2, 4, 6, 8, 10, 12, 14])])
def test_originals_stand_above_their_reconstructions(count, shown):
    one = clip(count)
    strip = reconstructions.strip(one["original_frames"], one["frames"])
    assert strip.shape == (10, 6 * len(shown), 3)
    greys = [k / 20 for k in shown]
    np.testing.assert_allclose(strip[2, 3::6, 0] / 255, greys, atol=0.003)
    np.testing.assert_allclose(
        strip[8, 3::6, 0] / 255, np.minimum(np.array(greys) + 0.5, 1), atol=0.003
    )
    assert (strip[4:6] == 255).all()
    assert (strip[6, 0] == 255).all()


def test_files_hold_the_frames_and_the_sound(tmp_path):
    one = clip()
    picture, sound = reconstructions.write(tmp_path / "new", "a.b", one, 16_000)
    assert [file.name for file in (picture, sound)] == [
        "a.b_reconstruction.png", "a.b_reconstruction.wav",
    ]  # fmt: skip
    expected = reconstructions.strip(one["original_frames"], one["frames"])
    np.testing.assert_array_equal(np.asarray(Image.open(picture)), expected)
    heard, rate = soundfile.read(sound)
    assert rate == 16_000
    np.testing.assert_allclose(heard, one["waveform"], atol=1e-4)


def test_a_reconstruction_that_is_too_quiet_looks_so():
    figure = reconstructions.draw([clip(), clip()], ["a", "b"])
    assert len(figure.axes) == 4
    heights = []
    for outline in figure.axes[1].collections:
        points = np.concatenate([path.vertices for path in outline.get_paths()])
        heights.append(np.ptp(points[:, 1]))
    assert heights[1] / heights[0] == pytest.approx(0.25, abs=0.02)


def test_the_page_says_the_metrics_of_all_clips_and_shows_some():
    config = kinetics.get_config("tiny")
    task = tasks.build(config.task, INFO)
    draw = np.random.default_rng(0)
    batches = []
    for weights in ([1.0] * 4, [1.0] * 3 + [0.0]):
        batches.append(
            {
                "image": draw.random((4, 2, 3, 4, 3)).astype(np.float32),
                "audio": draw.uniform(-1, 1, (4, 8)).astype(np.float32),
                "label": np.eye(2, dtype=np.float32)[[0, 1, 0, 1]],
                "label_masked": np.ones((4, 1), bool),
                "weight": np.array(weights, np.float32),
            }
        )

    def model(batch, training):
        """Pixels and samples off by a tenth; the first label for all."""
        assert not training
        logits = np.array([[2.0, 0.0]] * 4, np.float32)
        return {
            "image": batch["image"] * 0 + 0.1 + batch["image"] * 0.8,
            "audio": 0.9 * batch["audio"], "label": logits,
            "seen": batch["image"], "heard": batch["audio"],
        }  # fmt: skip

    run = Run(model, task, config, INFO, [], 20)
    headlines, parts = autoencoding.parts(run, batches)
    kept = [slice(0, 4), slice(0, 3)]
    video = np.concatenate([
        ((0.1 - 0.2 * b["image"][k]) ** 2).reshape(len(b["image"][k]), -1).mean(axis=1)
        for b, k in zip(batches, kept, strict=True)
    ])  # fmt: skip
    assert headlines[0].value == f"{np.mean(-10 * np.log10(video)):.2f} dB"
    sound = np.concatenate([
        ((0.1 * b["audio"][k]) ** 2).mean(axis=1) for b, k in zip(batches, kept, strict=True)
    ])  # fmt: skip
    assert headlines[1].value == f"{np.mean(-10 * np.log10(sound / 4)):.2f} dB"
    assert headlines[2].value == f"{100 * 4 / 7:.1f} %"
    assert headlines[3].value == "7"
    assert [picture.name for picture in parts[1].pictures] == ["reconstructions"]
    with pytest.raises(ValueError, match="no example to report on"):
        autoencoding.parts(run, [{**batches[0], "weight": np.zeros(4)}])
