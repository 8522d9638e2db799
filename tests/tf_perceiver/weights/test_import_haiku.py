"""DeepMind's pickles: what is read, and what is refused before it can do anything."""

from __future__ import annotations

import builtins
import collections
import functools
import io
import os
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from tf_perceiver.weights import import_haiku

WEIGHTS = {
    "encoder/~/linear": {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([1, 2, 3], np.float32),
    }
}
FLAT = {"encoder/~/linear/w": WEIGHTS["encoder/~/linear"]["w"], "encoder/~/linear/b": [1, 2, 3]}


class Call:
    """Pickles to a call."""

    def __init__(self, function, *arguments, state=None):
        self.reduced = (function, arguments, *([state] if state is not None else []))

    def __reduce__(self):
        return self.reduced


@pytest.fixture
def modules(monkeypatch):
    """Makes modules that pickles were written with, and that aren't installed here."""

    def make(module: str, **contents):
        parts = module.split(".")
        for i in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(parts[-1]))
        for name, content in contents.items():
            content.__module__, content.__qualname__ = module, name
            setattr(sys.modules[module], name, content)

    return make


def written(tmp_path, content, protocol: int = 4):
    path = tmp_path / "checkpoint.pystate"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return path


def assert_same(arrays, expected) -> None:
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert isinstance(arrays[name], np.ndarray)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_bare_parameters_are_read(tmp_path, protocol):
    assert_same(import_haiku.read(written(tmp_path, WEIGHTS, protocol)), FLAT)


def test_state_is_read_without_what_training_keeps(tmp_path):
    ema = {"average": np.ones((1, 2)), "hidden": np.zeros((1, 2)), "counter": np.int32(3)}
    tree = {"params": WEIGHTS, "state": {"norm/~/mean_ema": ema, "other": {"counter": np.ones(1)}}}
    arrays = import_haiku.read(written(tmp_path, tree))
    assert_same(arrays, FLAT | {"norm/~/mean_ema/average": [[1, 1]], "other/counter": [1]})


def test_layouts_and_types_survive(tmp_path):
    arrays = {
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "half": np.array([1.5, -2], np.float16),
        "big": np.array([1, 2], ">f4"),
        "none": np.zeros((0, 3), np.float32),
        "scalar": np.float32(2.5),
    }
    read = import_haiku.read(written(tmp_path, {"m": arrays}))
    assert_same(read, {f"m/{name}": array for name, array in arrays.items()})
    assert read["m/half"].dtype == np.float16
    assert read["m/scalar"].shape == ()


def test_the_new_home_of_numpy_s_functions_is_known(tmp_path):
    old = pickle.dumps(WEIGHTS, 4)
    name = b"\x8c\x15numpy.core.multiarray"
    assert old.count(name) == 1
    new = old.replace(name, b"\x8c\x16numpy._core.multiarray")
    frame = struct.pack("<Q", struct.unpack("<Q", new[3:11])[0] + 1)
    assert_same(import_haiku.read(written(tmp_path, new[:3] + frame + new[11:])), FLAT)


@pytest.mark.parametrize("name", ["FlatMapping", "FlatMap", "frozendict"])
def test_haiku_s_mappings_become_dicts(tmp_path, modules, name):
    def mapping(content):
        raise AssertionError("nothing of the module may be called")

    modules("haiku._src.data_structures", **{name: mapping})
    tree = Call(mapping, {path: Call(mapping, weights) for path, weights in WEIGHTS.items()})
    assert_same(import_haiku.read(written(tmp_path, {"params": tree, "state": {}})), FLAT)


def test_ordered_dicts_become_dicts(tmp_path):
    tree = collections.OrderedDict((k, collections.OrderedDict(v)) for k, v in WEIGHTS.items())
    assert_same(import_haiku.read(written(tmp_path, tree)), FLAT)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("jax._src.array", "_reconstruct_array"),
        ("jax._src.device_array", "reconstruct_device_array"),
    ],
)
def test_jax_arrays_become_numpy_s(tmp_path, modules, module, name):
    def reconstruct(*arguments):
        raise AssertionError("nothing of the module may be called")

    modules(module, **{name: reconstruct})
    tree = {
        path: {
            name: Call(reconstruct, *array.__reduce__(), {"weak_type": False})
            for name, array in weights.items()
        }
        for path, weights in WEIGHTS.items()
    }
    assert_same(import_haiku.read(written(tmp_path, tree)), FLAT)


