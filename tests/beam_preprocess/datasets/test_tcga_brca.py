"""TCGA-BRCA: the patients of a fold, and records end to end, from files like the real ones."""

from __future__ import annotations

import os
import pathlib
import tarfile
import zipfile

import numpy as np
import pytest

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError
from pipelines.readers import Rejected
from pipelines.records import DatasetInfo, parser

HEADER = "case_id,slide_id,survival_months,censorship,A_rnaseq,B_rnaseq,A_cnv,TP53_mut\n"


def write_raw(root: pathlib.Path, rows: list[str], folds: list[tuple[str, str]]) -> None:
    (root / "splits").mkdir(parents=True)
    with zipfile.ZipFile(root / "all.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("all.csv", HEADER + "\n".join(rows) + "\n")
    (root / "signatures.csv").write_text("Kinases\nA\n")
    for number, (train, val) in enumerate(folds):
        train, val = train.split(), val.split()
        lines = [",train,val"]
        for index in range(max(len(train), len(val))):
            both = (part[index] if index < len(part) else "" for part in (train, val))
            lines.append(f"{index}," + ",".join(both))
        (root / f"splits/splits_{number}.csv").write_text("\n".join(lines) + "\n")


ROWS = [
    "p1,s1,10.5,0,1,3,-1,1",
    "p1,s2,10.5,0,1,3,-1,1",
    "p2,s3,700,1,2,,0,0",
    "p3,s4,20,1,3,1000,1,0",
    "p4,s5,0,0,4,2,2,0",
]


def listed(root, fold):
    listing = DATASETS["tcga_brca"].list_items(str(root), ReadOptions(test_fold=fold))
    return {item.key: item.split for item in listing.items}, listing


def test_the_fold_says_who_is_tested(tmp_path):
    write_raw(tmp_path, ROWS, [("p1 p2", "p3"), ("p3", "p1")])
    assert listed(tmp_path, 1)[0] == {"p1": "train", "p2": "train", "p3": "test"}
    splits, listing = listed(tmp_path, 2)
    assert splits == {"p3": "train", "p1": "test"}
    assert listing.notes == ["2 patients that the fold doesn't name were left aside"]
    assert listing.properties["groups"] == {
        "Kinases, expression": ["A_rnaseq"],
        "Other genes, expression": ["B_rnaseq"],
        "Kinases, copy number": ["A_cnv"],
        "Other genes, mutation": ["TP53_mut"],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: (root / "all.csv.zip").unlink(), "0 tables .* one is needed"),
        (lambda root: (root / "more.csv").write_text("a\n1\n"), "2 tables"),
        (lambda root: (root / "all.csv.zip").write_bytes(b"PK"), "all.csv.zip is a damaged arch"),
        (lambda root: (root / "signatures.csv").write_bytes(b""), "signatures.csv has no bytes"),
        (lambda root: (root / "splits/splits_0.csv").write_text("a\n1\n"), "no column 'train'"),
        (
            lambda root: (root / "splits/splits_0.csv").write_text("train,val\np1,p2\np2,\n"),
            "splits_0.csv: p2 is in train and in val",
        ),
    ],
)
def test_what_is_no_such_data_is_named(tmp_path, change, message):
    write_raw(tmp_path, ROWS, [("p1 p2", "p3")])
    listed(tmp_path, 1)
    change(tmp_path)
    with pytest.raises(InputError, match=message):
        listed(tmp_path, 1)


