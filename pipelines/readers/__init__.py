"""Readers of raw formats: bytes in, checked NumPy arrays out. No TensorFlow, no Beam."""

from __future__ import annotations


class Rejected(ValueError):
    """A raw item that cannot be used.

    Attributes:
      reason: short slug by which rejects are counted, such as "truncated-image".
      detail: one line about this item.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def unexpected(error: Exception) -> str:
    """One line about an error that no reader foresees, for a message about the file."""
    said = " ".join(str(error).split())[:200]
    return f"can't be read ({type(error).__name__}{': ' if said else ''}{said})"
