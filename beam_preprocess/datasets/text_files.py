"""Text files of any length, cut into pieces for a model of bytes."""

from __future__ import annotations

import os
from typing import Any

from beam_preprocess import manifest
from beam_preprocess.datasets.dataset import Dataset, ReadOptions, open_at, read_bytes
from pipelines import records
from pipelines.readers import Rejected, text

FEATURES = {"text": records.Feature("bytes"), "key": records.Feature("bytes")}


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the pieces of the texts below a folder, by reading them all.

    All pieces of a file belong to one split. A file that is no good is one item, to be rejected.

    Args:
      root: input folder.
      options: `piece_bytes`.

    Raises:
      InputError: no text.
    """
    files = manifest.list_files(root)
    paths = [path for path in files if os.path.splitext(path)[1].lower() in {*text.SUFFIXES, ""}]
    if not paths:
        raise manifest.InputError(
            f"--input={root}: no text files ({' '.join(sorted(text.SUFFIXES))}, or no extension) "
            f"among {len(files):,} files"
        )
    others = len(files) - len(paths)
    notes = [f"{others:,} files that are not texts were left aside"] if others else []
    splits = {path: manifest.SPLIT_NAMES.get(path.partition("/")[0].lower()) for path in paths}
    if any(splits.values()):
        outside = [path for path in paths if not splits[path]]
        paths = [path for path in paths if splits[path]]
        if outside:
            notes.append(
                f"{len(outside):,} texts outside the split folders were left aside, "
                f"such as {outside[0]}"
            )
    items = []
    for path in paths:
        begin = _begin(root, path, options.piece_bytes)
        if begin is None:
            items.append(manifest.Item(path, path, split=splits[path]))
        else:
            items += [
                manifest.Item(f"{path}#{start}", path, "", splits[path], start, group=path)
                for start in begin
            ]
    return manifest.Listing(items, notes, labels=())


def read_item(root: str, item: manifest.Item, options: ReadOptions) -> dict[str, Any]:
    """Reads a whole text, or one piece.

    Returns:
      {"text": UTF-8, at most `options.piece_bytes` long}.

    Raises:
      Rejected: as `pipelines.readers.text.read`.
    """
    if item.index is None:
        return {"text": text.read(read_bytes(root, item.path), item.path)}
    with open_at(root, item.path, item.index) as file:
        content = file.read(options.piece_bytes + 1)
    return {"text": text.check(content[: text.end(content, options.piece_bytes)], item.key)}


def check_record(fields: dict[str, Any], where: str) -> None:
    """Raises Rejected where the text is not UTF-8, or has no word."""
    text.check(fields["text"], where)


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Bytes and words."""
    return {"bytes": len(fields["text"]), "words": text.words(fields["text"])}


def _begin(root: str, path: str, longest: int) -> list[int] | None:
    """Offsets of a text's pieces; None where it is one piece, or will be rejected as a whole."""
    try:
        content = read_bytes(root, path)
        whole = text.read(content, path)
    except (Rejected, OSError):
        return None
    if len(whole) <= longest:
        return None
    mark = len(content) - len(whole)  # Length of a byte-order mark.
    return [mark + start for start in text.starts(whole, longest)]


DATASET = Dataset(
    summary="text files of any length (txt, md, LICENSE, ...), cut into pieces between words",
    layouts=(
        "any tree of .txt, .md, .rst and others, with --splits=train:0.9,test:0.1 by file",
        "the same below train/ and val|test/",
    ),
    features=FEATURES,
    list_items=list_items,
    read_item=read_item,
    check_record=check_record,
    measure=measure,
    options=("piece_bytes",),
)
