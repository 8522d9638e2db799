"""In-hospital mortality of MIMIC-III, 48 hours, as mimic3-benchmarks writes it.

The settings are those of physionet2012; MIMIC-III is given to those who are credentialed, and we
are not: not trained by us.

`small`: python -m tf_perceiver.train --config=configs/mimic3_mortality.py:small
         --data=DIR --workdir=DIR
  data      the benchmark's own split: in-hospital-mortality/{train,test}
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds, small

VARIANTS = ("small", "tiny")
VARIABLES = 17


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    model = small.small_stays(tiny, variables=VARIABLES, width=32, knots=9, latents=16, channels=32)
    data = feeds.stays(
        "mimic3", VARIABLES, 64 if tiny else 768, 32 if tiny else 64, drop=0.5, hide=0.4
    )
    config = base.mortality(f"mimic3_mortality:{variant}", model, data)
    base.pace(config, tiny, epochs=15.0)
    if not tiny:
        config.optimizer.learning_rate = 0.01
        config.optimizer.constant_fraction = 0.0
        config.train.checkpoint_every = config.train.eval_every = 600
    return config
