"""The inner loops, on Orbit: a while-loop of train steps on the device, and an evaluation.

Orbit's Controller runs them; what it lacks (exact resume, ETA, our checkpoints) is in actions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import orbit
import tensorflow as tf

from tf_perceiver.model import dropout
from tf_perceiver.tasks import Task
from tf_perceiver.tasks.compensated_mean import without_float64
from tf_perceiver.training.averages import Averages
from tf_perceiver.training.guard import Guard
from tf_perceiver.training.input_wait import InputWait

GRADIENT_NORM = "grad_norm"
_WEIGHT = "weight"


class Trainer(orbit.StandardTrainer):
    """Trains a task's model.

    Args:
      strategy: under which model, optimizer and global_step were created; it isn't to be made under
        its scope itself.
      model, task, optimizer: see `tasks`, `optimizer`.
      global_step: int64 variable; advances by one a step.
      batch_size: global; losses are summed over it and divided by it.
      clip_norm: global norm to which the gradient is clipped; 0 for none.
      accumulate: micro-batches that a replica takes its part of a batch in, one after the other.
        The update is the whole batch's, but where the model or the loss compares examples: batch
        norm and Cox's likelihood see a micro-batch, as they see one replica's part.
      averages: of the weights; none unless told.
      guard: passes over what isn't finite; one of its own unless told.
      dropout_seed: where the model has dropout: what it leaves out is a function of this, the
        guard's salt, the step, the replica and the micro-batch.
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
        accumulate: int = 1,
        averages: Averages | None = None,
        guard: Guard | None = None,
        dropout_seed: int | None = None,
        dataset: tf.distribute.DistributedDataset | None = None,
    ) -> None:
        self.strategy, self.model, self.task = strategy, model, task
        self.optimizer, self.global_step = optimizer, global_step
        self.batch_size, self.clip_norm, self.accumulate = batch_size, clip_norm, accumulate
        self.dropout_seed = dropout_seed
        with strategy.scope():
            self.averages = averages or Averages({}, 0.0)
            self.guard = guard or Guard([v.name[:-2] for v in model.trainable_variables])
            self.metrics = without_float64(task.metrics())
            self.metrics[GRADIENT_NORM] = tf.keras.metrics.Mean(GRADIENT_NORM)
        self.input_wait = InputWait()
        super().__init__(train_dataset=dataset)

    def train_loop_begin(self) -> None:
        """Forgets the metrics of the loop before, and its steps that weren't applied."""
        for metric in self.metrics.values():
            metric.reset_states()
        self.guard.begin_loop()
        self.input_wait.begin()

    def create_train_loop_fn(self) -> Callable[..., None]:
        """Orbit's loop on the device, whose steps note how long they wait for their batches."""

        # The loop alone has to be converted: the model isn't written for autograph, which would
        # take as long for it as tracing does, and a hundred megabytes.
        @tf.autograph.experimental.do_not_convert
        def step(iterator: tf.distribute.DistributedIterator) -> None:
            self.train_step(self.input_wait.timed(iterator))

        return tf.function(orbit.utils.create_tf_while_loop_fn(step))

    def train_step(self, iterator: tf.distribute.DistributedIterator) -> None:
        """One update on every replica, or none where loss or gradient isn't finite."""
        result = self.strategy.run(self._replica_step, args=(next(iterator),))
        # The same on all replicas.
        applied, offending = (self.strategy.experimental_local_results(x)[0] for x in result)
        self.guard.record(applied, offending, self.global_step + 1)
        self.global_step.assign_add(1)

    def _replica_step(self, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Whether the update was applied, and which of the guard's names weren't finite."""
        variables = self.model.trainable_variables
        # Running statistics and metrics change on the way to the gradient, each replica's own.
        counts = [v for metric in self.metrics.values() for v in metric.variables]
        counts += self.model.non_trainable_variables
        before = [tf.identity(tf.convert_to_tensor(count)) for count in counts]

        gradients, loss = self._gradients(batch)
        replicas = tf.distribute.get_replica_context()
        *gradients, loss = replicas.all_reduce(tf.distribute.ReduceOp.SUM, [*gradients, loss])
        squares = 2 * tf.stack([tf.nn.l2_loss(gradient) for gradient in gradients])  # In one pass.
        norm = tf.sqrt(tf.reduce_sum(squares))
        offending = tf.logical_not(tf.math.is_finite(tf.concat([[loss], squares], 0)))
        applied = tf.math.is_finite(norm) & tf.math.is_finite(loss)

        # Clipped after the sum over replicas: the norm is the whole batch's.
        factor = self.clip_norm / tf.maximum(norm, self.clip_norm) if self.clip_norm else 1.0
        self.optimizer.apply_if(applied, zip(gradients, variables, strict=True), factor)
        self.averages.update(self.optimizer.iterations, applied)
        self.metrics[GRADIENT_NORM].update_state(norm)
        for count, value in zip(counts, before, strict=True):
            count.assign(tf.where(applied, tf.convert_to_tensor(count), value))
        return applied, offending

    def _gradients(self, batch: dict[str, tf.Tensor]) -> tuple[list[tf.Tensor], tf.Tensor]:
        """This replica's part of the gradient and of the loss; counts its examples in."""
        variables = self.model.trainable_variables

        def of(batch: dict[str, tf.Tensor], part: tf.Tensor | int = 0) -> list[tf.Tensor]:
            keyed = batch | self._dropout_key(part)
            with tf.GradientTape() as tape:
                outputs = self.model(keyed, training=True)
                losses = self.task.loss(outputs, batch, training=True)
                loss = tf.reduce_sum(losses) / self.batch_size
            self.task.update_metrics(self.metrics, outputs, batch, losses)
            return [*tape.gradient(loss, variables), tf.cast(loss, variables[0].dtype)]

        if self.accumulate == 1:
            *gradients, loss = of(batch)
            return gradients, loss
        parts = {name: _cut(name, field, self.accumulate) for name, field in batch.items()}

        def add(i: tf.Tensor, *sums: tf.Tensor) -> tuple[tf.Tensor, ...]:
            part = of({name: field[i] for name, field in parts.items()}, i)
            return (i + 1, *(a + b for a, b in zip(sums, part, strict=True)))

        nothing = [tf.zeros(v.shape, v.dtype) for v in variables]
        # A loop, and one turn at a time: unrolled, all micro-batches could be in memory at once.
        _, *gradients, loss = tf.while_loop(
            lambda i, *sums: i < self.accumulate,
            add,
            (tf.constant(0), *nothing, tf.zeros([], variables[0].dtype)),
            parallel_iterations=1,
            maximum_iterations=self.accumulate,
        )
        return gradients, loss

    def _dropout_key(self, part: tf.Tensor | int) -> dict[str, tf.Tensor]:
        """What the batch of a micro-batch's number needs for the model's dropout."""
        if self.dropout_seed is None:
            return {}
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        salt, step = self.guard.salt, self.global_step
        return {dropout.KEY: dropout.key(self.dropout_seed, salt, step, replica, part)}

    def train_loop_end(self) -> dict[str, float]:
        """Means over the loop's examples, the learning rate of its last update, and `input_wait`.

        Steps that weren't applied are left out of the means; where none was, there are none. The
        last is the share of the loop's time in which its steps waited for their batches.
        """
        values = {}
        if self.metrics[GRADIENT_NORM].count.numpy():
            values = {name: float(metric.result()) for name, metric in self.metrics.items()}
        updates = tf.maximum(self.optimizer.iterations, 1)
        values["learning_rate"] = float(self.optimizer.learning_rate(updates - 1))
        return values | {"input_wait": self.input_wait.share()}


def _cut(name: str, field: tf.Tensor, parts: int) -> tf.Tensor:
    """[b, ...] -> [parts, b / parts, ...]."""
    examples = field.shape[0]
    if examples is None or examples % parts:
        raise ValueError(
            f"config.train.accumulate={parts} doesn't divide the {examples} examples of a "
            f"replica ({name})"
        )
    return tf.reshape(field, [parts, examples // parts, *field.shape[1:]])


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

    @tf.function(autograph=False)
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
