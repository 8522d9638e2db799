"""Stays: what is measured when, whatever the order of the lines, and what is no stay."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.readers import Rejected, series
from pipelines.readers.variables import LAYOUTS

LONG = """Time,Parameter,Value
00:00,RecordID,132539
00:00,Age,54
00:00,Gender,0
00:00,Height,-1
00:00,ICUType,4
00:00,Weight,-1
00:07,HR,73
00:07,Temp,35.1
01:37,HR,60
27:37,Urine,400
27:37,Urine,0
27:37,Urine,400
48:00,MechVent,1
"""
HEADER = "Hours," + ",".join(variable.name for variable in LAYOUTS["mimic3"].variables)


def wide(*lines: dict[str, str]) -> bytes:
    names = HEADER.split(",")
    rows = [",".join(line.get(name, "") for name in names) for line in lines]
    return "\n".join([HEADER, *rows]).encode()


def told(found: series.Series, layout: str) -> list[tuple[float, str, float]]:
    names = [variable.name for variable in LAYOUTS[layout].variables]
    rows = zip(found.hours, found.variables, found.values, strict=True)
    return [(round(float(h), 4), names[v], round(float(x), 4)) for h, v, x in rows]


def test_a_stay_of_physionet():
    found = series.read(LONG.encode(), "132539.txt", "physionet2012")
    assert told(found, "physionet2012") == [
        (0.0, "Age", 54.0),
        (0.0, "Gender", 0.0),
        (0.0, "ICUType: surgical", 1.0),
        (0.1167, "HR", 73.0),
        (0.1167, "Temp", 35.1),
        (1.6167, "HR", 60.0),
        (27.6167, "Urine", 0.0),
        (27.6167, "Urine", 400.0),
        (48.0, "MechVent", 1.0),
    ]
    assert found.implausible == 0
    assert (found.hours.dtype, found.variables.dtype) == (np.float32, np.int64)


def test_a_stay_of_mimic():
    eyes, motor, verbal = (f"Glascow coma scale {name}" for name in
                           ("eye opening", "motor response", "verbal response"))  # fmt: skip
    content = wide(
        {"Hours": "0.5", "Heart Rate": "88.0", eyes: "4 Spontaneously", verbal: "1.0 ET/Trach"},
        {"Hours": "-1e-7", "pH": "7.25", motor: "Obeys Commands", verbal: "No Response-ETT"},
        {"Hours": "47.99", "Capillary refill rate": "1.0", eyes: "None"},
    )
    assert told(series.read(content, "a.csv", "mimic3"), "mimic3") == [
        (0.0, motor, 6.0),
        (0.0, verbal, 1.0),
        (0.0, "pH", 7.25),
        (0.5, eyes, 4.0),
        (0.5, verbal, 1.0),
        (0.5, "Heart Rate", 88.0),
        (47.99, "Capillary refill rate", 1.0),
        (47.99, eyes, 1.0),
    ]


@given(lines=st.permutations(LONG.splitlines()[1:]), repeated=st.integers(0, 12))
def test_neither_order_nor_repetition_matters(lines, repeated):
    content = "\r\n".join([LONG.splitlines()[0], *lines, lines[repeated]])
    shuffled = series.read(content.encode("utf-8-sig"), "a.txt", "physionet2012")
    expected = series.read(LONG.encode(), "a.txt", "physionet2012")
    for field in ("hours", "variables", "values"):
        np.testing.assert_array_equal(getattr(shuffled, field), getattr(expected, field))


def test_what_can_t_be_true_is_left_out_and_counted():
    content = LONG + "02:00,pH,735\n02:00,Temp,-17.8\n02:00,HR,0\n02:00,pH,7.35\n"
    found = series.read(content.encode(), "a.txt", "physionet2012")
    assert found.implausible == 3
    assert (2.0, "pH", 7.35) in told(found, "physionet2012")
    assert len(found.hours) == 10


def test_the_type_of_unit_is_a_variable_each():
    for code, unit in (("1", "coronary"), ("2.0", "cardiac surgery"), ("3", "medical")):
        content = LONG.replace("ICUType,4", f"ICUType,{code}").encode()
        assert (0.0, f"ICUType: {unit}", 1.0) in told(
            series.read(content, "a", "physionet2012"), "physionet2012"
        )


START = "Time,Parameter,Value\n"


@pytest.mark.parametrize(
    ("content", "reason", "detail"),
    [
        (b"", "empty-file", "a.csv has no bytes"),
        (b"\n \n", "empty-file", "a.csv"),
        (b"\xff\xfe\x00", "not-a-stay", "a.csv: no csv"),
        (START + 'x,"y\n', "not-a-stay", "a.csv: no csv"),
        ("time;parameter\n", "not-a-stay", "begins with 'time;parameter'"),
        ("Hours\n1\n", "not-a-stay", "expected Time,Parameter,Value or Hours"),
        (START, "no-measurements", "a.csv measures nothing"),
        (START + "00:00,RecordID,1\n00:00,Age,54\n00:00,ICUType,2\n", "no-measurements", ""),
        (START + "00:00,Weight,-1\n", "no-measurements", "measures nothing"),
        (START + "00:07,pH,735\n", "no-measurements", "measures nothing"),
        (START + "00:07,HR\n", "bad-line", "line 2 has 2 cells, the header 3"),
        (START + "00:07,HR,73,1\n", "bad-line", "line 2 has 4 cells"),
        (START + "00:07,HR,\n", "bad-number", "line 2: '' is no value of HR"),
        (START + "00:07,HR,7_3\n", "bad-number", "line 2: '7_3' is no value of HR"),
        (START + "00:07,HR,٧٣\n", "bad-number", "'٧٣' is no value of HR"),
        ("\n" + START + "\n00:07,HR,\n", "bad-number", "line 4: '' is no value"),
        (b"\xef\xbb\xbf", "empty-file", "a.csv has no line"),
        (START + "00:07,HR,7x\n", "bad-number", "line 2: '7x' is no value of HR"),
        (START + "00:07,ICUType,5\n", "bad-number", "'5' is no value of ICUType"),
        (START + "00:07,HR,nan\n", "not-finite", "line 2: HR is nan"),
        (START + "00:07,HR,inf\n", "not-finite", "HR is inf"),
        (START + "00:07,Heart Rate,73\n", "unknown-variable", "called 'Heart Rate'"),
        (START + "00:00,Age,54\n00:00,Age,55\n00:07,HR,73\n", "two-values", "Age is 54 and 55"),
        (START + "00:60,HR,73\n", "bad-time", "'00:60' is no time as HH:MM from 0 to 48"),
        (START + "7,HR,73\n", "bad-time", "'7' is no time"),
        (START + "-1:00,HR,73\n", "bad-time", "'-1:00' is no time"),
        (START + "48:01,HR,73\n", "bad-time", "'48:01' is no time"),
        (START + ",HR,73\n", "bad-time", "'' is no time"),
    ],
)  # fmt: skip
def test_what_is_no_good_is_rejected_with_the_reason(content, reason, detail):
    content = content.encode() if isinstance(content, str) else content
    with pytest.raises(Rejected) as caught:
        series.read(content, "a.csv", "physionet2012")
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"Hours": "nan", "pH": "7.3"}, "bad-time"),
        ({"Hours": "49", "pH": "7.3"}, "bad-time"),
        ({"Hours": "-0.1", "pH": "7.3"}, "bad-time"),
        ({"Hours": "00:07", "pH": "7.3"}, "bad-time"),
        ({"Hours": "1", "pH": "low"}, "bad-number"),
        ({"Hours": "1", "Glascow coma scale eye opening": "winks"}, "bad-number"),
        ({"Hours": "1"}, "no-measurements"),
    ],
)
def test_a_wide_stay_that_is_no_good(line, reason):
    with pytest.raises(Rejected, match=reason):
        series.read(wide(line), "a.csv", "mimic3")


def test_columns_are_named_once():
    with pytest.raises(Rejected, match="not-a-stay"):
        series.read(b"Hours,pH,pH\n1,7.3,7.4\n", "a.csv", "mimic3")


def test_endless_files_are_given_up(monkeypatch):
    monkeypatch.setattr(series, "MAX_MEASUREMENTS", 3)
    with pytest.raises(Rejected, match="too-long"):
        series.read(LONG.encode(), "a.txt", "physionet2012")


def test_variables_of_many_magnitudes_are_averaged_by_their_logarithm():
    numbers = LAYOUTS["physionet2012"].numbers()
    variables = np.array([numbers["HR"], numbers["ALT"], numbers["TroponinT"], numbers["Urine"]])
    values = np.array([73, 99, 0.99, 0], np.float32)
    np.testing.assert_allclose(
        series.scaled(variables, values, "physionet2012"),
        [73, math.log(100), math.log(1.0), math.log(10)],
        atol=1e-6,
    )


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_agrees_with_itself(name):
    layout = LAYOUTS[name]
    numbers = layout.numbers()
    assert len(numbers) == len(layout.variables)
    for variable in layout.variables:
        assert variable.low <= variable.high
        assert variable.offset == 0 or variable.low + variable.offset > 0
    for codes in layout.categories.values():
        for code, (variable, value) in codes.items():
            known = layout.variables[numbers[variable]]
            assert known.low <= value <= known.high
            assert code == code.lower()
