"""Writes `index.html` and its pictures."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_perceiver.report.run import Batches, Run
from tf_perceiver.training import workdir

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo


def write_report(
    directory: Path,
    *,
    model: Any,
    task: Any,
    config: Mapping[str, Any],
    info: DatasetInfo,
    metrics_file: Path,
    eval_batches: Batches,
    step: int,
) -> Path:
    """Writes the report of a trained model.

    Runs the model once over `eval_batches`. Files are replaced one by one and atomically, the page
    last, so a reader never meets half of a file.

    Args:
      directory: made where it doesn't exist.
      model, task, config, info, step: see `Run`.
      metrics_file: `metrics.jsonl`; without it (a model trained elsewhere) there are no curves.
      eval_batches: of the evaluation split, with "weight" [B], 0 for padding, and "shown" [B, ...]
        where people look at something else than the model.

    Returns:
      Path of `index.html`.

    Raises:
      ValueError: if `eval_batches` holds no example.
    """
    # Here, not above: matplotlib takes a second, and training imports this module at its start.
    from tf_perceiver.report import (
        audioset,
        autoencoding,
        classification,
        flow,
        masked_lm,
        mortality,
        page,
        sections,
        sentences,
        survival,
        zero_shot,
    )

    tasks = {
        "audioset": audioset.parts,
        "autoencoding": autoencoding.parts,
        "classification": classification.parts,
        "flow": flow.parts,
        "masked_lm": masked_lm.parts,
        "mortality": mortality.parts,
        "sentences": sentences.parts,
        "similarity": sentences.scored_parts,
        "survival": survival.parts,
        "zero_shot": zero_shot.parts,
    }
    run = Run(model, task, config, info, read_rows(metrics_file), step)
    headlines, parts = tasks[config["task"]["name"]](run, eval_batches)
    html = page.render(
        f"{config['name']} on {info.name}",
        f"step {step:,}, written {time.strftime('%Y-%m-%d %H:%M')}",
        headlines,
        sections.facts(run),
        parts,
    )
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for part in parts:
        for picture in part.pictures:
            _write(directory / f"{picture.name}.png", picture.png)
    _write(directory / "index.html", html.encode())
    return directory / "index.html"


def read_rows(metrics_file: Path) -> list[dict[str, Any]]:
    """Rows of a `metrics.jsonl` by step; of a step done twice (after a rollback), the last.

    A missing file has no rows.
    """
    latest = {
        (row["kind"], row.get("split"), row["step"]): row
        for row in workdir.read_metrics(Path(metrics_file))
    }
    return sorted(latest.values(), key=lambda row: row["step"])


def _write(file: Path, content: bytes) -> None:
    temporary = file.with_name(f".{file.name}.part")
    temporary.write_bytes(content)
    os.replace(temporary, file)
