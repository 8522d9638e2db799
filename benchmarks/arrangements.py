"""From archives of real files to the layouts of benchmarks that are not given as they are.

Each function takes the folder of a row of `benchmarks.modalities`, in which `raw` and `unseen` are
there, and makes, moves or removes files. What must be made up, such as features, is random and
says in the row's name that it is: those rows show the way, not a score.
"""

from __future__ import annotations

import csv
import itertools
import operator
import re
import shutil
import sysconfig
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

ASKED = 2  # Files that are asked about.
CLIPS = 15  # Of a class; a row takes seconds then.
STAYS = {"train": 300, "test": 100}
PAIRS = {"train": 400, "dev": 100}
WIDTH = 16  # Of random features of patches.

# PhysioNet's variables that are those of mimic3-benchmarks, in the same units.
_MIMIC_3 = {
    "DiasABP": "Diastolic blood pressure",
    "FiO2": "Fraction inspired oxygen",
    "GCS": "Glascow coma scale total",
    "Glucose": "Glucose",
    "HR": "Heart Rate",
    "Height": "Height",
    "MAP": "Mean blood pressure",
    "RespRate": "Respiratory rate",
    "SaO2": "Oxygen saturation",
    "SysABP": "Systolic blood pressure",
    "Temp": "Temperature",
    "Weight": "Weight",
    "pH": "pH",
}
_UNKNOWN = -1.0  # PhysioNet's number for it.


def segments(folder: Path) -> None:
    """Names GRID's clips after the first videos of AudioSet's lists, whose own aren't published."""
    raw = folder / "raw"
    media = sorted(raw.glob("grid_s1_*/*.mp[g4]"))
    for name, split, count in (("balanced_train", "train", 16), ("eval", "eval", 8)):
        with open(raw / f"audioset/{name}_segments.csv", encoding="utf-8", newline="") as lists:
            rows = [row for row in csv.reader(lists, skipinitialspace=True) if row[0][0] != "#"]
        (raw / split).mkdir()
        for row in rows[:count]:
            clip = media.pop()
            clip.rename(raw / split / f"{row[0]}_{round(float(row[1]))}{clip.suffix}")
    for rest in media:
        rest.unlink()


def commands(folder: Path) -> None:
    """Puts GRID's clips into a folder for each command, the first letter of their names."""
    raw = folder / "raw"
    clips = sorted(raw.glob("grid_s1_*/*.mp4"))
    for letter, mine in itertools.groupby(clips, lambda clip: clip.name[0]):
        (raw / letter).mkdir()
        for clip in itertools.islice(mine, CLIPS):
            clip.rename(raw / letter / clip.name)
    for archive in raw.glob("grid_s1_*"):
        shutil.rmtree(archive)


def clip_features(folder: Path) -> None:
    """Keeps a few clips of every list of UCF's stage 1, and makes random features of them."""
    (ucf,) = folder.glob("raw/*/*/UCF")
    store, draw = ucf / "features/cls_features", np.random.default_rng(0)
    store.mkdir(parents=True)
    for path in sorted(ucf.glob("class-split/cls_split/stage_1_*.csv")):
        for clip in _shortened(path):
            audio, video = (draw.normal(size=size) for size in ((3, 128), (4, 4096)))
            np.savez(
                store / f"{clip}.npz",
                audio=audio.astype(np.float16),
                video=video.astype(np.float16),
            )
    for archive in sorted(store.glob("*.npz"))[:ASKED]:
        shutil.copy(archive, folder / "unseen")


def _shortened(path: Path) -> list[str]:
    """Leaves no more than `CLIPS` clips of a class in a list; gives their names."""
    with open(path, encoding="utf-8", newline="") as lists:
        header, *rows = csv.reader(lists)
    label = operator.itemgetter(header.index("label"))
    classes = itertools.groupby(sorted(rows, key=label), label)
    kept = [row for _, mine in classes for row in itertools.islice(mine, CLIPS)]
    with open(path, "w", encoding="utf-8", newline="") as lists:
        csv.writer(lists).writerows([header, *kept])
    return [row[header.index("filename")] for row in kept]


