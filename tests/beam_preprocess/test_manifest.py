"""Layouts of input folders, splits, classes, and the division into shards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_preprocess import manifest
from beam_preprocess.manifest import InputError, Item


def listing(*paths: str):
    return manifest.tree_items(paths, {".png"}, "images", "IN")


def items(count: int, labels: int = 3, split: str | None = None) -> list[Item]:
    return [
        Item(f"{n % labels}/{n}.png", f"{n % labels}/{n}.png", str(n % labels), split)
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("path", "label", "split"),
    [
        ("train/cat/1.png", "cat", "train"),
        ("Training/cat/1.PNG", "cat", "train"),
        ("cat/validation/1.png", "cat", "val"),
        ("cat/1.png", "cat", None),
    ],
)
def test_layouts(path, label, split):
    assert listing(path).items == [Item(path, path, label, split)]


def test_a_class_may_be_called_train():
    assert [(i.label, i.split) for i in listing("bus/1.png", "train/1.png").items] == [
        ("bus", None),
        ("train", None),
    ]
    by_class = listing("bus/train/1.png", "train/test/1.png", "train/train/2.png")
    assert [(i.label, i.split) for i in by_class.items] == [
        ("bus", "train"),
        ("train", "test"),
        ("train", "train"),
    ]
    by_split = listing("train/bus/1.png", "train/train/1.png", "test/train/1.png")
    assert [(i.label, i.split) for i in by_split.items] == [
        ("bus", "train"),
        ("train", "train"),
        ("train", "test"),
    ]


def test_files_left_aside_are_counted():
    found = listing("train/cat/1.png", "train/cat/readme.txt", "others/dog/1.png")
    assert [item.key for item in found.items] == ["train/cat/1.png"]
    assert found.notes == [
        "1 files that are not images were left aside",
        "1 images outside the split folders were left aside, such as others/dog/1.png",
    ]


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ([], r"no images \(\.png\) in class folders; found: no files"),
        (["a.txt"], "found: 1 files such as a.txt"),
        (
            ["1.png", "2.png"],
            "neither SPLIT/CLASS/FILE nor .* files such as 1.png, 2.png; name the folder above",
        ),
        (["data/train/cat/1.png"], "neither SPLIT/CLASS/FILE"),
        (["train/cat/1.png", "val/1.png"], "val/1.png lies in no class folder; expected val/CLASS"),
        (["train/a/b/1.png"], "train/a/b/1.png is nested too deep"),
    ],
)
def test_other_layouts_are_refused_with_what_was_found(paths, message):
    with pytest.raises(InputError, match=message) as caught:
        listing(*paths)
    assert "--input=IN" in str(caught.value)


def test_listing_skips_hidden_files_and_survives_link_cycles(tmp_path):
    for name in ("a/1.png", ".git/2.png", "a/.DS_Store", "__MACOSX/a/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    files = manifest.list_files(str(tmp_path))
    assert "a/1.png" in files
    assert "linked/1.png" in files
    assert not [path for path in files if "DS_Store" in path or "MACOSX" in path or ".git" in path]
    with pytest.raises(InputError, match="no such folder"):
        manifest.list_files(str(tmp_path / "missing"))


def test_the_folder_that_holds_all_is_found(tmp_path):
    assert manifest.only_folder(str(tmp_path / "missing")) is None
    assert manifest.only_folder(str(tmp_path)) is None
    for name in ("inner/a/1.png", "inner/2.png", ".hidden/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    assert manifest.only_folder(str(tmp_path)) == str(tmp_path / "inner")
    assert manifest.only_folder(str(tmp_path / "inner")) is None


def test_who_names_a_split_s_folder_is_told_of_the_one_above():
    with pytest.raises(InputError, match="--splits=train:0.9,val:0.1; or name the folder above"):
        manifest.assign_splits(items(9), None, "IN/train/", example="train:0.9,val:0.1")
    with pytest.raises(InputError, match="--splits=train:0.8,test:0.2$"):
        manifest.assign_splits(items(9), None, "IN")


def test_splits_by_hash_come_near_their_fractions_and_stay():
    drawn = manifest.assign_splits(items(3000), "train:0.7,val:0.1,test:0.2", "IN")
    counts = {name: sum(i.split == name for i in drawn) for name in ("train", "val", "test")}
    assert abs(counts["train"] - 2100) < 100
    assert abs(counts["val"] - 300) < 60
    assert abs(counts["test"] - 600) < 80
    # More files, another order of files and of the flag: no item changes its split.
    more = manifest.assign_splits(items(4000)[::-1], "test:0.2,train:0.7,val:0.1", "IN")
    assert {i.key: i.split for i in drawn}.items() <= {i.key: i.split for i in more}.items()


def test_a_group_stays_together():
    given_items = [
        Item(f"{scene}/{n}", f"{scene}/{n}", group=str(scene)) for scene in range(300) for n in "ab"
    ]
    drawn = manifest.assign_splits(given_items, "train:0.7,test:0.3", "IN")
    assert all(a.split == b.split for a, b in zip(drawn[::2], drawn[1::2], strict=True))
    assert 150 < sum(item.split == "train" for item in drawn[::2]) < 270
    # A single scene is training, whatever its draw.
    for scene in range(9):
        alone = manifest.assign_splits(given_items[2 * scene :][:2], "train:1", "IN")
        assert [item.split for item in alone] == ["train", "train"]


NAMES = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)


@given(st.sets(NAMES, max_size=30))
def test_no_class_misses_training_however_small(names):
    large = [Item(f"large/{n}", f"large/{n}", "large") for n in range(20)]
    single = [Item(name, name, name) for name in sorted(names)]
    drawn = manifest.assign_splits([*large, *single], "train:0.3,test:0.7", "IN")
    assert {i.label for i in drawn} == {i.label for i in drawn if i.split == "train"}
    assert sum(i.split == "test" for i in drawn) > 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train:0.8", "add up to 0.8"),
        ("train:0.8,test:0.3", "add up to 1.1"),
        ("train:0.8,tset:0.2", "'tset:0.2' is not NAME:FRACTION"),
        ("train:0.5,train:0.5", "'train:0.5' is not NAME:FRACTION"),
        ("train:nan,test:0.2", "'train:nan' is not"),
        ("train=0.8,test=0.2", "'train=0.8' is not"),
        ("val:0.5,test:0.5", "must be a train split"),
        ("", "is not NAME:FRACTION"),
    ],
)
def test_bad_splits_are_refused(text, message):
    with pytest.raises(InputError, match=message):
        manifest.parse_splits(text)


@pytest.mark.parametrize(
    ("given_items", "splits", "message"),
    [
        (items(9), None, r"has no splits; divide it with, for example, --splits=train:0.8"),
        (items(9, split="train"), "train:0.8,test:0.2", r"has its own splits \(train\); leave"),
        (items(9, split="test"), None, "no items for the split 'train'; add it"),
        (
            [*items(9, split="train"), Item("test/emu/1", "test/emu/1", "emu", "test")],
            None,
            r"class 'emu' is in test \(test/emu/1\) but not in train",
        ),
        ([*items(9, split="train"), Item("x", "x", "0")], None, "x belongs to no split"),
    ],
)
def test_split_mistakes_name_the_remedy(given_items, splits, message):
    with pytest.raises(InputError, match=message):
        manifest.assign_splits(given_items, splits, "IN")


def test_a_class_may_be_unseen_where_that_is_said_and_then_must_be():
    seen, unseen = Item("a", "a", "cat", "train"), Item("b", "b", "owl", "test")
    with pytest.raises(InputError, match="class 'owl' is in test .* but not in train"):
        manifest.assign_splits([seen, unseen], None, "IN")
    given_items = [seen, unseen]
    assert manifest.assign_splits(given_items, None, "IN", frozenset({"owl"})) == given_items
    with pytest.raises(InputError, match="class 'cat' must not be seen in training, and a is of"):
        manifest.assign_splits(given_items, None, "IN", frozenset({"cat", "owl"}))


def test_classes_are_the_sorted_labels_of_training():
    found = [Item("a", "a", "n02", "train"), Item("b", "b", "n01", "train")]
    assert manifest.class_names([*found, Item("c", "c", "n01", "test")]) == ("n01", "n02")


@given(count=st.integers(1, 200), shards=st.integers(1, 40))
def test_shards_are_balanced_complete_and_not_empty(count, shards):
    given_items = items(count, split="train")
    parts = manifest.plan_shards(given_items, shards)["train"]
    assert len(parts) == min(count, shards)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sorted(i.key for part in parts for i in part) == sorted(i.key for i in given_items)
    assert manifest.plan_shards(given_items[::-1], shards)["train"] == parts


def test_shards_mix_classes():
    parts = manifest.plan_shards(items(600, labels=2, split="train"), 4)["train"]
    for part in parts:
        assert 45 < sum(item.label == "0" for item in part) < 105  # Of 150; 5 deviations.


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (100, 8), (50_000, 20), (9_999, 8)])
def test_default_number_of_shards_follows_the_size(count, expected):
    assert len(manifest.plan_shards(items(count, split="train"), None)["train"]) == expected


def test_training_comes_first_in_the_plan():
    mixed = [*items(3, split="test"), *items(3, split="train"), *items(3, split="val")]
    assert list(manifest.plan_shards(mixed, 1)) == ["train", "test", "val"]


@given(st.text(), st.none() | st.integers(0, 10**9))
def test_work_lists_return_any_file_name(name, index):
    item = Item(name, name, "b", "test", index)
    data = manifest.encode_items([item], ("a", "b"))
    assert data.count(b"\n") == 1
    assert list(manifest.decode_items(data, ("a", "b"), "test")) == [(item, 1)]


def test_seeds_differ_by_key_and_seed():
    seeds = {manifest.item_seed(seed, key) for seed in (0, 1) for key in ("a", "b", "ab")}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**64 for seed in seeds)


@pytest.mark.parametrize(
    ("split", "said"),
    [("train", "a.wav is listed twice; remove"), ("test", "twice, in train and test; remove one")],
)
def test_an_item_that_is_listed_twice_is_named(split, said):
    items = [Item("a.wav", "a.wav", "x", "train"), Item("a.wav", "a.wav", "x", split)]
    with pytest.raises(InputError, match=said):
        manifest.assign_splits(items, None, "raw")


@pytest.mark.parametrize("label", ["a\nb", "a\rb", "a\udcff"])
def test_a_class_whose_name_fits_no_list_of_names_is_named(label):
    with pytest.raises(InputError, match="the name of class 'a.*' is no line of UTF-8"):
        manifest.assign_splits([Item("1.png", "1.png", label, "train")], None, "IN")
