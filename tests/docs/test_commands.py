"""Runs what README.md and CONTRIBUTING.md tell people to run, in a copy of the tree.

Every line of every `bash` block is run, in order, on small data that this test makes where the
README has its own, with `:tiny` in place of `:small`. A line is left out only for a reason below.
"""

from __future__ import annotations

import dataclasses
import glob
import json
import os
import pathlib
import pickle
import re
import shlex
import shutil
import subprocess
import sys

import clips
import numpy as np
import pytest
import soundfile
import zero_shot_raw
from PIL import Image

from beam_preprocess.datasets import grid

ROOT = pathlib.Path(__file__).resolve().parents[2]
COPIED = ("beam_preprocess", "configs", "pipelines", "tf_perceiver")
COPIED_FILES = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg")
# Blocks under a comment `not run: ...` may start with these and nothing else.
NEED_DOCKER = ("docker run", "curl")
# The environment that the tests run in; `make` lines are looked up in the Makefile instead.
ENTERING = "source .venv/bin/activate"
# What must end in an error here, for want of the hardware or the cloud: its one line names them.
WITHOUT_HARDWARE = {
    "--strategy=tpu": r"error: --strategy=tpu: .*TPU",
    "--runner=DataflowRunner": r"error: no Google Cloud credentials .*gcloud auth",
}
TEST_IMAGES = 7  # a class; no divisor of a batch, so that padding would be noticed
TEST_SHAPES = 5
TEST_VIDEOS = 2
# A class; of texts half of them.
TEST_EXAMPLES = {
    "cifar10": TEST_IMAGES, "modelnet40": TEST_SHAPES, "fsdd": 10, "grid": TEST_VIDEOS, "texts": 6,
    "kinetics": TEST_VIDEOS,
    "avca1": 30,
    "flow": 20, "tcga_brca": 4,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: file, heading above it, language, a comment right above it, and its text."""

    file: str
    heading: str
    language: str
    comment: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Its commands, continued lines joined."""
        joined = self.text.replace("\\\n", " ")
        return [line for line in map(str.strip, joined.splitlines()) if line]


def blocks_of(file: str, text: str) -> list[Block]:
    """All fenced blocks of a Markdown text."""
    found, heading, comment = [], "", ""
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith("```") and len(line) > 3:
            body = []
            for inner in lines:
                if inner.startswith("```"):
                    break
                body.append(inner)
            found.append(Block(file, heading, line[3:], comment, "\n".join(body)))
        elif line.startswith("#"):
            heading = line.lstrip("# ")
        comment = line if line.startswith("<!--") else ""
    return found


BLOCKS = [
    block
    for file in ("README.md", "CONTRIBUTING.md")
    for block in blocks_of(file, (ROOT / file).read_text(encoding="utf-8"))
]
COMMANDS = [
    pytest.param(line, id=f"{block.heading}: {' '.join(line.split()[:4])}")
    for block in BLOCKS
    if block.language == "bash" and not block.comment
    for line in block.lines
]


def _write_images(
    folder: pathlib.Path, seed: int, suffix: str, count: int, size: tuple[int, int] = (32, 32)
) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    files = [folder / f"{seed}-{index}.{suffix}" for index in range(count)]
    for file in files:
        Image.fromarray(random.integers(0, 255, (*size, 3), np.uint8)).save(file)
    return files


def _write_sounds(folder: pathlib.Path) -> None:
    """Recordings named as FSDD's: two digits, a tone each, by two speakers."""
    folder.mkdir(parents=True)
    times = np.arange(3000) / 8000
    for digit, hertz in ((3, 400), (7, 1500)):
        for number, speaker in enumerate(("ann", "bob")):
            for index in range(12):
                tone = 0.5 * np.sin(2 * np.pi * hertz * (1 + number / 10 + index / 100) * times)
                soundfile.write(folder / f"{digit}_{speaker}_{index}.wav", tone, 8000)


def _write_stays(folder: pathlib.Path) -> None:
    """Stays as PhysioNet's: who dies has a fast pulse."""
    (folder / "set-a").mkdir(parents=True)
    outcomes = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for record in range(132500, 132560):
        pulse = 80 + 40 * (record % 2)
        lines = ["Time,Parameter,Value", f"00:00,RecordID,{record}", "00:00,Age,60"]
        lines += [f"{hour:02}:00,HR,{pulse + hour % 7}" for hour in range(24)]
        (folder / f"set-a/{record}.txt").write_text("\n".join(lines) + "\n")
        outcomes.append(f"{record},6,1,5,-1,{record % 2}")
    (folder / "Outcomes-a.txt").write_text("\n".join(outcomes) + "\n")


def _write_profiles(folder: pathlib.Path) -> None:
    """A table whose groups of genes are as many and as large as TCGA-BRCA's, and new patients."""
    sizes = [247] + [2] * 12
    families = [[f"F{family}G{i}" for i in range(size)] for family, size in enumerate(sizes)]
    genes = [f"{gene}_rnaseq" for family in families for gene in family]
    genes += [f"{gene}_cnv" for family in families for gene in family[:2]] + ["LONE_rnaseq"]
    random = np.random.default_rng(0)
    lines = [",".join(["case_id", "survival_months", "censorship", *genes])]
    for patient in range(40):
        values = ",".join(f"{value:.3f}" for value in random.normal(size=len(genes)))
        lines.append(f"P{patient},{1 + patient % 17},{patient % 3 // 2},{values}")
    for part in ("tcga_brca/splits", "new_patients"):
        (folder / part).mkdir(parents=True)
    (folder / "tcga_brca/table.csv").write_text("\n".join(lines) + "\n")
    columns = [[f"family {i}", *family] for i, family in enumerate(families)]
    rows = zip(*(column + [""] * (248 - len(column)) for column in columns), strict=True)
    (folder / "tcga_brca/signatures.csv").write_text("".join(",".join(r) + "\n" for r in rows))
    for fold in range(5):
        rows = [f",P{i}" if i % 5 == fold else f"P{i}," for i in range(40)]
        (folder / f"tcga_brca/splits/splits_{fold}.csv").write_text("\n".join(["train,val", *rows]))
    for row in (1, 2):
        table = "\n".join([lines[0], lines[row]]) + "\n"
        (folder / f"new_patients/{row}.csv").write_text(table)


def _write_texts(folder: pathlib.Path) -> None:
    """Two splits of texts, twice six in the second, texts with hidden bytes, and a task of GLUE."""
    words = ["the", "licence", "of", "this", "software", "permits", "every", "use"]
    random = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 12)):
        (folder / "texts" / split).mkdir(parents=True)
        for index in range(count):
            text = " ".join(random.choice(words, 20))
            (folder / "texts" / split / f"{index}.txt").write_text(text + "\n")
    (folder / "hidden").mkdir()
    for index in range(2):
        (folder / "hidden" / f"{index}.txt").write_text("the [MASK][MASK][MASK] of this")
    (folder / "RTE").mkdir()
    rows = [
        f"{index}\t{' '.join(random.choice(words, 5))}\t{words[index % 5]}\t{label}"
        for index in range(20)
        for label in ("entailment", "not_entailment")
    ]
    for name in ("train.tsv", "dev.tsv"):
        lines = ["index\tsentence1\tsentence2\tlabel", *rows]
        (folder / "RTE" / name).write_text("\n".join(lines) + "\n")


