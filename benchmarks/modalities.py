"""Every modality end to end on real files: raw -> verify -> train `:tiny` -> evaluate -> export ->
predict, each step the command that people type.

The archives are looked for in --data; a row whose archives aren't there is named and not run. What
one row leaves behind lies in its own folder below --output, with a log of everything it printed.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from typing import IO

from benchmarks import arrangements, report, texts

OUTPUT = pathlib.Path("build/modalities")
Path = pathlib.Path


@dataclasses.dataclass(frozen=True)
class Row:
    """A dataset on its way through all commands.

    Attributes:
      dataset: what `beam_preprocess.run` calls it.
      config: `NAME:VARIANT` below configs/.
      archives: that are unpacked into the row's folder `raw`.
      ask: glob below the row's folder of what the model is asked about.
      unseen: archives that are unpacked into the row's folder `unseen`.
      preprocess, train, predict: further flags of the commands.
      arrange: makes or moves files, given the row's folder, where the archives aren't laid out as
        the dataset is.
    """

    dataset: str
    config: str
    archives: tuple[str, ...]
    ask: str
    unseen: tuple[str, ...] = ()
    preprocess: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    predict: tuple[str, ...] = ()
    arrange: Callable[[Path], None] | None = None


DRAWN = ("--splits=train:0.8,test:0.2",)
WRITTEN = ("--output={row}/answers",)
FLOWS = {"unseen": ("sintel",), "ask": "unseen/*/*.png", "predict": WRITTEN}
HEARD = ("--sample_rate=16000",)
CLIPS = {
    "archives": ("audioset", "grid_s1_mp4_128", "grid_s1_mpg"), "ask": "raw/eval/*",
    "arrange": arrangements.segments,
}  # fmt: skip
ROWS = {
    "CIFAR-10": Row("image_folder", "cifar10:tiny", ("cifar10_jpeg",), "raw/test/cat/*.jpg"),
    "CIFAR-10, binary batches": Row(
        "cifar_binary", "cifar10:tiny", ("cifar10_jpeg",), "unseen/*",
        arrange=arrangements.binary_batches,
    ),
    "CIFAR-100's layout, Tiny ImageNet": Row(
        "cifar_binary", "cifar100:tiny", ("tiny_imagenet20",), "unseen/*",
        arrange=arrangements.hundred_batches,
    ),
    "ImageNet, animals or not": Row(
        "image_folder", "imagenet:tiny", ("imagenet_sample",), "raw/animal/*.JPEG",
        preprocess=("--splits=train:0.8,val:0.2",), arrange=arrangements.living,
    ),
    "Tiny ImageNet": Row(
        "image_folder", "tiny_imagenet:tiny", ("tiny_imagenet20",), "raw/*/val/*/*.JPEG"
    ),
    "permuted pictures": Row(
        "image_folder", "permuted_imagenet:tiny", ("tiny_imagenet20",), "raw/*/val/*/*.JPEG"
    ),
    "ModelNet40, packs": Row(
        "modelnet40", "modelnet40:tiny", ("modelnet40_f16",), "unseen/*/*/*.off", ("ModelNet_off",)
    ),
    "ModelNet40, clouds": Row(
        "modelnet40", "modelnet40:tiny", ("ModelNet40_npy",), "raw/*/*/test/*.npy"
    ),
    "ModelNet40, meshes": Row(
        "modelnet40", "modelnet40:tiny", ("ModelNet_off",), "raw/*/*/*.off", preprocess=DRAWN
    ),
    "FSDD": Row(
        "fsdd", "fsdd:tiny", ("fsdd",), "raw/recordings/7_*.wav", preprocess=("--sample_rate=8000",)
    ),
    "animals' sounds": Row(
        "sound_folder", "fsdd:tiny", ("animal_sounds",), "raw/*/Kus/*.wav",
        preprocess=("--sample_rate=8000", *DRAWN),
    ),
    "cries and noise": Row(
        "sound_folder", "fsdd:tiny", ("ogg_cry_noise",), "raw/*/*/*.ogg",
        preprocess=("--sample_rate=8000", *DRAWN),
    ),
    "ESC-50's layout, animals": Row(
        "esc50", "esc50:tiny", ("animal_sounds",), "raw/audio/1-*.wav",
        arrange=arrangements.environments,
    ),
    "Speech Commands' layout, FSDD": Row(
        "speech_commands", "speech_commands:tiny", ("fsdd",), "raw/7/*.wav", preprocess=HEARD,
        arrange=arrangements.words,
    ),
    "FSDD, wav, flac, ogg and mp3": Row(
        "sound_folder", "fsdd:tiny", ("fsdd",), "raw/7/*.mp3",
        preprocess=("--sample_rate=8000", *DRAWN), arrange=arrangements.formats,
    ),
    "AudioSet": Row("audioset", "audioset:tiny", preprocess=HEARD, **CLIPS),
    "AudioSet, spectrogram and picture": Row(
        "audioset", "audioset:tiny_mel_video", preprocess=HEARD, **CLIPS
    ),
    "AudioSet, picture": Row("audioset", "audioset:tiny_video", preprocess=HEARD, **CLIPS),
    "AudioSet, samples": Row(
        "audioset", "audioset:tiny_raw", preprocess=(*HEARD, "--frame_size=0"), **CLIPS
    ),
    "AudioSet, spectrogram": Row(
        "audioset", "audioset:tiny_mel", preprocess=(*HEARD, "--frame_size=0"), **CLIPS
    ),
    "GRID, mp4": Row(
        "grid", "grid:tiny", ("grid_s1_mp4_128",), "unseen/*/*.mpg", ("grid_s1_mpg",),
        preprocess=HEARD,
    ),
    "GRID, mp4, picture": Row(
        "grid", "grid:tiny_video", ("grid_s1_mp4_128",), "unseen/*/*.mpg", ("grid_s1_mpg",),
        preprocess=HEARD,
    ),
    "GRID, mp4, mpg and align, sound": Row(
        "grid", "grid:tiny_audio", ("grid_s1_mp4_128", "grid_s1_mpg", "grid_align"),
        "raw/grid_s1_mpg/*.mpg", preprocess=(*HEARD, "--frame_size=0", "--test_fold=1"),
    ),
    "Kinetics' layout, GRID": Row(
        "kinetics", "kinetics:tiny", ("grid_s1_mp4_128",), "unseen/*/*.mpg", ("grid_s1_mpg",),
        preprocess=(*HEARD, "--frame_size=72", "--splits=train:0.8,val:0.2"),
        predict=WRITTEN, arrange=arrangements.commands,
    ),
    "AVCA's UCF, random features": Row(
        "avca", "avca:tiny", ("AVCA",), "unseen/*.npz", preprocess=("--benchmark=ucf", "--stage=1"),
        arrange=arrangements.clip_features,
    ),
    "AVCA's VGGSound, packs of random features": Row(
        "avca", "avca:tiny", ("AVCA",), "unseen/*.npz",
        preprocess=("--benchmark=vggsound", "--stage=1"),
        arrange=functools.partial(arrangements.clip_features, benchmark="VGGSound", clips=3),
    ),
    "AVCA's ActivityNet, stage 2, random features": Row(
        "avca", "avca:tiny_stage2", ("AVCA",), "unseen/*.npz",
        preprocess=("--benchmark=activitynet", "--stage=2", "--feature_set=main"),
        train=(
            "--config.task.bias=0.6", "--config.data.clip_features.audio_width=512",
            "--config.data.clip_features.video_width=512",
        ),
        arrange=functools.partial(
            arrangements.clip_features, benchmark="ActivityNet", stage=2, feature_set="main",
            clips=3,
        ),
    ),
    "AVCA's UCF, clips of GRID": Row(
        "avca_clips", "avca:tiny_clips", ("AVCA", "grid_s1_mp4_128"), "unseen/*.mp4",
        preprocess=("--benchmark=ucf", "--stage=1", "--frame_size=32", *HEARD),
        arrange=arrangements.actions,
    ),
    "flow, FlyingChairs": Row(
        "flyingchairs", "flow:tiny", ("flyingchairs",), preprocess=("--splits=train:1",),
        train=("--config.data.eval_split=train", "--config.data.flow.eval_size=(384, 512)"),
        **FLOWS,
    ),
    "flow, KITTI 2015's layout": Row(
        "kitti2015", "flow:tiny", ("flyingchairs",), preprocess=("--splits=train:1",),
        train=("--config.data.eval_split=train", "--config.data.flow.eval_size=(384, 512)"),
        arrange=arrangements.kitti, **FLOWS,
    ),
    "flow, Sintel": Row(
        "sintel", "flow:tiny", ("sintel",), preprocess=("--splits=train:1",),
        train=("--config.data.eval_split=train", "--config.data.flow.eval_size=(436, 1024)"),
        **FLOWS,
    ),
    "flow, made of photographs": Row(
        "synthetic_flow", "flow:tiny", ("imagenet_sample",),
        preprocess=("--splits=train:0.9,val:0.1", "--pairs=2", "--max_side=128", "--motion=6"),
        **FLOWS,
    ),
    "PhysioNet 2012": Row(
        "physionet2012", "physionet2012:tiny", ("physionet2012_set-a",), "raw/set-a/*.txt"
    ),
    "MIMIC-III's layout, PhysioNet": Row(
        "mimic3_mortality", "mimic3_mortality:tiny", ("physionet2012_set-a",), "unseen/*.csv",
        arrange=arrangements.stays,
    ),
    "TCGA-BRCA": Row(
        "tcga_brca", "tcga_brca:tiny", ("tcga_brca",), "unseen/*.csv", predict=WRITTEN,
        arrange=arrangements.patients,
    ),
    "TCGA-BRCA, likelihood of intervals": Row(
        "tcga_brca", "tcga_brca:tiny", ("tcga_brca",), "unseen/*.csv",
        train=("--config.task.likelihood=discrete",), predict=WRITTEN,
        arrange=arrangements.patients,
    ),
    "TCGA-BRCA, random patches": Row(
        "tcga_brca", "tcga_brca:tiny_bags", ("tcga_brca",), "unseen/*.csv",
        preprocess=("--bags=slides", f"--patch_width={arrangements.WIDTH}"),
        train=(f"--config.data.omics_patches.patches.patch_width={arrangements.WIDTH}",),
        predict=("--bags={row}/raw/tcga_brca/slides", *WRITTEN), arrange=arrangements.slides,
    ),
    "text": Row(
        "text_files", "text_mlm:tiny", (), "unseen/hidden.txt",
        preprocess=("--splits=train:0.9,test:0.1", "--piece_bytes=256"), arrange=texts.files,
    ),
    "GLUE's RTE, made of licences": Row(
        "glue", "glue:tiny", (), "unseen/*.txt", preprocess=("--glue_task=rte",),
        arrange=texts.entailments,
    ),
    "GLUE's STS-B, made of licences": Row(
        "glue_stsb", "glue:tiny", (), "unseen/*.txt",
        train=("--config.task.name=similarity", "--config.data.target=score"),
        arrange=texts.likenesses,
    ),
}  # fmt: skip
"""The rows by name, as they are printed."""


def commands(row: Row, folder: Path, asked: Sequence[Path]) -> dict[str, list[str]]:
    """{step: what is run after `python -m`}."""
    data, run = f"{folder}/data", f"{folder}/run"
    return {
        "preprocess": [
            "beam_preprocess.run", f"--dataset={row.dataset}", f"--input={_input(folder / 'raw')}",
            f"--output={data}", *row.preprocess,
        ],
        "verify": ["beam_preprocess.verify", data],
        "train": [
            "tf_perceiver.train", f"--config=configs/{row.config.replace(':', '.py:')}",
            f"--data={data}", f"--workdir={run}", *row.train,
        ],
        "evaluate": ["tf_perceiver.evaluate", f"--workdir={run}"],
        "export": ["tf_perceiver.export", f"--workdir={run}"],
        "predict": [
            "tf_perceiver.predict", f"--model={run}/saved_model",
            *(flag.format(row=folder) for flag in row.predict), *map(str, asked),
        ],
    }  # fmt: skip


def _input(raw: Path) -> Path:
    """The folder that is asked for: that of the archive, where there is nothing beside it."""
    inside = list(raw.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else raw


def _execute(words: Sequence[str], log: IO[str]) -> tuple[int, str]:
    """Runs `python -m words`; returns its exit code and what it wrote to the standard output."""
    ended = subprocess.run(
        [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=log, text=True, check=False
    )
    return ended.returncode, ended.stdout


def run(
    row: Row,
    data: Path,
    folder: Path,
    execute: Callable[[Sequence[str], IO[str]], tuple[int, str]] = _execute,
) -> tuple[str, float]:
    """Runs a row from its archives to a prediction.

    Args:
      row: what is run.
      data: the folder of the archives.
      folder: where everything goes; emptied first.
      execute: runs the words behind `python -m`; see `_execute`.

    Returns:
      What came of it, in a few words, and the seconds that it took.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part, archives in (("raw", row.archives), ("unseen", row.unseen)):
        (folder / part).mkdir(parents=True)
        for name in archives:
            with tarfile.open(data / f"{name}.tar.xz") as archive:
                archive.extractall(folder / part, filter="data")
    if row.arrange:
        row.arrange(folder)
    asked = sorted(folder.glob(row.ask))[: arrangements.ASKED]
    if not asked:
        return f"FAILED: nothing to ask about, no {folder}/{row.ask}", 0.0
    started, outcome = time.monotonic(), ""
    with open(folder / "log.txt", "w", encoding="utf-8") as log:
        for step, words in commands(row, folder, asked).items():
            print("$ python -m", *words, file=log, flush=True)
            code, printed = execute(words, log)
            print(printed, file=log, flush=True)
            if code:
                outcome = f"{step} FAILED with {code}; see {folder}/log.txt"
                break
            if step == "evaluate":
                outcome = _scores(json.loads(printed.splitlines()[-1]))
    return outcome, time.monotonic() - started


