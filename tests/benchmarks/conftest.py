"""What tests of arrangements share."""

from __future__ import annotations

import pytest


@pytest.fixture
def folder(tmp_path):
    """A row's folder before it is arranged."""
    for part in ("raw", "unseen"):
        (tmp_path / part).mkdir()
    return tmp_path
