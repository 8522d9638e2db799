"""Trains a Perceiver: ``python -m tf_perceiver.train --config=... --data=... --workdir=...``.

Re-running the same command resumes. Where the weights come from, in this order:
  1. the newest valid checkpoint of the workdir;
  2. ``--init_from``, another workdir: its weights alone, from step 0;
  3. scratch.
"""

# ruff: noqa: I001
from __future__ import annotations

from tf_perceiver import command_line  # First: it quiets TensorFlow before it is imported.

import contextlib
import io
import math
import sys
import time
from pathlib import Path

import orbit
import tensorflow as tf
from absl import flags
from ml_collections import config_flags

from pipelines import input_pipeline
from pipelines.records import DatasetInfo
from tf_perceiver import tasks
from tf_perceiver.report import build as report
from tf_perceiver.training import distributed_input, loop, optimizer, preemption
from tf_perceiver.training import checkpoint as checkpointing
from tf_perceiver.training import strategy as strategies
from tf_perceiver.training import workdir as workdirs
from tf_perceiver.training.averages import Averages
from tf_perceiver.training.guard import Guard, Trouble
from tf_perceiver.training.progress import Progress

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
    "mode", "train_and_eval", ["train", "train_and_eval"], "Whether to evaluate while training."
)
INIT_FROM = flags.DEFINE_string("init_from", None, "Another workdir, whose weights to start from.")


def main(argv: list[str]) -> int | None:
    """Trains; returns the exit code."""
    del argv
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
    )
    evaluator = loop.Evaluator(
        strategy,
        model,
        task,
        *distributed_input.eval_dataset(strategy, info, DATA.value, data, data.eval_split),
    )

    # ------------------------------------------------------------------------------- where from
    run = (workdir, config.to_dict(), DATA.value, info)
    workdirs.check_claim(*run)
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
            salt=int(guard.salt),
            accumulate=pace.accumulate,
        )

    trainer.train_dataset = stream_from(start_step)
    workdirs.claim(*run)  # Last: a mistake in config or data leaves no workdir behind.
    print(
        f"{config.name}: {model.count_params():,} parameters; {records:,} examples; steps "
        f"{start_step:,} to {total_steps:,} of {batch_size} examples on "
        f"{strategy.num_replicas_in_sync} replica(s)",
        flush=True,
    )

    # ------------------------------------------------------------------------------------- loop
    log = workdirs.MetricsLog(workdir / "metrics.jsonl", start_step)
    progress = Progress(total_steps, start_step, batch_size)
    signals = preemption.SignalFlag()
    evaluates = MODE.value == "train_and_eval"
    cadences = [pace.log_every, pace.checkpoint_every]
    cadences += [pace.eval_every] if evaluates else []
    mark = (time.perf_counter(), start_step)

    def due(step: int, every: int) -> bool:
        return step % every == 0 or step == total_steps

    def roll_back(trouble: Trouble) -> bool:
        nonlocal mark
        restored = guard.roll_back(trouble, checkpoints) is not None
        step, salt = int(global_step.numpy()), int(guard.salt)
        trainer.train_dataset = stream_from(step)
        # The row is of the first step that has the new salt: a run that is killed before its next
        # checkpoint resumes from this one, drops the row, and comes here again.
        log.rewind(step)
        row = {"kind": "rollback", "step": step + 1, "salt": salt, "reason": str(trouble)}
        log.write(row | {"time": time.time()})
        print(f"back to step {step:,}, with salt {salt}", file=sys.stderr, flush=True)
        if restored:
            progress.update(step, {})
            mark = (time.perf_counter(), step)
        return restored

    def after_steps(output: dict[str, float]) -> None:
        nonlocal mark
        step = int(global_step.numpy())
        if trouble := guard.trouble():
            print(trouble, file=sys.stderr, flush=True)
            if trouble.good_step is not None and roll_back(trouble):
                return
            row = {"kind": "skipped", "step": trouble.step, "steps": trouble.skipped}
            log.write(row | {"reason": str(trouble), "time": time.time()})
        seconds = time.perf_counter() - mark[0]
        row = {"kind": "train", "step": step, "epoch": round(step * batch_size / records, 4)}
        row |= {name: float(value) for name, value in output.items()}
        row["examples_per_second"] = round((step - mark[1]) * batch_size / seconds, 1)
        log.write(row | {"time": time.time()})
        progress.update(step, output)
        with progress.pause("saving or evaluating"):
            if due(step, pace.checkpoint_every) or signals.received:
                checkpoints.save(step)
            if signals.received:
                raise preemption.Preempted(f"{signals.received.name}: saved step {step:,}")
            if evaluates and due(step, pace.eval_every):
                with averages.in_place():
                    controller.evaluate()
        mark = (time.perf_counter(), step)

    def after_evaluation(output: dict[str, float]) -> None:
        step = int(global_step.numpy())
        row = {"kind": "eval", "split": data.eval_split, "step": step, **output}
        log.write(row | {"time": time.time()})
        progress.update(step, {f"eval_{name}": output[name] for name in task.shown})

    controller = orbit.Controller(
        global_step=global_step,
        trainer=trainer,
        evaluator=evaluator,
        strategy=strategy,
        steps_per_loop=lambda step: min(every - step % every for every in cadences),
        train_actions=[after_steps],
        eval_actions=[after_evaluation],
        summary_dir=str(workdir / "train"),
        eval_summary_dir=str(workdir / "eval"),
    )
    try:
        # Orbit prints every loop's output to stdout; progress goes to stderr.
        with signals, progress, contextlib.redirect_stdout(io.StringIO()):
            controller.train(total_steps, checkpoint_at_completion=False)
    except preemption.Preempted as preempted:
        print(f"{preempted}; run the same command again to go on", file=sys.stderr)
        return preemption.EXIT_CODE

    # ----------------------------------------------------------------------------------- report
    with averages.in_place():
        page = report.write_report(
            workdir / "report",
            model=model,
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
    return None


if __name__ == "__main__":
    command_line.run(main)
