"""Audio-visual generalised zero-shot learning: UCF, ActivityNet and VGGSound, as AVCA divides them.

A clip is a sequence of sound features and one of picture features. Stage 1 trains on some classes
and is evaluated on clips of these and of others; what it chose is what stage 2, with more classes
in training, is tested with.

Source of splits and layout: Mercea et al., CVPR 2022, and the code published with it.
"""

from __future__ import annotations

import csv
import dataclasses
import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, open_at, read_bytes, read_text
from beam_preprocess.statistics import Totals
from pipelines import records
from pipelines.readers import Rejected, clip_features, word_vectors

FEATURES = {
    # Rows one after the other; the properties "audio_width" and "video_width" say how wide.
    "audio_features": records.Feature("float32", (None,)),
    "video_features": records.Feature("float32", (None,)),
    "label": records.Feature("int64"),
    "key": records.Feature("bytes"),
}
WIDTHS = {"cls": {"audio": 128, "video": 4096}, "main": {"audio": 512, "video": 512}}
LISTS = {
    1: {"stage_1_train": "train", "stage_1_val_seen": "val", "stage_1_val_unseen": "val"},
    2: {"stage_2_train": "train", "stage_2_test_seen": "test", "stage_2_test_unseen": "test"},
}
"""Stage -> list of clips -> split."""

_NAMES = re.compile(r"(?P<folder>(?:.*/)?)class-split/(?P<name>\w+)_w2v_class_names\.csv")
_VECTORS = {"ucf": "ucf", "activitynet": "activity", "vggsound": "vggsound"}


def widths(options: ReadOptions) -> dict[str, int]:
    """Numbers of a row, {"audio": ..., "video": ...}."""
    usual = WIDTHS[options.feature_set]
    return {
        "audio": options.audio_width or usual["audio"],
        "video": options.video_width or usual["video"],
    }


class Source(Protocol):
    """Where the clips of a benchmark are.

    Attributes:
      where: that is, for a note: "of the features".
    """

    where: str

    def item(self, clip: str, label: str, name: str, split: str) -> manifest.Item | None:
        """A clip of the list `name`; None: it isn't there and is left aside."""

    def unlisted(self, name: str, classes: frozenset[str]) -> list[list[str]] | None:
        """The clips of a list whose .csv isn't there, with their classes; None: that is needed."""


Find = Callable[[str, list[str], str, ReadOptions], Source]
"""(input folder, its files, the benchmark's folder among them, options) to where clips are."""


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the clips of a stage; of features, opens no more than the names in .h5 files.

    Raises:
      InputError: as `list_clips`; no features.
    """
    return list_clips(root, options, _Features.find)


def list_clips(root: str, options: ReadOptions, find: Find) -> manifest.Listing:
    """Lists the clips of a stage.

    Classes are those of the lists' .txt files, as in the benchmark: clips of others are left aside.
    A class is found under its name in other files also where these spell it in capitals.

    Args:
      root: input folder.
      options: benchmark, stage, and whose class splits.
      find: looks for the clips.

    Raises:
      InputError: files of the benchmark are missing or hold something else, a class without a word
        vector or both seen and unseen, a clip in two lists; as `find` and `Source.unlisted`.
    """
    files = manifest.list_files(root)
    folder = _folder(root, files, options.benchmark)
    classes = {name: _classes(root, files, folder, name, options) for name in LISTS[options.stage]}
    unseen = {label for name in classes if name.endswith("_unseen") for label in classes[name]}
    seen = {label for name in classes if name.endswith("_seen") for label in classes[name]}
    seen |= {label for name in classes if name.endswith("_train") for label in classes[name]}
    if both := sorted(seen & unseen):
        raise manifest.InputError(
            f"--input={root}: class {both[0]!r} is seen and unseen in the lists of stage "
            f"{options.stage}"
        )
    labels = tuple(sorted(seen | unseen))
    vectors = _vectors(root, files, folder, labels, options)
    source = find(root, files, folder, options)
    items, notes, listed, aside, missing = [], [], {}, 0, 0
    for name, split in LISTS[options.stage].items():
        rows = _rows(root, files, folder, name, classes[name], source, notes, options)
        for clip, label in rows:
            if label not in classes[name]:
                aside += 1
                continue
            if clip in listed:
                where = f"{listed[clip]} and {name}" if listed[clip] != name else f"{name} twice"
                raise manifest.InputError(f"--input={root}: clip {clip} is listed in {where}")
            listed[clip] = name
            if item := source.item(clip, label, name, split):
                items.append(item)
            else:
                missing += 1
    if missing:
        notes.append(f"{missing:,} clips of the lists have no file: left aside")
    if aside:
        notes.append(f"{aside:,} clips of classes that the lists' .txt don't name were left aside")
    properties = {"unseen": sorted(unseen), "word_vectors": records.pack_floats(vectors)}
    return manifest.Listing(items, notes, labels, properties, frozenset(unseen))


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Reads a clip's features.

    Returns:
      "audio_features", "video_features": float32 `[n]`, the rows one after the other.

    Raises:
      Rejected: no file or no such clip in it, rows of another width, NaN or infinity.
    """
    wide = widths(options)
    if not item.details:
        try:
            data = read_bytes(root, item.path)
        except FileNotFoundError:
            raise Rejected("missing-features", f"{item.key}: there is no {item.path}") from None
        found = clip_features.read(data, item.path, wide)
    else:
        places = {"audio": (item.path, item.index), "video": item.details}
        found = {}
        for modality, (path, index) in places.items():
            if index < 0:
                raise Rejected("missing-features", f"{item.key}: not in {path}")
            with open_at(root, path, 0) as file:
                found[modality] = clip_features.read_clip(
                    file, index, f"{item.key}: {path}", wide[modality]
                )
    return {f"{modality}_features": rows.reshape(-1) for modality, rows in found.items()}


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """How many numbers there are of sound and of picture."""
    return {
        f"{modality}_values": len(fields[f"{modality}_features"])
        for modality in clip_features.MODALITIES
    }


