"""Text of the licences and READMEs on this machine, in the layouts of benchmarks.

As `benchmarks.arrangements`, for rows that need no archives.
"""

from __future__ import annotations

import itertools
import re
import shutil
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ASKED = 2  # Files that are asked about.
PAIRS = {"train": 400, "dev": 100}


def files(folder: Path) -> None:
    """Gathers the licences and READMEs of this environment's packages; asks for a hidden word."""
    packages = _packages()
    for file in _documents(packages):
        # Behind a version such as 1.0 a name without an extension would seem to have one.
        name = "-".join(file.relative_to(packages).parts) + ("" if file.suffix else ".txt")
        shutil.copy(file, folder / "raw" / name)
    hidden = f"Permission is hereby granted, free of {'[MASK]' * 6}, to any person\n"
    (folder / "unseen/hidden.txt").write_text(hidden, encoding="utf-8")


def entailments(folder: Path) -> None:
    """Writes tables of RTE's layout: two sentences of a document, then one of them or of another.

    A sentence follows from two of which it is one; from two of another document it doesn't.
    """
    documents = map(_sentences, _documents(_packages()))
    # Each once: many packages have one licence.
    found = list(dict.fromkeys(pair for one in documents for pair in itertools.pairwise(one)))
    draw = np.random.default_rng(0)
    rows = []
    for number in range(sum(PAIRS.values())):
        two, others = (found[draw.integers(len(found))] for _ in range(2))
        whole, said = " ".join(two), (others if number % 2 else two)[draw.integers(2)]
        # By chance the other one may be one of the two.
        rows.append((whole, said, "entailment" if said in whole else "not_entailment"))
    _write_tables(folder, "label", rows)


def likenesses(folder: Path) -> None:
    """Writes tables of STS-B's layout: a sentence, then it with its end taken from another.

    The score, from 0 to 5, is by how many of its words are kept.
    """
    found = list(dict.fromkeys(itertools.chain.from_iterable(
        map(_sentences, _documents(_packages()))
    )))  # fmt: skip
    draw = np.random.default_rng(0)
    rows = []
    for _ in range(sum(PAIRS.values())):
        first, other = (found[draw.integers(len(found))].split() for _ in range(2))
        kept = draw.integers(len(first) + 1)
        mixed = [*first[:kept], *other[kept:]] or other
        rows.append((" ".join(first), " ".join(mixed), f"{5 * kept / len(first):.3f}"))
    _write_tables(folder, "score", rows)


def _write_tables(folder: Path, label: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Pairs of sentences with a label or score; some of the last are asked about."""
    rest = iter(rows)
    for name, count in PAIRS.items():
        mine = list(itertools.islice(rest, count))
        lines = [f"index\tsentence1\tsentence2\t{label}"]
        lines += ["\t".join((str(index), *row)) for index, row in enumerate(mine)]
        (folder / f"raw/{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number, (first, second, _) in enumerate(mine[:ASKED]):
        (folder / f"unseen/{number}.txt").write_text(f"{first}\t{second}\n", encoding="utf-8")


def _packages() -> Path:
    return Path(sysconfig.get_paths()["purelib"])


def _documents(packages: Path) -> Iterator[Path]:
    """Licences and READMEs as plain text."""
    for file in sorted(packages.rglob("*")):
        named = file.name.upper().startswith(("LICENSE", "README", "NOTICE"))
        if named and file.suffix in ("", ".txt", ".md", ".rst") and file.is_file():
            yield file


def _sentences(file: Path) -> Iterator[str]:
    """Those of a document of about a line, without line ends and tabs."""
    text = " ".join(file.read_text(encoding="utf-8", errors="ignore").split())
    for sentence in re.split(r"(?<=[.!?]) (?=[A-Z])", text):
        if 40 <= len(sentence) <= 120 and sentence.isprintable():
            yield sentence
