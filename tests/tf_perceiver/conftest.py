"""Data that the tests write themselves, and models that the real command trained on it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pathlib
from collections.abc import Iterable

import numpy as np
import pytest

from pipelines.records import DatasetInfo, Feature, Shard, Split, encode, shard_name

SHAPES = ("ball", "rod", "sheet")
SOUNDS = ("falling", "noise", "rising")


@dataclasses.dataclass(frozen=True)
class Exported:
    """A folder of versions, and what the command that wrote it printed."""

    folder: pathlib.Path
    stdout: str


@dataclasses.dataclass(frozen=True)
class Trained:
    """A workdir, the records it was trained on, and raw files of its test split by class name."""

    workdir: pathlib.Path
    data: pathlib.Path
    files: dict[str, pathlib.Path]


def _write_dataset(
    directory: pathlib.Path,
    name: str,
    features: dict[str, Feature],
    labels: tuple[str, ...],
    splits: dict[str, Iterable[dict]],
    properties: dict | None = None,
    shards: int = 1,
) -> None:
    import tensorflow as tf

    directory.mkdir()
    written = {}
    for split, examples in splits.items():
        records = [encode(example, features) for example in examples]
        parts = []
        for i in range(shards):
            file = directory / shard_name(name, split, i, shards)
            with tf.io.TFRecordWriter(str(file)) as writer:
                for record in records[i::shards]:
                    writer.write(record)
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            parts.append(Shard(file.name, len(records[i::shards]), len(content), digest))
        written[split] = Split(split, tuple(parts))
    info = DatasetInfo(name, features, labels, written, properties=properties or {})
    info.write(str(directory))


def _train(fork_server, checkout, config: str, data: pathlib.Path, workdir: pathlib.Path) -> None:
    arguments = [f"--config=configs/{config}", f"--data={data}", f"--workdir={workdir}"]
    fork_server.start("tf_perceiver.train", arguments, cwd=checkout).wait(240).check()


def _export(fork_server, checkout, trained: Trained, output: pathlib.Path) -> Exported:
    arguments = [f"--workdir={trained.workdir}", f"--output={output}"]
    result = fork_server.start("tf_perceiver.export", arguments, cwd=checkout).wait(240).check()
    return Exported(output, result.stdout)


def shape_points(shape: str, seed: int, count: int = 100) -> np.ndarray:
    """float32 [count, 3]: random points of a ball, a rod or a sheet."""
    points = np.random.default_rng(seed).normal(size=(count, 3))
    return (points * {"ball": (1, 1, 1), "rod": (0.1, 0.1, 1), "sheet": (1, 1, 0.1)}[shape]).astype(
        np.float32
    )


def sound(kind: str, seed: int, rate: int = 8_000) -> np.ndarray:
    """int16 [n]: half a second, or a little more or less, of a sweep or of noise."""
    draw = np.random.default_rng(seed)
    times = np.arange(int(draw.uniform(0.4, 0.6) * rate)) / rate
    if kind == "noise":
        samples = draw.normal(size=len(times)) / 4
    else:
        start, slope = (300, 2000) if kind == "rising" else (1500, -2000)
        samples = np.sin(2 * np.pi * (start + slope * times / 2) * times) / 2
    return np.clip(samples * 32768, -32768, 32767).astype(np.int16)


@pytest.fixture(scope="session")
def trained_sounds(fork_server, checkout, tmp_path_factory) -> Trained:
    """`fsdd:tiny`, trained on sweeps and noise of unequal lengths."""
    import soundfile

    root = tmp_path_factory.mktemp("trained_sounds")
    examples, files = {"train": [], "test": []}, {}
    for i in range(120):
        label, split = i % len(SOUNDS), "train" if i < 96 else "test"
        waveform = sound(SOUNDS[label], seed=i)
        examples[split].append({"audio": waveform, "label": label, "key": b"%d" % i})
        if split == "test" and SOUNDS[label] not in files:
            files[SOUNDS[label]] = root / f"{SOUNDS[label]}.wav"
            soundfile.write(files[SOUNDS[label]], waveform, 8_000)
    features = {
        "audio": Feature("int16", (None,)),
        "label": Feature("int64"),
        "key": Feature("bytes"),
    }
    properties = {"sample_rate": 8_000}
    _write_dataset(root / "data", "sounds", features, SOUNDS, examples, properties)
    _train(fork_server, checkout, "fsdd.py:tiny", root / "data", root / "workdir")
    return Trained(root / "workdir", root / "data", files)


@pytest.fixture(scope="session")
def exported_sounds(trained_sounds, fork_server, checkout, tmp_path_factory) -> Exported:
    """The export of `trained_sounds`."""
    return _export(fork_server, checkout, trained_sounds, tmp_path_factory.mktemp("exported"))


def frame(seed: int, moved: int = 0, height: int = 20, width: int = 30) -> bytes:
    """PNG of noise that was moved to the right by so many pixels."""
    from PIL import Image

    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(np.roll(pixels, moved, 1)).save(encoded, "PNG")
    return encoded.getvalue()


@pytest.fixture(scope="session")
def trained_frames(fork_server, checkout, tmp_path_factory) -> Trained:
    """`flow:tiny`, trained on noise that moves sideways; the pairs of its split have two sizes.

    The files are those of a pair of the evaluation split, "first" and "second".
    """
    from pipelines.readers import flow

    root = tmp_path_factory.mktemp("trained_frames")
    examples, files = {"train": [], "val": []}, {}
    for i in range(20):
        size = (56, 80) if i % 3 else (72, 104)
        split, moved = "val" if i % 4 == 1 else "train", i % 5
        frames = [frame(i, 0, *size), frame(i, moved, *size)]
        field = np.zeros((*size, 2), np.float32)
        field[..., 0] = moved
        valid = np.ones(size, bool)
        valid[:, size[1] - moved :] = False
        fields = flow.encode_record(frames, field, valid)
        examples[split].append(fields | {"key": b"%d" % i})
        if split == "val" and not files:
            for name, content in zip(("first", "second"), frames, strict=True):
                files[name] = root / f"{name}.png"
                files[name].write_bytes(content)
    features = {
        "frames": Feature("bytes", (2,)),
        "flow": Feature("bytes"),
        "valid": Feature("bytes"),
        "key": Feature("bytes"),
    }
    _write_dataset(root / "data", "pairs", features, (), examples)
    _train(fork_server, checkout, "flow.py:tiny", root / "data", root / "workdir")
    return Trained(root / "workdir", root / "data", files)


@pytest.fixture(scope="session")
def exported_frames(trained_frames, fork_server, checkout, tmp_path_factory) -> Exported:
    """The export of `trained_frames`."""
    return _export(fork_server, checkout, trained_frames, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def trained_digits(fork_server, checkout, tmp_path_factory) -> Trained:
    """`digits:tiny`, trained on 400 of scikit-learn's digits, in two shards a split."""
    from PIL import Image
    from sklearn import datasets

    root = tmp_path_factory.mktemp("trained_digits")
    digits = datasets.load_digits()
    examples, files = {"train": [], "test": []}, {}
    for i, (picture, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        if i == 500:
            break
        encoded = io.BytesIO()
        Image.fromarray((picture * 255 / 16).astype(np.uint8)).save(encoded, "PNG")
        example = {"image": encoded.getvalue(), "label": int(label), "key": b"%d" % i}
        split = "train" if i % 5 else "test"
        examples[split].append(example)
        if split == "test" and str(label) not in files:
            files[str(label)] = root / f"digit {label}.png"
            files[str(label)].write_bytes(example["image"])
    features = {"image": Feature("bytes"), "label": Feature("int64"), "key": Feature("bytes")}
    labels = tuple(str(digit) for digit in range(10))
    _write_dataset(root / "data", "digits", features, labels, examples, shards=2)
    _train(fork_server, checkout, "digits.py:tiny", root / "data", root / "workdir")
    return Trained(root / "workdir", root / "data", files)


@pytest.fixture(scope="session")
def trained_shapes(fork_server, checkout, tmp_path_factory) -> Trained:
    """`modelnet40:tiny`, trained on made-up clouds; those of the test split have unequal sizes."""
    root = tmp_path_factory.mktemp("trained_shapes")
    examples, files = {"train": [], "test": []}, {}
    for i in range(120):
        label, split = i % len(SHAPES), "train" if i < 96 else "test"
        points = shape_points(SHAPES[label], seed=i, count=100 if i % 4 else 80)
        examples[split].append({"points": points, "label": label, "key": b"%d" % i})
        if split == "test" and SHAPES[label] not in files:
            files[SHAPES[label]] = root / f"{SHAPES[label]}.npy"
            np.save(files[SHAPES[label]], points)
    features = {
        "points": Feature("float32", (None, 3)),
        "label": Feature("int64"),
        "key": Feature("bytes"),
    }
    _write_dataset(root / "data", "shapes", features, SHAPES, examples)
    _train(fork_server, checkout, "modelnet40.py:tiny", root / "data", root / "workdir")
    return Trained(root / "workdir", root / "data", files)


@pytest.fixture(scope="session")
def exported_digits(trained_digits, fork_server, checkout, tmp_path_factory) -> Exported:
    """The export of `trained_digits`."""
    return _export(fork_server, checkout, trained_digits, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def exported_shapes(trained_shapes, fork_server, checkout, tmp_path_factory) -> Exported:
    """The export of `trained_shapes`."""
    return _export(fork_server, checkout, trained_shapes, tmp_path_factory.mktemp("exported"))