def totals(fields: dict[str, Any]) -> Totals:
    """Of the numbers of sound and of picture: how many, their sum, the sum of their squares."""
    found = {}
    for modality in clip_features.MODALITIES:
        values = fields[f"{modality}_features"].astype(np.float64)
        found[modality] = [float(values.size), float(values.sum()), float((values**2).sum())]
    return found


def check_record(fields: dict[str, Any], where: str) -> None:
    """Looks at a record again.

    Raises:
      Rejected: no features, NaN or infinity.
    """
    for modality in clip_features.MODALITIES:
        values = fields[f"{modality}_features"]
        clip_features.check(values, f"{where}: {modality}", len(values))


@dataclasses.dataclass(frozen=True)
class _Features:
    """Where the features are.

    Attributes:
      root: the input folder. folder: of the features, below it, with a slash at its end.
      clips: of .npz files, by the clip's name; None where there are packs.
      packs: .h5 files in lower case -> as they are written.
      places: the clips of a pack, opened as they are asked for -> their places in it.
      where: see `Source`.
    """

    root: str
    folder: str
    clips: Mapping[str, str] | None
    packs: Mapping[str, str]
    places: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)
    where: ClassVar[str] = "of the features"

    @classmethod
    def find(cls, root: str, files: list[str], folder: str, options: ReadOptions) -> _Features:
        below = f"{folder}features/{options.feature_set}_features/"
        mine = [path for path in files if path.startswith(below)]
        packs = {path.lower(): path for path in mine if path.lower().endswith(".h5")}
        clips: dict[str, str] = {}
        for path in mine:
            stem, suffix = posixpath.splitext(posixpath.basename(path))
            if suffix.lower() in clip_features.SUFFIXES and clips.setdefault(stem, path) != path:
                raise manifest.InputError(f"--input={root}: {clips[stem]} and {path} are one clip")
        if not packs and not clips:
            raise manifest.InputError(
                f"--input={root}: no features in {below}; audio/LIST/CLASS.h5 and "
                "video/LIST/CLASS.h5, or CLIP.npz, are read"
            )
        return cls(root, below, None if packs else clips, packs)

    def item(self, clip: str, label: str, name: str, split: str) -> manifest.Item:
        """The clip; where its features are missing, it is rejected when it is read."""
        if self.clips is not None:
            path = self.clips.get(clip, f"{self.folder}{clip}.npz")
            return manifest.Item(clip, path, label, split)
        audio, video = (self.pack(modality, name, label) for modality in clip_features.MODALITIES)
        first, second = (self._places(path).get(clip, -1) for path in (audio, video))
        return manifest.Item(clip, audio, label, split, first, details=(video, second))

    def pack(self, modality: str, name: str, label: str) -> str:
        """The pack of a class; where there is none, how it would be called."""
        path = f"{self.folder}{modality}/{name}/{label}.h5"
        return self.packs.get(path.lower(), path)

    def unlisted(self, name: str, classes: frozenset[str]) -> list[list[str]] | None:
        """Those that the packs of the list's classes name; single files need the list."""
        if self.clips is not None:
            return None
        return [
            [clip, label]
            for label in sorted(classes)
            for clip in self._places(self.pack("audio", name, label))
        ]

    def _places(self, path: str) -> dict[str, int]:
        if path not in self.places:
            names: list[str] = []
            if path.lower() in self.packs:
                try:
                    with open_at(self.root, path, 0) as file:
                        names = clip_features.read_names(file, path)
                except Rejected as error:
                    raise manifest.InputError(f"--input={self.root}: {error.detail}") from None
            self.places[path] = {clip: index for index, clip in enumerate(names)}
        return self.places[path]


def _folder(root: str, files: list[str], benchmark: str) -> str:
    found = {match["name"]: match["folder"] for path in files if (match := _NAMES.fullmatch(path))}
    if benchmark not in found:
        has = f"there are {', '.join(sorted(found))}" if found else "there is none"
        raise manifest.InputError(
            f"--input={root}: no class-split/{benchmark}_w2v_class_names.csv, {has}; --benchmark "
            "says which is read"
        )
    return found[benchmark]


