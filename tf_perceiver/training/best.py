"""The checkpoint with the best evaluation, kept aside in ``checkpoints/best/``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tf_perceiver.training.checkpoint import BEST, Checkpoints


class Best:
    """Keeps the best checkpoint of a run.

    Args:
      metric: name of an evaluation's metric; with "-" before it, less is better; "" keeps none.
      checkpoints: of the run.
      evaluations: rows of those already done.
    """

    def __init__(
        self, metric: str, checkpoints: Checkpoints, evaluations: Iterable[Mapping[str, Any]]
    ) -> None:
        self.name, self.sign = metric.removeprefix("-"), -1 if metric.startswith("-") else 1
        self._aside = checkpoints.aside(BEST)
        # Step and signed value of every evaluation that was the best so far.
        self._bests: list[tuple[int, float]] = []
        for row in evaluations if metric else ():
            self._improves(row["step"], row)

    def consider(self, step: int, metrics: Mapping[str, float]) -> None:
        """Saves the state if it has the best evaluation so far; the first of equals stays.

        Raises:
          ValueError: the evaluation doesn't have the metric.
        """
        if not self.name:
            return
        if self.name not in metrics:
            raise ValueError(
                f"config.train.best_metric={self.name!r} is none of the evaluation's metrics: "
                f"{', '.join(sorted(metrics))}"
            )
        if self._improves(step, metrics):
            self._aside.save(step)
            self._aside.delete(lambda other: other != step)

    def forget_after(self, step: int) -> None:
        """Forgets the evaluations of an attempt that is given up."""
        self._bests = [best for best in self._bests if best[0] <= step]

    def _improves(self, step: int, metrics: Mapping[str, float]) -> bool:
        value = self.sign * metrics.get(self.name, float("nan"))
        # NaN improves on nothing, not even on nothing.
        if not value > (self._bests[-1][1] if self._bests else -float("inf")):
            return False
        self._bests.append((step, value))
        return True
