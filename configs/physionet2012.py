"""PhysioNet Challenge 2012, set a: 48 hours of 3,997 stays in intensive care, 554 deaths.

`small`: python -m tf_perceiver.train --config=configs/physionet2012.py:small
         --data=DIR --workdir=DIR
  data      five folds by a hash of the record, one as test: --test_fold=1 to 5 of beam_preprocess
  hardware  2 cores of an AMD EPYC (AVX-512), no GPU, other work beside it
  time      half a minute to a minute a fold
  AUROC     82.7, 84.5, 81.3, 82.8, 80.2 %: 82.3 % on average, deviation 1.6 %, one seed each
"""

from __future__ import annotations

from ml_collections import ConfigDict

from configs import base, feeds, small

VARIANTS = ("small", "tiny")
VARIABLES = 44


def get_config(variant: str = "small") -> ConfigDict:
    """The experiment; `tiny` takes seconds and learns little."""
    if variant not in VARIANTS:
        raise base.unknown_variant(variant, VARIANTS)
    tiny = variant == "tiny"
    model = small.small_stays(tiny, variables=VARIABLES, width=32, knots=9, latents=16, channels=32)
    data = feeds.stays(
        "physionet2012", VARIABLES, 64 if tiny else 512, 32 if tiny else 64, drop=0.5, hide=0.4
    )
    config = base.mortality(f"physionet2012:{variant}", model, data)
    base.pace(config, tiny, epochs=10.0)
    if not tiny:
        config.optimizer.learning_rate = 0.005
        config.optimizer.constant_fraction = 0.0
        config.train.checkpoint_every = config.train.eval_every = 150
    return config