class Array(np.ndarray):
    """A class of its own."""


def global_call(module: str, name: str, protocol: int = 4) -> bytes:
    """A pickle that calls `module.name("canary")`, whether or not there is such a thing."""
    if protocol < 4:
        head = f"c{module}\n{name}\n".encode()
    else:
        parts = (module.encode(), name.encode())
        head = b"".join(b"\x8c" + bytes([len(part)]) + part for part in parts) + b"\x93"
    return b"\x80" + bytes([protocol]) + head + b"\x8c\x06canary\x85R."


MALICIOUS = {
    "os.system": (Call(os.system, "touch canary"), "asks for posix.system"),
    "eval": (Call(eval, "open('canary', 'w')"), "asks for .*builtin.*eval"),
    "open": (Call(open, "canary", "w"), "asks for .*open"),
    "getattr": (Call(getattr, builtins, "open"), None),
    "partial": (functools.partial(open, "canary", "w"), "asks for functools.partial"),
    "in a mapping": ({"m": {"w": Call(os.mkdir, "canary")}}, "asks for posix.mkdir"),
    "in the state": (Call(dict, state=Call(os.mkdir, "canary")), "asks for .*builtin.*dict"),
    "in an array": (np.array([Call(os.mkdir, "canary")], object), "elements of type 'O8'"),
    "object array": (np.array([{"a": 1}, None], object), "elements of type 'O8'"),
    "structured": (np.zeros(2, [("a", "f4")]), "elements of type 'V4'"),
    "strings": (np.array(["a"]), "elements of type 'U1'"),
    "save": (Call(np.save, "canary.npy", np.zeros(1)), "asks for numpy.save"),
    "fromfile": (Call(np.fromfile, "canary"), "asks for numpy"),
    "subclass": (np.zeros(2).view(Array), "asks for .*Array"),
    "set": ({"m": {"w": Call(bytearray, 9)}}, "asks for .*builtin.*bytearray"),
    "ndarray": (Call(np.ndarray, (1 << 40,)), "numpy.ndarray is called"),
    "random state": (np.random.default_rng(0), "asks for numpy.random"),
}


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", MALICIOUS)
def test_what_is_no_array_is_refused_unexecuted(tmp_path, monkeypatch, name, protocol):
    content, message = MALICIOUS[name]
    if message is None:  # A module can't be pickled: the call is spelled out.
        content, message = global_call("builtins", "getattr", protocol), "asks for builtins.getattr"
    path = written(tmp_path, content, protocol)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(import_haiku.RefusedPickle, match=message) as raised:
        import_haiku.read(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(str(path))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("numpy.core.multiarray", "_reconstruct.__globals__"),
        ("numpy", "dtype.__class__"),
        ("numpy", "core.multiarray._reconstruct"),
        ("numpy", "load"),
        ("numpy.core.multiarray", "fromstring"),
        ("numpy.core.numeric", "_frombuffer"),
        ("numpy.testing._private.utils", "runstring"),
        ("copyreg", "_reconstructor"),
        ("haiku._src.data_structures", "FlatMapping.__init__"),
        ("jax._src.array", "os.system"),
        ("tf_perceiver.weights.import_haiku", "_StandIn"),
        ("_codecs", "decode"),
        ("nowhere.at.all", "thing"),
    ],
)
def test_names_beside_the_allowed_ones_are_refused(tmp_path, module, name, protocol):
    path = written(tmp_path, global_call(module, name, protocol))
    with pytest.raises(import_haiku.RefusedPickle) as raised:
        import_haiku.read(path)
    assert f"asks for {module}.{name}," in str(raised.value)


