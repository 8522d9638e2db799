"""AVCA's zero-shot benchmarks on the clips themselves: picture and sound in place of features."""

from __future__ import annotations

import dataclasses
import posixpath
from collections.abc import Mapping
from typing import Any, ClassVar

from beam_preprocess import manifest
from beam_preprocess.datasets import avca, grid
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from pipelines.readers import audio, video


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the clips of a stage that there are media files of.

    Raises:
      InputError: as `avca.list_clips`; no media file that a list names, or two of one clip; a
        class that should be seen without any in training.
    """
    listing = avca.list_clips(root, options, _Media.find)
    if not listing.items:
        raise manifest.InputError(
            f"--input={root}: no clip of stage {options.stage} has a media file, CLIP.mp4 with "
            "CLIP as in the column filename of the lists"
        )
    trained = {item.label for item in listing.items if item.split == "train"}
    if lacking := sorted(set(listing.labels) - listing.unseen - trained):
        others = f" and {len(lacking) - 1} other classes" if len(lacking) > 1 else ""
        raise manifest.InputError(
            f"--input={root}: no training clip of {lacking[0]!r}{others} has a media file; fetch "
            "some of each, or take the classes out of the lists' .txt"
        )
    return listing


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Decodes a clip. A file without sound becomes one with silence.

    Returns:
      {"frames": JPEGs, "audio": int16 `[n]` of the same time, "audio_present": 0 or 1}.

    Raises:
      Rejected: as `grid.read_clip`.
    """
    return grid.read_clip(read_bytes(root, item.path), item.path, options, need_sound=False)


@dataclasses.dataclass(frozen=True)
class _Media:
    """Where the media are; see `avca.Source`.

    Attributes:
      clips: media files by the clip's name.
      held_out: clips of the lists of this stage, or a later one, that aren't for training.
    """

    clips: Mapping[str, str]
    held_out: frozenset[str]
    where: ClassVar[str] = "in folders of the classes' names, less those of the other lists"

    @classmethod
    def find(cls, root: str, files: list[str], folder: str, options: ReadOptions) -> _Media:
        suffixes = video.SUFFIXES if options.frame_size else video.SUFFIXES | audio.SUFFIXES
        clips: dict[str, str] = {}
        for path in files:
            stem, suffix = posixpath.splitext(posixpath.basename(path))
            if suffix.lower() in suffixes and clips.setdefault(stem, path) != path:
                raise manifest.InputError(f"--input={root}: {clips[stem]} and {path} are one clip")
        held_out: set[str] = set()
        for stage, lists in avca.LISTS.items():
            for name, split in lists.items():
                path = avca.list_path(folder, f"{name}.csv", options)
                if stage >= options.stage and split != "train" and path in files:
                    rows = avca.read_table(root, files, path, ("filename", "label"))
                    held_out |= {clip for clip, _ in rows}
        return cls(clips, frozenset(held_out))

    def item(self, clip: str, label: str, name: str, split: str) -> manifest.Item | None:
        """The clip, or None where it has no file: many can't be fetched any more."""
        path = self.clips.get(clip)
        return None if path is None else manifest.Item(clip, path, label, split)

    def unlisted(self, name: str, classes: frozenset[str]) -> list[list[str]] | None:
        """Of a list for training, what lies in folders called like its classes."""
        if not name.endswith("_train"):
            return None
        found = []
        for clip, path in self.clips.items():
            label = posixpath.basename(posixpath.dirname(path))
            if label in classes and clip not in self.held_out:
                found.append([clip, label])
        return found


DATASET = Dataset(
    summary="AVCA's zero-shot UCF, ActivityNet, VGGSound: the clips, picture and sound",
    layouts=(
        "class-split and word_embeddings_NAME_normed.npy as of --dataset=avca, and media in any",
        "folder: CLIP.mp4 (any container), CLIP as in the lists; clips without a file are left out",
        "a list for training that isn't published (VGGSound's) is what lies in CLASS/CLIP.mp4",
        "with --frame_size=0 also sounds: CLIP.wav, .flac, .m4a, ...",
    ),
    features=grid.FEATURES,
    options=("benchmark", "stage", "feature_set", "fps", "frame_size", "sample_rate"),
    list_items=list_items,
    read_item=read_item,
    measure=grid.measure,
    properties=lambda options: {
        **grid.properties(options), "benchmark": options.benchmark, "stage": options.stage
    },
    check_record=grid.check_record,
)