def _write_videos(folder: pathlib.Path) -> None:
    """Clips named as GRID's: two commands, told by when there is a flash and a beep."""
    folder.mkdir(parents=True)
    for command, event in (("b", (0.2, 0.4)), ("s", (0.8, 1.0))):
        sound = clips.tone(44_100, 1.6, event)
        data = clips.encoded("mpeg, mpeg1, mp2", clips.regular(1.6), sound=sound, flash=event)
        names = [f"{command}gat{digit}{last}" for digit in "123456789z" for last in "anps"]
        tested = [name for name in names if grid.fold(name) == 5][:TEST_VIDEOS]
        for name in tested + [name for name in names if grid.fold(name) != 5][:10]:
            (folder / f"{name}.mpg").write_bytes(data)


def _write_class_folders_of_videos(folder: pathlib.Path) -> None:
    """Two splits of two classes, told by when there is a flash and a beep."""
    for label, event in (("early", (0.2, 0.3)), ("late", (0.5, 0.6))):
        sound = clips.tone(16_000, 0.8, event)
        data = clips.encoded(times=clips.regular(0.8), sound=sound, flash=event)
        for split, count in (("train", 6), ("val", TEST_VIDEOS)):
            (folder / split / label).mkdir(parents=True)
            for index in range(count):
                (folder / split / label / f"{label}{index}.mp4").write_bytes(data)


