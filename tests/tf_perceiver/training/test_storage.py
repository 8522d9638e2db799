"""What the disk does to a training: damaged checkpoints, and no space for another."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tf_perceiver.training.checkpoint import newest_valid

pytestmark = pytest.mark.soak


def arguments(trained, workdir, *more):
    return (
        "--config=configs/digits.py:tiny",
        f"--data={trained.data}",
        f"--workdir={workdir}",
        "--strategy=cpu",
        "--config.train.checkpoint_every=5",
        *more,
    )


def steps(workdir):
    """Of the checkpoints, newest first."""
    found = workdir.glob("checkpoints/ckpt-*.json")
    return sorted((json.loads(path.read_text())["step"] for path in found), reverse=True)


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_the_checkpoint_before_a_damaged_one_is_used_and_said_to_be(
    command, trained_digits, tmp_path, damage
):
    workdir = tmp_path / "w"
    given = arguments(trained_digits, workdir)
    command("tf_perceiver.train", *given).check()
    rows = (workdir / "metrics.jsonl").read_text().splitlines()
    file = workdir / "checkpoints" / "ckpt-000000020.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[len(content) // 3] ^= 1
    file.write_bytes(content)
    again = command("tf_perceiver.train", *given).check()
    assert "using step 15 instead" in again.stderr
    assert "steps 15 to 20" in again.stdout

    def without_clock(lines):
        kept = [json.loads(line) for line in lines]
        clocks = ("time", "examples_per_second", "input_wait")
        return [{k: v for k, v in row.items() if k not in clocks} for row in kept]

    assert without_clock((workdir / "metrics.jsonl").read_text().splitlines()) == without_clock(
        rows
    )


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 30 MB in memory; takes root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs takes root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_an_error_and_the_run_resumes_when_there_is_space(
    command, trained_digits, small_disk
):
    prefix = trained_digits.workdir / "checkpoints" / "ckpt-000000020"
    size = sum(file.stat().st_size for file in prefix.parent.glob(f"{prefix.name}*"))
    ballast = small_disk / "ballast"
    # Room for two checkpoints and a half, and for logs.
    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - size * 5 // 2 - 100_000))
    workdir = small_disk / "w"
    given = arguments(trained_digits, workdir, "--config.train.keep_checkpoints=100")
    ended = command("tf_perceiver.train", *given)
    assert ended.returncode == 2, ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert "No space left on device" in last
    newest = newest_valid(workdir / "checkpoints").step
    assert newest in (5, 10, 15)
    assert newest == steps(workdir)[0]

    ballast.unlink()
    again = command("tf_perceiver.train", *given).check()
    assert f"steps {newest} to 20" in again.stdout
    assert steps(workdir) == [20, 15, 10, 5]
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if row["kind"] == "train"] == [5, 10, 15, 20]
