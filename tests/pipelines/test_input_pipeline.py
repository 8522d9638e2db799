"""The stream as a function of (seed, salt, step): resume, order, hosts, padding, and its errors."""

from __future__ import annotations

import dataclasses
import io
import os
import tempfile

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict
from PIL import Image

from pipelines import input_pipeline, records

FEATURES = {
    "image": records.Feature("bytes"),
    "label": records.Feature("int64"),
    "key": records.Feature("bytes"),
}
LABELS = ("ant", "bee", "cat")
SIDE = 6
MIXED = ("no", "one way", "both ways")


def _picture(number: int) -> np.ndarray:
    """A picture of one colour that names the record: (number // 200, number % 200, 90)."""
    return np.full((SIDE, SIDE, 3), (number // 200, number % 200, 90), np.uint8)


def _write(directory: str, splits: dict[str, list[int]]) -> records.DatasetInfo:
    """Writes a dataset; `splits` has each split's records by shard. Records count from 0."""
    written, number = {}, 0
    for split, counts in splits.items():
        shards = []
        for index, count in enumerate(counts):
            name = records.shard_name("toy", split, index, len(counts))
            path = os.path.join(directory, name)
            with tf.io.TFRecordWriter(path) as writer:
                for _ in range(count):
                    file = io.BytesIO()
                    Image.fromarray(_picture(number)).save(file, "PNG")
                    example = {
                        "image": file.getvalue(),
                        "label": number % len(LABELS),
                        "key": b"%d" % number,
                    }
                    writer.write(records.encode(example, FEATURES))
                    number += 1
            shards.append(records.Shard(name, count, os.path.getsize(path), ""))
        written[split] = records.Split(split, tuple(shards))
    return records.DatasetInfo("toy", FEATURES, LABELS, written)


def _config(**fields) -> ConfigDict:
    """A config that leaves pictures as they are, values 0 to 255."""
    data = {
        "modality": "image",
        "train_split": "train",
        "eval_split": "test",
        "batch_size": 4,
        "eval_batch_size": 4,
        "shuffle_buffer": 16,
        "image": {
            "size": (SIDE, SIDE),
            "channels": 3,
            "train_crop": "none",
            "pad": 2,
            "crop_area": (0.08, 1.0),
            "rotate_degrees": 0.0,
            "flip": False,
            "randaugment_layers": 0,
            "randaugment_magnitude": 5,
            "eval_crop": 1.0,
            "mean": (0.0, 0.0, 0.0),
            "std": (1 / 255, 1 / 255, 1 / 255),
        },
        "mixing": {"mixup_alpha": 0.0, "cutmix": False, "both_ways": False},
    }
    config = ConfigDict(data)
    config.update(fields)
    return config


def _augmented(mixed: str) -> ConfigDict:
    """Every augmentation but RandAugment; `mixed` is one of `MIXED`."""
    config = _config()
    config.image.train_crop = "pad"
    config.image.flip = True
    config.image.rotate_degrees = 20.0
    if mixed != "no":
        config.mixing.update(mixup_alpha=0.2, cutmix=True, both_ways=mixed == "both ways")
    return config


def _numbers(images: np.ndarray) -> list[int]:
    """The records that un-augmented pictures came from."""
    return [int(200 * pixel[0] + pixel[1]) for pixel in np.rint(images[:, 0, 0])]


def _collect(stream: tf.data.Dataset, batches: int | None = None) -> dict[str, np.ndarray]:
    """All fields of the first batches, concatenated."""
    taken = list(stream.take(-1 if batches is None else batches).as_numpy_iterator())
    return {name: np.concatenate([batch[name] for batch in taken]) for name in taken[0]}


def _assert_same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """30 training records in 3 shards, 11 test records in 4, of which one is empty."""
    directory = str(tmp_path_factory.mktemp("toy"))
    return _write(directory, {"train": [13, 8, 9], "test": [3, 0, 5, 3]}), directory


def test_every_example_comes_once_an_epoch_in_an_order_of_its_own(toy):
    stream = input_pipeline.train_stream(*toy, _config(), seed=1, replica_batch=4)

    collected = _collect(stream, 30)  # 120 examples: four epochs, batches straddle them

    numbers = _numbers(collected["image"])
    epochs = [numbers[start : start + 30] for start in range(0, 120, 30)]
    assert all(sorted(epoch) == list(range(30)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    labels = [number % 3 for number in numbers]
    np.testing.assert_array_equal(collected["label"], np.eye(3, dtype=np.float32)[labels])
    expected = [_picture(number) for number in numbers]
    np.testing.assert_array_equal(collected["image"], np.stack(expected))


def test_the_order_is_pinned(toy):
    """A change of it would break the exact resume of every run that started before the change."""
    stream = input_pipeline.train_stream(*toy, _config(), seed=1, replica_batch=10)
    assert _numbers(_collect(stream, 1)["image"]) == [1, 4, 2, 23, 5, 15, 3, 21, 26, 18]


@settings(max_examples=8, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=4).filter(sum),
    seed=st.integers(0, 2**63),
    salt=st.integers(0, 3),
    replica_batch=st.integers(1, 7),
    replicas=st.integers(1, 3),
    start=st.integers(1, 12),
    buffer=st.sampled_from([1, 3, 100]),
    mixed=st.sampled_from(MIXED),
)
def test_a_stream_resumes_to_the_bit_at_any_step(
    counts, seed, salt, replica_batch, replicas, start, buffer, mixed
):
    config = _augmented(mixed)
    config.shuffle_buffer = buffer
    with tempfile.TemporaryDirectory() as directory:
        info = _write(directory, {"train": counts})

        def stream(start_step: int) -> tf.data.Dataset:
            return input_pipeline.train_stream(
                info,
                directory,
                config,
                seed=seed,
                salt=salt,
                start_step=start_step,
                replica_batch=replica_batch,
                replicas=replicas,
            )

        whole = _collect(stream(0), (start + 3) * replicas)
        resumed = _collect(stream(start), 3 * replicas)

    skipped = start * replicas * replica_batch
    _assert_same(resumed, {name: field[skipped:] for name, field in whole.items()})


@pytest.mark.parametrize("mixed", MIXED)
def test_the_division_into_replicas_and_batches_changes_nothing(toy, mixed):
    streams = [
        _collect(
            input_pipeline.train_stream(
                *toy,
                _augmented(mixed),
                seed=3,
                start_step=2,
                replica_batch=12 // replicas,
                replicas=replicas,
            ),
            3 * replicas,
        )
        for replicas in (1, 3)
    ]
    _assert_same(streams[0], streams[1])


@pytest.mark.parametrize(("threads", "mixed"), [(1, "one way"), (7, "one way"), (7, "both ways")])
def test_threads_and_the_global_seed_change_nothing(toy, threads, mixed):
    def stream() -> tf.data.Dataset:
        return input_pipeline.train_stream(*toy, _augmented(mixed), seed=3, replica_batch=5)

    reference = _collect(stream(), 20)
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    options.threading.max_intra_op_parallelism = threads
    tf.random.set_seed(threads)
    try:
        _assert_same(_collect(stream().with_options(options), 20), reference)
    finally:
        tf.random.set_seed(0)


@pytest.mark.parametrize("changed", [{"seed": 4}, {"salt": 1}])
def test_seed_and_salt_change_order_and_augmentation(toy, changed):
    def stream(config: ConfigDict, **given) -> dict[str, np.ndarray]:
        arguments = {"seed": 3, "salt": 0, **given}
        return _collect(input_pipeline.train_stream(*toy, config, replica_batch=30, **arguments), 1)

    first, second = stream(_config()), stream(_config(), **changed)
    assert _numbers(first["image"]) != _numbers(second["image"])
    one = _write_one(toy)
    config = _augmented("no")
    pictures = [
        _collect(
            input_pipeline.train_stream(
                *one, config, replica_batch=8, **{"seed": 3, "salt": 0, **given}
            ),
            1,
        )["image"]
        for given in ({}, changed)
    ]
    assert not np.array_equal(pictures[0], pictures[1])
    assert len({picture.tobytes() for picture in pictures[0]}) > 4  # nor the same each time


def _write_one(toy) -> tuple[records.DatasetInfo, str]:
    """A dataset of a single record, in a folder beside the toy's shards."""
    directory = os.path.join(toy[1], "one")
    os.makedirs(directory, exist_ok=True)
    return _write(directory, {"train": [1]}), directory


@pytest.mark.parametrize("both_ways", [False, True])
def test_mixing_takes_pairs_of_records_and_alternates_by_position(toy, both_ways):
    config = _config()
    plain = _numbers(
        _collect(input_pipeline.train_stream(*toy, config, seed=5, replica_batch=30), 2)["image"]
    )
    config.mixing.update(mixup_alpha=0.2, cutmix=True, both_ways=both_ways)

    mixed = _collect(input_pipeline.train_stream(*toy, config, seed=5, replica_batch=30), 1)

    ratios = []
    for position in range(30):
        # Both ways, a record has one example: itself, mixed with the other of its pair.
        places = (position, position ^ 1) if both_ways else (2 * position, 2 * position + 1)
        first, second = (_picture(plain[place]).astype(np.float64) for place in places)
        labels = np.eye(3)[[plain[place] % 3 for place in places]]
        picture = mixed["image"][position]
        if position % 2:  # CutMix: every pixel is one of the two
            from_second = np.isclose(picture, second).all(axis=-1)
            np.testing.assert_allclose(picture, np.where(from_second[..., None], second, first))
            ratio = 1 - from_second.mean()
        else:  # MixUp: every pixel is the same blend
            span = second - first
            axis = np.abs(span[0, 0]).argmax()
            ratio = 1 - (picture - first)[0, 0, axis] / span[0, 0, axis]
            np.testing.assert_allclose(picture, ratio * first + (1 - ratio) * second, atol=1e-3)
        np.testing.assert_allclose(
            mixed["label"][position], ratio * labels[0] + (1 - ratio) * labels[1], atol=1e-4
        )
        ratios.append(ratio)
    assert len(set(ratios[0::2])) > 10  # each drawn anew; CutMix's are areas of 36 pixels
    assert len(set(ratios[1::2])) > 4


def test_the_two_examples_of_a_pair_have_ratios_of_their_own(toy):
    config = _config(shuffle_buffer=1)
    config.mixing.update(mixup_alpha=1.0, both_ways=True)

    mixed = _collect(input_pipeline.train_stream(*toy, config, seed=5, replica_batch=30), 10)

    # The second channel tells the record.
    one = input_pipeline.train_stream(*toy, _config(shuffle_buffer=1), seed=5, replica_batch=30)
    numbers = np.array(_numbers(_collect(one, 10)["image"]), np.float64).reshape(-1, 2)
    blends = mixed["image"][:, 0, 0, 1].astype(np.float64).reshape(-1, 2)
    span = numbers[:, 0] - numbers[:, 1]
    ratios = np.stack([blends[:, 0] - numbers[:, 1], numbers[:, 0] - blends[:, 1]]) / span
    assert ((ratios > -1e-4) & (ratios < 1 + 1e-4)).all()
    # Each record is the larger part of its own example: uniform in [0.5, 1] (alpha = 1), and
    # independent: 150 pairs correlate by 0.08 at random, and the seeds are fixed.
    assert ratios.min() > 0.5 - 1e-4
    assert abs(ratios.mean() - 0.75) < 0.04
    assert abs(np.corrcoef(ratios)[0, 1]) < 0.25


def test_a_stream_can_start_inside_a_pair(toy):
    """Step 3 of 5 examples begins at example 15, the second of the pair (14, 15)."""
    config = _augmented("both ways")
    streams = [
        input_pipeline.train_stream(*toy, config, seed=3, start_step=step, replica_batch=5)
        for step in (0, 3)
    ]
    whole, resumed = _collect(streams[0], 16), _collect(streams[1], 13)
    _assert_same(resumed, {name: field[15:] for name, field in whole.items()})


def test_hosts_read_different_shards_and_augment_differently(toy):
    info, directory = toy
    seen = []
    for host in range(3):
        count = info.split("train").shards[host].records
        assert input_pipeline.records_per_host(info, "train", host, 3) == count
        stream = input_pipeline.train_stream(
            info, directory, _config(), seed=1, replica_batch=count, host=host, hosts=3
        )
        seen.append(_numbers(_collect(stream, 1)["image"]))
    assert [sorted(numbers) for numbers in seen] == [
        list(range(13)), list(range(13, 21)), list(range(21, 30)),
    ]  # fmt: skip

    twice = os.path.join(directory, "twice")
    os.makedirs(twice, exist_ok=True)
    info = _write(twice, {"train": [1, 1]})
    pictures = [
        _collect(
            input_pipeline.train_stream(
                info, twice, _augmented("no"), seed=1, replica_batch=1, host=host, hosts=2
            ),
            6,
        )["image"]
        for host in range(2)
    ]
    masks = [(picture[..., 2] > 0).tobytes() for picture in np.concatenate(pictures)]
    assert len(set(masks[:6]) - set(masks[6:])) > 2


@pytest.mark.parametrize(
    ("hosts", "replicas", "replica_batch"),
    [(1, 1, 4), (1, 1, 11), (1, 3, 2), (2, 1, 3), (2, 2, 2), (4, 2, 1), (4, 1, 64)],
)
def test_evaluation_counts_each_example_once(toy, hosts, replicas, replica_batch):
    info, directory = toy
    expected = input_pipeline.eval_batches(
        info, "test", replica_batch=replica_batch, replicas=replicas, hosts=hosts
    )
    assert expected % replicas == 0
    seen = []
    for host in range(hosts):
        stream = input_pipeline.eval_stream(
            info,
            directory,
            _config(),
            split="test",
            replica_batch=replica_batch,
            replicas=replicas,
            host=host,
            hosts=hosts,
        )
        batches = list(stream.as_numpy_iterator())
        assert len(batches) == expected
        collected = _collect(stream)
        real = collected["weight"] == 1
        np.testing.assert_array_equal(collected["weight"][~real], 0)
        np.testing.assert_array_equal(collected["image"][~real], 0)
        numbers = _numbers(collected["image"][real])
        np.testing.assert_array_equal(
            collected["label"][real], np.eye(3)[[number % 3 for number in numbers]]
        )
        seen += numbers
    assert sorted(seen) == list(range(30, 41))
    assert expected * replica_batch * hosts < 11 + hosts * (5 + 3 + replica_batch * replicas)


def test_evaluation_keeps_the_order_of_the_shards(toy):
    stream = input_pipeline.eval_stream(*toy, _config(), split="test", replica_batch=4)
    collected = _collect(stream)
    assert _numbers(collected["image"][:11]) == list(range(30, 41))
    np.testing.assert_array_equal(collected["weight"], [1.0] * 11 + [0.0])


@pytest.mark.parametrize("mixed", MIXED)
def test_shapes_are_static(toy, mixed):
    train = input_pipeline.train_stream(*toy, _augmented(mixed), seed=1, replica_batch=5)
    evaluation = input_pipeline.eval_stream(*toy, _config(), split="test", replica_batch=5)
    spec = {
        "image": tf.TensorSpec([5, SIDE, SIDE, 3], tf.float32),
        "label": tf.TensorSpec([5, 3], tf.float32),
    }
    assert train.element_spec == spec
    assert evaluation.element_spec == {**spec, "weight": tf.TensorSpec([5], tf.float32)}


def test_point_clouds_stream_and_resume(tmp_path):
    features = {
        "points": records.Feature("float32", (None, 3)),
        "label": records.Feature("int64"),
        "key": records.Feature("bytes"),
    }
    name = records.shard_name("clouds", "train", 0, 1)
    generator = np.random.default_rng(0)
    with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
        for number in range(7):
            cloud = generator.normal(size=(5 + 10 * number, 3)).astype(np.float32)
            example = {"points": cloud, "label": number % 3, "key": b"%d" % number}
            writer.write(records.encode(example, features))
    shard = records.Shard(name, 7, (tmp_path / name).stat().st_size, "")
    info = records.DatasetInfo(
        "clouds", features, LABELS, {"train": records.Split("train", (shard,))}
    )
    data = ConfigDict(
        {
            "modality": "points",
            "train_split": "train",
            "shuffle_buffer": 4,
            "points": {"num_points": 20, "scale": (0.9, 1.1), "rotate": True, "translate": 0.1},
        }
    )

    def stream(start: int) -> tf.data.Dataset:
        return input_pipeline.train_stream(
            info, str(tmp_path), data, seed=1, start_step=start, replica_batch=3
        )

    whole, resumed = _collect(stream(0), 8), _collect(stream(5), 3)
    _assert_same(resumed, {key: field[15:] for key, field in whole.items()})
    assert whole["points"].shape == (24, 20, 3)
    evaluation = _collect(
        input_pipeline.eval_stream(info, str(tmp_path), data, split="train", replica_batch=4)
    )
    np.testing.assert_array_equal(evaluation["weight"], [1] * 7 + [0])
    np.testing.assert_allclose(np.abs(evaluation["points"][:7]).max(axis=(1, 2)), 1)


def _train(info, directory, **changes):
    arguments = {"data": _config(), "seed": 1, "replica_batch": 2, **changes}
    return input_pipeline.train_stream(info, directory, arguments.pop("data"), **arguments)


def test_a_missing_split_names_those_there_are(toy):
    with pytest.raises(ValueError, match="no split 'training'; it has test, train"):
        _train(*toy, data=_config(train_split="training"))


def test_an_empty_split_is_an_error(tmp_path):
    info = _write(str(tmp_path), {"train": [0, 0]})
    with pytest.raises(ValueError, match="split 'train' of .* is empty"):
        _train(info, str(tmp_path))


def test_fewer_shards_than_hosts_is_an_error(toy):
    with pytest.raises(ValueError, match="has 3 shards for 5 hosts: .*--shards=5"):
        _train(*toy, host=4, hosts=5)


def test_a_host_without_records_can_evaluate_but_not_train(toy):
    with pytest.raises(ValueError, match="no record for host 1 of 4"):
        _train(*toy, data=_config(train_split="test"), host=1, hosts=4)


def test_missing_and_cut_shards_are_found_before_anything_is_read(tmp_path):
    info = _write(str(tmp_path), {"train": [4, 4]})
    path = tmp_path / info.split("train").shards[1].name
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(
        ValueError, match=rf"{path} has {len(content) - 5} bytes instead of {len(content)}"
    ):
        _train(info, str(tmp_path))
    path.unlink()
    with pytest.raises(ValueError, match=f"{path} is missing: copy it again"):
        _train(info, str(tmp_path))


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (
            {"points": records.Feature("float32", (None, 3)), "label": records.Feature("int64")},
            r"image needs the feature 'image' \(bytes \(\)\), .* has none of that name",
        ),
        (
            {"image": records.Feature("float32", (8, 8)), "label": records.Feature("int64")},
            r"image needs the feature 'image' \(bytes \(\)\), dataset 'toy' has float32 \(8, 8\)",
        ),
    ],
)
def test_records_of_another_schema_are_an_error(toy, features, message):
    info = dataclasses.replace(toy[0], features=features, fingerprint="")
    with pytest.raises(ValueError, match="records of another schema: " + message):
        _train(info, toy[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": _config(modality="smell")}, "modality='smell' is unknown: choose audio or"),
        ({"data": _config(shuffle_buffer=0)}, "shuffle_buffer=0 must be at least 1"),
        ({"seed": -1}, "seed=-1, salt=0 and start=0 can't be negative"),
        ({"host": 2, "hosts": 2}, r"host=2 must lie in \[0, hosts=2\)"),
    ],
)
def test_bad_arguments_are_errors(toy, changes, message):
    with pytest.raises(ValueError, match=message):
        _train(*toy, **changes)


def test_mixing_of_points_is_an_error(toy):
    data = ConfigDict(
        {
            "modality": "points",
            "points": {"num_points": 20, "scale": (1.0, 1.0), "rotate": False, "translate": 0.0},
            "mixing": {"mixup_alpha": 0.0, "cutmix": True},
        }
    )
    with pytest.raises(ValueError, match="mix images, not points; set mixup_alpha=0"):
        _train(*toy, data=data)
