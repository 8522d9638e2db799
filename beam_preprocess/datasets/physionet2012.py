"""PhysioNet/Computing in Cardiology Challenge 2012: two days in intensive care, who died there."""

from __future__ import annotations

import csv
import hashlib
import re

from beam_preprocess import manifest
from beam_preprocess.datasets import stays
from beam_preprocess.datasets.dataset import ReadOptions, read_text

FOLDS = 5
_TABLE = re.compile(r"(?:.*/)?Outcomes-(?P<set>[a-z])\.txt")
_STAY = re.compile(r"(?:.*/)?set-(?P<set>[a-z])/(?P<record>[^/]+)\.txt")
_COLUMNS = ("RecordID", "In-hospital_death")


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the stays that have an outcome; fold `options.test_fold` of five is the test split.

    A stay's fold is drawn by a hash of its record's number alone.

    Raises:
      InputError: no table of outcomes or no stay that it names, a line without a record or an
        outcome, a record that is named twice, no such fold.
    """
    if options.test_fold > FOLDS:
        raise manifest.InputError(f"--test_fold={options.test_fold}: there are {FOLDS} folds")
    files = manifest.list_files(root)
    tables = {match["set"]: path for path in files if (match := _TABLE.fullmatch(path))}
    found = {path: match for path in files if (match := _STAY.fullmatch(path))}
    if not tables or not found:
        raise manifest.InputError(
            f"--input={root}: no {'Outcomes-a.txt' if not tables else 'set-a/*.txt'}; "
            "name the folder that has Outcomes-a.txt and set-a"
        )
    outcomes: dict[tuple[str, str], str] = {}
    for letter, path in tables.items():
        where = manifest.join(root, path)
        rows = csv.DictReader(read_text(root, path).splitlines())
        for number, row in enumerate(rows, 2):
            missing = [column for column in _COLUMNS if not row.get(column)]
            if missing:
                raise manifest.InputError(
                    f"{where}: line {number} has no {' and no '.join(missing)}"
                )
            key = (letter, row["RecordID"].strip())
            if key in outcomes:
                raise manifest.InputError(f"{where}: line {number} names {key[1]} again")
            outcomes[key] = stays.label(row["In-hospital_death"], f"{where}: line {number}")
    items = [
        manifest.Item(
            path, path, outcome, "test" if _fold(match["record"]) == options.test_fold else "train"
        )
        for path, match in found.items()
        if (outcome := outcomes.get((match["set"], match["record"])))
    ]
    if not items:
        raise manifest.InputError(
            f"--input={root}: {', '.join(tables.values())} name none of the stays"
        )
    notes = []
    if aside := len(found) - len(items):
        notes.append(f"{aside:,} stays without an outcome were left aside")
    if absent := len(outcomes) - len(items):
        notes.append(f"{absent:,} outcomes have no stay")
    if others := len(files) - len(found) - len(tables):
        notes.append(f"{others:,} files that are no stays were left aside")
    return manifest.Listing(items, notes, stays.LABELS)


def _fold(record: str) -> int:
    """1 to `FOLDS`."""
    digest = hashlib.sha256(f"fold:{record}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") % FOLDS + 1


DATASET = stays.dataset(
    "physionet2012",
    summary="PhysioNet Challenge 2012: 48 hours of intensive care, death in hospital, 5 folds",
    layouts=("set-a/RECORD.txt (Time,Parameter,Value) and Outcomes-a.txt; sets b and c alike",),
    list_items=list_items,
    options=("test_fold",),
)
