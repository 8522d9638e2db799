"""The flow's metrics equal NumPy's over everything; tiles cover any size and blend as published."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.records import DatasetInfo
from tf_perceiver import tasks

INFO = DatasetInfo("pairs", {}, (), {})
TASK = tasks.build({"name": "flow", "tile": (8, 12), "overlap": 2}, INFO)


def pixels(seed: int, batches: int, size: int = 3):
    """Outputs and batches whose errors lie around every threshold, with ties, padding and gaps."""
    random = np.random.default_rng(seed)
    for _ in range(batches):
        shape = (size, 5, 7, 2)
        true = (random.integers(-40, 40, shape) * random.choice([0.25, 1, 4])).astype(np.float32)
        step = random.integers(-6, 7, shape) * random.choice([0.5, 1.0])
        found = (true + step * (random.random(shape[:-1] + (1,)) < 0.8)).astype(np.float32)
        found += (random.random(shape) < 0.5) * random.normal(0, 1, shape).astype(np.float32)
        valid = (random.random(shape[:-1]) < 0.7).astype(np.float32)
        valid[0] *= random.random() < 0.5  # Now and then an example has no valid pixel at all.
        weight = np.ones(size, np.float32)
        weight[size - random.integers(0, 2) :] = 0
        yield found, {"flow": true, "valid": valid, "weight": weight}


def by_numpy(parts) -> dict[str, float]:
    """Everything at once, in float64, by the formulas of the KITTI devkit and of RAFT."""
    found, true, kept = [], [], []
    for outputs, batch in parts:
        found.append(outputs.reshape(-1, 2).astype(np.float64))
        true.append(batch["flow"].reshape(-1, 2).astype(np.float64))
        kept.append((batch["valid"] * batch["weight"][:, None, None]).reshape(-1) > 0)
    kept = np.concatenate(kept)
    found, true = np.concatenate(found)[kept], np.concatenate(true)[kept]
    error, motion = np.linalg.norm(found - true, axis=1), np.linalg.norm(true, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = error / motion
    return {
        "epe": error.mean(),
        "zero_epe": motion.mean(),
        "within_1px": (error < 1).mean(),
        "within_3px": (error < 3).mean(),
        "within_5px": (error < 5).mean(),
        "fl_all": ((error > 3) & (relative > 0.05)).mean(),
    }


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_metrics_over_batches_are_those_over_all_pixels(seed, batches):
    parts = list(pixels(seed, batches))
    metrics = TASK.metrics()
    for outputs, batch in parts:
        TASK.update_metrics(metrics, outputs, batch, TASK.loss(outputs, batch, False))
    for name, expected in by_numpy(parts).items():
        assert float(metrics[name].result()) == pytest.approx(expected, rel=1e-9, abs=1e-12), name


def test_an_error_of_just_three_pixels_is_no_outlier():
    true = np.zeros((1, 1, 4, 2), np.float32)
    found = np.zeros((1, 1, 4, 2), np.float32)
    true[0, 0, :, 0] = (0, 100, 50, 2)
    found[0, 0, :, 0] = (3, 104, 54, 5.5)  # 3; 4 of 100: 4 %; 4 of 50: 8 %; 3.5 of 2.
    metrics = TASK.metrics()
    batch = {"flow": true, "valid": np.ones((1, 1, 4), np.float32)}
    TASK.update_metrics(metrics, found, batch, TASK.loss(found, batch, True))
    assert float(metrics["fl_all"].result()) == 0.5
    assert float(metrics["within_3px"].result()) == 0.0
    assert float(metrics["within_5px"].result()) == 1.0


def test_the_loss_is_the_mean_of_an_examples_valid_pixels():
    ((outputs, batch),) = pixels(4, 1)
    batch["valid"][0] = 0
    batch["valid"][1, 2, 3:] = 1
    losses = TASK.loss(outputs, batch, True).numpy()
    error = np.linalg.norm(outputs - batch["flow"], axis=-1)
    assert losses[0] == 0
    for i in (1, 2):
        expected = error[i][batch["valid"][i] > 0].mean()
        assert losses[i] == pytest.approx(expected, rel=1e-5)


def test_hubers_loss_squares_what_is_near():
    """Up to 4 pixels e^2 / 8, then e - 2; its slope is e / 4, then 1."""
    task = tasks.build({"name": "flow", "tile": (8, 12), "overlap": 2, "huber": 4.0}, INFO)
    found = tf.Variable(np.zeros((1, 1, 5, 2), np.float32))
    found[0, 0, :, 0].assign([0.0, 1.0, 4.0, 7.0, 1000.0])
    valid = np.array([[[1, 1, 1, 1, 0]]], np.float32)
    batch = {"flow": np.zeros((1, 1, 5, 2), np.float32), "valid": valid}
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(task.loss(found, batch, True))
    assert float(loss) == pytest.approx((0 + 1 / 8 + 2 + 5) / 4)
    expected = np.array([0, 0.25, 1, 1, 0]) / 4
    np.testing.assert_allclose(tape.gradient(loss, found)[0, 0, :, 0], expected, atol=1e-7)


@pytest.mark.parametrize("huber", [-1.0, float("inf"), float("nan")])
def test_a_huber_that_is_no_distance_is_refused(huber):
    with pytest.raises(ValueError, match=f"config.task.huber={huber} must be pixels"):
        tasks.build({"name": "flow", "huber": huber}, INFO)


def test_a_perfect_answer_has_a_gradient():
    found = tf.Variable(np.zeros((1, 2, 2, 2), np.float32))
    batch = {"flow": np.zeros((1, 2, 2, 2), np.float32), "valid": np.ones((1, 2, 2), np.float32)}
    batch["flow"][0, 0, 0] = (3, -4)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(TASK.loss(found, batch, True))
    gradient = tape.gradient(loss, found).numpy()
    assert float(loss) == pytest.approx(5 / 4)
    expected = np.zeros((1, 2, 2, 2))
    expected[0, 0, 0] = (-0.15, 0.2)
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def model_config():
    return {
        "inputs": {
            "kind": "frame_pair", "project": 8,
            "positions": {"bands": 2, "max_resolution": (8, 12)},
        },
        "trunk": {
            "num_latents": 4, "latent_channels": 8, "cross_attends": 1, "self_attends_per_block": 1,
            "cross_heads": 1, "self_heads": 2, "sharing": "all", "arrangement": "interleaved",
        },
        "decoder": {"kind": "flow", "divisor": 1.0},
    }  # fmt: skip


@pytest.fixture(scope="module")
def model():
    made = TASK.build_model(model_config())
    rng = np.random.default_rng(0)
    for variable in made.variables:  # The decoder starts at zero: it would answer nothing else.
        variable.assign_add(0.2 * rng.normal(size=variable.shape).astype(np.float32))
    return made


def frames(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).uniform(-1, 1, (2, 2, height, width, 3)).astype(np.float32)


def blended(model, image: np.ndarray) -> np.ndarray:
    """Tiles of 8 x 12 that overlap by 2, put together by loops."""
    height, width = image.shape[2:4]
    total, weights = np.zeros((2, height, width, 2)), np.zeros((height, width, 1))
    for top in sorted({min(y, height - 8) for y in range(0, max(height - 2, 1), 6)}):
        for left in sorted({min(x, width - 12) for x in range(0, max(width - 2, 1), 10)}):
            flow = model({"image": image[:, :, top : top + 8, left : left + 12]}).numpy()
            for y in range(8):
                for x in range(12):
                    weight = min(y + 1, 8 - y, x + 1, 12 - x)
                    total[:, top + y, left + x] += weight * flow[:, y, x]
                    weights[top + y, left + x] += weight
    return total / weights


@pytest.mark.parametrize("size", [(8, 12), (8, 13), (14, 22), (15, 40), (9, 12), (20, 31)])
def test_larger_frames_are_put_together_from_tiles(model, size):
    image = frames(*size)
    flow = model({"image": image}).numpy()
    assert flow.shape == (2, *size, 2)
    np.testing.assert_allclose(flow, blended(model, image), atol=1e-5)
    assert np.ptp(flow) > 0.1


def test_any_size_goes_through_one_graph(model):
    call = tf.function(
        lambda image: model({"image": image}),
        input_signature=[tf.TensorSpec([None, 2, None, None, 3])],
    )
    for size in ((8, 12), (15, 31), (5, 20), (3, 3)):
        image = frames(*size)
        padded = np.pad(
            image,
            [(0, 0), (0, 0), (0, max(0, 8 - size[0])), (0, max(0, 12 - size[1])), (0, 0)],
            "edge",
        )
        expected = blended(model, padded)[:, : size[0], : size[1]]
        np.testing.assert_allclose(call(image), expected, rtol=1e-4, atol=3e-5)


def test_what_doesnt_fit_is_named(model):
    with pytest.raises(ValueError, match=r"size=\(9, 12\) and config.task.tile=\(8, 12\)"):
        model({"image": frames(9, 12)}, training=True)
    with pytest.raises(ValueError, match="decoder.kind='average': the task flow needs 'flow'"):
        TASK.build_model({**model_config(), "decoder": {"kind": "average"}})
    wrong = tasks.build({"name": "flow", "tile": (8, 12), "overlap": 8}, INFO)
    with pytest.raises(ValueError, match="overlap=8 must be from 0 to less"):
        wrong.build_model(model_config())
