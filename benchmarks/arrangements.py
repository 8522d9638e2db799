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
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import h5py
import numpy as np
import soundfile
import soxr
from PIL import Image

ASKED = 2  # Files that are asked about.
CLIPS = 15  # Of a class; a row takes seconds then.
STAYS = {"train": 300, "test": 100}
PICTURES = {"train": 100, "test": 20}  # Of a class, in binary batches.
WIDTH = 16  # Of random features of patches.
WIDTHS = {"cls": {"audio": 128, "video": 4096}, "main": {"audio": 512, "video": 512}}
# Hz, channels, and what soundfile calls container and encoding.
FORMATS = (
    (44_100, 2, "wav", "PCM_24"), (48_000, 1, "flac", "PCM_16"), (22_050, 2, "ogg", "VORBIS"),
    (16_000, 1, "mp3", "MPEG_LAYER_III"), (11_025, 1, "wav", "FLOAT"), (8_000, 1, "wav", "PCM_U8"),
)  # fmt: skip

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


def binary_batches(folder: Path) -> None:
    """Writes some pictures of CIFAR-10's class folders as its authors' binary batches."""
    batches = folder / "raw/cifar-10-batches-bin"
    batches.mkdir()
    names = sorted(path.name for path in (folder / "raw/train").iterdir())
    (batches / "batches.meta.txt").write_text("\n".join(names) + "\n\n", encoding="utf-8")
    rows = {split: _rows_of_pictures(folder / "raw" / split, names, split) for split in PICTURES}
    for number in range(5):
        (batches / f"data_batch_{number + 1}.bin").write_bytes(b"".join(rows["train"][number::5]))
    (batches / "test_batch.bin").write_bytes(b"".join(rows["test"]))
    for path in sorted((folder / "raw/test/cat").iterdir())[:ASKED]:
        shutil.copy(path, folder / "unseen")
    for split in PICTURES:
        shutil.rmtree(folder / "raw" / split)


