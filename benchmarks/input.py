"""Whether the input or the model is the bottleneck: `python -m benchmarks.input`.

Examples a second, and the processors' time an example takes, of the records read alone, of
decoding, of the whole pipeline as training uses it, and of the train step on a batch in memory, in
turns; and how long a resume far into the training takes to its first batch. Prints a table and
writes JSON.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import dataclasses
import math
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
from absl import flags
from ml_collections import ConfigDict, config_flags

from benchmarks import experiment, machine, pictures, report, timing
from pipelines import image, input_pipeline, records

# {stage: what it is}. The first and the last are without a reader: from memory.
STAGES = {
    "decode": "pictures decoded, from memory",
    "read": "records read, in training's order",
    "read_decode": "records read, parsed and decoded",
    "pipeline": "the whole input pipeline",
    "train_step": "the train step, on a batch in memory",
}
IN_MEMORY = 256  # pictures whose bytes are kept for "decode"


@dataclasses.dataclass(frozen=True)
class Options:
    """How it is measured.

    Attributes:
      rounds: turns of every stage.
      seconds: that a stage is timed for in each turn.
      warm_up: seconds before them: buffers fill, and tf.data finds out how many threads it needs.
      skip: examples that a resumed training has seen.
    """

    rounds: int = 5
    seconds: float = 2.0
    warm_up: float = 1.5
    skip: int = 1_000_000


def streams(
    config: ConfigDict, info: records.DatasetInfo, directory: str
) -> dict[str, tf.data.Dataset]:
    """The stages that are input, each an endless dataset whose elements are batches.

    Of what isn't passed on to a later stage a number is taken, so that no time goes into copies.
    Records without pictures have nothing that is decoded alone.
    """
    data = config.data
    raw = input_pipeline.train_records(info, directory, data, seed=config.seed)
    parse = records.parser({"image": info.features["image"]}) if "image" in info.features else None

    def decoded(picture: tf.Tensor) -> tf.Tensor:
        return tf.size(image.decode(picture, data.image.channels))

    def batches(stream: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
        mapped = stream.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return mapped.batch(data.batch_size).prefetch(tf.data.AUTOTUNE)

    found = {"read": raw.map(tf.strings.length).batch(data.batch_size)}
    if data.modality == "image":
        kept = [parse(record)["image"] for record in raw.take(IN_MEMORY)]
        memory = tf.data.Dataset.from_tensor_slices(tf.stack(kept)).repeat()
        found["decode"] = batches(memory, decoded)
        found["read_decode"] = batches(raw, lambda record: decoded(parse(record)["image"]))
    found["pipeline"] = input_pipeline.train_stream(
        info, directory, data, seed=config.seed, replica_batch=data.batch_size
    )
    return {stage: found[stage] for stage in STAGES if stage in found}


class Pace(NamedTuple):
    """How often something ends in a second, and the processors' seconds that it takes each time.

    The second doesn't change with what else the machine does, but leaves out whatever is waited
    for.
    """

    per_second: float
    processor_seconds: float


def paced(call: Callable[[], object], seconds: float) -> Pace:
    """The pace of `call`: over so many seconds, and once at the least."""
    started, busy, count, passed = time.perf_counter(), time.process_time(), 0, 0.0
    while passed < seconds or not count:
        call()
        count += 1
        passed = time.perf_counter() - started
    return Pace(count / passed, (time.process_time() - busy) / count)


def steady(stream: tf.data.Dataset, options: Options) -> Pace:
    """The pace of a new iterator's batches, after its warm-up and from one batch to another."""
    iterator = iter(stream)
    paced(lambda: next(iterator), options.warm_up)
    return paced(lambda: next(iterator), options.seconds)


def paces(
    config: ConfigDict, info: records.DatasetInfo, directory: str, options: Options
) -> dict[str, list[Pace]]:
    """The pace of every stage's examples, one of every turn.

    Only one stage has an iterator at a time: nothing is prepared for another in its turn.
    """
    batch_size = config.data.batch_size
    inputs = streams(config, info, directory)
    batch = next(iter(inputs["pipeline"]))
    trainer = experiment.trainer(config, info)
    trainer.train_dataset = tf.data.Dataset.from_tensors(batch).repeat()
    one = tf.constant(1)
    trainer.train(one)  # Compiles.
    found: dict[str, list[Pace]] = {stage: [] for stage in (*inputs, "train_step")}
    for turn in range(options.rounds):
        for stage in found if turn % 2 == 0 else reversed(found):
            if stage in inputs:
                batches = steady(inputs[stage], options)
            else:
                batches = paced(lambda: trainer.train(one), options.seconds)
            found[stage].append(
                Pace(batch_size * batches.per_second, batches.processor_seconds / batch_size)
            )
    return found


def first_batch_seconds(
    config: ConfigDict, info: records.DatasetInfo, directory: str, examples: int
) -> float:
    """From nothing to the first batch of a training that has seen so many examples."""
    batch_size = config.data.batch_size
    started = time.perf_counter()
    stream = input_pipeline.train_stream(
        info,
        directory,
        config.data,
        seed=config.seed,
        start_step=math.ceil(examples / batch_size),
        replica_batch=batch_size,
    )
    next(iter(stream))
    return time.perf_counter() - started


