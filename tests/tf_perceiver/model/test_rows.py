"""Rows of features as inputs."""

from __future__ import annotations

import numpy as np
import pytest

from tf_perceiver.model import preprocessors


def build():
    positions = {"bands": 2, "max_resolution": (4,)}
    return preprocessors.build(
        {"kind": "rows", "modality": "audio", "width": 5, "project": 3, "positions": positions}
    )


def test_a_row_is_an_input_projected_with_its_time_behind():
    layer, rows = build(), np.random.default_rng(0).normal(size=(2, 4, 5)).astype(np.float32)
    mask = np.array([[True] * 4, [True, True, False, False]])
    inputs = layer({"audio": rows, "audio_mask": mask})
    dense = inputs.dense().numpy()
    assert dense.shape == (2, 4, layer.channels) == (2, 4, 3 + 1 + 4)
    np.testing.assert_allclose(dense[..., :3], rows @ layer.projection.kernel.numpy(), atol=1e-5)
    np.testing.assert_allclose(dense[0, :, 3], [-1, -1 / 3, 1 / 3, 1], atol=1e-6)
    np.testing.assert_array_equal(inputs.mask, mask)


def test_rows_of_another_width_are_named():
    with pytest.raises(ValueError, match="audio has rows of 6 values, the model was built for 5"):
        build()({"audio": np.zeros((1, 4, 6), np.float32)})
