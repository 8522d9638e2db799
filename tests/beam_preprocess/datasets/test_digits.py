"""The raw digits: complete, and the scans that scikit-learn has."""

from __future__ import annotations

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from beam_preprocess.datasets import digits


def test_raw_files_hold_scikit_learns_scans(tmp_path):
    (tmp_path / "raw").mkdir()  # An empty folder is taken as well as a missing one.
    digits.write_raw(str(tmp_path / "raw"))
    paths = sorted((tmp_path / "raw").glob("*/*.png"), key=lambda path: path.stem)
    expected = load_digits()
    assert [int(path.parent.name) for path in paths] == expected.target.tolist()
    for path, scan in zip(paths[::97], expected.images[::97], strict=True):
        pixels = np.asarray(Image.open(path))
        assert pixels.shape == (8, 8)
        np.testing.assert_array_equal(np.round(pixels * (16 / 255)), scan)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]
