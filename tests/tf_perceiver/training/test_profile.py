"""The profiler's window covers the loops that its steps lie in."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_perceiver.training import profile


def test_it_opens_with_the_loop_of_its_first_step_and_closes_after_that_of_its_last(
    tmp_path, monkeypatch
):
    calls = []
    monkeypatch.setattr(tf.profiler.experimental, "start", lambda folder: calls.append(folder))
    monkeypatch.setattr(tf.profiler.experimental, "stop", lambda: calls.append("stop"))
    with profile.Window(tmp_path, 7, 11) as window:
        for done in range(0, 25, 5):
            window.upcoming(done, done + 5)
            calls.append(done)
    assert calls == [0, str(tmp_path), 5, 10, "stop", 15, 20]


def test_a_window_that_is_open_at_the_end_is_closed(tmp_path):
    with profile.Window(tmp_path, 1, 100) as window:
        window.upcoming(0, 10)
        tf.constant(1.0) + 1.0
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))


def test_off_by_default_and_impossible_ones_refused(tmp_path):
    with profile.Window(tmp_path, 0, 0) as window:
        window.upcoming(0, 10)
        assert not window.running
    with pytest.raises(ValueError, match=r"profile=\(5, 3\) is not a window"):
        profile.Window(tmp_path, 5, 3)
