"""The structured cross-attention equals the plain one: outputs and every gradient, both ways."""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import pytest
import reference
import structured_cases as cases
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_perceiver.model import blocked_select, blocks, factors, operands, structured
from tf_perceiver.model.attention import CrossAttention
from tf_perceiver.model.byte_array import ByteArray, Segment
from tf_perceiver.model.positions import Fourier, FourierGrid


@pytest.fixture(autouse=True)
def policy():
    """Sets a precision policy for one test."""
    yield tf.keras.mixed_precision.set_global_policy
    tf.keras.mixed_precision.set_global_policy("float32")


def gradients_of(case, forward):
    """Output and {name: gradient} to queries, sources and weights; none may be None."""
    variables = {v.name: v for v in case.layer.trainable_variables}
    with tf.GradientTape() as tape:
        tape.watch([case.queries, *case.sources.values()])
        y = forward(case.queries, case.array(case.sources))
        weights = np.cos(np.arange(math.prod(y.shape))).reshape(y.shape)
        loss = tf.reduce_sum(y * tf.cast(weights, y.dtype))
    named = {"queries": case.queries, **case.sources, **variables}
    gradients = tape.gradient(loss, named)
    assert all(gradient is not None for gradient in gradients.values()), gradients
    return y, gradients


def as_numpy(y, gradients):
    return y.numpy(), {name: tf.convert_to_tensor(g).numpy() for name, g in gradients.items()}


def plain(case, dtype):
    def forward(queries, array):
        mask = None if array.mask is None else array.mask[:, None]
        return case.layer(queries, array.dense(dtype), mask)

    return as_numpy(*gradients_of(case, forward))


def structured_way(case, dtype, block_size, graph=True, jit_compile=None):
    def forward(queries, array):
        inputs = structured.Inputs.of(array, dtype)
        return structured.cross_attend(case.layer, queries, inputs, block_size)

    def run():
        return gradients_of(case, forward)

    return as_numpy(*(tf.function(run, jit_compile=jit_compile) if graph else run)())


def worst(ours, theirs):
    """The largest error of the output and of the gradients."""
    errors = [reference.relative_error(ours[0], theirs[0])]
    errors += reference.gradient_errors(ours[1], theirs[1]).values()
    return np.max(errors)  # NaN, where there is one.


@settings(max_examples=10)
@given(
    described=st.lists(cases.segments(), min_size=1, max_size=3),
    block_size=st.sampled_from([0, 8, 30, 100]),
    shape=st.fixed_dictionaries(
        {
            "batch": st.integers(1, 3),
            "latents": st.integers(1, 5),
            "heads": st.integers(1, 3),
            "masked": st.booleans(),
            "residual": st.booleans(),
            "seed": st.integers(0, 100),
        }
    ),
)
def test_every_kind_of_input_equals_plain_in_float64(described, block_size, shape):
    tf.keras.mixed_precision.set_global_policy("float64")
    case = cases.make(described, "float64", **shape)
    ours = structured_way(case, tf.float64, block_size)
    np.testing.assert_array_equal(ours[1]["c.attn.k.bias:0"], 0)
    assert worst(ours, plain(case, tf.float64)) < 1e-12


@pytest.mark.parametrize("content", [3, 130])
def test_what_no_weight_made_has_no_gradient_and_all_else_the_same(policy, content):
    policy("float64")
    described = [
        {"kind": "grid", "dims": (6, 10), "content": content, "token": False},
        {"kind": "table", "dims": (9,), "content": 140, "token": True},
    ]
    case = cases.make(described, "float64", latents=6, heads=2)

    def run(learned):
        variables = {v.name: v for v in case.layer.trainable_variables}
        named = {"queries": case.queries, **case.sources, **variables}
        with tf.GradientTape() as tape:
            tape.watch([case.queries, *case.sources.values()])
            array = case.array(case.sources)
            first, *others = array.segments
            first = dataclasses.replace(first, learned=learned)
            array = dataclasses.replace(array, segments=(first, *others))
            inputs = structured.Inputs.of(array, tf.float64)
            y = structured.cross_attend(case.layer, case.queries, inputs, 200)
            loss = tf.reduce_sum(tf.sin(y))
        return y, tape.gradient(loss, named)

    (y, gradients), (expected, slopes) = run(False), run(True)
    np.testing.assert_array_equal(y, expected)
    # It is padded with what is learned: through its statistics, this one has a gradient.
    assert np.any(gradients.pop("0.content") != slopes.pop("0.content"))
    assert max(reference.gradient_errors(gradients, slopes).values()) < 1e-12