def test_a_table_without_a_column_or_a_fold_that_isnt_there_is_named(tmp_path):
    write_raw(tmp_path, ROWS, [("p1", "p3")])
    with pytest.raises(InputError, match="--test_fold=2, but 1 files in splits/"):
        listed(tmp_path, 2)
    (tmp_path / "all.csv.zip").unlink()
    for text, message in (
        ("case_id,survival_months,A_cnv\np1,2,3\n", "all.csv: no column 'censorship'"),
        ("case_id,survival_months,censorship\np1,2,0\n", "no column of a gene, such as TP53"),
        ("case,survival_months,censorship,A_cnv\np1,2,0,1\n", "no column 'case_id'"),
    ):
        (tmp_path / "all.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            listed(tmp_path, 1)


def test_records_are_made_verified_and_opened_by_tfds(tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    write_raw(tmp_path / "raw", ROWS, [("p1 p2 p4 p5", "p3")])
    output = tmp_path / "records"
    flags = ["--dataset=tcga_brca", f"--input={tmp_path / 'raw'}", f"--output={output}"]
    flags += ["--test_fold=1", "--shards=2", "--max_reject_fraction=0.5"]
    info = run.run(flags)
    assert info.rejects == {"event-time-zero": 1, "no-measurements": 1}
    assert info.labels == ()
    assert list(info.properties["groups"].values()) == [
        ["A_rnaseq"], ["B_rnaseq"], ["A_cnv"], ["TP53_mut"],
    ]  # fmt: skip
    assert DatasetInfo.read(str(output)) == info
    assert verify.main([str(output)]) == 0

    train = info.statistics["train"]
    assert train["missing"] == {"min": 0, "max": 1, "mean": 0.5}
    totals = train["totals"]
    assert totals["count"] == [2.0, 1.0, 2.0, 2.0]
    np.testing.assert_allclose(totals["sum"][:2], [np.arcsinh(1) + np.arcsinh(2), np.arcsinh(3)])
    np.testing.assert_allclose(totals["squares"][2:], [np.arcsinh(1) ** 2] * 2)
    assert np.flatnonzero(totals["events"]).tolist() == [10]
    assert np.flatnonzero(totals["censored"]).tolist() == [600]  # The last month, for 700.

    files = [str(output / shard.name) for shard in info.split("train").shards]
    found = {
        record["key"].numpy(): record
        for record in tf.data.TFRecordDataset(files).map(parser(info.features))
    }
    assert found.keys() == {b"p1", b"p2"}
    np.testing.assert_array_equal(found[b"p1"]["omics"], [1, 3, -1, 1])
    np.testing.assert_array_equal(found[b"p2"]["omics"], np.float32([2, np.nan, 0, 0]))
    assert (found[b"p1"]["time"], found[b"p1"]["event"]) == (10.5, 1)
    opened = tfds.builder_from_directory(str(output)).as_dataset("test")
    assert [example["time"].numpy() for example in opened] == [20]
    again = run.run([*flags[:2], f"--output={tmp_path / 'again'}", *flags[3:]])
    assert again.fingerprint == info.fingerprint


BAG_FLAGS = ["--bags=slides", "--patch_width=3", "--max_patches=5", "--seed=4"]


def write_bags(root: pathlib.Path, **found: np.ndarray) -> None:
    (root / "slides/x").mkdir(parents=True)
    for name, bag in found.items():
        np.save(root / f"slides/x/{name}.npy", bag)


def bag(rows: int, start: float = 0.0, width: int = 3) -> np.ndarray:
    return np.arange(start, start + rows * width).reshape(rows, width).astype(np.float16)


def test_patches_of_a_patients_slides_are_kept_with_its_profile(tmp_path, capsys):
    import tensorflow as tf

    raw, output = tmp_path / "raw", tmp_path / "records"
    write_raw(raw, ROWS, [("p1 p2", "p3")])
    write_bags(raw, s1=bag(4), s2=bag(3, 100), p3=bag(2, 50), s9=bag(1))
    flags = ["--dataset=tcga_brca", f"--input={raw}", "--test_fold=1", "--shards=1", *BAG_FLAGS]
    info = run.run([*flags, f"--output={output}"])
    told = capsys.readouterr().out
    assert "note: 1 patients have no bag: their profile alone is read" in told
    assert "note: 1 bags of no patient of the fold were left aside" in told
    assert verify.main([str(output)]) == 0
    wanted = {"patch_width": 3, "max_patches": 5, "seed": 4}
    assert {name: info.properties[name] for name in wanted} == wanted

    found = {}
    for split in info.splits.values():
        files = [str(output / shard.name) for shard in split.shards]
        for record in tf.data.TFRecordDataset(files).map(parser(info.features)):
            found[record["key"].numpy()] = record["patches"].numpy().reshape(-1, 3)
    assert found[b"p2"].shape == (0, 3)
    np.testing.assert_array_equal(found[b"p3"], bag(2, 50))
    both = np.concatenate([bag(4), bag(3, 100)])
    kept = [both.tolist().index(row) for row in found[b"p1"].tolist()]
    assert len(kept) == 5
    assert kept == sorted(set(kept))
    train = info.statistics["train"]
    assert train["patch_values"] == {"min": 0, "max": 15, "mean": 7.5}
    values = found[b"p1"].astype(float)
    assert train["totals"]["patches"] == [15, values.sum(), (values**2).sum()]
    again = run.run([*flags, f"--output={tmp_path / 'again'}"])
    assert again.fingerprint == info.fingerprint
    plain = run.run([*flags[:4], f"--output={tmp_path / 'plain'}"])
    assert plain.features.keys() == {"omics", "time", "event", "key"}
    assert plain.properties.keys() == {"groups"}


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (bag(0), "empty-bag"),
        (bag(2, width=4), "wrong-width"),
        (np.full((2, 3), np.nan), "not-finite"),
        (np.zeros(3), "not-a-bag"),
    ],
)
def test_a_patient_whose_bag_is_no_good_is_rejected(tmp_path, one, reason):
    write_raw(tmp_path, ROWS, [("p1 p2", "p3")])
    write_bags(tmp_path, s2=bag(2), s1=one)
    options = ReadOptions(test_fold=1, bags="slides/", patch_width=3)
    dataset = DATASETS["tcga_brca"]
    first, second, third = dataset.list_items(str(tmp_path), options).items
    assert first.details == ("slides/x/s1.npy", "slides/x/s2.npy")
    with pytest.raises(Rejected, match=f"{reason}: slides/x/s1.npy"):
        dataset.read_item(str(tmp_path), first, options)
    for patient in (second, third):
        assert not len(dataset.read_item(str(tmp_path), patient, options)["patches"])


