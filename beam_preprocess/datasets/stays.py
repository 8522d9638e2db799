"""What datasets of intensive-care stays have in common: a csv a stay, and who died."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from beam_preprocess.datasets.dataset import Dataset, ReadOptions, read_bytes
from beam_preprocess.manifest import InputError, Item, Listing
from pipelines import records
from pipelines.readers import Rejected, series
from pipelines.readers.variables import LAYOUTS

LABELS = ("survived", "died")
FEATURES = {
    "hour": records.Feature("float32", (None,)),
    "variable": records.Feature("int64", (None,)),
    "value": records.Feature("float32", (None,)),
    "implausible": records.Feature("int64"),
    "label": records.Feature("int64"),
    "key": records.Feature("bytes"),
}


def dataset(
    layout: str,
    *,
    summary: str,
    layouts: tuple[str, ...],
    list_items: Callable[[str, ReadOptions], Listing],
    options: tuple[str, ...] = (),
) -> Dataset:
    """A dataset of stays in one of `pipelines.readers.variables.LAYOUTS`; see `Dataset`."""
    variables = LAYOUTS[layout].variables

    def read_item(root: str, item: Item, options: ReadOptions) -> dict[str, Any]:
        del options
        stay = series.read(read_bytes(root, item.path), item.path, layout)
        return {
            "hour": stay.hours,
            "variable": stay.variables,
            "value": stay.values,
            "implausible": stay.implausible,
        }

    def totals(fields: dict[str, Any]) -> dict[str, list[float]]:
        """Count, sum and sum of squares of every variable, as it is normalised."""
        number = fields["variable"]
        value = series.scaled(number, fields["value"], layout)
        weights = {"count": None, "sum": value, "squares": value**2}
        return {
            name: np.bincount(number, weight, len(variables)).astype(float).tolist()
            for name, weight in weights.items()
        }

    def check_record(fields: dict[str, Any], where: str) -> None:
        number, hour = fields["variable"], fields["hour"]
        if not len(number) == len(hour) == len(fields["value"]) > 0:
            raise Rejected("no-measurements", f"{where}: hours, variables and values don't match")
        if number.min() < 0 or number.max() >= len(variables):
            raise Rejected("unknown-variable", f"{where}: a variable of no known number")
        if not (np.isfinite(fields["value"]).all() and np.isfinite(hour).all()):
            raise Rejected("not-finite", f"{where} holds NaN or infinity")

    return Dataset(
        summary=summary,
        layouts=layouts,
        features=FEATURES,
        list_items=list_items,
        read_item=read_item,
        measure=measure,
        totals=totals,
        check_record=check_record,
        options=options,
        properties=lambda options: {
            "layout": layout,
            "variables": len(variables),
            "names": [variable.name for variable in variables],
        },
    )


def measure(fields: dict[str, Any]) -> dict[str, int]:
    """Number of measurements, and how many more were left out because they can't be true."""
    return {"measurements": len(fields["hour"]), "implausible": int(fields["implausible"])}


def label(died: str, where: str) -> str:
    """The label of an outcome's column.

    Raises:
      InputError: neither 0 nor 1.
    """
    if died.strip() not in ("0", "1"):
        raise InputError(f"{where}: {died.strip()[:20]!r} is neither 0 (survived) nor 1 (died)")
    return LABELS[int(died)]
