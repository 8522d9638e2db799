"""Ours and theirs in turn on ImageNet's shapes: `python -m benchmarks.peers`.

The other implementations (transformers and perceiver-pytorch, both on torch) are installed into an
environment of their own. Each side is a process; they take turns, so that a slow minute of the
machine is everybody's. The models have random weights; nothing but packages is downloaded.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import dataclasses
import itertools
import json
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks import machine, peak, report, timing
from benchmarks.worker import ROOT, Worker

REQUIREMENTS = ROOT / "benchmarks" / "requirements-peers.txt"
# {their model: the preset of ours}
PAIRS = {"transformers": "io_imagenet_fourier", "perceiver-pytorch": "imagenet"}
# In "mixed", both sides have weights and gradients in float32 and products in bfloat16; in
# "bfloat16", theirs has nothing but bfloat16, and ours is the same as before.
PRECISIONS = ("float32", "mixed", "bfloat16")
COMPARED = ("forward", "forward_backward")
MEASURES = (*COMPARED, "train_step")  # The last of ours alone.
PAUSE_SECONDS = 0.3  # Idle threads of the one side spin for a while before they sleep.

Row = dict[str, Any]


def environment(folder: Path) -> str:
    """Installs the pinned packages of the others, unless that has been done; its interpreter.

    Raises:
      ValueError: they can't be installed.
    """
    python, stamp = folder / "bin" / "python", folder / "installed.txt"
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"installing {REQUIREMENTS.name} into {folder}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        # pip and not uv: of torch it takes the build without CUDA where the index has one.
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)]
        if subprocess.run(install, check=False).returncode:
            raise ValueError(f"{REQUIREMENTS} can't be installed into {folder}; pip says why above")
        stamp.write_text(wanted, encoding="utf-8")
    return str(python)


@dataclasses.dataclass(frozen=True)
class Options:
    """How both sides are run.

    Attributes:
      batch_size: examples at once. threads: of each side.
      rounds: timed turns at most. seconds: no turn begins after these.
      small: models of toy size.
    """

    batch_size: int = 1
    threads: int = 2
    rounds: int = 3
    seconds: float = 30.0
    small: bool = False


def compare(model: str, precision: str, python: str, options: Options) -> Row:
    """Runs our preset and their model in turn.

    Args:
      model: one of `PAIRS`. precision: one of `PRECISIONS`. python: of their environment.
      options: how.

    Returns:
      {"model", "preset", "precision", "ours", "theirs": {measure: {"seconds", "times",
      "peak_bytes"}, and facts}, "ratios": {measure: {"seconds", "peak_bytes"}}}.
    """
    asked = {
        "precision": precision,
        "threads": options.threads,
        "batch_size": options.batch_size,
        "small": options.small,
    }
    threads = {"OMP_NUM_THREADS": str(options.threads)}
    preset = PAIRS[model]
    our_process = (sys.executable, "benchmarks.ours", [json.dumps({**asked, "preset": preset})])
    their_process = (python, "benchmarks.theirs", [json.dumps({**asked, "model": model})], threads)
    with Worker(*our_process) as ours, Worker(*their_process) as theirs:
        sides: dict[str, Row] = {"ours": dict(ours.facts), "theirs": dict(theirs.facts)}
        turns = [("ours", ours), ("theirs", theirs)]
        for measure in MEASURES:
            taking = turns if measure in COMPARED else turns[:1]
            answers: dict[str, list[dict[str, float]]] = {side: [] for side, _ in taking}
            # The first turn isn't timed: it compiles, and takes memory.
            for turn in range(options.rounds + 1):
                if turn == 1:
                    until = time.perf_counter() + options.seconds
                elif turn > 1 and time.perf_counter() > until:
                    break
                for side, worker in taking if turn % 2 == 0 else reversed(taking):
                    time.sleep(PAUSE_SECONDS)
                    answers[side].append(worker.run(measure))
            for side, given in answers.items():
                times = [answer["seconds"] for answer in given[1:]]
                sides[side][measure] = {"seconds": timing.median(times), "times": times}
    for side, process in (("ours", our_process), ("theirs", their_process)):
        for measure in MEASURES:
            if measure in sides[side]:
                sides[side][measure]["peak_bytes"] = peak_of(process, measure)
    ratios = {
        measure: {
            what: sides["ours"][measure][what] / sides["theirs"][measure][what]
            for what in ("seconds", "peak_bytes")
        }
        for measure in COMPARED
    }
    return {"model": model, "preset": preset, "precision": precision, **sides, "ratios": ratios}


def peak_of(process: Sequence[Any], measure: str) -> int:
    """Bytes above the baseline in a process of its own: other measures leave memory behind.

    Args:
      process: a `Worker`'s arguments. measure: which of its calls.
    """
    with Worker(*process) as worker:
        return max(worker.run(measure)["peak_bytes"] for _ in range(peak.RUNS))


def show(rows: Sequence[Row], options: Options) -> None:
    """Prints the table."""
    shown = []
    for row in rows:
        for measure in MEASURES:
            ours, theirs = row["ours"][measure], row["theirs"].get(measure)
            name = "our step, with LAMB" if theirs is None else measure.replace("_", " + ")
            shown.append(
                (
                    row["preset"],
                    row["model"],
                    row["precision"],
                    name,
                    report.seconds(ours["seconds"]),
                    "–" if theirs is None else report.seconds(theirs["seconds"]),
                    report.ratio(ours["seconds"], theirs and theirs["seconds"]),
                    report.gibibytes(ours["peak_bytes"]),
                    "–" if theirs is None else report.gibibytes(theirs["peak_bytes"]),
                    report.ratio(ours["peak_bytes"], theirs and theirs["peak_bytes"]),
                )
            )
    parameters = "; ".join(
        f"{row['preset']} {row['ours']['parameters']:,}, {row['model']} "
        f"{row['theirs']['parameters']:,}"
        for row in rows
        if row["precision"] == rows[0]["precision"]
    )
    report.show(
        f"Ours and theirs in turn, batch {options.batch_size}, {options.threads} threads",
        ("ours", "theirs", "", "", "our time", "theirs", "ratio", "our memory", "theirs", "ratio"),
        shown,
        "Medians; forward + backward: to the gradient of every parameter. Memory: peak resident "
        f"set above what the process had before the model was built. Parameters: {parameters}.",
        text_columns=4,
    )


def define_flags() -> None:
    """The command's flags."""
    default = Options()
    flags.DEFINE_string("venv", "build/peers-venv", "Where the others are installed.")
    flags.DEFINE_list("model", list(PAIRS), "Which of theirs.")
    flags.DEFINE_list("precision", list(PRECISIONS), "On both sides; in bfloat16, ours is mixed.")
    flags.DEFINE_integer("batch", default.batch_size, "Examples at once.", lower_bound=1)
    flags.DEFINE_integer("threads", default.threads, "On both sides.", lower_bound=1)
    flags.DEFINE_integer("rounds", default.rounds, "Timed turns at most.", lower_bound=1)
    flags.DEFINE_float("seconds", default.seconds, "No turn begins after these.", lower_bound=0.0)
    flags.DEFINE_bool("quick", False, "Models of toy size, one round: to see that it works.")
    flags.DEFINE_string("output", f"{report.FOLDER}/peers.json", "Where the JSON goes.")


def main(argv: list[str]) -> None:
    """Installs, measures, prints, writes."""
    del argv
    asked = flags.FLAGS
    for flag, names, known in (
        ("--model", asked.model, tuple(PAIRS)),
        ("--precision", asked.precision, PRECISIONS),
    ):
        for name in names:
            if name not in known:
                raise ValueError(f"{flag}={name} is none of {', '.join(known)}")
    rounds = 1 if asked.quick else asked.rounds
    options = Options(asked.batch, asked.threads, rounds, asked.seconds, asked.quick)
    python = environment(Path(asked.venv))
    rows: list[Row] = []
    for model, precision in itertools.product(asked.model, asked.precision):
        rows.append(compare(model, precision, python, options))
        record = {"machine": machine.describe(), **dataclasses.asdict(options), "rows": rows}
        # After every pair, for the next may take minutes.
        report.write(Path(asked.output), record)
        show(rows[-1:], options)
    if len(rows) > 1:
        show(rows, options)
    print(f"{asked.output} written")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
