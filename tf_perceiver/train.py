"""Trains a Perceiver: ``python -m tf_perceiver.train --config=... --data=... --workdir=...``.

Re-running the same command resumes. Where the weights come from, in this order:
  1. the newest valid checkpoint of the workdir;
  2. ``--init_from``, another workdir: its weights alone, from step 0;
  3. scratch.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import itertools
import math
from pathlib import Path

import orbit
import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from pipelines import input_pipeline
from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.report import build as report
from tf_perceiver.training import cluster, distributed_input, follow, loop, optimizer
from tf_perceiver.training import checkpoint as checkpointing
from tf_perceiver.training import strategy as strategies
from tf_perceiver.training import workdir as workdirs
from tf_perceiver.training.averages import Averages
from tf_perceiver.training.guard import Guard
from tf_perceiver.training.session import Session

CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Experiment and variant, e.g. configs/digits.py:small; any field is overridden by "
    "--config.section.field=value.",
    lock_config=True,
)
DATA = flags.DEFINE_string("data", None, "Folder that beam_preprocess.run has written.")
WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, logs and the report.")
STRATEGY = flags.DEFINE_string(
    "strategy", "auto", f"How to use the devices: {', '.join(strategies.STRATEGIES)}."
)
TPU = flags.DEFINE_string("tpu", None, "Name or address of the TPU; 'local' on a TPU VM.")
MODE = flags.DEFINE_enum(
    "mode",
    "train_and_eval",
    ["train", "train_and_eval", "eval", "continuous_eval"],
    "What to do: train, with evaluations or without; evaluate the newest checkpoint; or, beside a "
    "training, each new one until the training is done.",
)
EVAL_TIMEOUT = flags.DEFINE_float(
    "eval_timeout", 3600.0, "Seconds without a new checkpoint after which continuous_eval ends."
)
INIT_FROM = flags.DEFINE_string("init_from", None, "Another workdir, whose weights to start from.")


def main(argv: list[str]) -> int | None:
    """Does what the mode says; returns the exit code."""
    del argv
    return cluster.exit_code(run)


def run() -> None:
    """Trains or evaluates.

    Raises:
      ValueError, OSError: what the user can mend.
      Preempted: it is to be run again.
    """
    for flag in (CONFIG, DATA, WORKDIR):
        if flag.value is None:
            raise ValueError(f"--{flag.name} is missing; see --help")
    config = CONFIG.value
    data, pace = config.data, config.train
    workdir = Path(WORKDIR.value)

    # ---------------------------------------------------------------- data, model and optimizer
    info = DatasetInfo.read(DATA.value)
    records = info.split(data.train_split).records
    batch_size = data.batch_size
    if batch_size < 1:
        raise ValueError(f"config.data.batch_size={batch_size}: at least 1 is needed")
    total_steps = pace.steps or math.ceil(pace.epochs * records / batch_size)
    strategy = strategies.build(STRATEGY.value, TPU.value)
    chief = strategies.is_chief(strategy)  # Alone writes.
    started = {
        "mode": MODE.value,
        "init_from": INIT_FROM.value,
        "fingerprint": info.fingerprint,
        "workdir": str(workdir.resolve()),
    }
    strategies.check_alike(strategy, config.to_dict() | started)
    tf.keras.utils.set_random_seed(config.seed)
    task = tasks.build(config.task, info)
    with strategy.scope():
        model = task.build_model(config.model)
        optim = optimizer.build(config.optimizer, total_steps, batch_size)
        global_step = orbit.utils.create_global_step()
        optim._create_all_weights(model.trainable_variables)  # Else slots can't be restored.
        averages = Averages(model.named_weights(), pace.ema_decay)
        guard = Guard([v.name[:-2] for v in model.trainable_variables], **pace.guard)
    trainer = loop.Trainer(
        strategy,
        model,
        task,
        optim,
        global_step,
        batch_size=batch_size,
        clip_norm=config.optimizer.clip_norm,
        accumulate=pace.accumulate,
        averages=averages,
        guard=guard,
        dropout_seed=config.seed if config.model.trunk.get("dropout") else None,
    )
    evaluator = loop.Evaluator(
        strategy,
        model,
        task,
        *distributed_input.eval_dataset(strategy, info, DATA.value, data, data.eval_split),
    )

    claimed = (workdir, config.to_dict(), DATA.value, info)
    workdirs.check_claim(*claimed)

    # --------------------------------------------------------------------- evaluation by itself
    if MODE.value in ("eval", "continuous_eval"):
        timeout = EVAL_TIMEOUT.value if MODE.value == "continuous_eval" else 0.0
        found = follow.new_checkpoints(workdir, timeout=timeout)
        found = itertools.islice(found, 1) if MODE.value == "eval" else found
        if not follow.evaluate(evaluator, workdir, data.eval_split, found):
            raise ValueError(f"--mode={MODE.value}: {workdir} has no checkpoint")
        return

    # ------------------------------------------------------------------------------- where from
    checkpoints = checkpointing.Checkpoints(
        workdir / "checkpoints",
        {
            "weights": checkpointing.weights_of(model),
            "averages": averages.variables,
            "optimizer": optim,
            "guard": guard.saved,
            "global_step": global_step,
        },
        config_digest=workdirs.digest(config.to_dict()),
        fingerprint=info.fingerprint,
        keep=pace.keep_checkpoints,
        strategy=strategy,
    )
    start_step = checkpoints.restore()
    if start_step is None:
        start_step = 0
        if INIT_FROM.value:
            fresh = checkpointing.init_from(INIT_FROM.value, model)
            but = f", but for {', '.join(fresh)}" if fresh else ""
            print(f"starting from the weights of {INIT_FROM.value}{but}", flush=True)
        averages.start()

    def stream_from(step: int) -> tf.distribute.DistributedDataset:
        return distributed_input.train_dataset(
            strategy,
            info,
            DATA.value,
            data,
            seed=config.seed,
            start_step=step,
            salt=int(guard.salt.numpy()),
            accumulate=pace.accumulate,
        )

    trainer.train_dataset = stream_from(start_step)

    # ------------------------------------------------------------------------------------- loop
    session = Session(
        workdir,
        config,
        trainer,
        evaluator,
        checkpoints,
        stream_from,
        records=records,
        total_steps=total_steps,
        evaluates=MODE.value == "train_and_eval",
    )
    if chief:
        workdirs.claim(*claimed)  # Last: a mistake in config or data leaves no workdir behind.
    print(
        f"{config.name}: {model.count_params():,} parameters; {records:,} examples; steps "
        f"{start_step:,} to {total_steps:,} of {batch_size} examples on "
        f"{strategy.num_replicas_in_sync} replica(s)",
        flush=True,
    )
    session.train()

    # ----------------------------------------------------------------------------------- report
    if chief:
        trained = checkpointing.load_for_inference(workdir)
        page = report.write_report(
            workdir / "report",
            model=trained.model,
            task=task,
            config=config,
            info=info,
            metrics_file=workdir / "metrics.jsonl",
            eval_batches=input_pipeline.eval_stream(
                info,
                DATA.value,
                data,
                split=data.eval_split,
                replica_batch=data.eval_batch_size,
                shown=True,
            ),
            step=total_steps,
        )
        workdirs.write_atomically(workdir / "DONE", f"{total_steps}\n")
        print(f"done: {total_steps:,} steps; checkpoints, logs and report in {workdir}; see {page}")
    strategies.any_worker(strategy, False)  # Else the chief would lose the others meanwhile.


if __name__ == "__main__":
    command_line.run(main)
