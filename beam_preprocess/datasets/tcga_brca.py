"""TCGA-BRCA: breast cancer's molecular profiles with survival, and the literature's five folds.

With `--bags` also the features of the patches of the patients' whole slides.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from beam_preprocess.statistics import Totals
from pipelines import records
from pipelines.readers import Rejected, bags, omics

FEATURES = {
    "omics": records.Feature("float32", (None,)),
    "time": records.Feature("float32"),
    "event": records.Feature("int64"),
    "key": records.Feature("bytes"),
}
# One patch after the other; the property "patch_width" says how wide they are.
PATCHES = {"patches": records.Feature("float32", (None,))}
BAG_OPTIONS = ("patch_width", "max_patches", "seed")
SIGNATURES = "signatures.csv"
SPLITS = "splits/"
LAST_MONTH = 600  # Of the counts of events by month; the last month takes in what is later.


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the patients that the fold's file of splits names.

    The folds are numbered from 1, in the order of the names of the files in splits/; the patients
    of `options.test_fold`'s column "val" are the test split. A patient that is named and isn't in
    the table is rejected when it is read. One without a bag is listed all the same, and counted in
    a note.

    Raises:
      InputError: no table or several, columns that it lacks, no such fold, a patient in both, no
        bag of any patient, two bags of one name.
    """
    files = manifest.list_files(root)
    path = _table_path(root, files)
    try:
        _read.cache_clear()  # The files may have changed since they were listed before.
        source = _read(root, path)
    except Rejected as error:
        raise manifest.InputError(f"--input={root}: {error.detail}") from None
    needed = (omics.TIME, omics.CENSORED)
    lacking = [column for column in needed if column not in source.table.header]
    if lacking or not source.groups:
        what = f"column {lacking[0]!r}" if lacking else "column of a gene, such as TP53_rnaseq"
        raise manifest.InputError(f"{manifest.join(root, path)}: no {what}")
    splits = _fold(root, files, options.test_fold)
    found, notes = _bags(root, files, options, source, splits) if options.bags else ({}, [])
    items = [
        manifest.Item(patient, path, split=split, details=found.get(patient, ()))
        for patient, split in splits.items()
    ]
    unnamed = len(source.rows.keys() - splits.keys())
    if unnamed:
        notes.append(f"{unnamed:,} patients that the fold doesn't name were left aside")
    return manifest.Listing(items, notes, properties={"groups": source.groups})


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Reads one patient.

    Returns:
      "omics": float32 `[n]`, the values by group, one group after the other, NaN for what is
      missing; "time": float32, months; "event": int64, 1 for a death and 0 for censored. With
      `options.bags` "patches": float32 `[n]`, at most `options.max_patches` of all slides, one
      after the other; none for a patient without a bag.

    Raises:
      Rejected: as `pipelines.readers.omics.read_patient` and `pipelines.readers.bags.read`.
    """
    source = _read(root, item.path)
    rows = source.rows.get(item.key, [])
    fields = omics.read_patient(source.table, rows, source.columns, item.key)
    if options.bags:
        width = options.patch_width
        slides = [bags.read(read_bytes(root, path), path, width) for path in item.details]
        bag = np.concatenate([np.empty((0, width), np.float32), *slides])
        bag = bags.chosen(bag, options.max_patches, options.seed, item.key)
        fields["patches"] = bag.reshape(-1)
    return fields


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Whole months, the event, how many values are missing, how many numbers patches have."""
    measured = {
        "months": int(fields["time"]),
        "event": int(fields["event"]),
        "missing": int(np.isnan(fields["omics"]).sum()),
    }
    return measured | ({"patch_values": len(fields["patches"])} if "patches" in fields else {})


def totals(fields: dict[str, Any]) -> Totals:
    """What training needs to know of all its patients.

    Of every value, as asinh(value), which leaves the middle as it is and draws outliers of many
    thousands in: "count", "sum" and "squares". Of the times, by whole months from 0 to
    `LAST_MONTH`: the "events" and the "censored". Of the numbers of patches, where there are bags:
    "patches", how many, their sum, the sum of their squares.
    """
    measured = ~np.isnan(fields["omics"])
    values = np.where(measured, np.arcsinh(fields["omics"].astype(np.float64)), 0.0)
    month = min(int(fields["time"]), LAST_MONTH)
    by_month = np.zeros((2, LAST_MONTH + 1))
    by_month[int(fields["event"]), month] = 1.0
    summed = {
        "count": measured.astype(np.float64).tolist(),
        "sum": values.tolist(),
        "squares": (values**2).tolist(),
        "events": by_month[1].tolist(),
        "censored": by_month[0].tolist(),
    }
    if "patches" in fields:
        patches = fields["patches"].astype(np.float64)
        summed["patches"] = [float(patches.size), float(patches.sum()), float((patches**2).sum())]
    return summed


