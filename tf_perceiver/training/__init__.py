"""Strategies, optimizers, the loop and its checkpoints."""