def hundred_batches(folder: Path) -> None:
    """Writes Tiny ImageNet's pictures as CIFAR-100's binary batches: two labels, fine and coarse.

    The pictures are scaled to 32 x 32 pixels; five fine classes are a coarse one.
    """
    (source,) = (folder / "raw").iterdir()
    batches = folder / "raw/cifar-100-binary"
    batches.mkdir()
    names = sorted(path.name for path in (source / "train").iterdir())
    coarse = [f"coarse_{number}" for number in range(-(-len(names) // 5))]
    for name, rows in (("fine", names), ("coarse", coarse)):
        (batches / f"{name}_label_names.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    for split, part in (("train", "train"), ("test", "val")):
        rows = _rows_of_pictures(source / part, names, split)
        both = (bytes([row[0] // 5]) + row for row in rows)
        (batches / f"{split}.bin").write_bytes(b"".join(both))
    for path in sorted(source.glob("val/*/*"))[:ASKED]:
        shutil.copy(path, folder / "unseen")
    shutil.rmtree(source)


def _rows_of_pictures(folder: Path, names: Sequence[str], split: str) -> list[bytes]:
    """A byte of the label, then all red, all green, all blue; the classes in turn."""
    rows = []
    for number, name in enumerate(names):
        for file in itertools.islice(sorted((folder / name).iterdir()), PICTURES[split]):
            with Image.open(file) as picture:
                pixels = np.asarray(picture.convert("RGB").resize((32, 32)))
            rows.append(bytes([number]) + pixels.transpose(2, 0, 1).tobytes())
    return rows


def living(folder: Path) -> None:
    """Puts ImageNet's pictures, one or two of a class, into two folders, by WordNet's numbers.

    Up to n0265 they are animals.
    """
    (source,) = (folder / "raw").iterdir()
    for kind in ("animal", "other"):
        (folder / "raw" / kind).mkdir()
    for file in sorted(source.iterdir()):
        if number := re.match(r"n(\d{4})\d{4}_", file.name):
            kind = "animal" if int(number[1]) < 266 else "other"
            file.rename(folder / "raw" / kind / file.name)
    shutil.rmtree(source)


def environments(folder: Path) -> None:
    """Lays animals' sounds out as ESC-50: one folder, and a table with folds and categories."""
    (source,) = (folder / "raw").iterdir()
    rows = [("filename", "fold", "target", "category", "esc10", "src_file", "take")]
    for part in ("audio", "meta"):
        (folder / "raw" / part).mkdir()
    for target, label in enumerate(sorted(source.iterdir())):
        for index, file in enumerate(sorted(label.iterdir())):
            fold = index % 5 + 1
            name = f"{fold}-{index}-A-{target}.wav"
            file.rename(folder / "raw/audio" / name)
            rows.append((name, str(fold), str(target), label.name, "False", str(index), "A"))
    with open(folder / "raw/meta/esc50.csv", "w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows(rows)
    shutil.rmtree(source)


def words(folder: Path) -> None:
    """Lays spoken digits out as Speech Commands: class folders, and lists of the held-out words."""
    source = folder / "raw/recordings"
    listed: dict[str, list[str]] = {"validation": [], "testing": []}
    for file in sorted(source.iterdir()):
        digit, speaker, index = file.stem.split("_")
        path = f"{digit}/{speaker}_nohash_{index}.wav"
        (folder / "raw" / digit).mkdir(exist_ok=True)
        file.rename(folder / "raw" / path)
        if int(index) < 10:
            listed["testing" if int(index) < 5 else "validation"].append(path)
    for name, paths in listed.items():
        (folder / f"raw/{name}_list.txt").write_text("\n".join(paths) + "\n", encoding="utf-8")
    shutil.rmtree(source)


def formats(folder: Path) -> None:
    """Writes a few spoken digits in one format after the other, in class folders."""
    source = folder / "raw/recordings"
    for digit in range(10):
        (folder / "raw" / str(digit)).mkdir()
        files = itertools.islice(sorted(source.glob(f"{digit}_*.wav")), CLIPS)
        for index, file in enumerate(files):
            rate, channels, suffix, encoding = FORMATS[index % len(FORMATS)]
            samples, had = soundfile.read(file, dtype="float32")
            sound = np.stack([soxr.resample(samples, had, rate)] * channels, axis=-1)
            to = folder / "raw" / str(digit) / f"{file.stem}.{suffix}"
            soundfile.write(to, sound, rate, subtype=encoding)
    shutil.rmtree(source)


def kitti(folder: Path) -> None:
    """Writes FlyingChairs' pairs as KITTI 2015's: frames in PNG, flow in PNG of 16 bits.

    Where the flow is below a tenth of a pixel it is left out, as it is there for want of a
    measurement.
    """
    (source,) = (folder / "raw").iterdir()
    training = folder / "raw/training"
    for part in ("image_2", "flow_occ"):
        (training / part).mkdir(parents=True)
    for number, file in enumerate(sorted(source.glob("*-gt.flo"))):
        for frame in (0, 1):
            with Image.open(file.with_name(file.name.replace("gt.flo", f"img{frame}.ppm"))) as one:
                one.save(training / f"image_2/{number:06d}_1{frame}.png")
        width, height = np.fromfile(file, np.int32, 2, offset=4)
        flow = np.fromfile(file, np.float32, offset=12).reshape(height, width, 2)
        known = np.hypot(*np.moveaxis(flow, -1, 0)) >= 0.1
        u, v = np.moveaxis(np.rint(flow * 64 + 2**15).astype(np.uint16), -1, 0)
        channels = np.stack([known.astype(np.uint16), v, u], axis=-1)  # OpenCV writes BGR.
        cv2.imwrite(str(training / f"flow_occ/{number:06d}_10.png"), channels)
    shutil.rmtree(source)


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


def clip_features(
    folder: Path,
    benchmark: str = "UCF",
    stage: int = 1,
    feature_set: str = "cls",
    clips: int = CLIPS,
) -> None:
    """Keeps a few clips of every list of a stage, and makes random features of them.

    Where a list isn't published, as VGGSound's for training, clips are made up for every class, and
    all features are in the benchmark's own packs, which name them; else each has a file.

    Args:
      folder: of the row.
      benchmark: UCF, ActivityNet or VGGSound.
      stage: of the protocol.
      feature_set: "cls", or "main", as which the same lists are given then.
      clips: of a class in a list.
    """
    (source,) = folder.glob(f"raw/*/*/{benchmark}")
    lists = source / f"class-split/{feature_set}_split"
    if not lists.exists():
        (source / "class-split/cls_split").rename(lists)
    store, draw = source / f"features/{feature_set}_features", np.random.default_rng(0)
    store.mkdir(parents=True)
    found, packed = {}, False
    for classes in sorted(lists.glob(f"stage_{stage}_*.txt")):
        listed = classes.with_suffix(".csv")
        packed |= not listed.exists()
        found[classes.stem] = (
            _shortened(listed, clips) if listed.exists() else _made_up(classes, clips)
        )
    for name, rows in found.items():
        for label, mine in itertools.groupby(rows, operator.itemgetter(1)):
            made = {
                clip: {
                    modality: draw.normal(size=(3, width)).astype(np.float16)
                    for modality, width in WIDTHS[feature_set].items()
                }
                for clip, _ in mine
            }
            if packed:
                _write_packs(store, f"{name}/{label}.h5", made)
            else:
                _write_archives(store, made)
    _write_archives(folder / "unseen", dict(itertools.islice(made.items(), ASKED)))


def _write_archives(store: Path, made: dict[str, dict[str, np.ndarray]]) -> None:
    """A file a clip."""
    for clip, features in made.items():
        np.savez(store / f"{clip}.npz", **features)


def _made_up(classes: Path, clips: int) -> list[tuple[str, str]]:
    """Clips of the classes that a list's .txt names, by class."""
    labels = sorted(filter(None, classes.read_text(encoding="utf-8").splitlines()))
    return [(f"{label} {number}", label) for label in labels for number in range(clips)]


def _write_packs(store: Path, path: str, made: dict[str, dict[str, np.ndarray]]) -> None:
    """The features of a class in a list, a pack of sound and one of picture."""
    for modality in ("audio", "video"):
        (store / modality / path).parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(store / modality / path, "w") as pack:
            pack["data"] = np.stack([one[modality] for one in made.values()])
            pack["video_urls"] = [f"{clip}.mp4".encode() for clip in made]


def actions(folder: Path) -> None:
    """Names GRID's clips after a few of every list of UCF's stage 1, whose own aren't given."""
    (ucf,) = folder.glob("raw/AVCA/*/UCF")
    (grid,) = folder.glob("raw/grid_s1_*")
    media = sorted(grid.glob("*.mp4"))
    (ucf / "clips").mkdir()
    for listed in sorted(ucf.glob("class-split/cls_split/stage_1_*.csv")):
        for clip, _ in _shortened(listed, 3):
            media.pop().rename(ucf / f"clips/{clip}.mp4")
    for clip in sorted(ucf.glob("clips/*"))[:ASKED]:
        shutil.copy(clip, folder / "unseen")
    shutil.rmtree(grid)


def _shortened(path: Path, clips: int) -> list[tuple[str, str]]:
    """Leaves no more than so many clips of a class in a list; gives these and their classes."""
    with open(path, encoding="utf-8", newline="") as lists:
        header, *rows = csv.reader(lists)
    label = operator.itemgetter(header.index("label"))
    classes = itertools.groupby(sorted(rows, key=label), label)
    kept = [row for _, mine in classes for row in itertools.islice(mine, clips)]
    with open(path, "w", encoding="utf-8", newline="") as lists:
        csv.writer(lists).writerows([header, *kept])
    return [(row[header.index("filename")], label(row)) for row in kept]


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
        header = next(rows)
        place = header.decode().split(",").index("case_id")
        # A patient may have several rows, one a slide.
        by_patient = itertools.groupby(rows, lambda row: row.split(b",", place + 1)[place])
        for number, (_, mine) in enumerate(itertools.islice(by_patient, ASKED)):
            (folder / f"unseen/{number}.csv").write_bytes(header + next(mine))


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
