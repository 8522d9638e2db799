"""The main job on real handwritten digits: `python -m tf_perceiver.demo [--workdir=build/demo]`.

Runs the commands that a user would run, each in a process of its own: raw PNG files, a Beam job,
TFRecord shards, training, evaluation, a SavedModel, and predictions from raw files by a process
that can't import this package. Started again, it keeps what is complete.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib
import json
import pathlib
import shlex
import statistics
import subprocess
import sys
import threading
import time

from absl import flags

from pipelines import records
from tf_perceiver import command_line
from tf_perceiver.training import workdir as workdirs

WORKDIR = flags.DEFINE_string("workdir", "build/demo", "Folder for everything it makes.")
CONFIG = flags.DEFINE_string("config", "configs/digits.py:small", "Experiment and variant.")
SEED = flags.DEFINE_integer("seed", 0, "Of the weights, the order and the augmentation.")

PREDICTED = 50  # raw files for the exported model
STANDALONE = pathlib.Path(__file__).parent / "serving" / "standalone.py"


class StepError(ValueError):
    """A step of the demo failed; it has said why on stderr."""


@dataclasses.dataclass(frozen=True)
class Step:
    """A command of this interpreter.

    Attributes:
      title: for the heading and the error.
      arguments: after `python`.
      live: shows its output while it runs; otherwise it is kept, and shown at its end.
    """

    title: str
    arguments: tuple[str | pathlib.Path, ...]
    live: bool = True

    def heading(self) -> str:
        """Its title, and the command as one would type it."""
        words = ["python", *map(str, self.arguments)]
        shown = words if len(words) < 20 else [*words[:8], f"... ({len(words) - 8} more)"]
        return f"\n== {self.title}\n$ {shlex.join(shown)}"


def run(*steps: Step) -> list[str]:
    """Runs steps that don't need each other, side by side, to their end.

    Returns:
      What each that isn't live printed; "" of those that are.

    Raises:
      StepError: one ended with another code than 0.
    """
    running = []
    for step in steps:
        if step.live:
            print(step.heading(), flush=True)
        stdout = None if step.live else subprocess.PIPE
        command = [sys.executable, *map(str, step.arguments)]
        running.append(subprocess.Popen(command, stdout=stdout, text=True))
    outputs = [process.communicate()[0] or "" for process in running]
    for step, process, output in zip(steps, running, outputs, strict=True):
        if not step.live:
            lines = output.splitlines()
            shown = lines if len(lines) < 20 else [*lines[:3], "..."]
            print("\n".join([step.heading(), *shown]), flush=True)
        if process.returncode:
            raise StepError(
                f"step '{step.title}' ended with code {process.returncode}; its words are above"
            )
    return outputs


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
    # `held_out` needs it near the end; the first step leaves a core idle for its seconds.
    threading.Thread(target=importlib.import_module, args=("tensorflow",)).start()
    root = pathlib.Path(WORKDIR.value)
    raw, data = root / "raw", root / "records"
    config, _, variant = CONFIG.value.partition(":")
    name = "-".join(filter(None, [pathlib.Path(config).stem, variant, f"seed{SEED.value}"]))
    workdir = root / name

    if not (data / records.DATASET_FILE).exists():
        preprocess = ("-m", "beam_preprocess.run", "--dataset=digits")
        run(Step("Raw files to records", (*preprocess, f"--input={raw}", f"--output={data}")))
    verify = Step("Records verified", ("-m", "beam_preprocess.verify", data), live=False)
    if (workdir / "DONE").exists():
        run(verify)
    else:
        train = ("-m", "tf_perceiver.train", f"--config={CONFIG.value}")
        train += (f"--config.seed={SEED.value}", f"--data={data}", f"--workdir={workdir}")
        run(verify, Step("Training", (*train, "--strategy=mirrored")))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        evaluate = ("-m", "tf_perceiver.evaluate", f"--workdir={workdir}")
        evaluated = pool.submit(run, Step("Evaluation", evaluate, live=False))
        if not list(workdir.glob("saved_model/[0-9]*")):
            export = ("-m", "tf_perceiver.export", f"--workdir={workdir}")
            run(Step("Export", export, live=False))
        examples = held_out(data, raw, PREDICTED)
        files = [path for path, _ in examples]
        standalone = ("-I", "-S", STANDALONE, "--alone", workdir / "saved_model", *files)
        (output,) = run(
            Step("Prediction from raw files, by a process without this package", standalone, False)
        )
        predictions = [json.loads(line) for line in output.splitlines()]
        (output,) = evaluated.result()
    evaluation = json.loads(output.splitlines()[-1])
    right = sum(
        prediction["label"] == label
        for prediction, (_, label) in zip(predictions, examples, strict=True)
    )

    rows = workdirs.read_metrics(workdir / "metrics.jsonl")
    rate = statistics.median(row["examples_per_second"] for row in rows if row["kind"] == "train")
    summary = {
        "test accuracy": f"{evaluation['accuracy']:.2%} of {evaluation['examples']:,} examples",
        "training": f"{rate:,.0f} examples/s",
        "raw files": f"{right} of {len(examples)} predicted right by the exported model alone",
        "time": f"{time.monotonic() - started:,.0f} s",
        "records": data,
        "model": workdir / "saved_model" / str(evaluation["step"]),
        "report": workdir / "report" / "index.html",
    }
    print("\n== From raw files to a served model")
    for name, value in summary.items():
        print(f"{name:<14} {value}")
    return 0


if __name__ == "__main__":
    command_line.run(main)