def test_where_nothing_was_learned_or_padded_nothing_of_the_inputs_has_a_gradient():
    content = tf.zeros([2, 60, 3])
    grid = FourierGrid(Fourier(2, (6, 10)), (6, 10))
    walk = blocks.choose((6, 10), 60, 2)

    def differentiable(**fields):
        segment = factors.of_segment(Segment(content, grid, **fields), tf.float32)
        return set(operands.Operands(segment, walk, tf.float32).differentiable)

    assert differentiable(learned=False) == set()
    assert differentiable(learned=False, pad=tf.ones([1, 2])) == {"mean", "scale"}
    assert differentiable() == {"content", "mean", "scale"}


@pytest.mark.parametrize("farthest", [-1.0, blocked_select.FARTHEST])
def test_a_block_far_above_those_before_it_loses_nothing(farthest, monkeypatch):
    monkeypatch.setattr(blocked_select, "FARTHEST", farthest)
    described = [{"kind": "grid", "dims": (20, 6), "content": 3, "token": False}]
    case = cases.make(described, "float32", latents=6, heads=2, masked=True)
    for variable in case.layer.attn.q.trainable_variables:
        variable.assign(200 * variable)  # Logits of thousands: most exponentials are 0 or inf.
    ours = structured_way(case, tf.float32, 2 * 2 * 6 * 12)
    assert worst(ours, plain(case, tf.float32)) < 1e-3


def test_two_products_are_as_good_as_one(policy, monkeypatch):
    policy("float64")
    described = [
        {"kind": "grid", "dims": (6, 10), "content": 130, "token": True},
        {"kind": "grid", "dims": (6, 10), "content": 50, "token": False},
    ]
    case = cases.make(described, "float64", latents=6, heads=2, masked=True)
    expected = plain(case, tf.float64)
    ours = structured_way(case, tf.float64, 200)
    assert worst(ours, expected) < 1e-12
    monkeypatch.setattr(
        structured, "Operands", lambda *of, at_once: operands.Operands(*of, at_once=not at_once)
    )
    assert worst(structured_way(case, tf.float64, 200), expected) < 1e-12


MIXED = [
    {"kind": "grid", "dims": (4, 9, 8), "content": 60, "token": True},
    {"kind": "grid", "dims": (12, 10), "content": 3, "token": False},
    {"kind": "table", "dims": (40,), "content": 3, "token": False},
    {"kind": "points", "dims": (50,), "content": 1, "token": True},
    {"kind": "label", "dims": (1,), "content": 7, "token": False},
]


@pytest.mark.parametrize("graph", [False, True])
def test_mixed_segments_equal_plain_in_float32(graph):
    case = cases.make(MIXED, "float32", latents=6, heads=2, masked=True)
    ours = structured_way(case, tf.float32, 200, graph)
    assert worst(ours, plain(case, tf.float32)) < 1e-5


def test_xla_changes_nothing():
    case = cases.make(MIXED[1:3], "float32", latents=6)
    ours = structured_way(case, tf.float32, 200, jit_compile=True)
    assert worst(ours, plain(case, tf.float32)) < 1e-5