def _text(root: str, files: list[str], path: str) -> str:
    if path not in files:
        raise manifest.InputError(f"--input={root}: no {path}; unpack the benchmark again")
    return read_text(root, path)


def list_path(folder: str, name: str, options: ReadOptions) -> str:
    """Path of a list of clips or classes, below the input folder."""
    return f"{folder}class-split/{options.feature_set}_split/{name}"


def _classes(
    root: str, files: list[str], folder: str, name: str, options: ReadOptions
) -> frozenset[str]:
    path = list_path(folder, f"{name}.txt", options)
    found = frozenset(filter(None, map(str.strip, _text(root, files, path).splitlines())))
    if not found:
        raise manifest.InputError(f"{manifest.join(root, path)} names no class")
    return found


def read_table(root: str, files: list[str], path: str, columns: tuple[str, str]) -> list[list[str]]:
    """The two columns of a csv file.

    Args:
      root: input folder. files: those in it.
      path: of the file.
      columns: their names.

    Raises:
      InputError: no such file, no text, no such column, an empty cell.
    """
    where = manifest.join(root, path)
    rows = csv.DictReader(_text(root, files, path).splitlines())
    if missing := [column for column in columns if column not in (rows.fieldnames or ())]:
        raise manifest.InputError(f"{where}: no column {missing[0]!r}")
    found = []
    for number, row in enumerate(rows, 2):
        cells = [(row[column] or "").strip() for column in columns]
        if not all(cells):
            raise manifest.InputError(f"{where}: line {number} has no {columns[cells.index('')]}")
        found.append(cells)
    return found


def _rows(
    root: str,
    files: list[str],
    folder: str,
    name: str,
    classes: frozenset[str],
    source: Source,
    notes: list[str],
    options: ReadOptions,
) -> list[list[str]]:
    """Clips of a list with their classes; of a list that wasn't given, those of the source."""
    path = list_path(folder, f"{name}.csv", options)
    rows = None if path in files else source.unlisted(name, classes)
    if rows is None:
        return read_table(root, files, path, ("filename", "label"))
    notes.append(f"there is no {path}: its {len(rows):,} clips are those {source.where}")
    return rows


def _vectors(
    root: str, files: list[str], folder: str, labels: tuple[str, ...], options: ReadOptions
) -> np.ndarray:
    """Float32 [classes, width], in the order of the labels."""
    wanted = f"word_embeddings_{_VECTORS[options.benchmark]}_normed.npy"
    paths = [path for path in files if posixpath.basename(path) == wanted]
    below = f"{folder}features/{options.feature_set}_features/"
    paths = [path for path in paths if path.startswith(below)] or paths
    if not paths:
        raise manifest.InputError(f"--input={root}: no {wanted}, the word vectors of the classes")
    try:
        vectors = word_vectors.read(read_bytes(root, paths[0]), paths[0])
    except Rejected as error:
        raise manifest.InputError(f"--input={root}: {error.detail}") from None
    names_path = f"{folder}class-split/{options.benchmark}_w2v_class_names.csv"
    names = dict(read_table(root, files, names_path, ("original", "manual")))
    by_lower = {name.lower(): manual for name, manual in names.items()}
    found = []
    for label in labels:
        manual = names.get(label, by_lower.get(label.lower(), ""))
        if manual not in vectors:
            why = f"{paths[0]} has no {manual!r}" if manual else f"{names_path} doesn't name it"
            raise manifest.InputError(
                f"--input={root}: class {label!r} has no word vector: {why}"
            )
        found.append(vectors[manual])
    return np.stack(found)


DATASET = Dataset(
    summary="AVCA's zero-shot UCF, ActivityNet, VGGSound: features of clips, vectors of classes",
    layouts=(
        "class-split/NAME_w2v_class_names.csv (original,manual), NAME as in --benchmark,",
        "class-split/cls_split/LIST.txt (classes) and LIST.csv (filename,label), LIST being",
        "  stage_1_train, _val_seen, _val_unseen, stage_2_train, _test_seen and _test_unseen,",
        "word_embeddings_NAME_normed.npy (a dict: manual to vector) in any folder, and either",
        "features/cls_features/audio/LIST/CLASS.h5 and video/LIST/CLASS.h5 (data, video_urls) or",
        "features/cls_features/CLIP.npz (audio, video: [rows, width] or [width]);",
        "main_split and main_features alike; the first folders may lie at any depth",
    ),
    features=FEATURES,
    options=("benchmark", "stage", "feature_set", "audio_width", "video_width"),
    list_items=list_items,
    read_item=read_item,
    measure=measure,
    totals=totals,
    check_record=check_record,
    properties=lambda options: {
        "benchmark": options.benchmark,
        "stage": options.stage,
        **{f"{modality}_width": width for modality, width in widths(options).items()},
    },
)
