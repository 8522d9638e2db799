"""What is measured: whole presets and single parts, each on one random batch in memory.

A subject's work goes through the model's own entry points (preprocessor, encoder, decoder), so it
measures whatever path the config chooses.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import orbit
import tensorflow as tf

from benchmarks import batches, quick
from configs import base
from tf_perceiver import presets, tasks
from tf_perceiver.model import cost, perceiver
from tf_perceiver.model.attention import SelfAttention
from tf_perceiver.model.byte_array import ByteArray
from tf_perceiver.model.latent import LatentBlock
from tf_perceiver.training import loop, optimizer

ATTENTIONS = ("plain", "structured")
MEASURES = {
    "forward": "forward",
    "forward_backward": "forward + backward",
    "train_step": "train step",
}
# A backward pass has two products for each of the forward one's.
PASSES = {"forward": 1, "forward_backward": 3, "train_step": 3}
# Of the latent transformer alone: layers, and how often they are repeated, as in the presets.
LAYERS, REPEATS = 6, 8
TOTAL_STEPS = 1_000_000  # of the schedule; the learning rate has no part in the time

Fields = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model, or a part of one, at work on its batch.

    Attributes:
      name: a preset's or a part's.
      calls: {measure: runs it once, and waits}.
      flops: useful ones of one forward pass of the batch, by `tf_perceiver.model.cost`.
      batch_size: B.
      batch: what it reads.
      parameters: number of trainable ones.
    """

    name: str
    calls: Mapping[str, Callable[[], object]]
    flops: int
    batch_size: int
    batch: Mapping[str, tf.Tensor]
    parameters: int

    def work(self, measure: str) -> int:
        """Useful FLOPs of one call."""
        return PASSES[measure] * self.flops


Maker = Callable[[], Subject]


def config_of(preset: str, attention: str, *, recompute: bool = False) -> Fields:
    """``config.model`` of a preset, by the plain definition or by the structured path.

    Args:
      preset: one of `presets.PRESETS`. attention: "plain" or "structured", for the trunk, and for
        the decoder where it has queries.
      recompute: whether the backward pass computes the latent transformer's activations anew.

    Raises:
      ValueError: an unknown preset or attention.
    """
    if preset not in presets.PRESETS:
        raise ValueError(f"no preset {preset!r}; there are {', '.join(presets.PRESETS)}")
    return with_attention(presets.PRESETS[preset].model(), attention, recompute=recompute)


def with_attention(model: Fields, attention: str, *, recompute: bool = False) -> Fields:
    """The same ``config.model`` with the path chosen; see `config_of`."""
    if attention not in ATTENTIONS:
        raise ValueError(f"attention={attention!r} is none of {', '.join(ATTENTIONS)}")
    trunk = {**model["trunk"], "attention": attention}
    if recompute:
        trunk["recompute"] = True
    chosen = {**model, "trunk": trunk}
    if model.get("decoder", {}).get("kind", "average") != "average":
        chosen["decoder"] = {**model["decoder"], "attention": attention}
    return chosen


class SquaredOutputs:
    """A task for models that don't classify: brings the outputs near zero.

    Its loss costs next to nothing and needs no targets, so that what is timed is the model's.
    """

    def loss(self, outputs: Any, batch: Mapping[str, tf.Tensor], training: bool) -> tf.Tensor:
        """Outputs, each [B, ...] -> [B], the sum of their mean squares."""
        del batch, training
        flat = [tf.reshape(x, [tf.shape(x)[0], -1]) for x in tf.nest.flatten(outputs)]
        return tf.add_n([tf.reduce_mean(tf.square(tf.cast(x, tf.float32)), 1) for x in flat])

    def metrics(self) -> dict[str, tf.keras.metrics.Mean]:
        """The mean loss."""
        return {"loss": tf.keras.metrics.Mean("loss")}

    def update_metrics(self, metrics: Mapping, outputs: Any, batch: Mapping, losses) -> None:
        """Counts a batch in."""
        del outputs, batch
        metrics["loss"].update_state(losses)


