"""What is measured in an intensive-care stay: variables by layout, in the order of their numbers.

A number is what records, models and served inputs know a variable by, so the order is part of the
format: add at the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Variable:
    """A quantity.

    Attributes:
      name: as the files spell it.
      low, high: values outside can't be true (a lost decimal point, an open line); they are left
        out and counted. In the unit of the files.
      offset: where it isn't 0, the variable is looked at as log(value + offset), because it spans
        orders of magnitude.
      descriptor: whether it describes the stay as a whole: one value, at hour 0.
    """

    name: str
    low: float
    high: float
    offset: float = 0.0
    descriptor: bool = False


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the files of a collection name and code what they hold.

    Attributes:
      variables: in the order of their numbers.
      hours: of observation; files hold nothing that was measured later.
      categories: name to {code: (variable, value)} for what isn't a number; codes in lower case.
      missing: a number that stands for "unknown", or None.
      ignored: names that say nothing about the stay.
    """

    variables: tuple[Variable, ...]
    hours: float
    categories: Mapping[str, Mapping[str, tuple[str, float]]]
    missing: float | None = None
    ignored: frozenset[str] = frozenset()

    def numbers(self) -> dict[str, int]:
        """Variable name to number."""
        return {variable.name: number for number, variable in enumerate(self.variables)}


_UNITS = {"1": "coronary", "2": "cardiac surgery", "3": "medical", "4": "surgical"}

PHYSIONET_2012 = Layout(
    variables=(
        Variable("Age", 15, 120, descriptor=True),
        Variable("Gender", 0, 1, descriptor=True),  # 1: male.
        Variable("Height", 100, 230, descriptor=True),
        *(Variable(f"ICUType: {unit}", 1, 1, descriptor=True) for unit in _UNITS.values()),
        Variable("Weight", 20, 400),
        Variable("Albumin", 0.5, 8),
        Variable("ALP", 1, 10_000, offset=1),
        Variable("ALT", 1, 50_000, offset=1),
        Variable("AST", 1, 50_000, offset=1),
        Variable("Bilirubin", 0, 100, offset=0.1),
        Variable("BUN", 0, 300, offset=1),
        Variable("Cholesterol", 10, 1_000),
        Variable("Creatinine", 0, 50, offset=0.1),
        Variable("DiasABP", 5, 200),
        Variable("FiO2", 0.2, 1),
        Variable("GCS", 3, 15),
        Variable("Glucose", 5, 2_000, offset=1),
        Variable("HCO3", 1, 60),
        Variable("HCT", 5, 75),
        Variable("HR", 5, 300),
        Variable("K", 1, 15),
        Variable("Lactate", 0, 50, offset=0.1),
        Variable("Mg", 0.1, 12),
        Variable("MAP", 10, 250),
        Variable("MechVent", 0, 1),
        Variable("Na", 80, 200),
        Variable("NIDiasABP", 5, 200),
        Variable("NIMAP", 10, 250),
        Variable("NISysABP", 20, 300),
        Variable("PaCO2", 5, 200, offset=1),
        Variable("PaO2", 10, 800, offset=1),
        Variable("pH", 6.5, 8),
        Variable("Platelets", 1, 3_000, offset=1),
        Variable("RespRate", 1, 100),
        Variable("SaO2", 20, 100),
        Variable("SysABP", 20, 300),
        Variable("Temp", 25, 45),
        Variable("TroponinI", 0, 500, offset=0.1),
        Variable("TroponinT", 0, 100, offset=0.01),
        Variable("Urine", 0, 12_000, offset=10),
        Variable("WBC", 0, 500, offset=0.1),
    ),
    hours=48.0,
    categories={"ICUType": {code: (f"ICUType: {unit}", 1.0) for code, unit in _UNITS.items()}},
    missing=-1.0,
    ignored=frozenset({"RecordID"}),
)
"""PhysioNet/Computing in Cardiology Challenge 2012. Units are those of its description."""

_EYES = "Glascow coma scale eye opening"  # The benchmark's spelling.
_MOTOR = "Glascow coma scale motor response"
_VERBAL = "Glascow coma scale verbal response"


def _scale(variable: str, words: Mapping[int, tuple[str, ...]]) -> dict[str, tuple[str, float]]:
    return {word: (variable, float(n)) for n, several in words.items() for word in several}


MIMIC_3 = Layout(
    variables=(
        Variable("Capillary refill rate", 0, 1),
        Variable("Diastolic blood pressure", 5, 200),
        Variable("Fraction inspired oxygen", 0.2, 1),
        Variable(_EYES, 1, 4),
        Variable(_MOTOR, 1, 6),
        Variable("Glascow coma scale total", 3, 15),
        Variable(_VERBAL, 1, 5),
        Variable("Glucose", 5, 2_000, offset=1),
        Variable("Heart Rate", 5, 300),
        Variable("Height", 40, 240),
        Variable("Mean blood pressure", 10, 250),
        Variable("Oxygen saturation", 20, 100),
        Variable("Respiratory rate", 1, 100),
        Variable("Systolic blood pressure", 20, 300),
        Variable("Temperature", 25, 45),
        Variable("Weight", 1, 400),
        Variable("pH", 6.5, 8),
    ),
    hours=48.0,
    categories={
        _EYES: _scale(
            _EYES,
            {
                1: ("none", "1 no response"),
                2: ("to pain", "2 to pain"),
                3: ("to speech", "3 to speech"),
                4: ("spontaneously", "4 spontaneously"),
            },
        ),
        _MOTOR: _scale(
            _MOTOR,
            {
                1: ("no response", "1 no response"),
                2: ("abnormal extension", "2 abnorm extensn"),
                3: ("abnormal flexion", "3 abnorm flexion"),
                4: ("flex-withdraws", "4 flex-withdraws"),
                5: ("localizes pain", "5 localizes pain"),
                6: ("obeys commands", "6 obeys commands"),
            },
        ),
        _VERBAL: _scale(
            _VERBAL,
            {
                # A tube forbids to speak: 1 by the scale's own rule.
                1: ("no response", "1 no response", "no response-ett", "1.0 et/trach"),
                2: ("incomprehensible sounds", "2 incomp sounds"),
                3: ("inappropriate words", "3 inapprop words"),
                4: ("confused", "4 confused"),
                5: ("oriented", "5 oriented"),
            },
        ),
    },
)
"""Stays as mimic3-benchmarks (Harutyunyan et al., 2019) writes them from MIMIC-III."""

LAYOUTS: dict[str, Layout] = {"mimic3": MIMIC_3, "physionet2012": PHYSIONET_2012}
