"""Checkpoints: whole or not used, newest first, never a silent start from nothing."""

from __future__ import annotations

import pytest
import tensorflow as tf

from pipelines.records import DatasetInfo
from tf_perceiver.training.checkpoint import (
    Checkpoints,
    Restored,
    init_from,
    manifests,
    newest_valid,
    weights_of,
)


class Model(tf.Module):
    def __init__(self, value: float) -> None:
        super().__init__()
        self.weight = tf.Variable([value] * 100, name="weight")

    def named_weights(self) -> dict[str, tf.Variable]:
        return {"enc.weight": self.weight}


def make(directory, value=0.0, keep=3):
    model, step = Model(value), tf.Variable(0, dtype=tf.int64)
    objects = {"weights": weights_of(model), "global_step": step}
    return Checkpoints(directory, objects, keep=keep), model, step


def save(directory, *steps):
    checkpoints, model, step = make(directory)
    for number in steps:
        model.weight.assign([float(number)] * 100)
        step.assign(number)
        checkpoints.save(number)
    return checkpoints


def data_file(directory, step):
    return directory / f"ckpt-{step:09d}.data-00000-of-00001"


def test_the_newest_is_restored(tmp_path):
    save(tmp_path, 10, 20)
    checkpoints, model, step = make(tmp_path)
    assert checkpoints.restore() == 20
    assert float(model.weight[0]) == 20.0
    assert int(step) == 20


def test_only_the_newest_are_kept(tmp_path):
    save(tmp_path, 10, 20, 30, 40)
    assert [manifest.step for manifest in manifests(tmp_path)] == [40, 30, 20]
    assert not list(tmp_path.glob("ckpt-000000010*"))


@pytest.mark.parametrize("damage", ["cut", "flip", "missing"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage):
    save(tmp_path, 10, 20)
    file = data_file(tmp_path, 20)
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:-5])
    elif damage == "flip":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
    checkpoints, model, _ = make(tmp_path)
    assert checkpoints.restore() == 10
    assert float(model.weight[0]) == 10.0


def test_a_save_that_was_killed_before_its_manifest_is_not_a_checkpoint(tmp_path):
    save(tmp_path, 10, 20)
    (tmp_path / "ckpt-000000020.json").unlink()
    assert newest_valid(tmp_path).step == 10


def test_what_a_killed_save_left_goes_with_the_next(tmp_path):
    save(tmp_path, 10)
    kept = {file.name for file in tmp_path.iterdir()}
    (tmp_path / "ckpt-000000015_temp").mkdir()
    (tmp_path / "ckpt-000000015_temp" / "part-00000-of-00001.index").write_bytes(b"half")
    (tmp_path / "ckpt-000000017.index").write_bytes(b"half")
    (tmp_path / "ckpt-000000018.json.tmp").write_bytes(b"half")
    save(tmp_path, 20)
    left = {file.name for file in tmp_path.iterdir() if "000000020" not in file.name}
    assert left == kept


def test_a_save_that_fails_is_one_line_and_leaves_nothing(tmp_path):
    checkpoints = save(tmp_path, 10)
    before = {file.name for file in tmp_path.iterdir()}
    (tmp_path / "ckpt-000000020_temp").touch()  # A file where TensorFlow makes a folder.
    with pytest.raises(OSError, match="step 20 can't be saved in .*: make space and") as error:
        checkpoints.save(20)
    assert "\n" not in str(error.value)
    assert {file.name for file in tmp_path.iterdir()} == before
    assert newest_valid(tmp_path).step == 10
    checkpoints.save(20)
    assert newest_valid(tmp_path).step == 20


def test_damage_everywhere_is_an_error_and_not_step_0(tmp_path):
    save(tmp_path, 10)
    data_file(tmp_path, 10).write_bytes(b"")
    checkpoints, _, _ = make(tmp_path)
    with pytest.raises(ValueError, match="none is whole .*step 10.*has 0 bytes"):
        checkpoints.restore()


def test_an_empty_folder_has_none(tmp_path):
    assert make(tmp_path)[0].restore() is None
    assert make(tmp_path / "absent")[0].restore() is None


def test_init_from_takes_the_weights_alone(tmp_path):
    save(tmp_path / "checkpoints", 30)
    model = Model(0.0)
    assert init_from(tmp_path, model) == []
    assert float(model.weight[0]) == 30.0


class Renamed(Model):
    def named_weights(self) -> dict[str, tf.Variable]:
        return {"enc.other": self.weight}


def test_another_models_weights_are_refused_in_one_line(tmp_path):
    save(tmp_path / "checkpoints", 30)
    with pytest.raises(ValueError, match=r"fit this model \(enc.other: none of that name .*same"):
        init_from(tmp_path, Renamed(0.0))
    other = Checkpoints(tmp_path / "checkpoints", {"weights": weights_of(Renamed(0.0))})
    with pytest.raises(ValueError, match="doesn't hold this run's state .*another version"):
        other.restore()


