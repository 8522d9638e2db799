"""Molecular profiles with survival: a csv table, a patient a row, to checked arrays.

The layout is that of the TCGA tables of the multimodal survival literature (Chen et al., MCAT, ICCV
2021): `case_id`, `slide_id`, `survival_months`, `censorship` (1: censored, 0: the death was seen),
and a column for each measured gene, `GENE_rnaseq`, `GENE_cnv` or `GENE_mut`. A patient with several
slides has as many rows. Tables may be zipped.

Genes come in groups, one a token of the model: by kind of measurement and, where a table of
signatures says which gene belongs to which family, by family.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.readers import Rejected
from pipelines.readers.numbers import parse

SUFFIXES = frozenset({".csv"})
KINDS = {"rnaseq": "expression", "cnv": "copy number", "mut": "mutation"}
"""Ending of a column's name -> the kind of measurement that it holds."""

PATIENT, SLIDE, TIME, CENSORED = "case_id", "slide_id", "survival_months", "censorship"
OTHER = "Other genes"  # The family of genes that no signature has.
LARGEST_GROUP = 256  # Columns; a group of more is cut into equal pieces.
MAX_MONTHS = 1200  # A time beyond a century was measured in days.

_MAX_BYTES = 2**30  # Of an unzipped table.
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})


@dataclasses.dataclass(frozen=True)
class Table:
    """A csv table as it stands.

    Attributes:
      name: of its file, for messages.
      header: names of the columns.
      rows: texts, each with as many cells as the file has on that line.
    """

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def patients(self) -> dict[str, list[int]]:
        """Numbers of each patient's rows, patients in the order in which they come.

        Raises:
          Rejected: no column of patients.
        """
        if PATIENT not in self.header:
            raise Rejected("missing-columns", f"{self.name} has no column {PATIENT!r}")
        place = self.header.index(PATIENT)
        found: dict[str, list[int]] = {}
        for number, row in enumerate(self.rows):
            found.setdefault(row[place].strip() if place < len(row) else "", []).append(number)
        return found

    def slides(self, rows: Sequence[int]) -> list[str]:
        """What stands in the column of slides in some rows; nothing where there is none."""
        if SLIDE not in self.header:
            return []
        place = self.header.index(SLIDE)
        named = (self.rows[row][place].strip() for row in rows if place < len(self.rows[row]))
        return [slide for slide in named if slide]


def read_table(data: bytes, name: str) -> Table:
    """Parses a table, zipped or not.

    Args:
      data: content of the file.
      name: file name, for the message.

    Raises:
      Rejected: an empty file, no or several files in the archive, a damaged one, another encoding
        than UTF-8, quotes that don't match, no rows below the header, two columns of one name.
    """
    if not data:
        raise Rejected("empty-file", f"{name} has no bytes")
    try:
        text = _unzipped(data, name).decode("utf-8-sig")
        lines = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError as error:
        raise Rejected("unreadable-table", f"{name} is no text in UTF-8 ({error})") from None
    except csv.Error as error:
        raise Rejected("unreadable-table", f"{name} is no csv table ({error})") from None
    if len(lines) < 2:
        raise Rejected("no-rows", f"{name} has no row below its header")
    header = tuple(column.strip() for column in lines[0])
    twice = [column for column, count in Counter(header).items() if column and count > 1]
    if twice:
        raise Rejected("unreadable-table", f"{name} has the column {twice[0]!r} twice")
    return Table(name, header, tuple(map(tuple, lines[1:])))


def read_signatures(data: bytes, name: str) -> dict[str, frozenset[str]]:
    """Families of genes: a column for each, its name above the genes.

    Raises:
      Rejected: as `read_table`.
    """
    table = read_table(data, name)
    return {
        family: frozenset(
            row[place].strip() for row in table.rows if place < len(row) and row[place].strip()
        )
        for place, family in enumerate(table.header)
        if family
    }


def groups(
    header: Sequence[str], signatures: Mapping[str, frozenset[str]] | None = None
) -> dict[str, list[str]]:
    """Divides the columns of genes into groups, the tokens of a model.

    A group is a family and a kind of measurement: "Oncogenes, expression". A gene that several
    families have is in the group of each, one that none has is among the other genes; without
    signatures the kind alone counts. Groups above `LARGEST_GROUP` columns are cut into pieces of
    nearly one size, in the order of the columns: "Oncogenes, expression, 2 of 2".

    Args:
      header: names of the columns; those that aren't genes are left aside.
      signatures: family to genes.

    Returns:
      Name to columns, none empty: by kind, within it by family, the other genes last.
    """
    by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for column in header:
        gene, _, kind = column.rpartition("_")
        if gene and kind in KINDS:
            by_kind[kind].append(column)
    found: dict[str, list[str]] = {}
    for kind, columns in by_kind.items():
        named = {} if signatures is None else dict(signatures)
        families = {
            f"{family}, {KINDS[kind]}": [c for c in columns if c.rpartition("_")[0] in genes]
            for family, genes in named.items()
        }
        taken = {column for members in families.values() for column in members}
        rest = f"{OTHER}, {KINDS[kind]}" if named else KINDS[kind].capitalize()
        families[rest] = [column for column in columns if column not in taken]
        for name, members in families.items():
            found.update(_pieces(name, members))
    return found


