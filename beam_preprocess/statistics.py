"""Sums over records, the same in whatever order the records and shards were made."""

from __future__ import annotations

import math
from collections.abc import Sequence

Totals = dict[str, list[float]]


def add_totals(parts: Sequence[Totals]) -> Totals:
    """Adds lists of numbers by name, each sum rounded once, so that the order doesn't matter.

    Args:
      parts: with the same names and lengths; none give no sums.
    """
    return {
        name: [math.fsum(column) for column in zip(*(part[name] for part in parts), strict=True)]
        for name in (parts[0] if parts else {})
    }
