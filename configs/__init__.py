"""Experiments, one file each: ``--config=configs/NAME.py:VARIANT``."""
