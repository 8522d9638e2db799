"""Numbers as tables have them."""

from __future__ import annotations


def parse(text: str) -> float:
    """A number in decimal or scientific notation, or the name of NaN or infinity.

    Raises:
      ValueError: anything else; of that Python would take 7_3 for 73.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"{text!r} is no number")
    return float(text)
