"""The record contract, the readers of raw formats, and the tf.data input pipeline."""