class Whole(tf.Module):
    """An encoder's variable, one of a cross-attention, and a decoder's of some width."""

    def __init__(self, value: float, width: int, length: int = 3) -> None:
        super().__init__()
        self.named = {
            "enc.cross.0.kernel": tf.Variable(tf.fill([length], value)),
            "dec.cross.kernel": tf.Variable(tf.fill([2], value)),
            "dec.query.table": tf.Variable(tf.fill([width, 2], value)),
        }

    def named_weights(self) -> dict[str, tf.Variable]:
        return self.named


def test_of_a_decoder_what_fits_is_taken(tmp_path):
    source = Whole(7.0, width=5)
    source.named["post.text.bias"] = tf.Variable([7.0])
    Checkpoints(tmp_path / "checkpoints", {"weights": weights_of(source)}).save(1)
    model = Whole(0.0, width=1)
    model.named["dec.out.kernel"] = tf.Variable([0.5])
    assert init_from(tmp_path, model) == ["dec.out.kernel", "dec.query.table"]
    values = {name: set(variable.numpy().ravel()) for name, variable in model.named.items()}
    assert values == {
        "enc.cross.0.kernel": {7.0}, "dec.cross.kernel": {7.0}, "dec.query.table": {0.0},
        "dec.out.kernel": {0.5},
    }  # fmt: skip


def test_before_the_decoder_everything_must_fit(tmp_path):
    source = Whole(7.0, width=5)
    source.named["enc.self.0.kernel"] = tf.Variable([7.0])
    Checkpoints(tmp_path / "checkpoints", {"weights": weights_of(source)}).save(1)
    with pytest.raises(ValueError, match=r"enc.self.0.kernel: \[1\] there, none of that name here"):
        init_from(tmp_path, Whole(0.0, width=5))
    model = Whole(0.0, width=5, length=4)
    model.named["enc.self.0.kernel"] = tf.Variable([0.0])
    with pytest.raises(ValueError, match=r"enc.cross.0.kernel: \[3\] there, \[4\] here.*trunk"):
        init_from(tmp_path, model)
    assert set(model.named["dec.cross.kernel"].numpy()) == {0.0}


def test_init_from_names_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match="has no checkpoint"):
        init_from(tmp_path, Model(0.0))


def test_an_older_one_can_be_asked_for(tmp_path):
    save(tmp_path, 10, 20, 30)
    checkpoints, model, _ = make(tmp_path)
    assert checkpoints.restore(up_to=29) == 20
    assert float(model.weight[0]) == 20.0
    assert checkpoints.restore(up_to=9) is None
    checkpoints.delete(lambda step: step > 10)
    assert [manifest.step for manifest in manifests(tmp_path)] == [10]
    assert not list(tmp_path.glob("ckpt-000000020*"))


def test_averages_go_before_the_weights_that_they_are_of(tmp_path):
    source = Whole(7.0, width=5)
    averages = {"dec.cross.kernel": tf.Variable([3.0, 3.0])}
    objects = {"weights": weights_of(source), "averages": averages}
    Checkpoints(tmp_path / "checkpoints", objects).save(1)
    model = Whole(0.0, width=5)
    assert init_from(tmp_path, model) == []
    values = {name: set(variable.numpy().ravel()) for name, variable in model.named.items()}
    assert values == {
        "enc.cross.0.kernel": {7.0}, "dec.cross.kernel": {3.0}, "dec.query.table": {7.0},
    }  # fmt: skip


def described(labels=("no", "yes"), totals=0.0, **properties):
    statistics = {"train": {"totals": [totals]}, "test": {"totals": [totals + 1]}}
    return DatasetInfo("toy", {}, labels, {}, statistics=statistics, properties=properties)


def test_other_records_are_normalised_as_those_that_were_trained_on(tmp_path):
    trained = Restored(None, described(totals=5.0, layout="a", seed=1), None, None, 7, "nowhere")
    described(totals=8.0, layout="a", seed=2).write(tmp_path)
    info, directory = trained.open_records(str(tmp_path))
    assert directory == str(tmp_path)
    assert info.statistics == {"train": {"totals": [5.0]}, "test": {"totals": [9.0]}}
    assert info.properties == {"layout": "a", "seed": 2}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (described(("no", "maybe")), "has 2 labels, the model was trained on 2 others"),
        (described(layout="b"), "has other layout .* than the 'toy' that the model was trained on"),
        (described(layout="a", groups={"g": ["A"]}), "has other groups .of its properties"),
    ],
)
def test_records_of_another_meaning_are_refused(tmp_path, other, message):
    other.write(tmp_path)
    with pytest.raises(ValueError, match=message):
        Restored(None, described(layout="a"), None, None, 7, "").open_records(str(tmp_path))
