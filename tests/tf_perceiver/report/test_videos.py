"""Videos in the report: what is where in the picture."""

from __future__ import annotations

import numpy as np
import pytest

from configs import feeds
from tf_perceiver.report import pictures, videos
from tf_perceiver.report.pictures import Sample


def frames(count: int = 8) -> np.ndarray:
    """float32 [count, 4, 6, 3]: frame k is grey of k / 10."""
    return np.full((count, 4, 6, 3), np.arange(count).reshape(-1, 1, 1, 1) / 10, np.float32)


def sample(array) -> Sample:
    return Sample(array, {}, "cat", "cat", 0.9, 0.9)


@pytest.mark.parametrize(("count", "expected"), [(8, [0, 2, 5, 7]), (1, [0, 0, 0, 0])])
def test_frames_stand_line_by_line_in_the_order_of_time(count, expected):
    picture = videos.mosaic(frames(count))
    assert picture.shape == (8, 12, 3)
    corners = [picture[y, x, 0] for y in (0, 4) for x in (0, 6)]
    np.testing.assert_allclose(np.array(corners) * 10, expected, atol=1e-5)


def test_a_mosaic_keeps_every_frame_whole():
    columns = np.broadcast_to(np.arange(6)[None, None, :, None] / 10, (4, 4, 6, 3))
    np.testing.assert_allclose(videos.mosaic(columns)[:, 6:], videos.mosaic(columns)[:, :6])
    np.testing.assert_allclose(videos.mosaic(columns)[5, :6, 0], np.arange(6) / 10)


def test_sound_is_drawn_below_and_only_where_there_is_some():
    (axes,) = pictures.samples([sample(frames())]).axes
    assert axes.get_ylim() == (0, 8)
    assert not axes.collections
    waveform = np.zeros(1000, np.float32)
    waveform[500:600] = 0.1
    (axes,) = pictures.samples([sample({"video": frames(), "audio": waveform})]).axes
    outline = axes.collections[0].get_paths()[0].vertices
    assert outline[:, 1].max() < 0
    high = outline[outline[:, 1] > outline[:, 1].max() - 0.01, 0] / 12
    assert high.min() == pytest.approx(0.5, abs=0.02)
    assert high.max() == pytest.approx(0.6, abs=0.02)


def test_attention_is_summed_over_time_and_over_places():
    weight = np.zeros((4, 2, 3), np.float32)
    weight[1, 0, 2], weight[3, 0, 2], weight[3, 1, 0] = 0.2, 0.5, 0.3
    figure = pictures.attention([frames()], [weight.reshape(1, -1)], ["all"], (4, 2, 3))
    axes = figure.axes[1]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 0, 0.7], [0.3, 0, 0]], atol=1e-6)
    bars = axes.patches[0].get_data()
    heights = np.array(bars.values) - bars.baseline
    np.testing.assert_allclose(heights / heights.max(), [0, 0.25, 0, 1], atol=1e-6)


def test_the_legend_says_how_long_a_clip_is():
    video = feeds.videos(50, (8, 8), 4, stride=2)
    assert videos.legend(video) == "4 of 50 frames from 4 s, line by line."
    both = feeds.seen_and_heard(video, feeds.sounds(8_000, 4_000, 4))
    assert videos.legend(both).endswith("below them 0.5 s of sound, scaled to its own peak.")
