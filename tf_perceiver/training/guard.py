"""Steps that aren't finite: not applied, counted, and, where they don't stop, left behind.

A step whose loss or any gradient isn't finite changes no weight, slot, average or running
statistic, and not `optimizer.iterations`: schedule and bias correction count updates, and go on as
if the batch hadn't been in the stream. `global_step` counts batches and does advance.

After `patience` such steps in a row, training goes back to the newest checkpoint from before them
and takes another salt: the stream is a function of (seed, salt, step), and the same salt would
bring the same batches again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import tensorflow as tf

from tf_perceiver.training.checkpoint import Checkpoints

LOSS = "the loss"
_NAMED = 3  # Tensors of a message; the others are counted.


class Diverged(ValueError):
    """Training can't go on; the message says why."""


@dataclasses.dataclass(frozen=True)
class Trouble:
    """What was passed over since the loop began.

    Attributes:
      step: the last step that wasn't applied; the first step is 1.
      skipped: how many weren't.
      offending: what wasn't finite in that step: `LOSS`, or names of weights.
      good_step: where so many in a row weren't applied that training must go back: the last step
        before them.
    """

    step: int
    skipped: int
    offending: tuple[str, ...]
    good_step: int | None = None

    def __str__(self) -> str:
        weights = [name for name in self.offending if name != LOSS]
        found = [LOSS] if LOSS in self.offending else []
        if weights:
            named = ", ".join(weights[:_NAMED])
            more = len(weights) - _NAMED
            found.append(f"the gradient of {named}" + (f" and {more} more" if more > 0 else ""))
        what = " and ".join(found or ["the gradient's norm"])
        times = f"{self.skipped} steps up to " if self.skipped > 1 else ""
        return f"{times}step {self.step:,} not applied: {what} not finite"


class Guard:
    """Counts the steps that aren't applied; to be made under the strategy's scope.

    Args:
      names: of the weights that are learned, in the order of their gradients.
      patience: so many in a row are too many.
      rollbacks: how often training goes back before it stops.

    Attributes:
      salt: int64 variable; of the stream, and the number of times that training went back.
      skipped: int64 variable: steps that weren't applied, those of abandoned attempts included.
      streak: int64 variable: how many in a row, up to now.

    Raises:
      ValueError: a patience below 1, or negative rollbacks.
    """

    def __init__(self, names: Sequence[str], *, patience: int = 5, rollbacks: int = 3) -> None:
        if patience < 1 or rollbacks < 0:
            raise ValueError(
                f"config.train.guard: patience={patience} must be at least 1, and "
                f"rollbacks={rollbacks} not negative"
            )
        self.names = (LOSS, *names)
        self.patience, self.rollbacks = patience, rollbacks
        self.salt, self.skipped, self.streak = (_variable(0) for _ in range(3))
        # Of the loop: steps that weren't applied, the last of them, what offended in it, and the
        # step with which there were `patience` in a row.
        self._skipped, self._step, self._reached = (_variable(0) for _ in range(3))
        self._offending = _variable([False] * len(self.names), tf.bool)
        self._restored = -1

    @property
    def saved(self) -> dict[str, tf.Variable]:
        """What goes into a checkpoint."""
        return {"salt": self.salt, "skipped": self.skipped, "streak": self.streak}

    def begin_loop(self) -> None:
        """Forgets the loop before."""
        self._skipped.assign(0)
        self._reached.assign(0)

    def record(self, applied: tf.Tensor, offending: tf.Tensor, step: tf.Tensor) -> None:
        """Counts a step, without a branch.

        Args:
          applied: bool [].
          offending: bool [1 + weights]: which of `names` weren't finite.
          step: int64 []; the first is 1.
        """
        missed = tf.cast(tf.logical_not(applied), tf.int64)
        self.skipped.assign_add(missed)
        self._skipped.assign_add(missed)
        streak = (self.streak + 1) * missed
        self.streak.assign(streak)
        self._step.assign(tf.where(applied, self._step, step))
        self._offending.assign(tf.where(applied, self._offending, offending))
        first = tf.equal(self._reached, 0) & (streak >= self.patience)
        self._reached.assign(tf.where(first, step, self._reached))

    def trouble(self) -> Trouble | None:
        """What happened since the loop began; None if every step was applied."""
        if not (skipped := int(self._skipped.numpy())):
            return None
        flags = self._offending.numpy()
        offending = tuple(name for name, flag in zip(self.names, flags, strict=True) if flag)
        reached = int(self._reached.numpy())
        return Trouble(
            int(self._step.numpy()),
            skipped,
            offending,
            reached - self.patience if reached else None,
        )

    def roll_back(self, trouble: Trouble, checkpoints: Checkpoints) -> int | None:
        """Restores the newest checkpoint from before the trouble, and changes the salt.

        One that was restored already, and from which not one step could be applied, isn't taken
        again, but the one before it.

        Returns:
          The step of the checkpoint. None where there is no such one: the weights are those from
          before the trouble all the same, and training goes on from where it stands.

        Raises:
          Diverged: it went back often enough.
        """
        salt, skipped = int(self.salt.numpy()) + 1, int(self.skipped.numpy())
        if salt > self.rollbacks:
            raise Diverged(
                f"{trouble}; training went back {self.rollbacks} times already "
                "(config.train.guard.rollbacks): look at the data, or lower the learning rate"
            )
        newest = trouble.good_step - (trouble.good_step == self._restored)
        step = checkpoints.restore(up_to=newest)
        if step is not None:
            self._restored = step
            checkpoints.delete(lambda other: other > step)
        self.salt.assign(salt)
        self.skipped.assign(skipped)
        self.streak.assign(0)
        return step


def _variable(value: object, dtype: tf.DType = tf.int64) -> tf.Variable:
    return tf.Variable(
        value,
        trainable=False,
        dtype=dtype,
        aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
    )
