"""AudioSet: stretches of videos of ten seconds, each with any number of 527 labels.

The lists are those that are published with the ontology; of the media, whatever there is.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets import grid
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes, read_text
from pipelines import records
from pipelines.readers import Rejected, audio, video

LABELS = "class_labels_indices.csv"
LISTS = {
    "balanced_train_segments.csv": "train",
    "unbalanced_train_segments.csv": "train",
    "eval_segments.csv": "test",
}
FEATURES = {
    **{name: grid.FEATURES[name] for name in ("frames", "audio", "audio_present")},
    "labels": records.Feature("int64", (None,)),
    "key": records.Feature("bytes"),
}
# A video's id has 11 characters. Behind it may stand where the file was cut out, in seconds or
# milliseconds; before it a Y, so that it isn't taken for a flag.
_NAME = re.compile(r"(?P<id>Y?[\w-]{11})(?:_(?P<start>\d+(?:\.\d+)?)(?:_\d+(?:\.\d+)?)?)?")
# How much longer than its segment a file is that holds the whole video.
_WHOLE_SECONDS = 0.5


class Segment(NamedTuple):
    """A line of a list: video, from and to which second, the labels' ids."""

    video: str
    start: float
    end: float
    labels: tuple[str, ...]


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the segments that there are media files of.

    Raises:
      InputError: no list of labels, no list of segments, a malformed line, or no media at all.
    """
    files = manifest.list_files(root)
    by_name = {path.rpartition("/")[2]: path for path in files}
    found = [name for name in LISTS if name in by_name]
    if LABELS not in by_name or not found:
        raise manifest.InputError(
            f"--input={root}: needs {LABELS} and at least one of {', '.join(LISTS)}; "
            "name the folder that has them beside the media"
        )
    names = read_labels(root, by_name[LABELS])
    numbers = {label: number for number, label in enumerate(names)}
    suffixes = video.SUFFIXES if options.frame_size else video.SUFFIXES | audio.SUFFIXES
    media = _media(files, suffixes)
    items, missing, used = [], 0, set()
    for name in found:
        for segment in read_segments(root, by_name[name]):
            path, cut = _file_of(segment, media)
            if path is None:
                missing += 1
                continue
            used.add(path)
            items.append(_item(segment, path, cut, LISTS[name], numbers))
    if not items:
        raise manifest.InputError(
            f"--input={root}: none of {missing:,} segments has a media file named after its "
            "video, such as YTID.mp4 or YTID_30.mp4"
        )
    notes = [f"{missing:,} segments have no media file: left aside"] if missing else []
    unnamed = sum(len(paths) for paths in media.values()) - len(used)
    if unnamed:
        notes.append(f"{unnamed:,} media files that no list names were left aside")
    return manifest.Listing(items, notes, tuple(names.values()))


def read_labels(root: str, path: str) -> dict[str, str]:
    """Ids of the labels and their names, in the official order.

    Raises:
      InputError: another header or order.
    """
    rows = list(csv.DictReader(read_text(root, path).splitlines()))
    for number, row in enumerate(rows):
        if row.get("index") != str(number) or not row.get("mid") or not row.get("display_name"):
            raise manifest.InputError(
                f"{manifest.join(root, path)}: line {number + 2} isn't index,mid,display_name "
                f"with index {number}"
            )
    return {row["mid"]: row["display_name"] for row in rows}


def read_segments(root: str, path: str) -> Iterator[Segment]:
    """The segments of a list.

    Raises:
      InputError: a malformed line.
    """
    lines = read_text(root, path).splitlines()
    rows = csv.reader(
        (line if not line.startswith("#") else "" for line in lines), skipinitialspace=True
    )
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        try:
            name, start, end, labels = row
            segment = Segment(name, float(start), float(end), tuple(labels.split(",")))
        except ValueError:
            segment = Segment("", 0, 0, ())
        if not 0 <= segment.start < segment.end:
            raise manifest.InputError(
                f"{manifest.join(root, path)}: line {number} isn't "
                'YTID, start_seconds, end_seconds, "labels"'
            )
        yield segment


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Decodes one segment. A file without sound becomes one with silence.

    Returns:
      {"frames": JPEGs, "audio": int16 `[n]`, "audio_present": 0 or 1, "labels": int64 `[k]`}.

    Raises:
      Rejected: as `pipelines.readers.video.read`; a label that isn't in the list of labels.
    """
    start, end, cut, *labels = item.details
    unknown = [label for label in labels if isinstance(label, str)]
    if unknown:
        raise Rejected("unknown-label", f"{item.key}: {LABELS} has no {unknown[0]}")
    data = read_bytes(root, item.path)
    if not cut:
        # Many store the segment alone under the video's name.
        length = video.seconds(data)
        cut = length is None or length <= end - start + _WHOLE_SECONDS
    if cut:
        start, end = 0.0, end - start
    fields = grid.read_clip(data, item.path, options, need_sound=False, start=start, end=end)
    return {**fields, "labels": np.array(sorted(labels), np.int64)}


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """As of GRID, and the number of labels."""
    return {**grid.measure(fields), "labels": len(fields["labels"])}


def _media(files: list[str], suffixes: frozenset[str]) -> dict[str, list[str]]:
    """Name without extension -> media files of that name."""
    media: dict[str, list[str]] = {}
    for path in files:
        stem, _, suffix = path.rpartition("/")[2].rpartition(".")
        if f".{suffix.lower()}" in suffixes and (named := _NAME.fullmatch(stem)):
            media.setdefault(named["id"], []).append(path)
    return media


def _file_of(segment: Segment, media: dict[str, list[str]]) -> tuple[str | None, bool]:
    """The file that has a segment, and whether it holds that alone: by name, if there is one."""
    candidates = [*media.get(segment.video, ()), *media.get(f"Y{segment.video}", ())]
    whole = None
    for path in candidates:
        named = _NAME.fullmatch(path.rpartition("/")[2].rpartition(".")[0])
        if named["start"] is None:
            whole = whole or path
        elif float(named["start"]) in (segment.start, 1000 * segment.start):
            return path, True
    return whole, False


def _item(
    segment: Segment, path: str, cut: bool, split: str, numbers: dict[str, int]
) -> manifest.Item:
    labels = (numbers.get(label, label) for label in dict.fromkeys(segment.labels))
    details = (segment.start, segment.end, int(cut), *labels)
    return manifest.Item(f"{path}#{segment.start:g}", path, split=split, details=details)


DATASET = Dataset(
    summary="AudioSet: segments of videos, picture and sound, any number of 527 labels",
    layouts=(
        "class_labels_indices.csv, *_segments.csv as published, and media in any folder:",
        "YTID.mp4 (any container; the whole video or the segment) or YTID_START.mp4 (the segment),",
        "START in seconds or milliseconds; a Y may stand before YTID",
        "with --frame_size=0 also sounds: YTID.wav, .flac, .m4a, ...",
    ),
    features=FEATURES,
    options=("fps", "frame_size", "sample_rate"),
    list_items=list_items,
    read_item=read_item,
    measure=measure,
    properties=grid.properties,
    check_record=grid.check_record,
)
