"""What a dataset has to provide."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from beam_preprocess.manifest import Item, Listing
from pipelines.records import Feature


@dataclasses.dataclass(frozen=True)
class ReadOptions:
    """Options that decide what a raw item becomes.

    Attributes:
      seed: of every random choice, combined with the item's key.
      num_points: points sampled from a mesh; upper limit for a cloud.
    """

    seed: int = 0
    num_points: int = 2048


@dataclasses.dataclass(frozen=True)
class Dataset:
    """One kind of raw data.

    Attributes:
      summary: one line for `--help`.
      layouts: the folder layouts that are read, one a line, for `--help` and messages.
      features: fields of a record.
      list_items: input folder to listing; cheap, looks into no item.
        Raises InputError where the folder has none of the layouts.
      read_item: (input folder, item, options) to the item's fields except `label` and `key`.
        Raises pipelines.readers.Rejected for an item that cannot be used.
      measure: fields to whole numbers whose minimum, maximum and mean go into the statistics.
      default_splits: value of `--splits` where the flag is left out; None: the data's own.
      write_raw: writes the raw data into a folder that is missing or empty; None: cannot.
    """

    summary: str
    layouts: tuple[str, ...]
    features: dict[str, Feature]
    list_items: Callable[[str], Listing]
    read_item: Callable[[str, Item, ReadOptions], dict[str, Any]]
    measure: Callable[[dict[str, Any]], dict[str, int]]
    default_splits: str | None = None
    write_raw: Callable[[str], None] | None = None


def read_bytes(root: str, path: str) -> bytes:
    """Content of a raw file below the input folder, local or of any scheme Beam knows."""
    from beam_preprocess.manifest import join

    location = join(root, path)
    if "://" not in location:
        with open(location, "rb") as file:
            return file.read()
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    # Beam would unpack .gz and .bz2 by their name.
    with FileSystems.open(location, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        return file.read()
