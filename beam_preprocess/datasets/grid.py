"""GRID: short sentences of a fixed grammar, seen and heard. The label is the command, one of four.

A file is named after its sentence, a letter or digit a word: bin, lay, place or set; a colour; a
preposition; a letter; a digit; an adverb. Both the sound and the lips carry the command.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import numpy as np

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from pipelines import records
from pipelines.readers import Rejected, audio, video

FEATURES = {
    "frames": records.Feature("bytes", (None,)),
    "audio": records.Feature("int16", (None,)),
    "audio_present": records.Feature("int64"),
    "label": records.Feature("int64"),
    "key": records.Feature("bytes"),
}
COMMANDS = {"b": "bin", "l": "lay", "p": "place", "s": "set"}
FOLDS = 5

# Command, colour, preposition, letter (there is no w), digit (z is zero), adverb.
_NAME = re.compile(r"(?P<command>[blps])[bgrw][abiw][a-vx-z][1-9z][anps]", re.IGNORECASE)


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the clips, wherever they lie below the input folder.

    A clip's fold, 1 to 5, is a hash of its name alone, so the forms of one clip (.mpg and .mp4)
    and its copies fall into the same. Fold `options.test_fold` is the test split.

    Raises:
      InputError: no file is named like a clip; no such fold, or no clip in it.
    """
    if options.test_fold > FOLDS:
        raise manifest.InputError(f"--test_fold={options.test_fold}: the folds are 1 to {FOLDS}")
    items, aside = [], 0
    for path in manifest.list_files(root):
        stem, _, suffix = path.rpartition("/")[2].rpartition(".")
        named = _NAME.fullmatch(stem)
        if named is None or f".{suffix.lower()}" not in video.SUFFIXES:
            aside += 1
            continue
        split = "test" if fold(stem) == options.test_fold else "train"
        items.append(manifest.Item(path, path, COMMANDS[named["command"].lower()], split))
    if not items:
        raise manifest.InputError(
            f"--input={root}: none of {aside:,} files is a video named like a sentence, "
            "such as bbaf2n.mpg"
        )
    if not any(item.split == "test" for item in items):
        raise manifest.InputError(
            f"--input={root}: no clip is in fold {options.test_fold}; see --test_fold"
        )
    notes = [f"{aside:,} files that are no clips were left aside"] if aside else []
    return manifest.Listing(items, notes)


def fold(stem: str) -> int:
    """The fold of a clip, 1 to 5, by its name without folder and extension."""
    digest = hashlib.sha256(f"fold:{stem.lower()}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % FOLDS + 1


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Decodes a clip.

    Returns:
      {"frames": JPEGs, "audio": int16 `[n]` of the same time, "audio_present": 1}.

    Raises:
      Rejected: as `pipelines.readers.video.read`; a clip without sound.
    """
    return read_clip(read_bytes(root, item.path), item.path, options, need_sound=True)


def read_clip(
    data: bytes, path: str, options: ReadOptions, *, need_sound: bool,
    start: float = 0.0, end: float | None = None,
) -> dict[str, Any]:  # fmt: skip
    """What a record has of a video, or of a sound alone where `options.frame_size` is 0.

    Args:
      data: content of the file.
      path: of the file, for messages.
      options: the rates, and the size of the frames.
      need_sound: whether a video without sound is rejected.
      start, end: seconds of the file that are wanted; all to its end where `end` is None.

    Returns:
      {"frames": JPEGs, none where sound alone is read; "audio": int16 `[n]`; "audio_present"}.

    Raises:
      Rejected: as `pipelines.readers.video.read`, or `pipelines.readers.audio.read`.
    """
    rate = options.sample_rate
    if not options.frame_size:
        last = None if end is None else round(end * rate)
        waveform = audio.read(data, path, rate)[round(start * rate) : last]
        if not len(waveform):
            raise Rejected("too-short", f"{path} ends before {start:g} s")
        return {"frames": np.empty(0, object), "audio": waveform, "audio_present": 1}
    clip = video.read(
        data, path, fps=options.fps, size=options.frame_size, sample_rate=rate,
        need_sound=need_sound, start=start, end=end,
    )  # fmt: skip
    return fields_of(clip)


def fields_of(clip: video.Clip) -> dict[str, Any]:
    """{"frames": JPEGs, "audio": int16 `[n]`, "audio_present": 0 or 1} of a record."""
    frames = np.empty(len(clip.frames), object)
    frames[:] = clip.frames
    return {"frames": frames, "audio": clip.audio, "audio_present": int(clip.audio_present)}


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Number of frames and of samples, whether there is sound, and its peak: 0 for silence."""
    waveform = fields["audio"].astype(np.int32)
    return {
        "frames": len(fields["frames"]),
        "samples": len(waveform),
        "peak": int(np.abs(waveform).max(initial=0)),
        "audio_present": int(fields["audio_present"]),
    }


def check_record(fields: dict[str, Any], where: str) -> None:
    """Decodes the frames again, where there are some: with `frame_size` 0 sound alone was read.

    Raises:
      Rejected: as `pipelines.readers.video.check`.
    """
    if len(fields["frames"]):
        video.check(list(fields["frames"]), where)


def properties(options: ReadOptions) -> dict[str, Any]:
    """Frames a second, pixels of the short side at most, and Hz, of every record."""
    return {
        "fps": options.fps,
        "frame_size": options.frame_size,
        "sample_rate": options.sample_rate,
    }


DATASET = Dataset(
    summary="GRID: sentences seen and heard, four commands, one of five folds as test",
    layouts=(
        "SENTENCE.mpg (or .mp4, ...) in any folder, such as s1/bbaf2n.mpg",
        "the folds are by a hash of the name: the same for all forms of a clip",
    ),
    features=FEATURES,
    options=("fps", "frame_size", "sample_rate", "test_fold"),
    list_items=list_items,
    read_item=read_item,
    measure=measure,
    properties=properties,
    check_record=check_record,
)
