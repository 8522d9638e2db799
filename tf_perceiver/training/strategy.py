"""tf.distribute strategies by the name that users type."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import tensorflow as tf

from tf_perceiver.training import cluster
from tf_perceiver.training.workdir import differences

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
      Preempted: another worker didn't come.
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
        return cluster.connect()
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
    jobs = strategy.cluster_resolver.cluster_spec().as_dict()
    return len(jobs.get("worker", [])) + len(jobs.get("chief", [])) or 1


def any_worker(strategy: tf.distribute.Strategy, flag: bool) -> bool:
    """Whether the flag is true in any process; to be called by all of them."""
    return flag if workers(strategy) == 1 else bool(_sum(strategy, np.array(flag)))


def from_chief(strategy: tf.distribute.Strategy, value: Any) -> Any:
    """The chief's value, in every process; to be called by all of them.

    Args:
      strategy: that of the processes.
      value: what JSON can hold; of the others it is ignored.
    """
    if workers(strategy) == 1:
        return value
    text = json.dumps(value).encode() if is_chief(strategy) else b""
    size = int(_sum(strategy, np.array(len(text))))
    codes = np.frombuffer(text.ljust(size), np.uint8)
    return json.loads(_sum(strategy, codes * is_chief(strategy)).astype(np.uint8).tobytes())


def _sum(strategy: tf.distribute.Strategy, value: np.ndarray) -> np.ndarray:
    """The sum of all processes' numbers, int32 of one shape."""
    local = strategy.num_replicas_in_sync // workers(strategy)

    def of_replica(context: tf.distribute.experimental.ValueContext) -> tf.Tensor:
        # Once a process, however many replicas it has.
        first = context.replica_id_in_sync_group % local == 0
        return tf.constant((value * first).astype(np.int32))

    values = strategy.experimental_distribute_values_from_function(of_replica)
    return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy()


def check_alike(strategy: tf.distribute.Strategy, settings: dict[str, Any]) -> None:
    """Finds that all processes were started alike: they would train something else, or hang.

    Args:
      strategy: that of the processes.
      settings: what must be equal; see `workdir.differences`.

    Raises:
      ValueError: this one differs from the chief, with the differences; or another one does.
    """
    changed = differences(from_chief(strategy, settings), settings)
    if any_worker(strategy, bool(changed)):
        which = "this worker" if changed else "another worker"
        found = "; ".join(changed) or "its error has the differences"
        raise ValueError(
            f"{which} was started otherwise than the chief ({found}); give all the same flags"
        )