def stays(folder: Path) -> None:
    """Writes PhysioNet's stays as mimic3-benchmarks does, a column for each variable of both."""
    raw = folder / "raw"
    with open(raw / "Outcomes-a.txt", encoding="utf-8", newline="") as table:
        died = {row["RecordID"]: row["In-hospital_death"] for row in csv.DictReader(table)}
    files = iter(sorted(raw.glob("set-a/*.txt")))
    for split, count in STAYS.items():
        (raw / split).mkdir()
        listed = [("stay", "y_true")]
        for file in itertools.islice(files, count):
            name = f"{file.stem}_episode1_timeseries.csv"
            with open(raw / split / name, "w", encoding="utf-8", newline="") as stay:
                csv.writer(stay).writerows(_moments(file))
            listed.append((name, died[file.stem]))
        with open(raw / split / "listfile.csv", "w", encoding="utf-8", newline="") as lists:
            csv.writer(lists).writerows(listed)
        for name, _ in listed[1 : 1 + ASKED] if split == "test" else ():
            shutil.copy(raw / split / name, folder / "unseen")
    shutil.rmtree(raw / "set-a")
    (raw / "Outcomes-a.txt").unlink()


def _moments(file: Path) -> Iterator[Sequence[str]]:
    """The rows of a stay: hours, and what was measured then."""
    columns = list(_MIMIC_3.values())
    yield ["Hours", *columns]
    with open(file, encoding="utf-8", newline="") as lines:
        for time, measured in itertools.groupby(csv.DictReader(lines), lambda row: row["Time"]):
            hours, minutes = map(int, time.split(":"))
            cells = {
                _MIMIC_3[row["Parameter"]]: row["Value"]
                for row in measured
                if row["Parameter"] in _MIMIC_3 and float(row["Value"]) != _UNKNOWN
            }
            if cells:
                at = f"{hours + minutes / 60:.6f}"
                yield [at, *(cells.get(column, "") for column in columns)]


def patients(folder: Path) -> None:
    """Puts two patients of the table into tables of their own."""
    (table,) = folder.glob("raw/*/*.csv.zip")
    with zipfile.ZipFile(table) as archive, archive.open(archive.namelist()[0]) as rows:
        header, *found = (next(rows) for _ in range(1 + ASKED))
    for number, patient in enumerate(found):
        (folder / f"unseen/{number}.csv").write_bytes(header + patient)


def slides(folder: Path) -> None:
    """As `patients`, and random features of some patches of every slide but each tenth."""
    patients(folder)
    (table,) = folder.glob("raw/*/*.csv.zip")
    bags, draw = table.parent / "slides", np.random.default_rng(0)
    bags.mkdir()
    with zipfile.ZipFile(table) as archive, archive.open(archive.namelist()[0]) as rows:
        header = next(rows).decode().split(",")
        place = header.index("slide_id")
        for number, row in enumerate(rows):
            if number % 10 != 9:
                slide = row.decode().split(",", place + 1)[place].removesuffix(".svs")
                bag = draw.normal(size=(draw.integers(1, 40), WIDTH))
                np.save(bags / f"{slide}.npy", bag.astype(np.float16))


def texts(folder: Path) -> None:
    """Gathers the licences and READMEs of this environment's packages; our own README is unseen."""
    packages = _packages()
    for file in _documents(packages):
        # Behind a version such as 1.0 a name without an extension would seem to have one.
        name = "-".join(file.relative_to(packages).parts) + ("" if file.suffix else ".txt")
        shutil.copy(file, folder / "raw" / name)
    shutil.copy(Path(__file__).parent.parent / "README.md", folder / "unseen")


def entailments(folder: Path) -> None:
    """Writes tables of RTE's layout: two sentences of a document, then one of them or of another.

    A sentence follows from two of which it is one; from two of another document it doesn't. The
    sentences are those of the licences and READMEs of this environment's packages.
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
    for name, count in PAIRS.items():
        mine, rows = rows[:count], rows[count:]
        lines = ["index\tsentence1\tsentence2\tlabel"]
        lines += ["\t".join((str(index), *row)) for index, row in enumerate(mine)]
        (folder / f"raw/{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for number, (whole, said, _) in enumerate(mine[:ASKED]):
        (folder / f"unseen/{number}.txt").write_text(f"{whole}\t{said}\n", encoding="utf-8")


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