def verdict(pipeline: float, train_step: float) -> str:
    """Which of the two is the bottleneck, in a line; both in examples a second."""
    slow, fast = ("input", "model") if pipeline < train_step else ("model", "input")
    least, most = sorted((pipeline, train_step))
    return (
        f"The {slow} is the bottleneck: it takes {least:,.0f} examples/s, "
        f"the {fast} could do {most:,.0f} ({most / least:.1f} times as many)."
    )


def show(record: dict[str, Any]) -> None:
    """Prints the table, the verdict and the time to resume."""
    medians = record["examples_per_second"]
    busy = record["processor_seconds"]

    def of_decoding(stage: str) -> tuple[str, str]:
        if "decode" not in medians or not stage.startswith("read_"):
            return "–", "–"
        rate, work = medians[stage] / medians["decode"], busy["decode"] / busy[stage]
        return f"{rate:.0%}", f"{work:.0%}"

    rows = [
        (
            STAGES[stage],
            f"{rate:,.0f}",
            f"{1e3 / rate:.3g} ms",
            f"{1e3 * busy[stage]:.3g} ms",
            *of_decoding(stage),
        )
        for stage, rate in medians.items()
    ]
    report.show(
        f"{record['config']}, batch {record['batch_size']}: medians of {record['rounds']} turns",
        ("", "examples/s", "per example", "of processors", "of decoding", "by processors"),
        rows,
        "On a CPU the input and the model share the cores; with accelerators they don't.",
    )
    print(verdict(medians["pipeline"], medians["train_step"]))
    skip = record["skip"]
    print(
        f"To the first batch {skip['first_seconds']:.1f} s; after {skip['examples']:,} examples, "
        f"of {skip['records']:,} an epoch, {skip['seconds']:.1f} s."
    )


def measure(
    config: ConfigDict,
    info: records.DatasetInfo,
    long: records.DatasetInfo,
    directory: str,
    options: Options,
) -> dict[str, Any]:
    """Everything that is shown and written.

    Args:
      config: of an experiment. info: of the dataset whose stages are timed.
      long: of the one in which examples are skipped. directory: of both.
      options: how.
    """
    found = paces(config, info, directory, options)
    rates = {stage: [pace.per_second for pace in turns] for stage, turns in found.items()}
    busy = {stage: [pace.processor_seconds for pace in turns] for stage, turns in found.items()}
    return {
        "config": config.name,
        "batch_size": config.data.batch_size,
        **dataclasses.asdict(options),
        "rates": rates,
        "examples_per_second": {name: timing.median(turns) for name, turns in rates.items()},
        "processor_seconds": {name: timing.median(turns) for name, turns in busy.items()},
        "skip": {
            "examples": options.skip,
            "records": long.split(config.data.train_split).records,
            "first_seconds": first_batch_seconds(config, long, directory, 0),
            "seconds": first_batch_seconds(config, long, directory, options.skip),
        },
    }


def define_flags() -> None:
    """The command's flags."""
    default = Options()
    config_flags.DEFINE_config_file(
        "config", "configs/imagenet.py:small", "Experiment and variant.", lock_config=True
    )
    flags.DEFINE_string("data", None, "Records of the experiment; else JPEGs of 64 KB are made.")
    flags.DEFINE_integer("rounds", default.rounds, "Turns.", lower_bound=1)
    flags.DEFINE_float("seconds", default.seconds, "Of a stage in a turn.", lower_bound=0.0)
    flags.DEFINE_integer("skip", default.skip, "Examples seen before a resume.", lower_bound=0)
    flags.DEFINE_bool("quick", False, "Few records, one short turn: to see that it works.")
    flags.DEFINE_string("output", f"{report.FOLDER}/input.json", "Where the JSON goes.")


def main(argv: list[str]) -> None:
    """Measures, prints, writes."""
    del argv
    asked = flags.FLAGS
    config = asked.config
    options = Options(asked.rounds, asked.seconds, skip=asked.skip)
    if asked.quick:
        options = Options(1, 0.1, 0.1, min(asked.skip, 1000))
    if asked.data is not None:
        info = records.DatasetInfo.read(asked.data)
        found = measure(config, info, info, asked.data, options)
    elif config.data.modality != "image":
        raise ValueError(
            f"--data is missing: {config.name} learns from {config.data.modality}, "
            "and only pictures are made"
        )
    else:
        with tempfile.TemporaryDirectory() as folder:
            made = pictures.Dataset(Path(folder), *((64, 8) if asked.quick else (1024, 256)))
            long = made.of(options.skip // made.records + 1)
            found = measure(config, made.of(4), long, folder, options)
            found["picture_bytes"] = made.picture_bytes
    show(found)
    report.write(Path(asked.output), {"machine": machine.describe(), **found})
    print(f"{asked.output} written")


if __name__ == "__main__":
    define_flags()
    command_line.run(main)
