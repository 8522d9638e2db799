"""Evaluations beside a training, or after it: of the newest checkpoint, or of each new one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tf_perceiver.training import checkpoint
from tf_perceiver.training import strategy as strategies
from tf_perceiver.training.loop import Evaluator


def new_checkpoints(
    workdir: Path, *, timeout: float, poll: float = 1.0
) -> Iterator[checkpoint.Manifest]:
    """Each new whole checkpoint as it appears; of several at once, the newest.

    Ends with the last one of a training that is DONE, or when none has come for `timeout` seconds.

    Args:
      workdir: of the training; needn't be there yet.
      timeout: seconds. poll: seconds between two looks.
    """
    seen, until = -1, time.monotonic() + timeout
    while True:
        done = (workdir / "DONE").exists()  # First: what was there before it isn't missed.
        manifest = checkpoint.newest_valid(workdir / "checkpoints")
        if manifest is not None and manifest.step > seen:
            seen = manifest.step
            yield manifest
            until = time.monotonic() + timeout
        elif done or time.monotonic() > until:
            return
        else:
            time.sleep(poll)


def evaluate(
    evaluator: Evaluator,
    workdir: Path,
    split: str,
    manifests: Iterator[checkpoint.Manifest],
) -> int:
    """Evaluates checkpoints; appends to ``metrics.jsonl``, writes events and prints a JSON line.

    Of many workers the chief chooses the checkpoints, writes and prints.

    Args:
      evaluator: with the model that takes the weights.
      workdir: of the training.
      split: that the evaluator has.
      manifests: of the checkpoints.

    Returns:
      How many were evaluated; one that was deleted meanwhile isn't.
    """
    strategy, chief = evaluator.strategy, strategies.is_chief(evaluator.strategy)
    count, events = 0, None
    for path in _chosen_by_the_chief(strategy, manifests):
        try:
            manifest = checkpoint.Manifest.read(path)
            checkpoint.read_weights(evaluator.model, manifest)
            gone = False
        except (tf.errors.NotFoundError, FileNotFoundError):
            gone = True
        if strategies.any_worker(strategy, gone):
            continue
        values = evaluator.evaluate()
        count += 1
        if not chief:
            continue
        # Not before: it makes the folder, and there may be no such workdir.
        events = events or tf.summary.create_file_writer(str(workdir / "eval"))
        row = {"kind": "eval", "split": split, "step": manifest.step, **values}
        # Opened anew for each: a training that resumes replaces the file.
        with (workdir / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row | {"time": time.time()}) + "\n")
        with events.as_default(step=manifest.step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        events.flush()
        print(json.dumps(row), flush=True)
    return count


def _chosen_by_the_chief(
    strategy: tf.distribute.Strategy, manifests: Iterator[checkpoint.Manifest]
) -> Iterator[Path]:
    """The paths of the chief's manifests, in every process."""
    chief = strategies.is_chief(strategy)
    while True:
        manifest = next(manifests, None) if chief else None
        path = strategies.from_chief(strategy, manifest and str(manifest.path))
        if path is None:
            return
        yield Path(path)
