"""Datasets of stays: who is listed with which outcome and split, and records end to end."""

from __future__ import annotations

import numpy as np
import pytest

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError
from pipelines.readers import Rejected, series
from pipelines.records import DatasetInfo, parser

HEADER = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"


def write(path, content: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def listing(name: str, root, **options):
    return DATASETS[name].list_items(str(root), ReadOptions(**options))


def stay(heart_rate: float, age: int = 60) -> str:
    rows = ["Time,Parameter,Value", "00:00,RecordID,1", f"00:00,Age,{age}", "00:00,Height,-1"]
    rows += [f"{hour:02}:30,HR,{heart_rate + hour}" for hour in range(6)]
    return "\n".join([*rows, "05:30,pH,7.4", "06:00,pH,735"]) + "\n"


def physionet(root, records=range(132539, 132579)) -> None:
    rows = [f"{record},6,1,5,-1,{record % 2}" for record in records]
    write(root / "Outcomes-a.txt", HEADER + "\n".join(rows) + "\n")
    for record in records:
        write(root / f"set-a/{record}.txt", stay(60 + 40 * (record % 2)))


def test_each_stay_is_tested_in_one_of_five_folds(tmp_path):
    physionet(tmp_path)
    tested = []
    for fold in range(1, 6):
        found = listing("physionet2012", tmp_path, test_fold=fold)
        assert found.labels == ("survived", "died")
        assert len(found.items) == 40
        for item in found.items:
            assert item.label == ("died" if int(item.key[6:-4]) % 2 else "survived")
        tested += [item.key for item in found.items if item.split == "test"]
    assert sorted(tested) == sorted(item.key for item in found.items)


def test_a_stay_s_fold_depends_on_its_number_alone(tmp_path):
    physionet(tmp_path / "a")
    physionet(tmp_path / "b/deeper", range(132550, 132590))
    found = [
        {item.key[-10:]: item.split for item in listing("physionet2012", tmp_path / name).items}
        for name in ("a", "b")
    ]
    both = found[0].keys() & found[1].keys()
    assert len(both) == 29
    assert {key: found[0][key] for key in both} == {key: found[1][key] for key in both}


def test_what_doesn_t_belong_is_said(tmp_path):
    physionet(tmp_path)
    write(tmp_path / "set-a/7.txt")
    write(tmp_path / "LICENSE")
    (tmp_path / "set-a/132540.txt").unlink()
    assert listing("physionet2012", tmp_path).notes == [
        "1 stays without an outcome were left aside",
        "1 outcomes have no stay",
        "1 files that are no stays were left aside",
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (None, "no Outcomes-a.txt; name the folder that has Outcomes-a.txt and set-a"),
        (HEADER, "Outcomes-a.txt name none of the stays"),
        ("RecordID,Death\n132539,0\n", "line 2 has no In-hospital_death"),
        (HEADER + "132539,6,1,5,-1,\n", "line 2 has no In-hospital_death"),
        (HEADER + "132539,6,1,5,-1,yes\n", "line 2: 'yes' is neither 0 .survived. nor 1 .died."),
        (HEADER + 2 * "132539,6,1,5,-1,0\n", "line 3 names 132539 again"),
    ],
)
def test_a_table_of_outcomes_that_is_no_good(tmp_path, table, message):
    physionet(tmp_path)
    if table is None:
        (tmp_path / "Outcomes-a.txt").unlink()
    else:
        write(tmp_path / "Outcomes-a.txt", table)
    with pytest.raises(InputError, match=message):
        listing("physionet2012", tmp_path)


def test_there_are_five_folds_and_there_must_be_stays(tmp_path):
    physionet(tmp_path)
    with pytest.raises(InputError, match="--test_fold=6: there are 5 folds"):
        listing("physionet2012", tmp_path, test_fold=6)
    for path in (tmp_path / "set-a").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no set-a/\\*.txt"):
        listing("physionet2012", tmp_path)


NAMES = "Hours,Capillary refill rate,Glascow coma scale eye opening,Heart Rate,pH"


def mimic(root) -> None:
    """Six stays as mimic3-benchmarks writes them (with fewer columns), two to test on."""
    for split, numbers in (("train", range(1, 5)), ("test", range(5, 7))):
        rows = []
        for number in numbers:
            name = f"{number}0011_episode1_timeseries.csv"
            lines = [f"0.{number},,4 Spontaneously,{80 + number}.0,", "47.5,0.0,To Pain,,7.31"]
            write(root / split / name, "\n".join([NAMES, *lines]) + "\n")
            rows.append(f"{name},{number % 2}")
        write(root / split / "listfile.csv", "\n".join(["stay,y_true", *rows]) + "\n")


def test_mimic_has_its_official_split(tmp_path):
    mimic(tmp_path)
    write(tmp_path / "train/99_episode1_timeseries.csv")
    found = listing("mimic3_mortality", tmp_path)
    assert sorted((item.path, item.label, item.split) for item in found.items) == [
        ("test/50011_episode1_timeseries.csv", "died", "test"),
        ("test/60011_episode1_timeseries.csv", "survived", "test"),
        ("train/10011_episode1_timeseries.csv", "died", "train"),
        ("train/20011_episode1_timeseries.csv", "survived", "train"),
        ("train/30011_episode1_timeseries.csv", "died", "train"),
        ("train/40011_episode1_timeseries.csv", "survived", "train"),
    ]
    assert found.notes == ["1 files that no list names were left aside"]


