"""Groups of values: each has its own kernel and its own embedding."""

from __future__ import annotations

import numpy as np
import pytest

from tf_perceiver.model import preprocessors


def test_every_group_is_projected_by_its_own_kernel():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(2, 3, 4)).astype(np.float32)
    layer = preprocessors.build({"kind": "groups", "tokens": 3, "width": 4, "project": 5})
    kernel = draw.normal(size=(12, 5)).astype(np.float32)
    layer.kernel.assign(kernel)
    mask = np.array([[True, True, False], [True, False, True]])
    inputs = layer({"omics": values, "omics_mask": mask})
    dense = inputs.dense().numpy()
    assert dense.shape == (2, 3, 5)
    assert (layer.channels, inputs.length) == (5, 3)
    np.testing.assert_array_equal(inputs.mask, mask)
    for group in range(3):
        expected = values[:, group] @ kernel[4 * group : 4 * group + 4]
        expected += layer.embeddings.table.numpy()[group]
        np.testing.assert_allclose(dense[:, group], expected, rtol=1e-5, atol=1e-6)
    assert {v.name for v in layer.weights} == {
        "pre.omics.group_proj.kernel:0", "pre.omics.pos.table:0",
    }  # fmt: skip


def test_another_number_of_groups_is_named():
    layer = preprocessors.build({"kind": "groups", "tokens": 3, "width": 4, "project": 5})
    with pytest.raises(ValueError, match="2 groups of 4 values, the model was built for 3 of 4"):
        layer({"omics": np.zeros((1, 2, 4), np.float32)})
