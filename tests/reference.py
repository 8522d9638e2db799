"""Builds our models from the goldens' descriptions, and compares with what they hold.

A golden is an npz with ``meta_json`` (what the reference was configured with), ``params/<name>``,
``state/<name>``, ``inputs/<name>``, ``outputs/<name>`` and ``grads/<name>``, the names of weights
being our neutral ones. `build` takes a description to a model that is called with a golden's
inputs, by their names, and gives its outputs, by theirs.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from configs import base
from tf_perceiver.model import attention as plain
from tf_perceiver.model import linear, patches, perceiver, positions
from tf_perceiver.training import optimizer

GOLDENS = pathlib.Path(__file__).resolve().parent / "goldens"
DEFAULT_PADDING = 2  # DeepMind's class default of a multimodal preprocessor's min_padding_size.


class Golden:
    """One npz of tests/goldens."""

    def __init__(self, case: str) -> None:
        with np.load(GOLDENS / f"{case}.npz") as arrays:
            self.arrays = {name: arrays[name] for name in arrays.files}
        self.meta = json.loads(str(self.arrays.pop("meta_json")))

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    def group(self, prefix: str) -> dict[str, np.ndarray]:
        """Arrays under ``<prefix>/``, without it."""
        prefix += "/"
        return {k.removeprefix(prefix): v for k, v in self.arrays.items() if k.startswith(prefix)}


class Reference(tf.Module):
    """One of our models behind a golden's names.

    Attributes:
      model: the Perceiver, called with a batch of ours.
    """

    def __init__(self, model: perceiver.Perceiver, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.model, self.config = model, config

    def named_weights(self) -> dict[str, tf.Variable]:
        """{neutral name: variable}."""
        return self.model.named_weights()

    @property
    def trainable_variables(self) -> list[tf.Variable]:
        """The model's."""
        return self.model.trainable_variables

    def batch(self, inputs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
        """A golden's inputs under the keys that our preprocessors read."""
        names = {
            "images": "image",
            "tokens": "text",
            "sub_image": "image_indices",
            "sub_audio": "audio_indices",
        }
        batch = {names.get(k, k): tf.convert_to_tensor(v) for k, v in inputs.items()}
        for key in ("image_indices", "audio_indices"):
            if key in batch:
                batch[key] = tf.cast(batch[key], tf.int32)
        if "positions" in batch or "xyz" in batch:
            batch["points"] = batch.get("xyz", batch.get("positions"))
        return batch

    def __call__(self, inputs: Mapping[str, Any], training: bool = False) -> dict[str, tf.Tensor]:
        """A golden's inputs by name -> its outputs by name, and some that it may not have."""
        model, batch = self.model, self.batch(inputs)
        array = model.preprocessor(batch, training=training)
        for name in ("mask", "input_mask"):
            if name in batch:
                array = dataclasses.replace(array, mask=tf.cast(batch[name], tf.bool))
        dense = array.dense()
        encoder = model.encoder
        mask = None if array.mask is None else array.mask[:, None]
        first = encoder.cross[0](encoder.start(tf.shape(dense)[0]), dense, mask)
        latents = encoder(array, training=True)  # As its gradient is made in training.
        outputs = {
            "encoder_inputs": dense,
            "latents_after_cross": first,
            "latents_after_cross_0": first,
            "latents": latents,
        }
        decoded = model.decoder(latents, array, batch)
        match self.config["kind"]:
            case "io_mlm":
                outputs |= {
                    "decoder_output": model.decoder.vectors(latents, array, batch),
                    "logits": decoded,
                }
            case "io_flow":
                outputs |= self._flow(batch, decoded)
            case "io_video_autoencoder":
                outputs |= self._autoencoding(batch, latents, decoded)
            case _:
                outputs |= {"logits": decoded, "logits_via_module": decoded}
                if "labels" in self.config:
                    outputs["loss"] = tf.reduce_mean(
                        tf.nn.sparse_softmax_cross_entropy_with_logits(
                            self.config["labels"], decoded
                        )
                    )
        return outputs

    def _flow(self, batch: Mapping[str, tf.Tensor], decoded: tf.Tensor) -> dict[str, tf.Tensor]:
        factor = self.config.get("flow_scale_factor", 20)
        return {
            "patches": patches.neighbourhoods(batch["image"]),
            "flow": decoded,
            "flow_x20": decoded * factor,
        }

    def _autoencoding(
        self,
        batch: Mapping[str, tf.Tensor],
        latents: tf.Tensor,
        decoded: Mapping[str, tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        decoder = self.model.decoder
        queries, vectors = [], []
        for name in decoder.MODALITIES:
            asked = decoder.queries[name]
            indices = batch.get(f"{name}_indices")
            rows = asked.rows(tf.range(asked.count)) if indices is None else asked.chosen(indices)
            queries.append(decoder.padded(name, rows))
            vectors.append(decoder.vectors(name, rows, latents))
        queries = tf.concat(queries, 0)
        return {
            "decoder_queries": tf.repeat(queries[None], tf.shape(latents)[0], 0),
            "decoder_output": tf.concat(vectors, 1),
            **{f"recon_{name}": value for name, value in decoded.items()},
            # The reference leaves a whole video as a list of pixels.
            "recon_image": tf.reshape(
                decoded["image"], [tf.shape(latents)[0], -1, decoded["image"].shape[-1]]
            ),
        }


def build(meta: dict[str, Any], attention: str = "structured") -> Reference | Callable:
    """Our model for a golden's ``meta_json``, called with its inputs by name.

    The kinds without weights (units, post-processing, the optimizer's trajectory) give a function
    of the same form.

    Raises:
      ValueError: a kind of model that there is not.
    """
    config = meta["config"]
    kind = config["kind"]
    if kind in FUNCTIONS:
        return lambda inputs: FUNCTIONS[kind](config, inputs)
    fields, outputs = _model_of(kind)({**config, "haiku_names": meta.get("haiku_names", {})})
    fields["trunk"]["attention"] = attention
    learned = fields["inputs"].get("positions", {})
    unknown = learned.get("kind") == "learned" and learned["index_dims"] is None
    if unknown:
        learned["index_dims"] = (_table_rows(fields, outputs, meta["n_params"]),)
    model = perceiver.build(fields, outputs)
    if unknown:  # The reference makes its table for the first input that it sees, on any grid.
        encoding = model.preprocessor.positions.encoding
        encoding.grid = lambda index_dims: tf.convert_to_tensor(encoding.table)
    return Reference(model, config)


def _model_of(kind: str) -> Callable:
    """What takes a kind's config to our fields; a kind that extends a known one is read as it."""
    for known in sorted(MODELS, key=len, reverse=True):
        if kind.startswith(known):
            return MODELS[known]
    if kind.startswith("v1_"):
        return _v1_classifier
    known = sorted({**MODELS, **FUNCTIONS})
    raise ValueError(f"no model of kind {kind!r}; there are {', '.join(known)}")


def _table_rows(fields: Mapping[str, Any], outputs: int, parameters: int) -> int:
    """Rows of the learned positions, from the number of all parameters."""
    learned = fields["inputs"]["positions"]
    learned["index_dims"] = (1,)
    with tf.Graph().as_default():
        model = perceiver.build(fields, outputs)
        others = sum(v.shape.num_elements() for v in model.trainable_variables)
    return 1 + (parameters - others) // learned["channels"]


def _v1_classifier(config: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    fields = {"inputs": _inputs(config.get("preprocessor", config)), "trunk": _v1_trunk(config)}
    return fields, config["num_classes"]


def _v1_trunk(config: Mapping[str, Any]) -> dict[str, Any]:
    trunk = config["trunk"]
    cross = trunk.get("cross_attends", trunk["iterations"])
    return {
        "num_latents": trunk["n_latents"],
        "latent_channels": trunk["channels"],
        "cross_attends": cross,
        "blocks": trunk["iterations"],
        "self_attends_per_block": trunk["self_per_block"],
        "cross_heads": trunk["cross_heads"],
        "self_heads": trunk["self_heads"],
        "sharing": _plan(trunk["sharing"], cross, trunk["iterations"], config["haiku_names"]),
        "arrangement": trunk.get("arrangement", "interleaved").replace(" ", "_"),
    }


def _plan(
    sharing: str | Mapping[str, Any], cross: int, blocks: int, names: Collection[str]
) -> str | dict[str, Any]:
    """The plan that the description names; where only weights tell it, from their numbers."""
    if sharing in ("none", "paper", "all"):
        return sharing
    if isinstance(sharing, Mapping):
        own = next(sharing[key] for key in ("blocks", "block", "self") if key in sharing)
        return {"cross": sharing["cross"], "blocks": own}

    def numbers(part: str, count: int) -> list[int]:
        sets = 1 + max(int(name.split(".")[2]) for name in names if name.startswith(part))
        return [min(i, sets - 1) for i in range(count)]

    return {"cross": numbers("enc.cross.", cross), "blocks": numbers("enc.self.", blocks)}


def _v1_multimodal(config: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    described = dict(config["preprocessor"])
    padding = described.pop("min_padding_size", DEFAULT_PADDING)
    inputs = {
        "kind": "multimodal",
        "min_padding": padding,
        "modalities": {name: _inputs(fields) for name, fields in described.items()},
    }
    return {"inputs": inputs, "trunk": _v1_trunk(config)}, config["num_classes"]


def _io_trunk(encoder: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "num_latents": encoder["z_index_dim"],
        "latent_channels": encoder["num_z_channels"],
        "cross_attends": 1,
        "blocks": encoder["num_blocks"],
        "self_attends_per_block": encoder["num_self_attends_per_block"],
        "cross_heads": encoder["num_cross_attend_heads"],
        "self_heads": encoder["num_self_attend_heads"],
        "cross_widening": encoder.get("cross_attend_widening_factor", 1),
        "self_widening": encoder.get("self_attend_widening_factor", 1),
        "sharing": "all",
        "shape_for_attn": encoder.get("cross_attention_shape_for_attn", "kv"),
        "query_residual": encoder.get("use_query_residual", True),
        "qk_channels": encoder.get("qk_channels"),
        "v_channels": encoder.get("v_channels"),
    }


def _io_decoding(decoder: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "heads": decoder.get("num_heads", 1),
        "qk_channels": decoder.get("qk_channels"),
        "v_channels": decoder.get("v_channels"),
        "query_residual": decoder.get("use_query_residual", False),
    }


def _io_classifier(config: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    decoder = config["decoder"]
    fields = {
        "inputs": _inputs(config["preprocessor"]),
        "trunk": _io_trunk(config["encoder"]),
        "decoder": {
            "kind": "classification",
            "query_channels": decoder["trainable_position_encoding_kwargs"]["num_channels"],
            **_io_decoding(decoder),
        },
    }
    if "bn" in config:
        assert config["bn"] == {"decay_rate": 0.9, "eps": 1e-5}
    return fields, config["num_classes"]


def _io_mlm(config: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    decoder = config["decoder"]
    assert not decoder.get("final_project", False)
    fields = {
        "inputs": {
            "kind": "text",
            "vocabulary": config["vocab_size"],
            "length": config["max_seq_len"],
            "width": config["d_model"],
        },
        "trunk": _io_trunk(config["encoder"]),
        "decoder": {
            "kind": "text",
            "length": decoder["output_index_dims"],
            **_io_decoding(decoder),
        },
    }
    return fields, 0


def _io_flow(config: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    preprocessor = config["preprocessor"]
    fields = {
        "inputs": {
            "kind": "frame_pair",
            "project": preprocessor["num_channels"],
            **_combined(preprocessor),
        },
        "trunk": _io_trunk(config["encoder"]),
        "decoder": {
            "kind": "flow",
            "divisor": config["rescale_factor"],
            **_io_decoding(config.get("decoder", {})),
        },
    }
    return fields, 0


def _io_video_autoencoder(config: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    frames, size, samples = config["num_frames"], config["image_size"], config["audio_samples"]
    patch_frames, patch, _ = config["video_patch"]
    samples_per_patch = config["samples_per_patch"]
    # The same for both ends, although the encoder's grid of patches is coarser.
    image = {"bands": config["image_bands"], "max_resolution": (frames, size, size)}
    audio = {"bands": config["audio_bands"], "max_resolution": (samples,)}
    fields = {
        "inputs": {
            "kind": "multimodal",
            "min_padding": config["min_padding_pre"],
            "mask_probabilities": config["mask_probs"],
            "modalities": {
                "image": {
                    "kind": "patches",
                    "patch": patch,
                    "frames": patch_frames,
                    "positions": image,
                },
                "audio": {
                    "kind": "waveform",
                    "samples_per_patch": samples_per_patch,
                    "positions": audio,
                },
                "label": {"kind": "one_hot", "classes": config["num_classes"]},
            },
        },
        "trunk": _io_trunk(config["encoder"]),
        "decoder": {
            "kind": "autoencoding",
            "outputs": config["output_num_channels"],
            "label_channels": config["label_query_channels"],
            "min_padding": config["min_padding_dec"],
            "image": {"index_dims": (frames, size, size), "positions": image},
            "audio": {
                "samples": samples,
                "samples_per_patch": samples_per_patch,
                "positions": audio,
            },
            **_io_decoding(config.get("decoder", {})),
        },
    }
    return fields, config["num_classes"]


MODELS = {
    "v1_classifier": _v1_classifier,
    "v1_multimodal": _v1_multimodal,
    "io_classifier": _io_classifier,
    "io_mlm": _io_mlm,
    "io_flow": _io_flow,
    "io_video_autoencoder": _io_video_autoencoder,
}


def _inputs(preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    """One preprocessor's fields from DeepMind's keyword arguments, with their defaults."""
    kind = preprocessor.get("prep_type", "points")
    channels = preprocessor.get("num_channels", 64)
    spatial = preprocessor.get("spatial_downsample", 4)
    temporal = preprocessor.get("temporal_downsample", 1)
    if kind in ("points", "point_cloud"):
        return {"kind": "points", "positions": _positions(preprocessor)}
    if "samples_per_patch" in preprocessor:
        return {
            "kind": "waveform",
            "samples_per_patch": preprocessor["samples_per_patch"],
            **_combined(preprocessor),
        }
    own = {
        "pixels": {"stride": spatial, "frame_stride": temporal},
        "conv1x1": {"outputs": channels, "stride": spatial, "frame_stride": temporal},
        "conv": {
            "outputs": channels,
            "downsample": spatial,
            "batch_norm": preprocessor.get("conv2d_use_batchnorm", True),
        },
        "patches": {
            "patch": spatial,
            "frames": temporal,
            "project": channels if preprocessor.get("conv_after_patching", False) else 0,
        },
    }
    return {"kind": kind, **own[kind], **_combined(preprocessor)}


def _combined(preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "positions": _positions(preprocessor),
        "combine": preprocessor.get("concat_or_add_pos", "concat"),
    }


def _positions(preprocessor: Mapping[str, Any]) -> dict[str, Any]:
    assert not preprocessor.get("n_extra_pos_mlp"), "no published model has this"
    project = {"project": max(0, preprocessor.get("project_pos_dim", -1))}
    if preprocessor.get("position_encoding_type", "fourier") == "trainable":
        learned = preprocessor["trainable_position_encoding_kwargs"]
        index_dims = learned.get("index_dims", preprocessor.get("index_dims"))
        if isinstance(index_dims, int):
            index_dims = [index_dims]
        return {
            "kind": "learned",
            "index_dims": index_dims,
            "channels": learned["num_channels"],
            "scale": learned.get("init_scale", 0.02),
            **project,
        }
    fourier = preprocessor.get("fourier_position_encoding_kwargs", preprocessor)
    return {
        "bands": fourier["num_bands"],
        "max_resolution": fourier["max_resolution"],
        "raw": fourier.get("concat_pos", True),
        "sine_only": fourier.get("sine_only", False),
        **project,
    }


def _units(config: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The primitives of the golden ``units``."""
    outputs = {}
    for name, case in config["cases"].items():
        fourier = positions.Fourier(
            case["num_bands"],
            case["max_resolution"],
            raw=case["concat_pos"],
            sine_only=case["sine_only"],
        )
        outputs[name] = np.stack([fourier.grid(case["index_dims"])] * 2)
    q, k, v = inputs["q"], inputs["k"], inputs["v"]
    mask = tf.cast(inputs["attention_mask"], tf.bool)
    video = patches.space_to_depth(inputs["video"], 4, 2)
    return outputs | {
        "s2d_video_2_4": video,
        "s2d_image_3": patches.space_to_depth(inputs["image"], 3),
        "d2s_video_2_4": patches.depth_to_space(video, 4, 2),
        "flow_patches": patches.neighbourhoods(inputs["video"][:, :2]),
        "linear_positions_3_4": positions.linear_positions((3, 4)).reshape(3, 4, 2),
        "attend": plain.attend(q, k, v),
        "attend_masked": plain.attend(q, k, v, mask),
        "gelu_deepmind_tanh": linear.gelu(inputs["gelu_x"]),
        "gelu_exact": tf.nn.gelu(inputs["gelu_x"], approximate=False),
    }


def _post_patches(config: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Post-processing of decoded patches."""
    upsampling = config["spatial_upsample"], config["temporal_upsample"]
    return {"patches": patches.depth_to_space(inputs["p"], *upsampling)}


# The optimizer golden's names -> ours: what is decayed is decided by name.
OPTIMIZED = {
    "lin/w": "lin.kernel",
    "lin/b": "lin.bias",
    "x/layer_norm/scale": "x.ln.gamma",
    "x/layer_norm/offset": "x.ln.beta",
    "lat/pos_embs": "lat.table",
    "zero/w": "zero.kernel",
    "zero/b": "zero.bias",
}


def _optimizer(config: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Schedules, and the trajectories of LAMB and AdamW."""
    outputs: dict[str, Any] = {}
    recipe, total = config["cfg"], config["schedule_total_steps"]
    rate = recipe["base_lr"] * config["schedule_batch"] / 256
    warm = recipe["cosine_decay_kwargs"]["warmup_epochs"] * config["schedule_steps_per_epoch"]
    for name, kind, fields in (
        ("lr_steps", "step", {}),
        ("lr_cosine", "cosine", {"warmup_steps": warm}),
        ("lr_constant_cosine", "constant_cosine", {}),
    ):
        schedule = optimizer.Schedule(kind, rate, total, **fields)
        outputs[name] = np.array([float(schedule(step)) for step in range(total + 5)], np.float32)
    for name, ours in (("lamb", "lamb"), ("adam", "adamw")):
        for decayed in (True, False):
            fields = base.classification("test", {}).optimizer
            fields.update(
                name=ours,
                learning_rate=recipe["base_lr"],
                scale_by_batch=True,
                decay_positions=decayed,
                epsilon=recipe[f"{name}_kwargs"]["eps"],
            )
            total = config["update_schedule"]["total_steps"]
            built = optimizer.build(fields, total_steps=total, batch_size=1024)
            for step, values in enumerate(_trajectory(built, inputs, recipe["max_norm"]), 1):
                prefix = f"{name}_decaypos{int(decayed)}/step{step}"
                outputs |= {f"{prefix}/{tensor}": value for tensor, value in values.items()}
    return outputs


def _trajectory(
    optimizer: tf.keras.optimizers.legacy.Optimizer, inputs: Mapping[str, Any], max_norm: float
) -> Iterator[dict[str, np.ndarray]]:
    """The golden's variables after each update with its gradients."""
    variables = {
        name: tf.Variable(inputs[f"p0/{name}"], name=ours) for name, ours in OPTIMIZED.items()
    }
    for step in range(sum(name.endswith("/lin/w") for name in inputs) - 1):
        gradients = [tf.constant(inputs[f"g{step}/{name}"]) for name in variables]
        gradients, _ = tf.clip_by_global_norm(gradients, max_norm)
        optimizer.apply_gradients(
            zip(gradients, variables.values(), strict=True), experimental_aggregate_gradients=False
        )
        yield {name: variable.numpy() for name, variable in variables.items()}


FUNCTIONS = {"units": _units, "post_patches": _post_patches, "optimizer": _optimizer}


def load_weights(model: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Assigns every variable; the names must be the same on both sides.

    The reference keeps a counter and a hidden value with each moving average; we don't.
    """
    weights = model.named_weights()
    arrays = {k: v for k, v in arrays.items() if not k.endswith((".counter", ".hidden"))}
    assert weights.keys() == arrays.keys(), weights.keys() ^ arrays.keys()
    for name, variable in weights.items():
        variable.assign(arrays[name])


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """max |a - b| / max |b|."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.max(np.abs(ours - theirs)) / np.max(np.abs(theirs)))


def gradient_errors(
    ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]
) -> dict[str, float]:
    """max |a - b| / max(max |b|, 1e-3 of the case's largest) of each gradient.

    The floor is for the key bias, whose true gradient is zero: a softmax ignores it.
    """
    floor = 1e-3 * max(np.max(np.abs(b)) for b in theirs.values())
    return {
        name: float(np.max(np.abs(ours[name] - b)) / max(np.max(np.abs(b)), floor))
        for name, b in theirs.items()
    }
