"""MPI Sintel: scenes of a computer-animated film, and single pairs that are named like it."""

from __future__ import annotations

import re

from beam_preprocess import manifest
from beam_preprocess.datasets import frame_pairs
from beam_preprocess.datasets.dataset import ReadOptions
from pipelines.readers import image

_NUMBERED = re.compile(r"(?P<stem>(?:.*/)?[^/]*?)(?P<number>\d{4,})(?P<suffix>\.\w+)")
_STEM = re.compile(r"(?P<top>(?:.*/)?)(?P<kind>clean|final|flow|invalid)/(?P<rest>[^/]+/[^/]*)")
_PASSES = ("clean", "final")


def list_items(root: str, options: ReadOptions) -> manifest.Listing:
    """Lists the pairs of consecutive frames: of both passes, or of frames beside their flow.

    Splits are drawn by scene: neighbouring frames, and both passes of one, are all but the same.

    Raises:
      InputError: none of the layouts.
    """
    del options
    paths = manifest.list_files(root)
    frames: dict[str, dict[int, str]] = {}  # Path up to the number -> number -> path.
    flows: dict[str, set[int]] = {}
    for path in paths:
        named = _NUMBERED.fullmatch(path)
        if named and named["suffix"].lower() == ".flo":
            flows.setdefault(named["stem"], set()).add(int(named["number"]))
        elif named and named["suffix"].lower() in image.SUFFIXES:
            frames.setdefault(named["stem"], {})[int(named["number"])] = path
    if not flows:
        raise manifest.InputError(
            f"--input={root}: no frame_NNNN.flo; expected training/flow/SCENE/frame_NNNN.flo with "
            "training/clean/SCENE/frame_NNNN.png, or flow files beside their frames"
        )
    items, used = [], set()
    for stem, flow_stem, group in sorted(_sequences(frames, flows)):
        there = frames.get(stem, {})
        for number in sorted(flows.get(flow_stem, set()) | {n for n in there if n + 1 in there}):
            first = there.get(number, f"{stem}{number:04d}.png")
            items.append(manifest.Item(first.rpartition(".")[0], first, group=group))
            pair = files(items[-1])
            used.update((*pair.frames, *pair.flow, *filter(None, (pair.invalid,))))
    aside = len(set(paths) - used)
    notes = [f"{aside:,} files that are no part of a pair were left aside"] if aside else []
    masked = any((stem := _STEM.fullmatch(name)) and stem["kind"] == "invalid" for name in frames)
    if not masked:
        notes.append("there is no folder invalid/: every pixel of the flow counts")
    return manifest.Listing(items, notes)


def files(item: manifest.Item) -> frame_pairs.Files:
    """The files of a pair, by its first frame."""
    named = _NUMBERED.fullmatch(item.path)
    number = int(named["number"])
    digits = len(named["number"])
    second = f"{named['stem']}{number + 1:0{digits}d}{named['suffix']}"
    official = _STEM.fullmatch(named["stem"])
    if official is None or official["kind"] not in _PASSES:
        flow = f"{named['stem']}{named['number']}.flo"
        return frame_pairs.Files((item.path, second), (flow,))
    top, rest = official["top"], f"{official['rest']}{named['number']}"
    return frame_pairs.Files(
        (item.path, second), (f"{top}flow/{rest}.flo",), f"{top}invalid/{rest}.png"
    )


def _sequences(
    frames: dict[str, dict[int, str]], flows: dict[str, set[int]]
) -> set[tuple[str, str, str]]:
    """Stems of frames and of their flow, and the scene that they belong to."""
    found = set()
    tops = {stem["top"] for stem in map(_STEM.fullmatch, flows) if stem and stem["kind"] == "flow"}
    for name in {*frames, *flows}:
        stem = _STEM.fullmatch(name)
        if stem and stem["top"] in tops:
            top, kind, rest = stem.groups()
            # A flow whose frames are in neither pass still belongs to one: it will be rejected.
            passes = [it for it in _PASSES if f"{top}{it}/{rest}" in frames] or _PASSES[:1]
            if kind in (*passes, "flow"):
                scene = top + rest.partition("/")[0]
                found |= {(f"{top}{it}/{rest}", f"{top}flow/{rest}", scene) for it in passes}
        elif name in flows:
            found.add((name, name, name))
    return found


DATASET = frame_pairs.dataset(
    summary="MPI Sintel, clean and final pass, or single pairs; splits are drawn by scene",
    layouts=(
        "training/clean|final/SCENE/frame_NNNN.png, training/flow/SCENE/frame_NNNN.flo,",
        "  training/invalid/SCENE/frame_NNNN.png, with --splits=train:0.9,val:0.1",
        "NAME_NNNN.flo beside its frames, NAME_NNNN.png and the next; --splits=train:1 for all",
    ),
    list_items=list_items,
    files=files,
)
