"""Datasets of text: pieces of files, and GLUE's tasks with the columns that their files have."""

from __future__ import annotations

import numpy as np
import pytest

from beam_preprocess import run, verify
from beam_preprocess.datasets import DATASETS, glue, text_files
from beam_preprocess.datasets.dataset import ReadOptions
from beam_preprocess.manifest import InputError, assign_splits
from pipelines.readers import Rejected
from pipelines.records import parser

STORY = "".join(f"word{i} " for i in range(200)).encode()


def write(path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def texts(root, **options) -> list[tuple[str, str | None, bytes]]:
    options = ReadOptions(**options)
    items = text_files.list_items(str(root), options).items
    return [(i.key, i.split, text_files.read_item(str(root), i, options)["text"]) for i in items]


def test_long_texts_are_cut_and_short_ones_stay_whole(tmp_path):
    write(tmp_path / "a/story.md", b"\xef\xbb\xbf" + STORY)
    write(tmp_path / "LICENSE", "Take it.\n")
    write(tmp_path / "picture.png", b"\x89PNG")
    found = texts(tmp_path, piece_bytes=100)
    assert found[0] == ("LICENSE", None, b"Take it.\n")
    assert b"".join(piece for _, _, piece in found[1:]) == STORY
    assert all(len(piece) <= 100 for _, _, piece in found)
    assert found[1][0] == "a/story.md#3"  # Behind the byte-order mark.
    listing = text_files.list_items(str(tmp_path), ReadOptions(piece_bytes=100))
    assert listing.notes == ["1 files that are not texts were left aside"]
    assert listing.labels == ()


def test_a_file_that_cant_be_opened_is_listed_to_be_rejected(tmp_path):
    write(tmp_path / "a.txt", "words\n")
    (tmp_path / "b.txt").symlink_to(tmp_path / "nowhere")
    items = text_files.list_items(str(tmp_path), ReadOptions()).items
    assert [(item.key, item.index) for item in items] == [("a.txt", None), ("b.txt", None)]
    with pytest.raises(OSError, match="No such file"):  # As of every raw file, a reject.
        text_files.read_item(str(tmp_path), items[1], ReadOptions())


def test_the_pieces_of_a_file_go_into_one_split(tmp_path):
    for index in range(20):
        write(tmp_path / f"{index}.txt", STORY)
    items = text_files.list_items(str(tmp_path), ReadOptions(piece_bytes=100)).items
    splits: dict[str, set] = {}
    for item in assign_splits(items, "train:0.5,test:0.5", "raw"):
        splits.setdefault(item.path, set()).add(item.split)
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} == {"train", "test"}


def test_folders_named_like_splits_are_the_splits(tmp_path):
    for path in ("train/a.txt", "validation/sub/b.txt", "c.txt"):
        write(tmp_path / path, "words\n")
    assert [(key, split) for key, split, _ in texts(tmp_path)] == [
        ("train/a.txt", "train"), ("validation/sub/b.txt", "val"),
    ]  # fmt: skip
    notes = text_files.list_items(str(tmp_path), ReadOptions()).notes
    assert notes == ["1 texts outside the split folders were left aside, such as c.txt"]


def test_a_folder_without_texts_is_named(tmp_path):
    write(tmp_path / "a.png", b"x")
    with pytest.raises(InputError, match=r"no text files \(.*\.md .*\) among 1 files"):
        texts(tmp_path)


def test_records_of_text_are_made_and_verified(tmp_path):
    for index in range(8):
        write(tmp_path / f"raw/{index}.txt", STORY if index else STORY[:90])
    write(tmp_path / "raw/latin.txt", "caf\u00e9 ".encode("latin-1") * 100)
    write(tmp_path / "raw/empty.txt", b"")
    output = tmp_path / "records"
    flags = ["--dataset=text_files", f"--input={tmp_path / 'raw'}", f"--output={output}"]
    flags += ["--piece_bytes=128", "--splits=train:0.7,test:0.3", "--max_reject_fraction=0.1"]
    info = run.run(flags)
    assert info.rejects == {"not-utf8": 1, "empty-file": 1}
    assert (info.labels, set(info.features)) == ((), {"text", "key"})
    assert info.statistics["train"]["bytes"]["max"] <= 128
    assert verify.main([str(output)]) == 0


ROWS = {  # Header, row and expected record of each task, as the files have them.
    "cola": (None, "gj04\t1\t\tBirds sing.", ("acceptable", "Birds sing.")),
    "sst2": ("sentence\tlabel", "a fine film \t1", ("positive", "a fine film ")),
    "mrpc": (
        "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
        '0\t70\t79\tHe said "no.\tShe left.',
        ("not_equivalent", 'He said "no.\tShe left.'),
    ),
    "qqp": (
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "133\t13\t14\tWhy?\tHow?\t1",
        ("duplicate", "Why?\tHow?"),
    ),
    "mnli": (
        "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse\t"
        "sentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
        "0\t31\t31n\tfiction\t( A )\t( B )\t(R A)\t(R B)\tA.\tB.\tneutral\tcontradiction",
        ("contradiction", "A.\tB."),
    ),
    "qnli": (
        "index\tquestion\tsentence\tlabel",
        "0\tWho?\tShe.\tnot_entailment",
        ("not_entailment", "Who?\tShe."),
    ),
    "rte": (
        "index\tsentence1\tsentence2\tlabel", "0\tA.\tB.\tentailment", ("entailment", "A.\tB."),
    ),
    "wnli": ("index\tsentence1\tsentence2\tlabel", "0\tA.\tB.\t1", ("entailment", "A.\tB.")),
}  # fmt: skip


