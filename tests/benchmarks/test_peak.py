"""Peaks are seen after the memory has been given back, with the kernel's reset and without."""

from __future__ import annotations

import mmap

import pytest

from benchmarks import peak

SIZE = 64 * 2**20


def touch():
    """Takes SIZE bytes and gives them back."""
    with mmap.mmap(-1, SIZE) as pages:
        for at in range(0, SIZE, mmap.PAGESIZE):
            pages[at] = 1


@pytest.mark.parametrize("kernel", [True, False])
def test_a_peak_is_seen_and_the_next_starts_anew(kernel, monkeypatch):
    if not kernel:
        monkeypatch.setattr(peak, "reset", lambda: False)
    elif not peak.reset():
        pytest.skip("the kernel's peak counter can't be reset here")
    before = peak.resident()
    with peak.watching() as large:
        touch()
    with peak.watching() as small:
        pass
    assert large.bytes - before == pytest.approx(SIZE, rel=0.25)
    assert small.bytes - before < SIZE / 4
