"""The Perceiver in TensorFlow 2: training, evaluation, export and serving."""

__version__ = "0.1.0"