def test_mimic_s_validation_split_is_used_where_it_was_made(tmp_path):
    mimic(tmp_path)
    rows = (tmp_path / "train/listfile.csv").read_text().splitlines()
    write(tmp_path / "train_listfile.csv", "\n".join(rows[:4]))
    write(tmp_path / "val_listfile.csv", "\n".join([rows[0], rows[4]]))
    with pytest.raises(InputError, match="no test_listfile.csv; name the folder in-hospital"):
        listing("mimic3_mortality", tmp_path)
    write(tmp_path / "test_listfile.csv", (tmp_path / "test/listfile.csv").read_text())
    found = listing("mimic3_mortality", tmp_path)
    assert [item.split for item in found.items] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert found.items[3].path == "train/40011_episode1_timeseries.csv"
    assert found.notes == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no train/listfile.csv; name the folder in-hospital-mortality"),
        ("", "doesn't begin with stay,y_true"),
        ("stay,period_length,y_true\na.csv,48,1\n", "doesn't begin with stay,y_true"),
        ("stay,y_true\na.csv\n", "line 2 isn't STAY,0 or STAY,1"),
        ("stay,y_true\na.csv,2\n", "line 2: '2' is neither 0"),
        ("stay,y_true\na.csv,1\na.csv,1\n", "line 3 names train/a.csv again"),
    ],
)
def test_a_list_that_is_no_good(tmp_path, content, message):
    mimic(tmp_path)
    if content is None:
        (tmp_path / "train/listfile.csv").unlink()
    else:
        write(tmp_path / "train/listfile.csv", content)
    with pytest.raises(InputError, match=message):
        listing("mimic3_mortality", tmp_path)


def records(output, info: DatasetInfo, split: str) -> list[dict]:
    import tensorflow as tf

    files = [str(output / shard.name) for shard in info.split(split).shards]
    return list(tf.data.TFRecordDataset(files).map(parser(info.features)).as_numpy_iterator())


def test_records_are_made_with_training_totals_and_verified(tmp_path):
    import tensorflow_datasets as tfds

    physionet(tmp_path / "raw")
    write(tmp_path / "raw/set-a/132540.txt", "Time,Parameter,Value\n00:00,Age,54\n")
    write(tmp_path / "raw/set-a/132541.txt", stay(60).replace("05:30", "49:30"))
    output = tmp_path / "records"
    flags = ["--dataset=physionet2012", f"--input={tmp_path / 'raw'}", f"--output={output}"]
    flags += ["--test_fold=2", "--shards=3", "--max_reject_fraction=0.2"]
    info = run.run(flags)
    assert info.rejects == {"no-measurements": 1, "bad-time": 1}
    assert verify.main([str(output)]) == 0
    assert info.properties["variables"] == len(info.properties["names"]) == 44
    made = records(output, info, "train")
    count, total, squares = np.zeros((3, 44))
    for record in made:
        scaled = series.scaled(record["variable"], record["value"], "physionet2012")
        np.add.at(count, record["variable"], 1)
        np.add.at(total, record["variable"], scaled)
        np.add.at(squares, record["variable"], scaled**2)
    totals = info.statistics["train"]["totals"]
    np.testing.assert_allclose(totals["count"], count)
    np.testing.assert_allclose(totals["sum"], total)
    np.testing.assert_allclose(totals["squares"], squares)
    heart_rate = info.properties["names"].index("HR")
    assert count[heart_rate] == 6 * len(made)
    measured = info.statistics["train"]
    assert measured["measurements"] == {"min": 8, "max": 8, "mean": 8.0}
    assert measured["implausible"] == {"min": 1, "max": 1, "mean": 1.0}
    one = next(record for record in made if record["key"] == b"set-a/132539.txt")
    assert info.labels[one["label"]] == "died"
    assert one["value"][one["variable"] == heart_rate].tolist() == [100, 101, 102, 103, 104, 105]
    opened = tfds.builder_from_directory(str(output)).as_dataset("train")
    assert {row["key"].numpy(): row["value"].numpy().tolist() for row in opened} == {
        row["key"]: row["value"].tolist() for row in made
    }
    again = run.run([*flags[:2], f"--output={tmp_path / 'again'}", *flags[3:]])
    assert again.fingerprint == info.fingerprint


def test_mimic_s_records(tmp_path):
    mimic(tmp_path / "raw")
    (tmp_path / "raw/test/50011_episode1_timeseries.csv").unlink()
    output = tmp_path / "records"
    flags = ["--dataset=mimic3_mortality", f"--input={tmp_path / 'raw'}", f"--output={output}"]
    info = run.run([*flags, "--max_reject_fraction=0.2"])
    assert info.rejects == {"unreadable-file": 1}
    assert verify.main([str(output)]) == 0
    record = records(output, info, "test")[0]
    names = [info.properties["names"][number] for number in record["variable"]]
    assert list(zip(names, record["value"].round(2).tolist(), strict=True)) == [
        ("Glascow coma scale eye opening", 4.0),
        ("Heart Rate", 86.0),
        ("Capillary refill rate", 0.0),
        ("Glascow coma scale eye opening", 2.0),
        ("pH", pytest.approx(7.31)),
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hour": np.zeros(1, np.float32)}, "no-measurements"),
        ({"variable": np.array([0, 44])}, "unknown-variable"),
        ({"variable": np.array([-1, 3])}, "unknown-variable"),
        ({"value": np.array([1, np.nan], np.float32)}, "not-finite"),
    ],
)
def test_verify_looks_into_records(change, reason):
    fields = {
        "hour": np.zeros(2, np.float32),
        "variable": np.array([0, 43]),
        "value": np.ones(2, np.float32),
    }
    check = DATASETS["physionet2012"].check_record
    check(fields, "here")
    with pytest.raises(Rejected, match=f"{reason}: here"):
        check(fields | change, "here")
