"""What a dataset reads of a folder that a benchmark has arranged."""

from __future__ import annotations

from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions


def listed(dataset, folder, root="raw", **options):
    """[(label, split)] of what a dataset lists, and the fields of each item."""
    made, options, root = DATASETS[dataset], ReadOptions(**options), str(folder / root)
    items = made.list_items(root, options).items
    found = [made.read_item(root, item, options) for item in items]
    return [(item.label, item.split) for item in items], found