def test_bfloat16_is_no_further_from_the_truth_than_plain(policy):
    seeds = range(4)
    made = [cases.make(MIXED, "float32", latents=16, seed=seed) for seed in seeds]
    truths = [plain(case, tf.float32) for case in made]
    policy("mixed_bfloat16")
    errors = {"plain": [], "structured": []}
    for seed, (output, gradients) in zip(seeds, truths, strict=True):
        case = cases.make(MIXED, "float32", latents=16, seed=seed)
        case.queries = tf.cast(case.queries, tf.bfloat16)
        for path, run in (
            ("plain", lambda case: plain(case, tf.float32)),
            ("structured", lambda case: structured_way(case, tf.float32, 200, graph=False)),
        ):
            found = run(case)
            pairs = [(found[0], output)]
            pairs += [
                (found[1][name], true)
                for name, true in gradients.items()
                if not name.endswith("k.bias:0")
            ]
            off = [np.linalg.norm(np.float32(a) - b) / np.linalg.norm(b) for a, b in pairs]
            errors[path].append((off[0], np.mean(off[1:])))
    ours, theirs = (np.mean(errors[path], 0) for path in ("structured", "plain"))
    assert np.all(ours < 1.2 * theirs), errors


def test_nothing_of_inputs_times_latents_is_kept_for_the_backward_pass():
    case = cases.make([{"kind": "grid", "dims": (64, 64), "content": 3, "token": False}], "float32")
    sources = {**case.sources, "queries": case.queries}

    def largest(forward):
        """Elements of the largest tensor between loops; what is in a loop ends with its turn."""

        @tf.function
        def run(sources):
            with tf.GradientTape() as tape:
                tape.watch(sources)
                y = forward(sources["queries"], case.array(sources))
            return tape.gradient(y, sources)

        operations = run.get_concrete_function(sources).graph.get_operations()
        outputs = [output for operation in operations for output in operation.outputs]
        return max(output.shape.num_elements() or 0 for output in outputs if output.shape.rank)

    def by_blocks(queries, array):
        inputs = structured.Inputs.of(array, tf.float32)
        return structured.cross_attend(case.layer, queries, inputs, 2000)

    pairs = 2 * 40 * 64 * 64  # Of 2 examples and 40 latents.
    sources["queries"] = tf.tile(case.queries, [1, 10, 1])
    assert largest(by_blocks) < pairs / 4
    assert largest(lambda q, array: case.layer(q, array.dense(tf.float32))) >= pairs


QUERIES = [
    {"kind": "grid", "dims": (5, 6), "content": 3, "token": False},
    {"kind": "grid", "dims": (2, 3, 4), "content": 60, "token": False},
    {"kind": "grid", "dims": (13,), "content": 2, "token": False},
    {"kind": "table", "dims": (20,), "content": 3, "token": False},
]


@pytest.mark.parametrize(("heads", "chunk"), [(1, 10), (2, 0)])
@pytest.mark.parametrize("described", QUERIES, ids=lambda d: f"{d['kind']}{len(d['dims'])}")
def test_structured_queries_equal_plain_in_float64(described, heads, chunk, policy):
    policy("float64")
    case = cases.make([described], "float64", latents=7, heads=1)
    queries = case.array(case.sources).segments[0]
    layer = CrossAttention(
        "d",
        queries.channels,
        6,
        heads=heads,
        qk_channels=4 * heads,
        v_channels=40 * heads,
        query_residual=False,
    )
    rng = np.random.default_rng(1)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape) * 0.5)
    case.layer = layer

    def forward(latents, array):
        return layer(array.dense(tf.float64), latents)

    def ours(latents, array):
        parts = factors.of_segment(array.segments[0], tf.float64)
        return structured.answers(
            layer, parts, latents, lambda x: layer.finish(None, x), chunk=chunk, block_size=60
        )

    expected = as_numpy(*gradients_of(case, forward))
    found = as_numpy(*tf.function(lambda: gradients_of(case, ours))())
    np.testing.assert_array_equal(found[1]["d.attn.k.bias:0"], 0)
    assert worst(found, expected) < 1e-12


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("heads", [1, 2])
def test_few_queries_equal_plain_in_float64(heads, residual, policy):
    policy("float64")
    layer = CrossAttention(
        "d", 6, 10, heads=heads, qk_channels=4 * heads, v_channels=8, query_residual=residual
    )
    rng = np.random.default_rng(heads)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape) * 0.5)
    queries, latents = (tf.constant(rng.normal(size=(2, n, c))) for n, c in ((3, 6), (7, 10)))
    asked = tf.constant([[[True], [False], [True]], [[False]] * 3])

    def of(attend, mask):
        def run():
            with tf.GradientTape() as tape:
                tape.watch([queries, latents])
                y = attend(queries, latents, mask)
                loss = tf.reduce_sum(y * np.cos(np.arange(36.0)).reshape(2, 3, 6))
            named = {v.name: v for v in layer.trainable_variables}
            return y, tape.gradient(loss, {"queries": queries, "latents": latents, **named})

        return as_numpy(*tf.function(run)())

    for mask in (None, asked):
        found = of(functools.partial(structured.few_attend, layer), mask)
        assert worst(found, of(layer, mask)) < 1e-12
        np.testing.assert_array_equal(found[1]["d.attn.k.bias:0"], 0)