def _write_meshes(folder: pathlib.Path, size: tuple[float, float, float], count: int) -> None:
    folder.mkdir(parents=True)
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3)
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    for index in range(count):
        vertices = corners * np.array(size) * (1 + index / 10)
        lines = ["OFF", "8 6 0", *(" ".join(map(str, vertex)) for vertex in vertices)]
        lines += [" ".join(map(str, (4, *face))) for face in faces]
        (folder / f"{folder.parent.name}_{index:04d}.off").write_text("\n".join(lines) + "\n")


def _apply(diff: str, text: str) -> str:
    """Applies the hunks of a `diff` block, which are separated by empty lines."""
    for hunk in re.split(r"\n\s*\n", diff):
        lines = hunk.splitlines()
        old = "\n".join(line[1:] for line in lines if line[0] in " -")
        new = "\n".join(line[1:] for line in lines if line[0] in " +")
        assert text.count(old) == 1, f"the README's diff doesn't apply: {old!r}"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the tree, changed as the README says, with the raw data that it speaks of."""
    folder = tmp_path_factory.mktemp("clone")
    for name in COPIED:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED_FILES:
        shutil.copy(ROOT / name, folder)
    for number, label in enumerate(("cat", "ship")):
        for split, count in (("train", 40), ("test", TEST_IMAGES)):
            _write_images(folder / "raw/cifar10" / split / label, 2 * number, "jpg", count)
    for label, size in (("chair", (1.0, 1.0, 2.0)), ("table", (2.0, 2.0, 1.0))):
        for split, count in (("train", 20), ("test", TEST_SHAPES)):
            _write_meshes(folder / "raw/modelnet40" / label / split, size, count)
    _write_sounds(folder / "raw/fsdd")
    _write_stays(folder / "raw/physionet2012")
    _write_profiles(folder / "raw")
    # The splits are drawn by name: of these four photographs one is `val`.
    for name, size in (("photographs", (80, 90)), ("frames", (48, 64))):
        _write_images(folder / "raw" / name, 6, "png", 4, size)
    _write_texts(folder / "raw")
    _write_videos(folder / "raw/grid/s1")
    _write_class_folders_of_videos(folder / "raw/kinetics")
    zero_shot_raw.write(folder / "raw/avca", widths={"audio": 128, "video": 4096})
    rows = ["path,label,split"]
    for seed, split in enumerate(("train", "test")):
        for index, file in enumerate(_write_images(folder / "raw/mine/all", seed, "png", 36)):
            rows.append(f"all/{file.name},{('owl', 'yak')[index % 2]},{split}")
    (folder / "raw/mine/labels.csv").write_text("\n".join(rows) + "\n")

    for block in BLOCKS:
        if block.language == "python" and block.text.startswith("# beam_preprocess/"):
            (folder / block.lines[0].lstrip("# ")).write_text(block.text + "\n")
        elif block.language == "diff":
            table = folder / "beam_preprocess/datasets/__init__.py"
            table.write_text(_apply(block.text, table.read_text()))
    return folder


@pytest.fixture(scope="module")
def checkpoint(clone):
    """A pickle of the published names and shapes of ImageNet's Fourier model, all zeros."""
    from tf_perceiver import presets
    from tf_perceiver.weights import archive, names

    shapes = archive.shapes_of(presets.io_imagenet_fourier(), 1000)
    tree: dict[str, dict[str, np.ndarray]] = {}
    for name, shape in shapes.items():
        module, _, parameter = names.haiku_path(name, "classification").rpartition("/")
        tree.setdefault(module, {})[parameter] = np.zeros(shape, np.float32)
    path = clone / "raw/imagenet_fourier_position_encoding.pystate"
    path.write_bytes(pickle.dumps({"params": tree, "state": {}}, protocol=4))