def read_patient(
    table: Table, rows: Sequence[int], columns: Sequence[str], where: str
) -> dict[str, np.ndarray]:
    """One patient's profile and survival.

    Args:
      table: with the columns of a patient's survival.
      rows: numbers of the patient's rows, which must agree in everything but the slide.
      columns: of the genes, in the order of the result.
      where: names the patient in messages.

    Returns:
      "omics": float32 `[len(columns)]`, NaN for what was not measured; "time": float32 scalar,
      months to death or to the last time that the patient was seen; "event": int64 scalar, 1 for a
      death.

    Raises:
      Rejected: no rows, a row cut short, a time that is missing, zero or less, or beyond
        `MAX_MONTHS`, a death neither seen nor unseen, and as `measurements`.
    """
    values = measurements(table, rows, columns, where)
    survivals = _cells(table, rows, (TIME, CENSORED), where)
    if not _same_rows(survivals):
        raise Rejected("contradictory-rows", f"{where}: its rows tell different survivals")
    time, flag = survivals[0].tolist()
    if math.isnan(time):
        raise Rejected("no-event-time", f"{where}: {TIME} is missing")
    if time > MAX_MONTHS:
        raise Rejected("event-time-too-long", f"{where}: {TIME} is {time:g}; is it in days?")
    if not np.float32(time) > 0:  # As it is stored: 1e-50 would be 0.
        raise Rejected("event-time-zero", f"{where}: {TIME} is {time:g}, it must be more than 0")
    if flag not in (0.0, 1.0):
        raise Rejected("no-event", f"{where}: {CENSORED} is {flag:g}, it must be 0 or 1")
    return {"omics": values, "time": np.float32(time), "event": np.int64(1 - flag)}


def measurements(
    table: Table, rows: Sequence[int], columns: Sequence[str], where: str
) -> np.ndarray:
    """One patient's profile, float32 `[len(columns)]`, NaN for what was not measured.

    Args:
      table, rows, columns, where: as for `read_patient`.

    Raises:
      Rejected: no rows, columns that the table hasn't, a row cut short, what is no number or is
        infinite, rows that contradict each other, nothing measured at all.
    """
    if not rows:
        raise Rejected("no-measurements", f"{where}: no row of {table.name} is about it")
    values = _cells(table, rows, columns, where)
    if not _same_rows(values):
        raise Rejected("contradictory-rows", f"{where}: its rows hold different measurements")
    with np.errstate(over="ignore"):  # To infinity, which is refused.
        return check(values[0].astype(np.float32), where)


def check(values: np.ndarray, where: str) -> np.ndarray:
    """Checks the profile of a record: float32 `[n]`; returns it.

    Raises:
      Rejected: infinity, or nothing but NaN.
    """
    if np.isinf(values).any():
        raise Rejected("not-finite", f"{where} holds infinity")
    if np.isnan(values).all():
        raise Rejected("no-measurements", f"{where}: nothing was measured")
    return values


def read_profile(data: bytes, name: str, columns: Sequence[str]) -> np.ndarray:
    """The profile of the one patient that a csv file is about, as a model is asked about it.

    Args:
      data: content of the file: a header and a row; more only if they are of one `case_id`.
      name: file name, for the message.
      columns: of the genes, in the order of the result; further ones are left aside.

    Returns:
      float32 `[len(columns)]`, NaN for what was not measured.

    Raises:
      Rejected: as `read_table` and `measurements`, or several patients.
    """
    table = read_table(data, name)
    rows = list(range(len(table.rows)))
    if len(rows) > 1:
        count = len(table.patients()) if PATIENT in table.header else len(rows)
        if count > 1:
            raise Rejected(
                "several-patients", f"{name} has {count} patients; give each a file of its own"
            )
    return measurements(table, rows, columns, name)


def _same_rows(values: np.ndarray) -> bool:
    return np.array_equal(values, np.broadcast_to(values[0], values.shape), equal_nan=True)


def _pieces(name: str, columns: Sequence[str]) -> dict[str, list[str]]:
    count = -(-len(columns) // LARGEST_GROUP)
    if count < 2:
        return {name: list(columns)} if columns else {}
    bounds = [len(columns) * index // count for index in range(count + 1)]
    return {
        f"{name}, {index + 1} of {count}": list(columns[bounds[index] : bounds[index + 1]])
        for index in range(count)
    }


def _cells(table: Table, rows: Sequence[int], columns: Sequence[str], where: str) -> np.ndarray:
    """float64 `[rows, columns]`, NaN for what is missing."""
    places = {column: place for place, column in enumerate(table.header)}
    lacking = [column for column in columns if column not in places]
    if lacking:
        raise Rejected(
            "missing-columns",
            f"{table.name} lacks {len(set(lacking)):,} columns that are needed, such as "
            f"{lacking[0]}",
        )
    values = np.empty((len(rows), len(columns)))
    for line, number in enumerate(rows):
        row = table.rows[number]
        if len(row) != len(table.header):
            raise Rejected(
                "cut-row",
                f"{where}: a row of {len(row):,} cells below a header of {len(table.header):,}",
            )
        for index, column in enumerate(columns):
            cell = row[places[column]].strip()
            try:
                values[line, index] = math.nan if cell.lower() in _MISSING else parse(cell)
            except ValueError:
                shown = cell[:20]
                raise Rejected(
                    "not-a-number", f"{where}: {column} is {shown!r}, a number is needed"
                ) from None
    return values


def _unzipped(data: bytes, name: str) -> bytes:
    if not data.startswith(b"PK"):
        return data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            files = [entry for entry in archive.infolist() if not entry.is_dir()]
            if len(files) != 1:
                raise Rejected("unreadable-table", f"{name} holds {len(files)} files, one is read")
            if files[0].file_size > _MAX_BYTES:
                raise Rejected("unreadable-table", f"{name} unzips to {files[0].file_size:,} bytes")
            return archive.read(files[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise Rejected("unreadable-table", f"{name} is a damaged archive ({error})") from None
