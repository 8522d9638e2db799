"""GLUE: nine tasks on English sentences, in the tab-separated files that its authors give.

A record's text is the sentence, or both sentences with the tab between them that stood in the file;
no sentence has one inside.

Source of the layouts: the archives that gluebenchmark.com/tasks names.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets import text_files
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, open_at, read_bytes
from pipelines import records
from pipelines.readers import Rejected, text

TRAIN, DEV = "train.tsv", {"dev.tsv": "val"}
MAX_SCORE = 5.0  # Of STS-B, from 0 on.


@dataclasses.dataclass(frozen=True)
class Layout:
    """The files of one task.

    Attributes:
      sentences: names of the columns with one sentence or two.
      label: name of the column with the label or score.
      labels: what stands there -> the class's name, in the classes' official order; empty for
        scores.
      columns: names of all columns where the files have no header.
      dev: files with held-out examples -> their split.
    """

    sentences: tuple[str, ...]
    label: str
    labels: dict[str, str]
    columns: tuple[str, ...] | None = None
    dev: dict[str, str] = dataclasses.field(default_factory=lambda: dict(DEV))


def _named(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _numbered(*names: str) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


LAYOUTS = {
    "cola": Layout(
        ("sentence",), "label", _numbered("unacceptable", "acceptable"),
        columns=("source", "label", "original", "sentence"),
    ),
    "mnli": Layout(
        ("sentence1", "sentence2"), "gold_label", _named("entailment", "neutral", "contradiction"),
        dev={"dev_matched.tsv": "val", "dev_mismatched.tsv": "val_mismatched"},
    ),
    "mrpc": Layout(
        ("#1 String", "#2 String"), "Quality", _numbered("not_equivalent", "equivalent")
    ),
    "qnli": Layout(("question", "sentence"), "label", _named("entailment", "not_entailment")),
    "qqp": Layout(
        ("question1", "question2"), "is_duplicate", _numbered("not_duplicate", "duplicate")
    ),
    "rte": Layout(("sentence1", "sentence2"), "label", _named("entailment", "not_entailment")),
    "sst2": Layout(("sentence",), "label", _numbered("negative", "positive")),
    "stsb": Layout(("sentence1", "sentence2"), "score", {}),
    "wnli": Layout(("sentence1", "sentence2"), "label", _numbered("not_entailment", "entailment")),
}  # fmt: skip


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the rows of a task's files; see `list_rows`."""
    return list_rows(root, options.glue_task)


def list_rows(root: str, task: str) -> manifest.Listing:
    """Lists the rows of train.tsv and of the held-out files, by reading them.

    A row with too few columns or a strange label is an item, to be rejected. test.tsv has no
    labels and is left aside.

    Args:
      root: the folder with the files.
      task: one of `LAYOUTS`.

    Raises:
      InputError: a file is missing, has other columns, or no rows.
    """
    layout, files = LAYOUTS[task], manifest.list_files(root)
    splits = {TRAIN: "train", **layout.dev}
    missing = [name for name in splits if name not in files]
    if missing:
        raise manifest.InputError(
            f"--input={root}: no {' and no '.join(missing)}; name the folder of {task.upper()}'s "
            "files"
        )
    items = []
    # A row that will be rejected needs a label of its split's all the same.
    names = tuple(layout.labels.values()) or ("",)
    for name, split in splits.items():
        columns = _columns(root, name, task)
        place, start = columns.index(layout.label), 0
        before = len(items)
        for number, line in enumerate(read_bytes(root, name).split(b"\n"), 1):
            row = line.rstrip(b"\r").split(b"\t")
            if line.strip() and (layout.columns or number > 1):
                said = row[place].decode(errors="replace") if place < len(row) else ""
                label = layout.labels.get(said, names[0])
                items.append(manifest.Item(f"{name}#{number}", name, label, split, start))
            start += len(line) + 1
        if len(items) == before:
            raise manifest.InputError(f"{manifest.join(root, name)} has no rows; unpack it again")
    others = len(files) - len(splits)
    notes = [f"{others:,} files other than {', '.join(splits)} were left aside"] if others else []
    return manifest.Listing(items, notes, labels=tuple(layout.labels.values()))


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Reads one row.

    Returns:
      {"text": the sentence, or both with a tab between}.

    Raises:
      Rejected: too few or too many columns, a label that the task doesn't have, a sentence that is
        empty or not UTF-8.
    """
    said, sentences = _read_row(root, item, options.glue_task)
    if said not in LAYOUTS[options.glue_task].labels:
        known = ", ".join(LAYOUTS[options.glue_task].labels)
        raise Rejected("strange-label", f"{item.key} has label {said!r}, there are {known}")
    return {"text": sentences}


def read_scored(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Reads one row of STS-B.

    Returns:
      {"text": both sentences with a tab between, "score": float32, from 0 to 5}.

    Raises:
      Rejected: as `read_item`, and a score outside its range.
    """
    del options
    said, sentences = _read_row(root, item, "stsb")
    try:
        score = float(said)
    except ValueError:
        score = math.nan
    if not 0 <= score <= MAX_SCORE:
        raise Rejected("strange-score", f"{item.key} has score {said!r}, 0 to {MAX_SCORE:g} are")
    return {"text": sentences, "score": np.float32(score)}


def _read_row(root: str, item: manifest.Item, task: str) -> tuple[str, bytes]:
    """What stands in the column of the label, and the sentences."""
    layout, columns = LAYOUTS[task], _columns(root, item.path, task)
    with open_at(root, item.path, item.index) as file:
        row = file.readline().rstrip(b"\r\n").split(b"\t")
    if len(row) != len(columns):
        raise Rejected("odd-row", f"{item.key} has {len(row)} columns, the file {len(columns)}")
    sentences = [
        text.check(row[columns.index(name)], f"{item.key}, {name}") for name in layout.sentences
    ]
    return row[columns.index(layout.label)].decode(errors="replace"), b"\t".join(sentences)


@functools.lru_cache(maxsize=64)
def _columns(root: str, name: str, task: str) -> tuple[str, ...]:
    """Names of a file's columns.

    Raises:
      InputError: the task's are not among them.
    """
    layout = LAYOUTS[task]
    if layout.columns:
        return layout.columns
    with open_at(root, name, 0) as file:
        header = file.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n").split("\t")
    missing = [column for column in (*layout.sentences, layout.label) if column not in header]
    if missing:
        raise manifest.InputError(
            f"{manifest.join(root, name)} has no column {' and no '.join(map(repr, missing))}, as "
            f"{task.upper()} has; are these another task's files?"
        )
    return tuple(header)


DATASET = Dataset(
    summary="a task of GLUE that classifies: CoLA, MNLI, MRPC, QNLI, QQP, RTE, SST-2 or WNLI",
    layouts=(
        "train.tsv, dev.tsv (MNLI: dev_matched.tsv, dev_mismatched.tsv), with --glue_task=NAME",
    ),
    features={**text_files.FEATURES, "label": records.Feature("int64")},
    list_items=list_items,
    read_item=read_item,
    check_record=text_files.check_record,
    measure=text_files.measure,
    options=("glue_task",),
    properties=lambda options: {"glue_task": options.glue_task},
)
STSB = dataclasses.replace(
    DATASET,
    summary="STS-B of GLUE: how alike two sentences are, a score from 0 to 5",
    layouts=("train.tsv, dev.tsv",),
    features={**text_files.FEATURES, "score": records.Feature("float32")},
    list_items=lambda root, options: list_rows(root, "stsb"),
    read_item=read_scored,
    options=(),
    properties=lambda options: {"glue_task": "stsb"},
)
