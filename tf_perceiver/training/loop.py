"""The inner loops, on Orbit: a while-loop of train steps on the device, and an evaluation.

Orbit's Controller runs them; what it lacks (exact resume, ETA, our checkpoints) is in actions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import orbit
import tensorflow as tf

from tf_perceiver.tasks import Task
from tf_perceiver.training.input_wait import InputWait

GRADIENT_NORM = "grad_norm"
_WEIGHT = "weight"


class Trainer(orbit.StandardTrainer):
    """Trains a task's model.

    Args:
      strategy: under which model, optimizer and global_step were created.
      model, task, optimizer: see `tasks`, `optimizer`.
      global_step: int64 variable; advances by one a step.
      batch_size: global; losses are summed over it and divided by it.
      clip_norm: global norm to which the gradient is clipped; 0 for none.
      dataset: distributed; can be set later by `train_dataset`.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: tf.keras.Model,
        task: Task,
        optimizer: tf.keras.optimizers.Optimizer,
        global_step: tf.Variable,
        *,
        batch_size: int,
        clip_norm: float,
        dataset: tf.distribute.DistributedDataset | None = None,
    ) -> None:
        self.strategy, self.model, self.task = strategy, model, task
        self.optimizer, self.global_step = optimizer, global_step
        self.batch_size, self.clip_norm = batch_size, clip_norm
        with strategy.scope():
            self.metrics = task.metrics()
            self.metrics[GRADIENT_NORM] = tf.keras.metrics.Mean(GRADIENT_NORM)
        self.input_wait = InputWait()
        super().__init__(train_dataset=dataset)

    def train_loop_begin(self) -> None:
        """Forgets the metrics of the loop before."""
        for metric in self.metrics.values():
            metric.reset_states()
        self.input_wait.begin()

    def create_train_loop_fn(self) -> Callable[..., None]:
        """Orbit's loop on the device, whose steps note how long they wait for their batches."""

        def step(iterator: tf.distribute.DistributedIterator) -> None:
            self.train_step(self.input_wait.timed(iterator))

        return tf.function(orbit.utils.create_tf_while_loop_fn(step))

    def train_step(self, iterator: tf.distribute.DistributedIterator) -> None:
        """One update on every replica."""
        self.strategy.run(self._replica_step, args=(next(iterator),))
        self.global_step.assign_add(1)

    def _replica_step(self, batch: dict[str, tf.Tensor]) -> None:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            outputs = self.model(batch, training=True)
            losses = self.task.loss(outputs, batch, training=True)
            loss = tf.reduce_sum(losses) / self.batch_size
        gradients = tape.gradient(loss, variables)
        replicas = tf.distribute.get_replica_context()
        gradients = replicas.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        # Clipped after the sum over replicas: the norm is the whole batch's.
        norm = tf.linalg.global_norm(gradients)
        if self.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, self.clip_norm, use_norm=norm)
        self.optimizer.apply_gradients(
            zip(gradients, variables, strict=True), experimental_aggregate_gradients=False
        )
        self.task.update_metrics(self.metrics, outputs, batch, losses)
        self.metrics[GRADIENT_NORM].update_state(norm)

    def train_loop_end(self) -> dict[str, float]:
        """Means over the loop's examples, the learning rate of its last step, and `input_wait`.

        The last is the share of the loop's time in which its steps waited for their batches.
        """
        values = {name: float(metric.result()) for name, metric in self.metrics.items()}
        values["learning_rate"] = float(self.optimizer.learning_rate(self.optimizer.iterations - 1))
        values["input_wait"] = self.input_wait.share()
        return values


class Evaluator(orbit.AbstractEvaluator):
    """Evaluates a task's model on every example of a split once.

    Args:
      strategy, model, task: as for `Trainer`.
      dataset: makes the distributed dataset anew for each evaluation.
      batches: number of global batches it has.
    """

    def __init__(
        self,
        strategy: tf.distribute.Strategy,
        model: tf.keras.Model,
        task: Task,
        dataset: Callable[[], tf.distribute.DistributedDataset],
        batches: int,
    ) -> None:
        self.strategy, self.model, self.task = strategy, model, task
        self.dataset, self.batches = dataset, batches
        with strategy.scope():
            self.metrics = task.metrics()
            self.examples = tf.keras.metrics.Sum("examples", dtype=tf.float64)

    def evaluate(self, num_steps: tf.Tensor | None = None) -> dict[str, float]:
        """Metrics over the examples (padding has weight 0), and how many were counted."""
        del num_steps  # Always the whole split.
        for metric in (*self.metrics.values(), self.examples):
            metric.reset_states()
        iterator = iter(self.dataset())
        batches = [self._gathered(self._step(next(iterator))) for _ in range(self.batches)]
        values = {name: float(metric.result()) for name, metric in self.metrics.items()}
        kept = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
        return {"examples": int(self.examples.result()), **values, **self.task.whole(kept)}

    @tf.function
    def _step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return self.strategy.run(self._replica_step, args=(batch,))

    def _replica_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        outputs = self.model(batch, training=False)
        losses = self.task.loss(outputs, batch, training=False)
        self.task.update_metrics(self.metrics, outputs, batch, losses)
        self.examples.update_state(batch["weight"])
        kept = self.task.kept(outputs, batch)
        return kept | {_WEIGHT: batch["weight"]} if kept else {}

    def _gathered(self, kept: dict[str, tf.Tensor]) -> dict[str, np.ndarray]:
        """What all replicas of all hosts kept, without padding."""
        whole = {name: self.strategy.gather(part, axis=0).numpy() for name, part in kept.items()}
        counted = whole.pop(_WEIGHT, np.ones(0)) > 0
        return {name: part[counted] for name, part in whole.items()}
