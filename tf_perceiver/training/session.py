"""What happens between the device's loops: rows, checkpoints, evaluations, rollbacks, leaving."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orbit
import tensorflow as tf
from ml_collections import ConfigDict

from tf_perceiver.training import preemption, profile
from tf_perceiver.training import strategy as strategies
from tf_perceiver.training import workdir as workdirs
from tf_perceiver.training.best import Best
from tf_perceiver.training.checkpoint import SPACE, Checkpoints
from tf_perceiver.training.guard import Trouble
from tf_perceiver.training.loop import Evaluator, Trainer
from tf_perceiver.training.progress import Progress

LONG_LOOP = 30.0  # Seconds; schedulers don't wait much longer before they kill.


class Session:
    """Trains from where the trainer's state is to the last step, on Orbit's Controller.

    Args:
      workdir: of the run; of many workers, the chief alone writes.
      config: of the run.
      trainer, evaluator: see `loop`.
      checkpoints: of the run, from which the trainer's state was restored, if there was one.
      stream_from: gives the training stream from a step on, with the guard's salt.
      records: number of training examples. total_steps: of the run.
      evaluates: whether to evaluate while training.
    """

    def __init__(
        self,
        workdir: Path,
        config: ConfigDict,
        trainer: Trainer,
        evaluator: Evaluator,
        checkpoints: Checkpoints,
        stream_from: Callable[[int], tf.distribute.DistributedDataset],
        *,
        records: int,
        total_steps: int,
        evaluates: bool,
    ) -> None:
        self.pace, self.split = config.train, config.data.eval_split
        self.trainer, self.strategy, self.checkpoints = trainer, trainer.strategy, checkpoints
        self.stream_from, self.evaluates = stream_from, evaluates
        self.records, self.total_steps = records, total_steps
        self.start_step = self.step
        self.chief = chief = strategies.is_chief(self.strategy)
        self.metrics_file = workdir / "metrics.jsonl"
        rows = [r for r in workdirs.read_metrics(self.metrics_file) if r["step"] <= self.start_step]
        evaluations = [row for row in rows if row["kind"] == "eval" and row["split"] == self.split]
        # All must do the same, and another may see the file later than the chief.
        evaluations = strategies.from_chief(self.strategy, evaluations)
        self.evaluated = any(row["step"] == self.start_step for row in evaluations)
        self.best = Best(self.pace.best_metric, checkpoints, evaluations)
        self.progress = Progress(
            total_steps,
            self.start_step,
            trainer.batch_size,
            stream=None if chief else io.StringIO(),
        )
        self.signals = preemption.SignalFlag()
        self.warned = False
        self.window = profile.Window(workdir / "profile" if chief else None, *self.pace.profile)
        self.controller = orbit.Controller(
            global_step=trainer.global_step,
            trainer=trainer,
            evaluator=evaluator,
            strategy=self.strategy,
            steps_per_loop=self._next_loop,
            train_actions=[self._after_steps],
            eval_actions=[self._after_evaluation],
            summary_dir=str(workdir / "train") if chief else None,
            eval_summary_dir=str(workdir / "eval") if chief else None,
        )

    @property
    def step(self) -> int:
        """Number of steps done."""
        return int(self.trainer.global_step.numpy())

    def train(self) -> None:
        """Trains to the last step.

        Raises:
          Preempted: a signal asked to stop; everything is saved.
          Diverged: see `Guard.roll_back`.
        """
        log_file = self.metrics_file if self.chief else None
        self.log = workdirs.MetricsLog(log_file, self.start_step)
        self.mark = (time.perf_counter(), self.start_step)
        try:
            # Orbit prints every loop's output to stdout; progress goes to stderr.
            quiet = contextlib.redirect_stdout(io.StringIO())
            with self.signals, self.progress, self.window, quiet:
                self._catch_up()
                self.controller.train(self.total_steps, checkpoint_at_completion=False)
        except OSError as error:  # Of the log; what `Checkpoints.save` raises has no number.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise OSError(f"{self.metrics_file}: {error.strerror}; {SPACE}") from error
        except tf.errors.OpError as error:
            reason = error.message.strip().splitlines()[0][:200]
            if "No space left" in reason:
                raise OSError(f"{self.metrics_file.parent}: {reason}; {SPACE}") from error
            raise

    def _catch_up(self) -> None:
        """What a run that was stopped between saving and evaluating has still to do."""
        if self.start_step and self._evaluation_due(self.start_step) and not self.evaluated:
            self._evaluate(self.start_step)

    def _next_loop(self, step: int) -> int:
        """Number of steps until something is due."""
        cadences = [self.pace.log_every, self.pace.checkpoint_every]
        cadences += [self.pace.eval_every] if self.evaluates else []
        count = min(every - step % every for every in cadences)
        self.window.upcoming(step, step + count)
        return count

    def _due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.total_steps

    def _evaluation_due(self, step: int) -> bool:
        return self.evaluates and self._due(step, self.pace.eval_every)

    def _after_steps(self, output: dict[str, float]) -> None:
        step, batch_size = self.step, self.trainer.batch_size
        if trouble := self.trainer.guard.trouble():
            print(trouble, file=sys.stderr, flush=True)
            if trouble.good_step is not None and self._roll_back(trouble):
                return
            self._write("skipped", trouble.step, steps=trouble.skipped, reason=str(trouble))
        seconds, steps = time.perf_counter() - self.mark[0], step - self.mark[1]
        if seconds > LONG_LOOP and self.mark[1] != self.start_step and not self.warned:
            self.warned = True
            print(
                f"{steps} steps take {seconds:.0f} s, and a signal to stop waits as long: lower "
                "config.train.log_every",
                file=sys.stderr,
                flush=True,
            )
        values = {name: float(value) for name, value in output.items()}
        rate = round(steps * batch_size / seconds, 1)
        epoch = round(step * batch_size / self.records, 4)
        self._write("train", step, epoch=epoch, **values, examples_per_second=rate)
        self.progress.update(step, output)
        with self.progress.pause("saving or evaluating"):
            if self._due(step, self.pace.checkpoint_every):
                self.checkpoints.save(step)
            self._leave_if_asked(step)
            if self._evaluation_due(step):
                self._evaluate(step)
                self._leave_if_asked(step)
        self.mark = (time.perf_counter(), step)

    def _roll_back(self, trouble: Trouble) -> bool:
        """Changes the stream; whether the state went back too."""
        guard = self.trainer.guard
        restored = guard.roll_back(trouble, self.checkpoints) is not None
        step, salt = self.step, int(guard.salt.numpy())
        self.trainer.train_dataset = self.stream_from(step)
        # The row is of the first step that has the new salt: a run that is killed before its next
        # checkpoint resumes from this one, drops the row, and comes here again.
        self.log.rewind(step)
        self._write("rollback", step + 1, salt=salt, reason=str(trouble))
        print(f"back to step {step:,}, with salt {salt}", file=sys.stderr, flush=True)
        if restored:
            self.best.forget_after(step)
            self.progress.update(step, {})
            self.mark = (time.perf_counter(), step)
        return restored

    def _leave_if_asked(self, step: int) -> None:
        # All together: a worker that stays would wait for those that left.
        received = self.signals.received
        if strategies.any_worker(self.strategy, received is not None):
            if self.checkpoints.newest != step:
                self.checkpoints.save(step)
            name = received.name if received else "a signal to another worker"
            raise preemption.Preempted(f"{name}: saved step {step:,}")

    def _evaluate(self, step: int) -> None:
        with self.trainer.averages.in_place():
            output = self.controller.evaluate()
        self.best.consider(step, output)

    def _after_evaluation(self, output: dict[str, float]) -> None:
        self._write("eval", self.step, split=self.split, **output)
        shown = {f"eval_{name}": output[name] for name in self.trainer.task.shown}
        self.progress.update(self.step, shown)

    def _write(self, kind: str, step: int, **values: object) -> None:
        self.log.write({"kind": kind, "step": step, **values, "time": time.time()})
