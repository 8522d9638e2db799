"""What a dataset has to provide."""

from __future__ import annotations

import dataclasses
import errno
import functools
import io
import os
import re
import stat
from collections.abc import Callable
from typing import Any, BinaryIO

from beam_preprocess.manifest import InputError, Item, Listing
from beam_preprocess.statistics import Totals
from pipelines.readers.audio import RATES
from pipelines.readers.points import MIN_POINTS
from pipelines.readers.text import MIN_PIECE
from pipelines.readers.video_pictures import MAX_SIDE
from pipelines.records import Feature

# Of GLUE, those that classify; STS-B, which has scores, is the dataset `glue_stsb`.
GLUE_TASKS = ("cola", "mnli", "mrpc", "qnli", "qqp", "rte", "sst2", "wnli")


def _option(default: int, help: str, low: int, high: int | None = None) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "low": low, "high": high})


def _choice(default: str, help: str, *choices: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


def _text(default: str, help: str, what: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help, "what": what})


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Options that decide what a raw item becomes, or which split it belongs to.

    Each is a flag of the command, a whole number within limits, one of several words or a text,
    with its help here; a dataset names those it has.
    """

    seed: int = _option(0, "of sampled points or patches, combined with the item's key", 0)
    num_points: int = _option(
        2048, "points sampled from a mesh, and upper limit for a cloud", MIN_POINTS
    )
    sample_rate: int = _option(48_000, "Hz that sound is resampled to", *RATES)
    pairs: int = _option(1, "pairs of frames made of a photograph", 1)
    max_side: int = _option(
        512, "pixels that a photograph's long side is reduced to; frames are its inner part", 48
    )
    motion: int = _option(16, "pixels that things move at most, about", 1, 500)
    fps: int = _option(25, "frames a second that video is resampled to", 1, 120)
    frame_size: int = _option(
        128, "pixels that the short side of larger frames is scaled down to; 0: sound alone", 0,
        MAX_SIDE,
    )  # fmt: skip
    min_frames: int = _option(
        16, "frames that a video has at least, those of a clip; shorter ones are rejected", 1
    )
    test_fold: int = _option(5, "fold that is the test split; the others are training", 1)
    piece_bytes: int = _option(
        2048, "longest piece that a text is cut into, between words", MIN_PIECE
    )
    glue_task: str = _choice("sst2", "whose files they are", *GLUE_TASKS)
    benchmark: str = _choice("ucf", "whose splits they are", "ucf", "activitynet", "vggsound")
    stage: int = _option(
        1, "of the protocol: 1 is trained to choose by, 2 to be tested", 1, 2
    )
    feature_set: str = _choice("cls", "which features and class splits", "cls", "main")
    audio_width: int = _option(0, "numbers of a row of sound; 0: 128 (cls) or 512 (main)", 0)
    video_width: int = _option(0, "numbers of a row of picture; 0: 4096 (cls) or 512 (main)", 0)
    bags: str = _text(
        "", "folder below --input of patch features, SLIDE.npy or PATIENT.npy; none: no patches",
        "FOLDER",
    )  # fmt: skip
    patch_width: int = _option(1024, "numbers of a patch, where there are --bags", 1)
    max_patches: int = _option(
        1024, "patches kept of a patient's --bags, of more a random choice by --seed", 1
    )
    label_names: str = _choice("fine", "which of the two labels of a picture", "fine", "coarse")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One kind of raw data.

    Attributes:
      summary: one line for `--help`.
      layouts: the folder layouts that are read, one a line, for `--help` and messages.
      features: fields of a record: "key", "label" where an item has one of the classes, and what
        `read_item` gives.
      list_items: (input folder, options) to listing; cheap, looks into no item.
        Raises InputError where the folder has none of the layouts.
      read_item: (input folder, item, options) to the item's fields except `label` and `key`.
        Raises pipelines.readers.Rejected for an item that cannot be used.
      check_record: looks at a written record's fields again, for `verify`; the text says where the
        record is. Raises Rejected. Images, clouds and sounds are looked at without it.
      options: names of the `ReadOptions` that it has.
      further_features: options to fields that a record has because of them, beside `features`.
      properties: options to what all records have in common, for `dataset.json`.
      measure: fields to whole numbers whose minimum, maximum and mean go into the statistics.
      totals: fields to lists of numbers, of the same lengths for every record, whose sums over a
        split go into its statistics as "totals", such as counts, sums and sums of squares by
        variable; None: there are none.
      default_splits: value of `--splits` where the flag is left out; None: the data's own.
      write_raw: writes the raw data into a folder that is missing or empty; None: cannot.
    """

    summary: str
    layouts: tuple[str, ...]
    features: dict[str, Feature]
    list_items: Callable[[str, ReadOptions], Listing]
    read_item: Callable[[str, Item, ReadOptions], dict[str, Any]]
    measure: Callable[[dict[str, Any]], dict[str, int]]
    totals: Callable[[dict[str, Any]], Totals] | None = None
    check_record: Callable[[dict[str, Any], str], None] | None = None
    options: tuple[str, ...] = ()
    further_features: Callable[[ReadOptions], dict[str, Feature]] = lambda options: {}
    properties: Callable[[ReadOptions], dict[str, Any]] = lambda options: {}
    default_splits: str | None = None
    write_raw: Callable[[str], None] | None = None

    @property
    def example_splits(self) -> str:
        """What `--splits` can be, for messages: that of the layouts, if they name one."""
        found = re.search(r"--splits=(\w[\w:.,]*\w)", " ".join(self.layouts))
        return found[1] if found else "train:0.8,test:0.2"

    def record_features(self, options: ReadOptions) -> dict[str, Feature]:
        """All fields of a record that is read with these options."""
        return {**self.features, **self.further_features(options)}


def read_bytes(root: str, path: str) -> bytes:
    """Content of a raw file below the input folder, local or of any scheme Beam knows.

    Raises:
      OSError: it can't be read, or is a pipe, a socket or a device.
    """
    from beam_preprocess.manifest import join

    location = join(root, path)
    if "://" not in location:
        # A pipe would be waited for without an end, and a device may have none.
        if not stat.S_ISREG(os.stat(location).st_mode):
            raise OSError(errno.EINVAL, "no regular file")
        with open(location, "rb") as file:
            return file.read()
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    # Beam would unpack .gz and .bz2 by their name.
    with FileSystems.open(location, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()


def read_text(root: str, path: str) -> str:
    """A list or table below the input folder, without a byte-order mark.

    Raises:
      InputError: it can't be read, or isn't UTF-8.
    """
    try:
        return read_bytes(root, path).decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"--input={root}: {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"--input={root}: {path} is no text in UTF-8 (byte {error.start:,}); save it as UTF-8"
        ) from None


def open_at(root: str, path: str, start: int) -> BinaryIO:
    """A raw file that holds many items, open for reading from byte `start` on.

    A shard takes items from all over a pack: a local file is not read for each, and one that lies
    elsewhere is fetched once.
    """
    from beam_preprocess.manifest import join

    location = join(root, path)
    # The caller closes it.
    file = io.BytesIO(_fetched(root, path)) if "://" in location else open(location, "rb")  # noqa: SIM115
    file.seek(start)
    return file


@functools.lru_cache(maxsize=8)
def _fetched(root: str, path: str) -> bytes:
    return read_bytes(root, path)