def test_a_query_alone_is_no_further_from_the_truth_in_bfloat16(policy):
    draw = np.random.default_rng(0)
    queries, latents = draw.normal(size=(2, 1, 64)), draw.normal(size=(2, 96, 64))

    def of(path):
        layer = CrossAttention("d", 64, 64, query_residual=False)
        for seed, variable in enumerate(layer.trainable_variables):
            noise = np.random.default_rng(seed).normal(size=variable.shape)
            variable.assign(noise / 8 if variable.shape.rank == 2 else 1 + noise / 4)
        attend = layer if path == "plain" else functools.partial(structured.few_attend, layer)
        q, z = (tf.Variable(x, dtype=layer.compute_dtype) for x in (queries, latents))
        with tf.GradientTape() as tape:
            y = attend(q, z)
            loss = tf.reduce_sum(tf.cast(y, tf.float32) * np.cos(np.arange(64.0)))
        slopes = tape.gradient(loss, [q, z, *layer.trainable_variables])
        names = ["queries", "latents", *(v.name for v in layer.trainable_variables)]
        named = dict(zip(names, slopes, strict=True))
        del named["d.attn.k.bias:0"]  # Zero here, and nearly so there.
        return [np.float32(x) for x in (y, *named.values())]

    truth = of("plain")
    policy("mixed_bfloat16")

    def off(path):
        pairs = zip(of(path), truth, strict=True)
        return np.mean([np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in pairs])

    assert 0 < off("few") < 1.2 * off("plain")


def array_of(dims, content):
    grid = FourierGrid(Fourier(64, tuple(224 for _ in dims)), dims)
    return ByteArray((Segment(tf.zeros([1, math.prod(dims), content]), grid),))


def test_the_count_takes_the_cheaper_path():
    pixels = array_of((224, 224), 3)
    assert structured.pays(CrossAttention("c", 1024, 261), pixels, 512)
    assert structured.pays(CrossAttention("c", 1024, 261, heads=9), pixels, 512)
    tokens = ByteArray((Segment(tf.zeros([1, 2048, 768]), None),))
    many_heads = CrossAttention("c", 1280, 768, heads=8, qk_channels=256)
    assert not structured.pays(many_heads, tokens, 256)
    few = array_of((8, 8), 3)
    assert not structured.pays(CrossAttention("c", 64, 261), few, 16)
    decoder = CrossAttention("d", 1024, 1024)
    assert structured.pays_for_few(decoder, 1, 512)
    assert not structured.pays_for_few(decoder, 2048, 512)
    assert not structured.pays_for_few(decoder, None, 512)
    assert not structured.pays_for_few(CrossAttention("d", 64, 64), 1, 16)


def test_an_unknown_path_and_a_negative_block_are_named():
    with pytest.raises(ValueError, match="model.trunk.attention='fast' is neither 'plain' nor"):
        structured.check("fast", "model.trunk.attention")
    with pytest.raises(ValueError, match="model.trunk.block_size=-1 is the number of logits"):
        structured.check_block_size(-1, "model.trunk.block_size")
