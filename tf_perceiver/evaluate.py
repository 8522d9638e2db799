"""Evaluates a trained workdir: ``python -m tf_perceiver.evaluate --workdir=DIR [--split=test]``.

The last line of the output is one JSON object with the split, the step, the exact number of
examples, and the metrics.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import json

from absl import flags

from tf_perceiver.training import checkpoint, cluster, distributed_input, loop
from tf_perceiver.training import strategy as strategies

WORKDIR = flags.DEFINE_string("workdir", None, "Folder that tf_perceiver.train has written.")
DATA = flags.DEFINE_string("data", None, "Records; by default those it was trained on.")
SPLIT = flags.DEFINE_string("split", None, "Split; by default the config's data.eval_split.")
BEST = flags.DEFINE_bool(
    "best", False, "Whether to take checkpoints/best, see config.train.best_metric."
)
STRATEGY = flags.DEFINE_string(
    "strategy", "auto", f"How to use the devices: {', '.join(strategies.STRATEGIES)}."
)
TPU = flags.DEFINE_string("tpu", None, "Name or address of the TPU; 'local' on a TPU VM.")


def main(argv: list[str]) -> int | None:
    """Prints the metrics of the newest valid checkpoint; returns the exit code."""
    del argv
    return cluster.exit_code(run)


def run() -> None:
    """Evaluates.

    Raises:
      ValueError, OSError: what the user can mend.
    """
    if WORKDIR.value is None:
        raise ValueError("--workdir is missing; see --help")
    strategy = strategies.build(STRATEGY.value, TPU.value)
    with strategy.scope():
        trained = checkpoint.load_for_inference(WORKDIR.value, best=BEST.value)
    info, directory = trained.open_records(DATA.value)
    split = SPLIT.value or trained.config.data.eval_split
    evaluator = loop.Evaluator(
        strategy,
        trained.model,
        trained.task,
        *distributed_input.eval_dataset(strategy, info, directory, trained.config.data, split),
    )
    row = {"split": split, "step": trained.step}
    strategies.check_alike(strategy, row | {"best": BEST.value, "fingerprint": info.fingerprint})
    row |= evaluator.evaluate()
    if strategies.is_chief(strategy):
        print(json.dumps(row))


if __name__ == "__main__":
    command_line.run(main)
