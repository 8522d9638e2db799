"""Raw items that cannot be used: counted by reason, listed, and limited."""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence

REJECTS_FILE = "rejects.jsonl"


class TooManyRejects(ValueError):
    """More raw items were rejected than `--max_reject_fraction` allows; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Reject:
    """One raw item that was left out: where it was, a short reason, one line of detail."""

    split: str
    key: str
    reason: str
    detail: str

    def to_line(self) -> str:
        """One line of `rejects.jsonl`."""
        return json.dumps(dataclasses.asdict(self)) + "\n"


def count_by_reason(rejects: Iterable[Reject]) -> dict[str, int]:
    """Reason to number of items, by name."""
    return dict(sorted(Counter(reject.reason for reject in rejects).items()))


def read_lines(text: str) -> list[Reject]:
    """Parses the lines of `rejects.jsonl`."""
    return [Reject(**json.loads(line)) for line in text.splitlines()]


def accepting_fraction(rejected: int, items: int) -> str:
    """The smallest `--max_reject_fraction` with four decimals that accepts so many rejects."""
    # Rounding up, and in whole numbers: the printed flag must really accept them.
    return f"{math.ceil(rejected * 10_000 / items) / 10_000:.4f}"


def check(rejects: Sequence[Reject], items: int, max_fraction: float) -> None:
    """Fails a job that lost more than it may.

    Args:
      rejects: all of the job.
      items: number of raw items.
      max_fraction: value of `--max_reject_fraction`, 0 to 1.

    Raises:
      TooManyRejects: with the reasons, and the flag that would accept them.
    """
    if len(rejects) <= max_fraction * items:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in count_by_reason(rejects).items())
    raise TooManyRejects(
        f"{len(rejects):,} of {items:,} items were rejected ({reasons}), nothing was published; "
        "mend them, or accept the loss with "
        f"--max_reject_fraction={accepting_fraction(len(rejects), items)}"
    )