def check_record(fields: dict[str, Any], where: str) -> None:
    """Looks at a record again: its values, its time above 0, its event, its patches.

    Raises:
      Rejected: what `read_item` would have refused.
    """
    omics.check(fields["omics"], where)
    bags.check(fields.get("patches", np.empty(0)), where)
    if not 0 < fields["time"] <= omics.MAX_MONTHS:
        raise Rejected("event-time-zero", f"{where}: its time is {fields['time']:g} months")
    if fields["event"] not in (0, 1):
        raise Rejected("no-event", f"{where}: its event is {fields['event']}")


@dataclasses.dataclass(frozen=True)
class _Source:
    """The table, each patient's rows, the groups of columns, and these one after the other."""

    table: omics.Table
    rows: dict[str, list[int]]
    groups: dict[str, list[str]]
    columns: list[str]


def _table_path(root: str, files: list[str]) -> str:
    found = [
        path
        for path in files
        if "/" not in path and path.lower().endswith((".csv", ".csv.zip")) and path != SIGNATURES
    ]
    if len(found) != 1:
        raise manifest.InputError(
            f"--input={root}: {len(found)} tables (*.csv or *.csv.zip beside {SIGNATURES} and "
            f"{SPLITS}), one is needed"
        )
    return found[0]


def _fold(root: str, files: list[str], fold: int) -> dict[str, str]:
    """Patient to split, in the order of the file."""
    paths = [path for path in files if path.startswith(SPLITS) and path.endswith(".csv")]
    if fold > len(paths):
        raise manifest.InputError(
            f"--input={root}: --test_fold={fold}, but {len(paths)} files in {SPLITS}"
        )
    where = manifest.join(root, paths[fold - 1])
    try:
        table = omics.read_table(read_bytes(root, paths[fold - 1]), where)
    except Rejected as error:
        raise manifest.InputError(error.detail) from None
    found: dict[str, str] = {}
    for column, split in (("train", "train"), ("val", "test")):
        if column not in table.header:
            raise manifest.InputError(f"{where}: no column {column!r}")
        place = table.header.index(column)
        patients = [row[place].strip() for row in table.rows if place < len(row)]
        for patient in filter(None, patients):
            if found.setdefault(patient, split) != split:
                raise manifest.InputError(f"{where}: {patient} is in train and in val")
    return found


def _bags(
    root: str, files: list[str], options: ReadOptions, source: _Source, patients: Iterable[str]
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Patient to the paths of its bags, and notes on patients without and bags without patient."""
    folder = options.bags.strip("/") + "/"
    try:
        named = bags.by_name(path for path in files if path.startswith(folder))
    except Rejected as error:
        raise manifest.InputError(f"--input={root}: {error.detail}") from None
    found = {}
    for patient in patients:
        slides = source.table.slides(source.rows.get(patient, []))
        if paths := bags.of_patient(patient, slides, named):
            found[patient] = tuple(paths)
    if not found:
        raise manifest.InputError(
            f"--bags={options.bags}: {len(named):,} {bags.SUFFIX} files in "
            f"{manifest.join(root, folder)}, none of a {omics.SLIDE} or {omics.PATIENT} of the fold"
        )
    without = sum(patient not in found for patient in patients)
    unused = len(set(named.values()) - {path for paths in found.values() for path in paths})
    notes = [f"{without:,} patients have no bag: their profile alone is read"] if without else []
    if unused:
        notes.append(f"{unused:,} bags of no patient of the fold were left aside")
    return found, notes


# A shard takes patients from all over the table: it is parsed once a worker.
@functools.lru_cache(maxsize=1)
def _read(root: str, path: str) -> _Source:
    table = omics.read_table(read_bytes(root, path), path)
    families = None
    if SIGNATURES in manifest.list_files(root):
        families = omics.read_signatures(read_bytes(root, SIGNATURES), SIGNATURES)
    groups = omics.groups(table.header, families)
    columns = [column for group in groups.values() for column in group]
    return _Source(table, table.patients(), groups, columns)


DATASET = Dataset(
    summary="TCGA-BRCA: molecular profiles with survival, one of five folds as test",
    layouts=(
        "TABLE.csv or .csv.zip (case_id,survival_months,censorship,GENE_rnaseq|_cnv|_mut,...),",
        "splits/*.csv, one a fold (train,val), and, if there is one, signatures.csv;",
        "with --bags=FOLDER: FOLDER/**/SLIDE.npy or PATIENT.npy, [patches, width], named for the",
        "  table's slide_id (with or without .svs) or case_id",
    ),
    features=FEATURES,
    further_features=lambda options: PATCHES if options.bags else {},
    properties=lambda options: (
        {name: getattr(options, name) for name in BAG_OPTIONS} if options.bags else {}
    ),
    options=("test_fold", "bags", *BAG_OPTIONS),
    list_items=list_items,
    read_item=read_item,
    measure=measure,
    totals=totals,
    check_record=check_record,
)