@pytest.fixture(scope="module")
def no_cloud(tmp_path_factory):
    """Environment in which Google's clients find no credentials, whatever the machine has."""
    return {
        "CLOUDSDK_CONFIG": str(tmp_path_factory.mktemp("gcloud")),
        "GOOGLE_APPLICATION_CREDENTIALS": None,
        "NO_GCE_CHECK": "true",
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_a_documented_command_works(line, command, clone, checkpoint, no_cloud):
    words = []
    for word in shlex.split(line.replace(":small", ":tiny")):
        matched = sorted(glob.glob(word, root_dir=clone)) if "*" in word else [word]
        assert matched, f"{word} matches nothing"
        words += matched
    if words[0] == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, capture_output=True)
        return
    if line == ENTERING:
        return
    if words[:2] != ["python", "-m"]:
        words[0] = sys.executable if words[0] == "python" else words[0]
        subprocess.run(words, cwd=clone, check=True, timeout=120)
        return
    result = command(*words[2:], cwd=clone, env=no_cloud, timeout=300)
    for flag, expected in WITHOUT_HARDWARE.items():
        if flag in words:
            assert result.returncode == 2, result.stderr
            (error,) = [it for it in result.stderr.splitlines() if it.startswith("error:")]
            assert re.match(expected, error)
            assert "Traceback" not in result.stderr
            return
    result.check()
    if words[2] == "tf_perceiver.evaluate":
        (per_class,) = (count for name, count in TEST_EXAMPLES.items() if name in line)
        assert json.loads(result.stdout.splitlines()[-1])["examples"] == 2 * per_class
    if words[2] == "tf_perceiver.predict":
        asked = [word for word in words if word.startswith("raw/")]
        assert len(asked) > 1
        for file in asked[:: 2 if "runs/flow" in line else 1]:  # A pair has one answer.
            assert os.path.basename(file) in result.stdout


def test_the_python_of_the_readme_runs():
    (block,) = (b for b in BLOCKS if b.language == "python" and "tf_perceiver.model" in b.text)
    names = {"images": np.zeros((1, 224, 224, 3), np.float32)}
    exec(compile(block.text, "README.md", "exec"), names)
    assert names["logits"].shape == (1, 10)
    assert "enc.cross.0.attn.q.kernel" in names["weights"]


def test_only_what_needs_docker_is_left_out():
    for block in BLOCKS:
        if block.language == "bash" and block.comment:
            assert block.comment == "<!-- not run: needs docker -->"
            assert all(line.startswith(NEED_DOCKER) for line in block.lines)


def test_the_readme_names_every_command_and_every_config():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for name in ("train", "evaluate", "export", "predict"):
        assert f"python -m tf_perceiver.{name} " in text
    for file in re.findall(r"configs/[a-z]\w+\.py", text):
        assert (ROOT / file).exists()


def test_links_lead_somewhere():
    for file in ("README.md", "CONTRIBUTING.md"):
        text = (ROOT / file).read_text(encoding="utf-8")
        headings = {
            re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
            for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        }
        for target in re.findall(r"\]\(([^)]+)\)", text):
            if target.startswith("#"):
                assert target[1:] in headings
            elif "://" not in target:
                assert (ROOT / target).exists()


def test_blocks_are_found_with_their_comments():
    text = "# A\n<!-- why -->\n```bash\none \\\n two\nthree\n```\n\n```bash\nfour\n```\n"
    first, second = blocks_of("x.md", text)
    assert (first.heading, first.comment) == ("A", "<!-- why -->")
    assert first.lines == ["one   two", "three"]
    assert (second.comment, second.lines) == ("", ["four"])
