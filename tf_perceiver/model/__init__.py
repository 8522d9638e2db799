"""The Perceiver as tf.keras layers. Nothing in here knows of files, strategies or tasks."""