def whole(
    model_config: Fields, name: str, outputs: int, batch_size: int, *, small: bool = False
) -> Subject:
    """A model of any config with all `MEASURES`.

    Args:
      model_config: ``config.model``, see `with_attention`.
      name: to be shown. outputs: number of classes, 0 where it doesn't classify.
      batch_size: B. small: cut down by `quick.shrunk`.
    """
    model_config = quick.shrunk(model_config) if small else model_config
    batch = batches.of_model(model_config, outputs, batch_size)
    classifies = model_config.get("decoder", {"kind": "average"})["kind"] in batches.CLASSIFIERS
    task = tasks.Classification(batches.described(outputs)) if classifies else SquaredOutputs()
    strategy = tf.distribute.OneDeviceStrategy("/gpu:0" if _gpus() else "/cpu:0")
    with strategy.scope():
        model = perceiver.build(model_config, outputs)
        _fill_zeros(model)

    def loss() -> tf.Tensor:
        return tf.reduce_mean(task.loss(model(batch, training=True), batch, training=True))

    @functools.cache
    def train() -> Callable[[], object]:
        # Made when it is asked for: it has no part in the memory of the other measures.
        settings = base.classification(name, model_config).optimizer
        with strategy.scope():
            trainer = loop.Trainer(
                strategy,
                model,
                task,
                optimizer.build(settings, TOTAL_STEPS, batch_size),
                orbit.utils.create_global_step(),
                batch_size=batch_size,
                clip_norm=settings.clip_norm,
            )
        trainer.train_dataset = strategy.distribute_datasets_from_function(
            lambda _: tf.data.Dataset.from_tensors(batch).cache().repeat()
        )
        return functools.partial(trainer.train, tf.constant(1))

    calls = {
        "forward": waiting(lambda: model(batch, training=False)),
        "forward_backward": gradients_of(loss, model.trainable_variables),
        "train_step": lambda: train()(),
    }
    inputs = model.preprocessor(batch).length
    flops = batch_size * cost.flops(model, inputs, queries_of(model_config, inputs))
    return Subject(name, calls, flops, batch_size, batch, _parameters(model.trainable_variables))


def of_preset(
    preset: str,
    attention: str,
    batch_size: int,
    *,
    recompute: bool = False,
    small: bool = False,
) -> Subject:
    """A preset's model with the number of classes that it was published with; see `whole`."""
    config = config_of(preset, attention, recompute=recompute)
    return whole(config, preset, presets.PRESETS[preset].outputs, batch_size, small=small)


def cross_attend(
    model_config: Fields, name: str, batch_size: int, *, small: bool = False
) -> Subject:
    """One cross-attend of a model's trunk with its MLP, from the batch to the latents.

    Args:
      model_config: ``config.model``. name, batch_size, small: see `whole`.
    """
    model_config = quick.shrunk(model_config) if small else model_config
    batch = batches.of_model(model_config, 2, batch_size)
    model = perceiver.build(_without_blocks(model_config), 2)
    encoder, preprocessor = model.encoder, model.preprocessor
    inputs = preprocessor(batch).length
    flops = cost.cross_attend(encoder.cross[0], encoder.latents.shape[0], inputs)
    flops += cost.preprocessing(preprocessor, inputs)
    variables = encoder.trainable_variables + preprocessor.trainable_variables
    return _part(
        name,
        lambda training: encoder(preprocessor(batch, training=training), training=training),
        variables,
        flops * batch_size,
        batch_size,
        batch,
    )


def cross_attend_of(
    preset: str, attention: str, batch_size: int, *, small: bool = False
) -> Subject:
    """One cross-attend of a preset; see `cross_attend`."""
    return cross_attend(config_of(preset, attention), preset, batch_size, small=small)


def latent_transformer(
    latents: int = 512,
    channels: int = 1024,
    heads: int = 8,
    layers: int = LAYERS,
    repeats: int = REPEATS,
    batch_size: int = 1,
    *,
    small: bool = False,
) -> Subject:
    """Self-attends alone, each with its MLP, on latents [B, N, D], all of them `repeats` times.

    Of their attention the probabilities are kept, as by Perceiver IO's models of ImageNet. `small`
    wins over the sizes.
    """
    if small:
        bounds = quick.BOUNDS
        latents, channels = bounds["num_latents"], bounds["latent_channels"]
        heads, layers = bounds["self_heads"], bounds["self_attends_per_block"]
    stack = [SelfAttention(f"latent.{i}", channels, heads=heads) for i in range(layers)]
    z = tf.Variable(tf.random.stateless_normal((batch_size, latents, channels), seed=(0, 0)))

    def forward(training: bool) -> tf.Tensor:
        del training
        x = tf.cast(tf.convert_to_tensor(z), stack[0].compute_dtype)
        return LatentBlock(stack, keeps=True)(x, repeats)

    variables = [v for layer in stack for v in layer.trainable_variables]
    flops = batch_size * repeats * sum(cost.self_attend(layer, latents) for layer in stack)
    return _part("latent transformer", forward, [*variables, z], flops, batch_size, {"latents": z})


