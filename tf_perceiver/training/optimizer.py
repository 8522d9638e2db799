"""Learning-rate schedules, LAMB and AdamW, in the paper's form.

Reference: DeepMind ``perceiver/train/experiment.py`` and ``utils.py``. The chain is: clip by global
norm, Adam's moments (bias-corrected), + weight decay * parameter, trust ratio (LAMB's alone),
* learning rate.
"""

from __future__ import annotations

import math
import types
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from tf_perceiver.model import subgraph

# Biases, and scale and offset of norms, are not decayed. Under MirroredStrategy the second
# replica's variables are called "….bias/replica_1:0", so the pattern must allow for that.
_END = r"(/replica_\d+)?:0$"
NOT_DECAYED = [r"\.(bias|gamma|beta)" + _END]
# Latents, learned positions and queries, paddings and mask tokens: decayed by default, as in the
# reference. The embedding of tokens is none of them.
TABLES = [r"(?<!embed)(^|\.)(table|pad|mask)" + _END]
# An empty list would make LAMB copy the list above; this pattern matches nothing, so that the
# trust ratio applies to every tensor, as in the paper.
NO_VARIABLE = ["$^"]


class Schedule(tf.keras.optimizers.schedules.LearningRateSchedule):
    """One of the paper's schedules.

    Args:
      kind: "constant"; "constant_cosine" (flat for `constant_fraction` of the steps, then a cosine
        to 0: Perceiver IO's); "step" (divided by 1 / `decay_rate` at the fractions `boundaries`);
        "cosine" (linear warm-up over `warmup_steps`, then a cosine to 0).
      peak: the learning rate itself.
      total_steps: length of the training.
      warmup_steps: of "cosine", or linear warm-up before "constant" and "constant_cosine".

    Raises:
      ValueError: an unknown kind.
    """

    KINDS = ("constant", "constant_cosine", "step", "cosine")

    def __init__(
        self,
        kind: str,
        peak: float,
        total_steps: int,
        *,
        warmup_steps: int = 0,
        constant_fraction: float = 0.5,
        boundaries: Sequence[float] = (0.5, 0.8, 0.95),
        decay_rate: float = 0.1,
    ) -> None:
        if kind not in self.KINDS:
            raise ValueError(f"config.optimizer.schedule={kind!r} is none of {list(self.KINDS)}")
        self.kind, self.peak, self.total_steps = kind, peak, total_steps
        self.warmup_steps, self.constant_fraction = warmup_steps, constant_fraction
        self.boundaries, self.decay_rate = tuple(boundaries), decay_rate
        self._rates = self._all_rates()

    def get_config(self) -> dict:
        """The arguments, as Keras wants them."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """Learning rate of the 0-based step, float32 []."""
        step = tf.clip_by_value(tf.cast(step, tf.int32), 0, len(self._rates) - 1)
        return tf.gather(tf.constant(self._rates), step)

    def _all_rates(self) -> np.ndarray:
        """float32 [steps]: the rate of each, the last of them for all that follow.

        They are computed beforehand, four bytes a step, for they need float64: in float32 the
        cosine of a long training loses digits near its end. TPUs have no float64.
        """
        last = self.warmup_steps if self.kind == "constant" else self.total_steps
        step = np.arange(max(last, self.warmup_steps) + 1, dtype=np.float64)
        rate = np.full_like(step, self.peak)
        if self.kind == "step":
            for boundary in self.boundaries:
                rate[step >= int(boundary * self.total_steps)] *= self.decay_rate
        elif self.kind != "constant":
            start = self.warmup_steps
            if self.kind == "constant_cosine":
                start = int(self.constant_fraction * self.total_steps)
            left = np.clip((self.total_steps - step) / max(self.total_steps - start, 1), 0.0, 1.0)
            # (1 + cos(pi (1 - left))) / 2, whose sum of nearly opposite numbers loses digits too.
            rate *= np.sin(0.5 * math.pi * left) ** 2
        if self.warmup_steps:
            rate *= np.minimum(step / self.warmup_steps, 1.0)
        return rate.astype(np.float32)


class Conditional:
    """Lets a Keras optimizer of Adam's family leave an update out; goes before it in the bases.

    There is no branch: moments that decay by 1 and a learning rate of 0 leave everything as it is,
    to the bit, so that the same program runs on every device.
    """

    def __init__(self, **fields) -> None:
        super().__init__(**fields)
        self._set_hyper("applied", 1.0)

    def apply_if(
        self,
        applied: tf.Tensor,
        grads_and_vars: Iterable[tuple[tf.Tensor, tf.Variable]],
        factor: tf.Tensor | float,
    ) -> None:
        """Updates the variables and their moments and counts the update, or does neither.

        To be called by every replica, with gradients that are summed over them already.

        Args:
          applied: bool [], the same on all replicas. Where it is false, gradients and `factor` may
            be anything.
          factor: [], by which all gradients are multiplied first.
        """
        grads_and_vars = list(grads_and_vars)
        # Here, infinity times zero is zero.
        factor = tf.where(applied, factor, 0.0)
        factors = {g.dtype: tf.cast(factor, g.dtype) for g, _ in grads_and_vars}
        pairs = [(tf.math.multiply_no_nan(g, factors[g.dtype]), v) for g, v in grads_and_vars]
        with tf.init_scope():
            self._create_all_weights([variable for _, variable in pairs])
        self._get_hyper("applied").assign(tf.cast(applied, tf.float32))
        # What of the update needs no gradient, such as the decayed moments, would be computed as
        # soon as the step begins, and held until its end: three times the size of the weights.
        with tf.control_dependencies([applied]):
            self.apply_gradients(pairs, experimental_aggregate_gradients=False)
        self.iterations.assign_sub(tf.cast(tf.logical_not(applied), tf.int64))

    def _prepare_local(self, var_device: str, var_dtype: tf.DType, apply_state: dict) -> None:
        super()._prepare_local(var_device, var_dtype, apply_state)
        applied = self._get_hyper("applied", var_dtype)
        coefficients = apply_state[(var_device, var_dtype)]
        coefficients["lr_t"] *= applied
        for name in ("beta_1_t", "beta_2_t"):
            decay = tf.where(applied > 0, coefficients[name], tf.ones([], var_dtype))
            coefficients[name], coefficients[f"one_minus_{name}"] = decay, 1 - decay


def _addons() -> types.ModuleType:
    # At the end of its life: imported here and nowhere else.
    import tensorflow_addons

    return tensorflow_addons


def _lamb(not_decayed: list[str], **fields) -> tf.keras.optimizers.legacy.Optimizer:
    class LAMB(Conditional, _addons().optimizers.LAMB):
        def _resource_apply_dense(self, grad, var, apply_state):
            # Written out, every variable's update would be 45 operations of the graph.
            variables = [var, self.get_slot(var, "m"), self.get_slot(var, "v")]
            given = map(tf.convert_to_tensor, (grad, *variables))
            coefficients = apply_state[(var.device, var.dtype.base_dtype)]
            decayed = self._do_use_weight_decay(var)
            values = subgraph.call(_lamb_update, *given, coefficients, decayed=decayed)
            pairs = zip(variables, values, strict=True)
            return tf.group(*(variable.assign(value) for variable, value in pairs))

    return LAMB(
        exclude_from_weight_decay=not_decayed, exclude_from_layer_adaptation=NO_VARIABLE, **fields
    )


class _Value:
    """A variable's value, as LAMB's update reads it and assigns to it in a function of tensors."""

    def __init__(self, value: tf.Tensor) -> None:
        self.value, self.device, self.dtype = value, value.device, value.dtype

    def __tf_tensor__(self, dtype: tf.DType | None = None, name: str | None = None) -> tf.Tensor:
        return self.value

    def __mul__(self, factor: tf.Tensor) -> tf.Tensor:
        return self.value * factor

    def __sub__(self, subtrahend: tf.Tensor) -> tf.Tensor:
        return self.value - subtrahend

    def assign(self, value: tf.Tensor, **_) -> tf.Tensor:
        self.value = value
        return value


def _lamb_update(
    grad: tf.Tensor,
    value: tf.Tensor,
    first: tf.Tensor,
    second: tf.Tensor,
    coefficients: dict[str, tf.Tensor],
    *,
    decayed: bool,
) -> list[tf.Tensor]:
    """What LAMB makes of a variable's value and moments."""
    var, *moments = map(_Value, (value, first, second))
    # All that the update asks of its optimizer.
    asked = types.SimpleNamespace(
        get_slot=lambda _, name: moments["mv".index(name)],
        _do_use_weight_decay=lambda _: decayed,
        _do_layer_adaptation=lambda _: True,  # See `NO_VARIABLE`.
        _use_locking=False,
    )
    state = {(var.device, var.dtype): coefficients}
    _addons().optimizers.LAMB._resource_apply_dense(asked, grad, var, state)
    return [part.value for part in (var, *moments)]


