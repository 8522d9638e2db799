"""Tables of molecular profiles: what is read, how genes are grouped, what is refused and why."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.readers import Rejected, omics

HEADER = ",case_id,slide_id,survival_months,censorship,A_rnaseq,B_rnaseq,A_cnv,B_mut"
COLUMNS = ("B_rnaseq", "A_rnaseq", "A_cnv", "B_mut")


def table(*rows: str) -> omics.Table:
    return omics.read_table("\n".join((HEADER, *rows)).encode(), "t.csv")


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_patient_with_several_slides_is_one():
    found = table(
        "0,p1,s1,12.5,0,1.5,-2,-1,1", "1,p2,s1,3,1,0,0,0,0", "2,p1,s2,12.5,0.0,1.5,-2,-1,1"
    )
    assert found.patients() == {"p1": [0, 2], "p2": [1]}
    patient = omics.read_patient(found, [0, 2], COLUMNS, "p1")
    np.testing.assert_array_equal(patient["omics"], np.float32([-2, 1.5, -1, 1]))
    assert patient["omics"].dtype == np.float32
    assert (patient["time"], patient["event"]) == (12.5, 1)
    assert omics.read_patient(found, [1], COLUMNS, "p2")["event"] == 0


def test_what_was_not_measured_is_nan():
    row = omics.read_patient(table("0,p,s,1,1,,NA,nan,2"), [0], COLUMNS, "p")
    np.testing.assert_array_equal(row["omics"], np.float32([np.nan, np.nan, np.nan, 2]))


@pytest.mark.parametrize(
    ("rows", "reason", "detail"),
    [
        (["0,p,s,0,0,1,1,1,1"], "event-time-zero", "p: survival_months is 0, it must be more"),
        (["0,p,s,1e-50,0,1,1,1,1"], "event-time-zero", "survival_months is 1e-50, it must be"),
        (["0,p,s,-1,0,1,1,1,1"], "event-time-zero", "survival_months is -1"),
        (["0,p,s,NaN,0,1,1,1,1"], "no-event-time", "p: survival_months is missing"),
        (["0,p,s,,0,1,1,1,1"], "no-event-time", "survival_months is missing"),
        (["0,p,s,4000,0,1,1,1,1"], "event-time-too-long", "is 4000; is it in days?"),
        (["0,p,s,inf,0,1,1,1,1"], "event-time-too-long", "is inf"),
        (["0,p,s,5,2,1,1,1,1"], "no-event", "p: censorship is 2, it must be 0 or 1"),
        (["0,p,s,5,,1,1,1,1"], "no-event", "censorship is nan"),
        (["0,p,s,5,1,1,x,1,1"], "not-a-number", "p: B_rnaseq is 'x', a number is needed"),
        (["0,p,s,5,1,1,1_5,1,1"], "not-a-number", "p: B_rnaseq is '1_5'"),
        (["0,p,s,5,1,1,inf,1,1"], "not-finite", "p holds infinity"),
        (["0,p,s,5,1,1,1e99,1,1"], "not-finite", "p holds infinity"),
        (["0,p,s,5,1,,,,"], "no-measurements", "p: nothing was measured"),
        (["0,p,s,5,1,1,1"], "cut-row", "p: a row of 7 cells below a header of 9"),
        (["0,p,s,5,1,1,1,1,1", "1,p,s,5,1,1,2,1,1"], "contradictory-rows", "other|different"),
        (["0,p,s,5,1,1,1,1,1", "1,p,s,6,1,1,1,1,1"], "contradictory-rows", "different survivals"),
        (["0,p,s,5,1,1,1,1,1", "1,p,s,5,0,1,1,1,1"], "contradictory-rows", "different survivals"),
    ],
)
def test_a_patient_that_cant_be_used_is_refused_with_the_reason(rows, reason, detail):
    with pytest.raises(Rejected, match=detail) as refused:
        omics.read_patient(table(*rows), range(len(rows)), COLUMNS, "p")
    assert refused.value.reason == reason


def test_a_patient_that_the_table_hasnt_is_refused():
    with pytest.raises(Rejected, match="no-measurements: q: no row of t.csv is about it"):
        omics.read_patient(table("0,p,s,5,1,1,1,1,1"), [], COLUMNS, "q")


def test_zipped_or_not_a_table_is_the_same():
    text = (HEADER + "\r\n0,p,s,1,1,1,2,3,4\r\n").encode()
    plain = omics.read_table(text, "t")
    assert plain.rows == (("0", "p", "s", "1", "1", "1", "2", "3", "4"),)
    assert omics.read_table(zipped(a=text), "t") == plain
    assert omics.read_table(b"\xef\xbb\xbf" + text, "t") == plain  # As a spreadsheet saves it.


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty-file: t has no bytes"),
        (b"a,b\n", "no-rows: t has no row below its header"),
        (b"a,b,a\n1,2,3\n", "unreadable-table: t has the column 'a' twice"),
        (
            b'a,b\nP1,1\n"P2,1\nP3,1\n',
            "unreadable-table: t is no csv table .unexpected end of data",
        ),
        (b'a,b\n"P1,1\n"P2,1\nP3,1\n', "unreadable-table: t is no csv table .',' expected after"),
        (b"\xff\xfe\x00a", "unreadable-table: t is no text in UTF-8"),
        (zipped(a=b"1", b=b"2"), "unreadable-table: t holds 2 files, one is read"),
        (zipped(a=b"a,b\n1,2\n" * 50)[:60], "unreadable-table: t is a damaged archive"),
    ],
)
def test_a_file_that_is_no_table_is_refused(data, message):
    with pytest.raises(Rejected, match=message) as refused:
        omics.read_table(data, "t")
    assert "\n" not in refused.value.detail


def test_a_byte_that_changed_in_an_archive_is_noticed():
    data = bytearray(zipped(a=b"a,b\n1,2\n3,4\n" * 200))
    data[45] ^= 0x55
    with pytest.raises(Rejected, match="damaged archive"):
        omics.read_table(bytes(data), "t")


def test_groups_are_families_by_kind_with_the_others_last():
    families = {"Kinases": frozenset("AB"), "Factors": frozenset("B")}
    header = ["case_id", "B_rnaseq", "A_rnaseq", "C_rnaseq", "A_cnv", "N_A_mut", "survival_months"]
    assert omics.groups(header, families) == {
        "Kinases, expression": ["B_rnaseq", "A_rnaseq"],
        "Factors, expression": ["B_rnaseq"],
        "Other genes, expression": ["C_rnaseq"],
        "Kinases, copy number": ["A_cnv"],
        "Other genes, mutation": ["N_A_mut"],
    }
    assert omics.groups(header) == {
        "Expression": ["B_rnaseq", "A_rnaseq", "C_rnaseq"],
        "Copy number": ["A_cnv"],
        "Mutation": ["N_A_mut"],
    }


@given(st.integers(1, 3 * omics.LARGEST_GROUP))
def test_large_groups_are_cut_into_equal_pieces(count):
    columns = [f"G{i}_cnv" for i in range(count)]
    found = omics.groups(columns)
    sizes = [len(members) for members in found.values()]
    assert [column for members in found.values() for column in members] == columns
    assert max(sizes) <= omics.LARGEST_GROUP
    assert max(sizes) - min(sizes) <= 1
    assert len(found) == -(-count // omics.LARGEST_GROUP)


def test_signatures_have_columns_of_different_lengths():
    data = b"Kinases,Factors\nA,B\nC,\n,\n"
    assert omics.read_signatures(data, "s") == {"Kinases": {"A", "C"}, "Factors": {"B"}}


def test_a_model_is_asked_about_one_patient():
    text = b"B_mut,A_rnaseq,age,B_rnaseq,A_cnv\n1,2,50,3,\n"
    asked = omics.read_profile(text, "q.csv", COLUMNS)
    np.testing.assert_array_equal(asked, np.float32([3, 2, np.nan, 1]))
    with pytest.raises(Rejected, match="several-patients: q.csv has 2 patients"):
        omics.read_profile(text + b"1,2,50,3,4\n", "q.csv", COLUMNS)
    with pytest.raises(Rejected, match="q.csv lacks 1 columns that are needed, such as Z_cnv"):
        omics.read_profile(text, "q.csv", (*COLUMNS, "Z_cnv"))
    slides = f"{HEADER}\n0,p,s1,,,1,2,3,4\n1,p,s2,,,1,2,3,4\n".encode()
    np.testing.assert_array_equal(omics.read_profile(slides, "q", COLUMNS), [2, 1, 3, 4])
