"""The trained model that a report is about."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.records import DatasetInfo

Batches = Iterable[Mapping[str, Any]]  # `pipelines.input_pipeline.eval_stream`, with "shown".


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained model and all that is known of its training.

    Attributes:
      model: called as `model(inputs, training=False)`; has `first_cross_attention(inputs)` ->
        [B, heads, N, M] and `input_grid(inputs)`.
      task: of `tf_perceiver.tasks`; its `answers` are those of the served model.
      config: the run's config: a ConfigDict or the like of it as plain dicts.
      info: the dataset's description.
      rows: of `metrics.jsonl`, by step; empty for a model trained elsewhere.
      step: of the model's weights.
    """

    model: Any
    task: Any
    config: Mapping[str, Any]
    info: DatasetInfo
    rows: list[dict[str, Any]]
    step: int

    @property
    def data(self) -> Mapping[str, Any]:
        """`config.data`."""
        return self.config["data"]

    @property
    def split(self) -> str:
        """That the report is on."""
        return self.data["eval_split"]

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names."""
        return self.info.labels

    def last_evaluation(self) -> dict[str, Any]:
        """The row of the evaluation of these very weights; empty where there was none."""
        rows = [row for row in self.rows if row["kind"] == "eval" and row["step"] == self.step]
        return rows[-1] if rows else {}
