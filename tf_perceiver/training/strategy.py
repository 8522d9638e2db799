"""tf.distribute strategies by the name that users type."""

from __future__ import annotations

import json
import os

import tensorflow as tf

# Model Garden's spellings mean the same.
SPELLINGS = {
    "one_device": "cpu",
    "off": "cpu",
    "multi_worker_mirrored": "multi_worker",
    "multiworker": "multi_worker",
}
STRATEGIES = ("auto", "cpu", "mirrored", "multi_worker", "tpu")


def build(name: str, tpu: str | None = None) -> tf.distribute.Strategy:
    """The strategy by name.

    "auto" takes every GPU there is, the TPU if --tpu names one, TF_CONFIG's workers if it is set,
    else the CPU. "mirrored" without a GPU mirrors over the logical CPUs.

    Args:
      name: one of STRATEGIES, or Model Garden's spelling of it.
      tpu: name, zone-qualified name or gRPC address of the TPU; "local" on a TPU VM.

    Raises:
      ValueError: an unknown name, no TPU where one is asked for, no TF_CONFIG for multi_worker.
    """
    name = SPELLINGS.get(name, name)
    if name not in STRATEGIES:
        raise ValueError(f"--strategy={name} is none of {', '.join(STRATEGIES)}")
    gpus = tf.config.list_physical_devices("GPU")
    if name == "auto":
        if tpu is not None:
            name = "tpu"
        elif "TF_CONFIG" in os.environ:
            name = "multi_worker"
        else:
            name = "mirrored" if gpus else "cpu"
    if name == "tpu":
        return _tpu(tpu)
    if tpu is not None:
        raise ValueError(f"--tpu={tpu} goes with --strategy=tpu, not with --strategy={name}")
    if name == "multi_worker":
        _check_tf_config()
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == "mirrored":
        kind = "GPU" if gpus else "CPU"
        devices = [d.name for d in tf.config.list_logical_devices(kind)]
        return tf.distribute.MirroredStrategy(devices)
    return tf.distribute.OneDeviceStrategy("/cpu:0")


def _tpu(tpu: str | None) -> tf.distribute.TPUStrategy:
    """Connects to the TPU and initialises it."""
    remedy = (
        "run on a TPU VM with --tpu=local, or name a TPU with --tpu=NAME; without one use "
        "--strategy=auto"
    )
    if tpu is None and "TPU_NAME" not in os.environ:
        raise ValueError(f"--strategy=tpu: no TPU is named and TPU_NAME is not set; {remedy}")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    # What goes wrong differs by where it runs: no metadata server, no such TPU, no TPU driver.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        name = tpu or os.environ.get("TPU_NAME")
        raise ValueError(f"--strategy=tpu: no TPU {name!r} ({reason[:200]}); {remedy}") from error


def _check_tf_config() -> None:
    """A missing or broken TF_CONFIG would silently give one worker alone."""
    example = (
        """TF_CONFIG='{"cluster": {"worker": ["host0:2222", "host1:2222"]}, """
        """"task": {"type": "worker", "index": 0}}'"""
    )
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        config["cluster"]["worker"][int(config["task"]["index"])]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ValueError(
            f"--strategy=multi_worker needs TF_CONFIG with cluster and task ({error!r}); "
            f"set it on every worker, e.g. {example}"
        ) from error


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes checkpoints, logs and reports."""
    resolver = strategy.cluster_resolver
    if resolver is None or not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return True
    return resolver.task_type in (None, "chief") or (
        resolver.task_type == "worker"
        and resolver.task_id == 0
        and "chief" not in resolver.cluster_spec().as_dict()
    )


def workers(strategy: tf.distribute.Strategy) -> int:
    """Number of processes that train together."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    cluster = strategy.cluster_resolver.cluster_spec().as_dict()
    return len(cluster.get("worker", [])) + len(cluster.get("chief", [])) or 1


def any_worker(strategy: tf.distribute.Strategy, flag: bool) -> bool:
    """Whether the flag is true in any process; to be called by all of them."""
    if workers(strategy) == 1:
        return flag
    flags = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(int(flag))
    )
    return bool(strategy.reduce(tf.distribute.ReduceOp.SUM, flags, axis=None))
