"""Irregular series: a csv a stay to (hour, variable, value), checked and in order of time.

Two shapes of file are read. Long: a line is one measurement, `Time,Parameter,Value` with the time
as HH:MM. Wide: a line is a moment, `Hours` and a column a variable, empty where nothing was
measured. What the names and codes mean is the layout's, see `variables.py`.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pipelines.readers import Rejected
from pipelines.readers.numbers import parse
from pipelines.readers.variables import LAYOUTS, Layout

SUFFIXES = frozenset({".csv", ".txt"})
MAX_MEASUREMENTS = 100_000  # Of a stay; in two days there are some hundreds.

_LONG = ["Time", "Parameter", "Value"]
_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)")
_SLACK = 1e-6  # Hours that rounding may add at both ends.


@dataclasses.dataclass(frozen=True)
class Series:
    """The measurements of one stay, ordered by hour, then variable, then value.

    Attributes:
      hours: float32 [n], since admission.
      variables: int64 [n], numbers of the layout's variables.
      values: float32 [n], in the files' units.
      implausible: how many were left out because they can't be true.
    """

    hours: np.ndarray
    variables: np.ndarray
    values: np.ndarray
    implausible: int


def read(data: bytes, name: str, layout: str) -> Series:
    """Reads one stay.

    The same measurement twice (hour, variable and value) counts once; two values of a variable at
    one time both stay.

    Args:
      data: content of the file.
      name: file name, for the message.
      layout: name in `LAYOUTS`.

    Returns:
      The series, with at least one measurement that isn't a descriptor.

    Raises:
      Rejected: an empty file, no csv of the layout, a line with too few or too many cells, a
        variable that the layout doesn't have, a value that is no number or not finite, a time that
        is none or lies outside the hours of observation, two values of a descriptor, no measurement
        at all, more than `MAX_MEASUREMENTS`.
    """
    meaning = LAYOUTS[layout]
    numbers = meaning.numbers()
    found: set[tuple[float, int, float]] = set()
    implausible = 0
    for hour, variable, text, place in _cells(data, name, meaning):
        if variable in meaning.ignored:
            continue
        variable, value = _value(variable, text, place, meaning, numbers)
        if value is None:
            continue
        number = numbers[variable]
        known = meaning.variables[number]
        if not known.low <= value <= known.high:
            implausible += 1
            continue
        found.add((0.0 if known.descriptor else hour, number, value))
        if len(found) > MAX_MEASUREMENTS:
            raise Rejected("too-long", f"{name} has more than {MAX_MEASUREMENTS:,} measurements")
    ordered = sorted(found)
    _check(ordered, name, meaning)
    hours, variables, values = zip(*ordered, strict=True)
    return Series(
        np.array(hours, np.float32),
        np.array(variables, np.int64),
        np.array(values, np.float32),
        implausible,
    )


def scaled(variables: np.ndarray, values: np.ndarray, layout: str) -> np.ndarray:
    """Values as they are averaged: the logarithm of those variables that have an `offset`.

    Args:
      variables: int64 [n]. values: float32 [n]. layout: name in `LAYOUTS`.

    Returns:
      float64 [n].
    """
    offsets = np.array([variable.offset for variable in LAYOUTS[layout].variables])[variables]
    values = values.astype(np.float64)
    return np.where(offsets > 0, np.log(np.where(offsets > 0, values + offsets, 1.0)), values)


def _cells(data: bytes, name: str, layout: Layout) -> Iterator[tuple[float, str, str, str]]:
    """(hour, variable, text, place) of every cell that isn't empty."""
    if not data.strip():
        raise Rejected("empty-file", f"{name} has no bytes")
    try:
        rows = list(csv.reader(data.decode("utf-8-sig").splitlines(), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Rejected("not-a-stay", f"{name}: no csv ({error})") from None
    # With their lines' numbers; empty lines may stand anywhere.
    lines = [(number, row) for number, row in enumerate(rows, 1) if row]
    if not lines:
        raise Rejected("empty-file", f"{name} has no line")
    header = [cell.strip() for cell in lines[0][1]]
    long = header == _LONG
    if not long and (header[0] != "Hours" or len(header) < 2 or len(set(header)) < len(header)):
        raise Rejected(
            "not-a-stay",
            f"{name} begins with {','.join(header)[:60]!r}, expected {','.join(_LONG)} or Hours "
            "and a column for every variable",
        )
    for number, row in lines[1:]:
        place = f"{name}, line {number}"
        if len(row) != len(header):
            raise Rejected("bad-line", f"{place} has {len(row)} cells, the header {len(header)}")
        cells = [cell.strip() for cell in row]
        hour = _hour(cells[0], place, long, layout.hours)
        for variable, text in [cells[1:]] if long else zip(header[1:], cells[1:], strict=True):
            if text or long:
                yield hour, variable, text, place


def _hour(text: str, place: str, clock: bool, most: float) -> float:
    hour = math.nan
    if not clock:
        with contextlib.suppress(ValueError):
            hour = parse(text)
    elif (parts := _CLOCK.fullmatch(text)) is not None:
        hour = int(parts[1]) + int(parts[2]) / 60
    if not -_SLACK < hour < most + _SLACK:  # Not so either for NaN.
        kind = "time as HH:MM" if clock else "number of hours"
        raise Rejected("bad-time", f"{place}: {text[:20]!r} is no {kind} from 0 to {most:g}")
    return min(max(hour, 0.0), most)


def _value(
    variable: str, text: str, place: str, layout: Layout, numbers: Mapping[str, int]
) -> tuple[str, float | None]:
    """The variable that a cell is about, and its value; None where it is missing."""
    codes = layout.categories.get(variable, {})
    if variable not in numbers and not codes:
        raise Rejected("unknown-variable", f"{place}: no variable is called {variable[:40]!r}")
    if text.lower() in codes:
        return codes[text.lower()]
    try:
        value = parse(text)
    except ValueError:
        value = None
    if value is not None and not math.isfinite(value):
        raise Rejected("not-finite", f"{place}: {variable} is {text[:20]}")
    if value is not None and value == layout.missing:
        return variable, None
    if value is not None and (code := f"{value:g}") in codes:
        return codes[code]
    if value is None or variable not in numbers:
        raise Rejected("bad-number", f"{place}: {text[:40]!r} is no value of {variable}")
    return variable, value


def _check(found: Iterable[tuple[float, int, float]], name: str, layout: Layout) -> None:
    """Holds the measurements of a stay against each other.

    Raises:
      Rejected: two values of one descriptor, or descriptors alone.
    """
    descriptors: dict[str, float] = {}
    measured = False
    for _, number, value in found:
        known = layout.variables[number]
        if not known.descriptor:
            measured = True
        elif (before := descriptors.setdefault(known.name, value)) != value:
            raise Rejected("two-values", f"{name}: {known.name} is {before:g} and {value:g}")
    if not measured:
        raise Rejected("no-measurements", f"{name} measures nothing")
