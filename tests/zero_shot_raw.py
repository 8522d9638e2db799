"""Raw data in the layout of AVCA's benchmarks: features that follow word vectors, with noise."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import h5py
import numpy as np

# The name in the lists, and the one that its word vector was made from.
CLASSES = {
    "".join(words): " ".join(words)
    for words in (
        ("Apply", "Lipstick"), ("Archery",), ("Baby", "Crawling"), ("Balance", "Beam"),
        ("Band", "Marching"), ("Blow", "Dry", "Hair"), ("Bowling",), ("Cliff", "Diving"),
        ("Fencing",), ("Hammering",), ("Playing", "Flute"), ("Rafting",),
    )
}  # fmt: skip
NAMES = list(CLASSES)
SEEN, LATER, NEVER = NAMES[0::2], NAMES[1::4], NAMES[3::4]  # From stage 1 on, from 2 on.
AUDIO, VIDEO, WORDS = 6, 10, 12
WIDTHS = {"audio": AUDIO, "video": VIDEO}
# Clips of every class.
LISTS = {
    "stage_1_train": (SEEN, range(0, 12)),
    "stage_1_val_seen": (SEEN, range(12, 15)),
    "stage_1_val_unseen": (LATER, range(0, 14)),
    "stage_2_train": (SEEN + LATER, range(0, 15)),
    "stage_2_test_seen": (SEEN + LATER, range(15, 18)),
    "stage_2_test_unseen": (NEVER, range(0, 5)),
}


def clip(label: str, number: int) -> str:
    """The clip's name in the lists."""
    return f"v_{label}_g{number:02d}"


def vectors() -> dict[str, np.ndarray]:
    """Word vectors of one length, by the names that they are made from."""
    drawn = np.random.default_rng(0).normal(size=(len(CLASSES), WORDS))
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return dict(zip(CLASSES.values(), drawn.astype(np.float32), strict=True))


def features(
    label: str, number: int, rows: int = 3, widths: Mapping[str, int] = WIDTHS
) -> dict[str, np.ndarray]:
    """Linear in the word vector: "audio" float32 [rows, 6] and "video" float32 [rows + 1, 10]."""
    audio, both = widths["audio"], sum(widths.values())
    mixing = np.random.default_rng(1).normal(size=(WORDS, both))
    noise = np.random.default_rng([2, NAMES.index(label), number])
    mean = 40 + 9 * vectors()[CLASSES[label]] @ mixing
    drawn = (mean + noise.normal(size=(rows + 1, both))).astype(np.float32)
    return {"audio": drawn[:-1, :audio], "video": drawn[:, audio:]}


def write(
    root: pathlib.Path,
    packs: bool = False,
    stages: tuple[int, ...] = (1, 2),
    widths: Mapping[str, int] = WIDTHS,
) -> None:
    """Writes a benchmark of the name ucf.

    Args:
      root: gets class-split, features and w2v_features.
      packs: whether the features are a pair of .h5 files for each class and list, a vector a clip,
        rather than an .npz a clip.
      stages: whose lists are written.
      widths: of the features' rows.
    """
    lists, store = root / "class-split/cls_split", root / "features/cls_features"
    for folder in (lists, store, root / "w2v_features"):
        folder.mkdir(parents=True, exist_ok=True)
    rows = ["original,manual", *(f"{name},{manual}" for name, manual in CLASSES.items())]
    (root / "class-split/ucf_w2v_class_names.csv").write_text("\n".join(rows) + "\n")
    np.save(root / "w2v_features/word_embeddings_ucf_normed.npy", vectors())
    for name, (labels, numbers) in LISTS.items():
        if int(name.split("_")[1]) not in stages:
            continue
        (lists / f"{name}.txt").write_text("".join(f"{label}\n" for label in labels))
        lines = ["filename,label,label_code"]
        lines += [f"{clip(label, i)},{label},{NAMES.index(label)}" for label in labels
                  for i in numbers]  # fmt: skip
        (lists / f"{name}.csv").write_text("\n".join(lines) + "\n")
        for label in labels:
            found = [features(label, i, widths=widths) for i in numbers]
            clips = [clip(label, i) for i in numbers]
            if packs:
                _write_packs(store, name, label, found, clips)
            else:
                for one, arrays in zip(clips, found, strict=True):
                    np.savez(store / f"{one}.npz", **arrays)


def _write_packs(store: pathlib.Path, name: str, label: str, found: list, clips: list[str]) -> None:
    for modality in ("audio", "video"):
        # The two files of a class need not have one order.
        order = range(len(clips)) if modality == "audio" else range(len(clips))[::-1]
        folder = store / modality / name
        folder.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / f"{label}.h5", "w") as pack:
            pack.create_dataset("data", data=[found[i][modality].mean(0) for i in order])
            names = [f"{clips[i]}.avi".encode() for i in order]
            pack.create_dataset("video_urls", data=np.array(names, "S80"))
