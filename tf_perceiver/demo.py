"""The main job on real handwritten digits: `python -m tf_perceiver.demo [--workdir=build/demo]`.

Runs the commands that a user would run, one after the other, each in a process of its own: raw PNG
files, a Beam job, TFRecord shards, training, evaluation, a SavedModel, and predictions from raw
files by a process that can't import this package. Started again, it keeps what is complete.
"""

from __future__ import annotations

import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import time

from absl import flags

from pipelines import records
from tf_perceiver import command_line
from tf_perceiver.training import workdir

WORKDIR = flags.DEFINE_string("workdir", "build/demo", "Folder for everything it makes.")
CONFIG = flags.DEFINE_string("config", "configs/digits.py:small", "Experiment and variant.")
SEED = flags.DEFINE_integer("seed", 0, "Of the weights, the order and the augmentation.")

PREDICTED = 50  # raw files for the exported model
STANDALONE = pathlib.Path(__file__).parent / "serving" / "standalone.py"


class StepError(ValueError):
    """A step of the demo failed; it has said why on stderr."""


def run_step(title: str, *arguments: str | pathlib.Path, captured: bool = False) -> str:
    """Runs one command of this interpreter to its end.

    Args:
      title: of the step, for the heading and the error.
      arguments: after `python`.
      captured: whether to return its standard output instead of showing it.

    Raises:
      StepError: it ended with another code than 0.
    """
    words = ["python", *map(str, arguments)]
    shown = words if len(words) < 20 else [*words[:8], f"... ({len(words) - 8} more)"]
    print(f"\n== {title}\n$ {shlex.join(shown)}", flush=True)
    stdout = subprocess.PIPE if captured else None
    ended = subprocess.run([sys.executable, *words[1:]], stdout=stdout, text=True)
    if ended.returncode:
        raise StepError(f"step '{title}' ended with code {ended.returncode}; its words are above")
    return ended.stdout or ""


def held_out(data: pathlib.Path, raw: pathlib.Path, count: int) -> list[tuple[pathlib.Path, str]]:
    """Raw files of the test split, evenly spread over it, each with its label.

    Args:
      data: folder of the records.
      raw: folder that the records were made from; their keys are paths in it.
      count: how many at most.
    """
    import tensorflow as tf

    info = records.DatasetInfo.read(str(data))
    shards = [str(data / shard.name) for shard in info.split("test").shards]
    parse = records.parser(info.features)
    examples = [
        (raw / example["key"].decode(), info.labels[int(example["label"])])
        for example in tf.data.TFRecordDataset(shards).map(parse).as_numpy_iterator()
    ]
    step = max(1, len(examples) // count)
    return examples[::step][:count]


def main(argv: list[str]) -> int:
    """Runs the steps and prints the summary."""
    del argv
    started = time.monotonic()
    root = pathlib.Path(WORKDIR.value)
    raw, data = root / "raw", root / "records"
    config, _, variant = CONFIG.value.partition(":")
    run = root / "-".join(filter(None, [pathlib.Path(config).stem, variant, f"seed{SEED.value}"]))

    if not (data / records.DATASET_FILE).exists():
        run_step(
            "Raw files to records",
            *("-m", "beam_preprocess.run", "--dataset=digits"),
            *(f"--input={raw}", f"--output={data}"),
        )
    run_step("Records verified", "-m", "beam_preprocess.verify", data)
    if not (run / "DONE").exists():
        run_step(
            "Training",
            *("-m", "tf_perceiver.train", f"--config={CONFIG.value}"),
            *(f"--config.seed={SEED.value}", f"--data={data}", f"--workdir={run}"),
            "--strategy=mirrored",
        )
    output = run_step(
        "Evaluation", "-m", "tf_perceiver.evaluate", f"--workdir={run}", captured=True
    )
    print(output, end="")
    evaluation = json.loads(output.splitlines()[-1])
    saved_model = run / "saved_model" / str(evaluation["step"])
    if not saved_model.exists():
        run_step("Export", "-m", "tf_perceiver.export", f"--workdir={run}")
    examples = held_out(data, raw, PREDICTED)
    output = run_step(
        "Prediction from raw files, by a process without this package",
        *("-I", "-S", STANDALONE, "--alone", saved_model, *(path for path, _ in examples)),
        captured=True,
    )
    predictions = [json.loads(line) for line in output.splitlines()]
    right = sum(
        prediction["label"] == label
        for prediction, (_, label) in zip(predictions, examples, strict=True)
    )
    print(*output.splitlines()[:3], "...", sep="\n")

    rows = workdir.read_metrics(run / "metrics.jsonl")
    rate = statistics.median(row["examples_per_second"] for row in rows if row["kind"] == "train")
    summary = {
        "test accuracy": f"{evaluation['accuracy']:.2%} of {evaluation['examples']:,} examples",
        "training": f"{rate:,.0f} examples/s",
        "raw files": f"{right} of {len(examples)} predicted right by the exported model alone",
        "time": f"{time.monotonic() - started:,.0f} s",
        "records": data,
        "model": saved_model,
        "report": run / "report" / "index.html",
    }
    print("\n== From raw files to a served model")
    for name, value in summary.items():
        print(f"{name:<14} {value}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
