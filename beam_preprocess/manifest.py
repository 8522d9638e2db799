"""What is in the input: raw items, their splits and labels, and which shard each goes to."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
import itertools
import json
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

# Folder and file names that say which split an item belongs to, by the name that we use.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


NO_LABEL = -1  # The index of no class.


class InputError(ValueError):
    """The input folder or a flag is not as a dataset needs it; the message is one line."""


@dataclasses.dataclass(frozen=True, slots=True)
class Item:
    """One raw item: a file, or one entry of a pack that holds many.

    Attributes:
      key: stable name: path relative to the input folder, for packs `path#index`.
      path: of the file, relative to the input folder.
      label: class name; "" in a dataset where an item doesn't have one label.
      split: split name; None until assigned.
      index: position in a pack; None for a file of its own.
      group: items of one name, such as the pieces of a text or the pictures of a scene, are drawn
        into the same split; "" for an item on its own.
      details: what else is known of it where it is listed, such as its stretch of a file in seconds
        and its labels.
    """

    key: str
    path: str
    label: str = ""
    split: str | None = None
    index: int | None = None
    group: str = ""
    details: tuple[int | float | str, ...] = ()


@dataclasses.dataclass
class Listing:
    """What is in an input folder.

    Attributes:
      items: all of them.
      notes: one line for each kind of file that was left aside.
      labels: the dataset's class names in their official order; None: those of the training items,
        sorted.
      properties: JSON values found in the input that hold for every record, such as the names of
        a table's columns; they are added to those of the dataset.
      unseen: of `labels`, those that training must do without; all others need training items.
    """

    items: list[Item]
    notes: list[str] = dataclasses.field(default_factory=list)
    labels: tuple[str, ...] | None = None
    properties: dict[str, Any] = dataclasses.field(default_factory=dict)
    unseen: frozenset[str] = frozenset()


def join(root: str, path: str) -> str:
    """Path below a folder, local or of a file system with a scheme (gs://)."""
    return f"{root.rstrip('/')}/{path}" if "://" in root else os.path.join(root, path)


def list_files(root: str) -> list[str]:
    """Files below a folder, as sorted relative paths with `/`, without hidden ones.

    Raises:
      InputError: no such folder.
    """
    if "://" in root:
        from apache_beam.io.filesystems import FileSystems

        prefix = root.rstrip("/") + "/"
        matched = FileSystems.match([prefix + "**"])[0].metadata_list
        paths = [entry.path[len(prefix) :] for entry in matched if not entry.path.endswith("/")]
    else:
        if not os.path.isdir(root):
            raise InputError(f"--input={root}: no such folder")
        paths = [os.path.relpath(path, root).replace(os.sep, "/") for path in _walk(root, set())]
    return sorted(path for path in paths if not _hidden(path))


def only_folder(root: str) -> str | None:
    """The folder that holds all that there is below another; None where it isn't one alone."""
    try:
        files = list_files(root)
    except InputError:
        return None
    tops = {path.partition("/")[0] for path in files if "/" in path}
    if len(tops) != 1 or any("/" not in path for path in files):
        return None
    return join(root, tops.pop())


def tree_items(files: Sequence[str], suffixes: Iterable[str], what: str, root: str) -> Listing:
    """Items of a tree of class folders.

    Read are split/class/file, class/split/file and class/file (splits to be assigned).

    Args:
      files: relative paths below `root`.
      suffixes: lower-case extensions of the files that are items.
      what: the items' name in messages, such as "images".
      root: input folder, for messages.

    Returns:
      Items with class names as labels, and notes on what was left aside.

    Raises:
      InputError: no items, or a layout that is none of these; the message shows what was found.
    """
    suffixes = frozenset(suffixes)
    paths = [path for path in files if os.path.splitext(path)[1].lower() in suffixes]
    others = len(files) - len(paths)
    notes = [f"{others:,} files that are not {what} were left aside"] if others else []
    if not paths:
        raise InputError(
            f"--input={root}: no {what} ({' '.join(sorted(suffixes))}) in class folders; "
            f"found: {_found(files)}"
        )
    parts = [path.split("/") for path in paths]
    tops = {part[0].lower() for part in parts}
    if (
        all(len(part) == 3 and part[1].lower() in SPLIT_NAMES for part in parts)
        and not tops <= SPLIT_NAMES.keys()
    ):
        items = [
            Item(path, path, part[0], SPLIT_NAMES[part[1].lower()])
            for path, part in zip(paths, parts, strict=True)
        ]
    elif all(len(part) == 2 for part in parts) and not tops <= SPLIT_NAMES.keys():
        items = [Item(path, path, part[0]) for path, part in zip(paths, parts, strict=True)]
    elif tops & SPLIT_NAMES.keys():
        items, outside = [], []
        for path, part in zip(paths, parts, strict=True):
            split = SPLIT_NAMES.get(part[0].lower())
            if split is None:
                outside.append(path)
            elif len(part) == 3:
                items.append(Item(path, path, part[1], split))
            elif len(part) == 2:
                raise InputError(
                    f"--input={root}: {path} lies in no class folder; "
                    f"expected {part[0]}/CLASS/{part[1]}"
                )
            else:
                raise InputError(
                    f"--input={root}: {path} is nested too deep; expected {part[0]}/CLASS/FILE"
                )
        if outside:
            notes.append(
                f"{len(outside):,} {what} outside the split folders were left aside, "
                f"such as {outside[0]}"
            )
    else:
        raise InputError(
            f"--input={root}: neither SPLIT/CLASS/FILE nor CLASS/SPLIT/FILE nor CLASS/FILE "
            f"(SPLIT is train, val or test); found: {_found(paths)}"
            + ("" if any("/" in path for path in paths) else "; name the folder above")
        )
    return Listing(items, notes)


def parse_splits(text: str) -> dict[str, float]:
    """Parses `train:0.8,test:0.2`.

    Raises:
      InputError: another form, an unknown or repeated split name, a fraction not above 0, a sum
        other than 1, no train split.
    """
    fractions: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition(":")
        try:
            fraction = float(number)
        except ValueError:
            fraction = 0.0
        if name not in set(SPLIT_NAMES.values()) or name in fractions or not 0 < fraction <= 1:
            raise InputError(
                f"--splits={text}: {part.strip()!r} is not NAME:FRACTION with train, val or test, "
                "each once, and a fraction above 0; for example --splits=train:0.8,test:0.2"
            )
        fractions[name] = fraction
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise InputError(
            f"--splits={text}: the fractions add up to {sum(fractions.values()):g}, not to 1"
        )
    if "train" not in fractions:
        raise InputError(f"--splits={text}: there must be a train split")
    return fractions


def assign_splits(
    items: Sequence[Item],
    splits: str | None,
    root: str,
    unseen: frozenset[str] = frozenset(),
    example: str = "train:0.8,test:0.2",
) -> list[Item]:
    """Gives every item its split: the data's own, or by hash of the key.

    An item's split depends on its key, or its group's name, and on the fractions alone, so files
    that are added later move no other item from training to test. Only where all items of a small
    class would miss training, the one nearest to it goes there.

    Args:
      items: all with a split or all without.
      splits: value of `--splits`, or None.
      root: input folder, for messages.
      unseen: classes that training does without.
      example: of `splits`, for messages.

    Returns:
      The items, in the same order, each with a split.

    Raises:
      InputError: an item twice; a class whose name is no line of UTF-8; no splits in the data and
        none given, or both; no train split; a class that training does not have, or one that it
        must not have.
    """
    first: dict[str, Item] = {}
    for item in items:
        if (other := first.setdefault(item.key, item)) is not item:
            where = f", in {other.split} and {item.split}" if other.split != item.split else ""
            raise InputError(f"--input={root}: {item.key} is listed twice{where}; remove one")
        if not _is_a_name(item.label):
            raise InputError(
                f"--input={root}: the name of class {item.label!r} is no line of UTF-8 "
                f"({item.key!r}); rename it"
            )
    own = sorted({item.split for item in items if item.split})
    if own and splits:
        raise InputError(
            f"--splits={splits}: the data in {root} has its own splits ({', '.join(own)}); "
            "leave the flag out"
        )
    if not own:
        if not splits:
            above = "; or name the folder above, which may have them"
            raise InputError(
                f"--input={root}: the data has no splits; divide it with, for example, "
                f"--splits={example}"
                + (above if posixpath.basename(root.rstrip("/")) in SPLIT_NAMES else "")
            )
        fractions = parse_splits(splits)
        items = _draw_splits(items, fractions)
    counts = Counter(item.split for item in items)
    if None in counts:
        without = next(item.key for item in items if item.split is None)
        raise InputError(f"--input={root}: {without} belongs to no split, others do")
    missing = ["train"] if own else list(fractions)
    for name in missing:
        if not counts[name]:
            remedy = "add it" if own else f"add items or change --splits={splits}"
            raise InputError(f"--input={root}: no items for the split {name!r}; {remedy}")
    trained = {item.label for item in items if item.split == "train"}
    for item in items:
        if item.split == "train" and item.label in unseen:
            raise InputError(
                f"--input={root}: class {item.label!r} must not be seen in training, and "
                f"{item.key} is of it"
            )
        if item.label not in trained | unseen:
            raise InputError(
                f"--input={root}: class {item.label!r} is in {item.split} ({item.key}) "
                "but not in train; move it away or add training items"
            )
    return list(items)


def class_names(items: Iterable[Item]) -> tuple[str, ...]:
    """Sorted names of the classes in the training split; a label is an index into them."""
    return tuple(sorted({item.label for item in items if item.split == "train"} - {""}))


def plan_shards(items: Iterable[Item], shards: int | None) -> dict[str, list[list[Item]]]:
    """Divides each split into shards.

    Args:
      items: each with a split.
      shards: number of shards of each split; a split with fewer items gets one an item. None:
        one for 2,500 items, at least 8 and at most 1,024.

    Returns:
      Split name (train first, then by name) to shards, each a list of items.
    """
    by_split: dict[str, list[Item]] = {}
    for item in items:
        by_split.setdefault(item.split, []).append(item)
    plan = {}
    for split in sorted(by_split, key=lambda name: (name != "train", name)):
        # Ranking by hash and cutting into runs mixes the classes as well as `hash % shards` would,
        # but the runs differ by one item at most: no shard is empty, and hosts get equal shares.
        ranked = sorted(by_split[split], key=lambda item: (_hash(item.key), item.key))
        wanted = shards or min(max(8, -(-len(ranked) // 2500)), 1024)
        count = min(wanted, len(ranked))
        bounds = [len(ranked) * index // count for index in range(count + 1)]
        plan[split] = [
            ranked[start:end] for start, end in zip(bounds[:-1], bounds[1:], strict=True)
        ]
    return plan


def encode_items(items: Iterable[Item], labels: Sequence[str]) -> bytes:
    """One JSON line an item, `[key, path, index, label index, details...]`: a shard's work list.

    An item without a label gets the index -1.
    """
    numbers = {name: number for number, name in enumerate(labels)} | {"": NO_LABEL}
    lines = (
        json.dumps(
            [item.key, item.path, item.index, numbers[item.label], *item.details],
            ensure_ascii=True,
        )
        for item in items
    )
    return "".join(line + "\n" for line in lines).encode()


def decode_items(data: bytes, labels: Sequence[str], split: str) -> Iterator[tuple[Item, int]]:
    """Items of a work list and their label indices."""
    for line in data.decode().splitlines():
        key, path, index, label, *details = json.loads(line)
        name = "" if label == NO_LABEL else labels[label]
        yield Item(key, path, name, split, index, details=tuple(details)), label


def item_seed(seed: int, key: str) -> int:
    """Seed of an item's random choices, independent of the order in which items are read."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big")


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def _is_a_name(label: str) -> bool:
    """Whether a class can stand in a line of a list of names; a folder may be called anything."""
    try:
        label.encode()
    except UnicodeEncodeError:
        return False
    return "\n" not in label and "\r" not in label


def _draw_splits(items: Sequence[Item], fractions: dict[str, float]) -> list[Item]:
    # Train first, whatever the flag's order: the smallest draws are training items.
    names = sorted(fractions, key=lambda name: (name != "train", name))
    bounds = list(itertools.accumulate(fractions[name] for name in names))[:-1]
    first: dict[str, tuple[float, str]] = {}
    splits = {}
    for item in items:
        group = item.group or item.key
        # Another hash than the shards' rank, or the splits would be cut out of that order.
        draw = int.from_bytes(_hash("split:" + group)[:8], "big") / 2**64
        splits[group] = names[bisect.bisect_right(bounds, draw)]
        first[item.label] = min(first.get(item.label, (draw, group)), (draw, group))
    for _, group in first.values():
        splits[group] = "train"
    return [dataclasses.replace(item, split=splits[item.group or item.key]) for item in items]


def _walk(folder: str, ancestors: set[str]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in ancestors:  # A link to a folder above.
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path, ancestors | {real})
            else:
                yield entry.path


def _hidden(path: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def _found(files: Sequence[str]) -> str:
    if not files:
        return "no files"
    shown = [files[0], files[len(files) // 2], files[-1]] if len(files) > 2 else list(files)
    return f"{len(files):,} files such as {', '.join(dict.fromkeys(shown))}"
