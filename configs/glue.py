"""GLUE: a label of one sentence or two. It starts from a masked language model of `text_mlm`:

  python -m tf_perceiver.train --config=configs/glue.py:small --data=DIR --workdir=DIR \\
      --init_from=WORKDIR_OF_TEXT_MLM

STS-B, the dataset `glue_stsb`, has scores in place of labels, to be named on the command line:
--config.task.name=similarity --config.data.target=score.

`paper` has Perceiver IO's settings, one of the batches (16, 32, 64) and of the learning rates
(1e-4, 5e-5, 2e-5, 1e-5) that it chose from by task. Decoded is one query, as wide as the language
model's, so that its way to read the latents is taken over as well.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds, text_mlm

VARIANTS = ("paper", "small", "tiny")


def get_config(variant: str = "paper") -> ConfigDict:
    """The experiment; `small` is for two CPU cores, `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    model = text_mlm.model(variant)
    decoder = model["decoder"]
    del decoder["length"]
    decoder.update(kind="classification", query_channels=model["inputs"]["width"])
    config = base.classification(f"glue:{variant}", model)
    config.task = ConfigDict({"name": "sentences"})
    config.data = feeds.texts(model["inputs"]["length"], 32, sentences=True)
    config.data.eval_split = "val"
    config.optimizer.schedule = "cosine"
    config.optimizer.learning_rate = 5e-5
    config.optimizer.warmup_steps = 200
    config.optimizer.weight_decay = 0.01
    config.train.epochs = 10.0
    config.train.checkpoint_every = config.train.eval_every = 500
    if variant != "paper":
        tiny = variant == "tiny"
        base.pace(config, tiny, epochs=10.0)
        config.optimizer.learning_rate = 1e-3
        config.optimizer.warmup_steps = 5 if tiny else 100
    return config
