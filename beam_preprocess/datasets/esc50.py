"""ESC-50: 2,000 clips of five seconds, 50 classes of environmental sound, five folds."""

from __future__ import annotations

import csv
import dataclasses

from beam_preprocess import manifest
from beam_preprocess.datasets import sound_folder
from beam_preprocess.datasets.dataset import ReadOptions, read_text

TABLE = "meta/esc50.csv"
_COLUMNS = ("filename", "fold", "category")


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the rows of the table; fold `options.test_fold` is the test split.

    A clip that the table names and that isn't there is rejected when it is read.

    Raises:
      InputError: no table, a row without one of its columns, no clip in the test fold.
    """
    files = manifest.list_files(root)
    if TABLE not in files:
        raise manifest.InputError(f"--input={root}: no {TABLE}; name the folder that has it")
    where = manifest.join(root, TABLE)
    rows = csv.DictReader(read_text(root, TABLE).splitlines())
    items = []
    for number, row in enumerate(rows, 2):
        missing = [column for column in _COLUMNS if not row.get(column)]
        if missing or not row["fold"].isdecimal():
            raise manifest.InputError(
                f"{where}: line {number} has no {' and no '.join(missing) or 'number as fold'}"
            )
        path = f"audio/{row['filename']}"
        split = "test" if int(row["fold"]) == options.test_fold else "train"
        items.append(manifest.Item(path, path, row["category"], split))
    if not any(item.split == "test" for item in items):
        raise manifest.InputError(
            f"{where}: no clip is in fold {options.test_fold}; see --test_fold"
        )
    unnamed = len(set(files) - {TABLE} - {item.path for item in items})
    notes = [f"{unnamed:,} files that {TABLE} doesn't name were left aside"] if unnamed else []
    return manifest.Listing(items, notes)


DATASET = dataclasses.replace(
    sound_folder.DATASET,
    summary="ESC-50: 2,000 clips of environmental sound, 50 classes, one of five folds as test",
    layouts=("meta/esc50.csv (filename,fold,target,category,...) and audio/*.wav",),
    options=("sample_rate", "test_fold"),
    list_items=list_items,
)
