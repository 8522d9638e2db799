"""The contract between preprocessing and training: record features, shards and `dataset.json`.

Both sides import this module and nothing of each other. TensorFlow is imported inside the
functions that need it, so that commands can check a dataset without waiting for that import.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

SCHEMA_VERSION = 1
DATASET_FILE = "dataset.json"
_LISTS = {  # Where a tf.train.Example keeps values of a dtype.
    "bytes": "bytes_list",
    "int64": "int64_list",
    "float32": "float_list",
    "int16": "bytes_list",
}


class DatasetError(ValueError):
    """A dataset folder or a record that is not what the contract says; the message is one line."""


@dataclasses.dataclass(frozen=True)
class Feature:
    """Type of one field of a record.

    Attributes:
      dtype: "bytes", "int64", "float32", or "int16", which is stored as bytes, little end first.
      shape: `()` for a scalar; at most one dimension may be None (its size varies by record).

    Raises:
      ValueError: for another dtype, or for more than one None.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.dtype not in _LISTS:
            raise ValueError(f"feature dtype {self.dtype!r} is not one of {', '.join(_LISTS)}")
        if self.shape.count(None) > 1:
            raise ValueError(f"feature shape {self.shape} has more than one None")


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: name inside the dataset folder, records, size in bytes, hex SHA-256."""

    name: str
    records: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Split:
    """A named part of a dataset (train, val, test) and its shards in order."""

    name: str
    shards: tuple[Shard, ...]

    @property
    def records(self) -> int:
        """Number of records in all shards."""
        return sum(shard.records for shard in self.shards)


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What `dataset.json` says. It is written last, so its presence means a complete dataset.

    Attributes:
      name: dataset name, the first part of every shard's name.
      features: field name to type.
      labels: class names; a record's `label` is an index into them.
      splits: split name to split.
      rejects: reason to number of raw items left out.
      statistics: JSON values by split, such as class counts and image sizes.
      properties: JSON values that hold for every record, such as the sample rate of its sound. A
        config field of the same name must agree.
      command: the command that wrote the dataset.
      fingerprint: hex SHA-256 over schema, name, features, labels, statistics, properties and
        shards (not over the command, paths or times); computed where left empty.
      schema_version: version of this contract.
    """

    name: str
    features: dict[str, Feature]
    labels: tuple[str, ...]
    splits: dict[str, Split]
    rejects: dict[str, int] = dataclasses.field(default_factory=dict)
    statistics: dict[str, Any] = dataclasses.field(default_factory=dict)
    properties: dict[str, Any] = dataclasses.field(default_factory=dict)
    command: str = ""
    fingerprint: str = ""
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not self.fingerprint:
            object.__setattr__(self, "fingerprint", self.compute_fingerprint())

    def compute_fingerprint(self) -> str:
        """Hex SHA-256 over everything that decides what a reader of the records sees."""
        content = self._as_dict()
        identity = ["schema_version", "name", "features", "labels", "splits", "statistics"]
        if self.properties:  # Without any, as before there were some.
            identity.append("properties")
        canonical = json.dumps(
            {key: content[key] for key in identity}, sort_keys=True, separators=(",", ":")
        )
        return hashlib.sha256(canonical.encode()).hexdigest()

    def split(self, name: str) -> Split:
        """The split of that name.

        Raises:
          DatasetError: where there is none; the message lists those that exist.
        """
        if name not in self.splits:
            known = ", ".join(sorted(self.splits))
            raise DatasetError(
                f"dataset {self.name} has no split {name!r}; it has {known}: name one by --split, "
                "or in training by --config.data.eval_split"
            )
        return self.splits[name]

    def to_json(self) -> str:
        """The text of `dataset.json`."""
        return json.dumps(self._as_dict(), indent=1) + "\n"

    def write(self, directory: str) -> None:
        """Writes `dataset.json` into a folder, atomically (a reader sees all of it or none)."""
        path = os.path.join(directory, DATASET_FILE)
        if "://" in path:  # An object store shows a file once it is closed.
            import tensorflow as tf

            with tf.io.gfile.GFile(path, "w") as file:
                file.write(self.to_json())
            return
        with open(path + ".part", "w", encoding="utf-8") as file:
            file.write(self.to_json())
            file.flush()
            os.fsync(file.fileno())
        os.replace(path + ".part", path)

    @classmethod
    def read(cls, directory: str) -> DatasetInfo:
        """Reads and checks `dataset.json` of a folder, local or of any scheme TensorFlow knows (gs://).

        Raises:
          DatasetError: no such file, bad JSON, missing or malformed fields, another schema version,
            or a content that does not match its fingerprint.
        """
        path = os.path.join(directory, DATASET_FILE)
        try:
            text = _read_text(path)
        except FileNotFoundError:
            raise DatasetError(
                f"{directory}: not a finished dataset (no {DATASET_FILE}); "
                "write one with python -m beam_preprocess.run"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise DatasetError(f"{path}: cannot be read ({error})") from None
        return cls.from_json(text, path)

    @classmethod
    def from_json(cls, text: str, origin: str = DATASET_FILE) -> DatasetInfo:
        """Parses the text of a `dataset.json`; `origin` names it in messages.

        Raises:
          DatasetError: as `read`.
        """
        again = "write the dataset again with python -m beam_preprocess.run ... --overwrite"
        try:
            content = json.loads(text)
            version = content["schema_version"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise DatasetError(f"{origin}: no dataset description ({error!r}); {again}") from None
        if version != SCHEMA_VERSION:
            raise DatasetError(
                f"{origin}: records of schema {version}, this version reads schema "
                f"{SCHEMA_VERSION}; {again}"
            )
        try:
            info = cls(
                name=content["name"],
                features={
                    name: Feature(feature["dtype"], tuple(feature["shape"]))
                    for name, feature in content["features"].items()
                },
                labels=tuple(content["labels"]),
                splits={
                    name: Split(name, tuple(Shard(**shard) for shard in split["shards"]))
                    for name, split in content["splits"].items()
                },
                rejects=content["rejects"],
                statistics=content["statistics"],
                properties=content.get("properties", {}),
                command=content["command"],
                fingerprint=content["fingerprint"],
                schema_version=version,
            )
            computed = info.compute_fingerprint()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{origin}: missing or wrong field ({error!r}); {again}") from None
        if computed != info.fingerprint:
            raise DatasetError(f"{origin}: edited, its fingerprint does not match; {again}")
        return info

    def _as_dict(self) -> dict[str, Any]:
        return {
            "schema_version": self.schema_version,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "features": {
                name: {"dtype": feature.dtype, "shape": list(feature.shape)}
                for name, feature in self.features.items()
            },
            "labels": list(self.labels),
            "splits": {
                name: {
                    "records": split.records,
                    "shards": [dataclasses.asdict(shard) for shard in split.shards],
                }
                for name, split in self.splits.items()
            },
            "rejects": self.rejects,
            "statistics": self.statistics,
            "properties": self.properties,
            "command": self.command,
        }


def pack_floats(array: np.ndarray) -> dict[str, Any]:
    """A table of float32 [n, width] as a JSON value, for `unpack_floats`."""
    rows = np.ascontiguousarray(array, "<f4")
    return {"width": rows.shape[1], "float32_base64": base64.b64encode(rows.tobytes()).decode()}


def unpack_floats(packed: Mapping[str, Any]) -> np.ndarray:
    """Float32 [n, width], exactly what `pack_floats` was given.

    Raises:
      DatasetError: no such value.
    """
    try:
        flat = np.frombuffer(base64.b64decode(packed["float32_base64"], validate=True), "<f4")
        return flat.reshape(-1, packed["width"]).astype(np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"no table of numbers ({error!r})") from None


def shard_name(dataset: str, split: str, index: int, count: int) -> str:
    """File name of a shard, as TFDS has it: `digits-train.tfrecord-00000-of-00008`."""
    return f"{dataset}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def encode(example: Mapping[str, Any], features: Mapping[str, Feature]) -> bytes:
    """Serialises one example as a `tf.train.Example`.

    Args:
      example: field name to bytes, int or array, exactly the fields of `features`.
      features: the declared types.

    Returns:
      The message's bytes, the same for equal examples (fields in a fixed order).

    Raises:
      DatasetError: a missing or unknown field, another dtype, another shape.
    """
    import tensorflow as tf

    if set(example) != set(features):
        raise DatasetError(f"example has fields {sorted(example)}, the dataset {sorted(features)}")
    message = tf.train.Example()
    for name, feature in features.items():
        values = _flat_values(name, example[name], feature)
        getattr(message.features.feature[name], _LISTS[feature.dtype]).value.extend(values)
    # Without `deterministic` the order of a map's entries depends on insertion and hashing.
    return message.SerializeToString(deterministic=True)


def parser(features: Mapping[str, Feature]) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """A function for `tf.data` that parses one serialised example.

    Args:
      features: the declared types.

    Returns:
      A function from a scalar string tensor to {name: tensor} of the declared dtypes
      and shapes.
    """
    import tensorflow as tf

    dtypes = {"bytes": tf.string, "int64": tf.int64, "float32": tf.float32, "int16": tf.string}
    spec = {}
    for name, feature in features.items():
        dtype = dtypes[feature.dtype]
        if feature.dtype == "int16":
            spec[name] = tf.io.FixedLenFeature((), dtype)
        elif None in feature.shape:
            spec[name] = tf.io.FixedLenSequenceFeature((), dtype, allow_missing=True)
        else:
            spec[name] = tf.io.FixedLenFeature(feature.shape, dtype)

    def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = tf.io.parse_single_example(serialized, spec)
        for name, feature in features.items():
            if feature.dtype == "int16":
                parsed[name] = tf.io.decode_raw(parsed[name], tf.int16, little_endian=True)
            if None in feature.shape or feature.dtype == "int16":
                shape = [-1 if size is None else size for size in feature.shape]
                parsed[name] = tf.ensure_shape(tf.reshape(parsed[name], shape), feature.shape)
        return parsed

    return parse


def _read_text(path: str) -> str:
    if "://" not in path:
        with open(path, encoding="utf-8") as file:
            return file.read()
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path) as file:
            return file.read()
    except tf.errors.NotFoundError:
        raise FileNotFoundError(path) from None
    except tf.errors.OpError as error:
        raise OSError(error.message) from None


def _flat_values(name: str, value: Any, feature: Feature) -> list[Any]:
    if feature.dtype == "bytes":
        array = np.empty((), object) if isinstance(value, bytes) else np.asarray(value, object)
        if isinstance(value, bytes):
            array[()] = value  # np.asarray would drop trailing zero bytes.
        if not all(isinstance(item, bytes) for item in array.flat):
            raise DatasetError(f"field {name!r} holds {type(value).__name__}, declared as bytes")
    else:
        array = np.asarray(value)
        # Floats must be float32 already: rounding float64 is the caller's decision.
        integers = feature.dtype == "int64"
        fits = array.dtype.kind in "iu" if integers else array.dtype == feature.dtype
        if not fits:
            raise DatasetError(f"field {name!r} is {array.dtype}, declared as {feature.dtype}")
    fits = len(array.shape) == len(feature.shape) and all(
        declared in (None, size) for size, declared in zip(array.shape, feature.shape, strict=True)
    )
    if not fits:
        raise DatasetError(f"field {name!r} has shape {array.shape}, declared as {feature.shape}")
    if feature.dtype == "int16":
        return [array.astype("<i2").tobytes()]
    return array.reshape(-1).tolist()