def _scores(answer: dict[str, object]) -> str:
    numbers = {k: v for k, v in answer.items() if isinstance(v, float) and k != "loss"}
    return f"{answer['examples']} examples, " + ", ".join(
        f"{name} {value:.3g}" for name, value in list(numbers.items())[:3]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the rows that are asked for; 1 if one of them failed, 2 if none could be run."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modalities", description=__doc__)
    parser.add_argument(
        "--data", type=Path, metavar="DIR", default=Path(os.environ.get("PERCEIVER_DATA", "raw")),
        help="folder of the archives, NAME.tar.xz (default: $PERCEIVER_DATA, or raw)",
    )  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="DIR", default=OUTPUT,
        help="where raw files, records and models go (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--only", action="append", choices=list(ROWS), metavar="ROW",
        help="this row alone; may be repeated: " + "; ".join(ROWS),
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    table, failed, ran = [], False, 0
    for name in arguments.only or ROWS:
        row = ROWS[name]
        wanted = (*row.archives, *row.unseen)
        lacking = [a for a in wanted if not (arguments.data / f"{a}.tar.xz").exists()]
        if lacking:
            table.append((name, row.config, f"not run: no {lacking[0]}.tar.xz", ""))
            continue
        folder = arguments.output / "".join(c if c.isalnum() else "_" for c in name.lower())
        outcome, seconds = run(row, arguments.data, folder)
        print(f"{name}: {outcome}; {seconds:.0f} s", file=sys.stderr, flush=True)
        failed, ran = failed or "FAILED" in outcome, ran + 1
        table.append((name, row.config, outcome, f"{seconds:.0f} s"))
    header = ("row", "config", "outcome", "time")
    report.show("from raw files to a prediction", header, table, text_columns=3)
    if not ran:
        print(f"error: --data={arguments.data}: no archive of any row is there", file=sys.stderr)
        return 2
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
