"""Speech Commands: single words of one second, with the official lists of validation and test."""

from __future__ import annotations

import dataclasses

from beam_preprocess import manifest
from beam_preprocess.datasets import sound_folder
from beam_preprocess.datasets.dataset import ReadOptions, read_text
from pipelines.readers import audio

LISTS = {"validation_list.txt": "val", "testing_list.txt": "test"}


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the words; what neither list names is training.

    Folders whose name begins with `_`, such as `_background_noise_`, hold no words.

    Raises:
      InputError: a list is missing; a sound that lies in no class folder; no sounds.
    """
    del options
    files = manifest.list_files(root)
    splits = {}
    for name, split in LISTS.items():
        if name not in files:
            raise manifest.InputError(f"--input={root}: no {name}; name the folder that has it")
        for line in read_text(root, name).splitlines():
            if line.strip():
                splits[line.strip()] = split
    words = [path for path in files if not path.startswith("_")]
    listing = manifest.tree_items(words, audio.SUFFIXES, "sounds", root)
    if any(item.split or item.path.count("/") != 1 for item in listing.items):
        raise manifest.InputError(
            f"--input={root}: expected CLASS/*.wav beside {' and '.join(LISTS)}"
        )
    items = [
        dataclasses.replace(item, split=splits.pop(item.path, "train")) for item in listing.items
    ]
    if aside := len(files) - len(words):
        listing.notes.append(f"{aside:,} files in _folders hold no words: left aside")
    if splits:
        listing.notes.append(
            f"{len(splits):,} files that the lists name aren't there, such as {next(iter(splits))}"
        )
    return manifest.Listing(items, listing.notes)


DATASET = dataclasses.replace(
    sound_folder.DATASET,
    summary="Speech Commands: words of one second, official splits",
    layouts=("CLASS/*.wav, validation_list.txt, testing_list.txt; _background_noise_ is left out",),
    list_items=list_items,
)