def test_a_folder_without_bags_and_two_of_one_name_are_named(tmp_path):
    write_raw(tmp_path, ROWS, [("p1", "p3")])
    write_bags(tmp_path, s3=bag(1))
    for folder, message in (
        ("slides", "--bags=slides: 1 .npy files in .*slides/, none of a slide_id or case_id of t"),
        ("bags", "--bags=bags: 0 .npy files"),
    ):
        with pytest.raises(InputError, match=message):
            DATASETS["tcga_brca"].list_items(str(tmp_path), ReadOptions(test_fold=1, bags=folder))
    np.save(tmp_path / "slides/S3.npy", bag(1))
    with pytest.raises(InputError, match="slides/S3.npy and slides/x/s3.npy are bags of one name"):
        DATASETS["tcga_brca"].list_items(str(tmp_path), ReadOptions(test_fold=1, bags="slides"))
    with pytest.raises(InputError, match="--bags: FOLDER is missing"):
        run.run(["--dataset=tcga_brca", "--input=a", "--output=b", "--bags="])


def test_the_real_folds(tmp_path):
    data = pathlib.Path(os.environ.get("PERCEIVER_DATA") or "../shared/data")
    archive = data / "tcga_brca.tar.xz"
    if not archive.exists():
        pytest.skip(f"no {archive}; PERCEIVER_DATA names the folder that has it")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    root = str(tmp_path / "tcga_brca")
    tested: set[str] = set()
    for fold in range(1, 6):
        splits, listing = listed(root, fold)
        test = {patient for patient, split in splits.items() if split == "test"}
        assert (len(splits), len(test), listing.notes) == (956, 192 if fold == 1 else 191, [])
        assert not tested & test
        tested |= test
    groups = listing.properties["groups"]
    assert len(groups) == 27
    assert len({column for columns in groups.values() for column in columns}) == 2912
    deaths = 0
    dataset = DATASETS["tcga_brca"]
    for item in listing.items:
        fields = dataset.read_item(root, item, ReadOptions())
        deaths += int(fields["event"])
        assert fields["omics"].shape == (3235,)
    assert deaths == 130