def _adamw(
    not_decayed: list[str], weight_decay: float, **fields
) -> tf.keras.optimizers.legacy.Optimizer:
    from official.modeling.optimization import legacy_adamw

    class AdamW(Conditional, legacy_adamw.AdamWeightDecay):
        def _prepare_local(self, var_device, var_dtype, apply_state):
            super()._prepare_local(var_device, var_dtype, apply_state)
            # The fused update adds epsilon before it corrects the second moment's bias, which
            # makes epsilon up to 30 times as large in the first steps. Adam's paper and the
            # reference add it afterwards.
            coefficients = apply_state[(var_device, var_dtype)]
            coefficients["epsilon"] *= tf.sqrt(1 - coefficients["beta_2_power"])

    return AdamW(weight_decay_rate=weight_decay, exclude_from_weight_decay=not_decayed, **fields)


OPTIMIZERS = {"adamw": _adamw, "lamb": _lamb}


def build(config: ConfigDict, total_steps: int, batch_size: int) -> tf.keras.optimizers.Optimizer:
    """The optimizer of ``config.optimizer`` with its schedule.

    Args:
      config: name, one of `OPTIMIZERS`; learning_rate, scale_by_batch (learning_rate is per 256
        examples), schedule and its fields, weight_decay, decay_positions, beta_1, beta_2, epsilon.
      total_steps: of the training.
      batch_size: global.

    Raises:
      ValueError: an unknown optimizer.
    """
    if config.name not in OPTIMIZERS:
        raise ValueError(
            f"config.optimizer.name={config['name']!r} is none of {sorted(OPTIMIZERS)}"
        )
    peak = config.learning_rate * (batch_size / 256 if config.scale_by_batch else 1)
    return OPTIMIZERS[config.name](
        NOT_DECAYED + ([] if config.decay_positions else TABLES),
        learning_rate=Schedule(
            config.schedule,
            peak,
            total_steps,
            warmup_steps=config.warmup_steps,
            constant_fraction=config.constant_fraction,
            boundaries=config.boundaries,
            decay_rate=config.decay_rate,
        ),
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        epsilon=config.epsilon,
        weight_decay=config.weight_decay,
    )
