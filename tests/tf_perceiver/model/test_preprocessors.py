"""Byte arrays of pictures and points, value by value."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
import tiny_models

from tf_perceiver.model import preprocessors
from tf_perceiver.model.positions import Fourier

POSITIONS = {"bands": 2, "max_resolution": (4, 4)}


def test_pixels_come_row_by_row_with_their_positions_behind():
    image = np.arange(2 * 3 * 4 * 3, dtype=np.float32).reshape(2, 3, 4, 3)
    inputs = preprocessors.build({"kind": "pixels", "positions": POSITIONS})({"image": image})
    dense = inputs.dense().numpy()
    assert inputs.grid == (3, 4)
    assert inputs.length == 12
    assert dense.shape == (2, 12, inputs.channels) == (2, 12, 13)
    np.testing.assert_array_equal(dense[1, 5, :3], image[1, 1, 1])
    np.testing.assert_allclose(dense[0, 5, 3:], Fourier(2, (4, 4)).grid((3, 4))[5], atol=1e-6)


def test_patches_are_flattened_row_column_channel():
    image = np.arange(4 * 6 * 3, dtype=np.float32).reshape(1, 4, 6, 3)
    cut = preprocessors.build({"kind": "patches", "patch": 2, "positions": POSITIONS})
    inputs = cut({"image": image})
    assert inputs.grid == (2, 3)
    assert cut.channels == inputs.channels == 12 + 10
    np.testing.assert_array_equal(inputs.segments[0].content[0, 4], image[0, 2:4, 2:4].ravel())


def test_points_are_their_own_positions():
    points = np.random.default_rng(0).uniform(-1, 1, (2, 7, 3)).astype(np.float32)
    config = {"kind": "points", "positions": {"bands": 2, "max_resolution": (4, 4, 4)}}
    inputs = preprocessors.build(config)({"points": points})
    assert inputs.grid is None
    assert inputs.segments[0].content is None
    np.testing.assert_array_equal(inputs.dense()[..., :3], points)
    sines = np.sin(np.pi * points[..., :1] * [1, 2])
    np.testing.assert_allclose(inputs.dense()[..., 3:5], sines, atol=1e-6)


def values(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_strides_skip_pixels_and_frames():
    video = values(2, 4, 6, 8, 3)
    config = {"kind": "pixels", "stride": 2, "frame_stride": 3}
    positions = {"bands": 1, "max_resolution": (2, 3, 4)}
    inputs = preprocessors.build({**config, "positions": positions})({"image": video})
    assert inputs.grid == (2, 3, 4)
    expected = video[:, ::3, ::2, ::2].reshape(2, 24, 3)
    np.testing.assert_array_equal(inputs.segments[0].content, expected)


def test_conv1x1_is_a_linear_of_each_pixel():
    image = values(2, 3, 4, 3)
    layer = preprocessors.build(
        {"kind": "conv1x1", "outputs": 5, "stride": 1, "positions": POSITIONS}
    )
    assert layer.kernel.shape == (1, 1, 3, 5)
    expected = image.reshape(2, 12, 3) @ layer.kernel[0, 0].numpy()
    np.testing.assert_allclose(
        layer({"image": image}).segments[0].content, expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(("side", "grid"), [(32, 8), (17, 5), (15, 4), (3, 1)])
def test_the_stem_pads_as_same(side, grid):
    stem = preprocessors.build(
        {"kind": "conv", "outputs": 2, "positions": {"bands": 1, "max_resolution": (8, 8)}}
    )
    assert stem({"image": values(1, side, side, 3)}).grid == (grid, grid)


def test_the_stem_trains_on_the_batchs_statistics_and_remembers_them():
    stem = preprocessors.build({"kind": "conv", "outputs": 2, "positions": POSITIONS})
    image = values(2, 8, 8, 3)
    convolved = tf.nn.conv2d(image, stem.kernels[0], 2, "SAME").numpy()
    mean, variance = convolved.mean((0, 1, 2)), convolved.var((0, 1, 2))
    in_evaluation = stem({"image": image}).dense()
    in_training = stem({"image": image}, training=True).segments[0].content.numpy()
    assert np.max(np.abs(in_training - in_evaluation[..., :2])) > 0.01
    norm = stem.norms[0]
    np.testing.assert_allclose(norm.moving_mean.numpy().ravel(), 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(norm.moving_var.numpy().ravel(), 0.9 + 0.1 * variance, rtol=1e-5)
    normalised = np.maximum((convolved - mean) / np.sqrt(variance + 1e-5), 0)
    np.testing.assert_allclose(in_training[0, 0], normalised[0, :3, :3].max((0, 1)), rtol=1e-4)


def test_a_sixteenfold_stem_has_two_layers():
    stem = preprocessors.build(
        {"kind": "conv", "outputs": 2, "downsample": 16, "positions": POSITIONS}
    )
    assert [v.name for v in stem.trainable_variables if "kernel" in v.name] == [
        *("pre.image.conv7x7.kernel:0", "pre.image.conv7x7_1.kernel:0")
    ]
    assert stem({"image": values(1, 64, 32, 3)}).grid == (4, 2)
    with pytest.raises(ValueError, match="downsample=8 is no power of 4"):
        preprocessors.build({"kind": "conv", "downsample": 8, "positions": POSITIONS})


def test_video_goes_through_the_stem_frame_by_frame():
    stem = preprocessors.build(
        {"kind": "conv", "outputs": 2, "positions": {"bands": 1, "max_resolution": (3, 2, 2)}}
    )
    video = values(2, 3, 8, 8, 3)
    content = stem({"image": video}).segments[0].content.numpy().reshape(2, 3, 4, 2)
    alone = stem.content({"image": video[:, 1]}, training=False)
    np.testing.assert_allclose(content[:, 1], alone.numpy().reshape(2, 4, 2), atol=1e-6)


def test_a_frame_pair_shows_each_pixel_its_neighbours_in_both_frames():
    layer = preprocessors.build(
        {"kind": "frame_pair", "project": 54, "positions": {"bands": 1, "max_resolution": (4, 5)}}
    )
    layer.projection.kernel.assign(np.eye(54, dtype=np.float32))
    frames = values(1, 2, 4, 5, 3)
    content = layer({"image": frames}).segments[0].content[0].numpy()
    np.testing.assert_allclose(content[6, :27], frames[0, 0, 0:3, 0:3].ravel(), atol=1e-6)
    np.testing.assert_allclose(content[6, 27:], frames[0, 1, 0:3, 0:3].ravel(), atol=1e-6)
    assert not content[0, :9].any()  # Beyond the upper border.
    with pytest.raises(ValueError, match="two frames are due"):
        layer({"image": values(1, 3, 4, 5, 3)})


def test_added_positions_need_the_contents_width():
    positions = {**POSITIONS, "project": 3}
    layer = preprocessors.build({"kind": "pixels", "positions": positions, "combine": "add"})
    image = values(2, 3, 4, 3)
    expected = image.reshape(2, 12, 3) + np.asarray(layer.positions.grid((3, 4)))
    np.testing.assert_allclose(layer({"image": image}).dense(), expected, atol=1e-6)
    with pytest.raises(ValueError, match="10 channels can't be added to content of 3"):
        preprocessors.build({"kind": "pixels", "positions": POSITIONS, "combine": "add"})


def test_sound_is_cut_into_patches():
    layer = preprocessors.build(
        {
            "kind": "waveform",
            "samples_per_patch": 4,
            "positions": {"bands": 1, "max_resolution": (8,)},
        }
    )
    audio = values(2, 12, 1)
    inputs = layer({"audio": audio})
    np.testing.assert_array_equal(inputs.segments[0].content, audio.reshape(2, 3, 4))
    np.testing.assert_array_equal(layer({"audio": audio[..., 0]}).dense(), inputs.dense())
    with pytest.raises(ValueError, match="13 samples can't be cut into patches of 4"):
        layer({"audio": values(2, 13)})


def test_text_is_embedded_and_placed():
    layer = preprocessors.build({"kind": "text", "vocabulary": 7, "length": 5, "width": 4})
    tokens, keep = np.array([[3, 6, 0]]), np.array([[True, True, False]])
    inputs = layer({"text": tokens, "text_mask": keep})
    expected = layer.embedding.numpy()[tokens] + layer.positions.table.numpy()[:3]
    np.testing.assert_allclose(inputs.dense(), expected, atol=1e-6)
    np.testing.assert_array_equal(inputs.mask, keep)
    with pytest.raises(ValueError, match="text has 6 tokens, the model was built for at most 5"):
        layer({"text": np.zeros((1, 6), np.int64)})


def multimodal(**further):
    sound = {
        "kind": "waveform",
        "samples_per_patch": 4,
        "positions": {"bands": 1, "max_resolution": (2,)},
    }
    modalities = {"label": {"kind": "one_hot", "classes": 5}, "audio": sound}
    return preprocessors.build({"kind": "multimodal", "modalities": modalities, **further})


def test_modalities_follow_in_the_order_of_their_names_each_with_its_padding():
    layer = multimodal(min_padding=2)
    batch = {"audio": values(2, 8), "label": np.eye(5, dtype=np.float32)[[1, 4]]}
    dense = layer(batch).dense().numpy()
    assert dense.shape == (2, 3, 9)  # Seven channels of sound and two of padding.
    np.testing.assert_array_equal(dense[:, :2, :4], batch["audio"].reshape(2, 2, 4))
    np.testing.assert_array_equal(dense[:, 2, :5], batch["label"])
    audio_pad, label_pad = (v.numpy()[0] for v in layer.pads)
    np.testing.assert_array_equal(dense[1, 1, 7:], audio_pad)
    np.testing.assert_array_equal(dense[1, 2, 5:], label_pad)


def test_mask_tokens_stand_in_for_what_the_batch_or_the_share_names():
    layer = multimodal(mask_probabilities={"audio": 0.0, "label": 1.0})
    batch = {"audio": values(2, 8), "label": np.eye(5, dtype=np.float32)[[1, 4]]}
    dense = layer({**batch, "audio_masked": [[True, False], [False, False]]}).dense().numpy()
    audio_token, label_token = (v.numpy()[0] for v in layer.tokens)
    np.testing.assert_array_equal(dense[0, 0], audio_token)
    np.testing.assert_array_equal(dense[0, 1, :4], batch["audio"][0, 4:])
    np.testing.assert_array_equal(dense[:, 2], [label_token] * 2)
    with pytest.raises(ValueError, match="the batch has no label_masked"):
        multimodal(mask_probabilities={"audio": 0.0, "label": 0.5})(batch)
    with pytest.raises(ValueError, match="the modalities are"):
        multimodal(mask_probabilities={"video": 0.0})


def test_a_mask_of_one_modality_leaves_the_others_readable():
    batch = {"audio": values(2, 8), "label": np.eye(5, dtype=np.float32)[[1, 4]]}
    mask = multimodal()({**batch, "audio_mask": np.array([[1, 0], [1, 1]])}).mask
    np.testing.assert_array_equal(mask, [[True, False, True], [True, True, True]])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"points": tf.zeros([1, 2, 3])}, r"the batch has \['points'\], the model reads 'image'"),
        ({"image": tf.zeros([1, 4, 4, 1])}, "image has 1 channels, the model was built for 3"),
        ({"image": tf.zeros([1, 5, 4, 3])}, "5x4 can't be cut into patches of 2x2"),
        ({"image": tf.zeros([4, 4, 3])}, "image has rank 3, 4 or 5 is needed"),
    ],
)
def test_wrong_batches_are_named(batch, message):
    pixels = preprocessors.build({"kind": "patches", "patch": 2, "positions": POSITIONS})
    with pytest.raises(ValueError, match=message):
        pixels(batch)


def test_unknown_kinds_are_named():
    with pytest.raises(ValueError, match="kind='voxels' is none of"):
        preprocessors.build({"kind": "voxels", "positions": POSITIONS})
    with pytest.raises(ValueError, match="of kind 'pixels': .*'patch'"):
        preprocessors.build({"kind": "pixels", "patch": 2, "positions": POSITIONS})
    with pytest.raises(ValueError, match="combine='append' is none of"):
        preprocessors.build({"kind": "pixels", "positions": POSITIONS, "combine": "append"})


STAYS = {"kind": "series", "variables": 3, "width": 2, "knots": 5, "limit": 2.0,
         "positions": {"bands": 2, "max_resolution": (4,)}}  # fmt: skip


def test_a_measurement_lies_between_two_knots_of_its_variable():
    built = preprocessors.build(STAYS)
    table = np.arange(30, dtype=np.float32).reshape(15, 2) ** 2
    built.embedding.assign(table)
    values = np.array([-9, -2, -1.5, 0, 0.25, 1.75, 2, 9], np.float32)
    times = np.linspace(-1, 1, 8, dtype=np.float32)
    batch = {
        "series": np.stack([times, values], 1)[None],
        "series_variable": np.array([[0, 0, 1, 1, 2, 2, 2, 2]], np.int32),
        "series_mask": np.array([[True] * 7 + [False]]),
    }
    inputs = built(batch)
    dense = inputs.dense().numpy()[0]
    expected = [
        table[0],
        table[0],
        (table[5] + table[6]) / 2,
        table[7],
        0.75 * table[12] + 0.25 * table[13],
        0.25 * table[13] + 0.75 * table[14],
        table[14],
        table[14],
    ]
    np.testing.assert_allclose(dense[:, :2], expected, rtol=1e-6)
    np.testing.assert_allclose(dense[:, 2:], Fourier(2, (4,)).encode(times[:, None]), atol=1e-6)
    np.testing.assert_array_equal(inputs.mask, batch["series_mask"])
    assert built.channels == dense.shape[1] == 2 + 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"knots": 1}, "knots=1, at least 2"),
        ({"positions": {"bands": 2, "max_resolution": (4, 4)}}, "time is one axis"),
        ({"positions": {"kind": "learned", "index_dims": (4,)}}, "times have no grid"),
    ],
)
def test_a_series_that_can_t_be_built(change, message):
    with pytest.raises(ValueError, match=message):
        preprocessors.build(STAYS | change)


def test_neither_padding_nor_the_order_of_measurements_changes_the_answer():
    model, batch = tiny_models.build("stays")
    expected = model(batch)
    count = 6  # Of the second series; its padding says anything now.
    changed = {name: value.copy() for name, value in batch.items()}
    changed["series"][1, count:] = 3.0
    changed["series_variable"][1, count:] = 2
    order = np.random.default_rng(1).permutation(9)
    for name in changed:
        changed[name] = changed[name][:, order]
    np.testing.assert_allclose(model(changed), expected, rtol=1e-5, atol=1e-6)
    changed["series"][1, order < count] += 1
    assert np.abs(model(changed)[1] - expected[1]).max() > 1e-3


def test_segments_tell_whether_weights_made_them():
    images = {"image": tf.zeros([1, 4, 4, 3])}
    table = {"kind": "learned", "index_dims": (4, 4), "channels": 4}

    def learned(**fields):
        (segment,) = preprocessors.build(fields)(images).segments
        return segment.learned

    assert not learned(kind="pixels", positions=POSITIONS)
    assert not learned(kind="patches", patch=2, positions=POSITIONS)
    assert learned(kind="patches", patch=2, project=5, positions=POSITIONS)
    assert learned(kind="pixels", positions=table)