def write_task(root, task: str, header: str | None, rows: list[str], ending: str = "\n") -> None:
    for name in ("train.tsv", *glue.LAYOUTS[task].dev):
        lines = [header, *rows] if header else rows
        write(root / name, ending.join(lines) + ending)


@pytest.mark.parametrize("task", ROWS)
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_task_is_read_from_its_columns(tmp_path, task, ending):
    header, row, (label, text) = ROWS[task]
    write_task(tmp_path, task, header, [row], ending)
    write(tmp_path / "test.tsv", "index\tsentence\n0\tx\n")
    options = ReadOptions(glue_task=task)
    listing = glue.list_items(str(tmp_path), options)
    assert [item.split for item in listing.items] == ["train", *glue.LAYOUTS[task].dev.values()]
    assert listing.labels == tuple(glue.LAYOUTS[task].labels.values())
    for item in listing.items:
        assert item.label == label
        assert glue.read_item(str(tmp_path), item, options) == {"text": text.encode()}
    assert listing.notes[0].startswith("1 files other than train.tsv")


def test_every_task_has_an_option_or_a_dataset():
    assert {*ROWS, "stsb"} == set(glue.LAYOUTS)


def test_stsb_has_scores(tmp_path):
    header = (
        "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore"
    )
    rows = [f"{i}\tmain\tMSR\t2012\t1\tnone\tnone\tA{i}.\tB.\t{i}.250" for i in range(6)]
    write_task(tmp_path, "stsb", header, rows)
    dataset, options = DATASETS["glue_stsb"], ReadOptions()
    listing = dataset.list_items(str(tmp_path), options)
    assert listing.labels == ()
    read = dataset.read_item(str(tmp_path), listing.items[2], options)
    assert read == {"text": b"A2.\tB.", "score": np.float32(2.25)}
    with pytest.raises(Rejected, match=r"train.tsv#7 has score '5.250', 0 to 5 are"):
        dataset.read_item(str(tmp_path), listing.items[5], options)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("only one column", "odd-row"),
        ("a\t1\textra", "odd-row"),
        ("a film\t2", "strange-label"),
        ("a film\t", "strange-label"),
        ("  \t1", "no-words"),
        (b"caf\xe9\t1", "not-utf8"),
    ],
)
def test_a_row_that_is_no_good_is_rejected_with_its_line(tmp_path, row, reason):
    row = row.encode() if isinstance(row, str) else row
    write(tmp_path / "train.tsv", b"sentence\tlabel\ngood\t0\n" + row + b"\nlast\t1")
    write(tmp_path / "dev.tsv", "sentence\tlabel\ngood\t1\n")
    items = glue.list_items(str(tmp_path), ReadOptions()).items
    with pytest.raises(Rejected, match=r"train.tsv#3") as caught:
        glue.read_item(str(tmp_path), items[1], ReadOptions())
    assert caught.value.reason == reason
    assert glue.read_item(str(tmp_path), items[2], ReadOptions()) == {"text": b"last"}


@pytest.mark.parametrize(
    ("task", "files", "message"),
    [
        ("sst2", {}, "no train.tsv and no dev.tsv; name the folder of SST2's files"),
        ("mnli", {"train.tsv": "x"}, "no dev_matched.tsv and no dev_mismatched.tsv"),
        ("rte", {"train.tsv": "sentence\tlabel\nx\t1\n", "dev.tsv": ""},
         "train.tsv has no column 'sentence1' and no 'sentence2', as RTE has; are these another"),
        ("sst2", {"train.tsv": "sentence\tlabel\n", "dev.tsv": ""}, "train.tsv has no rows"),
    ],
)  # fmt: skip
def test_files_of_another_task_are_named(tmp_path, task, files, message):
    for name, content in files.items():
        write(tmp_path / name, content)
    with pytest.raises(InputError, match=message):
        glue.list_items(str(tmp_path), ReadOptions(glue_task=task))


def test_records_of_a_task_are_made_and_verified(tmp_path):
    import tensorflow as tf

    header, row, _ = ROWS["rte"]
    rows = [row, row.replace("entailment", "not_entailment"), "0\tA.\tB.\tperhaps"]
    write_task(tmp_path / "raw", "rte", header, rows)
    output = tmp_path / "records"
    flags = ["--dataset=glue", f"--input={tmp_path / 'raw'}", f"--output={output}"]
    info = run.run([*flags, "--glue_task=rte", "--max_reject_fraction=0.5"])
    assert info.rejects == {"strange-label": 2}
    assert info.labels == ("entailment", "not_entailment")
    assert info.properties == {"glue_task": "rte"}
    assert verify.main([str(output)]) == 0
    files = [str(output / shard.name) for shard in info.split("val").shards]
    records = list(tf.data.TFRecordDataset(files).map(parser(info.features)))
    assert sorted(int(record["label"]) for record in records) == [0, 1]
    assert records[0]["text"].numpy() == b"A.\tB."
