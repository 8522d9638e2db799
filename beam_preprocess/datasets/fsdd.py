"""Free Spoken Digit Dataset: ten digits, each said fifty times by each of six speakers."""

from __future__ import annotations

import dataclasses
import re

from beam_preprocess import manifest
from beam_preprocess.datasets import sound_folder
from beam_preprocess.datasets.dataset import ReadOptions

_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^/]+)_(?P<index>\d+)\.\w+")
_TEST_INDICES = range(5)  # The official split: the first five takes of each digit and speaker.


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the recordings, wherever they lie below the input folder.

    Raises:
      InputError: no file is named like a recording.
    """
    del options
    items, aside = [], 0
    for path in manifest.list_files(root):
        named = _NAME.fullmatch(path.rpartition("/")[2])
        if named is None:
            aside += 1
            continue
        split = "test" if int(named["index"]) in _TEST_INDICES else "train"
        items.append(manifest.Item(path, path, named["digit"], split))
    if not items:
        raise manifest.InputError(
            f"--input={root}: none of {aside:,} files is named DIGIT_SPEAKER_INDEX.wav, "
            "such as 7_jackson_32.wav"
        )
    notes = [f"{aside:,} files that are no recordings were left aside"] if aside else []
    return manifest.Listing(items, notes)


DATASET = dataclasses.replace(
    sound_folder.DATASET,
    summary="Free Spoken Digit Dataset: 3,000 recordings, 10 digits, 6 speakers, official split",
    layouts=("DIGIT_SPEAKER_INDEX.wav in any folder (recordings/); indices 0 to 4 are the test",),
    list_items=list_items,
)