NUMPY_ARRAY = b"\x8c\x15numpy.core.multiarray\x8c\x0c_reconstruct\x93"


@pytest.mark.parametrize(
    "opcodes",
    [
        NUMPY_ARRAY + b"}\x8c\x04_makeK\x01sb.",  # BUILD on a stand-in, with a dict
        NUMPY_ARRAY + b"N}\x8c\x04_makeK\x01s\x86b.",  # ... with slots
        NUMPY_ARRAY + b")\x81.",  # NEWOBJ
        NUMPY_ARRAY + b")}\x92.",  # NEWOBJ_EX
        NUMPY_ARRAY + b"K\x01a.",  # APPEND
        NUMPY_ARRAY + b"K\x01K\x02s.",  # SETITEM
        b"\x8c\x01xQ.",  # BINPERSID
        b"\x82\x01.",  # EXT1
        NUMPY_ARRAY + b"\x8c\x05numpy\x8c\x07ndarray\x93K\x00\x85C\x01b\x87RN)tb.",  # a bad state
    ],
)
def test_opcodes_find_nothing_to_hold_on_to(tmp_path, opcodes):
    path = written(tmp_path, b"\x80\x04" + opcodes)
    made = [stand_in._make for stand_in in import_haiku.ALLOWED.values()]
    with pytest.raises(ValueError, match="checkpoint.pystate"):
        import_haiku.read(path)
    assert [stand_in._make for stand_in in import_haiku.ALLOWED.values()] == made


def array_pickle(shape, dtype: str, data) -> bytes:
    """A pickle of an array whose state has been tampered with."""
    out = io.BytesIO()
    pickler = pickle.Pickler(out, 4)
    function, arguments, _ = np.zeros(1).__reduce__()
    state = (1, shape, np.dtype(dtype), False, data)
    pickler.dump({"m": {"w": Call(function, *arguments, state=state)}})
    return out.getvalue()


@pytest.mark.parametrize(
    ("shape", "dtype", "data", "message"),
    [
        ((2,), "f4", b"\0" * 4, "4 bytes"),
        ((2,), "f4", [1, 2], "an array of objects"),
        ((1 << 40, 1 << 40), "f4", b"", "0 bytes"),
        ((-1,), "f4", b"\0" * 4, "shape"),
        (("a",), "f4", b"\0" * 4, "shape"),
        ((1,), "O", b"\0" * 8, "elements of type 'O8'"),
    ],
)
def test_tampered_arrays_are_refused(tmp_path, shape, dtype, data, message):
    path = written(tmp_path, array_pickle(shape, dtype, data))
    with pytest.raises(ValueError, match=message):
        import_haiku.read(path)


def test_a_file_that_was_cut_is_said_to_be(tmp_path):
    whole = pickle.dumps(WEIGHTS, 4)
    for length in range(2, len(whole)):
        with pytest.raises(ValueError, match="is not a whole pickle of arrays"):
            import_haiku.read(written(tmp_path, whole[:length]))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([1, 2], "holds a list, not a mapping"),
        ({"m": np.zeros(1)}, "no tree of modules"),
        ({"m": {"w": "text"}}, "m/w is no array"),
        ({"m": {"w": {"deeper": np.zeros(1)}}}, "m/w is no array"),
        ({"params": WEIGHTS, "state": {}, "step": 3}, "has step beside params and state"),
    ],
)
def test_another_tree_is_refused(tmp_path, tree, message):
    with pytest.raises(ValueError, match=message):
        import_haiku.read(written(tmp_path, tree))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.pystate"):
        import_haiku.read(tmp_path / "nothing.pystate")


def test_unknown_paths_keep_their_names():
    arrays = {
        "perceiver_encoder/~/cross_attention/mlp/linear/w": np.zeros(1),
        "perceiver_encoder/~/cross_attention_1/mlp/linear/w": np.ones(1),
    }
    ours = import_haiku.to_neutral(arrays, ["enc.cross.0.mlp.fc1.kernel"], "classification")
    assert list(ours) == ["enc.cross.0.mlp.fc1.kernel", list(arrays)[1]]
