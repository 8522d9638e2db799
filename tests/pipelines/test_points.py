"""Point clouds: which points, in which cube, and that nothing but the seed decides."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from pipelines import points


def _prepare_train(raw, cfg, seed):
    return points.prepare_train({"points": raw}, cfg, seed)["points"]


def _prepare_eval(raw, cfg):
    return points.prepare_eval({"points": raw}, cfg)["points"]


def _config(**fields) -> ConfigDict:
    defaults = {"num_points": 16, "scale": (1.0, 1.0), "rotate": False, "translate": 0.0}
    return ConfigDict({**defaults, **fields})


def _cloud(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(count, 3)) * [3, 1, 0.5] + [10, -5, 2]).astype(np.float32)


def _normalised(cloud: np.ndarray) -> np.ndarray:
    centred = cloud.astype(np.float64) - cloud.astype(np.float64).mean(axis=0)
    return centred / np.abs(centred).max()


def _sorted_rows(array: np.ndarray) -> np.ndarray:
    return array[np.lexsort(array.T)]


def _seed(number: int) -> tf.Tensor:
    return tf.constant([17, number], tf.int64)


@pytest.mark.parametrize("prepare", ["train", "eval"])
def test_a_cloud_of_the_right_size_is_centred_in_the_unit_cube(prepare):
    cloud, cfg = _cloud(16), _config()

    if prepare == "train":
        prepared = _prepare_train(tf.constant(cloud), cfg, _seed(0)).numpy()
    else:
        prepared = _prepare_eval(tf.constant(cloud), cfg).numpy()

    np.testing.assert_allclose(_sorted_rows(prepared), _sorted_rows(_normalised(cloud)), atol=2e-6)
    np.testing.assert_allclose(prepared.mean(axis=0), 0, atol=1e-6)
    assert np.abs(prepared).max() == 1


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 60), num_points=st.integers(1, 40), number=st.integers(0, 2**62))
def test_subsets_hold_distinct_points_and_short_clouds_repeat_evenly(count, num_points, number):
    cloud = tf.reshape(tf.range(3.0 * count), [count, 3])  # the first coordinate names the point

    for seed in (_seed(number), tf.constant(points._EVAL_SEED, tf.int64)):
        chosen = points._subset(cloud, num_points, seed).numpy()[:, 0] / 3

        times = np.bincount(chosen.astype(int), minlength=count)
        assert times.sum() == num_points
        assert times.max() - times.min() <= 1


def test_every_point_is_equally_likely_in_training():
    cloud = tf.reshape(tf.range(3.0 * 30), [30, 3])

    subsets = tf.data.Dataset.range(2000).map(
        lambda number: points._subset(cloud, 10, tf.stack([3, number]))[:, 0] / 3
    )
    chosen = subsets.batch(2000).get_single_element()

    share = np.bincount(chosen.numpy().astype(int).ravel(), minlength=30) / 2000
    np.testing.assert_allclose(share, 1 / 3, atol=5 * np.sqrt(2 / 9 / 2000))


def test_evaluation_takes_the_same_points_each_time_and_not_the_first_ones():
    cloud, cfg = tf.constant(_cloud(200)), _config()

    once, again = _prepare_eval(cloud, cfg), _prepare_eval(cloud, cfg)

    np.testing.assert_array_equal(once, again)
    first = _prepare_eval(cloud[:16], cfg).numpy()
    assert not np.allclose(_sorted_rows(once.numpy()), _sorted_rows(first))


def test_scale_moves_each_point_along_its_ray_within_the_range():
    cloud = np.array([[1, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 3], [0, 0, -3]], "f4")
    cfg = _config(num_points=6, scale=(0.5, 0.75))
    factors = []
    for number in range(40):
        prepared = _prepare_train(tf.constant(cloud), cfg, _seed(number)).numpy()
        # Undo the normalisation: opposite points were p * f1 and -p * f2, so their difference is
        # p * (f1 + f2), whatever the mean; ratios of differences cancel the cube's factor.
        lengths = [np.abs(prepared[:, axis]).max() for axis in range(3)]
        spans = [np.ptp(prepared[:, axis]) for axis in range(3)]
        factors.append([spans[1] / spans[0] / 2, spans[2] / spans[0] / 3])
        assert max(lengths) == 1
        np.testing.assert_allclose(prepared.mean(axis=0), 0, atol=1e-6)  # centred after scaling
    factors = np.array(factors)
    assert factors.min() >= 0.5 / 0.75 - 1e-4
    assert factors.max() <= 0.75 / 0.5 + 1e-4
    assert factors.std() > 0.05


def test_rotation_keeps_the_up_axis_and_distances():
    cloud, cfg = _cloud(16), _config(rotate=True)
    plain = _prepare_eval(tf.constant(cloud), _config()).numpy()
    angles = []
    for number in range(30):
        turned = _prepare_train(tf.constant(cloud), cfg, _seed(number)).numpy()
        order, plain_order = np.argsort(turned[:, 2]), np.argsort(plain[:, 2])
        turned, ours = turned[order], plain[plain_order]
        scale = np.ptp(turned[:, 2]) / np.ptp(ours[:, 2])  # the cube may fit more or less tightly
        np.testing.assert_allclose(turned[:, 2], scale * ours[:, 2], atol=1e-5)
        radius = np.linalg.norm(turned[:, :2], axis=1)
        np.testing.assert_allclose(radius, scale * np.linalg.norm(ours[:, :2], axis=1), atol=1e-5)
        turn = (turned[:, 0] + 1j * turned[:, 1]) / (ours[:, 0] + 1j * ours[:, 1])
        np.testing.assert_allclose(turn, turn[0], atol=1e-3)
        angles.append(np.angle(turn[0]))
    quadrants = {int(angle // (np.pi / 2)) for angle in angles}
    assert quadrants == {-2, -1, 0, 1}


def test_translation_survives_the_normalisation_and_is_bounded():
    cloud, cfg = _cloud(16), _config(translate=0.2)
    shifts = np.stack(
        [
            _prepare_train(tf.constant(cloud), cfg, _seed(number)).numpy().mean(axis=0)
            for number in range(50)
        ]
    )
    assert np.abs(shifts).max() <= 0.2 + 1e-6
    assert shifts.min(axis=0).max() < -0.1
    assert shifts.max(axis=0).min() > 0.1


def test_training_is_a_function_of_the_seed_alone():
    cloud = tf.constant(_cloud(50))
    cfg = _config(scale=(0.9, 1.1), rotate=True, translate=0.1)
    tf.random.set_seed(1)
    first = _prepare_train(cloud, cfg, _seed(1))
    tf.random.set_seed(2)

    np.testing.assert_array_equal(_prepare_train(cloud, cfg, _seed(1)), first)
    assert not np.array_equal(_prepare_train(cloud, cfg, _seed(2)), first)


def test_serving_prepares_a_batch_of_any_size_and_clouds_of_any_length():
    cfg = _config()

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None, 3], ragged_rank=1)])
    def serve(clouds):
        return tf.map_fn(
            lambda cloud: _prepare_eval(cloud, cfg),
            clouds,
            fn_output_signature=tf.TensorSpec(points.shape(cfg), tf.float32),
        )

    clouds = [_cloud(count, seed=count) for count in (1, 5, 16, 300)]
    ragged = tf.RaggedTensor.from_row_lengths(np.concatenate(clouds), [len(c) for c in clouds])
    served = serve(ragged).numpy()

    for cloud, row in zip(clouds, served, strict=True):
        np.testing.assert_allclose(row, _prepare_eval(tf.constant(cloud), cfg), atol=1e-6)


def test_a_cloud_of_one_place_stays_at_the_origin():
    prepared = _prepare_eval(tf.fill([20, 3], 7.0), _config())
    np.testing.assert_array_equal(prepared, np.zeros((16, 3)))


def test_an_empty_cloud_is_an_error():
    with pytest.raises(tf.errors.InvalidArgumentError, match="a point cloud without points"):
        _prepare_eval(tf.zeros([0, 3]), _config())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_points": 0}, "num_points=0 must be at least 1"),
        ({"scale": (1.1, 0.9)}, r"scale=\(1.1, 0.9\) must be"),
        ({"translate": -0.1}, "translate=-0.1 can't be negative"),
    ],
)
def test_bad_config_is_an_error(fields, message):
    with pytest.raises(ValueError, match=message):
        points.check(_config(**fields))