def decoder(model_config: Fields, name: str, batch_size: int, *, small: bool = False) -> Subject:
    """A decoder alone, from latents and the byte array to the outputs.

    Args:
      model_config: ``config.model``. name, batch_size, small: see `whole`.
    """
    model_config = quick.shrunk(model_config) if small else model_config
    batch = batches.of_model(model_config, 2, batch_size)
    model = perceiver.build(_without_blocks(model_config), 2)
    _fill_zeros(model)
    shape = (batch_size, *model.encoder.latents.shape)
    z = tf.Variable(tf.random.stateless_normal(shape, seed=(0, 0)))

    def forward(training: bool) -> Any:
        latents = tf.cast(tf.convert_to_tensor(z), model.compute_dtype)
        array: ByteArray = model.preprocessor(batch, training=training)
        return model.decoder(latents, array, batch)

    inputs = model.preprocessor(batch).length
    flops = cost.decoding(model, queries_of(model_config, inputs))
    flops += cost.preprocessing(model.preprocessor, inputs)
    variables = [*model.decoder.trainable_variables, *model.preprocessor.trainable_variables, z]
    # A decoder that ties its weights to the preprocessor's has them in both.
    variables = list({id(v): v for v in variables}.values())
    return _part(name, forward, variables, flops * batch_size, batch_size, batch)


def decoder_of(preset: str, attention: str, batch_size: int, *, small: bool = False) -> Subject:
    """A preset's decoder; see `decoder`."""
    return decoder(config_of(preset, attention), preset, batch_size, small=small)


def _part(
    name: str,
    forward: Callable[[bool], Any],
    variables: list[tf.Variable],
    flops: int,
    batch_size: int,
    batch: Mapping[str, tf.Tensor],
) -> Subject:
    """A part with "forward" and "forward_backward"."""
    task = SquaredOutputs()

    def loss() -> tf.Tensor:
        return tf.reduce_mean(task.loss(forward(True), {}, training=True))

    calls = {
        "forward": waiting(lambda: forward(False)),
        "forward_backward": gradients_of(loss, variables),
    }
    return Subject(name, calls, flops, batch_size, batch, _parameters(variables))


def queries_of(model_config: Fields, inputs: int) -> int:
    """How many outputs the decoder is asked for, given M inputs; 0 for the averaging head."""
    decoder_config = model_config.get("decoder", {"kind": "average"})
    match decoder_config["kind"]:
        case "average":
            return 0
        case "classification":
            return 1
        case "autoencoding":
            return sum(asked for asked, _ in batches.sampled(decoder_config).values()) + 1
    return inputs


def gradients_of(
    loss: Callable[[], tf.Tensor], variables: list[tf.Variable]
) -> Callable[[], object]:
    """A call that runs forward and backward to the gradient of every variable."""

    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            value = loss()
        return tape.gradient(value, variables)

    return waiting(gradients)


def waiting(function: Callable[[], Any]) -> Callable[[], object]:
    """A compiled call that returns when its results are there, on accelerators too."""
    compiled = tf.function(function, autograph=False)
    if not _gpus():
        return compiled

    def run() -> object:
        results = compiled()
        tf.test.experimental.sync_devices()
        return results

    return run


def _gpus() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def _without_blocks(model_config: Fields) -> Fields:
    """The model with one cross-attend and no self-attend."""
    trunk = {**model_config["trunk"], "cross_attends": 1, "blocks": 1, "self_attends_per_block": 0}
    return {**model_config, "trunk": trunk}


def _fill_zeros(model: tf.keras.Model) -> None:
    """Heads start at zero, through which no gradient passes: nobody trains in that state long."""
    for variable in model.trainable_variables:
        if variable.name.endswith("kernel:0") and not tf.reduce_any(variable != 0):
            variable.assign(0.02 * tf.random.stateless_normal(variable.shape, seed=(0, 0)))


def _parameters(variables: list[tf.Variable]) -> int:
    return sum(v.shape.num_elements() for v in variables)
