"""What a benchmark leaves behind: a table on the terminal, a JSON file and a picture."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tf_perceiver.report import style
from tf_perceiver.training import workdir

FOLDER = "build/benchmarks"
WIDTH = 140  # where there is no terminal to ask


def show(
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    text_columns: int = 1,
) -> None:
    """Prints a table whose first `text_columns` are words and the others figures."""
    table = Table(*header, title=title, caption=caption or None, box=box.SIMPLE_HEAD)
    for i, column in enumerate(table.columns):
        column.no_wrap = True
        column.justify = "left" if i < text_columns else "right"
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)


def write(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a record as JSON, whole or not at all, with the command that made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = " ".join(["python -m benchmarks." + Path(sys.argv[0]).stem, *sys.argv[1:]])
    workdir.write_atomically(path, json.dumps({"command": command, **record}, indent=1) + "\n")


def draw(path: Path, figure: style.Figure) -> None:
    """Writes a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(style.png(figure))


def seconds(value: float) -> str:
    """1.234 s, 12.3 ms."""
    return f"{value:.3f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def gibibytes(value: float) -> str:
    """A size in GiB, or in MiB where it is small."""
    return f"{value / 2**30:.2f} GiB" if value >= 2**30 / 10 else f"{value / 2**20:.1f} MiB"


def ratio(numerator: float | None, denominator: float | None) -> str:
    """0.42, or a dash where one of them is missing."""
    return f"{numerator / denominator:.3f}" if numerator and denominator else "–"
