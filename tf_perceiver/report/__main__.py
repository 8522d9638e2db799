"""Writes a trained workdir's report anew: ``python -m tf_perceiver.report --workdir=DIR``."""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

from pathlib import Path

from absl import flags

from pipelines import input_pipeline
from tf_perceiver.report import build
from tf_perceiver.training import checkpoint

WORKDIR = flags.DEFINE_string("workdir", None, "Folder that tf_perceiver.train has written.")
DATA = flags.DEFINE_string("data", None, "Records; by default those it was trained on.")
OUTPUT = flags.DEFINE_string("output", None, "Folder of the report; by default WORKDIR/report.")


def main(argv: list[str]) -> None:
    """Writes the report of the newest valid checkpoint and prints where it is."""
    del argv
    if WORKDIR.value is None:
        raise ValueError("--workdir is missing; see --help")
    trained = checkpoint.load_for_inference(WORKDIR.value)
    info, directory = trained.open_records(DATA.value)
    config = trained.config
    page = build.write_report(
        Path(OUTPUT.value or Path(WORKDIR.value) / "report"),
        model=trained.model,
        task=trained.task,
        config=config,
        info=info,
        metrics_file=Path(WORKDIR.value) / "metrics.jsonl",
        eval_batches=input_pipeline.eval_stream(
            info,
            directory,
            config.data,
            split=config.data.eval_split,
            replica_batch=config.data.eval_batch_size,
            shown=True,
        ),
        step=trained.step,
    )
    print(page)


if __name__ == "__main__":
    command_line.run(main)
