"""In-hospital mortality of MIMIC-III, as mimic3-benchmarks (Harutyunyan et al., 2019) writes it."""

from __future__ import annotations

import csv

from beam_preprocess import manifest
from beam_preprocess.datasets import stays
from beam_preprocess.datasets.dataset import ReadOptions, read_text

LISTS = {"train": "train/listfile.csv", "test": "test/listfile.csv"}
# What the benchmark's split_train_val adds: the stays of val lie in the folder train too.
DIVIDED = {
    "train": "train_listfile.csv",
    "val": "val_listfile.csv",
    "test": "test_listfile.csv",
}
_HEADER = ["stay", "y_true"]


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the stays that the lists name; with the benchmark's validation split where it exists.

    A stay that a list names and that isn't there is rejected when it is read.

    Raises:
      InputError: a list is missing, or has another header, a line that isn't STAY,0 or STAY,1, or a
        stay twice.
    """
    del options
    files = manifest.list_files(root)
    lists = DIVIDED if DIVIDED["val"] in files else LISTS
    missing = [path for path in lists.values() if path not in files]
    if missing:
        raise manifest.InputError(
            f"--input={root}: no {' and no '.join(missing)}; name the folder in-hospital-mortality "
            "that mimic3-benchmarks has written"
        )
    items: dict[str, manifest.Item] = {}
    for split, path in lists.items():
        where = manifest.join(root, path)
        rows = list(csv.reader(read_text(root, path).splitlines()))
        if not rows or [cell.strip() for cell in rows[0]] != _HEADER:
            raise manifest.InputError(f"{where} doesn't begin with {','.join(_HEADER)}")
        for number, row in enumerate(rows[1:], 2):
            if len(row) != 2 or not row[0].strip():
                raise manifest.InputError(f"{where}: line {number} isn't STAY,0 or STAY,1")
            stay = f"{'test' if split == 'test' else 'train'}/{row[0].strip()}"
            if stay in items:
                raise manifest.InputError(f"{where}: line {number} names {stay} again")
            label = stays.label(row[1], f"{where}: line {number}")
            items[stay] = manifest.Item(stay, stay, label, split)
    known = {*items, *LISTS.values(), *DIVIDED.values()}
    aside = len(set(files) - known)
    notes = [f"{aside:,} files that no list names were left aside"] if aside else []
    return manifest.Listing(list(items.values()), notes, stays.LABELS)


DATASET = stays.dataset(
    "mimic3",
    summary="MIMIC-III as of mimic3-benchmarks: 48 hours of intensive care, death in hospital",
    layouts=(
        "train/STAY.csv, test/STAY.csv and a listfile.csv (stay,y_true) in each",
        "the same with train_listfile.csv, val_listfile.csv and test_listfile.csv above them",
    ),
    list_items=list_items,
)
